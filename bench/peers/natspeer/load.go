package natspeer

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"dyno/loadgen"

	"golang.org/x/sys/unix"
)

const (
	collectEvery = time.Second
	// silenceMax is how long a load may go on without any answer.
	silenceMax = 10 * time.Second
)

// load is the running load of one run. It owns the publishers and their
// connections; drive joins every goroutine it starts.
type load struct {
	f          *flight
	publishers []*publisher
	tally      *tally
	sample     func() (sample, error)

	warm, end sample // as the timed window began, after the last answer
}

// sample is what client and servers have used so far.
type sample struct {
	client  float64 // s of processor time
	servers []serverUse
}

// newLoad prepares publishers for the streams, without connections.
func newLoad(cfg *Config, subjects []string) *load {
	f := &flight{cfg: cfg, subjects: subjects}
	l := &load{f: f}
	scheduled := cfg.Rate > 0
	var recorders []*recorder
	for range min(recordersMax, cfg.Publishers) {
		recorders = append(recorders, newRecorder(scheduled))
	}
	l.tally = newTally(recorders, scheduled)
	for i := range cfg.Publishers {
		l.publishers = append(l.publishers, newPublisher(f, i, assign(i, cfg.Publishers, cfg.Streams), recorders[i%len(recorders)]))
	}
	return l
}

// assign is the streams of publisher i of n: all streams are covered, and each
// publisher keeps to as few as that allows.
func assign(i, n, streams int) (to []int) {
	if n >= streams {
		return []int{i % streams}
	}
	for s := i; s < streams; s += n {
		to = append(to, s)
	}
	return to
}

// connect gives each publisher a connection of its own; server says to which.
func (l *load) connect(c *cluster, server func(p *publisher) int) error {
	for _, p := range l.publishers {
		conn, err := c.dial(server(p), fmt.Sprintf("publisher %d", p.id))
		if err != nil {
			return err
		}
		if err := p.attach(conn); err != nil {
			conn.Close()
			return fmt.Errorf("publisher %d: %w", p.id, err)
		}
	}
	return nil
}

func (l *load) close() {
	for _, p := range l.publishers {
		if p.conn != nil {
			p.conn.Close()
		}
	}
}

// drive runs the load from its first message to its last answer. When ctx ends
// early it stops sending, settles what was sent and returns ctx's cause.
func (l *load) drive(ctx context.Context) error {
	f, cfg := l.f, l.f.cfg
	f.clk = clock{time.Now()}
	f.win = window{warmEnd: int64(cfg.Warmup), end: int64(cfg.Warmup + cfg.Window)}
	stillRuns := context.AfterFunc(ctx, func() { f.stopped.Store(true) })
	defer stillRuns()
	quit := make(chan struct{})
	var watch, senders sync.WaitGroup
	var watchErr error
	watch.Go(func() { watchErr = l.watch(quit) })
	errs := make([]error, len(l.publishers))
	for i, p := range l.publishers {
		senders.Go(func() { errs[i] = p.run(ctx) })
	}
	senders.Wait()
	for _, p := range l.publishers {
		p.abandon()
	}
	var err error
	l.end, err = l.sample()
	close(quit)
	watch.Wait()
	if ctx.Err() != nil { // whatever else went wrong follows from it
		return context.Cause(ctx)
	}
	if cause := f.cause.Load(); cause != nil {
		return *cause
	}
	return errors.Join(watchErr, errors.Join(errs...), err)
}

// run sends until the window ends and waits for the answers.
func (p *publisher) run(ctx context.Context) (err error) {
	switch {
	case p.f.cfg.ClosedLoop > 0:
		p.closed(ctx)
	case p.f.cfg.Rate > 0:
		err = p.follow(ctx)
	default:
		p.saturate(ctx)
	}
	left := time.Duration(max(p.f.win.end, p.f.clk.now())-p.f.clk.now()) + drainMax
	ctx, cancel := context.WithTimeout(ctx, left)
	defer cancel()
	_ = p.pool.wait(ctx, len(p.slots)) // what is still open then is abandoned
	return err
}

// watch collects once a second until quit is closed, and once more; it takes the
// sample at the start of the timed window, and ends a load that gets no answers.
func (l *load) watch(quit <-chan struct{}) (err error) {
	tick := time.NewTicker(collectEvery)
	defer tick.Stop()
	warm := time.NewTimer(time.Duration(l.f.win.warmEnd - l.f.clk.now()))
	defer warm.Stop()
	c := collector{l: l}
	for {
		select {
		case <-warm.C:
			if l.warm, err = l.sample(); err != nil {
				l.f.fail(err)
			}
		case <-tick.C:
			c.step(l.f.clk.now())
		case <-quit:
			c.step(l.f.clk.now())
			return err
		}
	}
}

// collector is the state between two steps of watch.
type collector struct {
	l     *load
	from  int64
	acked int64
	heard int64 // when an answer was last seen
}

func (c *collector) step(now int64) {
	l := c.l
	got := l.tally.collect()
	c.acked += got.acked
	if got.acked+got.failed+got.unknown > 0 {
		c.heard = now
	} else if sent := l.sent(); now-c.heard > int64(silenceMax) && sent > c.acked {
		l.f.fail(fmt.Errorf("%w for %v with %d messages sent and %d acknowledged", ErrSilent, silenceMax, sent, c.acked))
	}
	if report := l.f.cfg.Progress; report != nil {
		report(c.progress(&got, now))
	}
	c.from = now
}

func (c *collector) progress(got *counts, now int64) loadgen.Progress {
	win := &c.l.f.win
	p := loadgen.Progress{Phase: "measure", Elapsed: time.Duration(now), Of: time.Duration(win.end), Sent: c.l.sent(), Acked: c.acked,
		Rate: float64(got.acked) / float64(max(now-c.from, 1)) * 1e9}
	switch {
	case now <= win.warmEnd:
		p.Phase = "warmup"
	case now > win.end:
		p.Phase = "drain"
	}
	if q := quantiles(c.l.tally.second); q != nil {
		p.P99 = q.P99
	}
	return p
}

func (l *load) sent() (n int64) {
	for _, p := range l.publishers {
		n += p.sent.Load()
	}
	return n
}

// clientCPU is the processor time this process has used, user and system.
func clientCPU() (float64, error) {
	var ru unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &ru); err != nil {
		return 0, fmt.Errorf("getrusage: %w", err)
	}
	return float64(ru.Utime.Nano()+ru.Stime.Nano()) / 1e9, nil
}
