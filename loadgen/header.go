package loadgen

import (
	"encoding/binary"
	"hash/crc32"
)

// A record's value starts with a header of headerBytes, little-endian:
//
//	 0  u32 magic "dyL1"
//	 4  u32 crc32c: the body after the header, then header bytes 8..40, then the key
//	 8  u64 run id
//	16  u32 producer
//	20  u32 partition the producer chose
//	24  u64 sequence within (producer, partition), from 0 without gaps
//	32  i64 intended start, ns on the run's clock
//
// The body comes first in the checksum so that a fixed body's part of it is computed once and the stamp costs 32 bytes.
const (
	headerBytes = 40
	headerMagic = 0x314c7964 // "dyL1"
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

type header struct {
	run       uint64
	producer  uint32
	partition uint32
	seq       uint64
	intended  int64
}

// bodyCRC is the part of the checksum that does not change from stamp to stamp.
func bodyCRC(value []byte) uint32 {
	return crc32.Update(0, castagnoli, value[headerBytes:])
}

// stamp writes the header in place over value[:headerBytes]; body is bodyCRC(value). It retains nothing.
func (h *header) stamp(value, key []byte, body uint32) {
	b := value[:headerBytes]
	binary.LittleEndian.PutUint32(b, headerMagic)
	binary.LittleEndian.PutUint64(b[8:], h.run)
	binary.LittleEndian.PutUint32(b[16:], h.producer)
	binary.LittleEndian.PutUint32(b[20:], h.partition)
	binary.LittleEndian.PutUint64(b[24:], h.seq)
	binary.LittleEndian.PutUint64(b[32:], uint64(h.intended))
	crc := crc32.Update(body, castagnoli, b[8:])
	if len(key) > 0 {
		crc = crc32.Update(crc, castagnoli, key)
	}
	binary.LittleEndian.PutUint32(b[4:], crc)
}

type verdict uint8

const (
	foreign verdict = iota // not written by a load generator
	corrupt                // ours by its magic, but the checksum differs
	intact
)

// decodeHeader reads the header of a value and checks the whole record. It accepts any bytes. With corrupt the header's fields
// are whatever the bytes say and must not be used as an index.
func decodeHeader(value, key []byte) (h header, v verdict) {
	if len(value) < headerBytes || binary.LittleEndian.Uint32(value) != headerMagic {
		return header{}, foreign
	}
	h = peekHeader(value)
	crc := crc32.Update(bodyCRC(value), castagnoli, value[8:headerBytes])
	if len(key) > 0 {
		crc = crc32.Update(crc, castagnoli, key)
	}
	if crc != binary.LittleEndian.Uint32(value[4:]) {
		return h, corrupt
	}
	return h, intact
}

// peekHeader reads the fields without checking them; value must hold a whole header.
func peekHeader(value []byte) header {
	return header{
		run:       binary.LittleEndian.Uint64(value[8:]),
		producer:  binary.LittleEndian.Uint32(value[16:]),
		partition: binary.LittleEndian.Uint32(value[20:]),
		seq:       binary.LittleEndian.Uint64(value[24:]),
		intended:  int64(binary.LittleEndian.Uint64(value[32:])),
	}
}
