package gossip

import (
	"errors"
	"sync/atomic"
)

// counters is what a Gossip counts; Stats reads it.
type counters struct {
	packetsIn, packetsOut     atomic.Uint64
	streamsIn, streamsOut     atomic.Uint64
	overflowed, lost          atomic.Uint64
	dialsFailed               atomic.Uint64
	foreign, malformed, limit atomic.Uint64
}

func (c *counters) refuse(err error) {
	switch {
	case errors.Is(err, ErrForeignCluster):
		c.foreign.Add(1)
	case errors.Is(err, ErrLimit):
		c.limit.Add(1)
	default:
		c.malformed.Add(1)
	}
}

// Stats is what was counted since the start.
type Stats struct {
	PacketsIn, PacketsOut uint64
	StreamsIn, StreamsOut uint64
	Overflowed            uint64 // packets dropped because 64 waited for their member
	Lost                  uint64 // packets dropped with a connection, or for want of one
	DialsFailed           uint64 // of connections for packets
	Refused               Refused
}

// Refused counts connections and members that were not taken.
type Refused struct{ ForeignCluster, Malformed, Limit uint64 }

// Stats gives the counters; safe for concurrent use.
func (g *Gossip) Stats() Stats {
	c := &g.count
	return Stats{
		PacketsIn: c.packetsIn.Load(), PacketsOut: c.packetsOut.Load(),
		StreamsIn: c.streamsIn.Load(), StreamsOut: c.streamsOut.Load(),
		Overflowed: c.overflowed.Load(), Lost: c.lost.Load(), DialsFailed: c.dialsFailed.Load(),
		Refused: Refused{ForeignCluster: c.foreign.Load(), Malformed: c.malformed.Load(), Limit: c.limit.Load()},
	}
}
