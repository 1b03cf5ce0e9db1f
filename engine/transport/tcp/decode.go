package tcp

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"

	"go.etcd.io/raft/v3/raftpb"

	"dyno/engine/ids"
	"dyno/engine/transport"
)

// decoder makes messages of frames. Their data stays where it is in the frame;
// all entries of a frame are one allocation.
//
// It makes no memory that the bytes at hand do not justify: 48 bytes and a
// length for an entry of at least 4, 8 for a member of a group, the rest bounded
// by frameMessagesMax. FuzzDecode holds it to 20 bytes for each.
type decoder struct {
	batch   []transport.Envelope // of the last frame; used again
	kept    bool                 // it points into the frame
	lengths []uint32             // of the entries of one message
}

// lengthsKeepMax is how many lengths' memory is kept without use.
const lengthsKeepMax = 64 << 10

// decode checks a whole frame and leaves its messages in batch. Errors:
// ErrCorrupt, ErrMalformed.
func (d *decoder) decode(f []byte) error {
	if binary.LittleEndian.Uint32(f) != crc32.Checksum(f[4:], castagnoli) {
		return ErrCorrupt
	}
	messages, entries := binary.LittleEndian.Uint32(f[8:]), binary.LittleEndian.Uint32(f[12:])
	r := fields{b: f[headerBytes:]}
	if messages == 0 || messages > frameMessagesMax ||
		int64(messages)*messageBytesMin+int64(entries)*entryBytesMin > int64(len(r.b)) {
		return fmt.Errorf("%w: %d messages and %d entries in %d bytes", ErrMalformed, messages, entries, len(r.b))
	}
	d.release()
	var free []raftpb.Entry
	if entries > 0 {
		free = make([]raftpb.Entry, entries)
	}
	for range messages {
		d.batch = append(d.batch, transport.Envelope{})
		if free = d.message(&r, &d.batch[len(d.batch)-1], free); r.bad {
			return fmt.Errorf("%w: message %d of %d", ErrMalformed, len(d.batch), messages)
		}
	}
	if len(r.b) > 0 || len(free) > 0 {
		return fmt.Errorf("%w: %d bytes and %d entries too many", ErrMalformed, len(r.b), len(free))
	}
	return nil
}

// release forgets the last frame, so that it is not held while nothing comes.
func (d *decoder) release() {
	if cap(d.batch) > itemsKeepMax && len(d.batch) < cap(d.batch)/4 {
		d.batch = nil
	}
	clear(d.batch)
	d.batch, d.kept = d.batch[:0], false
	if cap(d.lengths) > lengthsKeepMax {
		d.lengths = nil
	}
}

// message reads one message; its entries are the first ones of free, and it
// returns the others.
func (d *decoder) message(r *fields, env *transport.Envelope, free []raftpb.Entry) []raftpb.Entry {
	head := r.bytes(2)
	if r.bad || head[1]&^flagsAll != 0 {
		r.fail()
		return free
	}
	flags := head[1]
	m := &env.Message
	m.Type = raftpb.MessageType(head[0])
	m.Reject = flags&flagReject != 0
	env.Group = ids.GroupID(r.uvarint())
	m.To, m.From, m.Term, m.LogTerm, m.Index, m.Commit = r.uvarint(), r.uvarint(), r.uvarint(), r.uvarint(), r.uvarint(), r.uvarint()
	if flags&flagRare != 0 {
		m.Vote, m.RejectHint = r.uvarint(), r.uvarint()
	}
	var context, metadata, snapshot uint64
	if flags&flagContext != 0 {
		context = r.uvarint()
	}
	if flags&flagSnapshot != 0 {
		metadata, snapshot = r.uvarint(), r.uvarint()
	}
	d.lengths = d.lengths[:0]
	if flags&flagEntries != 0 {
		n := r.uvarint()
		if n == 0 || n > uint64(len(free)) {
			r.fail()
			return free
		}
		m.Entries, free = free[:n:n], free[n:]
		d.entries(r, m)
	}

	m.Context = r.bytes(context)
	if flags&flagSnapshot != 0 {
		m.Snapshot = &raftpb.Snapshot{}
		if m.Snapshot.Metadata.Unmarshal(r.bytes(metadata)) != nil {
			r.fail()
		}
		m.Snapshot.Data = r.bytes(snapshot)
	}
	for i, n := range d.lengths {
		m.Entries[i].Data = r.bytes(uint64(n))
	}
	d.kept = d.kept || len(m.Entries) > 0 || len(m.Context) > 0 || m.Snapshot != nil
	return free
}

// entries reads all of the entries but their data.
func (d *decoder) entries(r *fields, m *raftpb.Message) {
	term, index := m.Term, m.Index
	for i := range m.Entries {
		word := r.bytes(entryBytesMin)
		if r.bad {
			return
		}
		w := binary.LittleEndian.Uint32(word)
		index++
		if w&entryOther != 0 {
			term, index = r.uvarint(), r.uvarint()
		}
		x := &m.Entries[i]
		x.Type, x.Term, x.Index = raftpb.EntryType(w&entryTypeMask), term, index
		d.lengths = append(d.lengths, w>>entryLengthShift)
	}
}

// fields reads from the front of b. Once something did not fit it is bad, and
// everything read from then on is zero.
type fields struct {
	b   []byte
	bad bool
}

func (r *fields) fail() { r.b, r.bad = nil, true }

func (r *fields) uvarint() uint64 {
	if len(r.b) > 0 && r.b[0] < 0x80 {
		v := r.b[0]
		r.b = r.b[1:]
		return uint64(v)
	}
	v, n := binary.Uvarint(r.b)
	if n <= 0 {
		r.fail()
		return 0
	}
	r.b = r.b[n:]
	return v
}

// bytes is the next n bytes, nil if there are none. It cannot grow into what
// follows.
func (r *fields) bytes(n uint64) []byte {
	if n > uint64(len(r.b)) {
		r.fail()
	}
	if n == 0 || r.bad {
		return nil
	}
	b := r.b[:n:n]
	r.b = r.b[n:]
	return b
}
