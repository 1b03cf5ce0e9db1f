package replica

import (
	"slices"

	"go.etcd.io/raft/v3"
	"go.etcd.io/raft/v3/raftpb"

	"dyno/engine/ids"
)

// solo is the consensus of one. A leader that is its group's only member
// decides alone: an entry has its place when it is proposed and is committed
// when it is durable, so Raft is asked nothing between two elections.
//
//	stamped -> index, term, record     (the log has it in this order)
//	Stored  -> committed up to there -> applied by the next Turn
//
// Raft's node sleeps meanwhile: it led when solo began and knows no later entry.
// It is made anew from the log, and campaigns, when solo ends.
//
// Why: Raft allocates a Ready for an append and one for its commit, 4 to 5 of the
// 6 objects that a produced batch cost a broker that is alone.
type solo struct {
	on    bool
	never bool // a change of members was asked for: Raft must decide

	last, durable ids.LogIndex     // newest entry placed, and durable
	open          [][]raftpb.Entry // placed and not applied, a slice per append
	head          int              // open[:head] is applied
}

// enterSolo begins solo as soon as Raft has nothing under way: the leader's log
// is committed and applied to its end.
func (r *Replica) enterSolo() {
	if r.solo.never || !r.alone() || !r.leading() || r.handing ||
		r.applied != r.store.log.Last() || r.reads.len() > 0 {
		return
	}
	r.solo.on, r.solo.last, r.solo.durable = true, r.applied, r.applied
}

// leaveSolo wakes Raft on what the log holds by now. The replica is a follower
// until it has won its own vote. What is placed and not yet durable lies in the
// log before that vote, so it is durable before anything is committed again; its
// waiters hear of a lost leadership, as after any other one.
func (r *Replica) leaveSolo() {
	r.solo = solo{never: true}
	r.store.hard, r.store.conf = r.newest, r.conf
	r.fail(r.guard(func() (err error) {
		cfg := r.raftConfig()
		cfg.Applied = uint64(r.applied)
		if r.node, err = raft.NewRawNode(cfg); err == nil {
			err = r.node.Campaign()
		}
		return err
	}))
	r.observe()
}

// turnSolo is Turn while solo is on.
func (r *Replica) turnSolo(nowMS int64, out *Output) {
	if r.applySolo(); r.err != nil {
		return
	}
	r.pump(nowMS, out)
	r.answerHeld()
	if rd := &r.reads; len(rd.waiting) > 0 {
		r.stats.Reads++
		rd.behind = append(rd.behind, readBehind{r.commit, rd.waiting})
		rd.waiting = nil
		rd.applied(r.applied)
	}
}

// proposeSolo gives everything stamped its place and puts it out.
func (r *Replica) proposeSolo(out *Output) {
	s := &r.solo
	for i := range r.props {
		e := &r.props[i]
		s.last++
		e.Index, e.Term = uint64(s.last), uint64(r.role.Term)
	}
	r.bind()
	entries := slices.Clone(r.props)
	s.open = append(s.open, entries)
	r.record(entries, out)
	out.Stored = append(out.Stored, Stored{last: s.last, term: r.role.Term})
}

// storedSolo is Stored while solo is on.
func (r *Replica) storedSolo(s *Stored) {
	if s.term != r.role.Term || s.last <= r.solo.durable {
		return // from before solo
	}
	r.solo.durable, r.commit = s.last, s.last
	r.newest.Commit = uint64(s.last)
	r.durable.answerTo(s.last)
}

// applySolo applies what has become durable.
func (r *Replica) applySolo() {
	s := &r.solo
	for s.head < len(s.open) && idxOf(&s.open[s.head][len(s.open[s.head])-1]) <= s.durable {
		if r.fail(r.applyEntries(s.open[s.head])); r.err != nil {
			return
		}
		s.open[s.head] = nil
		s.head++
	}
	switch {
	case s.head == len(s.open):
		s.open, s.head = s.open[:0], 0
	case s.head > len(s.open)/2:
		n := copy(s.open, s.open[s.head:])
		clear(s.open[n:])
		s.open, s.head = s.open[:n], 0
	}
}
