package wal

import (
	"fmt"
	"sort"
)

// entryPos says where an entry lies in its segment: 8 bytes per entry.
type entryPos struct {
	at   uint32 // position / alignBytes
	size uint32 // bytes of payload
}

func (e entryPos) pos() int64   { return int64(e.at) * alignBytes }
func (e entryPos) bytes() int64 { return recordBytes(int(e.size)) }

// run is a contiguous range of a stream's entries that lie in one segment and
// were written in one term.
type run struct {
	first uint64
	term  uint64
	seg   *segment
	ents  []entryPos
}

func (r *run) last() uint64 { return r.first + uint64(len(r.ents)) - 1 }

// stream is what the log knows of one stream.
type stream struct {
	id uint64

	// Guarded by Log.mu; written by the flusher alone, so it reads them freely.
	// Invariant outside replay: runs are contiguous and cover [first, last].
	live     bool // false: made for a record under way, or removed
	first    uint64
	last     uint64
	prevTerm uint64 // term of entry first-1
	state    State
	stateSeg uint64 // segment of the latest state record, 0 for none
	boundSeg uint64 // segment of the latest KindTruncateBefore that holds, 0 for none
	runs     []run

	// Owner: flusher. What the fields above will be once all records that were
	// admitted are applied.
	nextFirst uint64
	nextLast  uint64
	nextGone  bool
	// Owner: flusher. The last segment that lists this stream.
	listed uint64
}

func newStream(id uint64) *stream { return &stream{id: id, first: 1, nextFirst: 1} }

// change is one record that was written: what apply needs of it.
type change struct {
	kind  Kind
	index uint64
	term  uint64
	vote  uint64
	at    entryPos
}

// apply makes a written record count. Log.mu is held, or the log is being
// replayed. Replay may begin in the middle: the records that a stream's first
// entries came with may be gone with their segments while the moved entries
// come later, so holes are allowed until settled looks for them.
func (st *stream) apply(c *change, seg *segment) {
	switch c.kind {
	case KindEntry:
		st.live = true
		if c.index <= st.last {
			st.cutAfter(c.index - 1)
		}
		st.push(c, seg)
		st.last = c.index
	case kindMoved:
		st.live = true
		st.move(c, seg)
	case KindState:
		st.live = true
		st.state = State{Term: c.term, Vote: c.vote, Commit: c.index}
		st.stateSeg = seg.seq
	case KindTruncateAfter:
		st.live = true
		if c.index < st.last {
			st.cutAfter(c.index)
		}
	case KindTruncateBefore:
		st.live = true
		st.cutBefore(c, seg)
	case KindRemove:
		st.remove()
	default:
		panic(fmt.Sprintf("BUG: wal: apply of record kind %d", c.kind))
	}
}

// enter lists the stream in the segment its next record lies in.
func (st *stream) enter(seg *segment) {
	if st.listed != seg.seq {
		st.listed = seg.seq
		seg.streams = append(seg.streams, st.id)
	}
}

// push appends an entry behind all others.
func (st *stream) push(c *change, seg *segment) {
	seg.live++
	seg.bytes += c.at.bytes()
	if n := len(st.runs); n > 0 {
		r := &st.runs[n-1]
		if r.seg == seg && r.term == c.term && r.last()+1 == c.index {
			r.ents = append(r.ents, c.at)
			return
		}
	}
	st.runs = append(st.runs, run{first: c.index, term: c.term, seg: seg, ents: []entryPos{c.at}})
}

// find gives the run that holds index, or the one before which it belongs.
func (st *stream) find(index uint64) (i int, ok bool) {
	i = sort.Search(len(st.runs), func(i int) bool { return st.runs[i].last() >= index })
	return i, i < len(st.runs) && st.runs[i].first <= index
}

// drop takes entries out of their segment's account.
func (r *run) drop(ents []entryPos) {
	r.seg.live -= int64(len(ents))
	for _, e := range ents {
		r.seg.bytes -= e.bytes()
	}
}

// cutAfter drops all entries above last.
func (st *stream) cutAfter(last uint64) {
	n := len(st.runs)
	for n > 0 && st.runs[n-1].first > last {
		n--
		st.runs[n].drop(st.runs[n].ents)
		st.runs[n] = run{}
	}
	st.runs = st.runs[:n]
	if n > 0 {
		if r := &st.runs[n-1]; r.last() > last {
			keep := last - r.first + 1
			r.drop(r.ents[keep:])
			r.ents = r.ents[:keep]
		}
	}
	st.last = last
}

// cutBefore drops all entries below c.index. One at or below first changes no
// entries; at first it is the boundary written anew.
func (st *stream) cutBefore(c *change, seg *segment) {
	if c.index < st.first {
		return
	}
	n := 0
	for n < len(st.runs) && st.runs[n].last() < c.index {
		st.runs[n].drop(st.runs[n].ents)
		n++
	}
	if n > 0 {
		left := copy(st.runs, st.runs[n:])
		clear(st.runs[left:])
		st.runs = st.runs[:left]
	}
	if len(st.runs) > 0 && st.runs[0].first < c.index {
		r := &st.runs[0]
		cut := c.index - r.first
		r.drop(r.ents[:cut])
		r.ents, r.first = r.ents[cut:], c.index
	}
	st.first, st.prevTerm, st.boundSeg = c.index, c.term, seg.seq
	st.last = max(st.last, c.index-1)
}

func (st *stream) remove() {
	for i := range st.runs {
		st.runs[i].drop(st.runs[i].ents)
	}
	*st = stream{id: st.id, first: 1, listed: st.listed,
		nextFirst: st.nextFirst, nextLast: st.nextLast, nextGone: st.nextGone}
}

// move points entry c.index at its copy in seg. Copies come in index order, so
// all but the first join the run before them.
func (st *stream) move(c *change, seg *segment) {
	st.last = max(st.last, c.index)
	i, found := st.find(c.index)
	if found {
		st.takeOut(i, c.index)
		i, _ = st.find(c.index)
	}
	seg.live++
	seg.bytes += c.at.bytes()
	if i > 0 {
		r := &st.runs[i-1]
		if r.seg == seg && r.term == c.term && r.last()+1 == c.index {
			r.ents = append(r.ents, c.at)
			return
		}
	}
	st.insert(i, run{first: c.index, term: c.term, seg: seg, ents: []entryPos{c.at}})
}

// takeOut drops one entry of run i, splitting the run if it lies inside.
func (st *stream) takeOut(i int, index uint64) {
	r := &st.runs[i]
	k := index - r.first
	r.drop(r.ents[k : k+1])
	right := run{first: index + 1, term: r.term, seg: r.seg, ents: r.ents[k+1:]}
	switch {
	case k == 0 && len(right.ents) == 0:
		st.runs = append(st.runs[:i], st.runs[i+1:]...)
	case k == 0:
		*r = right
	default:
		// The full slice expression keeps a later append to the left part from
		// running over the right one.
		r.ents = r.ents[:k:k]
		if len(right.ents) > 0 {
			st.insert(i+1, right)
		}
	}
}

func (st *stream) insert(i int, r run) {
	st.runs = append(st.runs, run{})
	copy(st.runs[i+1:], st.runs[i:])
	st.runs[i] = r
}

// settled checks, at the end of a replay, that no entry is missing.
func (st *stream) settled() error {
	next := st.first
	for i := range st.runs {
		if st.runs[i].first != next {
			return fmt.Errorf("stream %d: entries %d to %d are missing", st.id, next, st.runs[i].first-1)
		}
		next = st.runs[i].last() + 1
	}
	if next != st.last+1 {
		return fmt.Errorf("stream %d: entries %d to %d are missing", st.id, next, st.last)
	}
	return nil
}

// term of entry index; ok is false outside [first-1, last].
func (st *stream) term(index uint64) (term uint64, ok bool) {
	if index == st.first-1 {
		return st.prevTerm, true
	}
	i, found := st.find(index)
	if !found {
		return 0, false
	}
	return st.runs[i].term, true
}

func (st *stream) info() Info {
	in := Info{First: st.first, Last: st.last, LastTerm: st.prevTerm, PrevTerm: st.prevTerm, State: st.state}
	if n := len(st.runs); n > 0 {
		in.LastTerm = st.runs[n-1].term
	}
	return in
}

// admit checks r against all that was admitted before it and notes its effect.
func (st *stream) admit(r *Record) error {
	if st.nextGone && r.Kind != KindRemove {
		st.nextFirst, st.nextLast, st.nextGone = 1, 0, false
	}
	switch r.Kind {
	case KindEntry:
		if r.Index < st.nextFirst || r.Index > st.nextLast+1 {
			return fmt.Errorf("entry %d of stream %d, which holds [%d, %d]: %w", r.Index, r.Stream, st.nextFirst, st.nextLast, ErrGap)
		}
		st.nextLast = r.Index
	case KindTruncateAfter:
		if r.Index+1 < st.nextFirst {
			return fmt.Errorf("cut of stream %d after %d, which holds [%d, %d]: %w", r.Stream, r.Index, st.nextFirst, st.nextLast, ErrGap)
		}
		st.nextLast = min(st.nextLast, r.Index)
	case KindTruncateBefore:
		st.nextFirst = max(st.nextFirst, r.Index)
		st.nextLast = max(st.nextLast, r.Index-1)
	case KindRemove:
		st.nextGone = true
	}
	return nil
}
