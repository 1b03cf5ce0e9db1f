package tcp

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"sync"
	"testing"
	"time"

	"dyno/engine/ids"
	"dyno/engine/transport"
)

func TestAcceptorRefuses(t *testing.T) {
	us := hello{cluster: testCluster, from: 2, to: 1, lane: transport.Bulk}
	for what, c := range map[string]struct {
		change func(h *hello)
		want   error
		count  Refusals
	}{
		"another cluster": {func(h *hello) { h.cluster = "cluster-b" }, ErrForeignCluster, Refusals{ForeignCluster: 1}},
		"another node":    {func(h *hello) { h.to = 3 }, ErrWrongNode, Refusals{WrongNode: 1}},
		"no node":         {func(h *hello) { h.from = 0 }, ErrProtocol, Refusals{Garbage: 1}},
		"unknown lane":    {func(h *hello) { h.lane = transport.Lanes }, ErrProtocol, Refusals{Garbage: 1}},
	} {
		t.Run(what, func(t *testing.T) {
			n := start(t, newBook(), 1, anywhere, nil)
			h := us
			c.change(&h)
			nc := dialRaw(t, n.addr)
			if _, err := greet(nc, h); !errors.Is(err, c.want) {
				t.Fatal(err)
			}
			ended(t, nc)
			if s := n.Stats(); s.Refused != c.count || s.Accepted != 0 {
				t.Fatalf("%+v", s)
			}
		})
	}
}

// TestFutureVersion: a hello of a version that does not exist yet is answered
// with ours, whatever follows its prefix.
func TestFutureVersion(t *testing.T) {
	n := start(t, newBook(), 1, anywhere, nil)
	nc := dialRaw(t, n.addr)
	write(t, nc, append([]byte(Magic+"\x02\x00\xe8\x03"), make([]byte, 1000)...))
	a, err := readAnswer(nc)
	if err != nil || a.code != codeVersion || a.version != version || a.node != 1 {
		t.Fatal(a, err)
	}
	ended(t, nc)
	if s := n.Stats(); s.Refused != (Refusals{Version: 1}) {
		t.Fatalf("%+v", s.Refused)
	}
}

func TestGarbageIsNotAnswered(t *testing.T) {
	n := start(t, newBook(), 1, anywhere, nil)
	nc := dialRaw(t, n.addr)
	write(t, nc, []byte("GET / HT"))
	ended(t, nc)
	if s := n.Stats(); s.Refused != (Refusals{Garbage: 1}) {
		t.Fatalf("%+v", s.Refused)
	}
	_ = dialRaw(t, n.addr).Close()
	eventually(t, "counts who says nothing", func() bool { return n.Stats().Refused.Gone == 1 })
}

func TestSlowHandshakeIsEnded(t *testing.T) {
	n := start(t, newBook(), 1, anywhere, func(c *Config) { c.HandshakeTimeout = 20 * time.Millisecond })
	for _, begin := range []string{"", "DYN", Magic + "\x01\x00\x20\x00half"} {
		nc := dialRaw(t, n.addr)
		write(t, nc, []byte(begin))
		ended(t, nc)
	}
	if s := n.Stats(); s.Refused != (Refusals{Slow: 3}) {
		t.Fatalf("%+v", s.Refused)
	}
}

func TestConnectionsMax(t *testing.T) {
	n := start(t, newBook(), 1, anywhere, func(c *Config) { c.ConnectionsMax = 1 })
	first := dialAs(t, n, 2, transport.Control)
	ended(t, dialRaw(t, n.addr))
	if s := n.Stats(); s.Refused != (Refusals{Limit: 1}) || s.Inbound != 1 {
		t.Fatalf("%+v", s)
	}
	_ = first.Close()
	eventually(t, "has room again", func() bool { return n.Stats().Inbound == 0 })
	dialAs(t, n, 2, transport.Control)
}

// TestOtherTransport: a node that uses another transport says so to whoever dials
// with this one, and to nobody else.
func TestOtherTransport(t *testing.T) {
	b := newBook()
	impostor(t, b, 2, func(nc net.Conn) { Refuse(nc, 2) })
	n := start(t, b, 1, anywhere, nil)
	n.Send(2, transport.Control, []transport.Envelope{{Group: 1}})
	eventually(t, "knows why", func() bool {
		s := n.Stats()
		return len(s.Peers) == 1 && errors.Is(s.Peers[0].Err, ErrOtherTransport)
	})
	addr, _ := b.get(2)
	nc := dialRaw(t, addr)
	write(t, nc, []byte("GET / HTTP/1.1"))
	ended(t, nc)
}

// impostor answers each connection by hand.
func impostor(t *testing.T, b *book, id ids.NodeID, answer func(nc net.Conn)) {
	ln, err := net.Listen("tcp", anywhere)
	if err != nil {
		t.Fatal(err)
	}
	b.set(id, ln.Addr().String())
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			nc, err := ln.Accept()
			if err != nil {
				return
			}
			wg.Go(func() {
				defer nc.Close()
				answer(nc)
			})
		}
	})
	t.Cleanup(func() {
		_ = ln.Close()
		wg.Wait()
	})
}

func TestDialerRefuses(t *testing.T) {
	ok := answer{version: version, node: 2, frameMax: 1 << 20}
	say := func(change func(a *answer)) func(nc net.Conn) {
		a := ok
		change(&a)
		return func(nc net.Conn) {
			_, _ = readHello(nc)
			_, _ = nc.Write(a.append(nil))
		}
	}
	for what, c := range map[string]struct {
		answer func(nc net.Conn)
		want   error
	}{
		"another node answers": {say(func(a *answer) { a.node = 3 }), ErrWrongNode},
		"of a new version":     {say(func(a *answer) { a.version, a.code = 2, codeVersion }), ErrVersion},
		"unknown code":         {say(func(a *answer) { a.code = 200 }), ErrProtocol},
		"no frame fits":        {say(func(a *answer) { a.frameMax = 10 }), ErrProtocol},
		"not this protocol": {func(nc net.Conn) {
			_, _ = readHello(nc)
			_, _ = nc.Write([]byte("HTTP/1.1 400 Bad Request\r\n\r\n"))
		}, ErrProtocol},
		"hangs up": {func(nc net.Conn) { _, _ = readHello(nc) }, io.EOF},
		"is silent": {func(nc net.Conn) {
			_, _ = readHello(nc)
			_, _ = nc.Read(make([]byte, 1)) // until the other side gives up
		}, context.DeadlineExceeded},
	} {
		t.Run(what, func(t *testing.T) {
			b := newBook()
			n := start(t, b, 1, anywhere, func(cfg *Config) {
				if what == "is silent" {
					cfg.HandshakeTimeout = 20 * time.Millisecond
				}
			})
			impostor(t, b, 2, c.answer)
			n.Send(2, transport.Control, one(heartbeat(5, 22, 1)))
			n.wait(func() bool { return len(n.told) > 0 })
			err := n.Stats().Peers[0].Err
			if ne, ok := errors.AsType[net.Error](err); c.want == context.DeadlineExceeded && ok && ne.Timeout() {
				return
			}
			if !errors.Is(err, c.want) {
				t.Fatal(err)
			}
		})
	}
}

// TestRefusalIsOver: a refusal is told, logged once, and over when the address
// book is right.
func TestRefusalIsOver(t *testing.T) {
	b := newBook()
	log := &lines{}
	n1 := start(t, b, 1, anywhere, func(c *Config) { c.Log = slog.New(log) })
	n2 := start(t, b, 2, anywhere, nil)
	foreign := start(t, newBook(), 2, anywhere, func(c *Config) { c.ClusterID = "cluster-b" })
	b.set(2, foreign.addr)
	for i := range 3 {
		n1.Send(2, transport.Control, one(heartbeat(5, 22, 1)))
		n1.wait(func() bool { return len(n1.told) > i })
	}
	s := n1.Stats()
	if !errors.Is(s.Peers[0].Err, ErrForeignCluster) || s.RefusedByPeers.ForeignCluster < 3 || s.Unreachable != 3 {
		t.Fatalf("%+v", s)
	}
	if n1.told[0] != (report{2, 5, 22}) {
		t.Fatal(n1.told[0])
	}
	b.set(2, n2.addr)
	n1.Send(2, transport.Control, one(heartbeat(5, 22, 2)))
	n2.waitFor(1)
	if err := n1.Stats().Peers[0].Err; err != nil {
		t.Fatal(err)
	}
	if got := log.all(); len(got) != 2 || got[0] != "peer refuses" || got[1] != "peer is reached again" {
		t.Fatal(got)
	}
}

// lines keeps the messages of a log.
type lines struct {
	mu   sync.Mutex
	list []string
}

func (l *lines) Enabled(context.Context, slog.Level) bool { return true }
func (l *lines) WithAttrs([]slog.Attr) slog.Handler       { return l }
func (l *lines) WithGroup(string) slog.Handler            { return l }
func (l *lines) Handle(_ context.Context, r slog.Record) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.list = append(l.list, r.Message)
	return nil
}

func (l *lines) all() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return append([]string(nil), l.list...)
}
