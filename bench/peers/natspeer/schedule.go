package natspeer

import (
	"context"
	"errors"
	"time"

	"dyno/loadgen"
)

// dueAt is the intended time of message k of publisher i of n: evenly spaced,
// publishers interleaved. Counting from the start, not adding intervals, keeps
// rounding from piling up.
func dueAt(start int64, rate float64, i, n int, k uint64) int64 {
	return start + int64((float64(k)*float64(n)+float64(i))/rate*1e9+0.5)
}

// due is dueAt for this publisher.
func (p *publisher) due(k uint64) int64 {
	return dueAt(p.f.win.start, p.f.cfg.Rate, p.id, p.f.cfg.Publishers, k)
}

// follow sends on schedule until the window ends. A late message is sent at once
// and keeps its intended time: debt is never forgiven.
func (p *publisher) follow(ctx context.Context) (err error) {
	sl, err := newSleeper()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, sl.close()) }()
	f := p.f
	giveUp := f.win.end + f.win.grace()
	ctx, cancel := context.WithTimeout(ctx, time.Duration(giveUp-f.clk.now()))
	defer cancel()
	every := int64(loadgen.WakeEvery(f.cfg.Rate / float64(f.cfg.Publishers)))
	var woke, last int64
	for k := uint64(0); ; k++ {
		at := p.due(k)
		if at >= f.win.end {
			return nil
		}
		now := f.clk.now()
		if now < at {
			for wake := max(at, woke+every); now < wake && !f.stopped.Load(); now = f.clk.now() {
				if err := sl.sleep(wake - now); err != nil {
					return err
				}
			}
			woke = now
		}
		if f.stopped.Load() || now > giveUp {
			p.owe(k)
			return nil
		}
		s := p.pool.pop()
		if s == nil {
			if s = p.waitSlot(ctx); s == nil {
				p.owe(k)
				return nil
			}
			now = f.clk.now()
		}
		p.lag.note(now-at, now-last)
		last = now
		if !p.emit(s, at, now) {
			p.owe(k + 1)
			return nil
		}
	}
}

// note books one send that was behind by ns, after since the one before.
func (l *lag) note(behind, since int64) {
	if behind > lateNs {
		l.late++
		l.lateFor += min(since, behind)
	}
}

// owe books what is left of the schedule from message k on: it enters the
// response at the least it could have been.
func (p *publisher) owe(k uint64) {
	f := p.f
	horizon := max(f.clk.now(), f.win.end)
	p.rec.mu.Lock()
	defer p.rec.mu.Unlock()
	for ; ; k++ {
		at := p.due(k)
		if at >= f.win.end {
			return
		}
		p.lag.unsent++
		if at >= f.win.warmEnd {
			p.rec.active.censored++
			record(p.rec.active.response, horizon-at)
		}
	}
}
