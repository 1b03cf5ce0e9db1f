package grpctransport

import "errors"

// Why a peer is not reached, or not let in. Transport.Err gives them.
var (
	ErrForeignCluster = errors.New("peer belongs to another cluster")
	ErrWrongNode      = errors.New("peer is another node")
	ErrVersion        = errors.New("peer speaks another version of the protocol")
	ErrOtherTransport = errors.New("peer uses another transport; give all nodes of a cluster the same")
	ErrNoAddress      = errors.New("no address is known for the node")
	ErrUnreachable    = errors.New("peer cannot be reached")
	ErrStreamLost     = errors.New("stream ended")
	ErrReplaced       = errors.New("stream was replaced by a newer one of the same node and lane")
	ErrStreamLimit    = errors.New("too many streams")
)

// ErrMalformed means a message that is not what the format says.
var ErrMalformed = errors.New("malformed message")

// errNotStarted is told to peers that come before Start.
var errNotStarted = errors.New("transport is not started")
