package kafka

import (
	"encoding/binary"
	"net"

	"dyno/engine/ids"
)

// out collects replies as a list of byte slices for one writev: small fields
// are copied into chunks, record batches go by reference.
//
// Invariant: a chunk never moves while a frame is open, so that the frame's
// length can be filled in at its end. grow keeps it: where a chunk has no room
// left, the next one begins. The owner is the connection's writer goroutine.
type out struct {
	bufs  net.Buffers // closed pieces, in order
	chunk []byte      // open piece is chunk[cut:]
	cut   int
	total int    // bytes in bufs
	refs  int    // bytes taken by reference, within total
	begun int    // waiting at the open frame's first byte
	size  []byte // length field of the open frame
	// sizeAt is where size lies in the chunk it was begun in.
	sizeAt int

	spare []byte // first chunk, reused after reset
}

// Sizes of reply chunks, bytes: the one kept for ever, and what a kept one may
// have grown to at most.
const (
	chunkBytes     = 4 << 10
	chunkBytesKept = 64 << 10
)

// grow makes room for n more bytes in the chunk.
func (o *out) grow(n int) {
	if cap(o.chunk)-len(o.chunk) >= n {
		return
	}
	o.close()
	o.chunk = make([]byte, 0, max(n, 2*cap(o.chunk), chunkBytes))
	o.cut = 0
	if cap(o.chunk) <= chunkBytesKept {
		o.spare = o.chunk
	}
}

// close ends the open piece.
func (o *out) close() {
	if o.cut == len(o.chunk) {
		return
	}
	p := o.chunk[o.cut:len(o.chunk):len(o.chunk)]
	o.bufs = append(o.bufs, p)
	o.total += len(p)
	o.cut = len(o.chunk)
}

// ref adds b by reference; it must not change before the next reset.
func (o *out) ref(b []byte) {
	if len(b) == 0 {
		return
	}
	o.close()
	o.bufs = append(o.bufs, b)
	o.total += len(b)
	o.refs += len(b)
}

// waiting is the number of bytes collected.
func (o *out) waiting() int { return o.total + len(o.chunk) - o.cut }

// reset forgets all pieces and keeps one chunk for the next ones.
func (o *out) reset(backing net.Buffers) {
	clear(backing)
	*o = out{bufs: backing[:0], chunk: o.spare[:0], spare: o.spare}
}

// begin opens a reply frame: length, correlation id and, in a flexible header,
// no tags.
func (o *out) begin(correlation int32, flexible bool) {
	o.grow(9)
	o.begun = o.waiting()
	o.sizeAt = len(o.chunk)
	o.chunk = append(o.chunk, 0, 0, 0, 0)
	o.size = o.chunk[o.sizeAt:]
	o.i32(correlation)
	if flexible {
		o.i8(0)
	}
}

// end closes the frame: its length is known now.
func (o *out) end() {
	binary.BigEndian.PutUint32(o.size[:4], uint32(o.waiting()-o.begun-4))
	o.size = nil
}

// appender adds what f appends to a slice, for encoders that know no out. It
// may follow begin only: f may move the chunk, and the length field with it.
func (o *out) appender(f func([]byte) []byte) {
	o.chunk = f(o.chunk)
	o.size = o.chunk[o.sizeAt:]
	if cap(o.chunk) <= chunkBytesKept {
		o.spare = o.chunk
	}
}

func (o *out) i8(v int8) {
	o.grow(1)
	o.chunk = append(o.chunk, byte(v))
}

func (o *out) i16(v int16) {
	o.grow(2)
	o.chunk = binary.BigEndian.AppendUint16(o.chunk, uint16(v))
}

func (o *out) i32(v int32) {
	o.grow(4)
	o.chunk = binary.BigEndian.AppendUint32(o.chunk, uint32(v))
}

func (o *out) i64(v int64) {
	o.grow(8)
	o.chunk = binary.BigEndian.AppendUint64(o.chunk, uint64(v))
}

func (o *out) uvarint(v uint32) {
	o.grow(5)
	o.chunk = binary.AppendUvarint(o.chunk, uint64(v))
}

// count writes an array's or a byte string's length; -1 is null.
func (o *out) count(flexible bool, n int) {
	if flexible {
		o.uvarint(uint32(n + 1))
	} else {
		o.i32(int32(n))
	}
}

// str writes a string that is not null.
func (o *out) str(flexible bool, s []byte) {
	if flexible {
		o.uvarint(uint32(len(s) + 1))
	} else {
		o.i16(int16(len(s)))
	}
	o.grow(len(s))
	o.chunk = append(o.chunk, s...)
}

// null writes a null string.
func (o *out) null(flexible bool) {
	if flexible {
		o.i8(0)
	} else {
		o.i16(-1)
	}
}

// topic writes a topic's name or, from the version that has ids, its id.
func (o *out) topic(flexible, withID bool, name []byte, id ids.TopicID) {
	if !withID {
		o.str(flexible, name)
		return
	}
	o.grow(len(id))
	o.chunk = append(o.chunk, id[:]...)
}

// tags writes "no tagged fields" at the end of a flexible structure.
func (o *out) tags(flexible bool) {
	if flexible {
		o.i8(0)
	}
}
