package multiraft

import (
	"slices"
	"time"

	"dyno/engine/ids"
	"dyno/engine/transport"

	"go.etcd.io/raft/v3/raftpb"
)

// What several nodes agree the time is. Every pulse carries its sender's wall
// clock; a receiver counts ticks from there, so that a jump of its own clock
// changes nothing in what it believes of the others.
//
// With n clocks in order, this node's among them, the middle ones are the clocks
// (n-1)/2 and n/2, the same one where n is odd. While fewer clocks are wrong than
// right, every clock between the middle ones is at or between right ones.
//
// Consensus does not ask what time it is: ticks alone count there.

// ClockSlack is how far this node's clock may be off the middle ones and still be
// taken as it is: clocks are disciplined to far less, and what is known of the
// others is up to a pulse and its way old.
const ClockSlack = 10 * time.Second

// Clock is the time as Manager.Clock knows it, in milliseconds since 1970.
type Clock struct {
	// Now is this node's wall clock, or the nearest of the middle ones where it is
	// off them by more than ClockSlack.
	Now int64
	// Past is a time that has passed for certain, as long as fewer clocks are wrong
	// than right: the earlier of Now and the lower middle one.
	Past int64
	// Off is how far this node's clock is ahead of the nearest of the middle ones.
	Off time.Duration
	// Sure says that a majority of the nodes was heard lately: Past holds. A node
	// that is alone has only its own clock, and is sure of it.
	Sure bool
}

// Clock compares this node's clock with those of the others. It never blocks; any
// goroutine may call.
func (m *Manager) Clock() Clock {
	own := m.cfg.NowMS()
	others := m.alive.list()
	all := append(make([]int64, 0, 16), own)
	now := m.alive.now.Load()
	for _, n := range others {
		if at := n.clock.Load(); at != nil && now-at.tick < downTicks {
			all = append(all, at.ms+int64(now-at.tick)*m.cfg.Tick.Milliseconds())
		}
	}
	slices.Sort(all)
	low, high := all[(len(all)-1)/2], all[len(all)/2]
	c := Clock{Now: own, Sure: len(all) > (len(others)+1)/2}
	near := min(max(own, low), high)
	c.Off = time.Duration(own-near) * time.Millisecond
	if c.Off.Abs() > ClockSlack {
		c.Now = near
	}
	c.Past = min(c.Now, low)
	return c
}

// clockAt is what another node's clock showed at a tick.
type clockAt struct {
	ms   int64
	tick uint64
}

// pulse is what nodes send each other: a heartbeat of no group, with the sender's
// wall clock in milliseconds as its index.
func (a *alive) pulse() []transport.Envelope {
	return []transport.Envelope{{Message: raftpb.Message{Type: raftpb.MsgHeartbeat, Index: uint64(a.m.cfg.NowMS())}}}
}

// hearPulse takes the clock out of a pulse.
func (a *alive) hearPulse(from ids.NodeID, m *raftpb.Message) {
	for _, n := range a.list() {
		if n.id == from && m.Index != 0 {
			n.clock.Store(&clockAt{int64(m.Index), a.now.Load()})
		}
	}
}
