package engine

import (
	"errors"
	"io"
	"log/slog"
	"net"
	"sync"
	"time"

	"dyno/engine/gossip"
	"dyno/engine/transport/tcp"
)

// portMux lets Raft's frames, gossip and gRPC share the port for peers: it tells
// them by their first bytes. What begins with neither, or with nothing for a while, is
// closed.
type portMux struct {
	base   net.Listener
	log    *slog.Logger
	refuse func(net.Conn) // takes connections with frames, where frames are not in use; else nil
	frames *muxListener
	gossip *muxListener
	grpc   *muxListener
	wg     sync.WaitGroup
	once   sync.Once

	mu   sync.Mutex // guards open
	open map[net.Conn]bool
	done bool
}

// muxPatience is how long a connection may take to say what it is.
const muxPatience = 10 * time.Second

// muxBytes is how much tells the protocols apart: tcp.Magic, gossip.Magic, or
// the beginning of HTTP/2's preface (RFC 9113 section 3.4).
const muxBytes = 4

const http2Preface = "PRI "

func newPortMux(base net.Listener, log *slog.Logger, refuse func(net.Conn)) *portMux {
	m := &portMux{base: base, log: log, refuse: refuse, open: map[net.Conn]bool{}}
	m.frames, m.gossip, m.grpc = newMuxListener(base.Addr()), newMuxListener(base.Addr()), newMuxListener(base.Addr())
	m.wg.Go(m.accept)
	return m
}

// Close ends the port and what waits on it; connections that were handed out
// belong to whoever took them. Idempotent.
func (m *portMux) Close() error {
	var err error
	m.once.Do(func() {
		err = m.base.Close()
		m.mu.Lock()
		m.done = true
		for c := range m.open {
			_ = c.Close()
		}
		m.mu.Unlock()
		_ = m.frames.Close()
		_ = m.gossip.Close()
		_ = m.grpc.Close()
		m.wg.Wait()
	})
	return err
}

// acceptRetry is how long a port that cannot accept (no descriptors left) rests.
const acceptRetry = 100 * time.Millisecond

func (m *portMux) accept() {
	for {
		c, err := m.base.Accept()
		switch {
		case errors.Is(err, net.ErrClosed):
			return
		case err != nil:
			m.log.Warn("accept on the port for peers", "err", err)
			<-time.After(acceptRetry)
			continue
		}
		if !m.keep(c) {
			_ = c.Close()
			return
		}
		m.wg.Go(func() { m.route(c) })
	}
}

func (m *portMux) keep(c net.Conn) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.done {
		return false
	}
	m.open[c] = true
	return true
}

func (m *portMux) forget(c net.Conn) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.open, c)
}

// route reads the first bytes of c and hands it on with them.
func (m *portMux) route(c net.Conn) {
	defer m.forget(c)
	p := &peeked{Conn: c, left: make([]byte, muxBytes)}
	_ = c.SetReadDeadline(time.Now().Add(muxPatience))
	if _, err := io.ReadFull(c, p.left); err != nil {
		_ = c.Close()
		return
	}
	_ = c.SetReadDeadline(time.Time{})
	to := m.grpc
	switch first := string(p.left); {
	case first == tcp.Magic && m.refuse != nil:
		m.refuse(p)
		return
	case first == tcp.Magic:
		to = m.frames
	case first == gossip.Magic:
		to = m.gossip
	case first == http2Preface:
	default:
		m.log.Warn("a connection to the port for peers speaks neither Raft frames nor gossip nor gRPC", "from", c.RemoteAddr())
		_ = c.Close()
		return
	}
	if !to.hand(p) {
		_ = c.Close()
	}
}

// peeked is a connection whose first bytes were read already.
type peeked struct {
	net.Conn
	left []byte
}

func (p *peeked) Read(b []byte) (int, error) {
	if len(p.left) > 0 {
		n := copy(b, p.left)
		p.left = p.left[n:]
		return n, nil
	}
	return p.Conn.Read(b)
}

// NetConn is the connection below: its owner sets socket options there.
func (p *peeked) NetConn() net.Conn { return p.Conn }

// muxListener is one protocol's share of the port.
type muxListener struct {
	addr  net.Addr
	conns chan net.Conn // no capacity; never closed
	ended chan struct{} // closed by Close
	once  sync.Once
}

func newMuxListener(addr net.Addr) *muxListener {
	return &muxListener{addr: addr, conns: make(chan net.Conn), ended: make(chan struct{})}
}

func (l *muxListener) hand(c net.Conn) bool {
	select {
	case l.conns <- c:
		return true
	case <-l.ended:
		return false
	}
}

// Accept implements net.Listener.
func (l *muxListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.ended:
		return nil, net.ErrClosed
	}
}

// Close implements net.Listener; the port goes on for others.
func (l *muxListener) Close() error {
	l.once.Do(func() { close(l.ended) })
	return nil
}

// Addr implements net.Listener.
func (l *muxListener) Addr() net.Addr { return l.addr }
