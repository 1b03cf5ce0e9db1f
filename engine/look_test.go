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
	s := &seen{}
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
		v, st := s.of(h.group.ID()), h.group.Status()
		if v == nil || len(v.members) != 1 || v.members[0].ID != h.group.Replica() || v.members[0].Match != st.Last || v.term != st.Term {
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
	want := map[ids.Partition][]ids.NodeID{0: {1, 2}, 1: {2, 3}}
	for p, nodes := range want {
		h := b.partition("t", p)
		places, v := map[ids.ReplicaID]ids.NodeID{}, &isrView{term: h.group.Status().Term + 1}
		for _, n := range nodes {
			id := ids.ReplicaID(100 + n)
			places[id] = n
			v.members = append(v.members, replica.Progress{ID: id})
		}
		h.members.Store(&places)
		i.leading = append(i.leading, leading{h, v})
	}
	for range 2 { // the second look finds what the first one left
		told := i.changes()
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

// What one look found holds on to nothing that left before the next.
func TestLeadingInOldMemory(t *testing.T) {
	b := newBed(t)
	b.topic("t", 3)
	views := []isrView{{group: ids.MetadataGroup}} // not a partition
	for p := range ids.Partition(3) {
		views = append(views, isrView{group: b.partition("t", p).group.ID()})
	}
	old := b.node.hosts.leading(views, nil)
	left := b.partition("t", 1)
	left.gone.Store(true)
	now := b.node.hosts.leading(views, old)
	is := func(l leading) bool { return l.hosted == left }
	if len(old) != 3 || len(now) != 2 || slices.ContainsFunc(now[:cap(now)], is) || &now[0] != &old[0] {
		t.Errorf("%d partitions, then %d", len(old), len(now))
	}
	for _, l := range now {
		if l.view.group != l.group.ID() {
			t.Errorf("partition %d has the view of group %d", l.part, l.view.group)
		}
	}
	left.gone.Store(false)
}
