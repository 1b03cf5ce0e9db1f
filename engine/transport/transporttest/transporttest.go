// Package transporttest is the contract of a transport as a test: every
// implementation runs it. What it checks is what package transport promises.
package transporttest

import (
	"fmt"
	"reflect"
	"runtime"
	"sync"
	"testing"

	"go.etcd.io/raft/v3/raftpb"

	"dyno/engine/ids"
	"dyno/engine/transport"
)

// Factory makes the transports of nodes 1 to n of one cluster, able to reach
// each other, with lanes that queue at most queueBytesMax per peer. It
// registers its own clean-up; the test closes the transports too.
type Factory func(t *testing.T, n int, queueBytesMax int64) []transport.Transport

// Run runs the contract.
func Run(t *testing.T, factory Factory) {
	for name, test := range map[string]func(*testing.T, Factory){
		"delivers whole messages on every lane": delivers,
		"keeps order per lane":                  keepsOrder,
		"does not keep the caller's slice":      copiesBatch,
		"reports a peer that is gone":           reportsGone,
		"drops and reports what does not fit":   dropsOverflow,
		"is silent after close":                 closes,
		"takes concurrent senders":              concurrent,
	} {
		t.Run(name, func(t *testing.T) { test(t, factory) })
	}
}

type report struct {
	node    ids.NodeID
	group   ids.GroupID
	replica ids.ReplicaID
}

// inbox is a handler that keeps what comes.
type inbox struct {
	mu      sync.Mutex
	changed sync.Cond
	got     []transport.Envelope
	from    []ids.NodeID
	reports []report
	gate    sync.Mutex // held by a test that wants Receive to wait
}

func newInbox() *inbox {
	in := &inbox{}
	in.changed.L = &in.mu
	return in
}

func (in *inbox) Receive(from ids.NodeID, batch []transport.Envelope) {
	in.gate.Lock()
	defer in.gate.Unlock()
	in.mu.Lock()
	defer in.mu.Unlock()
	for i := range batch {
		in.got = append(in.got, batch[i])
		in.from = append(in.from, from)
	}
	clear(batch) // it is the transport's again: nobody may rely on it
	in.changed.Broadcast()
}

func (in *inbox) Unreachable(to ids.NodeID, group ids.GroupID, replica ids.ReplicaID) {
	in.mu.Lock()
	defer in.mu.Unlock()
	in.reports = append(in.reports, report{to, group, replica})
	in.changed.Broadcast()
}

// first is the first report, empty if there is none yet.
func (in *inbox) first() report {
	in.mu.Lock()
	defer in.mu.Unlock()
	if len(in.reports) == 0 {
		return report{}
	}
	return in.reports[0]
}

// wait returns when ok does; the test's own deadline ends it otherwise.
func (in *inbox) wait(ok func() bool) {
	in.mu.Lock()
	defer in.mu.Unlock()
	for !ok() {
		in.changed.Wait()
	}
}

func start(t *testing.T, factory Factory, n int, max int64) ([]transport.Transport, []*inbox) {
	nodes := factory(t, n, max)
	var boxes []*inbox
	for _, node := range nodes {
		in := newInbox()
		boxes = append(boxes, in)
		node.Start(in)
		t.Cleanup(func() { _ = node.Close() })
	}
	return nodes, boxes
}

func message(to uint64, i int, size int) raftpb.Message {
	return raftpb.Message{
		Type: raftpb.MsgApp, From: 1, To: to, Term: 3, LogTerm: 2, Index: uint64(i), Commit: 7,
		Entries: []raftpb.Entry{{Type: raftpb.EntryNormal, Term: 3, Index: uint64(i) + 1, Data: make([]byte, size)}},
	}
}

func delivers(t *testing.T, factory Factory) {
	nodes, boxes := start(t, factory, 2, 1<<20)
	all := []raftpb.Message{
		message(2, 9, 100),
		{Type: raftpb.MsgHeartbeat, From: 1, To: 2, Term: 5, Commit: 3, Context: []byte("read")},
		{Type: raftpb.MsgAppResp, From: 1, To: 2, Term: 5, Index: 4, Reject: true, RejectHint: 2, LogTerm: 1},
		{Type: raftpb.MsgSnap, From: 1, To: 2, Term: 6, Snapshot: &raftpb.Snapshot{
			Data:     []byte("state"),
			Metadata: raftpb.SnapshotMetadata{Index: 8, Term: 4, ConfState: raftpb.ConfState{Voters: []uint64{1, 2}}},
		}},
	}
	for i := range all {
		nodes[0].Send(2, transport.LaneOf(&all[i]), []transport.Envelope{{Group: ids.GroupID(i + 1), Message: all[i]}})
	}
	boxes[1].wait(func() bool { return len(boxes[1].got) == len(all) })
	for i, e := range boxes[1].got { // lanes may overtake each other
		if boxes[1].from[i] != 1 || !reflect.DeepEqual(e.Message, all[e.Group-1]) {
			t.Errorf("from %d: got %+v, sent %+v", boxes[1].from[i], e.Message, all[e.Group-1])
		}
	}
}

func keepsOrder(t *testing.T, factory Factory) {
	nodes, boxes := start(t, factory, 2, 64<<20)
	const sent = 2000
	for i := 0; i < sent; {
		var batch []transport.Envelope
		for range 1 + i%7 {
			batch = append(batch, transport.Envelope{Group: 1, Message: message(2, i, 10)})
			i++
		}
		nodes[0].Send(2, transport.Bulk, batch)
	}
	boxes[1].wait(func() bool { return len(boxes[1].got) >= sent })
	for i, e := range boxes[1].got {
		if e.Message.Index != uint64(i) {
			t.Fatalf("message %d came in place %d", e.Message.Index, i)
		}
	}
}

func copiesBatch(t *testing.T, factory Factory) {
	nodes, boxes := start(t, factory, 2, 1<<20)
	batch := []transport.Envelope{{}}
	for i := range 100 {
		batch[0] = transport.Envelope{Group: 1, Message: message(2, i, 1)}
		nodes[0].Send(2, transport.Bulk, batch)
	}
	batch[0] = transport.Envelope{}
	boxes[1].wait(func() bool { return len(boxes[1].got) == 100 })
	for i, e := range boxes[1].got {
		if e.Message.Index != uint64(i) {
			t.Fatalf("message %d: got index %d", i, e.Message.Index)
		}
	}
}

func reportsGone(t *testing.T, factory Factory) {
	nodes, boxes := start(t, factory, 2, 1<<20)
	if err := nodes[1].Close(); err != nil {
		t.Fatal(err)
	}
	want := report{node: 2, group: 5, replica: 22}
	// A peer that has just gone may swallow a message or two unnoticed.
	for i := 0; boxes[0].first() == (report{}); i++ {
		nodes[0].Send(2, transport.Bulk, []transport.Envelope{{Group: 5, Message: message(22, i, 10)}})
		runtime.Gosched()
	}
	if got := boxes[0].first(); got != want {
		t.Fatalf("reported %+v, want %+v", got, want)
	}
}

func dropsOverflow(t *testing.T, factory Factory) {
	const max, size, sent = 1 << 20, 64 << 10, 2000
	nodes, boxes := start(t, factory, 2, max)
	boxes[1].gate.Lock()
	for i := range sent { // 125 MiB into 1 MiB: this must return
		nodes[0].Send(2, transport.Bulk, []transport.Envelope{{Group: 1, Message: message(2, i, size)}})
	}
	boxes[1].gate.Unlock()
	boxes[0].wait(func() bool { return len(boxes[0].reports) > 0 })
	if r := boxes[0].first(); r != (report{2, 1, 2}) {
		t.Fatalf("reported %+v", r)
	}
	// It works again, and the control lane never was in the way.
	nodes[0].Send(2, transport.Control, []transport.Envelope{{Group: 9, Message: raftpb.Message{Type: raftpb.MsgHeartbeat, From: 1, To: 2}}})
	boxes[1].wait(func() bool {
		for _, e := range boxes[1].got {
			if e.Group == 9 {
				return true
			}
		}
		return false
	})
	boxes[1].mu.Lock()
	defer boxes[1].mu.Unlock()
	last := -1
	for _, e := range boxes[1].got {
		if e.Group != 1 {
			continue
		}
		if int(e.Message.Index) <= last {
			t.Fatalf("message %d after %d", e.Message.Index, last)
		}
		last = int(e.Message.Index)
	}
	if len(boxes[1].got) >= sent {
		t.Fatal("nothing was dropped")
	}
}

func closes(t *testing.T, factory Factory) {
	nodes, boxes := start(t, factory, 2, 1<<20)
	nodes[0].Send(2, transport.Bulk, []transport.Envelope{{Group: 1, Message: message(2, 1, 10)}})
	for range 2 {
		for _, node := range nodes {
			if err := node.Close(); err != nil {
				t.Fatal(err)
			}
		}
	}
	boxes[1].mu.Lock()
	n := len(boxes[1].got)
	boxes[1].mu.Unlock()
	nodes[0].Send(2, transport.Bulk, []transport.Envelope{{Group: 1, Message: message(2, 2, 10)}})
	boxes[1].mu.Lock()
	defer boxes[1].mu.Unlock()
	if len(boxes[1].got) != n {
		t.Fatal("a message arrived after Close")
	}
}

func concurrent(t *testing.T, factory Factory) {
	const n, senders, each = 3, 4, 200
	nodes, boxes := start(t, factory, n, 64<<20)
	var wg sync.WaitGroup
	for from := range nodes {
		for s := range senders {
			wg.Go(func() {
				for i := range each {
					to := (from+1+i%(n-1))%n + 1
					nodes[from].Send(ids.NodeID(to), transport.Lane(i%transport.Lanes), []transport.Envelope{
						{Group: ids.GroupID(s + 1), Message: message(uint64(to), i, 10)},
					})
				}
			})
		}
	}
	wg.Wait()
	for i, in := range boxes {
		in.wait(func() bool { return len(in.got) == senders*each })
		seen := map[string]bool{}
		for k, e := range in.got {
			if e.Message.To != uint64(i+1) {
				t.Fatalf("node %d got a message for replica %d", i+1, e.Message.To)
			}
			key := fmt.Sprint(in.from[k], e.Group, e.Message.Index)
			if seen[key] {
				t.Fatalf("message %s came twice", key)
			}
			seen[key] = true
		}
	}
}
