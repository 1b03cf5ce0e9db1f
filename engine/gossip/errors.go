package gossip

import "errors"

var (
	// ErrConfig is wrapped by every complaint of Start and Announce about what
	// they were given.
	ErrConfig = errors.New("gossip config")
	// ErrForeignCluster: a connection or a member belongs to another cluster.
	ErrForeignCluster = errors.New("belongs to another cluster")
	// ErrMalformed: bytes that no node sends.
	ErrMalformed = errors.New("malformed")
	// ErrLimit: more members or connections than Config allows.
	ErrLimit = errors.New("too many")
	// ErrClosed: the gossip was closed.
	ErrClosed = errors.New("gossip closed")
)
