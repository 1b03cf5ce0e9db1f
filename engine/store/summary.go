package store

import (
	"encoding/binary"
	"fmt"
	"strconv"
	"strings"

	"dyno/engine/ids"
)

// run is a stretch of entries of one term: the first one's index, and the
// offset of the first record at or after it.
type run struct {
	index  ids.LogIndex
	term   ids.Term
	offset ids.Offset
}

// fileID is what a file's name and its head frame say: the first index, the
// term of the entry before it, and the offset of its first record.
type fileID struct {
	first    ids.LogIndex
	prevTerm ids.Term
	base     ids.Offset
}

func (id fileID) name() string { return fmt.Sprintf("%020d-%020d", id.first, id.base) }

const (
	logSuffix = ".log"
	idxSuffix = ".idx"
	headMagic = "dynoL1\x00\x01"
)

// parseName reads a file name without its suffix.
func parseName(name string) (fileID, bool) {
	a, b, ok := strings.Cut(name, "-")
	first, err1 := strconv.ParseUint(a, 10, 64)
	base, err2 := strconv.ParseInt(b, 10, 64)
	id := fileID{first: ids.LogIndex(first), base: ids.Offset(base)}
	return id, ok && err1 == nil && err2 == nil && base >= 0 && first > 0 && id.name() == name
}

func (id fileID) body() []byte {
	b := append(make([]byte, 0, 32), headMagic...)
	b = binary.BigEndian.AppendUint64(b, uint64(id.first))
	b = binary.BigEndian.AppendUint64(b, uint64(id.prevTerm))
	return binary.BigEndian.AppendUint64(b, uint64(id.base))
}

// parseHead checks a head frame against the file's name.
func parseHead(body []byte, name fileID) (fileID, bool) {
	d := fieldReader{b: body}
	magic := string(d.take(uint64(len(headMagic))))
	id := fileID{first: ids.LogIndex(d.u64()), prevTerm: ids.Term(d.u64()), base: ids.Offset(d.u64())}
	ok := magic == headMagic && !d.bad && len(d.b) == 0 && id.first == name.first && id.base == name.base
	return id, ok
}

// summary is what a file holds up to some point.
type summary struct {
	last     ids.LogIndex // first-1 without entries
	lastTerm ids.Term
	end      ids.Offset
	logBytes int64
	maxMS    int64 // noTime without batches
	runs     []run
}

func (s *summary) append(b []byte) []byte {
	for _, v := range [...]uint64{uint64(s.last), uint64(s.lastTerm), uint64(s.end), uint64(s.logBytes), uint64(s.maxMS), uint64(len(s.runs))} {
		b = binary.BigEndian.AppendUint64(b, v)
	}
	for _, r := range s.runs {
		b = binary.BigEndian.AppendUint64(b, uint64(r.index))
		b = binary.BigEndian.AppendUint64(b, uint64(r.term))
		b = binary.BigEndian.AppendUint64(b, uint64(r.offset))
	}
	return b
}

func (d *fieldReader) summary() (s summary) {
	s = summary{last: ids.LogIndex(d.u64()), lastTerm: ids.Term(d.u64()), end: ids.Offset(d.u64()),
		logBytes: int64(d.u64()), maxMS: int64(d.u64())}
	n := d.u64()
	if n > uint64(len(d.b))/24 {
		d.bad = true
		return s
	}
	for ; n > 0; n-- {
		s.runs = append(s.runs, run{ids.LogIndex(d.u64()), ids.Term(d.u64()), ids.Offset(d.u64())})
	}
	return s
}

// grow adds a frame's span, of which last is the last term and terms the
// metas' terms where they change.
func (s *summary) grow(sp *span, last ids.Term) {
	s.last, s.lastTerm, s.end = sp.last(), last, sp.end
	s.logBytes = sp.logPos + sp.logLen
	s.maxMS = max(s.maxMS, sp.maxMS)
}

// checkpoint is the body of a checkpoint frame: what the whole log holds from
// first on, the file's summary, and the state.
type checkpoint struct {
	first ids.LogIndex // of the log; older files are leftovers
	sum   summary
	state []byte
}

func (c *checkpoint) body() []byte {
	b := binary.BigEndian.AppendUint64(nil, uint64(c.first))
	b = c.sum.append(b)
	return append(b, c.state...)
}

func parseCheckpoint(body []byte) (checkpoint, bool) {
	d := fieldReader{b: body}
	c := checkpoint{first: ids.LogIndex(d.u64()), sum: d.summary()}
	c.state = d.b
	return c, !d.bad
}

// sealBody ends in the frame's length, so that the frame is found from the
// file's end.
func sealBody(s *summary) []byte {
	b := s.append(nil)
	return binary.BigEndian.AppendUint64(b, uint64(frameHeaderBytes+len(b)+8))
}

func parseSeal(body []byte) (summary, bool) {
	d := fieldReader{b: body}
	s := d.summary()
	length := d.u64()
	return s, !d.bad && len(d.b) == 0 && length == uint64(frameHeaderBytes+len(body))
}
