package wal

import (
	"encoding/binary"
	"fmt"
)

// add lays one submission into frames.
func (w *flusher) add(a *Append) {
	err := w.l.Err()
	switch {
	case err != nil:
	case a.op != nil:
		// The log's own work composes its records from what is visible, so all
		// that came before must be.
		w.flush()
		err = a.op(w)
	default:
		err = w.addRecords(a)
	}
	w.l.counters.submissions.Add(1)
	w.acks = append(w.acks, ack{a, err})
	w.room += a.bytes
}

func (w *flusher) addRecords(a *Append) error {
	if err := w.admit(a); err != nil {
		w.l.counters.refused.Add(1)
		return err
	}
	for i := range a.Records {
		r := &a.Records[i]
		h := head{dataSum: a.sums[i], summed: i > 0 || !a.late, kind: r.Kind, typ: r.Type, stream: r.Stream, index: r.Index, term: r.Term}
		if err := w.lay(&h, r.Data, r.Vote, a.Reserve); err != nil {
			return err
		}
		w.sync = w.sync || a.Sync
	}
	w.sync = w.sync || a.Sync // one without records is a barrier
	return nil
}

// admit refuses what does not fit its streams or the disk; nothing of a refused
// submission is written.
func (w *flusher) admit(a *Append) error {
	if err := w.reserveRoom(a); err != nil {
		return err
	}
	for i := range a.Records {
		if err := w.stream(a.Records[i].Stream).admit(&a.Records[i]); err != nil {
			w.unadmit(a.Records[:i+1])
			return err
		}
	}
	return nil
}

// unadmit takes back what records noted about their streams: all that was
// admitted before is made visible, and then what is visible is what will be.
func (w *flusher) unadmit(records []Record) {
	w.flush()
	for i := range records {
		st := w.stream(records[i].Stream)
		st.nextFirst, st.nextLast, st.nextGone = st.first, st.last, !st.live
		w.forget(st)
	}
}

// stream finds or makes the stream with that id.
func (w *flusher) stream(id uint64) *stream {
	l := w.l
	st := l.streams[id] // no lock: no other goroutine changes the map
	if st == nil {
		st = newStream(id)
		l.mu.Lock()
		l.streams[id] = st
		l.mu.Unlock()
	}
	return st
}

// forget drops a stream that is gone and that nothing under way brings back.
func (w *flusher) forget(st *stream) {
	if st.live || !st.nextGone {
		return
	}
	w.l.mu.Lock()
	defer w.l.mu.Unlock()
	delete(w.l.streams, st.id)
}

// reserveRoom makes sure that every record of a has its place before the first
// is written.
func (w *flusher) reserveRoom(a *Append) error {
	if w.onReserve {
		w.onReserve = w.l.pool.empty()
		if w.onReserve && !a.Reserve {
			return ErrDiskFull
		}
	}
	frames := 2 + a.bytes/w.l.opts.WriteBytesMax
	if w.seg != nil && w.pos+w.bytes+a.bytes+frames*flushBytes <= w.seg.size-tailBytes {
		return nil
	}
	// The same steps that lay will take.
	pos, frame, size, taken := w.pos, w.bytes, int64(0), 0
	if w.seg != nil {
		size = w.seg.size
	}
	for i := range a.Records {
		n := payloadBytes(&a.Records[i])
		if frame > 0 && !w.fits(pos, frame, n, size) {
			pos, frame = pos+frame, 0
		}
		if frame == 0 && !w.fits(pos, 0, n, size) {
			if taken == len(w.next) {
				s, err := w.l.pool.get(a.Reserve)
				if err != nil {
					return err
				}
				w.next = append(w.next, s)
			}
			pos, size = 0, w.next[taken].size
			taken++
		}
		frame = max(frame, flushBytes) + recordBytes(n)
	}
	return nil
}

// fits says whether a record goes into a frame of that size at pos. A record
// larger than a write has a frame of its own.
func (w *flusher) fits(pos, frame int64, payload int, size int64) bool {
	n := recordBytes(payload)
	if frame > 0 && frame+n > w.l.opts.WriteBytesMax {
		return false
	}
	return pos+max(frame, flushBytes)+n <= size-tailBytes
}

const voteBytes = 8

func payloadBytes(r *Record) int {
	if r.Kind == KindState {
		return voteBytes
	}
	return len(r.Data)
}

// lay puts one record into the frame, flushing and changing segments as needed.
// It sets h.size, and unless h.summed is set the checksum; a state record's payload is
// the vote.
func (w *flusher) lay(h *head, data []byte, vote uint64, reserve bool) error {
	if h.kind == KindState {
		binary.LittleEndian.PutUint64(w.vote[:], vote)
		data, h.dataSum, h.summed = w.vote[:], sum(w.vote[:]), true
	}
	n := len(data)
	if err := w.open(n, reserve); err != nil {
		return err
	}
	h.size = uint32(n)
	pos, total := w.pos+w.bytes, recordBytes(n)
	at := w.take(headBytes)
	if w.copies(total) {
		if err := w.copyIn(h, data); err != nil {
			return err
		}
	} else {
		w.lend()
		w.iov = append(w.iov, data)
		if !h.summed {
			h.dataSum = sum(data)
		}
	}
	h.put(at, w.seg.segKey, pos)
	clear(w.take(int(total) - headBytes - n))
	w.bytes += total
	w.data += int64(n)
	w.put = append(w.put, placed{w.stream(h.stream), change{kind: h.kind, index: h.index, term: h.term, vote: vote,
		at: entryPos{at: uint32(pos / alignBytes), size: h.size}}})
	return nil
}

// copies says whether a payload is copied beside its header. A direct write
// takes one aligned piece of memory, so there all are, but for a record that has
// a frame of its own because it is larger than a write.
func (w *flusher) copies(total int64) bool {
	if w.l.opts.Buffered {
		return total <= copyBytesMax
	}
	return flushBytes+total <= w.l.opts.WriteBytesMax
}

// open makes sure that a frame is under way that takes a record with n bytes of
// payload.
func (w *flusher) open(n int, reserve bool) error {
	if w.bytes > 0 && !w.fits(w.pos, w.bytes, n, w.seg.size) {
		w.flush()
	}
	if err := w.l.Err(); err != nil {
		return err
	}
	if w.bytes > 0 {
		return nil
	}
	if w.seg == nil || !w.fits(w.pos, 0, n, w.seg.size) {
		if err := w.rotate(reserve); err != nil {
			return err
		}
	}
	w.begin()
	return nil
}

// begin starts a frame with room for its flush header, which write fills in.
func (w *flusher) begin() {
	w.arena, w.iov = append(w.arena[:0], w.page...), w.iov[:0]
	w.lent = len(w.arena)
	w.take(flushBytes)
	w.bytes = flushBytes
}

// take gives the next n bytes of the arena.
func (w *flusher) take(n int) []byte {
	k := len(w.arena)
	if k+n > cap(w.arena) {
		panic(fmt.Sprintf("BUG: wal: frame of %d bytes needs more than an arena of %d", w.bytes, cap(w.arena)))
	}
	w.arena = w.arena[:k+n]
	return w.arena[k : k+n : k+n]
}

// lend makes what lies in the arena and is not yet a piece of the frame one.
func (w *flusher) lend() {
	if k := len(w.arena); k > w.lent {
		w.iov = append(w.iov, w.arena[w.lent:k:k])
		w.lent = k
	}
}

// rotate goes over to a new segment. The old one is synced first, because the
// first frame of the new one states where the old one ends, and that statement
// is a promise too.
func (w *flusher) rotate(reserve bool) error {
	if w.dirty {
		if err := w.syncSegment(); err != nil {
			return err
		}
	}
	if len(w.next) == 0 {
		s, err := w.l.pool.get(reserve)
		if err != nil {
			return err
		}
		w.next = append(w.next, s)
	}
	if w.seg != nil {
		w.prev = point{w.seg.seq, w.pos}
	}
	w.seg = w.next[0]
	w.next = append(w.next[:0], w.next[1:]...)
	w.pos, w.page, w.onReserve = 0, w.page[:0], w.l.pool.empty()
	if w.oldest == 0 {
		w.oldest = w.seg.seq
	}
	w.l.mu.Lock()
	defer w.l.mu.Unlock()
	w.l.segs = append(w.l.segs, w.seg)
	return nil
}
