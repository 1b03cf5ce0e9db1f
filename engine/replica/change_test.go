package replica_test

import (
	"testing"

	"go.etcd.io/raft/v3/raftpb"

	"dyno/engine/ids"
	"dyno/engine/replica"
	"dyno/engine/replica/replicatest"
	"dyno/wal"
)

// TestNoChangeBeforeTheCommitOfTheLast: wherever a power cut ends an append, what is
// left holds no membership change without the word that the one before is committed.
func TestNoChangeBeforeTheCommitOfTheLast(t *testing.T) {
	rep, err := replica.New(replica.Config{Group: 1, ID: 2, Voters: []ids.ReplicaID{1, 2, 3}}, replica.NewMemoryLog(), replicatest.NewMachine())
	if err != nil {
		t.Fatal(err)
	}
	m := raftpb.Message{Type: raftpb.MsgApp, From: 1, To: 2, Term: 1, Commit: 3}
	add := func(kind raftpb.EntryType, data []byte) {
		m.Entries = append(m.Entries, raftpb.Entry{Type: kind, Index: uint64(len(m.Entries) + 1), Term: 1, Data: data})
	}
	joint := raftpb.ConfChangeV2{Changes: []raftpb.ConfChangeSingle{
		{Type: raftpb.ConfChangeAddNode, NodeID: 4}, {Type: raftpb.ConfChangeRemoveNode, NodeID: 3},
	}}
	data, err := joint.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	add(raftpb.EntryNormal, []byte("a"))
	add(raftpb.EntryConfChangeV2, data)
	add(raftpb.EntryConfChangeV2, nil)
	add(raftpb.EntryNormal, []byte("b"))
	rep.Step(&m)
	var out replica.Output
	if err := rep.Turn(1, &out); err != nil {
		t.Fatal(err)
	}
	var end, last, commit uint64 // the newest entry, the newest change, what is known to be committed
	changes := 0
	for _, r := range out.Records {
		switch {
		case r.Kind == wal.KindState:
			if commit = r.Index; commit > end {
				t.Errorf("the commit index %d stands before its entry", commit)
			}
			continue
		case r.Type != uint8(raftpb.EntryNormal):
			if commit < last {
				t.Errorf("the change at %d stands before the word that %d is committed", r.Index, last)
			}
			last = r.Index
			changes++
		}
		end = r.Index
	}
	if changes != 2 || commit != 3 {
		t.Errorf("%d changes, commit index %d: want 2 and 3", changes, commit)
	}
}
