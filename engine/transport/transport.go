// Package transport carries Raft messages between nodes: the contract, the
// envelope and an in-memory network for tests. Package transporttest is the
// contract as a test; every implementation passes it.
//
// A transport moves messages and knows nothing of what they mean. Raft expects
// little of it, and it promises no more:
//
//   - a message arrives at most once, whole, or not at all;
//   - on one lane, the messages from one node to another arrive in the order in
//     which they were sent;
//   - Send never blocks and never calls back. What does not fit into the bytes a
//     lane may queue for a peer is dropped and reported through Unreachable.
//
// The caller's duties: Start once before Send; Close once at the end, after
// which the handler is not called any more.
package transport

import (
	"errors"
	"fmt"

	"go.etcd.io/raft/v3/raftpb"

	"dyno/engine/ids"
)

// Lane separates traffic that must not wait for each other.
type Lane uint8

const (
	Control  Lane = iota // votes, heartbeats, responses: never behind entries
	Bulk                 // entries
	Snapshot             // catching up
	Lanes    = 3
)

func (l Lane) String() string {
	if l >= Lanes {
		return fmt.Sprintf("lane(%d)", uint8(l))
	}
	return [...]string{"control", "bulk", "snapshot"}[l]
}

// Envelope is one message of one group; From and To in it are replica ids.
type Envelope struct {
	Group   ids.GroupID
	Message raftpb.Message
}

// Transport sends to other nodes. Safe for concurrent use.
type Transport interface {
	// Start registers who hears what arrives; once, before the first Send.
	Start(h Handler)
	// Send queues batch for a node. The slice may be used again when Send
	// returns; what the messages point to (entries, contexts) must never be
	// changed. Messages of one call stay together as far as frames allow.
	Send(to ids.NodeID, lane Lane, batch []Envelope)
	// Close stops everything, drops what is queued and waits for calls of the
	// handler to return. Idempotent.
	Close() error
}

// Handler hears what arrives. It is called from several goroutines, but never
// from within Send, and must not block.
type Handler interface {
	// Receive takes what a node sent. The slice may be used again afterwards,
	// what the messages point to may be kept and must not be changed.
	Receive(from ids.NodeID, batch []Envelope)
	// Unreachable says that messages to a replica were dropped, at most once
	// per call of Send and replica.
	Unreachable(to ids.NodeID, group ids.GroupID, replica ids.ReplicaID)
}

// Observer is a Handler that also wants to hear of nodes that seem to be gone.
type Observer interface {
	// Down says that a node closed what it had open to this one: its process has
	// probably ended. It is a hint, may be wrong and may not come. It must not
	// block, and may come while Receive runs.
	Down(node ids.NodeID)
}

// ErrClosed means the transport was closed.
var ErrClosed = errors.New("transport closed")

// LaneOf is the lane a message belongs on.
func LaneOf(m *raftpb.Message) Lane {
	switch {
	case m.Type == raftpb.MsgSnap:
		return Snapshot
	case m.Type == raftpb.MsgApp && len(m.Entries) > 0:
		return Bulk
	}
	return Control
}

// Size is roughly what a message costs in a queue, in bytes.
func Size(m *raftpb.Message) int64 {
	const fixed = 64 // header fields of a message or an entry
	n := int64(fixed + len(m.Context))
	for i := range m.Entries {
		n += int64(fixed + len(m.Entries[i].Data))
	}
	if m.Snapshot != nil {
		n += int64(len(m.Snapshot.Data))
	}
	return n
}
