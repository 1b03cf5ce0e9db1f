package multiraft

import (
	"context"
	"runtime/pprof"
	"sync/atomic"
	"time"
)

// ticker passes time to the workers while any group needs it, and to alive while
// there are other nodes. With neither it sleeps without a timer.
type ticker struct {
	every   time.Duration
	workers []*worker
	alive   *alive
	needing atomic.Int64  // groups in the ticking lists of all workers
	wake    chan struct{} // capacity 1; sender: add; never closed
	stop    chan struct{} // closed by close
	done    chan struct{} // closed by run
}

func newTicker(every time.Duration) *ticker {
	return &ticker{every: every, wake: make(chan struct{}, 1), stop: make(chan struct{}), done: make(chan struct{})}
}

// add changes how many groups need ticks. Called by the workers.
func (t *ticker) add(n int) {
	if n == 0 {
		return
	}
	if now := t.needing.Add(int64(n)); n > 0 && now == int64(n) {
		t.kick()
	}
}

func (t *ticker) kick() {
	select {
	case t.wake <- struct{}{}:
	default:
	}
}

func (t *ticker) run() {
	defer close(t.done)
	pprof.SetGoroutineLabels(pprof.WithLabels(context.Background(), pprof.Labels("raft-ticker", t.every.String())))
	clock := time.NewTimer(time.Hour)
	defer clock.Stop()
	for {
		ticks := t.next()
		if ticks == 0 {
			clock.Stop()
		} else {
			clock.Reset(time.Duration(ticks) * t.every)
		}
		select {
		case <-t.stop:
			return
		case <-t.wake:
			continue // somebody needs time from now on
		case <-clock.C:
		}
		lost := t.alive.pass(ticks)
		if len(lost) == 0 && t.needing.Load() == 0 {
			continue
		}
		for _, w := range t.workers {
			w.box.tick(w.losing(lost)...)
		}
	}
}

// next is how many ticks may pass in one step: one while a group needs them, a
// pulse's worth while only other nodes are watched, and 0 for no clock at all.
func (t *ticker) next() int {
	switch {
	case t.needing.Load() > 0:
		return 1
	case t.alive.watching.Load():
		return pulseTicks
	}
	return 0
}

// Tick passes one tick to the groups that need time, beside the manager's own
// clock: for a simulation that owns time and makes Config.Tick longer than it
// lasts. It does not wait; ticks that come before a worker looks count as one.
func (m *Manager) Tick() {
	lost := m.alive.pass(1)
	for _, w := range m.workers {
		w.box.tick(w.losing(lost)...)
	}
}

func (t *ticker) close() {
	close(t.stop)
	<-t.done
}
