package tcp

import (
	"bytes"
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"testing"

	"dyno/engine/transport"
)

// TestSlabCopies: of frames of any size that fill the slabs, few bytes are
// copied: the begin of a frame with memory of its own, and what begins where a
// slab ends.
func TestSlabCopies(t *testing.T) {
	if testing.Short() {
		t.Skip("reads 80 MiB")
	}
	for _, c := range []struct {
		what     string
		min, max int // of data
		percent  float64
	}{
		{"one size of 1 KiB", 1 << 10, 1<<10 + 1, 0.5},
		{"one size of 60 KiB", 60 << 10, 60<<10 + 1, 0.5},
		{"one size of 1 MiB", 1 << 20, 1<<20 + 1, 0.5},
		{"up to 60 KiB", 100, 60 << 10, 0.5},
		{"up to 300 KiB", 100, 300 << 10, 0.5},
	} {
		r := rand.New(rand.NewPCG(1, 1))
		s := newSlab(frameBytesMaxMax)
		total, passed := 0, 0
		for total < 16<<20 {
			var batch []transport.Envelope
			for range 20 {
				batch = append(batch, appendOf(1, 1, c.min+r.IntN(c.max-c.min)))
			}
			wire := encoded(inlineAll, batch...)
			total += len(wire)
			if err := feed(r, wire, &s, func(b []transport.Envelope) { passed += len(b) }); err != nil {
				t.Fatal(err)
			}
		}
		got := 100 * float64(s.moved) / float64(total)
		t.Logf("%s: %.2f %%", c.what, got)
		if got > c.percent {
			t.Errorf("%s: %.2f %% were copied, more than %v", c.what, got, c.percent)
		}
	}
}

// TestSlabIsBounded: what one entry can hold is slabBytesMax, and heartbeats
// need no more memory however many come.
func TestSlabIsBounded(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	s := newSlab(frameBytesMaxMax)
	first := &s.space()[0]
	for range 1000 {
		if err := feed(r, encoded(inlineAll, heartbeat(1, 2, 3)), &s, func([]transport.Envelope) {}); err != nil {
			t.Fatal(err)
		}
	}
	if first != &s.buf[0] || len(s.buf) != slabBytesMin {
		t.Error("heartbeats took a new slab")
	}
	for range 2000 {
		if err := feed(r, encoded(inlineAll, appendOf(1, 1, 1000)), &s, func([]transport.Envelope) {}); err != nil {
			t.Fatal(err)
		}
	}
	if len(s.buf) != slabBytesMax {
		t.Errorf("a slab of %d bytes", len(s.buf))
	}
}

// TestAnnouncedLengthReservesLittle: too long is refused at once, and what is
// only announced gets reserveBytes.
func TestAnnouncedLengthReservesLittle(t *testing.T) {
	header := make([]byte, headerBytes)
	binary.LittleEndian.PutUint32(header[4:], 64<<20)
	s := newSlab(64 << 20)
	s.filled(copy(s.space(), header))
	if _, err := s.frame(); !errors.Is(err, ErrFrameTooLarge) || len(s.buf) > slabBytesMin || s.big != nil {
		t.Fatalf("%v, %d bytes reserved", err, len(s.big))
	}
	s = newSlab(65 << 20)
	s.filled(copy(s.space(), header))
	if f, err := s.frame(); f != nil || err != nil || len(s.big) != reserveBytes {
		t.Fatalf("%v, %d bytes reserved", err, len(s.big))
	}
	want := encoded(inlineAll, appendOf(1, 7, 9<<20))
	s = newSlab(65 << 20)
	err := feed(rand.New(rand.NewPCG(1, 1)), want, &s, func(b []transport.Envelope) {
		if !bytes.Equal(b[0].Message.Entries[0].Data, appendOf(1, 7, 9<<20).Message.Entries[0].Data) {
			t.Error("its bytes are others")
		}
	})
	if err != nil {
		t.Fatal(err)
	}
}
