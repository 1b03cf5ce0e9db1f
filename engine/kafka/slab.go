package kafka

import (
	"encoding/binary"
	"errors"
)

// slab is what a connection reads into: a large byte slice owned by the
// garbage collector, filled from the front. Frames are cut out of it without a
// copy; record batches keep it alive for as long as the log or a reader needs
// them, nobody gives it back.
//
//	space  → where the next read(2) goes; several frames may come with one
//	frame  → the next whole frame, if there is one
//
// The one copy there is: a frame that began at the end of a slab moves to the
// next one, once. A frame above half a slab gets one of its own, exactly as
// large, and where the frame before it was as big only its first peekBytes are
// read before that is known. Above ownBytes, and four times the largest frame
// this connection has really sent, it grows eightfold at a time as its bytes
// arrive, so that nobody reserves much by announcing a length.
// Shares of the stream copied (TestSlabCopies): frames of 1 KiB 0.05 %, 16 KiB
// 7 %, 100 KiB 16 %, 300 KiB 5 %, 1 MiB 2 %, 8 MiB 2 %.
type slab struct {
	buf     []byte
	r, w    int   // buf[r:w] is read from the socket and not yet cut into frames
	kept    bool  // frames cut from buf may be in use: it must not be reused
	size    int   // of the next shared slab
	max     int   // SlabBytes
	moved   int64 // bytes copied so far
	own     bool  // buf is for one big frame alone
	largest int   // frame so far
	// peek counts down the frames since a big one: another is likely, and what
	// is read of it before its size is known has to be moved.
	peek int
}

const (
	slabBytesMin = 16 << 10
	peekBytes    = 16 << 10
	peekFrames   = 16
	readBytesMax = 64 << 10 // of one read(2) while no frame is known to be big
	ownBytes     = 2 << 20
	// readBytesMin is the smallest rest of a slab worth a read(2).
	readBytesMin = 4 << 10
	prefixBytes  = 4
	// headBytes is how much of a frame its limits can be told from: the prefix,
	// API key and version.
	headBytes = prefixBytes + 4
)

var (
	errFrameTooLarge = errors.New("frame too large")
	errFrameTooSmall = errors.New("frame too small")
)

// frame cuts the next whole frame, without its length prefix. ok is false
// where more bytes are needed. limit gives the largest frame for an API key
// and version, or an error.
func (s *slab) frame(limit func(key, version int16) (int, error)) (f []byte, ok bool, err error) {
	b := s.buf[s.r:s.w]
	if len(b) < headBytes {
		return nil, false, nil
	}
	n := int64(int32(binary.BigEndian.Uint32(b)))
	if n < headBytes { // key, version, correlation id
		return nil, false, errFrameTooSmall
	}
	most, err := limit(int16(binary.BigEndian.Uint16(b[4:])), int16(binary.BigEndian.Uint16(b[6:])))
	if err != nil {
		return nil, false, err
	}
	if n > int64(most) {
		return nil, false, errFrameTooLarge
	}
	end := prefixBytes + int(n)
	if len(b) < end {
		return nil, false, nil
	}
	s.r += end
	s.largest = max(s.largest, end)
	if !s.own {
		s.peek = max(s.peek-1, 0)
	}
	return b[prefixBytes:end:end], true, nil
}

// partial says whether the next frame has begun.
func (s *slab) partial() bool { return s.r < s.w }

// space returns where the next read goes, never empty. frame must have been
// asked before.
func (s *slab) space() []byte {
	need := s.need()
	switch {
	case s.buf == nil:
		s.move(s.size, need)
	case s.r == s.w && !s.kept && !s.own:
		s.r, s.w = 0, 0
	case s.own && s.r == 0 && s.w < len(s.buf):
	case s.r+need > len(s.buf), s.r > 0 && len(s.buf)-s.w < readBytesMin:
		s.move(s.size, need)
	}
	if s.w == len(s.buf) {
		panic("BUG: no room to read into")
	}
	switch {
	case s.own:
		return s.buf[s.w:]
	case s.peek > 0:
		return s.buf[s.w:min(len(s.buf), s.w+peekBytes)]
	}
	return s.buf[s.w:min(len(s.buf), s.w+readBytesMax)]
}

// claim is the size of the begun frame if it gets a slab of its own, else 0:
// what space is about to reserve for it, at once or in steps.
func (s *slab) claim() int {
	if n := s.need(); n > s.max/2 {
		return n - prefixBytes
	}
	return 0
}

// need is how many bytes the frame that has begun takes as far as is known.
func (s *slab) need() int {
	if s.w-s.r < headBytes {
		return headBytes
	}
	return prefixBytes + int(binary.BigEndian.Uint32(s.buf[s.r:]))
}

// move takes the begun frame of need bytes to a place with room for it.
func (s *slab) move(size, need int) {
	have := s.buf[s.r:s.w]
	own := need > s.max/2
	switch {
	case own:
		size = min(need, max(ownBytes, 8*len(have), 4*s.largest)+headBytes)
	case need > size:
		size = s.max
	}
	if !own && !s.kept && len(s.buf) >= max(need, size) && len(s.buf) <= s.max {
		s.w = copy(s.buf, have)
		s.moved += int64(s.w)
		s.r = 0
		return
	}
	s.buf = make([]byte, size)
	s.w = copy(s.buf, have)
	s.moved += int64(s.w)
	s.r = 0
	if s.kept && !own {
		s.size = min(2*s.size, s.max)
	}
	s.kept = false
	if own {
		s.peek = peekFrames
	}
	s.own = own
}
