package wal

import (
	"errors"
	"hash/crc32"
)

// Writing ahead: the disk writes the first pieces of a large frame while the rest of
// it is copied. The frame's head, its first page or two, goes last: only the end of
// the frame knows what the flush header says, and a large first record gets its
// checksum while it is copied. To a power cut it is one write: before the sync any
// part of it may be there.

const (
	// aheadBytes is the least that goes ahead, and the payload from which on the
	// flusher takes the checksum.
	aheadBytes = 128 << 10
	// layBytes of a payload are summed and copied in one step: what is copied comes
	// from the processor's cache.
	layBytes = 32 << 10
)

// ahead is the part of a frame that goes ahead: arena[from:to], whole pages.
type ahead struct{ from, to int }

// sumsLate says whether the flusher takes the checksum of a payload, as it copies it,
// instead of Submit. For a large one that saves reading it twice, and the disk
// is at work meanwhile.
func (o *Options) sumsLate(payload int) bool {
	return !o.Buffered && payload >= o.aheadBytes
}

// copyIn copies a payload into the frame and returns its checksum if late is set.
func (w *flusher) copyIn(data []byte, late bool) (dataSum uint32, err error) {
	for len(data) > 0 {
		c := data[:min(len(data), layBytes)]
		if late {
			dataSum = crc32.Update(dataSum, castagnoli, c)
		}
		copy(w.take(len(c)), c)
		data = data[len(c):]
		if err := w.goAhead(int64(len(data)) + w.coming); err != nil {
			return 0, err
		}
	}
	return dataSum, nil
}

// goAhead begins to write what is laid in whole pages, if it is much and coming more
// bytes are: a piece is as large as all before it, so that a large frame has few.
func (w *flusher) goAhead(coming int64) error {
	a := w.ahead
	if a.to == 0 {
		a.from = (len(w.page) + flushBytes + headBytes + pageBytes - 1) / pageBytes * pageBytes
		a.to = a.from
	}
	step := max(w.l.opts.aheadBytes, a.to-a.from)
	to := len(w.arena) / pageBytes * pageBytes
	if to-a.to < step || coming < int64(step)/2 || w.l.opts.Buffered {
		return nil
	}
	p := w.arena[a.to:to]
	w.ahead = ahead{a.from, to}
	if err := w.seg.file.BeginDirect(p, w.pos-int64(len(w.page))+int64(a.to)); err != nil {
		return w.l.fail("write", err)
	}
	return nil
}

// writeRest writes what did not go ahead of the frame, which lies at off with its
// first page, and waits for all of it.
func (w *flusher) writeRest(off int64) error {
	f, a := w.seg.file, w.ahead
	w.ahead = ahead{}
	err := f.BeginDirect(w.arena[:a.from], off)
	if err == nil && a.to < len(w.arena) {
		err = f.BeginDirect(w.arena[a.to:], off+int64(a.to))
	}
	return errors.Join(err, f.EndDirect())
}

// recall waits for what went ahead of a frame that is given up.
func (w *flusher) recall() {
	if w.ahead.to > 0 {
		w.ahead = ahead{}
		_ = w.seg.file.EndDirect() // the log has failed already
	}
}
