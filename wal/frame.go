package wal

import (
	"encoding/binary"
	"hash/crc32"
)

// The layout of a record and of a flush header; doc.go explains it.
const (
	headBytes  = 48
	alignBytes = 8
	flushBytes = headBytes + flushBody
	flushBody  = 32
	// tailBytes stays free at the end of a segment for the two flush headers
	// without records that may follow its last flush: the promise that confirms
	// it and the clean end.
	tailBytes = 2 * flushBytes

	// Kinds that only the log itself writes.
	kindMoved Kind = 16 // an entry copied to the head; changes where it lies and nothing else
	kindFlush Kind = 32 // opens a frame: Index and Term are the promise, see promise

	flagClean uint32 = 1 // the log was closed after this frame
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func sum(p []byte) uint32 {
	if len(p) == 0 {
		return 0
	}
	return crc32.Checksum(p, castagnoli)
}

// head is a record's header.
type head struct {
	size    uint32 // bytes of payload
	dataSum uint32 // crc32c of the payload
	kind    Kind
	typ     uint8
	stream  uint64
	index   uint64
	term    uint64

	summed bool // dataSum is taken; not part of what is written
}

func align(n int64) int64 { return (n + alignBytes - 1) &^ (alignBytes - 1) }

// recordBytes is what a record with that many bytes of payload takes.
func recordBytes(payload int) int64 { return align(headBytes + int64(payload)) }

// put writes the header of the record at pos of segment seq into b[:headBytes].
// While the checksum is taken, its own place holds the position, so that one
// pass over the header binds both.
func (h *head) put(b []byte, k segKey, pos int64) {
	_ = b[headBytes-1]
	binary.LittleEndian.PutUint32(b[0:], uint32(pos/alignBytes))
	binary.LittleEndian.PutUint32(b[4:], h.size)
	binary.LittleEndian.PutUint32(b[8:], h.dataSum)
	b[12], b[13], b[14], b[15] = byte(h.kind), h.typ, 0, 0
	binary.LittleEndian.PutUint64(b[16:], h.stream)
	binary.LittleEndian.PutUint64(b[24:], h.index)
	binary.LittleEndian.PutUint64(b[32:], h.term)
	binary.LittleEndian.PutUint64(b[40:], k.seq)
	binary.LittleEndian.PutUint32(b[0:], crc32.Update(k.seed, castagnoli, b[:headBytes]))
}

// get reads the header at pos and says whether it is one that was written
// there, in this use of the segment. It does not look at the payload.
func (h *head) get(b []byte, k segKey, pos int64) bool {
	_ = b[headBytes-1]
	if binary.LittleEndian.Uint64(b[40:]) != k.seq && !k.anySeq {
		return false
	}
	want := binary.LittleEndian.Uint32(b)
	var c [headBytes]byte
	copy(c[:], b)
	binary.LittleEndian.PutUint32(c[0:], uint32(pos/alignBytes))
	if crc32.Update(k.seed, castagnoli, c[:]) != want {
		return false
	}
	*h = head{
		size:    binary.LittleEndian.Uint32(b[4:]),
		dataSum: binary.LittleEndian.Uint32(b[8:]),
		kind:    Kind(b[12]),
		typ:     b[13],
		stream:  binary.LittleEndian.Uint64(b[16:]),
		index:   binary.LittleEndian.Uint64(b[24:]),
		term:    binary.LittleEndian.Uint64(b[32:]),
	}
	return true
}

// segKey is what binds a record to one use of one segment of one log.
type segKey struct {
	seq    uint64
	seed   uint32 // crc32c of the log id and seq
	anySeq bool   // mutNoSeq
}

func newSegKey(id logID, seq uint64, mut mutant) segKey {
	b := binary.LittleEndian.AppendUint64(id[:], seq)
	if mut.has(mutNoSeq) {
		b = b[:len(id)]
	}
	return segKey{seq: seq, seed: sum(b), anySeq: mut.has(mutNoSeq)}
}

// point is a place in the log: all bytes before off in segment seq, and all
// segments before it.
type point struct {
	seq uint64
	off int64
}

func (p point) after(q point) bool {
	return p.seq > q.seq || p.seq == q.seq && p.off > q.off
}

// flush is a flush header: the record that opens each frame.
type flush struct {
	promise point  // durable before this frame was written
	oldest  uint64 // segments below hold nothing that counts
	prev    point  // first frame of a segment: where the log before it ends
	bytes   uint32 // of the records that follow in this frame
	flags   uint32
}

func (f *flush) put(b []byte, k segKey, pos int64) {
	p := b[headBytes:flushBytes]
	binary.LittleEndian.PutUint64(p[0:], f.oldest)
	binary.LittleEndian.PutUint64(p[8:], f.prev.seq)
	binary.LittleEndian.PutUint64(p[16:], uint64(f.prev.off))
	binary.LittleEndian.PutUint32(p[24:], f.bytes)
	binary.LittleEndian.PutUint32(p[28:], f.flags)
	h := head{size: flushBody, dataSum: sum(p), kind: kindFlush, index: uint64(f.promise.off), term: f.promise.seq}
	h.put(b, k, pos)
}

// body reads what follows a header of kindFlush whose payload is p.
func (f *flush) body(h *head, p []byte) {
	*f = flush{
		promise: point{seq: h.term, off: int64(h.index)},
		oldest:  binary.LittleEndian.Uint64(p[0:]),
		prev:    point{seq: binary.LittleEndian.Uint64(p[8:]), off: int64(binary.LittleEndian.Uint64(p[16:]))},
		bytes:   binary.LittleEndian.Uint32(p[24:]),
		flags:   binary.LittleEndian.Uint32(p[28:]),
	}
}

// get reads the flush header at pos, whole.
func (f *flush) get(b []byte, k segKey, pos int64) bool {
	var h head
	if len(b) < flushBytes || !h.get(b, k, pos) || h.kind != kindFlush || h.size != flushBody {
		return false
	}
	p := b[headBytes:flushBytes]
	if sum(p) != h.dataSum {
		return false
	}
	f.body(&h, p)
	return true
}

func seqOf(b []byte) uint64  { return binary.LittleEndian.Uint64(b[40:]) }
func voteOf(p []byte) uint64 { return binary.LittleEndian.Uint64(p) }
