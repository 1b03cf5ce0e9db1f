package kafka

import (
	"bytes"
	"crypto/rand"
	"encoding/binary"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// TestBadFrames sends what is not a request and checks that the connection is
// closed for the right reason, that a neighbour does not notice, and that what
// came before it is answered.
func TestBadFrames(t *testing.T) {
	s, n, addr := start(t, func(c *Config) { c.FrameBytesMax, c.PlainFrameBytesMax = 1<<20, 64<<10 })
	topic := n.add("t", 1)
	good := frame(request[*kmsg.MetadataRequest](topic), 1)
	head := func(size int32, key, version int16, rest ...byte) []byte {
		b := binary.BigEndian.AppendUint32(nil, uint32(size))
		b = binary.BigEndian.AppendUint16(b, uint16(key))
		return append(binary.BigEndian.AppendUint16(b, uint16(version)), rest...)
	}
	body := func(req kmsg.Request, edit func(b []byte) []byte) []byte {
		b := edit(frame(req, 9)[4:])
		return append(binary.BigEndian.AppendUint32(nil, uint32(len(b))), b...)
	}
	version := func(r kmsg.Request, v int16) kmsg.Request { r.SetVersion(v); return r }
	trailing := func(b []byte) []byte { return append(b, 0) }
	short := func(b []byte) []byte { return b[:len(b)-1] }
	bomb := func(b []byte) []byte { return append(b[:len(b)-1], 0xff, 0xff, 0xff, 0xff, 0x0f) }
	random := make([]byte, 4096)
	_, _ = rand.Read(random)
	random[0] = 0xff // a negative length
	tests := []struct {
		name  string
		bytes []byte
		why   string
	}{
		{"http", []byte("GET / HTTP/1.1\r\nHost: x\r\n\r\n"), "unsupported_version"},
		{"tls", []byte{0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3, 1, 1, 1, 1, 1}, "unsupported_version"},
		{"random", random, "garbage"},
		{"negative length", head(-1, 3, 1), "garbage"},
		{"length 0", head(0, 3, 1), "garbage"},
		{"length 7", head(7, 3, 1), "garbage"},
		{"produce too large", head(1<<20+1, 0, 9), "frame_too_large"},
		{"metadata too large", head(64<<10+1, 3, 9), "frame_too_large"},
		{"unknown key", head(100, 5000, 0), "unsupported_version"},
		{"negative key", head(100, -1, 0), "unsupported_version"},
		{"key not served", head(100, 10, 0), "unsupported_version"},
		{"produce 2, advertised only", frame(version(produceTo(2, topic, 0, 1, nil), 2), 1), "unsupported_version"},
		{"produce 14", head(100, 0, 14), "unsupported_version"},
		{"fetch 3", head(100, 1, 3), "unsupported_version"},
		{"header without client id", head(8, 3, 1, 0, 0, 0, 1), "garbage"},
		{"client id beyond the frame", head(10, 3, 1, 0, 0, 0, 1, 0x7f, 0xff), "garbage"},
		{"metadata with a byte too many", body(version(request[*kmsg.MetadataRequest](topic), 9), trailing), "garbage"},
		{"metadata cut", body(version(request[*kmsg.MetadataRequest](topic), 4), short), "garbage"},
		{"metadata with four billion tags", body(version(request[*kmsg.MetadataRequest](topic), 12), bomb), "garbage"},
		{"produce with a byte too many", body(produceTo(9, topic, 0, 1, batch(1, 1, -1, -1, -1)), trailing), "garbage"},
		{"produce cut", body(produceTo(7, topic, 0, 1, batch(1, 1, -1, -1, -1)), short), "garbage"},
		{"produce with four billion tags", body(produceTo(12, topic, 0, 1, batch(1, 1, -1, -1, -1)), bomb), "garbage"},
		{"fetch with a byte too many", body(fetchFrom(11, topic, 0, 0), trailing), "garbage"},
		{"fetch cut", body(fetchFrom(4, topic, 0, 0), short), "garbage"},
		{"fetch with four billion tags", body(fetchFrom(12, topic, 0, 0), bomb), "garbage"},
	}
	neighbour := dial(t, addr)
	for _, x := range tests {
		t.Run(x.name, func(t *testing.T) {
			before := s.Snapshot().Closed[x.why]
			c := dial(t, addr)
			c.write(good)
			c.recv(request[*kmsg.MetadataRequest](topic), 1)
			c.write(x.bytes)
			c.closed()
			if got := s.Snapshot().Closed[x.why]; got != before+1 {
				t.Errorf("counted %v", s.Snapshot().Closed)
			}
			neighbour.ask(request[*kmsg.MetadataRequest](topic))
		})
	}
	if topic.parts[0].Offsets().LogEnd != 0 {
		t.Error("a request that does not decode was appended in part")
	}
}

// TestTruncated cuts a good stream of requests at every byte: what was whole
// is answered, the rest is dropped.
func TestTruncated(t *testing.T) {
	_, n, addr := start(t)
	topic := n.add("t", 1)
	md := request[*kmsg.MetadataRequest](topic)
	md.SetVersion(9)
	first := frame(md, 1)
	whole := append(bytes.Clone(first), frame(produceTo(9, topic, 0, 1, batch(1, 1, -1, -1, -1)), 2)...)
	for cut := 0; cut < len(whole); cut++ {
		c := dial(t, addr)
		c.write(whole[:cut])
		_ = c.nc.(*net.TCPConn).CloseWrite()
		if cut >= len(first) {
			c.recv(md, 1)
		}
		c.closed()
	}
	if topic.parts[0].Offsets().LogEnd != 0 {
		t.Error("a truncated Produce was appended")
	}
}

// TestHalfClosed checks that a client which stops sending still gets all the
// answers it is owed.
func TestHalfClosed(t *testing.T) {
	_, n, addr := start(t)
	topic := n.add("t", 1)
	topic.parts[0].hold = true
	c := dial(t, addr)
	req := produceTo(9, topic, 0, -1, batch(1, 1, -1, -1, -1))
	md := request[*kmsg.MetadataRequest](topic)
	c.send(req)
	c.send(md)
	_ = c.nc.(*net.TCPConn).CloseWrite()
	topic.parts[0].let()
	if e, _ := code1(t, c.recv(req, 1)); e != 0 {
		t.Errorf("code %d", e)
	}
	c.recv(md, 2)
	c.closed()
}

// pipes is a listener of in-memory connections, for tests on a fake clock.
type pipes struct{ conns chan net.Conn }

func (p *pipes) Accept() (net.Conn, error) {
	nc, ok := <-p.conns
	if !ok {
		return nil, net.ErrClosed
	}
	return nc, nil
}
func (p *pipes) Close() error   { close(p.conns); return nil }
func (p *pipes) Addr() net.Addr { return &net.UnixAddr{} }

// inTime runs f with a server on in-memory connections and a fake clock.
func inTime(t *testing.T, cfg Config, f func(t *testing.T, s *Server, n *fakeNode, dial func() net.Conn)) {
	synctest.Test(t, func(t *testing.T) {
		n := newFakeNode(t)
		l := &pipes{make(chan net.Conn)}
		cfg.Listener, cfg.Backend = l, n
		s, err := Serve(cfg)
		if err != nil {
			t.Fatal(err)
		}
		f(t, s, n, func() net.Conn {
			a, b := net.Pipe()
			l.conns <- b
			t.Cleanup(func() { _ = a.Close() })
			return a
		})
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
}

func TestDeadlines(t *testing.T) {
	cfg := Config{FrameTimeout: 30 * time.Second, IdleTimeout: 10 * time.Minute}
	closedAfter := func(t *testing.T, s *Server, nc net.Conn, why string, from time.Time, want time.Duration) {
		t.Helper()
		_, err := nc.Read(make([]byte, 1))
		took := time.Since(from)
		if err == nil || took < want*7/8 || took > want*9/8 {
			t.Errorf("closed after %v (%v), want %v", took, err, want)
		}
		synctest.Wait()
		if s.Snapshot().Closed[why] == 0 {
			t.Errorf("closed for %v, want %s", s.Snapshot().Closed, why)
		}
	}
	t.Run("a byte a second", func(t *testing.T) {
		inTime(t, cfg, func(t *testing.T, s *Server, n *fakeNode, dial func() net.Conn) {
			topic := n.add("t", 1)
			f := frame(produceTo(9, topic, 0, 1, batch(1, 500, -1, -1, -1)), 1)
			nc, from := dial(), time.Now()
			go func() { // ends when the server closes the pipe
				for _, b := range f {
					if _, err := nc.Write([]byte{b}); err != nil {
						return
					}
					<-time.After(time.Second)
				}
			}()
			closedAfter(t, s, nc, "slow_frame", from, cfg.FrameTimeout)
			<-time.After(2 * time.Second)
		})
	})
	t.Run("silent", func(t *testing.T) {
		inTime(t, cfg, func(t *testing.T, s *Server, _ *fakeNode, dial func() net.Conn) {
			nc := dial()
			closedAfter(t, s, nc, "idle", time.Now(), cfg.IdleTimeout)
		})
	})
	t.Run("waiting is not idle", func(t *testing.T) {
		inTime(t, cfg, func(t *testing.T, s *Server, n *fakeNode, dial func() net.Conn) {
			topic := n.add("t", 1)
			topic.parts[0].hold = true
			c := dialled(t, dial())
			req := produceTo(9, topic, 0, -1, batch(1, 1, -1, -1, -1))
			req.TimeoutMillis = 1 << 30 // capped at TimeoutMax
			c.send(req)
			from := time.Now()
			if e, _ := code1(t, c.recv(req, 1)); e != codeRequestTimedOut || time.Since(from) != 5*time.Minute {
				t.Errorf("code %d after %v", e, time.Since(from))
			}
			topic.parts[0].let()
		})
	})
	t.Run("replies not read", func(t *testing.T) {
		inTime(t, cfg, func(t *testing.T, s *Server, n *fakeNode, dial func() net.Conn) {
			c := dialled(t, dial())
			c.send(request[*kmsg.MetadataRequest](n.add("t", 1)))
			<-time.After(31 * time.Second)
			synctest.Wait()
			if s.Snapshot().Closed["replies_not_read"] != 1 {
				t.Errorf("closed for %v", s.Snapshot().Closed)
			}
		})
	})
}

// TestProduceTimeout checks that a Produce is answered at its time, each in its
// turn, and that the late answers of the log harm nobody.
func TestProduceTimeout(t *testing.T) {
	inTime(t, Config{}, func(t *testing.T, s *Server, n *fakeNode, dial func() net.Conn) {
		topic := n.add("t", 2)
		topic.parts[0].hold = true
		c := dialled(t, dial())
		from := time.Now()
		first := produceTo(9, topic, 0, -1, batch(1, 1, -1, -1, -1))
		first.TimeoutMillis = 1500
		both := produceTo(9, topic, 0, -1, batch(1, 1, -1, -1, -1))
		both.TimeoutMillis = 700
		rp := kmsg.NewProduceRequestTopicPartition()
		rp.Partition, rp.Records = 1, batch(1, 1, -1, -1, -1)
		both.Topics[0].Partitions = append(both.Topics[0].Partitions, rp)
		now := produceTo(9, topic, 0, -1, batch(1, 1, -1, -1, -1))
		now.TimeoutMillis = -3
		for _, r := range []kmsg.Request{first, both, now} {
			c.send(r)
		}
		if e, _ := code1(t, c.recv(first, 1)); e != codeRequestTimedOut || time.Since(from) != 1500*time.Millisecond {
			t.Errorf("first: code %d after %v", e, time.Since(from))
		}
		ps := c.recv(both, 2).(*kmsg.ProduceResponse).Topics[0].Partitions
		if code(ps[0].ErrorCode) != codeRequestTimedOut || ps[1].ErrorCode != 0 || time.Since(from) != 1500*time.Millisecond {
			t.Errorf("second: %+v after %v", ps, time.Since(from))
		}
		if e, _ := code1(t, c.recv(now, 3)); e != codeRequestTimedOut {
			t.Errorf("third: code %d", e)
		}
		topic.parts[0].let()
		if e, p := code1(t, c.ask(produceTo(9, topic, 0, -1, batch(1, 1, -1, -1, -1)))); e != 0 || p.BaseOffset != 3 {
			t.Errorf("after the late answers: %+v", p)
		}
		if got := s.Snapshot().ProduceTimeouts; got != 3 {
			t.Errorf("counted %d timeouts, want 3", got)
		}
	})
}
