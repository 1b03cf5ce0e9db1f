package natspeer

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"math/rand/v2"
)

// A message begins with a stamp, little endian:
//
//	seed u64 · publisher u32 · stream u32 · number u64 · crc of the body u32 · crc of the 28 bytes before u32
//
// The body is random and does not compress. It is filled once per slot, so a
// message costs a checksum of 28 bytes and not one of its whole length.
const stampBytes = 32

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// stamp says which message this is.
type stamp struct {
	seed      uint64
	publisher uint32
	stream    uint32
	number    uint64 // of the publisher, counted from 0
	body      uint32
}

// put writes the stamp over the first bytes of data.
func (s *stamp) put(data []byte) {
	le := binary.LittleEndian
	le.PutUint64(data[0:], s.seed)
	le.PutUint32(data[8:], s.publisher)
	le.PutUint32(data[12:], s.stream)
	le.PutUint64(data[16:], s.number)
	le.PutUint32(data[24:], s.body)
	le.PutUint32(data[28:], crc32.Checksum(data[:28], castagnoli))
}

// readStamp checks every byte of a message and returns its stamp.
func readStamp(data []byte, size int) (s stamp, err error) {
	if len(data) != size {
		return s, fmt.Errorf("a message of %d bytes came back with %d", size, len(data))
	}
	le := binary.LittleEndian
	if got, want := crc32.Checksum(data[:28], castagnoli), le.Uint32(data[28:]); got != want {
		return s, fmt.Errorf("the stamp has checksum %08x and says %08x", got, want)
	}
	s = stamp{seed: le.Uint64(data[0:]), publisher: le.Uint32(data[8:]), stream: le.Uint32(data[12:]),
		number: le.Uint64(data[16:]), body: le.Uint32(data[24:])}
	if got := bodyCRC(data); got != s.body {
		return s, fmt.Errorf("the body has checksum %08x and its stamp says %08x", got, s.body)
	}
	return s, nil
}

func bodyCRC(data []byte) uint32 { return crc32.Checksum(data[stampBytes:], castagnoli) }

// newBodies makes the random source of one publisher's bodies.
func newBodies(seed, publisher uint64) *rand.ChaCha8 {
	var key [32]byte
	binary.LittleEndian.PutUint64(key[0:], seed)
	binary.LittleEndian.PutUint64(key[8:], publisher)
	return rand.NewChaCha8(key)
}
