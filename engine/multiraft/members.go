package multiraft

import (
	"slices"

	"go.etcd.io/raft/v3/raftpb"

	"dyno/engine/ids"
	"dyno/engine/replica"
)

// Members is the membership of the group as this replica has applied it. It never
// blocks; it is shared, change nothing.
func (g *Group) Members() *replica.Members { return g.conf.Load() }

// SetMembers says where members live from now on, those that are about to join
// among them. The slice passes to the group.
func (g *Group) SetMembers(list []Member) {
	if slices.Equal(list, *g.members.Load()) {
		return
	}
	g.members.Store(&list)
	g.m.alive.meet(list)
}

// Change is one change of a group's membership.
type Change struct {
	Learn  []ids.ReplicaID // become learners: they are sent the log and do not vote
	Vote   []ids.ReplicaID // become voters
	Remove []ids.ReplicaID // are members no more
}

// ChangeMembers proposes a change; it holds once Members shows it. Only a leader
// takes it: ErrNotLeader elsewhere. One change is under way at a time; another one
// proposed meanwhile comes to nothing, so look and ask again. Several changes at
// once are made jointly, and the joint state is left by itself (Raft thesis
// section 4.3). It blocks until the leader has taken it.
func (g *Group) ChangeMembers(c Change) error {
	var cc raftpb.ConfChangeV2
	add := func(kind raftpb.ConfChangeType, list []ids.ReplicaID) {
		for _, id := range list {
			cc.Changes = append(cc.Changes, raftpb.ConfChangeSingle{Type: kind, NodeID: uint64(id)})
		}
	}
	add(raftpb.ConfChangeAddLearnerNode, c.Learn)
	add(raftpb.ConfChangeAddNode, c.Vote)
	add(raftpb.ConfChangeRemoveNode, c.Remove)
	result := make(chan error, 1)
	ok := g.w.box.call(func() {
		result <- g.rep.ChangeMembers(cc)
		g.w.touch(g)
	})
	if !ok {
		return replica.ErrStopped
	}
	return <-result
}

// ReadChange gives what an entry of the log with that type and data (wal.Record)
// changes in its group's membership; false where it is no such entry. An empty Change
// leaves a joint one.
func ReadChange(kind uint8, data []byte) (c Change, ok bool, err error) {
	var cc raftpb.ConfChangeV2
	switch raftpb.EntryType(kind) {
	case raftpb.EntryConfChangeV2:
		err = cc.Unmarshal(data)
	case raftpb.EntryConfChange:
		var one raftpb.ConfChange
		err = one.Unmarshal(data)
		cc = one.AsV2()
	default:
		return c, false, nil
	}
	for _, one := range cc.Changes {
		id := ids.ReplicaID(one.NodeID)
		switch one.Type {
		case raftpb.ConfChangeAddLearnerNode:
			c.Learn = append(c.Learn, id)
		case raftpb.ConfChangeAddNode:
			c.Vote = append(c.Vote, id)
		case raftpb.ConfChangeRemoveNode:
			c.Remove = append(c.Remove, id)
		}
	}
	return c, true, err
}
