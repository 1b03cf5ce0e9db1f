package tcp

import "errors"

var (
	// ErrConfig is wrapped by every complaint of New about its Config.
	ErrConfig = errors.New("tcp transport config")

	// Why a peer cannot be talked to; Stats tells the latest of each peer.

	// ErrForeignCluster: the node at that address belongs to another cluster.
	ErrForeignCluster = errors.New("peer belongs to another cluster")
	// ErrWrongNode: another node than the one looked for lives at that address.
	ErrWrongNode = errors.New("another node lives at this address")
	// ErrVersion: the peer does not speak our version of the protocol.
	ErrVersion = errors.New("peer speaks another protocol version")
	// ErrProtocol: what answers is no transport, or the bytes were damaged.
	ErrProtocol = errors.New("peer does not speak this protocol")
	// ErrOtherTransport: the peer carries Raft's messages another way.
	ErrOtherTransport = errors.New("peer uses another transport; give all nodes of a cluster the same")
	// ErrNoAddress: the address book does not know the node.
	ErrNoAddress = errors.New("no address of this node")

	// Why a reader gave up a connection.

	// ErrCorrupt: the checksum of a frame is wrong.
	ErrCorrupt = errors.New("frame checksum mismatch")
	// ErrMalformed: a frame with the right checksum says what no node sends.
	ErrMalformed = errors.New("malformed frame")
	// ErrFrameTooLarge: a frame is larger than FrameBytesMax.
	ErrFrameTooLarge = errors.New("frame too large")
)

// Why a connection is given up without an answer.
var (
	errNotOurs  = errors.New("not this protocol")
	errSlow     = errors.New("handshake took too long")
	errLimit    = errors.New("too many connections")
	errGone     = errors.New("closed before a handshake")
	errStalled  = errors.New("peer takes nothing")
	errListener = errors.New("accept")
)

var reasons = []error{
	ErrForeignCluster, ErrWrongNode, ErrVersion, ErrProtocol, ErrOtherTransport, ErrNoAddress,
	ErrCorrupt, ErrMalformed, ErrFrameTooLarge,
	errNotOurs, errSlow, errLimit, errGone, errStalled, errListener,
}

// reasonOf is the sentinel in err; nil where it is the network's.
func reasonOf(err error) error {
	for _, why := range reasons {
		if errors.Is(err, why) {
			return why
		}
	}
	return nil
}
