package replica

import (
	"go.etcd.io/raft/v3"
	"go.etcd.io/raft/v3/raftpb"

	"dyno/engine/ids"
)

// Pace says how fast replicas may be sent what they lack. It must not block.
type Pace interface {
	// May says whether something may be sent now.
	May() bool
	// Sent counts what was, afterwards.
	Sent(bytes int64)
}

// A peer that lacks more than what is in memory catches up at Config.CatchUp's pace.
// Raft reads what it sends in the middle of a step, so the reading is where it is
// stopped: Entries gives none, against the contract of raft.Storage. Raft v3.6.0 then
// sends an empty append, or nothing, moves nothing forward, and asks again at the
// peer's next answer to a heartbeat. TestCatchUpPaused in multiraft keeps it so.
//
// Whoever else reads through the storage must get what it asks for: a leader reads to
// send and to apply, and only Ready applies.

// held says whether a leader that wants to send entries from lo on must wait.
func (s *storage) held(lo ids.LogIndex) bool {
	return s.behind(lo) && !s.pace.May()
}

// behind says whether entries from lo on are for a peer that catches up.
func (s *storage) behind(lo ids.LogIndex) bool {
	return s.pace != nil && !s.applying && s.leads() && !s.log.InMemory(lo)
}

// count tells the pace of entries that are sent.
func (s *storage) count(lo ids.LogIndex, entries []raftpb.Entry) {
	if !s.behind(lo) {
		return
	}
	bytes := int64(0)
	for i := range entries {
		bytes += int64(len(entries[i].Data))
	}
	s.pace.Sent(bytes)
}

// leads says whether Raft leads at this moment, which observe may not know yet.
func (r *Replica) leads() bool {
	return r.node != nil && r.node.BasicStatus().RaftState == raft.StateLeader
}
