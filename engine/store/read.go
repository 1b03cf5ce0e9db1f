package store

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"sort"

	"dyno/engine/ids"
)

// damaged makes an error of reading what a checkpoint covers: bytes that are
// missing or wrong are corruption, other errors are the disk's.
func damaged(name string, pos int64, what string, err error) error {
	if errors.Is(err, errFrame) || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return &CorruptError{File: name, Pos: pos, What: what + ": bytes are missing or fail their checksum"}
	}
	return fmt.Errorf("read %s of %s at byte %d: %w", what, name, pos, err)
}

// item is one entry found by the index.
type item struct {
	meta
	index ids.LogIndex
	base  ids.Offset
}

// open opens a file for reading, to be released; a file that retention deleted
// meanwhile is ErrCompacted, one that somebody else did is damage. A file is
// marked as gone before it is deleted, so the mark is there when it is missed.
func (l *Log) open(f *file) (*handle, error) {
	h, err := l.opt.Cache.acquire(f.key)
	switch {
	case err == nil || !errors.Is(err, fs.ErrNotExist):
		return h, err
	case l.opt.Cache.gone(f.key):
		return nil, ErrCompacted
	}
	return nil, &CorruptError{File: f.key.path, What: "file is missing"}
}

// use opens a file, with its spans, for as long as do runs.
func (l *Log) use(f *file, do func(h *handle, spans []span) error) error {
	h, err := l.open(f)
	if err != nil {
		return err
	}
	defer l.opt.Cache.release(h)
	spans, err := loadSpans(f, h)
	if err != nil {
		return err
	}
	return do(h, spans)
}

// loadSpans gives a file's spans; those of a full file are read once per time
// it is opened.
func loadSpans(f *file, h *handle) ([]span, error) {
	if f.kLen > 0 { // the tail as of some checkpoint has its own
		return f.spans, nil
	}
	if p := h.spans.Load(); p != nil {
		return *p, nil
	}
	spans, err := scanFull(f, h, nil)
	if err != nil {
		return nil, err
	}
	h.spans.Store(&spans)
	return spans, nil
}

// scanFull reads the index of a full file and checks it against its seal; each,
// if set, is called with each entries frame.
func scanFull(f *file, h *handle, each func(sp *span, body []byte) error) ([]span, error) {
	name := f.key.path + idxSuffix
	size, err := h.idx.Size()
	if err != nil {
		return nil, err
	}
	s := tailScan{file: &file{id: f.id, key: f.key}, cur: summary{last: f.id.first - 1, end: f.id.base, maxMS: noTime}}
	end, err := scanFrames(h.idx, size, func(fr frame) error {
		if err := s.visit(fr); err != nil || each == nil || fr.kind != kindEntries {
			return err
		}
		return each(&s.spans[len(s.spans)-1], fr.body)
	})
	if err != nil {
		return nil, err
	}
	if end != size || s.cur.last != f.sum.last || s.cur.end != f.sum.end || s.cur.logBytes != f.sum.logBytes {
		return nil, &CorruptError{File: name, Pos: end, What: "index does not reach what its seal says"}
	}
	return s.spans, nil
}

// walk calls visit for the entries of spans in order, until it returns false.
func walk(f *file, h *handle, spans []span, visit func(it *item) bool) error {
	for i := range spans {
		items, err := decodeSpan(f, h, &spans[i])
		if err != nil {
			return err
		}
		for k := range items {
			if !visit(&items[k]) {
				return nil
			}
		}
	}
	return nil
}

// decodeSpan reads the frame of a span.
func decodeSpan(f *file, h *handle, sp *span) ([]item, error) {
	name := f.key.path + idxSuffix
	fr, err := frameAt(h.idx, sp.pos, sp.length)
	if err != nil {
		return nil, damaged(name, sp.pos, "entries", err)
	}
	got, _, ok := parseSpan(&fr)
	if !ok || fr.kind != kindEntries || got != *sp {
		return nil, &CorruptError{File: name, Pos: sp.pos, What: "entries"}
	}
	ms, ok := metas(sp, fr.body)
	if !ok {
		return nil, &CorruptError{File: name, Pos: sp.pos, What: "entries do not add up"}
	}
	items := make([]item, len(ms))
	base := sp.base
	for i, m := range ms {
		items[i] = item{meta: m, index: sp.first + ids.LogIndex(i), base: base}
		if m.kind == entryBatch {
			base += ids.Offset(m.delta) + 1
		}
	}
	return items, nil
}

// readBatches reads the batches among items, which lie one after another from
// pos on, in one read, and checks each. out[i] is nil where items[i] is none.
func readBatches(f *file, h *handle, pos int64, items []item) ([][]byte, error) {
	var n int64
	for i := range items {
		n += items[i].bytes
	}
	name := f.key.path + logSuffix
	buf := make([]byte, n)
	if n > 0 {
		if got, err := h.log.ReadAt(buf, pos); int64(got) < n {
			return nil, damaged(name, pos+int64(got), "batches", err)
		}
	}
	out := make([][]byte, len(items))
	for i := range items {
		it := &items[i]
		if it.kind != entryBatch {
			continue
		}
		b := buf[:it.bytes:it.bytes]
		buf = buf[it.bytes:]
		if what := checkBatch(b, it.base, it.term); what != "" {
			return nil, &CorruptError{File: name, Pos: pos, What: what}
		}
		if batchEnd(b, it.base) != it.base+ids.Offset(it.delta)+1 {
			return nil, &CorruptError{File: name, Pos: pos, What: "batch and index disagree on its records"}
		}
		out[i] = b
		pos += it.bytes
	}
	return out, nil
}

// Entries returns entries [lo, hi) as they were appended, as many from lo on as
// fit maxBytes of data, but at least one; possibly fewer, where a file ends. It
// reads the disk; any goroutine may call; the data is the caller's own. Errors:
// ErrCompacted, ErrUnavailable, ErrCorrupt.
func (l *Log) Entries(lo, hi ids.LogIndex, maxBytes int64) ([]Entry, error) {
	v := l.view.Load()
	before, last := v.bounds()
	if lo <= before.Index {
		return nil, ErrCompacted
	}
	if lo >= hi || hi > last.Index+1 {
		return nil, ErrUnavailable
	}
	f := v.at(lo)
	var out []Entry
	err := l.use(f, func(h *handle, spans []span) error {
		i := sort.Search(len(spans), func(i int) bool { return spans[i].last() >= lo })
		pos := spans[i].logPos
		var items []item
		err := walk(f, h, spans[i:], func(it *item) bool {
			if it.index < lo {
				pos += it.bytes
				return true
			}
			maxBytes -= it.bytes + int64(len(it.payload))
			if it.index >= hi || maxBytes < 0 && len(items) > 0 {
				return false
			}
			items = append(items, *it)
			return true
		})
		if err != nil {
			return err
		}
		batches, err := readBatches(f, h, pos, items)
		for i := range batches {
			it := &items[i]
			e := Entry{Index: it.index, Term: it.term, Type: it.typ, Data: it.payload}
			if it.kind == entryBatch {
				e.Data = batches[i]
			}
			out = append(out, e)
		}
		return err
	})
	return out, err
}

// ReadOffset returns batches, whole, from the one that holds offset on: as many
// as fit maxBytes, and with one at least the first; possibly fewer, where a
// file ends. None at the end of the log is no error. It reads the disk; any
// goroutine may call; the batches are the caller's own. Errors: ErrCompacted
// below the first file, ErrCorrupt.
func (l *Log) ReadOffset(offset ids.Offset, maxBytes int, one bool) ([][]byte, error) {
	v := l.view.Load()
	n := sort.Search(len(v.files), func(i int) bool { return v.files[i].sum.end > offset })
	if n == len(v.files) {
		return nil, nil
	}
	f := v.files[n]
	if offset < f.id.base {
		return nil, ErrCompacted
	}
	var out [][]byte
	err := l.use(f, func(h *handle, spans []span) error {
		i := sort.Search(len(spans), func(i int) bool { return spans[i].end > offset })
		pos := spans[i].logPos
		left := int64(maxBytes)
		var items []item
		err := walk(f, h, spans[i:], func(it *item) bool {
			switch {
			case it.kind != entryBatch:
				return true
			case it.base+ids.Offset(it.delta) < offset:
				pos += it.bytes
				return true
			}
			left -= it.bytes
			if left < 0 && (!one || len(items) > 0) {
				return false
			}
			items = append(items, *it)
			return true
		})
		if err != nil || len(items) == 0 {
			return err
		}
		out, err = readBatches(f, h, pos, items)
		return err
	})
	return out, err
}
