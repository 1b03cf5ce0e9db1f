package grpctransport

import "sync"

const (
	// scratchBytes is what a new block has: above gRPC's threshold for buffers
	// that are pooled at all (1 KiB), enough for the header of most messages.
	scratchBytes = 4 << 10
	// scratchKeepMax is the largest block that is kept.
	scratchKeepMax = 256 << 10
)

// scratch lends out blocks of memory whose content is undefined. It implements
// mem.BufferPool, so that gRPC gives back what it was handed, from whatever
// goroutine wrote it to the network last.
type scratch struct{ blocks sync.Pool }

// Get lends a block of length bytes, with room to append.
func (s *scratch) Get(length int) *[]byte {
	b, _ := s.blocks.Get().(*[]byte)
	if b == nil || cap(*b) < length {
		fresh := make([]byte, max(length, scratchBytes))
		b = &fresh
	}
	*b = (*b)[:length]
	return b
}

// Put takes a block back; nothing may point into it any more.
func (s *scratch) Put(b *[]byte) {
	if cap(*b) >= scratchBytes && cap(*b) <= scratchKeepMax {
		s.blocks.Put(b)
	}
}
