package wal

import (
	"errors"
	"hash/crc32"
)

// Writing ahead: of a large record that comes with little else, while nobody else waits,
// the disk writes the first pieces while the rest is copied. Each request costs a
// processor some 15 us (measured, not recorded), so where submissions queue up a frame
// is one request. The frame's head, its first page or two, goes last: only the end of
// the frame knows what the flush header says, and the record gets its checksum while it
// is copied. To a power cut it is one write: before the sync any part of it may be there.

const (
	// aheadBytes is the least that goes ahead.
	aheadBytes = 128 << 10
	// layBytes of a payload are summed and copied in one step: what is copied comes
	// from the processor's cache.
	layBytes = 32 << 10
)

// ahead is the part of a frame that goes ahead: arena[from:to], whole pages.
type ahead struct{ from, to int }

// lone says whether a is one large record, its first, with little behind it, like
// the state of its stream.
func (o *Options) lone(a *Append) bool {
	if o.Buffered || len(a.Records) == 0 || len(a.Records[0].Data) < o.aheadBytes {
		return false
	}
	rest := int64(0)
	for i := range a.Records[1:] {
		rest += recordBytes(payloadBytes(&a.Records[1+i]))
	}
	return rest < int64(o.aheadBytes)
}

// sumsLate says whether the flusher takes the checksum of a's first record, as it copies
// the payload, instead of Submit. For a large one that spares reading it twice. Where
// the flusher has work already, Submit has time for it.
func (l *Log) sumsLate(a *Append) bool { return l.opts.lone(a) && l.queue.idle() }

// copyIn copies the payload of h into the frame, and takes its checksum if Submit did
// not.
func (w *flusher) copyIn(h *head, data []byte) error {
	goesAhead := w.goesAhead && w.bytes == flushBytes // its header lies in the frame's head
	if h.summed && !goesAhead {
		copy(w.take(len(data)), data)
		return nil
	}
	step := min(layBytes, w.l.opts.aheadBytes)
	for len(data) > 0 {
		c := data[:min(len(data), step)]
		if !h.summed {
			h.dataSum = crc32.Update(h.dataSum, castagnoli, c)
		}
		copy(w.take(len(c)), c)
		data = data[len(c):]
		if goesAhead {
			if err := w.goAhead(len(data)); err != nil {
				return err
			}
		}
	}
	return nil
}

// goAhead begins to write the whole pages that are laid and not under way, if they are
// Options.aheadBytes and as many as all that went before, and half as many bytes are
// still to come: so a large record has few pieces, and none is followed by nothing.
func (w *flusher) goAhead(coming int) error {
	a := w.ahead
	if a.to == 0 {
		a.from = (len(w.page) + flushBytes + headBytes + pageBytes - 1) / pageBytes * pageBytes
		a.to = a.from
	}
	step := max(w.l.opts.aheadBytes, a.to-a.from)
	to := len(w.arena) / pageBytes * pageBytes
	if to-a.to < step || coming < step/2 {
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
	if err == nil {
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
