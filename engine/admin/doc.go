// Package admin is the RPC between nodes that is not Raft: changes of the
// metadata that are forwarded to its leader, the greeting of a node that starts
// and the return of one that has lost its log. It runs over gRPC on the port for peers.
//
// It carries requests and knows nothing of what they mean: Node, which the
// assembly implements, answers them. Bodies are JSON, because they are rare and
// a capture of them should be readable.
//
// The caller: registers a Node on its gRPC server, makes one Client for all
// peers, closes the Client at the end.
package admin

import (
	"errors"

	"dyno/engine/ids"
)

// Hello is what a node that starts with an empty log says of itself.
type Hello struct {
	Cluster   string     `json:"cluster"`
	Node      ids.NodeID `json:"node"`
	Directory string     `json:"directory"` // drawn when the data directory was formatted
}

// Welcome answers a Hello.
type Welcome struct {
	Node      ids.NodeID `json:"node"` // who answers
	State     State      `json:"state"`
	Directory string     `json:"directory,omitempty"` // with Met: what the node had then
}

// State is what a node knows of one that greets it.
type State string

// States of a Welcome. Met and New are the word of a majority.
const (
	Empty  State = "empty"  // who answers knows of no cluster, either
	New    State = "new"    // the cluster has never met the node id
	Met    State = "met"    // it has
	Unsure State = "unsure" // no majority could be asked
)

// Rejoin asks for a place in the cluster for a node that has lost its log.
type Rejoin struct {
	Cluster   string     `json:"cluster"`
	Node      ids.NodeID `json:"node"`
	Directory string     `json:"directory"`     // the one it goes on with
	Old       string     `json:"old,omitempty"` // the one it had, if it knows
}

// Rejoined gives the node its place: the members of the metadata group as they
// are to be, the node's new replica among them, and those it began with. Index is
// the entry of the metadata that made it so.
type Rejoined struct {
	Index   ids.LogIndex `json:"index"`
	Members []Member     `json:"members"`
	Initial []Member     `json:"initial"`
}

// Member is a replica on a node.
type Member struct {
	Node    ids.NodeID    `json:"node"`
	Replica ids.ReplicaID `json:"replica"`
}

// Change asks the leader of the metadata group to append a record.
type Change struct {
	Record []byte `json:"record"` // encoded; it carries its own request id
	// Reserve lets it into a full log's reserve.
	Reserve bool `json:"reserve,omitempty"`
}

// Changed says that a record was applied: as far as its outcome is known to the
// leader at Index.
type Changed struct {
	Index ids.LogIndex `json:"index"` // inclusive
	First int64        `json:"first,omitempty"`
}

// Elect asks a node that holds a replica to make the preferred one lead.
type Elect struct {
	Topic     string        `json:"topic"`
	Partition ids.Partition `json:"partition"`
}

// Kind sorts what may go wrong with a request, for a caller that must decide
// whether to ask again.
type Kind string

// Kinds of error. What is none of the first four is final.
const (
	NotLeader  Kind = "not_leader" // ask Error.Leader, or wait for an election
	Overloaded Kind = "overloaded" // the same request may be taken later
	Timeout    Kind = "timeout"    // the outcome is open
	Stopped    Kind = "stopped"    // the node is going down; the outcome is open
	DiskFull   Kind = "disk_full"
	TooLarge   Kind = "too_large"
	Refused    Kind = "refused" // by the state of the cluster: Code says why
	Foreign    Kind = "foreign" // the caller belongs to another cluster

	NotNeeded    Kind = "not_needed"    // the preferred replica leads
	NotAvailable Kind = "not_available" // it cannot lead now
	Unknown      Kind = "unknown"       // no such topic here

	Failed Kind = "failed"
)

// Error is how a node answers what it did not do.
type Error struct {
	Kind   Kind       `json:"kind"`
	Code   int        `json:"code,omitempty"`   // with Refused
	Leader ids.NodeID `json:"leader,omitempty"` // with NotLeader, 0: unknown
	Text   string     `json:"text"`
}

func (e *Error) Error() string { return e.Text }

// ErrUnreachable means that the node could not be asked, or did not answer; the
// outcome is open.
var ErrUnreachable = errors.New("node cannot be reached")

// ErrClosed means that the client was closed.
var ErrClosed = errors.New("closed")
