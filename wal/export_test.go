package wal

import (
	"runtime"
	"time"

	"dyno/wal/vfs"
)

// Mutant breaks the log that is opened with the options it returns.
func Mutant(o Options, m mutant) Options {
	o.mut = m
	return o
}

// ConfirmAfter sets how long the log is idle before it confirms its last frame.
func ConfirmAfter(o Options, d time.Duration) Options {
	o.confirmAfter = d
	return o
}

// AheadBytes sets the smallest piece that is written ahead.
func AheadBytes(o Options, n int) Options {
	o.aheadBytes = n
	return o
}

const (
	MutNoSync    = mutNoSync
	MutNoPromise = mutNoPromise
	MutNoDirSync = mutNoDirSync
	MutNoSeq     = mutNoSeq
)

// PromisedByte picks a byte of a record that the log in dir has said to be
// durable.
func PromisedByte(fsys vfs.FS, dir string, pick uint64) (name string, pos int64, ok bool) {
	o := Options{FS: fsys, Dir: dir, ReadOnly: true}
	o.setDefaults()
	l := &Log{opts: o, streams: map[uint64]*stream{}, queue: newQueue(1)}
	l.pool = newPool(l)
	r := &recovery{l: l, w: newFlusher(l)}
	if _, err := r.identify(); err != nil {
		return "", 0, false
	}
	if r.list() != nil || r.findTail() != nil || r.tail < 0 || r.link() != nil {
		return "", 0, false
	}
	defer r.abandon()
	p := r.end.last.promise
	i := int(pick % uint64(len(r.chain)))
	s, limit := r.all[r.chain[i]], r.limits[i]
	if s.seq >= p.seq {
		limit = 0
		if s.seq == p.seq {
			limit = p.off
		}
	}
	if limit == 0 {
		return "", 0, false
	}
	return s.name, int64(pick>>8) % limit & (1<<62 - 1), true
}

// QueueLocked says whether nobody can submit now, and not only for a moment.
func QueueLocked(l *Log) bool {
	for range 100 {
		if l.queue.mu.TryLock() {
			l.queue.mu.Unlock()
			return false
		}
		runtime.Gosched()
	}
	return true
}
