package wal

import (
	"errors"

	"dyno/wal/vfs"
)

// Kind says what a record does to its stream.
type Kind uint8

// The kinds of record. An Entry whose index is at or below the stream's last
// index first drops everything from that index on, as Raft's log does.
const (
	KindEntry          Kind = 1 // Data is the entry at Index, written in Term
	KindState          Kind = 2 // hard state: Term, Vote, Index as the commit index
	KindTruncateAfter  Kind = 3 // Index is the last entry kept
	KindTruncateBefore Kind = 4 // Index is the first entry kept, Term the term of entry Index-1
	KindRemove         Kind = 5 // the stream and all it held is gone
)

// Record is one change to one stream.
type Record struct {
	Stream uint64 // whose log this is; 0 is invalid
	Kind   Kind
	Type   uint8  // entries: the caller's own byte, kept as it is
	Index  uint64 // see Kind
	Term   uint64 // see Kind
	Vote   uint64 // KindState only
	Data   []byte // entries only
}

// State is the last hard state written to a stream.
type State struct{ Term, Vote, Commit uint64 }

// Append is one submission: records of any number of streams that become
// durable together with everything submitted before them.
type Append struct {
	Records []Record
	// Sync false means the records need their place in the order but no sync
	// of their own (a commit index that moved, nothing else).
	Sync bool
	// Done is called exactly once on the flusher goroutine, in submission
	// order, once the records (and all before them) are durable, or with the
	// sticky error. With Sync false it is called once everything before is
	// durable. It must not block.
	Done func(error)
}

// Info is what the log knows of one stream. The stream holds entries
// [First, Last]; First == Last+1 means none.
type Info struct {
	First, Last uint64
	LastTerm    uint64 // term of Last, or PrevTerm when there are no entries
	PrevTerm    uint64 // term of entry First-1, kept when the log is cut
	State       State
}

// Run is a contiguous range of one stream's live entries in one segment.
type Run struct {
	Stream      uint64
	First, Last uint64 // inclusive
	Bytes       int64
}

// SegmentInfo describes a sealed segment that still holds live entries.
type SegmentInfo struct {
	Seq   uint64
	Bytes int64
	Runs  []Run
}

// Options configures Open. Zero values mean the defaults named here.
type Options struct {
	FS           vfs.FS // vfs.OS()
	Dir          string // required
	SegmentBytes int64  // 64 MiB
	// SpareSegments is how many zero-filled segments are kept ready: 2.
	SpareSegments int
	// RecycleMax is how many used segments are kept for reuse: 4.
	RecycleMax int
	// QueueBytesMax bounds what is submitted and not yet written: 64 MiB.
	QueueBytesMax int64
	// WriteBytesMax bounds one pwritev + fdatasync: 4 MiB.
	WriteBytesMax int64
	// Notice, if set, is told of rare events (sync stalls, full disk, damage).
	// It must not block.
	Notice func(Notice)
}

// Notice is one rare event of the log.
type Notice struct {
	Kind string // "sync_stall", "disk_full", "disk_room", "torn_tail", "damage", "failed"
	Text string
	Err  error
}

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
)
