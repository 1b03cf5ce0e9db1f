package loadgen

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

// load is one generator at work: the producers, the collector and, if asked for, live consumers. It owns their goroutines; drive
// joins all but the clients', which close joins. The null-sink probe and the run itself are the same load at different addresses.
type load struct {
	f         *flight
	security  []kgo.Opt
	producers []*producer
	tally     *tally
	cons      *consumers
	from      []int64 // offsets the live consumers start at
	markWarm  func()  // called once, as the timed window begins; may block on the network
	ends      func(context.Context) ([]int64, error)
	stop      context.CancelFunc // ends the sending
	begun     time.Time
}

// recordersMax is how many recorders closed-loop clients share: each costs 1 MiB and they answer at most some 10,000/s each.
const recordersMax = 4

// startDelay is how long live consumers get to connect before the first record.
const startDelay = 300 * time.Millisecond

func newLoad(cfg *Config, security []kgo.Opt, partitions int) (*load, error) {
	f := &flight{cfg: cfg, clk: newClock(), run: rand.Uint64(), partitions: partitions}
	l := &load{f: f, security: security}
	n := cfg.Producers
	recs := make([]*recorder, n)
	if cfg.ClosedLoop > 0 {
		recs = recs[:min(n, recordersMax)]
	}
	for i := range recs {
		recs[i] = newRecorder(measured(cfg)...)
	}
	for i := range n {
		l.producers = append(l.producers, newProducer(f, i, recs[i%len(recs)]))
	}
	l.tally = newTally(recs)
	opts, err := producerOpts(cfg, security)
	if err != nil {
		return nil, err
	}
	for _, p := range l.producers {
		if p.cl, err = kgo.NewClient(opts...); err != nil {
			l.close()
			return nil, fmt.Errorf("%w: %w", ErrUsage, err)
		}
	}
	return l, nil
}

// close closes every client; drive has closed the producers' already.
func (l *load) close() {
	for _, p := range l.producers {
		if p.cl != nil {
			p.cl.Close()
		}
	}
	if l.cons != nil {
		l.cons.close()
	}
}

// connect opens every producer's connections and loads what a first record would otherwise wait for.
func (l *load) connect(ctx context.Context) error {
	const atOnce = 16
	gate := make(chan struct{}, atOnce)
	errs := make([]error, len(l.producers))
	var wg sync.WaitGroup
	for i, p := range l.producers {
		gate <- struct{}{}
		wg.Go(func() {
			errs[i] = p.connect(ctx)
			<-gate
		})
	}
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		for _, e := range errs {
			if e != nil {
				return fmt.Errorf("%w: %w", ErrUnreachable, e) // one line; the others say the same
			}
		}
	}
	return nil
}

// connect prepares one producer. A record to partition -1 makes the client load the topic and then refuses it unsent.
func (p *producer) connect(ctx context.Context) error {
	if err := p.cl.EnsureProduceConnectionIsOpen(ctx); err != nil {
		return fmt.Errorf("connect: %w", err)
	}
	if p.f.cfg.Acks == AcksAll {
		if _, _, err := p.cl.ProducerID(ctx); err != nil {
			return fmt.Errorf("producer id: %w", err)
		}
	}
	answer := make(chan error, 1)
	p.cl.TryProduce(ctx, &kgo.Record{Topic: p.f.cfg.Topic, Partition: -1}, func(_ *kgo.Record, err error) { answer <- err })
	err := <-answer
	var refused *kerr.Error
	if ctx.Err() != nil || errors.As(err, &refused) {
		return fmt.Errorf("topic %s: %w", p.f.cfg.Topic, err)
	}
	return nil
}

// drive runs warm-up, window and drain; it returns when every record has met its fate and every goroutine but the consumers' has
// ended. When ctx ends, sending stops and the drain follows.
func (l *load) drive(ctx context.Context) error {
	f := l.f
	if err := l.frame(); err != nil {
		return err
	}
	sendCtx, stop := context.WithCancel(ctx)
	defer stop()
	l.stop = func() { f.stopped.Store(true); stop() }
	defer context.AfterFunc(ctx, l.stop)()

	quit := make(chan struct{})
	var side sync.WaitGroup // collector and marker
	var collectErr error
	side.Go(func() { collectErr = l.collect(quit) })
	if l.markWarm != nil {
		side.Go(func() { l.mark(sendCtx) })
	}
	sendErr := l.send(sendCtx)
	drain, cancel := context.WithTimeout(context.Background(), f.cfg.DrainTimeout)
	defer cancel()
	finishErr := l.finish(drain)
	var catchErr error
	if l.cons != nil {
		catchErr = l.catchUp(drain)
	}
	close(quit)
	side.Wait()
	return errors.Join(sendErr, finishErr, catchErr, collectErr)
}

// frame fixes the window and starts the live consumers, which need a head start to connect.
func (l *load) frame() error {
	f := l.f
	start := f.clk.now()
	if f.cfg.Consumers > 0 {
		start += int64(startDelay)
	}
	warm := start + int64(f.cfg.Warmup)
	f.win = window{start: start, warmEnd: warm, records: f.cfg.Records}
	if f.cfg.Duration > 0 {
		f.win.end = warm + int64(f.cfg.Duration)
	}
	f.budget.Store(f.cfg.Records)
	l.begun = f.clk.wallAt(start)
	if f.cfg.Consumers == 0 {
		return nil
	}
	cons, err := startConsumers(f, l.security, f.cfg.Consumers, l.from)
	if err != nil {
		return err
	}
	l.cons = cons
	l.tally.recorders = append(l.tally.recorders, cons.recs...)
	return nil
}

// send runs the senders to the end of their window.
func (l *load) send(ctx context.Context) error {
	f := l.f
	if !waitUntil(ctx, f.clk, f.win.start) {
		return nil
	}
	if f.win.end > 0 { // a sender that waits for a slot does not outwait its window
		var cancel context.CancelFunc
		last := f.win.end
		if f.cfg.Rate > 0 {
			last += f.win.grace()
		}
		ctx, cancel = context.WithTimeout(ctx, time.Duration(last-f.clk.now()))
		defer cancel()
	}
	var wg sync.WaitGroup
	errs := make([]error, len(l.producers))
	for i, p := range l.producers {
		switch {
		case f.cfg.ClosedLoop > 0:
			p.startClosed()
		case f.cfg.Rate > 0:
			wg.Go(func() { errs[i] = l.sendOnSchedule(ctx, p, i) })
		default:
			wg.Go(func() { p.saturate(ctx) })
		}
	}
	if f.cfg.ClosedLoop > 0 {
		l.waitClosed(ctx)
	}
	wg.Wait()
	return errors.Join(errs...)
}

func (l *load) sendOnSchedule(ctx context.Context, p *producer, i int) error {
	cfg := l.f.cfg
	sl, err := newSleeper(l.f.clk)
	if err != nil {
		l.stop()
		return err
	}
	a := newArrivals(cfg.Profile, cfg.Rate, i, cfg.Producers, cfg.Seed, cfg.Warmup+cfg.Duration)
	return errors.Join(p.follow(ctx, a, sl), sl.close())
}

// waitClosed waits for the closed-loop clients: each ends at its first answer after the window, so a cluster that answers no more
// would hold them for ever; the wait ends with the window and the drain settles the rest.
func (l *load) waitClosed(ctx context.Context) {
	f := l.f
	if f.win.end > 0 {
		waitUntil(ctx, f.clk, f.win.end)
		return
	}
	for _, p := range l.producers {
		select {
		case <-p.done:
		case <-ctx.Done():
			return
		}
	}
}

// finish drains all producers at once.
func (l *load) finish(drain context.Context) error {
	l.f.stopped.Store(true)
	errs := make([]error, len(l.producers))
	var wg sync.WaitGroup
	for i, p := range l.producers {
		wg.Go(func() { errs[i] = p.finish(drain) })
	}
	wg.Wait()
	return errors.Join(errs...)
}

// mark calls markWarm as the timed window begins; without a warm-up the caller has taken the marks before the start.
func (l *load) mark(ctx context.Context) {
	if l.f.cfg.Warmup == 0 {
		return
	}
	if waitUntil(ctx, l.f.clk, l.f.win.warmEnd) {
		l.markWarm()
	}
}

// waitUntil blocks until the clock reaches ns; false when ctx ended first.
func waitUntil(ctx context.Context, clk *clock, ns int64) bool {
	t := time.NewTimer(time.Duration(ns - clk.now()))
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// catchUp waits until the live consumers have seen everything.
func (l *load) catchUp(ctx context.Context) error {
	ends, err := l.ends(ctx)
	if err != nil {
		return err
	}
	if err := l.cons.catchUp(ctx, ends); err != nil {
		l.f.errs.note(err)
	}
	return nil
}
