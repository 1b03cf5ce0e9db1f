package kafka

import (
	"net"
	"testing"
	"testing/synctest"
	"time"
)

// TestPartialFramesAreBudgeted has clients that send all but the end of a big
// frame: no more of them than their budget has room for may be read into memory,
// small requests of others go on, and every byte comes back however the connection
// ends.
func TestPartialFramesAreBudgeted(t *testing.T) {
	cfg := Config{BrokerBytesMax: 6 << 20, FrameTimeout: 30 * time.Second, SlabBytes: slabBytesMin}
	inTime(t, cfg, func(t *testing.T, s *Server, n *fakeNode, dial func() net.Conn) {
		topic := n.add("t", 1)
		req := produceTo(9, topic, 0, -1, batch(1, 1<<20-1000, -1, -1, -1))
		whole := frame(req, 1)
		var all []*raw
		for range 5 {
			c := dialled(t, dial())
			all = append(all, c)
			go func() { _, _ = c.nc.Write(whole[:len(whole)-1]) }()
			synctest.Wait()
		}
		frameBytes := int64(len(whole) - prefixBytes)
		in := func(want int64) {
			t.Helper()
			synctest.Wait()
			if got := s.Snapshot(); got.BytesInFlight != want*frameBytes || got.PartialBytesInFlight != want*frameBytes {
				t.Fatalf("%d bytes are taken, %d of them of frames not whole yet, want %d frames of %d", got.BytesInFlight, got.PartialBytesInFlight, want, frameBytes)
			}
		}
		in(3)
		neighbour, small := dialled(t, dial()), produceTo(9, topic, 0, -1, batch(1, 100, -1, -1, -1))
		neighbour.send(small)
		if e, _ := code1(t, neighbour.recv(small, 1)); e != codeNone {
			t.Errorf("somebody else's small request: code %d", e)
		}
		if read := s.Snapshot().BytesIn; read > 3*int64(len(whole))+2*readBytesMax {
			t.Errorf("%d bytes were read", read)
		}
		if got := s.Snapshot(); got.PartialBytesLimitWaits != 2 || got.BrokerBytesLimitWaits != 0 {
			t.Errorf("%d connections wait for big frames to get whole, %d for others to be answered", got.PartialBytesLimitWaits, got.BrokerBytesLimitWaits)
		}
		all[0].write(whole[len(whole)-1:]) // one ends well: its place goes to the fourth
		if e, _ := code1(t, all[0].recv(req, 1)); e != codeNone {
			t.Errorf("code %d", e)
		}
		in(3)
		_ = all[1].nc.Close() // one goes away: the fifth
		in(3)
		<-time.After(2 * cfg.FrameTimeout) // on the bubble's clock: the rest is too slow
		in(0)
		if got := s.Snapshot().Closed["slow_frame"]; got != 3 {
			t.Errorf("%d were closed as slow", got)
		}
	})
}

// TestPartialFrameWaits checks that a connection that waits for the budget is
// ended by a drain, and gives back what it holds.
func TestPartialFrameWaits(t *testing.T) {
	inTime(t, Config{BrokerBytesMax: 1 << 20, SlabBytes: slabBytesMin}, func(t *testing.T, s *Server, n *fakeNode, dial func() net.Conn) {
		whole := frame(produceTo(9, n.add("t", 1), 0, -1, batch(1, 1<<20-1000, -1, -1, -1)), 1)
		for range 2 {
			c := dial()
			go func() { _, _ = c.Write(whole[:len(whole)-1]) }()
			synctest.Wait()
		}
		if got := s.Snapshot(); got.BytesInFlight != int64(len(whole)-prefixBytes) || got.PartialBytesLimitWaits != 1 {
			t.Errorf("%d bytes are taken, %d waits", got.BytesInFlight, got.PartialBytesLimitWaits)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		if got := s.Snapshot(); got.BytesInFlight != 0 || got.PartialBytesInFlight != 0 {
			t.Errorf("after Close %d bytes are taken, %d of half a frame", got.BytesInFlight, got.PartialBytesInFlight)
		}
	})
}

// TestOwnSlabIsNotKept checks that an idle connection lets go of the slab that
// a big frame nobody keeps was read into.
func TestOwnSlabIsNotKept(t *testing.T) {
	s := slab{size: slabBytesMin, max: slabBytesMin}
	big := append([]byte{0, 0x10, 0, 0}, make([]byte, 1<<20)...)
	for len(big) > 0 {
		if _, ok, err := s.frame(anyFrame); ok || err != nil {
			t.Fatal(ok, err)
		}
		n := copy(s.space(), big)
		s.w += n
		big = big[n:]
	}
	if _, ok, err := s.frame(anyFrame); !ok || err != nil {
		t.Fatal(ok, err)
	}
	if s.space(); len(s.buf) > s.max || s.own {
		t.Errorf("%d bytes are kept", len(s.buf))
	}
}
