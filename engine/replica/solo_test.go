package replica_test

import (
	"errors"
	"testing"

	"go.etcd.io/raft/v3/raftpb"

	"dyno/engine/ids"
	"dyno/engine/replica"
	"dyno/engine/replica/replicatest"
)

// quietLog and quietMachine keep nothing, once they are told to.
type quietLog struct {
	*replica.MemoryLog
	on bool
}

func (l *quietLog) Append(entries []raftpb.Entry) {
	if !l.on {
		l.MemoryLog.Append(entries)
	}
}

type quietMachine struct {
	*replicatest.Machine
	on bool
}

func (m *quietMachine) Apply(entries []replica.Entry) error {
	if m.on {
		return nil
	}
	return m.Machine.Apply(entries)
}

func (m *quietMachine) Stamp(term ids.Term, nowMS int64, p *replica.Proposal) error {
	if m.on {
		return nil
	}
	return m.Machine.Stamp(term, nowMS, p)
}

// TestSoloAllocatesLittle: an append and its commit cost one member the slice
// that the log keeps, and nothing of Raft's.
func TestSoloAllocatesLittle(t *testing.T) {
	log, sm := &quietLog{MemoryLog: replica.NewMemoryLog()}, &quietMachine{Machine: replicatest.NewMachine()}
	rep, err := replica.New(replica.Config{Group: 1, ID: 1, Voters: []ids.ReplicaID{1}}, log, sm)
	if err != nil {
		t.Fatal(err)
	}
	s := &solo{t: t, rep: rep, log: log.MemoryLog}
	s.lead()
	log.on, sm.on = true, true
	drain := []*replica.Proposal{{Data: make([]byte, 100)}}
	var stored []replica.Stored
	one := func() {
		s.rep.Propose(drain)
		if err := s.turn(); err != nil {
			t.Fatal(err)
		}
		stored = append(stored[:0], s.out.Stored...)
		s.out.Reset()
		for i := range stored {
			s.rep.Stored(&stored[i], &s.out)
		}
		if err := s.turn(); err != nil {
			t.Fatal(err)
		}
	}
	if n := testing.AllocsPerRun(1000, one); n > 1 {
		t.Errorf("%v allocations per proposal, want 1", n)
	}
	if got := int(s.rep.Applied()); got < 1000 {
		t.Fatalf("applied %d", got)
	}
}

// TestSoloEndsWithAChangeOfMembers: appends under way when the second member is
// asked for are not lost, and from then on Raft decides.
func TestSoloEndsWithAChangeOfMembers(t *testing.T) {
	s := newSim(t, 3, 1)
	first := s.nodes[0]
	first.rep.Campaign()
	s.settle(5)
	first.propose(3)
	s.settle(5)
	first.propose(2) // in flight
	change := raftpb.ConfChangeV2{Changes: []raftpb.ConfChangeSingle{{Type: raftpb.ConfChangeAddLearnerNode, NodeID: 2}}}
	if err := first.rep.ChangeMembers(change); !errors.Is(err, replica.ErrNotLeader) {
		t.Fatalf("a change while alone: %v", err)
	}
	n := &simNode{s: s, id: 2, log: replica.NewMemoryLog(), sm: replicatest.NewMachine()}
	n.sm.Seen = s.seen
	n.wire = s.net.Node(2)
	n.wire.Start(n)
	rep, err := replica.New(replica.Config{Group: 1, ID: 2, Voters: []ids.ReplicaID{1}, ElectionTicks: 10, HeartbeatTicks: 2}, n.log, n.sm)
	if err != nil {
		t.Fatal(err)
	}
	n.rep = rep
	s.nodes = append(s.nodes, n)
	s.settle(5)
	if got := len(s.committed); got != 2+5+1-1 { // two empty entries of two terms, five proposals
		t.Fatalf("%d entries committed", got)
	}
	if err := first.rep.ChangeMembers(change); err != nil {
		t.Fatal(err)
	}
	first.turn()
	s.settle(40)
	first.propose(4)
	s.settle(10)
	if got := int(n.sm.Applied()); got != len(s.committed) || got != 7+1+4 {
		t.Fatalf("the learner applied %d of %d", got, len(s.committed))
	}
	for i, w := range s.open {
		if lost := w.err != nil && i != 3 && i != 4; w.answers != 1 || lost {
			t.Errorf("proposal %d: %d answers, %v", i, w.answers, w.err)
		}
	}
}
