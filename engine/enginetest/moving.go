package enginetest

import (
	"errors"
	"slices"

	"dyno/engine/ids"
	"dyno/engine/metadata"
)

// shift does a piece of what moves replicas: the metadata gets another plan, a node
// sees it, or the leader takes a step. Any of them may come late, or while nodes are
// down, and a node that leads no more may still try.
func (s *Sim) shift(n *Node) {
	p := s.rng.IntN(s.cfg.Partitions)
	switch r := s.rng.IntN(20); {
	case s.doomed != nil && r < 6:
		s.ruin()
	case r < 1 && s.doomed == nil:
		s.plan(p)
	case r < 8:
		n.See()
	case r < 11:
		n.Step(p)
	default:
		if leader := s.c.Leader(p); leader != nil {
			leader.Step(p)
		}
	}
}

// plan begins a move, or changes the one that is under way, or takes it back.
func (s *Sim) plan(p int) {
	under := s.c.Placed(p).Target != nil
	if under && s.rng.IntN(3) != 0 {
		return
	}
	var nodes []ids.NodeID
	if !under || s.rng.IntN(2) == 0 {
		nodes = s.somewhere()
	}
	was := s.c.Placed(p).Move
	if err := s.c.Reassign(p, nodes); err != nil {
		s.c.Violation("p%d to nodes %v: %v", p, nodes, err)
		return
	}
	if now := s.c.Placed(p); now.Target != nil && now.Move != was {
		s.res.MovesBegun++
	}
}

// somewhere gives nodes for the replicas of a partition, mostly as many as it began
// with.
func (s *Sim) somewhere() (nodes []ids.NodeID) {
	many := s.c.cfg.Replicas
	switch s.rng.IntN(8) {
	case 0:
		many--
	case 1:
		many++
	case 2:
		many = 1 + s.rng.IntN(s.cfg.Nodes)
	}
	for _, i := range s.rng.Perm(s.cfg.Nodes)[:min(max(1, many), s.cfg.Nodes)] {
		nodes = append(nodes, ids.NodeID(i+1))
	}
	return nodes
}

// wiped is the fault that ruin counts, when it happens.
const wiped = "wiped disks"

// wipe dooms a node to lose its disks.
func (s *Sim) wipe() bool {
	if s.moves && s.doomed == nil {
		s.doomed = s.victim()
	}
	return false
}

// ruin takes the doomed node's disks away as soon as the metadata says that the others
// can go on without it: not while its replicas move, so no move begins meanwhile; never
// where they are too few. The node comes back as other replicas.
func (s *Sim) ruin() {
	n := s.doomed
	if !n.up {
		return
	}
	err := n.Wipe(s.rng.Uint64())
	if err == nil {
		s.res.Faults[wiped]++
		s.startLater(n)
	}
	if !errors.Is(err, metadata.ErrMoving) {
		s.doomed = nil
	}
}

// settled checks that the voters of a partition at rest are those that the metadata
// names, and nobody else is a member.
func (s *Sim) settled(p int) {
	var want []ids.ReplicaID
	for _, r := range s.c.Placed(p).Replicas {
		want = append(want, r.ID)
	}
	in := s.c.logs[p].members[len(s.c.logs[p].members)-1]
	if !slices.Equal(in.voters, with(nil, want)) || len(in.outgoing)+len(in.learners)+len(in.next) > 0 {
		s.c.Violation("p%d at rest has the members %+v, the metadata says %v", p, in, want)
	}
}
