package replica_test

import (
	"testing"
	"time"

	"go.etcd.io/raft/v3/raftpb"

	"dyno/engine/ids"
	"dyno/engine/replica"
)

const (
	promise   = 1100 * time.Millisecond
	leaseTime = 900 * time.Millisecond // what a promise is good for with LeaseDriftMax
)

// leasing is a cluster with leases and a leader that has none yet.
func leasing(t *testing.T) (*sim, *simNode) {
	t.Helper()
	s := newSim(t, 31, 3, promise)
	s.settle(60)
	if s.leader() != nil {
		t.Fatal("a replica voted before what it may have promised in an earlier life had ended")
	}
	s.now += promise
	s.settle(60)
	s.leader().propose(1)
	s.settle(3)
	return s, s.leader()
}

// read asks n, which answers before the network does anything, or does not.
func (n *simNode) read() *readWaiter {
	r := &readWaiter{}
	n.rep.ReadIndex(r)
	n.turn()
	return r
}

// round lets a round of the leader's be answered.
func (s *sim) round() {
	for range 3 {
		s.net.Advance(time.Millisecond)
	}
}

// leased fails unless n answers by its lease, or does not.
func (n *simNode) leased(what string, want bool) {
	n.s.t.Helper()
	before := n.rep.Stats().LeaseReads
	r := n.read()
	if (r.n == 1) != want || (n.rep.Stats().LeaseReads == before+1) != want {
		n.s.t.Errorf("%s: %d answers at once, lease reads %d to %d", what, r.n, before, n.rep.Stats().LeaseReads)
	}
	if want && (r.err != nil || int(r.index) != len(n.s.committed)) {
		n.s.t.Errorf("%s: index %d, %v; %d entries are committed", what, r.index, r.err, len(n.s.committed))
	}
}

// TestLease: a lease counts from the beginning of its round, is renewed while it is
// used, and ends with the clock alone.
func TestLease(t *testing.T) {
	s, l := leasing(t)
	l.leased("before any round", false)
	s.now += 100 * time.Millisecond // the answers take their time
	s.round()
	s.now += leaseTime - 101*time.Millisecond
	asked := l.rep.Stats().Reads
	l.leased("at the end of the lease", true)
	if n := l.rep.Stats().Reads; n != asked+1 {
		t.Errorf("%d rounds to renew it", n-asked)
	}
	l.leased("while it is being renewed", true)
	if n := l.rep.Stats().Reads; n != asked+1 {
		t.Errorf("%d rounds to renew it at once", n-asked)
	}
	s.round()
	s.now += leaseTime - time.Millisecond
	l.leased("at the end of the next", true)
	s.now += time.Millisecond
	l.leased("when it is over", false)
	s.round()
	l.leased("after another round", true)
	for range 40 { // nothing happens: the group goes quiet, and the promise goes on
		s.settle(1)
	}
	if !l.rep.Quiet() {
		t.Fatal("the group is not quiet")
	}
	l.leased("in a quiet group", true)
	for _, f := range s.nodes {
		if f != l {
			f.leased("a follower", false)
		}
	}
}

// TestLeaseEnds: what ends a lease before its time, and for how long.
func TestLeaseEnds(t *testing.T) {
	step := func(n *simNode, m raftpb.Message) {
		m.To = uint64(n.id)
		n.rep.Step(&m)
	}
	for name, c := range map[string]struct {
		happen func(s *sim, l, f *simNode)
		again  bool // a round gives another one in the same term
	}{
		"a handover": {func(_ *sim, l, f *simNode) { _ = l.rep.Transfer(ids.ReplicaID(f.id)) }, false},
		"a handover to one that lags": {func(s *sim, l, f *simNode) { // it is not told, and it is given up
			l.propose(1)
			_ = l.rep.Transfer(ids.ReplicaID(f.id))
		}, true},
		"a handover that a follower asked for": {func(_ *sim, l, f *simNode) {
			step(l, raftpb.Message{Type: raftpb.MsgTransferLeader, From: uint64(f.id)})
		}, false},
		"a handover taken back in the same turn": {func(_ *sim, l, f *simNode) {
			step(l, raftpb.Message{Type: raftpb.MsgTransferLeader, From: uint64(f.id)})
			step(l, raftpb.Message{Type: raftpb.MsgTransferLeader, From: uint64(l.id)})
			l.turn() // before the word has left it is not over yet
		}, false},
		"a change of members": {func(s *sim, l, _ *simNode) {
			cc := raftpb.ConfChangeV2{Changes: []raftpb.ConfChangeSingle{{Type: raftpb.ConfChangeAddLearnerNode, NodeID: 9}}}
			if err := l.rep.ChangeMembers(cc); err != nil {
				s.t.Fatal(err)
			}
		}, true},
		"a higher term": {func(_ *sim, l, f *simNode) {
			step(l, raftpb.Message{Type: raftpb.MsgAppResp, From: uint64(f.id), Term: uint64(l.rep.Role().Term) + 1})
		}, false},
		"a start": {func(_ *sim, l, _ *simNode) {
			l.crash()
			l.start()
		}, false},
	} {
		t.Run(name, func(t *testing.T) {
			s, l := leasing(t)
			f := s.nodes[l.id%3]
			l.read()
			s.round()
			l.leased("before", true)
			s.now += leaseTime - time.Millisecond
			l.leased("at its end", true) // which begins a round
			s.net.Isolate(f.id)
			c.happen(s, l, f)
			l.leased("afterwards", false)
			s.round()
			if l.rep.Role().State != replica.Leader {
				return
			}
			for range 15 { // a handover that comes to nothing is given up
				for _, n := range s.nodes {
					n.rep.Tick()
					n.turn()
					for len(n.disk) > 0 {
						n.sync()
					}
					s.round()
				}
			}
			s.now += leaseTime // what began before is over
			l.read()
			s.round()
			l.leased("after a round", c.again)
		})
	}
}

// TestLeaseNotOfOldRound: a round gives nothing that began before a change of members,
// and what a round has given ends when the change is applied.
func TestLeaseNotOfOldRound(t *testing.T) {
	s, l := leasing(t)
	l.read() // not answered yet
	cc := raftpb.ConfChangeV2{Changes: []raftpb.ConfChangeSingle{{Type: raftpb.ConfChangeAddLearnerNode, NodeID: 9}}}
	if err := l.rep.ChangeMembers(cc); err != nil {
		t.Fatal(err)
	}
	s.round()
	l.leased("after a round from before the change", false)
	s.round()
	l.leased("while the change is not committed", true)
	for range 4 {
		for _, n := range s.nodes {
			for len(n.disk) > 0 {
				n.sync()
			}
		}
		s.round()
	}
	if len(l.rep.Members().Learners) != 1 {
		t.Fatal("the change is not applied")
	}
	l.leased("when it is", false)
}

// TestLeaseCountsFromItsBegin: how long the answers to a round took is not given on top.
func TestLeaseCountsFromItsBegin(t *testing.T) {
	s, l := leasing(t)
	l.read()
	s.now += 100 * time.Millisecond
	s.round()
	s.now += leaseTime - 100*time.Millisecond
	l.leased("a lease's time after its round began", false)
}

// TestLeaseOfEarlierTerm: a leader that is elected again begins without a lease.
func TestLeaseOfEarlierTerm(t *testing.T) {
	s, l := leasing(t)
	promised, free := s.nodes[l.id%3], s.nodes[(l.id+1)%3]
	s.net.Isolate(free.id)
	l.read()
	s.round()
	l.leased("before", true)
	s.net.Heal(free.id)
	s.net.Isolate(promised.id)
	l.rep.Step(&raftpb.Message{Type: raftpb.MsgAppResp, From: uint64(free.id), To: uint64(l.id), Term: uint64(l.rep.Role().Term) + 1})
	l.turn()
	free.rep.PeerDown(ids.ReplicaID(l.id), 50) // it knows no leader, and waits
	l.rep.Campaign()
	l.turn()
	for range 10 {
		for _, n := range []*simNode{l, free} {
			for len(n.disk) > 0 {
				n.sync()
			}
		}
		s.round()
	}
	if l.rep.Role().State != replica.Leader || len(s.committed) != int(l.rep.Commit()) {
		t.Fatalf("%+v, %d of %d committed", l.rep.Role(), len(s.committed), l.rep.Commit())
	}
	l.leased("elected again within the time of its old lease", false)
	s.round()
	l.leased("after a round", true)
}

// voter is a follower that has answered a round, cut off from the others.
type voter struct {
	*simNode
	leader, other uint64
}

func bound(t *testing.T) voter {
	t.Helper()
	s, l := leasing(t)
	l.read()
	s.round()
	f := s.nodes[l.id%3]
	s.net.Isolate(f.id)
	return voter{f, uint64(l.id), uint64(s.nodes[f.id%3].id)}
}

const foreignTerm = 9 // in which another asks for votes

// asked asks for a vote, lets three ticks pass, and counts the answers, and what f
// asks others by a hundred each.
func (f voter) asked(kind raftpb.MessageType) (n int) {
	f.rep.Step(&raftpb.Message{Type: kind, From: f.other, To: uint64(f.id), Term: foreignTerm, Index: 100, LogTerm: foreignTerm})
	for len(f.disk) > 0 {
		f.sync()
	}
	for range 3 {
		f.rep.Tick()
	}
	if err := f.rep.Turn(0, &f.out); err != nil {
		f.s.t.Fatal(err)
	}
	for i := range f.out.Stored {
		f.rep.Stored(&f.out.Stored[i], &f.out)
	}
	for i := range f.out.Messages {
		switch f.out.Messages[i].Type {
		case raftpb.MsgPreVote, raftpb.MsgVote:
			n += 100
		case raftpb.MsgPreVoteResp, raftpb.MsgVoteResp:
			n++
		}
	}
	f.out.Reset()
	return n
}

// TestPromise: a voter that has answered a round gives nobody its vote, itself
// included, until the promise has ended by the clock, whatever else it hears.
func TestPromise(t *testing.T) {
	for name, happen := range map[string]func(f voter){
		"nothing":       func(voter) {},
		"a false alarm": func(f voter) { f.rep.PeerDown(ids.ReplicaID(f.leader), 1) },
		"a higher term": func(f voter) {
			f.rep.Step(&raftpb.Message{Type: raftpb.MsgAppResp, From: f.leader, To: uint64(f.id), Term: 7})
		},
		"a start":             func(f voter) { f.crash(); f.start() },
		"a wish to be leader": func(f voter) { f.rep.Campaign() },
		"ticks": func(f voter) {
			for range 100 {
				f.rep.Tick()
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			f := bound(t)
			happen(f)
			if n := f.asked(raftpb.MsgPreVote); n != 0 {
				t.Errorf("%d at once", n)
			}
			f.s.now += promise - 1
			if n := f.asked(raftpb.MsgPreVote); n != 0 || f.rep.Role().State != replica.Follower {
				t.Errorf("%d at its end, %v", n, f.rep.Role())
			}
			if n := f.asked(raftpb.MsgVote); n != 0 || f.rep.Role().Term == foreignTerm {
				t.Errorf("%d, and the question was heard: %v", n, f.rep.Role())
			}
			f.s.now++
			free := 0
			for range 30 { // Raft has some patience with its leader, and with a candidate
				free += f.asked(raftpb.MsgPreVote)
			}
			if free == 0 {
				t.Error("nothing when it is over")
			}
		})
	}
}

// TestPromiseOfHandover: the leader's own wish to be replaced goes before what was
// promised to it.
func TestPromiseOfHandover(t *testing.T) {
	f := bound(t)
	f.rep.Step(&raftpb.Message{
		Type: raftpb.MsgVote, From: f.other, To: uint64(f.id), Term: foreignTerm, Index: 100, LogTerm: foreignTerm, Context: []byte("CampaignTransfer"),
	})
	if f.turn(); f.rep.Role().Term != foreignTerm {
		t.Errorf("it was not heard: %+v", f.rep.Role())
	}
}

// TestLeaseHandover: leadership changes hands at once, leases or not.
func TestLeaseHandover(t *testing.T) {
	s, l := leasing(t)
	l.read()
	s.round()
	to := s.nodes[l.id%3]
	if err := l.rep.Transfer(ids.ReplicaID(to.id)); err != nil {
		t.Fatal(err)
	}
	l.turn()
	s.settle(6)
	if s.leader() != to {
		t.Fatalf("%v leads, want %d", s.leader(), to.id)
	}
	to.read()
	s.round()
	to.leased("the new leader", true)
}
