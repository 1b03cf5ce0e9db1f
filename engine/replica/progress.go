package replica

import (
	"go.etcd.io/raft/v3"
	"go.etcd.io/raft/v3/tracker"

	"dyno/engine/ids"
)

// Progress is what a leader knows of one member of its group.
type Progress struct {
	ID      ids.ReplicaID
	Match   ids.LogIndex // newest entry it is known to hold durably, inclusive
	Silent  int          // ticks since it answered last; 0 for the leader itself
	Learner bool
}

// heard is when each peer answered last, in ticks. A leader that has just been
// elected counts from its election.
type heard struct {
	now  uint64
	from uint64 // since when this replica leads
	last []heardPeer
}

type heardPeer struct{ peer, at uint64 }

func (h *heard) note(peer uint64) {
	for i := range h.last {
		if h.last[i].peer == peer {
			h.last[i].at = h.now
			return
		}
	}
	h.last = append(h.last, heardPeer{peer, h.now})
}

// silent is how long ago a peer answered.
func (h *heard) silent(peer uint64) int {
	at := h.from
	for _, p := range h.last {
		if p.peer == peer {
			at = max(at, p.at)
		}
	}
	return int(h.now - at)
}

// Progress adds what a leader knows of each member to into, in no order; nothing
// where this replica does not lead.
func (r *Replica) Progress(into []Progress) []Progress {
	switch {
	case r.err != nil || r.role.State != Leader:
		return into
	case r.solo.on:
		return append(into, Progress{ID: r.cfg.ID, Match: r.solo.durable})
	}
	r.node.WithProgress(func(id uint64, kind raft.ProgressType, pr tracker.Progress) {
		p := Progress{ID: ids.ReplicaID(id), Match: ids.LogIndex(pr.Match), Learner: kind == raft.ProgressTypeLearner}
		if id != uint64(r.cfg.ID) {
			p.Silent = r.heard.silent(id)
		}
		into = append(into, p)
	})
	return into
}
