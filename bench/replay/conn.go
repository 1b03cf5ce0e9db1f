package replay

import (
	"net"
	"os"
	"sync"
	"time"
)

// conn is a client's connection to one node's Kafka front, in memory: what the
// replay gives is there for the front to read, whole; what the front writes is
// kept. It implements net.Conn for the front, and give and answers for the replay.
type conn struct {
	ready chan struct{} // capacity 1: something to read, or an end

	mu sync.Mutex
	// guarded by mu
	in      []byte // not read yet
	out     []byte // written and not taken; made before anything is counted
	expired bool   // a deadline in the past was set: the front stops reading
	closed  bool
}

// answersMax is how many bytes of answers are held without an allocation.
const answersMax = 8 << 20

func newConn() *conn { return &conn{ready: make(chan struct{}, 1), out: make([]byte, 0, answersMax)} }

func (c *conn) signal() {
	select {
	case c.ready <- struct{}{}:
	default:
	}
}

// give lets the front read b, which must not change until it is answered.
func (c *conn) give(b []byte) {
	c.mu.Lock()
	c.in = b
	c.mu.Unlock()
	c.signal()
}

// answers takes what the front has written; it is good until the next give.
func (c *conn) answers() []byte {
	c.mu.Lock()
	defer c.mu.Unlock()
	b := c.out
	c.out = c.out[:0]
	return b
}

// Read implements net.Conn.
func (c *conn) Read(p []byte) (int, error) {
	for {
		c.mu.Lock()
		switch {
		case c.closed:
			c.mu.Unlock()
			return 0, net.ErrClosed
		case c.expired:
			c.mu.Unlock()
			return 0, os.ErrDeadlineExceeded
		case len(c.in) > 0:
			n := copy(p, c.in)
			c.in = c.in[n:]
			c.mu.Unlock()
			return n, nil
		}
		c.mu.Unlock()
		<-c.ready
	}
}

// Write implements net.Conn.
func (c *conn) Write(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return 0, net.ErrClosed
	}
	c.out = append(c.out, p...)
	return len(p), nil
}

// Close implements net.Conn.
func (c *conn) Close() error {
	c.mu.Lock()
	c.closed = true
	c.mu.Unlock()
	c.signal()
	return nil
}

// SetReadDeadline implements net.Conn: a moment that has passed ends reading, any
// other is never reached.
func (c *conn) SetReadDeadline(t time.Time) error {
	if t.IsZero() || t.After(time.Now()) {
		return nil
	}
	c.mu.Lock()
	c.expired = true
	c.mu.Unlock()
	c.signal()
	return nil
}

func (c *conn) SetDeadline(t time.Time) error    { return c.SetReadDeadline(t) }
func (c *conn) SetWriteDeadline(time.Time) error { return nil }
func (c *conn) LocalAddr() net.Addr              { return addr{} }
func (c *conn) RemoteAddr() net.Addr             { return addr{} }

type addr struct{}

func (addr) Network() string { return "memory" }
func (addr) String() string  { return "memory" }

// listener hands the front its one connection.
type listener struct {
	conns chan net.Conn // capacity 1; sender: newListener
	stop  chan struct{} // closed by Close
	once  sync.Once
}

func newListener(c net.Conn) *listener {
	l := &listener{conns: make(chan net.Conn, 1), stop: make(chan struct{})}
	l.conns <- c
	return l
}

// Accept implements net.Listener.
func (l *listener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.stop:
		return nil, net.ErrClosed
	}
}

// Close implements net.Listener.
func (l *listener) Close() error {
	l.once.Do(func() { close(l.stop) })
	return nil
}

// Addr implements net.Listener.
func (l *listener) Addr() net.Addr { return addr{} }
