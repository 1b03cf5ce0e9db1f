package wal

import (
	"errors"
	"fmt"
	"io"

	"dyno/wal/vfs"
)

// scanChunkBytes is how much is read from a segment at a time.
const scanChunkBytes = 1 << 20

// window reads a file front to back through one buffer. A record is always
// whole in it.
type window struct {
	f    vfs.File
	size int64
	buf  []byte // reused from file to file
	off  int64  // position of buf[0]
	have int    // bytes of buf that are read
}

func (w *window) reset(f vfs.File, size int64) {
	w.f, w.size, w.off, w.have = f, size, 0, 0
}

// at gives n bytes at pos, or as many as the file has. What it gave before is
// overwritten. pos never goes back.
func (w *window) at(pos int64, n int) ([]byte, error) {
	if rest := w.size - pos; int64(n) > rest {
		n = int(max(0, rest))
	}
	skip := pos - w.off
	if skip+int64(n) <= int64(w.have) {
		return w.buf[skip : skip+int64(n)], nil
	}
	// What is left of the buffer moves to its front, the rest is read behind.
	left := 0
	if skip < int64(w.have) {
		left = w.have - int(skip)
	}
	want := max(n, left+scanChunkBytes)
	if rest := w.size - pos; int64(want) > rest {
		want = int(max(0, rest))
	}
	if cap(w.buf) < want {
		b := make([]byte, want, max(want, 2*scanChunkBytes))
		copy(b, w.buf[w.have-left:w.have])
		w.buf = b
	} else {
		copy(w.buf[:cap(w.buf)], w.buf[w.have-left:w.have])
		w.buf = w.buf[:want]
	}
	w.off, w.have = pos, want
	if k, err := w.f.ReadAt(w.buf[left:want], pos+int64(left)); err != nil && !errors.Is(err, io.EOF) {
		w.have = left
		return nil, err
	} else if k < want-left {
		w.have = left + k // the file is shorter than it was: the rest is not there
		n = min(n, w.have)
	}
	return w.buf[:n], nil
}

// logged is one record as a scan found it.
type logged struct {
	stream uint64
	change
	typ uint8
}

// scanned is what one pass over a segment found.
type scanned struct {
	records []logged
	frames  []frameInfo // only if asked for
	end     int64       // position of the first thing that is no record
	why     string      // what stands there
	last    flush       // the last flush header
	lastPos int64
	torn    bool // what stands at end was begun in this use of the segment
}

// frameInfo is one frame, for Dump.
type frameInfo struct {
	flush
	pos     int64
	records int // index into scanned.records of the first one
}

// scan reads the records of s up to limit or the first one that does not hold.
// keep says what to keep of them: nothing, the records, the frames too.
func scan(s *segment, win *window, limit int64, keep int, into []logged) (r scanned, err error) {
	win.reset(s.file, min(limit, s.size))
	r.records = into[:0]
	for {
		pos := r.end
		b, err := win.at(pos, headBytes)
		if err != nil {
			return r, fmt.Errorf("read %s at %d: %w", s.name, pos, err)
		}
		var h head
		if len(b) < headBytes || !h.get(b, s.segKey, pos) {
			r.why, r.torn = unlikely(b, s.segKey)
			return r, nil
		}
		if b, err = win.at(pos, headBytes+int(h.size)); err != nil {
			return r, fmt.Errorf("read %s at %d: %w", s.name, pos, err)
		}
		if len(b) < headBytes+int(h.size) || sum(b[headBytes:]) != h.dataSum {
			r.why, r.torn = "the payload does not match its checksum", true
			return r, nil
		}
		ok := r.end > 0 || h.kind == kindFlush
		if h.kind == kindFlush {
			ok = ok && h.size == flushBody
			if ok {
				r.last.body(&h, b[headBytes:])
				r.lastPos = pos
				if keep > keepRecords {
					r.frames = append(r.frames, frameInfo{r.last, pos, len(r.records)})
				}
			}
		} else if c, good := h.change(b[headBytes:], pos); good && ok {
			if keep > keepNothing {
				r.records = append(r.records, logged{h.stream, c, h.typ})
			}
		} else {
			ok = false
		}
		if !ok {
			r.why, r.torn = "a record that makes no sense", true
			return r, nil
		}
		r.end = pos + recordBytes(int(h.size))
	}
}

const (
	keepNothing = iota
	keepRecords
	keepFrames
)

// change reads a record of any kind but kindFlush.
func (h *head) change(payload []byte, pos int64) (c change, ok bool) {
	c = change{kind: h.kind, index: h.index, term: h.term, at: entryPos{at: uint32(pos / alignBytes), size: h.size}}
	ok = h.stream != 0 && h.index <= indexMax
	switch h.kind {
	case KindEntry, kindMoved:
		ok = ok && h.index > 0
	case KindState:
		if ok = ok && len(payload) == voteBytes; ok {
			c.vote = voteOf(payload)
		}
	case KindTruncateBefore:
		ok = ok && h.index > 0 && h.size == 0
	case KindTruncateAfter, KindRemove:
		ok = ok && h.size == 0
	default:
		ok = false
	}
	return c, ok
}

// unlikely says what bytes that are no header look like.
func unlikely(b []byte, k segKey) (why string, torn bool) {
	if len(b) < headBytes {
		return "the segment ends", false
	}
	if seqOf(b) == k.seq {
		return "a record whose header does not match its checksum", true
	}
	for _, c := range b {
		if c != 0 {
			return "bytes of an older use of the file", false
		}
	}
	return "zeros", false
}

// promises looks in s, from pos on, for flush headers that hold, and gives the
// furthest promise among them.
func promises(s *segment, win *window, pos int64) (best point, found bool, err error) {
	pos = align(pos)
	win.reset(s.file, s.size)
	win.off = pos
	for {
		b, err := win.at(pos, scanChunkBytes/2)
		if err != nil {
			return best, found, fmt.Errorf("read %s at %d: %w", s.name, pos, err)
		}
		if len(b) < flushBytes {
			return best, found, nil
		}
		for ; len(b) >= flushBytes; b, pos = b[alignBytes:], pos+alignBytes {
			var f flush
			if Kind(b[12]) == kindFlush && f.get(b, s.segKey, pos) {
				found = true
				if f.promise.after(best) {
					best = f.promise
				}
			}
		}
	}
}
