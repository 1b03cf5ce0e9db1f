package replica

import (
	"bytes"
	"slices"

	"go.etcd.io/raft/v3/raftpb"

	"dyno/engine/ids"
)

// A member that was removed, and knows it, asks nobody for votes. Those that stay may
// not know yet that its removal is committed, because that word alone was lost with the
// leader. Then they need its vote, and it must refuse whoever lacks what it has itself:
// for all it knows the rest is committed, too. Nobody would lead any more.
//
//	leader 1 (of 1, 2)          member 2                    node 1 again
//	"remove 2" committed ----->  applies it: out
//	sends x, y before its own
//	sync ----------------------> has x, y
//	power cut                                               has "remove 2", not x, y, and
//	                                                        not that the removal holds
//	                             <---- asks 2 for its vote  (the members are 1, 2)
//	                             refuses: x, y
//	                             and tells: committed ----> applies it: the only member
//
// So it answers such a question with what it knows besides: that the entry of its
// removal is committed. That an entry is committed is true for ever and whoever says it;
// who has that very entry may take it, and decides by the new membership from then on.

// committedMark is the context of a message that says that the entry at Index, of
// LogTerm, is committed. Its kind is MsgApp: Raft takes it for one without entries.
var committedMark = []byte("committed")

// removed says whether this replica is no member, as far as it has applied the log.
func (r *Replica) removed() bool {
	id := uint64(r.cfg.ID)
	return !slices.Contains(r.conf.Voters, id) && !slices.Contains(r.conf.VotersOutgoing, id) && !slices.Contains(r.conf.Learners, id)
}

// askedForVote notes who must be told.
func (r *Replica) askedForVote(m *raftpb.Message) {
	if forced().has(mutUntold) {
		return
	}
	if r.store.confAt > 0 && r.removed() && !slices.Contains(r.telling, m.From) {
		r.telling = append(r.telling, m.From)
	}
}

// sayCommitted tells them.
func (r *Replica) sayCommitted(out *Output) {
	if len(r.telling) == 0 {
		return
	}
	at := r.store.confAt
	if term, err := r.store.log.Term(at); err == nil && at <= r.applied {
		for _, to := range r.telling {
			out.Messages = append(out.Messages, raftpb.Message{
				Type: raftpb.MsgApp, From: uint64(r.cfg.ID), To: to, Term: uint64(r.role.Term),
				Index: uint64(at), LogTerm: uint64(term), Commit: uint64(at), Context: committedMark,
			})
		}
	}
	r.telling = r.telling[:0]
}

// hearCommitted takes the word that an entry is committed, if this replica has it and
// knows no leader, who would tell it better.
func (r *Replica) hearCommitted(m *raftpb.Message) {
	r.observe()
	at := ids.LogIndex(m.Index)
	if r.role.State == Leader || r.role.Leader != 0 || at <= r.commit || at > r.store.log.Last() {
		return
	}
	if term, err := r.store.log.Term(at); err != nil || term != ids.Term(m.LogTerm) {
		return
	}
	own := *m
	own.Term, own.Context = uint64(r.role.Term), nil
	r.step(&own)
	if r.err == nil {
		r.fail(r.guard(func() error { return r.node.ForgetLeader() })) // who said so is none
	}
}

func saysCommitted(m *raftpb.Message) bool {
	return m.Type == raftpb.MsgApp && bytes.Equal(m.Context, committedMark)
}
