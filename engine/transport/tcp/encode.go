package tcp

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"math"

	"go.etcd.io/raft/v3/raftpb"

	"dyno/engine/transport"
)

// encoder turns queued messages into frames, as pieces for one or more writev:
//
//	pack   messages → head (all that was made here) and cuts (data of others
//	       that goes between two bytes of head)
//	seal   checksums, then pieces
//	reset
//
// Data longer than inlineMax is never copied. Cuts hold places in head, not
// slices of it: head moves when it grows.
type encoder struct {
	inlineMax int
	frameMax  int // the largest frame the peer takes

	head   []byte
	cuts   []cut
	frames []frame
	loose  int // bytes in cuts

	refused []int    // items of the last pack that no frame can hold
	pieces  [][]byte // of seal
}

// cut is data that goes where head[:at] ends.
type cut struct {
	at   int
	data []byte
}

// frame is where one begins in head, cuts and loose.
type frame struct{ head, cuts, loose int }

const (
	// inlineBytesMax: copying so much costs no more than one iovec more.
	inlineBytesMax = 2 << 10
	inlineAll      = math.MaxInt
	// writeBytesMax ends a turn of pack, and bounds a piece.
	writeBytesMax = 1 << 20
	// cutsMax also ends a turn: with what lies between, IOV_MAX iovecs.
	cutsMax = 500
	// headKeepMax is how much of a large turn's memory is kept for the next.
	headKeepMax = 2 << 20
)

func (e *encoder) bytes() int { return len(e.head) + e.loose }

func (e *encoder) reset() {
	clear(e.cuts)
	clear(e.pieces)
	if cap(e.head) > headKeepMax {
		e.head = nil
	}
	e.head, e.cuts, e.frames, e.pieces = e.head[:0], e.cuts[:0], e.frames[:0], e.pieces[:0]
	e.loose, e.refused = 0, e.refused[:0]
}

// pack encodes items from i on until the turn is full, and returns the first
// one left. Those that no frame can hold are named in refused.
func (e *encoder) pack(items []item, i int) int {
	for i < len(items) && e.bytes()+frameBytesTarget <= writeBytesMax && len(e.cuts) < cutsMax {
		i = e.frame(items, i)
	}
	return i
}

// frame encodes one frame of at least one message.
func (e *encoder) frame(items []item, i int) int {
	f := frame{len(e.head), len(e.cuts), e.loose}
	e.head = append(e.head, make([]byte, headerBytes)...)
	messages, entries := 0, 0
	for ; i < len(items) && messages < frameMessagesMax; i++ {
		m := &items[i].envelope.Message
		size := e.bytes() - (f.head + f.loose)
		if messages > 0 && size+int(items[i].bytes) > frameBytesTarget {
			break
		}
		if payload(m) <= int64(e.frameMax) {
			e.message(&items[i].envelope)
			size = e.bytes() - (f.head + f.loose)
		} else {
			size = math.MaxInt // not even encoded: its lengths may not fit their fields
		}
		if size > e.frameMax { // it stands alone: others stay below the target
			e.refused = append(e.refused, i)
			e.rollback(f)
			return i + 1
		}
		messages++
		entries += len(m.Entries)
	}
	h := e.head[f.head:]
	binary.LittleEndian.PutUint32(h[4:], uint32(e.bytes()-(f.head+f.loose)-headerBytes))
	binary.LittleEndian.PutUint32(h[8:], uint32(messages))
	binary.LittleEndian.PutUint32(h[12:], uint32(entries))
	e.frames = append(e.frames, f)
	return i
}

func (e *encoder) rollback(f frame) {
	clear(e.cuts[f.cuts:])
	e.head, e.cuts, e.loose = e.head[:f.head], e.cuts[:f.cuts], f.loose
}

// payload is the bytes of a message that are not fields.
func payload(m *raftpb.Message) int64 {
	n := int64(len(m.Context))
	if m.Snapshot != nil {
		n += int64(len(m.Snapshot.Data))
	}
	for i := range m.Entries {
		n += int64(len(m.Entries[i].Data))
	}
	return n
}

// message appends one message.
func (e *encoder) message(env *transport.Envelope) {
	m := &env.Message
	if len(m.Responses) > 0 || uint32(m.Type) > math.MaxUint8 {
		panic(fmt.Sprintf("BUG: %v of group %d with %d responses is no message between nodes", m.Type, env.Group, len(m.Responses)))
	}
	flags := flagsOf(m)
	b := append(e.head, byte(m.Type), flags)
	for _, v := range [...]uint64{uint64(env.Group), m.To, m.From, m.Term, m.LogTerm, m.Index, m.Commit} {
		b = binary.AppendUvarint(b, v)
	}
	if flags&flagRare != 0 {
		b = binary.AppendUvarint(b, m.Vote)
		b = binary.AppendUvarint(b, m.RejectHint)
	}
	if flags&flagContext != 0 {
		b = binary.AppendUvarint(b, uint64(len(m.Context)))
	}
	var metadata []byte
	if flags&flagSnapshot != 0 {
		metadata = marshal(&m.Snapshot.Metadata)
		b = binary.AppendUvarint(b, uint64(len(metadata)))
		b = binary.AppendUvarint(b, uint64(len(m.Snapshot.Data)))
	}
	if flags&flagEntries != 0 {
		b = appendEntries(b, m)
	}
	e.head = b

	e.data(m.Context)
	if flags&flagSnapshot != 0 {
		e.data(metadata)
		e.data(m.Snapshot.Data)
	}
	for i := range m.Entries {
		e.data(m.Entries[i].Data)
	}
}

func flagsOf(m *raftpb.Message) (flags byte) {
	if m.Reject {
		flags |= flagReject
	}
	if m.Vote != 0 || m.RejectHint != 0 {
		flags |= flagRare
	}
	if len(m.Context) > 0 {
		flags |= flagContext
	}
	if m.Snapshot != nil {
		flags |= flagSnapshot
	}
	if len(m.Entries) > 0 {
		flags |= flagEntries
	}
	return flags
}

// appendEntries appends all of the entries but their data.
func appendEntries(b []byte, m *raftpb.Message) []byte {
	b = binary.AppendUvarint(b, uint64(len(m.Entries)))
	term, index := m.Term, m.Index
	for i := range m.Entries {
		x := &m.Entries[i]
		if uint32(x.Type) > entryTypeMask {
			panic(fmt.Sprintf("BUG: entry %d of type %d", x.Index, x.Type))
		}
		word := uint32(len(x.Data))<<entryLengthShift | uint32(x.Type)
		index++
		if x.Term == term && x.Index == index {
			b = binary.LittleEndian.AppendUint32(b, word)
			continue
		}
		term, index = x.Term, x.Index
		b = binary.LittleEndian.AppendUint32(b, word|entryOther)
		b = binary.AppendUvarint(b, term)
		b = binary.AppendUvarint(b, index)
	}
	return b
}

// marshal is protobuf: snapshots are rare, and their metadata knows its form.
func marshal(m *raftpb.SnapshotMetadata) []byte {
	b, err := m.Marshal()
	if err != nil {
		panic(fmt.Sprintf("BUG: snapshot metadata %+v: %v", m, err))
	}
	return b
}

func (e *encoder) data(b []byte) {
	if len(b) <= e.inlineMax {
		e.head = append(e.head, b...)
		return
	}
	e.cuts = append(e.cuts, cut{len(e.head), b})
	e.loose += len(b)
}

// seal puts the checksums into the frames and returns everything in pieces of
// at most writeBytesMax. They are good until reset; whoever writes them may
// change the slice.
func (e *encoder) seal() [][]byte {
	for i, f := range e.frames {
		end := frame{len(e.head), len(e.cuts), 0}
		if i+1 < len(e.frames) {
			end = e.frames[i+1]
		}
		crc, at := uint32(0), f.head+4
		for _, c := range e.cuts[f.cuts:end.cuts] {
			crc = crc32.Update(crc, castagnoli, e.head[at:c.at])
			crc = crc32.Update(crc, castagnoli, c.data)
			at = c.at
		}
		crc = crc32.Update(crc, castagnoli, e.head[at:end.head])
		binary.LittleEndian.PutUint32(e.head[f.head:], crc)
	}
	at := 0
	for _, c := range e.cuts {
		e.piece(e.head[at:c.at])
		e.piece(c.data)
		at = c.at
	}
	e.piece(e.head[at:])
	return e.pieces
}

func (e *encoder) piece(b []byte) {
	for len(b) > writeBytesMax {
		e.pieces = append(e.pieces, b[:writeBytesMax])
		b = b[writeBytesMax:]
	}
	if len(b) > 0 {
		e.pieces = append(e.pieces, b)
	}
}
