package kafka

import (
	"bytes"
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"testing"
)

// frames makes n frames with random bodies up to most bytes.
func frames(rng *rand.Rand, n, most int) (all [][]byte, stream []byte) {
	for range n {
		f := make([]byte, 8+rng.IntN(most))
		for i := 0; i+8 <= len(f); i += 8 {
			binary.LittleEndian.PutUint64(f[i:], rng.Uint64())
		}
		all = append(all, f)
		stream = binary.BigEndian.AppendUint32(stream, uint32(len(f)))
		stream = append(stream, f...)
	}
	return all, stream
}

func anyFrame(int16, int16) (int, error) { return 1 << 30, nil }

// TestSlab feeds random frames in random portions: each comes out whole, and
// one that is kept is never overwritten by what follows.
func TestSlab(t *testing.T) {
	for seed := range uint64(48) {
		rng := rand.New(rand.NewPCG(seed, 1))
		most := []int{100, 5000, 20_000, 200_000}[seed%4]
		want, stream := frames(rng, 60, most)
		s := slab{size: slabBytesMin, max: []int{slabBytesMin, 64 << 10}[seed/4%2]}
		var got [][]byte
		for off := 0; off < len(stream); {
			for {
				f, ok, err := s.frame(anyFrame)
				if err != nil {
					t.Fatal(err)
				}
				if !ok {
					break
				}
				if seed%3 > 0 {
					s.kept = true
					got = append(got, f)
				} else {
					got = append(got, bytes.Clone(f))
				}
			}
			room := s.space()
			n := copy(room[:1+rng.IntN(len(room))], stream[off:])
			s.w += n
			off += n
		}
		for {
			f, ok, _ := s.frame(anyFrame)
			if !ok {
				break
			}
			got = append(got, bytes.Clone(f))
		}
		if len(got) != len(want) {
			t.Fatalf("seed %d: %d frames of %d", seed, len(got), len(want))
		}
		for i := range want {
			if !bytes.Equal(got[i], want[i]) {
				t.Fatalf("seed %d: frame %d of %d bytes was changed", seed, i, len(want[i]))
			}
		}
	}
}

// TestSlabCopies states how much is copied in user space between two slabs, in
// shares of the stream, when every read fills the room.
func TestSlabCopies(t *testing.T) {
	for _, x := range []struct {
		frame int
		most  float64
	}{{1 << 10, 0.01}, {16 << 10, 0.08}, {100 << 10, 0.20}, {300 << 10, 0.06}, {1 << 20, 0.02}, {8 << 20, 0.05}} {
		f := make([]byte, 4+x.frame)
		binary.BigEndian.PutUint32(f, uint32(x.frame))
		stream := bytes.Repeat(f, max(12, (8<<20)/x.frame))
		s := slab{size: slabBytesMin, max: 256 << 10}
		for off := 0; off < len(stream); {
			for {
				_, ok, err := s.frame(anyFrame)
				if err != nil {
					t.Fatal(err)
				}
				if !ok {
					break
				}
				s.kept = true
			}
			n := copy(s.space(), stream[off:])
			s.w += n
			off += n
		}
		if share := float64(s.moved) / float64(len(stream)); share > x.most {
			t.Errorf("frames of %d: %.3f of the bytes were moved, at most %.2f is meant", x.frame, share, x.most)
		} else {
			t.Logf("frames of %d: %.4f of the bytes moved", x.frame, share)
		}
	}
}

// TestSlabMemory checks that an announced length alone reserves little, and
// that a connection which keeps nothing stays with its first slab.
func TestSlabMemory(t *testing.T) {
	s := slab{size: slabBytesMin, max: 256 << 10}
	s.w += copy(s.space(), []byte{0x06, 0, 0, 0, 0, 0, 0, 9}) // 96 MiB
	if _, ok, err := s.frame(anyFrame); ok || err != nil {
		t.Fatal(ok, err)
	}
	for sent := 8; sent < 6<<20; {
		n := min(len(s.space()), 1000)
		s.w += n
		sent += n
		if len(s.buf) > max(2<<20+8, 8*sent+8) {
			t.Fatalf("%d bytes reserved for %d sent", len(s.buf), sent)
		}
	}
	s = slab{size: slabBytesMin, max: 256 << 10}
	first := &s.space()[:1][0]
	small := append([]byte{0, 0, 0, 100}, make([]byte, 100)...)
	for range 10_000 {
		s.w += copy(s.space(), small)
		if _, ok, err := s.frame(anyFrame); !ok || err != nil {
			t.Fatal(ok, err)
		}
	}
	if &s.buf[0] != first {
		t.Error("a slab nobody keeps was not reused")
	}
}

func TestSlabRefuses(t *testing.T) {
	for name, b := range map[string][]byte{
		"negative": {0xff, 0, 0, 0, 0, 0, 0, 0}, "tiny": {0, 0, 0, 7, 0, 0, 0, 0},
	} {
		s := slab{size: slabBytesMin, max: slabBytesMin}
		s.w += copy(s.space(), b)
		if _, _, err := s.frame(anyFrame); !errors.Is(err, errFrameTooSmall) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
