package wal

import (
	"errors"
	"fmt"
	"io"
	"path"
	"sync"
	"sync/atomic"
)

// Log is one shared log. All methods are safe for concurrent use.
type Log struct {
	opts Options
	id   logID
	lock io.Closer // nil when read-only

	queue       *queue
	pool        *pool
	flusherDone chan struct{} // closed by the flusher as it ends
	counters    counters

	failed   chan struct{}         // closed by fail, once
	err      atomic.Pointer[error] // sticky; what failed says
	failOnce sync.Once

	closeOnce sync.Once
	closeErr  error

	reclaim sync.Mutex // one Release or Rewrite composes at a time

	// Written by the flusher alone, which therefore reads without mu.
	mu      sync.RWMutex
	streams map[uint64]*stream
	segs    []*segment // oldest first; the last is the head
}

// Open recovers the log in opts.Dir, making it where there is none, and starts
// its two goroutines. It reads every record once: durable bytes that do not
// match their checksum are a *DamageError (ErrCorrupt), a directory of another
// format is ErrFormat, one in use is vfs.ErrLocked. It blocks on I/O.
func Open(opts Options) (*Log, error) {
	opts.setDefaults()
	if err := opts.validate(); err != nil {
		return nil, err
	}
	l := &Log{
		opts:        opts,
		queue:       newQueue(opts.QueueBytesMax),
		flusherDone: make(chan struct{}),
		failed:      make(chan struct{}),
		streams:     map[uint64]*stream{},
	}
	l.pool = newPool(l)
	w := newFlusher(l)
	if err := l.open(w); err != nil {
		return nil, errors.Join(fmt.Errorf("wal: open %s: %w", opts.Dir, err), l.closeFiles())
	}
	if opts.ReadOnly {
		close(l.flusherDone)
		close(l.pool.done)
		return l, nil
	}
	go l.pool.run()
	go w.run()
	return l, nil
}

// open does everything but start the goroutines.
func (l *Log) open(w *flusher) (err error) {
	o := &l.opts
	if !o.ReadOnly {
		if err := o.FS.MkdirAll(o.Dir); err != nil {
			return err
		}
		if l.lock, err = o.FS.Lock(path.Join(o.Dir, lockName)); err != nil {
			return err
		}
	}
	r := &recovery{l: l, w: w}
	return r.run()
}

// RecordBytesMax is the most bytes of Data that one record may have.
func (l *Log) RecordBytesMax() int64 {
	return l.opts.SegmentBytes - tailBytes - flushBytes - headBytes - alignBytes
}

// Submit queues a for writing and returns; a.Done tells the outcome. It blocks
// while Options.QueueBytesMax is exceeded, so Done must not call it. It fails
// with ErrInvalid, ErrTooLarge, ErrReadOnly, ErrClosed or ErrFailed, and then Done is
// not called. Until Done the log refers to a.Records and their Data, which must
// not change.
func (l *Log) Submit(a *Append) error {
	if err := l.check(a); err != nil {
		return err
	}
	a.op = nil
	return l.queue.put(a)
}

// check validates a and takes the checksums of its payloads, here and not on
// the flusher (but see sumsLate): submitters are many and wait anyway.
func (l *Log) check(a *Append) error {
	if l.opts.ReadOnly {
		return ErrReadOnly
	}
	limit := int(l.RecordBytesMax())
	a.sums, a.bytes, a.late = a.sums[:0], 0, l.sumsLate(a)
	if cap(a.sums) < len(a.Records) {
		if a.sums = a.few[:0]; len(a.Records) > len(a.few) {
			a.sums = make([]uint32, 0, len(a.Records))
		}
	}
	for i := range a.Records {
		r := &a.Records[i]
		if err := r.valid(); err != nil {
			return err
		}
		if len(r.Data) > limit {
			return fmt.Errorf("entry %d of stream %d has %d bytes, at most %d fit: %w", r.Index, r.Stream, len(r.Data), limit, ErrTooLarge)
		}
		if a.late && i == 0 {
			a.sums = append(a.sums, 0)
		} else {
			a.sums = append(a.sums, sum(r.Data))
		}
		a.bytes += recordBytes(payloadBytes(r))
	}
	return nil
}

// indexMax keeps arithmetic on indexes far from its end.
const indexMax = 1 << 62

func (r *Record) valid() error {
	ok := r.Stream != 0 && r.Index <= indexMax
	switch r.Kind {
	case KindEntry:
		ok = ok && r.Index > 0
	case KindTruncateBefore:
		ok = ok && r.Index > 0 && len(r.Data) == 0
	case KindState, KindTruncateAfter, KindRemove:
		ok = ok && len(r.Data) == 0
	default:
		ok = false
	}
	if !ok {
		return fmt.Errorf("stream %d kind %d index %d: %w", r.Stream, r.Kind, r.Index, ErrInvalid)
	}
	return nil
}

// Info tells what the log holds of a stream; false if it holds nothing.
func (l *Log) Info(id uint64) (Info, bool) {
	l.mu.RLock()
	defer l.mu.RUnlock()
	st := l.streams[id]
	if st == nil || !st.live {
		return Info{}, false
	}
	return st.info(), true
}

// Streams lists the ids of all streams, in no order.
func (l *Log) Streams() []uint64 {
	l.mu.RLock()
	defer l.mu.RUnlock()
	ids := make([]uint64, 0, len(l.streams))
	for id, st := range l.streams {
		if st.live {
			ids = append(ids, id)
		}
	}
	return ids
}

// Size is the bytes that the segments holding records take on the disk.
func (l *Log) Size() int64 {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return l.size()
}

func (l *Log) size() (n int64) {
	for _, s := range l.segs {
		n += s.size
	}
	return n
}

// Full says that the disk has no room for another segment: the caller refuses
// new work before the log must.
func (l *Log) Full() bool { return l.pool.isFull() }

// Failed is closed when the log has failed; Err then says why.
func (l *Log) Failed() <-chan struct{} { return l.failed }

// Err is nil, or the error that ended the log: ErrFailed with its cause.
func (l *Log) Err() error {
	if p := l.err.Load(); p != nil {
		return *p
	}
	return nil
}

// fail ends the log. What a failed write or sync left on the disk is unknown
// and stays so (the kernel marks the pages clean and forgets), so nothing is
// tried again: all that waits and all that comes gets the same error.
func (l *Log) fail(op string, err error) error {
	l.failOnce.Do(func() {
		sticky := fmt.Errorf("%w: %s: %w", ErrFailed, op, err)
		l.err.Store(&sticky)
		close(l.failed)
		l.queue.close(sticky)
		l.pool.fail(sticky)
		l.opts.Notice(Notice{Kind: "failed", Text: op, Err: err})
	})
	return l.Err()
}

// Close waits for all that was submitted, syncs, marks the end of the log as
// clean and lets go of the directory. It returns the sticky error if there is
// one; further calls return the same. Reads under way must have ended.
func (l *Log) Close() error {
	l.closeOnce.Do(func() {
		l.queue.close(ErrClosed)
		<-l.flusherDone
		err := l.Err()
		if !l.opts.ReadOnly {
			err = errors.Join(err, l.pool.close())
		}
		l.closeErr = errors.Join(err, l.closeFiles())
	})
	return l.closeErr
}

func (l *Log) closeFiles() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	var errs []error
	for _, s := range l.segs {
		if s.file != nil {
			errs = append(errs, s.file.Close())
		}
	}
	l.segs = nil
	if l.lock != nil {
		errs = append(errs, l.lock.Close())
	}
	return errors.Join(errs...)
}
