package tcp

import (
	"cmp"
	"errors"
	"slices"
	"sync/atomic"

	"dyno/engine/ids"
	"dyno/engine/transport"
)

// Stats count since New, but for what is a state: connections and Peers.
type Stats struct {
	SentMessages, SentFrames, SentBytes             uint64 // bytes on the wire
	ReceivedMessages, ReceivedFrames, ReceivedBytes uint64
	Writes                                          uint64 // calls to write or writev
	Reads                                           uint64

	Overflowed  uint64 // messages that QueueBytesMax had no room for
	Unreachable uint64 // messages dropped because their peer was not reached or was lost
	TooLarge    uint64 // messages larger than the peer's FrameBytesMax
	LostReports uint64 // calls of Unreachable that were not made

	Outbound, Inbound int64  // connections up now; Inbound with those in the handshake
	Connects          uint64 // handshakes made as the side that dialled
	ConnectsFailed    uint64 // attempts that failed, those in RefusedByPeers included
	Accepted          uint64 // handshakes made as the other side
	Lost              uint64 // outbound connections that broke
	Stalled           uint64 // those of Lost that broke by WriteTimeout
	Replaced          uint64 // inbound connections that a later one replaced

	Refused        Refusals // connections refused by us
	RefusedByPeers Refusals // attempts to connect refused by a peer, or by us for its answer
	// Corrupt, Malformed and FrameTooLarge count inbound connections given up.
	Corrupt, Malformed, FrameTooLarge uint64

	Peers []PeerStats // those ever sent to, by id
}

// Refusals count handshakes that failed, by reason.
type Refusals struct {
	ForeignCluster, WrongNode, Version uint64
	Garbage                            uint64 // not this protocol, or damaged
	Slow                               uint64 // HandshakeTimeout
	Limit                              uint64 // ConnectionsMax
	Gone                               uint64 // closed without a word
}

// PeerStats is the state of one peer.
type PeerStats struct {
	Node  ids.NodeID
	Lanes [transport.Lanes]LaneStats
	// Err says why the last attempt to connect failed, nil if it did not:
	// ErrForeignCluster, ErrWrongNode, ErrVersion, ErrProtocol,
	// ErrOtherTransport, ErrNoAddress, or what the network said.
	Err error
}

// LaneStats is the state of one lane to a peer.
type LaneStats struct {
	Connected     bool
	QueueMessages int   // not yet taken by the writer
	QueueBytes    int64 // not yet written, by transport.Size
}

// Stats takes a copy of the counters. Any goroutine may call it.
func (t *Transport) Stats() Stats {
	c := &t.count
	s := Stats{
		SentMessages: c.sentMessages.Load(), SentFrames: c.sentFrames.Load(), SentBytes: c.sentBytes.Load(),
		ReceivedMessages: c.receivedMessages.Load(), ReceivedFrames: c.receivedFrames.Load(), ReceivedBytes: c.receivedBytes.Load(),
		Writes: c.writes.Load(), Reads: c.reads.Load(),
		Overflowed: c.overflowed.Load(), Unreachable: c.unreachable.Load(), TooLarge: c.tooLarge.Load(),
		LostReports: t.reports.lostReports(),
		Outbound:    c.outbound.Load(), Inbound: c.inbound.Load(),
		Connects: c.connects.Load(), ConnectsFailed: c.connectsFailed.Load(), Accepted: c.accepted.Load(),
		Lost: c.lost.Load(), Stalled: c.stalled.Load(), Replaced: c.replaced.Load(),
		Refused: c.refused.load(), RefusedByPeers: c.refusedByPeers.load(),
		Corrupt: c.corrupt.Load(), Malformed: c.malformed.Load(), FrameTooLarge: c.frameTooLarge.Load(),
	}
	t.mu.RLock()
	defer t.mu.RUnlock()
	for _, p := range t.peers {
		s.Peers = append(s.Peers, p.stats())
	}
	slices.SortFunc(s.Peers, func(a, b PeerStats) int { return cmp.Compare(a.Node, b.Node) })
	return s
}

func (p *peer) stats() PeerStats {
	s := PeerStats{Node: p.id, Err: p.lastErr()}
	for i, l := range p.lanes {
		messages, bytes := l.queue.stats()
		s.Lanes[i] = LaneStats{Connected: l.connected.Load(), QueueMessages: messages, QueueBytes: bytes}
	}
	return s
}

// counters are what Stats copies.
type counters struct {
	sentMessages, sentFrames, sentBytes             atomic.Uint64
	receivedMessages, receivedFrames, receivedBytes atomic.Uint64
	writes, reads                                   atomic.Uint64
	overflowed, unreachable, tooLarge               atomic.Uint64
	outbound, inbound                               atomic.Int64
	connects, connectsFailed, accepted              atomic.Uint64
	lost, stalled, replaced                         atomic.Uint64
	corrupt, malformed, frameTooLarge               atomic.Uint64
	refused, refusedByPeers                         refusalCounters
}

type refusalCounters struct {
	foreignCluster, wrongNode, version, garbage, slow, limit, gone atomic.Uint64
}

func (c *refusalCounters) load() Refusals {
	return Refusals{
		ForeignCluster: c.foreignCluster.Load(), WrongNode: c.wrongNode.Load(), Version: c.version.Load(),
		Garbage: c.garbage.Load(), Slow: c.slow.Load(), Limit: c.limit.Load(), Gone: c.gone.Load(),
	}
}

func (c *refusalCounters) add(err error) {
	switch {
	case errors.Is(err, ErrForeignCluster):
		c.foreignCluster.Add(1)
	case errors.Is(err, ErrWrongNode):
		c.wrongNode.Add(1)
	case errors.Is(err, ErrVersion):
		c.version.Add(1)
	case errors.Is(err, errSlow):
		c.slow.Add(1)
	case errors.Is(err, errLimit):
		c.limit.Add(1)
	case errors.Is(err, errGone):
		c.gone.Add(1)
	default:
		c.garbage.Add(1)
	}
}

// refuse counts a connection that is not taken.
func (c *counters) refuse(err error) { c.refused.add(err) }

// attemptFailed counts an attempt to connect.
func (c *counters) attemptFailed(err error) {
	c.connectsFailed.Add(1)
	if codeOf(err) != codeOK {
		c.refusedByPeers.add(err)
	}
}

// brokenFrame counts an inbound connection that is given up.
func (c *counters) brokenFrame(err error) {
	switch {
	case errors.Is(err, ErrCorrupt):
		c.corrupt.Add(1)
	case errors.Is(err, ErrFrameTooLarge):
		c.frameTooLarge.Add(1)
	default:
		c.malformed.Add(1)
	}
}
