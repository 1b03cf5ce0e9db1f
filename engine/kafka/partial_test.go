package kafka

import (
	"net"
	"testing"
	"testing/synctest"
	"time"
)

// TestPartialFramesAreBudgeted has clients that send all but the end of a big
// frame: no more of them than the broker's budget has room for may be read into
// memory, small requests of others go on, and every byte comes back however
// the connection ends.
func TestPartialFramesAreBudgeted(t *testing.T) {
	cfg := Config{BrokerBytesMax: 3 << 20, FrameTimeout: 30 * time.Second, SlabBytes: slabBytesMin}
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
			if got := s.Snapshot().BytesInFlight; got != want*frameBytes {
				t.Fatalf("%d bytes are taken, want %d frames of %d", got, want, frameBytes)
			}
		}
		in(3)
		if read := s.Snapshot().BytesIn; read > 3*int64(len(whole))+2*readBytesMax {
			t.Errorf("%d bytes were read", read)
		}
		if got := s.Snapshot().BrokerBytesLimitWaits; got != 2 {
			t.Errorf("%d connections wait", got)
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
		if got := s.Snapshot(); got.BytesInFlight != int64(len(whole)-prefixBytes) || got.BrokerBytesLimitWaits != 1 {
			t.Errorf("%d bytes are taken, %d waits", got.BytesInFlight, got.BrokerBytesLimitWaits)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		if got := s.Snapshot(); got.BytesInFlight != 0 {
			t.Errorf("after Close %d bytes are taken", got.BytesInFlight)
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
