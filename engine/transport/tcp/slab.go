package tcp

import "fmt"

// slab is what a connection is read into: memory of the garbage collector,
// filled from the front. Frames are cut out of it without a copy and live as
// long as somebody keeps an entry; nobody gives it back.
//
//	space  → where the next read(2) goes; several frames may come with one
//	frame  → the next whole frame, if there is one
//
// A kept entry holds the whole slab, hence slabBytesMax, and slabs of quiet
// connections begin small. A frame above half of that gets memory of its own,
// exactly as large.
//
// Little is copied: near the end of a slab, where a frame of the usual size
// would not fit any more, a read ends where the frame under way ends. While
// frames with memory of their own are usual, their headers are read alone.
type slab struct {
	frameMax int

	buf   []byte
	r, w  int    // buf[r:w] came from the socket and is not cut into frames yet
	kept  bool   // frames cut from buf may be in use: it must not be used again
	size  int    // of the next buf
	usual int    // the largest frame of late, a thirty-second less with each smaller one
	moved uint64 // bytes copied so far

	big  []byte // the frame under way, if it has memory of its own; it grows up to bigNeed
	bigW int    // big[:bigW] came
	// bigNeed is the size of that frame.
	bigNeed int
	fromBig bool // the last frame was
}

const (
	slabBytesMin = 16 << 10
	slabBytesMax = 256 << 10
	bigBytesMin  = slabBytesMax / 2
	// reserveBytes is what is made at once for a frame that was only announced;
	// beyond that its memory doubles as its bytes arrive.
	reserveBytes = 4 << 20
)

func newSlab(frameMax int) slab { return slab{frameMax: frameMax, size: slabBytesMin} }

// frame cuts the next whole frame, with its header; nil where more bytes are
// needed. Errors: ErrFrameTooLarge.
func (s *slab) frame() ([]byte, error) {
	if s.big != nil {
		if s.bigW < s.bigNeed {
			return nil, nil
		}
		f := s.big
		s.big, s.fromBig = nil, true
		s.saw(len(f))
		return f, nil
	}
	b := s.buf[s.r:s.w]
	if len(b) < headerBytes {
		return nil, nil
	}
	n := frameBytes(b)
	if n > int64(s.frameMax) {
		return nil, fmt.Errorf("%w: %d bytes", ErrFrameTooLarge, n)
	}
	if int64(len(b)) >= n {
		s.r += int(n)
		s.fromBig = false
		s.saw(int(n))
		return b[:n:n], nil
	}
	if n > bigBytesMin {
		s.bigNeed = int(n)
		s.big = make([]byte, min(s.bigNeed, reserveBytes))
		s.bigW = copy(s.big, b)
		s.moved += uint64(s.bigW)
		s.r = s.w
	}
	return nil, nil
}

func (s *slab) saw(n int) { s.usual = max(n, s.usual-s.usual/32) }

// keep says that somebody may hold on to the last frame.
func (s *slab) keep() { s.kept = s.kept || !s.fromBig }

// space is where the next read goes, never empty. frame must have returned nil.
func (s *slab) space() []byte {
	if s.big != nil {
		if s.bigW == len(s.big) {
			grown := make([]byte, min(s.bigNeed, 2*len(s.big)))
			s.moved += uint64(copy(grown, s.big))
			s.big = grown
		}
		return s.big[s.bigW:]
	}
	if s.r == s.w && !s.kept {
		s.r, s.w = 0, 0
	}
	need := s.need()
	want := need // what must fit from r on
	if s.r == s.w && s.usual <= bigBytesMin {
		want = max(need, s.usual)
	}
	if s.r+want > len(s.buf) {
		s.renew(want)
	}
	end := s.r + need
	if s.usual <= bigBytesMin {
		end = max(end, len(s.buf)-s.usual)
	}
	if end <= s.w {
		panic("BUG: no room to read into")
	}
	return s.buf[s.w:end]
}

// need is the size of the frame under way as far as it is known.
func (s *slab) need() int {
	if s.w-s.r < headerBytes {
		return headerBytes
	}
	return int(frameBytes(s.buf[s.r:])) // at most bigBytesMin, frame saw to that
}

// renew moves the frame under way to where at least want bytes fit.
func (s *slab) renew(want int) {
	if s.kept {
		s.size = min(2*s.size, slabBytesMax)
	}
	for s.size < 2*want {
		s.size *= 2
	}
	to := s.buf
	if s.kept || len(to) < s.size {
		to = make([]byte, s.size)
	}
	n := copy(to, s.buf[s.r:s.w])
	s.moved += uint64(n)
	s.buf, s.r, s.w, s.kept = to, 0, n, false
}

// filled says that n bytes were read into space.
func (s *slab) filled(n int) {
	if s.big != nil {
		s.bigW += n
		return
	}
	s.w += n
}
