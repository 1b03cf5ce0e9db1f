package events

import (
	"testing"

	"go.uber.org/goleak"

	"dyno/engine/ids"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

type gate struct {
	open chan struct{}
	seen []Event
}

func (g *gate) Event(e Event) {
	<-g.open
	g.seen = append(g.seen, e)
}

func TestQueueKeepsOrderNeverBlocksAndCountsDrops(t *testing.T) {
	g := &gate{open: make(chan struct{})}
	q := NewQueue(g)
	const sent = 3 * QueueMax
	for i := range sent { // the listener hangs: this must return all the same
		q.Event(LeaderChanged{Term: ids.Term(i)})
	}
	close(g.open)
	q.Close()
	q.Close()
	if n := uint64(len(g.seen)) + q.Dropped(); n != sent {
		t.Fatalf("%d delivered + %d dropped, want %d in all", len(g.seen), q.Dropped(), sent)
	}
	if q.Dropped() == 0 || len(g.seen) < QueueMax {
		t.Fatalf("delivered %d, dropped %d: want at least %d delivered, some dropped", len(g.seen), q.Dropped(), QueueMax)
	}
	for i, e := range g.seen[1:] {
		if g.seen[i].(LeaderChanged).Term >= e.(LeaderChanged).Term {
			t.Fatalf("event %d out of order: %v after %v", i+1, e, g.seen[i])
		}
	}
	q.Event(DiskRoom{})
	if got := q.Dropped(); got == 0 || len(g.seen) > sent {
		t.Fatal("an event after Close was not dropped")
	}
}

func TestNamesAreDistinct(t *testing.T) {
	seen := map[string]bool{}
	for _, e := range []Event{
		BecameLeader{}, BecameFollower{}, LeaderChanged{}, ISRChanged{}, ReplicaDamaged{}, SyncStalled{},
		LogFailed{}, DiskFull{}, DiskRoom{}, SnapshotSent{}, SnapshotApplied{}, DrainPhase{},
	} {
		if e.Name() == "" || seen[e.Name()] {
			t.Errorf("%T: name %q is empty or taken", e, e.Name())
		}
		seen[e.Name()] = true
		Discard.Event(e)
	}
}
