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
// No batch is copied between slabs, but for a frame that is larger than those
// before it: near the end of a slab, where the next frame would not fit, a read
// ends where the frame under way ends, and the next one begins a new slab. What
// "would not fit" is told by usual. A frame above half a slab gets one of its
// own, exactly as large, and while such are usual a frame's head is read alone
// first. Above ownBytes, and four times the largest frame this connection has
// really sent, its slab grows eightfold at a time as its bytes arrive, so that
// nobody reserves much by announcing a length.
// TestSlabCopies states what is left to copy: the head of a frame with a slab of
// its own, and below 1 % of frames of random size.
type slab struct {
	buf     []byte
	r, w    int   // buf[r:w] is read from the socket and not yet cut into frames
	kept    bool  // frames cut from buf may be in use: it must not be reused
	size    int   // of the next shared slab
	max     int   // SlabBytes
	moved   int64 // bytes copied so far
	own     bool  // buf is for one big frame alone
	largest int   // frame so far
	// usual is the size that the next frame is expected to stay within: that of
	// the largest one of late, forgotten by a thirty-second with each smaller frame.
	usual int
}

const (
	slabBytesMin = 16 << 10
	readBytesMax = 64 << 10 // of one read(2) that may go beyond the frame under way
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
	s.usual = max(end, s.usual-s.usual/32)
	return b[prefixBytes:end:end], true, nil
}

// partial says whether the next frame has begun.
func (s *slab) partial() bool { return s.r < s.w }

// space returns where the next read goes, never empty. frame must have been
// asked before.
func (s *slab) space() []byte {
	need := s.need()
	if s.r == s.w && !s.kept && !s.own {
		s.r, s.w = 0, 0
	}
	if !s.room(need) {
		s.move(need)
	}
	end := len(s.buf)
	switch {
	case s.own:
	case s.big():
		end = s.r + need
	default:
		end = max(s.r+need, min(s.w+readBytesMax, len(s.buf)-s.usual))
	}
	if s.w >= end {
		panic("BUG: no room to read into")
	}
	return s.buf[s.w:end]
}

// big says that frames that get a slab of their own are usual.
func (s *slab) big() bool { return s.usual > s.max/2 }

// room says whether the frame that has begun, or else one of the usual size,
// fits into the slab at hand.
func (s *slab) room(need int) bool {
	switch {
	case s.own:
		return s.r == 0 && s.w < len(s.buf)
	case s.partial() || s.big() || s.w == 0:
		return s.r+need <= len(s.buf)
	}
	return len(s.buf)-s.w >= max(s.usual, readBytesMin)
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
func (s *slab) move(need int) {
	have := s.buf[s.r:s.w]
	own := need > s.max/2
	size := s.size
	switch {
	case own:
		size = min(need, max(ownBytes, 8*len(have), 4*s.largest)+headBytes)
	case s.big():
		size = max(slabBytesMin, need) // for the head of a frame that gets its own
	default:
		for size < min(s.max, max(need, s.usual)) {
			size = min(2*size, s.max)
		}
	}
	if own || s.kept || len(s.buf) < max(need, size) || len(s.buf) > s.max {
		s.buf = make([]byte, size)
		if s.kept && !own {
			s.size = min(2*s.size, s.max)
		}
		s.kept = false
	}
	s.w = copy(s.buf, have)
	s.moved += int64(s.w)
	s.r, s.own = 0, own
}
