package store

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"math"

	"dyno/engine/ids"
)

// Entry is one entry of the replicated log. It holds a record batch if Type is
// 0 and Data begins below 0x80, as every batch with its base offset does;
// anything else is kept as it is.
type Entry struct {
	Index ids.LogIndex
	Term  ids.Term
	Type  uint8 // the log's own kind of entry, kept as it is
	Data  []byte
}

func (e *Entry) isBatch() bool { return e.Type == 0 && len(e.Data) > 0 && e.Data[0] < 0x80 }

// What the store knows of a v2 record batch. Source: Kafka's DefaultRecordBatch.
const (
	batchHeaderBytes = 61
	posLength        = 8
	posEpoch         = 12
	posMagic         = 16
	posCRC           = 17
	posCovered       = 21 // the checksum covers from here on
	posLastDelta     = 23
	posMaxTime       = 35
)

// checkBatch says what is wrong with a batch that must begin at base and was
// appended in term; "" if nothing. Base offset, length, epoch, magic and
// checksum together cover every byte of it.
func checkBatch(b []byte, base ids.Offset, term ids.Term) string {
	switch {
	case len(b) < batchHeaderBytes:
		return fmt.Sprintf("batch of %d bytes", len(b))
	case ids.Offset(binary.BigEndian.Uint64(b)) != base:
		return fmt.Sprintf("batch with base offset %d instead of %d", int64(binary.BigEndian.Uint64(b)), base)
	case int64(binary.BigEndian.Uint32(b[posLength:]))+posEpoch != int64(len(b)):
		return "batch length"
	case uint64(binary.BigEndian.Uint32(b[posEpoch:])) != uint64(term):
		return "leader epoch is not the term"
	case b[posMagic] != 2:
		return "batch magic"
	case binary.BigEndian.Uint32(b[posLastDelta:]) > math.MaxInt32:
		return "last offset delta"
	case crc32.Checksum(b[posCovered:], castagnoli) != binary.BigEndian.Uint32(b[posCRC:]):
		return "batch checksum"
	}
	return ""
}

// meta is what an entries frame says of one entry.
type meta struct {
	kind    byte
	typ     uint8
	term    ids.Term
	bytes   int64 // batches: in the log file
	delta   int64 // batches: last offset delta
	maxMS   int64 // batches
	payload []byte
}

// The kinds of entry in a frame, low bits of an entry's first byte.
const (
	entryEmpty   = 0
	entryBatch   = 1
	entryPayload = 2
	entryKinds   = 3

	flagTerm = 4 // the term went up: difference follows
	flagType = 8 // a type follows
)

// span is an entries frame as known in memory: where it stands and what it
// holds. [first, first+count) are log indexes, [base, end) offsets, and
// [logPos, logPos+logBytes) bytes of the log file.
type span struct {
	pos, length    int64 // of the frame in the index file
	first          ids.LogIndex
	count          int64
	term           ids.Term // of the entry before first
	base, end      ids.Offset
	logPos, logLen int64
	maxMS          int64 // noTime without batches
}

const noTime = math.MinInt64

const spanBytes = 72 // of the fixed part of an entries frame's body

func (s *span) last() ids.LogIndex { return s.first + ids.LogIndex(s.count) - 1 }

// builder collects entries into the body of one frame.
type builder struct {
	span
	entries []byte
	lastT   ids.Term
	lastMS  int64
}

// Frame limits: a read decodes one frame, so it is kept small.
const (
	frameEntriesMax  = 512
	frameLogBytesMax = 64 << 10
)

func (w *builder) reset(first ids.LogIndex, term ids.Term, base ids.Offset, logPos int64) {
	w.span = span{first: first, term: term, base: base, end: base, logPos: logPos, maxMS: noTime}
	w.entries, w.lastT, w.lastMS = w.entries[:0], term, 0
}

func (w *builder) full() bool { return w.count >= frameEntriesMax || w.logLen >= frameLogBytesMax }

// add takes an entry that was checked.
func (w *builder) add(e *Entry) {
	kind := byte(entryEmpty)
	switch {
	case e.isBatch():
		kind = entryBatch
	case len(e.Data) > 0:
		kind = entryPayload
	}
	flags := kind
	if e.Term != w.lastT {
		flags |= flagTerm
	}
	if e.Type != 0 {
		flags |= flagType
	}
	w.entries = append(w.entries, flags)
	if e.Term != w.lastT {
		w.entries = binary.AppendUvarint(w.entries, uint64(e.Term-w.lastT))
		w.lastT = e.Term
	}
	if e.Type != 0 {
		w.entries = append(w.entries, e.Type)
	}
	switch kind {
	case entryBatch:
		w.addBatch(e.Data)
	case entryPayload:
		w.entries = binary.AppendUvarint(w.entries, uint64(len(e.Data)))
		w.entries = append(w.entries, e.Data...)
	}
	w.count++
}

func (w *builder) addBatch(b []byte) {
	delta := int64(binary.BigEndian.Uint32(b[posLastDelta:]))
	ms := int64(binary.BigEndian.Uint64(b[posMaxTime:]))
	w.entries = binary.AppendUvarint(w.entries, uint64(len(b)))
	w.entries = binary.AppendUvarint(w.entries, uint64(delta))
	w.entries = binary.AppendVarint(w.entries, ms-w.lastMS)
	w.lastMS = ms
	w.maxMS = max(w.maxMS, ms)
	w.end += ids.Offset(delta) + 1
	w.logLen += int64(len(b))
}

// body encodes the frame's body onto b.
func (w *builder) body(b []byte) []byte {
	b = binary.BigEndian.AppendUint64(b, uint64(w.first))
	b = binary.BigEndian.AppendUint64(b, uint64(w.count))
	b = binary.BigEndian.AppendUint64(b, uint64(w.term))
	b = binary.BigEndian.AppendUint64(b, uint64(w.base))
	b = binary.BigEndian.AppendUint64(b, uint64(w.end))
	b = binary.BigEndian.AppendUint64(b, uint64(w.logPos))
	b = binary.BigEndian.AppendUint64(b, uint64(w.logLen))
	b = binary.BigEndian.AppendUint64(b, uint64(w.maxMS))
	b = binary.BigEndian.AppendUint64(b, uint64(w.lastT))
	return append(b, w.entries...)
}

// parseSpan reads the fixed part of an entries frame; last is the term of its
// last entry. Sanity of the numbers is checked by who chains the spans.
func parseSpan(f *frame) (s span, last ids.Term, ok bool) {
	b := f.body
	if len(b) < spanBytes {
		return span{}, 0, false
	}
	u := func(i int) uint64 { return binary.BigEndian.Uint64(b[8*i:]) }
	s = span{pos: f.pos, length: f.end() - f.pos, first: ids.LogIndex(u(0)), count: int64(u(1)), term: ids.Term(u(2)),
		base: ids.Offset(u(3)), end: ids.Offset(u(4)), logPos: int64(u(5)), logLen: int64(u(6)), maxMS: int64(u(7))}
	ok = s.count > 0 && s.count <= int64(len(b)-spanBytes) && s.logLen >= 0 && s.end >= s.base && s.logPos >= 0
	return s, ids.Term(u(8)), ok
}

// metas decodes the entries of a frame; ok false if they do not parse or do not
// add up to what the fixed part says. It never panics.
func metas(s *span, body []byte) (out []meta, ok bool) {
	d := fieldReader{b: body[spanBytes:]}
	out = make([]meta, 0, s.count)
	term, ms := s.term, int64(0)
	end, bytes := s.base, int64(0)
	for i := int64(0); i < s.count; i++ {
		flags := d.byte()
		m := meta{kind: flags & entryKinds}
		if flags&flagTerm != 0 {
			term += ids.Term(d.uvarint())
		}
		if flags&flagType != 0 {
			m.typ = d.byte()
		}
		m.term = term
		switch m.kind {
		case entryBatch:
			m.bytes, m.delta = int64(d.uvarint()), int64(d.uvarint())
			ms += d.varint()
			m.maxMS = ms
			d.bad = d.bad || m.bytes < batchHeaderBytes || m.bytes > s.logLen || m.delta < 0 || m.delta > math.MaxInt32
			end += ids.Offset(m.delta) + 1
			bytes += m.bytes
		case entryPayload:
			m.payload = d.take(d.uvarint())
		case entryKinds:
			d.bad = true
		}
		if d.bad {
			return nil, false
		}
		out = append(out, m)
	}
	return out, end == s.end && bytes == s.logLen && len(d.b) == 0
}

// fieldReader reads a frame's variable fields; after an error it gives zeros.
type fieldReader struct {
	b   []byte
	bad bool
}

func (d *fieldReader) take(n uint64) []byte {
	if d.bad || n > uint64(len(d.b)) {
		d.bad = true
		return nil
	}
	v := d.b[:n:n]
	d.b = d.b[n:]
	return v
}

func (d *fieldReader) byte() byte {
	if v := d.take(1); v != nil {
		return v[0]
	}
	return 0
}

func (d *fieldReader) uvarint() uint64 {
	v, n := binary.Uvarint(d.b)
	if n <= 0 {
		d.bad = true
		return 0
	}
	d.b = d.b[n:]
	return v
}

func (d *fieldReader) varint() int64 {
	u := d.uvarint()
	return int64(u>>1) ^ -int64(u&1)
}

func (d *fieldReader) u64() uint64 {
	if v := d.take(8); v != nil {
		return binary.BigEndian.Uint64(v)
	}
	return 0
}
