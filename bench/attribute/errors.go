package attribute

import "errors"

var (
	// ErrProfile means that a profile has no CPU time in it.
	ErrProfile = errors.New("not a CPU profile")
	// ErrBlocks means that so few blocks cannot show anything.
	ErrBlocks = errors.New("too few blocks to attribute")
)
