package loadgen

import (
	"time"
)

const collectEvery = time.Second

// collect swaps the recorders once a second, from the start of the run, until quit is closed; then once more. It also stops a run
// that gets no answers at all for as long as the drain would wait.
func (l *load) collect(quit <-chan struct{}) error {
	f := l.f
	tick := time.NewTicker(collectEvery)
	defer tick.Stop()
	c := collector{l: l, from: f.win.start, heard: f.win.start}
	for {
		select {
		case <-quit:
			return c.step(f.clk.now())
		case <-tick.C:
			if err := c.step(f.clk.now()); err != nil {
				l.stop()
				return err
			}
		}
	}
}

// collector is the state between two steps.
type collector struct {
	l          *load
	from       int64
	sent, full int64
	answered   int64
	heard      int64 // when an answer was last seen
}

func (c *collector) step(now int64) error {
	l := c.l
	if now <= c.from { // consumers' head start
		return nil
	}
	var sent, full int64
	for _, p := range l.producers {
		sent += p.sent.Load()
		full += p.full.Load()
	}
	iv, err := l.tally.collect(c.from, now, now <= l.f.win.warmEnd)
	if err != nil {
		return err
	}
	iv.sent, iv.full = sent-c.sent, full-c.full
	c.sent, c.full = sent, full
	sum := &l.tally.sum
	if answered := sum.acked + sum.failed + sum.unknown; answered != c.answered || answered == sent {
		c.answered, c.heard = answered, now
	} else if now-c.heard > int64(l.f.cfg.DrainTimeout) {
		l.f.silent.Store(true)
		l.stop()
	}
	if report := l.f.cfg.Progress; report != nil {
		report(c.progress(iv, now, sent))
	}
	c.from = now
	return nil
}

func (c *collector) progress(iv *interval, now, sent int64) Progress {
	win, cfg := c.l.f.win, c.l.f.cfg
	p := Progress{
		Phase: "measure", Elapsed: time.Duration(now - win.start), Sent: sent, Acked: c.l.tally.sum.acked,
		Rate: float64(iv.count.acked) / float64(iv.end-iv.start) * 1e9,
	}
	if win.end > 0 {
		p.Of = cfg.Warmup + cfg.Duration
	}
	if iv.warmup {
		p.Phase = "warmup"
	}
	if q := iv.quantiles[seriesResponse]; q != nil {
		p.P99 = q.P99
	}
	if c.l.f.stopped.Load() || win.end > 0 && now > win.end {
		p.Phase = "drain"
	}
	return p
}
