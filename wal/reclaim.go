package wal

import (
	"errors"
	"fmt"

	"dyno/wal/vfs"
)

// moveBytesMax bounds how much Rewrite holds in memory at a time.
const moveBytesMax = 1 << 20

// Oldest tells what the oldest sealed segment still holds; its Runs are empty
// when Release can have it as it is. It is false when there is only the head.
func (l *Log) Oldest() (SegmentInfo, bool) {
	l.mu.RLock()
	defer l.mu.RUnlock()
	if len(l.segs) < 2 {
		return SegmentInfo{}, false
	}
	s := l.segs[0]
	in := SegmentInfo{Seq: s.seq, Bytes: s.size}
	for _, id := range s.streams {
		st := l.streams[id]
		if st == nil {
			continue
		}
		for i := range st.runs {
			r := &st.runs[i]
			if r.seg != s {
				continue
			}
			n := len(in.Runs)
			if n == 0 || in.Runs[n-1].Stream != id || in.Runs[n-1].Last+1 != r.first {
				in.Runs = append(in.Runs, Run{Stream: id, First: r.first})
				n++
			}
			last := &in.Runs[n-1]
			last.Last = r.last()
			for _, e := range r.ents {
				last.Bytes += int64(e.size)
			}
		}
	}
	return in, true
}

// submitOwn runs op on the flusher, in its place among the submissions, and
// waits until all it wrote is durable.
func (l *Log) submitOwn(op func(*flusher) error) error {
	if l.opts.ReadOnly {
		return ErrReadOnly
	}
	done := make(chan error, 1)
	a := &Append{Sync: true, Reserve: true, op: op, Done: func(err error) { done <- err }}
	if err := l.queue.put(a); err != nil {
		return err
	}
	return <-done
}

// Rewrite copies the entries [first, last] of a stream to the head, durably, so
// that their old segment can be released. Entries keep index, term and type;
// the stream reads the same before, after and meanwhile. Entries that are cut
// or overwritten meanwhile, or are not there, are passed over. It blocks.
func (l *Log) Rewrite(id, first, last uint64) error {
	l.reclaim.Lock()
	defer l.reclaim.Unlock()
	for lo := first; lo <= last; {
		locs, err := l.locate(id, lo, last+1, moveBytesMax)
		if errors.Is(err, ErrCompacted) {
			if in, ok := l.Info(id); ok && in.First > lo {
				lo = in.First
				continue
			}
			return nil
		}
		if errors.Is(err, ErrUnavailable) {
			return nil
		}
		if err != nil {
			return err
		}
		err = l.move(id, locs)
		l.letGo(locs)
		if err != nil {
			return fmt.Errorf("wal: rewrite stream %d: %w", id, err)
		}
		lo = locs[len(locs)-1].index + 1
	}
	return nil
}

// move writes copies of the entries at locs.
func (l *Log) move(id uint64, locs []loc) error {
	recs, err := l.readAll(id, locs)
	if err != nil {
		return err
	}
	return l.submitOwn(func(w *flusher) error {
		for i := range recs {
			// Cut or overwritten since it was read? Then a copy would bring it
			// back. Nothing can come between this look and the copy: the flusher
			// is the only one to change a stream, and all that was laid before
			// is visible.
			if !l.streams[id].liesAt(&locs[i]) {
				continue
			}
			r := &recs[i]
			h := head{dataSum: sum(r.Data), summed: true, kind: kindMoved, typ: r.Type, stream: id, index: r.Index, term: r.Term}
			if err := w.lay(&h, r.Data, 0, true); err != nil {
				return err
			}
			l.counters.moved.Add(1)
		}
		w.sync = true
		return nil
	})
}

func (st *stream) liesAt(w *loc) bool {
	if st == nil || !st.live {
		return false
	}
	i, ok := st.find(w.index)
	if !ok {
		return false
	}
	r := &st.runs[i]
	return r.seg == w.seg && r.ents[w.index-r.first] == w.at
}

// Release gives up the oldest sealed segment: ErrNotOldest for any other one,
// ErrLive while the index points into it. Hard states and boundaries whose
// latest record lies there are written anew first. It blocks until the log says
// durably that the segment does not count; its file is then reused. At most one
// Release or Rewrite works at a time.
func (l *Log) Release(seq uint64) error {
	l.reclaim.Lock()
	defer l.reclaim.Unlock()
	var s *segment
	// Two steps, each durable: were the statement that the segment does not
	// count in one frame with the copies, a torn frame could keep the first and
	// lose the second.
	err := l.submitOwn(func(w *flusher) (err error) {
		if s, err = w.releasable(seq); err == nil {
			err = w.saveStates(s)
		}
		return err
	})
	if err == nil {
		err = l.submitOwn(func(w *flusher) error { return w.release(s) })
	}
	if err != nil {
		return fmt.Errorf("wal: release segment %d: %w", seq, err)
	}
	l.reuse(s)
	return nil
}

func (w *flusher) releasable(seq uint64) (*segment, error) {
	segs := w.l.segs
	if len(segs) < 2 || segs[0].seq != seq {
		return nil, ErrNotOldest
	}
	if segs[0].live > 0 {
		return nil, fmt.Errorf("%d entries: %w", segs[0].live, ErrLive)
	}
	return segs[0], nil
}

// saveStates copies what s alone holds of its streams besides entries.
func (w *flusher) saveStates(s *segment) error {
	for _, id := range s.streams {
		st := w.l.streams[id]
		if st == nil || !st.live {
			continue
		}
		if st.stateSeg == s.seq {
			h := head{kind: KindState, stream: id, index: st.state.Commit, term: st.state.Term}
			if err := w.lay(&h, nil, st.state.Vote, true); err != nil {
				return err
			}
		}
		// A stream that lost all it had, and never had a state or a boundary, is
		// known by what was cut; the boundary keeps it known.
		bare := len(st.runs) == 0 && st.stateSeg == 0 && st.boundSeg == 0
		if st.boundSeg == s.seq || bare {
			h := head{kind: KindTruncateBefore, stream: id, index: st.first, term: st.prevTerm}
			if err := w.lay(&h, nil, 0, true); err != nil {
				return err
			}
		}
	}
	w.sync = true
	return nil
}

// release writes a frame that says s does not count, and syncs it.
func (w *flusher) release(s *segment) error {
	if _, err := w.releasable(s.seq); err != nil {
		return err
	}
	if err := w.open(0, true); err != nil {
		return err
	}
	l := w.l
	w.oldest = l.segs[1].seq
	w.sync = true
	w.flush()
	if err := l.Err(); err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.segs = append(l.segs[:0:0], l.segs[1:]...)
	s.freed.Store(true)
	return nil
}

// reuse gives a released segment's file back once nobody reads it.
func (l *Log) reuse(s *segment) {
	if f := l.takeFile(s); f != nil {
		l.pool.giveBack(&segment{name: s.name, file: f}) // closes it: not under l.mu
	}
}

// takeFile gives the file of a released segment to one caller; nil while it is
// read, and to all others.
func (l *Log) takeFile(s *segment) vfs.File {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !s.freed.Load() || s.readers.Load() > 0 {
		return nil
	}
	f := s.file
	s.file = nil
	return f
}
