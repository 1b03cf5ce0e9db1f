package engine

import (
	"errors"
	"io"
	"log/slog"
	"net"
	"testing"

	"dyno/engine/gossip"
	"dyno/engine/transport/tcp"
)

// TestPortMux: the first bytes decide who gets a connection, and get it whole;
// what is neither is closed; Close ends those that have said nothing yet.
func TestPortMux(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	m := newPortMux(l, slog.New(slog.DiscardHandler), nil)
	dial := func(first string) net.Conn {
		c, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.Close() })
		if _, err := io.WriteString(c, first); err != nil {
			t.Fatal(err)
		}
		return c
	}
	for first, to := range map[string]net.Listener{tcp.Magic + "hello": m.frames, gossip.Magic + "hello": m.gossip, http2Preface + "* HTTP": m.grpc} {
		c := dial(first)
		got, err := to.Accept()
		if err != nil {
			t.Fatal(err)
		}
		b := make([]byte, len(first))
		if _, err := io.ReadFull(got, b); err != nil || string(b) != first {
			t.Errorf("got %q, %v", b, err)
		}
		if _, err := io.WriteString(got, "!"); err != nil {
			t.Error(err)
		}
		if _, err := io.ReadFull(c, b[:1]); err != nil || b[0] != '!' {
			t.Errorf("answer %q, %v", b[:1], err)
		}
		_ = got.Close()
	}
	if _, err := dial("GET / HTTP/1.1").Read(make([]byte, 1)); err == nil {
		t.Error("a stranger was answered")
	}
	silent := dial("DY")
	if err := m.Close(); err != nil {
		t.Error(err)
	}
	if _, err := silent.Read(make([]byte, 1)); err == nil {
		t.Error("a connection that said nothing was kept")
	}
	if _, err := m.frames.Accept(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("accept after Close: %v", err)
	}
	if err := m.Close(); err != nil {
		t.Errorf("a second Close: %v", err)
	}
}

// TestClusterMutualTLS: nodes that show certificates of one authority are a
// cluster; one without is no part of it.
func TestClusterMutualTLS(t *testing.T) {
	t.Parallel()
	good, strange := testCA(t), testCA(t)
	c := newClusterBed(t, 3, func(cfg *Config) { cfg.PeerTLS = good.config(t) })
	c.topic("t", 3, 3)
	c.produce("t", 0, 50)
	c.consume("t", 50)
	c.stop(3)
	c.cfg[2].PeerTLS = strange.config(t)
	opened := make(chan *Node)
	go func() {
		n, err := Open(c.cfg[2]) // it gets in when the others have its authority
		if err != nil {
			t.Error(err)
		}
		opened <- n
	}()
	c.produce("t", 50, 50)
	select {
	case <-opened:
		t.Fatal("a node with a strange certificate serves")
	default:
	}
	c.stop(1, 2)
	c.cfg[0].PeerTLS, c.cfg[1].PeerTLS = strange.config(t), strange.config(t)
	c.start(1, 2)
	c.nodes[2] = <-opened
	c.consume("t", 100)
}
