package multiraft

import (
	"strings"
	"testing"

	"dyno/engine/replica"
	"dyno/engine/replica/replicatest"
)

// TestProposalsGatherBehindAnAppend: while an append is under way, a few
// proposals wait for its end and become one append; a write's worth does not
// wait, and the first one after a pause never does.
func TestProposalsGatherBehindAnAppend(t *testing.T) {
	log := NewMemoryLog()
	m := single(t, log)
	g := open(t, m, 1, replicatest.NewMachine())
	want(t, propose(t, g, "warm", replica.WaitCommit), nil)
	asleep := func() { // the worker has run what it was woken for, and holds
		g.w.box.mu.Lock()
		defer g.w.box.mu.Unlock()
		for !g.w.box.held {
			g.w.box.mu.Unlock()
			g.w.box.mu.Lock()
		}
	}
	log.Hold()
	waiters := []*replicatest.Waiter{propose(t, g, "first", replica.WaitCommit)}
	for log.Held() < 1 {
	} // the worker may have held still for the append before
	asleep()
	for range 20 {
		waiters = append(waiters, propose(t, g, "small", replica.WaitCommit))
	}
	g.w.box.mu.Lock()
	gathered, woken := len(g.w.box.in.props), g.w.box.filled
	g.w.box.mu.Unlock()
	if gathered != 20 || woken {
		t.Fatalf("%d of 20 proposals gathered behind the append, worker woken: %v", gathered, woken)
	}
	waiters = append(waiters, propose(t, g, strings.Repeat("x", gatherBytes), replica.WaitCommit))
	for log.Held() < 2 {
	} // a write's worth goes at once
	before := m.Stats().Records
	log.Release(-1)
	for _, w := range waiters {
		want(t, w, nil)
	}
	if got := m.Stats().Records; got > before+1 {
		t.Errorf("%d records after the large proposal, want all in its append", got-before)
	}
}

// TestGatheredProposalsAreNotForgotten: those that came after the worker took the
// box and before it said that no append is under way any more.
func TestGatheredProposalsAreNotForgotten(t *testing.T) {
	b := mailbox{wake: make(chan struct{}, 1), max: 1 << 20}
	b.hold(true)
	if err := b.propose(nil, &replica.Proposal{Data: []byte("gathered")}); err != nil {
		t.Fatal(err)
	}
	if len(b.wake) != 0 {
		t.Error("a proposal behind an append woke the worker")
	}
	b.hold(false)
	if len(b.wake) != 1 {
		t.Error("the worker sleeps and proposals wait")
	}
}
