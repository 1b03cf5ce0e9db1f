package multiraft

import (
	"testing"
	"testing/synctest"
	"time"

	"dyno/engine/replica"
	"dyno/engine/replica/replicatest"
)

// TestAWorkerThatPollsLooksWhenItIsTime: a hundred times a second at an interval of
// 10 ms, and at nothing in between but the end of its own appends. As shipped it never
// looks because of the time.
func TestAWorkerThatPollsLooksWhenItIsTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const every = 10 * time.Millisecond
		log := NewMemoryLog()
		m := single(t, log, func(c *Config) { c.Workers, c.Poll = 2, every })
		g := open(t, m, 1, replicatest.NewMachine())
		want(t, propose(t, g, "warm", replica.WaitCommit), nil)
		pause(every / 2) // between two looks from now on
		before := m.Stats()
		pause(time.Second)
		if n := m.Stats().Polls - before.Polls; n != 200 {
			t.Errorf("two workers looked %d times in a second", n)
		}
		log.Hold()
		waiter := propose(t, g, "x", replica.WaitCommit)
		pause(every/2 - time.Millisecond)
		if n := log.Held(); n != 0 {
			t.Errorf("%d appends before the next look", n)
		}
		pause(2 * time.Millisecond)
		if n := log.Held(); n != 1 {
			t.Fatalf("%d appends after the look", n)
		}
		begun := time.Now()
		next := propose(t, g, "y", replica.WaitCommit)
		log.Release(1)
		want(t, waiter, nil)
		if d := time.Since(begun); d != 0 {
			t.Errorf("the end of an append was seen after %v: it is part of the look that made it", d)
		}
		synctest.Wait()
		if n := log.Held(); n != 0 {
			t.Errorf("%d appends: the end of one was a look at everything", n)
		}
		log.Release(-1)
		want(t, next, nil)
		m.Close()
	})
}

func TestAWorkerAsShippedDoesNotPoll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := single(t, NewMemoryLog())
		g := open(t, m, 1, replicatest.NewMachine())
		begun := time.Now()
		want(t, propose(t, g, "x", replica.WaitCommit), nil)
		if d := time.Since(begun); d != 0 || m.Stats().Polls != 0 {
			t.Errorf("answered after %v with %d looks by time", d, m.Stats().Polls)
		}
		m.Close()
	})
}

// TestProposeAllIsOneProposal: what is handed over together is one proposal, and what
// is refused hears it.
func TestProposeAllIsOneProposal(t *testing.T) {
	m := single(t, NewMemoryLog(), func(c *Config) { c.EntryBytesMax = 10 })
	g := open(t, m, 1, replicatest.NewMachine())
	want(t, propose(t, g, "warm", replica.WaitCommit), nil)
	before := m.Stats()
	var list []*replica.Proposal
	var waiters []*replicatest.Waiter
	for i := range 100 {
		w := replicatest.NewWaiter()
		waiters = append(waiters, w)
		data := []byte("x")
		if i == 50 {
			data = make([]byte, 11)
		}
		list = append(list, &replica.Proposal{Data: data, Wait: replica.WaitCommit, Waiter: w})
	}
	busy, free := make(chan struct{}), make(chan struct{})
	g.w.box.call(func() { close(busy); <-free })
	<-busy
	g.ProposeAll(list)
	g.w.box.mu.Lock()
	calls, props := len(g.w.box.in.calls), len(g.w.box.in.props)
	g.w.box.mu.Unlock()
	close(free)
	if calls != 1 || props != 0 {
		t.Errorf("%d calls and %d proposals in the mailbox: a drain may take a part of the list", calls, props)
	}
	for i, w := range waiters {
		if i == 50 {
			want(t, w, ErrTooLarge)
			continue
		}
		want(t, w, nil)
	}
	// The last answer may come before its turn was counted.
	if _, err := g.ReadIndex(t.Context()); err != nil {
		t.Fatal(err)
	}
	after := m.Stats()
	if p, e := after.Proposals-before.Proposals, after.Proposed-before.Proposed; p != 1 || e != 99 {
		t.Errorf("%d proposals with %d entries, want 1 with 99", p, e)
	}
	m.Close()
	w := replicatest.NewWaiter()
	g.ProposeAll([]*replica.Proposal{{Data: []byte("x"), Wait: replica.WaitCommit, Waiter: w}})
	want(t, w, replica.ErrStopped)
}
