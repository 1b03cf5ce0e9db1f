package multiraft

import (
	"errors"
	"fmt"
	"sync/atomic"
	"testing"

	"go.uber.org/goleak"

	"dyno/engine/ids"
	"dyno/engine/replica"
	"dyno/engine/replica/replicatest"
	"dyno/wal"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func propose(t testing.TB, g *Group, data string, wait replica.Wait) *replicatest.Waiter {
	t.Helper()
	w := replicatest.NewWaiter()
	if err := g.Propose(&replica.Proposal{Data: []byte(data), Wait: wait, Waiter: w}); err != nil {
		t.Fatalf("propose %q: %v", data, err)
	}
	return w
}

func want(t testing.TB, w *replicatest.Waiter, target error) {
	t.Helper()
	if err := w.Err(); !errors.Is(err, target) {
		t.Fatalf("answer %v, want %v", err, target)
	}
}

func single(t testing.TB, log Log, change ...func(*Config)) *Manager {
	t.Helper()
	cfg := Config{Node: 1, Log: log}
	for _, f := range change {
		f(&cfg)
	}
	m, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if l, ok := log.(*MemoryLog); ok {
			l.Release(-1)
		}
		m.Close()
	})
	return m
}

func spec(group ids.GroupID) Spec {
	return Spec{Group: group, Replica: 1, Members: []Member{{Replica: 1, Node: 1}}}
}

func open(t testing.TB, m *Manager, group ids.GroupID, sm replica.StateMachine) *Group {
	t.Helper()
	g, err := m.Open(spec(group), sm)
	if err != nil {
		t.Fatal(err)
	}
	return g
}

func TestSingleVoterSlice(t *testing.T) {
	log := NewMemoryLog()
	m := single(t, log)
	sm := replicatest.NewMachine()
	g := open(t, m, 7, sm)
	// No waiting for the election: proposals wait for it themselves.
	want(t, propose(t, g, "a", replica.WaitCommit), nil)
	want(t, propose(t, g, "b", replica.WaitDurable), nil)
	want(t, propose(t, g, "c", replica.WaitCommit), nil)
	if got := fmt.Sprint(sm.Data()); got != "[a b c]" {
		t.Fatalf("applied %s", got)
	}
	shown(g)
	s := g.Status()
	if s.State != replica.Leader || s.Term != 1 || s.Applied != 4 || s.First != 1 || s.Last != 4 {
		t.Fatalf("status %+v", s)
	}
	entries, err := g.Read(1, 100, 1<<20)
	if err != nil || len(entries) == 0 {
		t.Fatalf("read: %v %v", entries, err)
	}
	if idx, err := g.ReadIndex(t.Context()); err != nil || idx != 4 {
		t.Fatalf("read index %d: %v", idx, err)
	}
}

// shown returns when the status shows all that was answered: the end of the turn that answers shows it, and a call runs in a later one.
func shown(g *Group) {
	done := make(chan struct{})
	g.w.box.call(func() { close(done) })
	<-done
}

func TestNothingIsAnsweredBeforeTheLogSaysSo(t *testing.T) {
	log := NewMemoryLog()
	m := single(t, log)
	sm := replicatest.NewMachine()
	g := open(t, m, 1, sm)
	want(t, propose(t, g, "first", replica.WaitCommit), nil)

	log.Hold()
	durable := propose(t, g, "durable", replica.WaitDurable)
	commit := propose(t, g, "commit", replica.WaitCommit)
	// The worker has seen both once a call that follows them was run and a
	// drain later has begun.
	shown(g)
	shown(g)
	if log.Held() == 0 {
		t.Fatal("nothing was submitted")
	}
	for _, w := range []*replicatest.Waiter{durable, commit} {
		if w.Answered() {
			t.Fatalf("answered %v while the log held the append back", w.Err())
		}
	}
	if got := len(sm.Data()); got != 1 || g.Status().Commit != 2 {
		t.Fatalf("%d applied, commit index %d while the append is held back", got, g.Status().Commit)
	}
	log.Release(-1)
	want(t, durable, nil)
	want(t, commit, nil)
}

func TestRestartFindsEverything(t *testing.T) {
	log := NewMemoryLog()
	var all []string
	for life := range 4 {
		m := single(t, log)
		sm := replicatest.NewMachine()
		g := open(t, m, 3, sm)
		for i := range 10 {
			all = append(all, fmt.Sprint(life, i))
			want(t, propose(t, g, all[len(all)-1], replica.WaitCommit), nil)
		}
		if got := fmt.Sprint(sm.Data()); got != fmt.Sprint(all) {
			t.Fatalf("life %d: applied %s, want %s", life, got, all)
		}
		if life%2 == 0 { // a crash, otherwise a clean stop
			log = log.Crash()
			m.Close()
		} else if err := m.Close(); err != nil {
			t.Fatal(err)
		}
	}
	info, _ := log.Info(3)
	if info.State.Commit != info.Last {
		t.Fatalf("after a clean stop the commit index is %d, the last entry %d", info.State.Commit, info.Last)
	}
}

func TestFailedLogFailsAll(t *testing.T) {
	log := NewMemoryLog()
	m := single(t, log)
	g, other := open(t, m, 1, replicatest.NewMachine()), open(t, m, 2, replicatest.NewMachine())
	want(t, propose(t, g, "x", replica.WaitCommit), nil)
	want(t, propose(t, other, "x", replica.WaitCommit), nil)
	log.Hold()
	w := propose(t, g, "y", replica.WaitCommit)
	done := make(chan struct{})
	g.w.box.call(func() { close(done) })
	<-done
	log.Fail(wal.ErrFailed)
	want(t, w, wal.ErrFailed)
	<-m.Failed()
	want(t, propose(t, other, "z", replica.WaitCommit), wal.ErrFailed)
	if err := m.Close(); !errors.Is(err, wal.ErrFailed) {
		t.Fatalf("close: %v", err)
	}
}

// A reader is woken from inside Apply, before the turn is over: what was
// applied must be there for it, or it sleeps until the next entry.
func TestReadFindsWhatApplyWakesFor(t *testing.T) {
	m := single(t, NewMemoryLog())
	var g atomic.Pointer[Group]
	found := make(chan int, 1)
	sm := replicatest.NewMachine()
	sm.Seen = func(e replica.Entry) {
		if open := g.Load(); open != nil {
			entries, err := open.Read(e.Index, e.Index+1, 1<<20)
			if err != nil {
				t.Error(err)
			}
			found <- len(entries)
		}
	}
	open := open(t, m, 7, sm)
	want(t, propose(t, open, "a", replica.WaitCommit), nil)
	g.Store(open)
	want(t, propose(t, open, "b", replica.WaitCommit), nil)
	if n := <-found; n != 1 {
		t.Fatalf("%d entries inside Apply, want 1", n)
	}
}
