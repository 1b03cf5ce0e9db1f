package multiraft

import (
	"sync/atomic"

	"dyno/engine/replica"
)

// counters are written by one worker and read by anybody.
type counters struct {
	drains, polls, appends, records, messages, full          atomic.Uint64
	proposals, proposed, dropped, overload, reads, readsFull atomic.Uint64
	leaseReads                                               atomic.Uint64
	snapshots, sentSnapshots, elected, abandoned             atomic.Uint64
}

// add counts what a replica did since it was counted last.
func (c *counters) add(last *replica.Stats, now replica.Stats) {
	if *last == now {
		return
	}
	c.proposals.Add(now.Proposals - last.Proposals)
	c.proposed.Add(now.Proposed - last.Proposed)
	c.dropped.Add(now.Dropped - last.Dropped)
	c.overload.Add(now.Overload - last.Overload)
	c.reads.Add(now.Reads - last.Reads)
	c.leaseReads.Add(now.LeaseReads - last.LeaseReads)
	c.readsFull.Add(now.ReadsFull - last.ReadsFull)
	c.snapshots.Add(now.Snapshots - last.Snapshots)
	*last = now
}

// Stats count what all workers did since New.
type Stats struct {
	Drains    uint64 // times a worker emptied its mailbox
	Polls     uint64 // times a worker looked because of the time; see Config.Poll
	Appends   uint64 // submissions to the log: syncs asked for
	Records   uint64 // in them
	Messages  uint64 // sent to peers
	Proposals uint64 // MsgProps: Proposed/Proposals is the batch size
	Proposed  uint64 // entries in them
	Reads     uint64 // ReadIndex attempts
	// LeaseReads are ReadIndex calls that needed none.
	LeaseReads uint64
	Snapshots  uint64 // installed
	SentSnaps  uint64 // sent to peers
	Elected    uint64 // leaderships won here
	Abandoned  uint64 // leaderships given up because no majority answered

	Refused   uint64 // proposals refused: a mailbox was full
	Overload  uint64 // proposals refused: a group's queue was full
	Dropped   uint64 // proposals Raft refused
	ReadsFull uint64 // ReadIndex calls refused: too many wait
	Lost      uint64 // messages of peers dropped: a mailbox was full
	NoRoom    uint64 // appends of peers dropped: the disk is full
	Strays    uint64 // messages of peers for groups that are not here
}

// Stats sums up the counters.
func (m *Manager) Stats() Stats {
	s := Stats{Strays: m.strays.Load()}
	for _, w := range m.workers {
		c := &w.counts
		s.Drains += c.drains.Load()
		s.Polls += c.polls.Load()
		s.Appends += c.appends.Load()
		s.Records += c.records.Load()
		s.Messages += c.messages.Load()
		s.Proposals += c.proposals.Load()
		s.Proposed += c.proposed.Load()
		s.Reads += c.reads.Load()
		s.LeaseReads += c.leaseReads.Load()
		s.Snapshots += c.snapshots.Load()
		s.SentSnaps += c.sentSnapshots.Load()
		s.Elected += c.elected.Load()
		s.Abandoned += c.abandoned.Load()
		s.ReadsFull += c.readsFull.Load()
		s.Overload += c.overload.Load()
		s.Dropped += c.dropped.Load()
		s.NoRoom += c.full.Load()
		refused, lost := w.box.counters()
		s.Refused += refused
		s.Lost += lost
	}
	return s
}
