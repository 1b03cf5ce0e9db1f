package grpctransport

import (
	"cmp"
	"errors"
	"slices"
	"sync/atomic"

	"dyno/engine/ids"
	"dyno/engine/transport"
)

// Stats is what the transport has counted since New; only QueuedBytes,
// Streams and Links are values of the moment.
type Stats struct {
	Lanes [transport.Lanes]LaneStats

	Connects uint64 // streams opened to peers
	Failures uint64 // attempts that opened none, refusals included
	Losses   uint64 // opened streams that ended before Close
	Streams  int64  // of peers, being read

	// Handshakes that this side found wrong, whoever had dialled, and those that
	// the other side refused for the same reason.
	ForeignCluster, WrongNode, Version uint64
	StreamLimit                        uint64 // of peers, refused for their number
	Replaced                           uint64 // of peers, by a newer one
	Malformed                          uint64 // of peers, closed for a message

	Links []LinkStats // those ever sent on, by node and lane
}

// LinkStats is the state of one lane to one node.
type LinkStats struct {
	Node        ids.NodeID
	Lane        transport.Lane
	Open        bool  // a stream is open
	QueuedBytes int64 // that wait, by transport.Size
}

// LaneStats counts one lane, all peers together. Bytes are those of gRPC
// messages, without the framing below.
type LaneStats struct {
	Sent, SentFrames, SentBytes             uint64 // handed to gRPC; envelopes, gRPC messages
	Received, ReceivedFrames, ReceivedBytes uint64
	// What Unreachable was called for, in envelopes.
	Overflowed uint64 // beyond QueueBytesMax
	TooLarge   uint64 // beyond MessageBytesMax
	Unsent     uint64 // no stream, or lost while handing over
	// QueuedBytes is what waits, by transport.Size.
	QueuedBytes int64
}

type counters struct {
	lanes [transport.Lanes]laneCounters

	connects, failures, losses         atomic.Uint64
	streams                            atomic.Int64
	foreignCluster, wrongNode, version atomic.Uint64
	streamLimit, replaced, malformed   atomic.Uint64
}

type laneCounters struct {
	sent, sentFrames, sentBytes             atomic.Uint64
	received, receivedFrames, receivedBytes atomic.Uint64
	overflowed, tooLarge, unsent            atomic.Uint64
	queuedBytes                             atomic.Int64
}

// refused counts why a handshake failed.
func (c *counters) refused(err error) {
	switch {
	case errors.Is(err, ErrForeignCluster):
		c.foreignCluster.Add(1)
	case errors.Is(err, ErrWrongNode):
		c.wrongNode.Add(1)
	case errors.Is(err, ErrVersion):
		c.version.Add(1)
	case errors.Is(err, ErrStreamLimit):
		c.streamLimit.Add(1)
	}
}

// Stats gives a copy of the counters. Takes short locks; anyone may call it.
func (t *Transport) Stats() Stats {
	c := &t.counts
	s := Stats{
		Connects: c.connects.Load(), Failures: c.failures.Load(), Losses: c.losses.Load(), Streams: c.streams.Load(),
		ForeignCluster: c.foreignCluster.Load(), WrongNode: c.wrongNode.Load(), Version: c.version.Load(),
		StreamLimit: c.streamLimit.Load(), Replaced: c.replaced.Load(), Malformed: c.malformed.Load(),
	}
	for i := range s.Lanes {
		l := &c.lanes[i]
		s.Lanes[i] = LaneStats{
			Sent: l.sent.Load(), SentFrames: l.sentFrames.Load(), SentBytes: l.sentBytes.Load(),
			Received: l.received.Load(), ReceivedFrames: l.receivedFrames.Load(), ReceivedBytes: l.receivedBytes.Load(),
			Overflowed: l.overflowed.Load(), TooLarge: l.tooLarge.Load(), Unsent: l.unsent.Load(),
			QueuedBytes: l.queuedBytes.Load(),
		}
	}
	t.mu.RLock()
	for key, l := range t.links {
		l.mu.Lock()
		s.Links = append(s.Links, LinkStats{key.node, key.lane, l.open, l.bytes})
		l.mu.Unlock()
	}
	t.mu.RUnlock()
	slices.SortFunc(s.Links, func(a, b LinkStats) int {
		return cmp.Or(cmp.Compare(a.Node, b.Node), cmp.Compare(a.Lane, b.Lane))
	})
	return s
}
