package replica

import (
	"slices"

	"go.etcd.io/raft/v3"
	"go.etcd.io/raft/v3/tracker"

	"dyno/engine/ids"
)

// A proposal may ask for more copies than the majority that commits it
// (min.insync.replicas above the majority). It commits and applies like any other,
// for consumers see what is committed; only its answer waits, until so many voters
// hold it durably. It is failed with the others when the leadership ends: its fate
// is unknown to its proposer, although it is committed.

// answerCommitted answers what is committed up to index, or holds it for more
// copies.
func (r *Replica) answerCommitted(index ids.LogIndex) {
	for l := &r.committed; l.len() > 0 && l.front().Index <= index; {
		r.answerOrHold(l.pop())
	}
}

func (r *Replica) answerOrHold(p *Proposal) {
	if p.Copies > 1 && (r.held.len() > 0 || r.copiesOf(p.Index) < r.copiesWanted(p)) {
		r.held.push(p)
		return
	}
	p.Waiter.Proposed(p, nil)
}

// answerHeld answers those that have enough copies by now, in order.
func (r *Replica) answerHeld() {
	for r.held.len() > 0 && r.copiesOf(r.held.front().Index) >= r.copiesWanted(r.held.front()) {
		p := r.held.pop()
		p.Waiter.Proposed(p, nil)
	}
}

// copiesWanted is at most the voters there are: some may have left meanwhile.
func (r *Replica) copiesWanted(p *Proposal) int { return min(p.Copies, len(r.conf.Voters)) }

// copiesOf counts the voters that hold an entry durably, this leader among them:
// what it has applied is durable here.
func (r *Replica) copiesOf(i ids.LogIndex) int {
	if r.solo.on {
		return 1
	}
	if forced().has(mutFewCopies) {
		return len(r.conf.Voters)
	}
	n := 0
	r.node.WithProgress(func(id uint64, kind raft.ProgressType, pr tracker.Progress) {
		if forced().has(mutCopiesSent) {
			pr.Match = pr.Next - 1
		}
		if kind == raft.ProgressTypePeer && slices.Contains(r.conf.Voters, id) && ids.LogIndex(pr.Match) >= i {
			n++
		}
	})
	return n
}
