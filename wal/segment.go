package wal

import (
	"path"
	"sync/atomic"

	"dyno/wal/vfs"
)

// segment is one file of the log while it holds, or is about to hold, records.
type segment struct {
	segKey
	name string // path
	file vfs.File
	size int64

	// guarded by Log.mu
	end     int64    // bytes of records
	live    int64    // entries that the index points to
	bytes   int64    // what they take
	streams []uint64 // those that have or had records here, each once

	// A released file goes to the pool with its last reader. readers grows only
	// under Log.mu and while the index points here, so never after freed is set;
	// whoever comes last, the release or the reader, sees the other.
	readers atomic.Int32
	freed   atomic.Bool
}

func (l *Log) newSegment(seq uint64, f vfs.File, size int64) *segment {
	return &segment{
		segKey: newSegKey(l.id, seq, l.opts.mut),
		name:   path.Join(l.opts.Dir, segmentName(seq)),
		file:   f,
		size:   size,
	}
}
