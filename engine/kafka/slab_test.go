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

// TestSlabCopies states how much is copied in user space between two slabs when
// every read fills the room: once the size of the frames is known, nothing of
// one that fits a shared slab, and its head alone of a larger one.
func TestSlabCopies(t *testing.T) {
	for _, x := range []struct{ frame, most int }{
		{1 << 10, 0}, {16 << 10, 0}, {100 << 10, 0}, {127 << 10, 0}, {300 << 10, headBytes}, {1 << 20, headBytes}, {8 << 20, headBytes},
	} {
		known := max(8, 2*slabBytesMin/x.frame) // frames until their size is known
		n := max(2*known, (8<<20)/x.frame)
		sizes := make([]int, n)
		for i := range sizes {
			sizes[i] = x.frame
		}
		if moved, reads := copies(t, sizes, known); moved > int64((n-known)*x.most) {
			t.Errorf("frames of %d: %d bytes of each were moved, at most %d are meant", x.frame, moved/int64(n-known), x.most)
		} else {
			t.Logf("frames of %d: %.2f reads each", x.frame, float64(reads)/float64(n))
		}
	}
	rng := rand.New(rand.NewPCG(1, 1))
	sizes, total := make([]int, 2000), 0
	for i := range sizes {
		sizes[i] = 1<<10 + rng.IntN(60<<10)
		total += sizes[i]
	}
	moved, reads := copies(t, sizes, 8)
	t.Logf("frames of 1 to 61 KiB: %.2f reads each", float64(reads)/float64(len(sizes)))
	if share := float64(moved) / float64(total); share > 0.01 {
		t.Errorf("frames of 1 to 61 KiB: %.4f of the bytes were moved", share)
	}
}

// copies cuts frames of those sizes, all kept, out of a stream, and counts the
// bytes moved after the first skip frames and the reads.
func copies(t *testing.T, sizes []int, skip int) (moved int64, reads int) {
	t.Helper()
	var stream []byte
	for _, n := range sizes {
		stream = binary.BigEndian.AppendUint32(stream, uint32(n))
		stream = append(stream, make([]byte, n)...)
	}
	s := slab{size: slabBytesMin, max: 256 << 10}
	cut, before := 0, int64(0)
	for off := 0; cut < len(sizes); {
		for {
			_, ok, err := s.frame(anyFrame)
			if err != nil {
				t.Fatal(err)
			}
			if !ok {
				break
			}
			s.kept = true
			if cut++; cut == skip {
				before = s.moved
			}
		}
		n := copy(s.space(), stream[off:])
		s.w += n
		off += n
		reads++
	}
	return s.moved - before, reads
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
