package replica

import (
	"cmp"
	"encoding/binary"
	"encoding/json"
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

// Pack puts a membership before a state machine's state, if it is not the one that
// the group began with, so that both are kept together:
//
//	length of the membership (4, little-endian), membership (JSON), state
//
// The membership may be of a later entry than the state: both were true once
// everything up to there was committed.
func (m *Members) Pack(state []byte) []byte {
	var conf []byte
	if m.At != 0 {
		var err error
		if conf, err = json.Marshal(m); err != nil {
			panic(fmt.Sprintf("BUG: membership %+v: %v", m, err))
		}
	}
	out := binary.LittleEndian.AppendUint32(make([]byte, 0, 4+len(conf)+len(state)), uint32(len(conf)))
	return append(append(out, conf...), state...)
}

// UnpackMembers takes apart what Pack put together: nil and nothing of nothing, nil
// for the membership that the group began with. The state is part of b.
func UnpackMembers(b []byte) (*Members, []byte, error) {
	if len(b) == 0 {
		return nil, nil, nil
	}
	if len(b) < 4 || uint64(binary.LittleEndian.Uint32(b)) > uint64(len(b)-4) {
		return nil, nil, fmt.Errorf("membership and state in %d bytes", len(b))
	}
	n := binary.LittleEndian.Uint32(b)
	conf, state := b[4:4+n], b[4+n:]
	if n == 0 {
		return nil, state, nil
	}
	m := new(Members)
	if err := json.Unmarshal(conf, m); err != nil {
		return nil, nil, fmt.Errorf("membership: %w", err)
	}
	return m, state, nil
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
	r.dropLease()
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
	if forced().has(mutLearnerVotes) {
		for i := range cc.Changes {
			if cc.Changes[i].Type == raftpb.ConfChangeAddLearnerNode {
				cc.Changes[i].Type = raftpb.ConfChangeAddNode
			}
		}
	}
	r.setConf(*r.node.ApplyConfChange(cc), idxOf(e))
	return nil
}
