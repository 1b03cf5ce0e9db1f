package multiraft

import (
	"context"
	"runtime/pprof"
	"sync/atomic"
	"time"
)

// ticker passes time to the workers while any group needs it. With none it
// sleeps without a timer: a node of quiet groups is not woken at all.
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
		select {
		case t.wake <- struct{}{}:
		default:
		}
	}
}

func (t *ticker) run() {
	defer close(t.done)
	pprof.SetGoroutineLabels(pprof.WithLabels(context.Background(), pprof.Labels("raft-ticker", t.every.String())))
	for {
		select {
		case <-t.stop:
			return
		case <-t.wake:
		}
		if !t.tickWhileNeeded() {
			return
		}
	}
}

// tickWhileNeeded returns false when the ticker was stopped. A group that comes
// just after the last look at needing finds it 0 and leaves a wake behind.
func (t *ticker) tickWhileNeeded() bool {
	clock := time.NewTicker(t.every)
	defer clock.Stop()
	for t.needing.Load() > 0 {
		select {
		case <-t.stop:
			return false
		case <-clock.C:
			t.alive.tick()
			for _, w := range t.workers {
				w.box.tick()
			}
		}
	}
	return true
}

// Tick passes one tick to the groups that need time, beside the manager's own
// clock: for a simulation that owns time and makes Config.Tick longer than it
// lasts. It does not wait; ticks that come before a worker looks count as one.
func (m *Manager) Tick() {
	m.alive.tick()
	for _, w := range m.workers {
		w.box.tick()
	}
}

func (t *ticker) close() {
	close(t.stop)
	<-t.done
}
