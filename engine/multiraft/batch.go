package multiraft

import (
	"dyno/engine/replica"
	"dyno/wal"
)

// batch is one append of one worker: the records of all groups it turned in a
// drain, and what waits for them to be durable. Batches are used again, so an
// append costs no allocation of its own.
//
// Owner: the worker, except between Submit and Done, when it is the log's.
type batch struct {
	append wal.Append
	stored []storedFor
	calls  []func()
	err    error // of Done
}

type storedFor struct {
	group *Group
	s     replica.Stored
}

// newBatch takes a batch from the free list.
func (w *worker) newBatch() *batch {
	if n := len(w.free); n > 0 {
		b := w.free[n-1]
		w.free = w.free[:n-1]
		return b
	}
	b := &batch{}
	b.append.Sync, b.append.Reserve = true, true
	b.append.Done = func(err error) {
		b.err = err
		w.box.stored(b)
	}
	return b
}

// freeMax bounds the free list: more in flight than that is rare.
const freeMax = 64

// clear empties a batch that was not submitted, or is done.
func (b *batch) clear() {
	clear(b.append.Records)
	clear(b.stored)
	clear(b.calls)
	b.append.Records, b.stored, b.calls, b.err = b.append.Records[:0], b.stored[:0], b.calls[:0], nil
}

func (w *worker) release(b *batch) {
	b.clear()
	if len(w.free) < freeMax {
		w.free = append(w.free, b)
	}
}
