package grpctransport

import (
	"encoding/binary"
	"fmt"

	"go.etcd.io/raft/v3/raftpb"
	"google.golang.org/grpc/mem"

	"dyno/engine/ids"
	"dyno/engine/transport"
)

// unpacker decodes the packed form. One goroutine uses it; its memory is used
// again for the next message, except what the envelopes point to.
type unpacker struct {
	batch   []transport.Envelope
	entries int    // in this message
	head    []byte // a header that lay in several buffers
	lengths []int  // of the blobs of one envelope, -1 for nil
}

// unpack decodes a gRPC message into u.batch, which is valid until the next
// call; what its messages point to is memory of their own, one allocation for
// the bytes of an envelope, so data may go back to its pool.
//
// Fails with ErrMalformed. It never allocates for lengths that data does not
// have.
func (u *unpacker) unpack(data mem.BufferSlice) error {
	u.batch, u.entries = u.batch[:0], 0
	src := source{bufs: data, left: data.Len()}
	var length [headBytes]byte
	if src.left < headBytes {
		return fmt.Errorf("%w: %d bytes", ErrMalformed, src.left)
	}
	src.read(length[:])
	n := int(binary.LittleEndian.Uint32(length[:]))
	if n < 0 || n > src.left {
		return fmt.Errorf("%w: header of %d bytes, %d are there", ErrMalformed, n, src.left)
	}
	r := reader{b: u.header(&src, n)}
	for len(r.b) > 0 {
		if len(u.batch) == envelopesMax {
			return fmt.Errorf("%w: more than %d envelopes", ErrMalformed, envelopesMax)
		}
		u.batch = append(u.batch, transport.Envelope{})
		if err := u.envelope(&u.batch[len(u.batch)-1], &r, &src); err != nil {
			return fmt.Errorf("envelope %d: %w", len(u.batch)-1, err)
		}
	}
	if src.left > 0 {
		return fmt.Errorf("%w: %d bytes after the last blob", ErrMalformed, src.left)
	}
	return nil
}

// header gives the next n bytes in one piece, as they lie if they do.
func (u *unpacker) header(src *source, n int) []byte {
	if b := src.peek(); len(b) >= n {
		src.skip(n)
		return b[:n]
	}
	if cap(u.head) < n || cap(u.head) > scratchKeepMax {
		u.head = make([]byte, n)
	}
	u.head = u.head[:n]
	src.read(u.head)
	return u.head
}

func (u *unpacker) envelope(e *transport.Envelope, r *reader, src *source) error {
	e.Group = ids.GroupID(r.uvarint())
	m := &e.Message
	m.Type = raftpb.MessageType(r.byte())
	flags, mask := r.byte(), r.byte()
	var numbers [8]uint64
	for i := range numbers {
		if mask&(1<<i) != 0 {
			numbers[i] = r.uvarint()
		}
	}
	m.To, m.From, m.Term, m.LogTerm = numbers[0], numbers[1], numbers[2], numbers[3]
	m.Index, m.Commit, m.Vote, m.RejectHint = numbers[4], numbers[5], numbers[6], numbers[7]
	m.Reject = flags&isReject != 0
	if m.Type > messageTypeMax || flags&^flagsMask != 0 {
		r.bad = true
	}
	u.lengths = u.lengths[:0]
	if flags&hasContext != 0 {
		u.lengths = append(u.lengths, r.length(src.left))
	}
	if flags&hasEntries != 0 {
		u.readEntries(m, r, src.left)
	}
	if flags&hasSnapshot != 0 {
		m.Snapshot = &raftpb.Snapshot{}
		if meta := r.bytes(r.length(len(r.b))); !r.bad && m.Snapshot.Metadata.Unmarshal(meta) != nil {
			r.bad = true
		}
		u.lengths = append(u.lengths, r.length(src.left+1)-1)
	}
	if r.bad {
		return fmt.Errorf("%w: header", ErrMalformed)
	}
	return u.blobs(m, flags, src)
}

func (u *unpacker) readEntries(m *raftpb.Message, r *reader, left int) {
	n := r.length(len(r.b)) // an entry has at least its kind
	u.entries += n
	if r.bad || n == 0 || u.entries > entriesMax {
		r.bad = true
		return
	}
	m.Entries = make([]raftpb.Entry, n)
	term, index := m.Term, m.Index
	for i := range m.Entries {
		kind := r.byte()
		if kind&^kindMask != 0 || kind&entryTypeMask > byte(entryTypeMax) {
			r.bad = true
			return
		}
		index++
		if kind&ownTerm != 0 {
			term = r.uvarint()
		}
		if kind&ownIndex != 0 {
			index = r.uvarint()
		}
		length := -1
		if kind&hasData != 0 {
			length = r.length(left)
		}
		m.Entries[i] = raftpb.Entry{Type: raftpb.EntryType(kind & entryTypeMask), Term: term, Index: index}
		u.lengths = append(u.lengths, length)
	}
}

// blobs copies the bytes fields of one envelope, whose lengths are known, into
// one allocation: they are kept and dropped together.
func (u *unpacker) blobs(m *raftpb.Message, flags byte, src *source) error {
	total := 0
	for _, n := range u.lengths {
		// No overflow: no length is above src.left, and it stops at the first
		// sum that is.
		if total += max(n, 0); total > src.left {
			return fmt.Errorf("%w: blobs of %d bytes, %d are there", ErrMalformed, total, src.left)
		}
	}
	all := make([]byte, total)
	src.read(all)
	lengths := u.lengths
	next := func() (b []byte) {
		if n := lengths[0]; n >= 0 {
			b, all = all[:n:n], all[n:]
		}
		lengths = lengths[1:]
		return b
	}
	if flags&hasContext != 0 {
		m.Context = next()
	}
	for i := range m.Entries {
		m.Entries[i].Data = next()
	}
	if flags&hasSnapshot != 0 {
		m.Snapshot.Data = next()
	}
	return nil
}

// reader reads a header. After the first thing that is not there, bad is set
// and everything is 0.
type reader struct {
	b   []byte
	bad bool
}

func (r *reader) byte() byte {
	if len(r.b) == 0 {
		r.bad = true
		return 0
	}
	v := r.b[0]
	r.b = r.b[1:]
	return v
}

func (r *reader) uvarint() uint64 {
	v, n := binary.Uvarint(r.b)
	if n <= 0 {
		r.b, r.bad = nil, true
		return 0
	}
	r.b = r.b[n:]
	return v
}

// length reads a number that is at most limit.
func (r *reader) length(limit int) int {
	v := r.uvarint()
	if v > uint64(limit) {
		r.bad = true
		return 0
	}
	return int(v)
}

func (r *reader) bytes(n int) []byte {
	if r.bad || n > len(r.b) {
		r.bad = true
		return nil
	}
	b := r.b[:n]
	r.b = r.b[n:]
	return b
}

// source reads through the buffers of a message without freeing them.
type source struct {
	bufs mem.BufferSlice // from the one being read
	at   int             // in bufs[0]
	left int
}

// peek gives what is left of the buffer being read, nil at the end.
func (s *source) peek() []byte {
	for len(s.bufs) > 0 {
		if b := s.bufs[0].ReadOnlyData(); s.at < len(b) {
			return b[s.at:]
		}
		s.bufs, s.at = s.bufs[1:], 0
	}
	return nil
}

// skip goes on by n bytes of what peek gave.
func (s *source) skip(n int) { s.at, s.left = s.at+n, s.left-n }

// read fills dst, which is at most what is left.
func (s *source) read(dst []byte) {
	for len(dst) > 0 {
		n := copy(dst, s.peek())
		s.skip(n)
		dst = dst[n:]
	}
}
