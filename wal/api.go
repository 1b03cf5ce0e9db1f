package wal

import (
	"time"

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
// durable together with everything submitted before them. It is not atomic: a
// power cut before Done may leave the first few of its records and no others.
type Append struct {
	Records []Record
	// Sync false means the records need their place in the order but no sync
	// of their own (a commit index that moved, nothing else).
	Sync bool
	// Reserve lets the records go into the segment that is kept back for a full
	// disk: votes, a leader's first entry, deletions. Without it an Append that
	// would need that segment gets ErrDiskFull and nothing of it is written.
	Reserve bool
	// Done is called exactly once on the flusher goroutine, in submission
	// order, once the records (and all before them) are durable, or with the
	// sticky error. With Sync false it is called once everything before is
	// durable. It must not block. The log refers to Records and their Data
	// until then; afterwards the Append may be used again.
	Done func(error)

	sums  []uint32             // crc32c of each record's Data; set by Submit
	few   [4]uint32            // backs sums of a small Append
	late  bool                 // the flusher takes the checksum of the first record; set by Submit
	bytes int64                // what Records take in a segment; set by Submit
	op    func(*flusher) error // the log's own work; nil for a caller's submission
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
	// QueueBytesMax bounds what is submitted and not yet written: half of a segment,
	// at most 64 MiB. What is queued when the disk turns out to be full still has to
	// fit into the reserve.
	QueueBytesMax int64
	// WriteBytesMax bounds a frame, what is written and synced together: 4 MiB.
	WriteBytesMax int64
	// Buffered writes through the page cache, payloads from the caller's own
	// memory; otherwise frames are copied together and written past it.
	Buffered bool
	// ReadOnly opens the log as it is: no lock is taken, nothing is changed, no
	// goroutine started; every change fails with ErrReadOnly.
	ReadOnly bool
	// Notice, if set, is told of rare events (sync stalls, full disk, damage).
	// It must not block.
	Notice func(Notice)

	mut mutant // what a test broke on purpose; 0 outside tests
	// aheadBytes is the smallest piece that is written ahead; tests make it a page.
	aheadBytes int
	// confirmAfter is how long the log is idle before it confirms its last
	// frame: 2 ms. Tests set 1 (at once) or an hour (never).
	confirmAfter time.Duration
}

// Notice is one rare event of the log.
type Notice struct {
	Kind string // "sync_stall", "disk_full", "disk_room", "torn_tail", "damage", "failed"
	Text string
	Err  error
}
