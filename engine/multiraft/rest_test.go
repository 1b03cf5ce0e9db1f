package multiraft

import (
	"fmt"
	"testing"

	"go.etcd.io/raft/v3/raftpb"

	"dyno/engine/ids"
	"dyno/engine/replica"
	"dyno/engine/replica/replicatest"
	"dyno/engine/transport"
)

// A worker that is told to rest gives back what a burst made large, in both halves
// of its mailbox and on the way out, and nothing that waits is lost by it.
func TestRestGivesBack(t *testing.T) {
	const burst = 10_000
	m := single(t, NewMemoryLog())
	g := open(t, m, 1, replicatest.NewMachine())
	w := g.w
	room := func() (in, out int) { // of the fuller half, and of the lanes
		if err := g.Call(t.Context(), func() {
			w.box.mu.Lock()
			defer w.box.mu.Unlock()
			for _, half := range []*inbox{&w.in, &w.box.in} {
				in = max(in, cap(half.messages), cap(half.props), cap(half.calls), cap(half.done))
			}
			for _, lanes := range w.peers {
				for _, l := range lanes {
					out = max(out, cap(l))
				}
			}
		}); err != nil {
			t.Fatal(err)
		}
		return in, out
	}
	stuff := func() {
		for range burst {
			w.box.message(g, &raftpb.Message{Type: raftpb.MsgHeartbeat, From: 99})
		}
	}
	if err := g.Call(t.Context(), func() { // no drain takes part of a burst
		stuff()
		lanes := new([transport.Lanes][]transport.Envelope)
		lanes[transport.Control] = make([]transport.Envelope, 0, burst)
		w.peers[2], w.order = lanes, []ids.NodeID{2}
	}); err != nil {
		t.Fatal(err)
	}
	if err := g.Call(t.Context(), stuff); err != nil {
		t.Fatal(err)
	}
	if in, out := room(); in < burst || out < burst {
		t.Fatalf("room for %d and %d: the burst was none", in, out)
	}
	m.Rest()
	var meanwhile []*replicatest.Waiter
	if err := g.Call(t.Context(), func() { // in the box while the worker rests after this drain
		w.resting = true
		for i := range 100 {
			meanwhile = append(meanwhile, propose(t, g, fmt.Sprint(i), replica.WaitCommit))
		}
	}); err != nil {
		t.Fatal(err)
	}
	for _, p := range meanwhile {
		want(t, p, nil)
	}
	if in, out := room(); in > burst/10 || out > 0 {
		t.Errorf("room for %d messages in and %d out is kept", in, out)
	}
	m.Rest()
	if err := m.Close(); err != nil {
		t.Fatal(err)
	}
	m.Rest() // nobody is there any more
}
