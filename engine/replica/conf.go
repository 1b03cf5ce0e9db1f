package replica

import (
	"cmp"
	"fmt"

	"go.etcd.io/raft/v3/raftpb"

	"dyno/engine/ids"
)

// Members is the membership of a group. Outgoing is not empty while a joint
// change is under way. Equal memberships encode to equal JSON.
type Members struct {
	Voters       []ids.ReplicaID `json:"voters"`
	Learners     []ids.ReplicaID `json:"learners,omitempty"`
	Outgoing     []ids.ReplicaID `json:"outgoing,omitempty"`
	LearnersNext []ids.ReplicaID `json:"learners_next,omitempty"`
	AutoLeave    bool            `json:"auto_leave,omitempty"`
	// At is the entry that made it so, 0 for the members the group began with.
	At ids.LogIndex `json:"at,omitempty"`
}

// Members is the membership as of the applied index.
func (r *Replica) Members() Members { return membersOf(&r.conf, r.store.confAt) }

// MembersAt is Members().At.
func (r *Replica) MembersAt() ids.LogIndex { return r.store.confAt }

func membersOf(c *raftpb.ConfState, at ids.LogIndex) Members {
	return Members{
		Voters: typed(c.Voters), Learners: typed(c.Learners), Outgoing: typed(c.VotersOutgoing),
		LearnersNext: typed(c.LearnersNext), AutoLeave: c.AutoLeave, At: at,
	}
}

func (m *Members) conf() raftpb.ConfState {
	return raftpb.ConfState{
		Voters: raw(m.Voters), Learners: raw(m.Learners), VotersOutgoing: raw(m.Outgoing),
		LearnersNext: raw(m.LearnersNext), AutoLeave: m.AutoLeave,
	}
}

func typed(list []uint64) []ids.ReplicaID {
	if len(list) == 0 {
		return nil
	}
	out := make([]ids.ReplicaID, len(list))
	for i, id := range list {
		out[i] = ids.ReplicaID(id)
	}
	return out
}

// ChangeMembers proposes a membership change; it holds once Members shows it.
// Only a leader takes it, and one at a time: Raft turns a second one into an
// empty entry. A leader that was alone in its group must first win an election
// again and fails with ErrNotLeader until then: ask again. Raft thesis section
// 4.3 (joint consensus).
func (r *Replica) ChangeMembers(cc raftpb.ConfChangeV2) error {
	if r.err != nil {
		return r.err
	}
	if r.solo.on {
		r.leaveSolo()
	}
	r.solo.never = true
	r.Wake()
	r.observe()
	if !r.leading() || r.handing {
		return r.notLeader()
	}
	var refused error
	r.fail(r.guard(func() error { refused = r.node.ProposeConfChange(cc); return nil }))
	if err := cmp.Or(r.err, refused); err != nil {
		return fmt.Errorf("group %d: propose a membership change: %w", r.cfg.Group, err)
	}
	return nil
}

func (r *Replica) applyConf(e *raftpb.Entry) error {
	var cc raftpb.ConfChangeV2
	var err error
	if e.Type == raftpb.EntryConfChangeV2 {
		err = cc.Unmarshal(e.Data)
	} else {
		var one raftpb.ConfChange
		err = one.Unmarshal(e.Data)
		cc = one.AsV2()
	}
	if err != nil {
		return fmt.Errorf("%w: group %d: membership change at index %d: %w", ErrDamaged, r.cfg.Group, e.Index, err)
	}
	if idxOf(e) <= r.store.confAt {
		return nil // part of the membership already, see snapshot.go
	}
	r.setConf(*r.node.ApplyConfChange(cc), idxOf(e))
	return nil
}
