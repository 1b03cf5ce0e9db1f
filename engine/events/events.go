// Package events names the rare things that happen to a node: a leader change,
// a damaged replica, a stalled sync. Each is a type of its own and goes to one
// Listener; they are no log lines, and nothing on a hot path is an event.
//
// A Listener is called on the goroutine where the event happened, so it must
// not block; Queue makes any function one that cannot.
package events

import (
	"time"

	"dyno/engine/ids"
)

// Event is one of the types of this package.
type Event interface {
	// Name is the type's name in snake case, for logs and metrics.
	Name() string
}

// Listener hears events. Event must not block and may be called from several
// goroutines; the events of one group come in order.
type Listener interface{ Event(e Event) }

// Discard is the listener that hears nothing.
var Discard Listener = discard{}

type discard struct{}

func (discard) Event(Event) {}

// BecameLeader: this node's replica won the election of Term.
type BecameLeader struct {
	Group   ids.GroupID
	Replica ids.ReplicaID
	Term    ids.Term
}

// BecameFollower: this node's replica led and does not any more.
type BecameFollower struct {
	Group   ids.GroupID
	Replica ids.ReplicaID
	Term    ids.Term
	Leader  ids.ReplicaID // 0: unknown
}

// LeaderChanged: the leader that this node's replica knows has changed.
type LeaderChanged struct {
	Group  ids.GroupID
	Term   ids.Term
	Leader ids.ReplicaID // 0: none known
}

// ISRChanged: the leader on this node has published who is in sync.
type ISRChanged struct {
	Topic     ids.TopicID
	Partition ids.Partition
	Term      ids.Term
	ISR       []ids.NodeID
}

// ReplicaDamaged: the replica stopped and must be replaced.
type ReplicaDamaged struct {
	Group   ids.GroupID
	Replica ids.ReplicaID
	Err     error
}

// NodeSilent: another node was not heard for an election timeout. Whatever it led
// looks for another leader.
type NodeSilent struct {
	Peer ids.NodeID
	For  time.Duration
}

// NodeHeard: a node that was silent speaks again.
type NodeHeard struct{ Peer ids.NodeID }

// SyncStalled: a sync of the log takes longer than it should.
type SyncStalled struct{ For time.Duration }

// LogFailed: the log of this node is dead; all its groups stopped.
type LogFailed struct{ Err error }

// DiskFull: no new log segment could be made; produce is refused.
type DiskFull struct{ Err error }

// DiskRoom: the disk has room again.
type DiskRoom struct{}

// SnapshotSent: a replica lacks entries that its leader has no more, and is sent
// where the log begins, with the state there. Again if it got lost.
type SnapshotSent struct {
	Group ids.GroupID
	To    ids.ReplicaID
	Peer  ids.NodeID // where To lives
	Index ids.LogIndex
	Bytes int64
}

// SnapshotApplied is the receiving side of SnapshotSent.
type SnapshotApplied struct {
	Group ids.GroupID
	Index ids.LogIndex
	Bytes int64
}

// MemberChanged: what gossip believes of another node has changed. It decides
// nothing.
type MemberChanged struct {
	Node  ids.NodeID
	State string // "alive", "suspect", "dead", "left"
	Peer  string // its address for peers
}

// DrainPhase: a graceful shutdown entered a phase.
type DrainPhase struct {
	Phase string // "fence", "transfer", "leave", "linger"
	Left  int    // groups still to do
}

func (BecameLeader) Name() string    { return "became_leader" }
func (BecameFollower) Name() string  { return "became_follower" }
func (LeaderChanged) Name() string   { return "leader_changed" }
func (ISRChanged) Name() string      { return "isr_changed" }
func (ReplicaDamaged) Name() string  { return "replica_damaged" }
func (NodeSilent) Name() string      { return "node_silent" }
func (NodeHeard) Name() string       { return "node_heard" }
func (SyncStalled) Name() string     { return "sync_stalled" }
func (LogFailed) Name() string       { return "log_failed" }
func (DiskFull) Name() string        { return "disk_full" }
func (DiskRoom) Name() string        { return "disk_room" }
func (SnapshotSent) Name() string    { return "snapshot_sent" }
func (SnapshotApplied) Name() string { return "snapshot_applied" }
func (MemberChanged) Name() string   { return "member_changed" }
func (DrainPhase) Name() string      { return "drain_phase" }
