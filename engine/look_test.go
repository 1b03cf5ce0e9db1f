package engine

import (
	"runtime"
	"slices"
	"testing"

	"dyno/engine/ids"
	"dyno/engine/replica"
)

// A look at the groups costs no memory for each of them once one was taken, and
// every view is of its own group.
func TestLookUsesItsMemoryAgain(t *testing.T) {
	const parts = 200
	b := newBed(t)
	b.topic("t", parts)
	for p := range 3 {
		for range p {
			b.produce("t", int32(p), "x")
		}
	}
	s := &seen{views: map[ids.GroupID]isrView{}}
	look := func() {
		s.reset()
		if err := b.node.raft.Led(soon(t), s.add); err != nil {
			t.Fatal(err)
		}
	}
	look()
	const looks = 50
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for range looks {
		look()
	}
	runtime.ReadMemStats(&after)
	if n := (after.TotalAlloc - before.TotalAlloc) / looks; n > 20*parts { // a view has 48 bytes, a member 32
		t.Errorf("%d bytes for a look at %d groups", n, parts)
	}
	for p := range parts {
		h := b.partition("t", ids.Partition(p))
		v, st := s.views[h.group.ID()], h.group.Status()
		if len(v.members) != 1 || v.members[0].ID != h.group.Replica() || v.members[0].Match != st.Last || v.term != st.Term {
			t.Fatalf("partition %d: %+v, the group says %+v", p, v, st)
		}
	}
}

// Who is in sync is kept for each partition by itself, by its leader and in what
// is told to the metadata.
func TestInSyncSetsAreApart(t *testing.T) {
	b := newBed(t) // alone: nobody else looks
	b.topic("t", 2)
	i := newISR(b.node)
	defer i.cancel()
	views := map[ids.GroupID]isrView{}
	want := map[ids.Partition][]ids.NodeID{0: {1, 2}, 1: {2, 3}}
	for p, nodes := range want {
		h := b.partition("t", p)
		places, v := map[ids.ReplicaID]ids.NodeID{}, isrView{term: h.group.Status().Term + 1}
		for _, n := range nodes {
			id := ids.ReplicaID(100 + n)
			places[id] = n
			v.members = append(v.members, replica.Progress{ID: id})
		}
		h.members.Store(&places)
		views[h.group.ID()] = v
	}
	i.hosted = b.node.hosts.list()
	for range 2 { // the second look finds what the first one left
		told := i.changes(views)
		if len(told) != len(want) {
			t.Fatalf("told %+v", told)
		}
		for _, c := range told {
			if !slices.Equal(c.ISR, want[c.Partition]) {
				t.Errorf("partition %d: %v is told, want %v", c.Partition, c.ISR, want[c.Partition])
			}
		}
		for p, nodes := range want {
			if got := b.partition("t", p).syncedNodes(); !slices.Equal(got, nodes) {
				t.Errorf("partition %d: %v is kept, want %v", p, got, nodes)
			}
		}
	}
}

// A list in the memory of an earlier one holds on to nothing that left.
func TestListInOldMemory(t *testing.T) {
	b := newBed(t)
	b.topic("t", 3)
	old := b.node.hosts.listInto(nil)
	left := b.partition("t", 1)
	left.gone.Store(true)
	now := b.node.hosts.listInto(old)
	if len(old) != 3 || len(now) != 2 || slices.Contains(now[:cap(now)], left) || &now[0] != &old[0] {
		t.Errorf("%d partitions, then %d", len(old), len(now))
	}
	left.gone.Store(false)
}
