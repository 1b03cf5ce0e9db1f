package wal

import (
	"errors"
	"fmt"
)

var (
	// ErrClosed is returned after Close.
	ErrClosed = errors.New("wal: closed")
	// ErrFailed wraps the first write or sync error, for ever after it.
	ErrFailed = errors.New("wal: failed")
	// ErrCompacted means the entries asked for were cut from the front.
	ErrCompacted = errors.New("wal: entries below the first index")
	// ErrUnavailable means the entries asked for are beyond the last index.
	ErrUnavailable = errors.New("wal: entries beyond the last index")
	// ErrCorrupt means durable bytes do not match their checksum.
	ErrCorrupt = errors.New("wal: corrupt")
	// ErrDiskFull means no new segment could be made; see Log.Full.
	ErrDiskFull = errors.New("wal: disk full")
	// ErrLive is returned by Release for a segment with live entries.
	ErrLive = errors.New("wal: segment holds live entries")
	// ErrFormat means the directory was written by a newer or foreign format.
	ErrFormat = errors.New("wal: unknown format")
	// ErrTooLarge refuses a record that no segment can hold; Log.RecordBytesMax.
	ErrTooLarge = errors.New("wal: record too large")
	// ErrInvalid refuses a record that makes no sense anywhere: stream 0, an
	// entry at index 0, an unknown kind.
	ErrInvalid = errors.New("wal: invalid record")
	// ErrGap refuses an Append that would leave a hole in a stream or write
	// below its first index; nothing of it is written.
	ErrGap = errors.New("wal: record does not continue its stream")
	// ErrNotOldest is returned by Release for any segment but the oldest.
	ErrNotOldest = errors.New("wal: not the oldest sealed segment")
	// ErrReadOnly refuses changes to a log opened read-only.
	ErrReadOnly = errors.New("wal: opened read-only")
)

// DamageError says where durable bytes are not what was written: an ErrCorrupt
// that names the place.
type DamageError struct {
	File   string // path of the segment
	Pos    int64  // byte position of the first bad record
	Reason string
}

func (e *DamageError) Error() string {
	return fmt.Sprintf("wal: %s at byte %d: %s", e.File, e.Pos, e.Reason)
}

// Unwrap makes errors.Is(err, ErrCorrupt) true.
func (e *DamageError) Unwrap() error { return ErrCorrupt }
