package replica_test

import (
	"errors"
	"fmt"
	"io"
	"log"
	"testing"
	"time"

	"go.etcd.io/raft/v3/raftpb"

	"dyno/engine/ids"
	"dyno/engine/replica"
	"dyno/engine/replica/replicatest"
)

var nullLog = log.New(io.Discard, "", 0)

func TestStepDownFailsWaitersAndRollsBack(t *testing.T) {
	s := newSim(t, 3, 3)
	s.settle(60)
	old := s.leader()
	s.net.Isolate(old.id)
	old.propose(4)
	mine := s.open[len(s.open)-4:]
	for old.rep.Role().State == replica.Leader { // CheckQuorum ends it
		old.rep.Tick()
		old.turn()
		for len(old.disk) > 0 {
			old.sync()
		}
	}
	if n := old.sm.Stamped(); n != 0 {
		t.Errorf("%d stamped proposals were not rolled back", n)
	}
	old.propose(2) // these wait for the next leader's name as well
	old.turn()
	mine = append(mine, s.open[len(s.open)-2:]...)
	for _, w := range mine {
		if w.answers != 0 && w.wait == replica.WaitCommit {
			t.Errorf("%s: answered before anybody could be named: %v", w.data, w.err)
		}
	}
	for range 5 { // and no longer
		old.rep.Tick()
	}
	old.turn()
	for _, w := range mine {
		if w.wait == replica.WaitCommit && (w.answers != 1 || !errors.Is(w.err, replica.ErrNotLeader)) {
			t.Errorf("%s: %d answers, %v", w.data, w.answers, w.err)
		}
	}
	s.settle(100)
	s.check()
}

func TestTransferHoldsProposalsAndMovesLeadership(t *testing.T) {
	s := newSim(t, 4, 3)
	s.settle(60)
	old := s.leader()
	to := ids.ReplicaID(old.id%3 + 1)
	if err := old.rep.Transfer(to); err != nil {
		t.Fatal(err)
	}
	old.propose(2) // raft takes nothing now: they wait, and hear of the new leader
	s.settle(60)
	if s.leader() == old || ids.ReplicaID(s.leader().id) != to {
		t.Fatalf("leader %d, want %d", s.leader().id, to)
	}
	for _, w := range s.open {
		var named *replica.NotLeaderError
		if w.answers != 1 || !errors.As(w.err, &named) || named.Leader != to {
			t.Errorf("%s: %d answers, %v; want one that names %d", w.data, w.answers, w.err, to)
		}
	}
	if err := old.rep.Transfer(to); !errors.Is(err, replica.ErrNotLeader) {
		t.Errorf("transfer by a follower: %v", err)
	}
	s.check()
}

// TestPeerDown: with a leader that is known to be gone the others elect one long
// before their timeout of 10 ticks; a hint that was wrong changes nothing for long.
func TestPeerDown(t *testing.T) {
	s := newSim(t, 11, 3)
	s.settle(60)
	old := s.leader()
	s.net.Isolate(old.id)
	old.down = true
	down := func() {
		for rank, n := range s.nodes {
			if n != old {
				n.rep.PeerDown(ids.ReplicaID(old.id), 1+rank)
				n.turn()
			}
		}
	}
	round := func(rounds int) {
		for range rounds {
			for _, n := range s.nodes {
				if n.down {
					continue
				}
				n.rep.Tick()
				n.turn()
				for len(n.disk) > 0 {
					n.sync()
				}
				s.net.Advance(time.Millisecond)
			}
		}
	}
	down()
	round(6)
	if l := s.leader(); l == nil || l == old {
		t.Fatal("nobody leads after 6 ticks")
	}
	old.down = false
	s.settle(60)
	led := s.leader()
	old = led
	down() // it lives
	s.settle(60)
	s.leader().propose(1)
	s.settle(20)
	s.check()
}

func TestFollowerReads(t *testing.T) {
	s := newSim(t, 5, 3)
	s.settle(60)
	s.leader().propose(3)
	s.settle(1)
	for _, n := range s.nodes {
		r := &simRead{s: s, floor: len(s.committed)}
		s.reads = append(s.reads, r)
		n.rep.ReadIndex(r)
		n.turn()
	}
	s.settle(20)
	s.check()
	// With the leader cut off, a read that cannot be confirmed is not answered.
	old := s.leader()
	s.net.Isolate(old.id)
	r := &readWaiter{}
	old.rep.ReadIndex(r)
	for range 5 {
		old.rep.Tick()
		old.turn()
	}
	if r.n != 0 {
		t.Fatalf("a leader without a quorum answered %d", r.index)
	}
	s.settle(100) // the read finds the leader again, with another context
	if r.n != 1 || r.err != nil {
		t.Fatalf("%d answers, %v", r.n, r.err)
	}
}

func TestJointChangeOfMembers(t *testing.T) {
	s := newSim(t, 6, 3)
	s.settle(60)
	s.leader().propose(2)
	s.settle(5)
	// A fourth node joins as a learner with an empty log, then replaces a voter.
	n := &simNode{s: s, id: 4, log: replica.NewMemoryLog(), sm: replicatest.NewMachine()}
	n.sm.Seen = s.seen
	s.nodes = append(s.nodes, n)
	n.wire = s.net.Node(4)
	n.wire.Start(n)
	rep, err := replica.New(replica.Config{Group: 1, ID: 4, Voters: []ids.ReplicaID{1, 2, 3}, ElectionTicks: 10, HeartbeatTicks: 2}, n.log, n.sm)
	if err != nil {
		t.Fatal(err)
	}
	n.rep = rep
	change := func(list ...raftpb.ConfChangeSingle) {
		t.Helper()
		if err := s.leader().rep.ChangeMembers(raftpb.ConfChangeV2{Changes: list}); err != nil {
			t.Fatal(err)
		}
		s.leader().turn()
		s.settle(40)
	}
	change(raftpb.ConfChangeSingle{Type: raftpb.ConfChangeAddLearnerNode, NodeID: 4})
	if got := int(n.sm.Applied()); got != len(s.committed) {
		t.Fatalf("the learner applied %d of %d", got, len(s.committed))
	}
	gone := ids.ReplicaID(s.leader().id%3 + 1) // a follower
	change(
		raftpb.ConfChangeSingle{Type: raftpb.ConfChangeAddNode, NodeID: 4},
		raftpb.ConfChangeSingle{Type: raftpb.ConfChangeRemoveNode, NodeID: uint64(gone)},
	)
	m := n.rep.Members()
	if len(m.Voters) != 3 || len(m.Learners) != 0 || len(m.Outgoing) != 0 || fmt.Sprint(m.Voters) == "[1 2 3]" {
		t.Fatalf("members %+v", m)
	}
	follower := s.nodes[gone-1]
	if err := follower.rep.ChangeMembers(raftpb.ConfChangeV2{}); !errors.Is(err, replica.ErrNotLeader) {
		t.Fatalf("change by one that left: %v", err)
	}
	s.leader().propose(2)
	s.settle(20)
	if got := int(n.sm.Applied()); got != len(s.committed) {
		t.Fatalf("the new voter applied %d of %d", got, len(s.committed))
	}
}

// contexts are those of the ReadIndex attempts a turn of n sends.
func (n *simNode) contexts() (list []string) {
	if err := n.rep.Turn(0, &n.out); err != nil {
		n.s.t.Fatal(err)
	}
	for i := range n.out.Messages {
		if m := &n.out.Messages[i]; m.Type == raftpb.MsgHeartbeat && len(m.Context) > 0 && m.To == n.out.Messages[0].To {
			list = append(list, string(m.Context))
		}
	}
	n.out.Reset()
	return list
}

func TestEveryReadAttemptHasItsOwnContext(t *testing.T) {
	s := newSim(t, 8, 3)
	s.settle(60)
	seen := map[string]bool{}
	attempts := 0
	try := func(n *simNode) {
		n.rep.ReadIndex(&readWaiter{})
		for _, c := range n.contexts() {
			if seen[c] {
				t.Fatalf("context %x was used before", c)
			}
			seen[c] = true
			attempts++
		}
	}
	for range 3 {
		n := s.leader()
		for range 3 { // nothing answers: each read is an attempt
			try(n)
		}
		n.crash() // and the next life of the same replica has others
		s.settle(100)
	}
	if attempts != 9 {
		t.Fatalf("%d attempts, want 9", attempts)
	}
}

func TestANewTermIsStoredBeforeItIsAnswered(t *testing.T) {
	s := newSim(t, 9, 3)
	n := s.nodes[0]
	n.rep.Step(&raftpb.Message{Type: raftpb.MsgHeartbeat, From: 2, To: 1, Term: 5})
	if err := n.rep.Turn(0, &n.out); err != nil {
		t.Fatal(err)
	}
	if len(n.out.Records) != 1 || n.out.Records[0].Term != 5 {
		t.Fatalf("records %+v after a heartbeat of term 5", n.out.Records)
	}
}

// TestCopies: a proposal that asks for more copies than the majority is applied
// with the others and answered when the copies are there; a duplicate of it waits
// as well; a leadership that ends fails both.
func TestCopies(t *testing.T) {
	s := newSim(t, 21, 3)
	s.settle(60)
	l := s.leader()
	slow := s.nodes[l.id%3]
	s.net.Isolate(slow.id)
	ask := func(data string, copies int) *simWaiter {
		w := &simWaiter{s: s, data: data, wait: replica.WaitCommit}
		s.open = append(s.open, w)
		l.rep.Propose([]*replica.Proposal{{Data: []byte(data), Wait: replica.WaitCommit, Waiter: w, Copies: copies}})
		l.turn()
		return w
	}
	run := func(rounds int) {
		for range rounds {
			for _, n := range s.nodes {
				n.rep.Tick()
				n.turn()
				for len(n.disk) > 0 {
					n.sync()
				}
				s.net.Advance(time.Millisecond)
			}
		}
	}
	all, two := ask("all", 3), ask("two", 2)
	run(3)
	if all.answers != 0 || l.rep.Applied() < 3 {
		t.Fatalf("%d answers with two of three copies, applied %d", all.answers, l.rep.Applied())
	}
	if two.answers != 0 { // behind one that waits: answers keep the order of the log
		t.Fatal("an answer passed one that waits")
	}
	s.net.Heal(slow.id)
	s.settle(5)
	if all.answers != 1 || all.err != nil || two.answers != 1 || two.err != nil {
		t.Fatalf("with three copies: %d answers, %v; %d, %v", all.answers, all.err, two.answers, two.err)
	}
	if two = ask("two more", 2); two.answers != 0 {
		t.Fatal("answered before it was durable")
	}
	s.net.Isolate(slow.id)
	again := ask("all again", 3)
	run(2)
	if two.answers != 1 || again.answers != 0 {
		t.Fatalf("%d and %d answers", two.answers, again.answers)
	}
	s.net.Heal(slow.id)
	s.net.Isolate(l.id)
	for l.rep.Role().State == replica.Leader {
		l.rep.Tick()
		l.turn()
	}
	for range 5 { // it waits for the next leader's name, in vain
		l.rep.Tick()
	}
	l.turn()
	if again.answers != 1 || !errors.Is(again.err, replica.ErrNotLeader) {
		t.Errorf("after the leadership: %d answers, %v", again.answers, again.err)
	}
	s.settle(60)
	s.check()
}

// Most ticks ask for no turn: those of a leader that have it send a heartbeat do, and
// those that end a follower's patience.
func TestTickAsksForATurn(t *testing.T) {
	s := newSim(t, 23, 3)
	s.settle(60)
	l := s.leader()
	f := s.nodes[l.id%3]
	due := func(n *simNode, ticks int) (asked int) {
		for range ticks {
			if n.rep.Tick() {
				asked++
				n.turn()
			}
		}
		return asked
	}
	if asked := due(l, 8); asked != 4 { // a heartbeat every second tick
		t.Errorf("8 ticks of a leader asked for %d turns", asked)
	}
	s.net.Isolate(f.id)
	role := f.rep.Role()
	for ticks := 0; f.rep.Role() == role; ticks++ {
		if f.rep.Tick() {
			f.turn()
		} else if ticks > 1000 {
			t.Fatal("a follower without a leader never asked for a turn")
		}
	}
	s.net.Heal(f.id)
	s.settle(60)
	s.check()
}
