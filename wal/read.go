package wal

import (
	"errors"
	"fmt"
	"io"
)

const (
	// gapBytesMax is how much of other streams' records is read along between
	// two wanted ones rather than read twice.
	gapBytesMax = 16 << 10
	// spanBytesMax bounds one read of several records.
	spanBytesMax = 1 << 20
)

// loc is where one entry lies.
type loc struct {
	seg   *segment
	index uint64
	term  uint64
	at    entryPos
}

// Read gives the entries [lo, hi) of a stream, as many as fit in maxBytes of
// Data, but at least one if there is any; hi beyond the last entry means up to
// it. The memory is fresh and the caller's. Every record is checked against its
// checksums: one that does not match is a *DamageError (ErrCorrupt). Below the
// first entry it fails with ErrCompacted, beyond the last, or for an unknown
// stream, with ErrUnavailable. It blocks on the disk, holding no lock.
func (l *Log) Read(id, lo, hi uint64, maxBytes int64) ([]Record, error) {
	if lo >= hi {
		return nil, nil
	}
	locs, err := l.locate(id, lo, hi, maxBytes)
	if err != nil {
		return nil, err
	}
	defer l.letGo(locs)
	return l.readAll(id, locs)
}

// locate finds entries and keeps their segments from being reused until letGo.
func (l *Log) locate(id, lo, hi uint64, maxBytes int64) ([]loc, error) {
	l.mu.RLock()
	defer l.mu.RUnlock()
	st := l.streams[id]
	if st == nil || !st.live || lo > st.last {
		return nil, fmt.Errorf("entry %d of stream %d: %w", lo, id, ErrUnavailable)
	}
	if lo < st.first {
		return nil, fmt.Errorf("entry %d of stream %d: %w", lo, id, ErrCompacted)
	}
	if l.segs == nil {
		return nil, ErrClosed
	}
	hi = min(hi, st.last+1)
	var locs []loc
	var bytes int64
	i, _ := st.find(lo)
	for ; i < len(st.runs) && st.runs[i].first < hi; i++ {
		r := &st.runs[i]
		from, to := max(lo, r.first), min(hi, r.last()+1)
		for k, e := range r.ents[from-r.first : to-r.first] {
			bytes += int64(e.size)
			if len(locs) > 0 && bytes > maxBytes {
				return l.hold(locs), nil
			}
			locs = append(locs, loc{seg: r.seg, index: from + uint64(k), term: r.term, at: e})
		}
	}
	return l.hold(locs), nil
}

// hold counts a reader in each segment of locs, once per stretch; l.mu is held.
func (l *Log) hold(locs []loc) []loc {
	for i := range locs {
		if i == 0 || locs[i].seg != locs[i-1].seg {
			locs[i].seg.readers.Add(1)
		}
	}
	return locs
}

func (l *Log) letGo(locs []loc) {
	for i := range locs {
		if i == 0 || locs[i].seg != locs[i-1].seg {
			if locs[i].seg.readers.Add(-1) == 0 && locs[i].seg.freed.Load() {
				l.reuse(locs[i].seg)
			}
		}
	}
}

// readAll reads the records at locs, neighbours together.
func (l *Log) readAll(id uint64, locs []loc) ([]Record, error) {
	out := make([]Record, 0, len(locs))
	for len(locs) > 0 {
		n := span(locs)
		start := locs[0].at.pos()
		last := &locs[n-1].at
		buf := make([]byte, last.pos()+headBytes+int64(last.size)-start)
		seg := locs[0].seg
		if _, err := seg.file.ReadAt(buf, start); err != nil {
			if errors.Is(err, io.EOF) {
				err = &DamageError{File: seg.name, Pos: start, Reason: "file ends inside a record"}
			}
			return nil, fmt.Errorf("wal: read stream %d: %w", id, err)
		}
		for i := range locs[:n] {
			r, err := check(id, &locs[i], buf, start)
			if err != nil {
				return nil, err
			}
			out = append(out, r)
		}
		locs = locs[n:]
	}
	return out, nil
}

// span says how many of locs are read in one go.
func span(locs []loc) int {
	start := locs[0].at.pos()
	for i := 1; i < len(locs); i++ {
		prev, next := &locs[i-1], &locs[i]
		gap := next.at.pos() - (prev.at.pos() + prev.at.bytes())
		if next.seg != prev.seg || gap < 0 || gap > gapBytesMax || next.at.pos()+next.at.bytes()-start > spanBytesMax {
			return i
		}
	}
	return len(locs)
}

// check takes one record out of buf, which was read at start.
func check(id uint64, w *loc, buf []byte, start int64) (Record, error) {
	pos := w.at.pos()
	b := buf[pos-start:]
	var h head
	if !h.get(b, w.seg.segKey, pos) {
		return Record{}, &DamageError{File: w.seg.name, Pos: pos, Reason: "checksum of the header does not match"}
	}
	if h.stream != id || h.index != w.index || h.term != w.term || h.size != w.at.size {
		return Record{}, &DamageError{File: w.seg.name, Pos: pos,
			Reason: fmt.Sprintf("stream %d index %d stands where stream %d index %d should", h.stream, h.index, id, w.index)}
	}
	end := headBytes + int(h.size)
	data := b[headBytes:end:end]
	if sum(data) != h.dataSum {
		return Record{}, &DamageError{File: w.seg.name, Pos: pos, Reason: "checksum of the payload does not match"}
	}
	return Record{Stream: id, Kind: KindEntry, Type: h.typ, Index: h.index, Term: h.term, Data: data}, nil
}

// Term gives the term of an entry, or of the one before the first: ErrCompacted
// below that, ErrUnavailable beyond the last entry. It does not touch the disk.
func (l *Log) Term(id, index uint64) (uint64, error) {
	l.mu.RLock()
	defer l.mu.RUnlock()
	st := l.streams[id]
	if st == nil || !st.live || index > st.last {
		return 0, fmt.Errorf("term of entry %d of stream %d: %w", index, id, ErrUnavailable)
	}
	t, ok := st.term(index)
	if !ok {
		return 0, fmt.Errorf("term of entry %d of stream %d: %w", index, id, ErrCompacted)
	}
	return t, nil
}
