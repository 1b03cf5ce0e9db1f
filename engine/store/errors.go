package store

import (
	"errors"
	"fmt"
)

var (
	// ErrCorrupt means bytes that a checkpoint covers do not hold what was
	// written; a *CorruptError wraps it with the place.
	ErrCorrupt = errors.New("store: corrupt")
	// ErrCompacted means the entry asked for is below the first index.
	ErrCompacted = errors.New("store: entries below the first index")
	// ErrUnavailable means the entry asked for is beyond the last index.
	ErrUnavailable = errors.New("store: entries beyond the last index")
	// ErrGap means an appended entry does not follow the last one.
	ErrGap = errors.New("store: entry out of order")
	// ErrBadBatch means an appended batch fails its own checksum or framing.
	ErrBadBatch = errors.New("store: bad record batch")
	// ErrFailed wraps the first error that left the files in doubt, for ever
	// after it: only Open tells what is there.
	ErrFailed = errors.New("store: failed")
	// ErrClosed is returned after Close and Remove.
	ErrClosed = errors.New("store: closed")
	// ErrOptions means Options that make no sense.
	ErrOptions = errors.New("store: bad options")
)

// CorruptError says where the damage is.
type CorruptError struct {
	File string
	Pos  int64
	What string
}

func (e *CorruptError) Error() string {
	return fmt.Sprintf("store: corrupt: %s at byte %d: %s", e.File, e.Pos, e.What)
}

// Unwrap makes errors.Is(err, ErrCorrupt) true.
func (e *CorruptError) Unwrap() error { return ErrCorrupt }
