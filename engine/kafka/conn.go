package kafka

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"os"
	"runtime/pprof"
	"sync/atomic"
	"time"
)

// conn is one client connection with its two goroutines.
//
//	reader: socket → slab → frames → Produce to the log, calls to the ring
//	writer: head of the ring → wait for its outcome or run it → reply → socket
//
// The reader never waits for an answer and the writer never for a request but
// the next one in order, so a slow answer holds up the replies behind it (the
// protocol wants them in order) but not the work behind it. The reader stops
// for the limits of Config; TCP tells the client.
//
// Who ends it: the reader by closing the ring (client gone, drain, a frame
// that cannot be answered): the writer answers what is in it and closes the
// socket. Or the writer, or Server.Close, by kill: everything at once.
type conn struct {
	srv *Server
	nc  net.Conn

	ring *ring
	eof  chan struct{} // closed by the reader when it ends: stop long polls
	dead chan struct{} // closed by kill
	// ctx is for Backend calls; it ends with dead.
	ctx    context.Context
	cancel context.CancelFunc

	// parked is the Produce the writer sleeps for; wake has capacity 1. See
	// awaitProduce.
	parked atomic.Pointer[produce]
	wake   chan struct{}

	refused refusals

	cause    atomic.Int32 // 1 + the first reason to end, 0 before
	killed   atomic.Bool
	answered atomic.Bool // something was written to the client

	rd struct { // owner: reader
		slab
		at       time.Duration // of the last read that brought bytes
		begun    time.Duration // the read that brought the first byte of the frame not whole yet
		deadline time.Duration // set on the socket
		room     chan struct{} // capacity 1; sender: the budget that is waited for
		taken    int           // from the broker's budget for the frame not whole yet
		claimed  int           // from that of such frames
	}
	wr struct { // owner: writer
		out
		timer    *time.Timer
		fetched  int64         // of the reply to a Fetch not written yet, in the broker's budget
		room     chan struct{} // capacity 1; sender: that budget; nil until waited for
		deadline time.Duration // set on the socket
	}
}

func newConn(s *Server, nc net.Conn) *conn {
	c := &conn{
		srv: s, nc: s.wrap(nc),
		ring: newRing(s.cfg.InflightMax, s.cfg.InflightBytesMax),
		eof:  make(chan struct{}), dead: make(chan struct{}), wake: make(chan struct{}, 1),
	}
	c.ctx, c.cancel = context.WithCancel(s.ctx)
	c.rd.slab = slab{size: slabBytesMin, max: s.cfg.SlabBytes}
	c.rd.room = make(chan struct{}, 1)
	return c
}

// because keeps the first reason for the connection's end.
func (c *conn) because(why reason) { c.cause.CompareAndSwap(0, 1+int32(why)) }

func (c *conn) why() reason { return reason(max(c.cause.Load()-1, 0)) }

// kill ends the connection at once. It is idempotent; any goroutine may call
// it.
func (c *conn) kill(why reason) {
	c.because(why)
	if c.killed.CompareAndSwap(false, true) {
		c.srv.count.closed[c.why()].Add(1)
		close(c.dead)
		c.cancel()
		if !c.answered.Load() && c.srv.draining.Load() {
			reset(c.nc)
		}
		_ = c.nc.Close()
	}
}

// reset makes Close end nc with a reset instead of an end of stream. A client
// that has just connected to a node which stops takes the one for a lost
// connection and asks again, the other for a broker that it cannot talk to (as
// one that wants TLS), and fails what it was to send.
func reset(nc net.Conn) {
	if t, ok := nc.(*tls.Conn); ok {
		nc = t.NetConn()
	}
	if t, ok := nc.(*net.TCPConn); ok {
		_ = t.SetLinger(0)
	}
}

// stopReading makes the reader end; what it has read is still answered.
func (c *conn) stopReading() {
	c.because(closedDrain)
	_ = c.nc.SetReadDeadline(time.Unix(1, 0))
	signal(c.rd.room)
	signal(c.ring.popped)
}

// read is the reader goroutine.
func (c *conn) read() {
	defer c.srv.wg.Done()
	pprof.SetGoroutineLabels(pprof.WithLabels(c.ctx, pprof.Labels("dyno", "kafka reader")))
	defer func() {
		c.srv.budget.release(int64(c.rd.taken))
		c.srv.partial.release(int64(c.rd.claimed))
		close(c.eof)
		c.ring.close()
	}()
	if !c.handshake() {
		return
	}
	for {
		for {
			f, ok, err := c.rd.frame(c.srv.limit)
			if err != nil {
				c.because(whyNotFrame(err))
				return
			}
			if !ok {
				break
			}
			c.rd.begun = c.rd.at
			if !c.request(f) {
				return
			}
		}
		if !c.fill() {
			return
		}
	}
}

// handshake makes the TLS handshake, within the time of one frame.
func (c *conn) handshake() bool {
	t, ok := c.nc.(*tls.Conn)
	if !ok {
		return true
	}
	ctx, cancel := context.WithTimeout(c.ctx, c.srv.cfg.FrameTimeout)
	defer cancel()
	if err := t.HandshakeContext(ctx); err != nil {
		c.because(closedHandshake)
		return false
	}
	return true
}

// limit is the largest frame of a request with this key and version.
func (s *Server) limit(key, version int16) (int, error) {
	switch {
	case !served(key, version):
		return 0, errNotServed
	case key == keyProduce:
		return s.cfg.FrameBytesMax, nil
	}
	return s.cfg.PlainFrameBytesMax, nil
}

var errNotServed = errors.New("api key or version not served")

func whyNotFrame(err error) reason {
	switch {
	case errors.Is(err, errNotServed):
		return closedVersion
	case errors.Is(err, errFrameTooLarge):
		return closedTooLarge
	}
	return closedGarbage
}

// fill reads once from the socket; false ends the reader.
func (c *conn) fill() bool {
	if n := c.rd.claim(); n > 0 && c.rd.taken == 0 {
		n = weight(c.rd.buf[c.rd.r+prefixBytes:], n)
		if !c.claim(n) || !c.take(n) {
			c.because(closedDrain)
			return false
		}
		c.rd.begun = c.srv.now() // the wait was not the client's
	}
	before := c.rd.moved
	buf := c.rd.space()
	if c.rd.moved != before {
		c.srv.count.slabMoved.Add(c.rd.moved - before)
	}
	for {
		c.setReadDeadline()
		if c.srv.draining.Load() {
			c.because(closedDrain)
			return false
		}
		n, err := c.nc.Read(buf)
		c.srv.count.reads.Add(1)
		if n > 0 {
			c.srv.count.bytesIn.Add(int64(n))
			c.rd.at = c.srv.now()
			if !c.rd.partial() {
				c.rd.begun = c.rd.at
			}
			c.rd.w += n
			return true
		}
		if c.readFailed(err) {
			return false
		}
	}
}

// readFailed says whether the reader must end after err.
func (c *conn) readFailed(err error) bool {
	switch {
	case err == nil:
		return false
	case c.srv.draining.Load():
		c.because(closedDrain)
	case errors.Is(err, os.ErrDeadlineExceeded) && c.rd.partial():
		c.because(closedSlow)
	case errors.Is(err, os.ErrDeadlineExceeded) && c.ring.busy() > 0:
		return false
	case errors.Is(err, os.ErrDeadlineExceeded):
		c.because(closedIdle)
	case errors.Is(err, io.EOF):
		c.because(closedByClient)
	default:
		c.because(closedNetwork)
	}
	return true
}

// setReadDeadline keeps the socket's deadline within an eighth of the one that
// holds: the frame's, if one has begun, or the idle one. Setting it costs a
// timer, so not every read does.
func (c *conn) setReadDeadline() {
	d := c.srv.cfg.IdleTimeout
	want := c.srv.now() + d
	if c.rd.partial() {
		d = c.srv.cfg.FrameTimeout
		want = c.rd.begun + d
	}
	if have := c.rd.deadline; have <= want && have >= want-d/8 && have > 0 {
		return
	}
	c.rd.deadline = want
	_ = c.nc.SetReadDeadline(c.srv.start.Add(want))
}

// admit waits until the limits let a request of n bytes in. It returns false
// where the connection ends first.
func (c *conn) admit(n int) bool {
	for first := true; c.ring.full(n); first = false {
		if first {
			c.srv.count.waitedRequests.Add(1)
		}
		select {
		case <-c.ring.popped:
		case <-c.dead:
			return false
		}
		if c.srv.draining.Load() {
			return false
		}
	}
	if !c.take(n) {
		return false
	}
	c.rd.taken = 0 // the request's from now on
	c.srv.partial.release(int64(c.rd.claimed))
	c.rd.claimed = 0
	return true
}

// claim waits until the budget of frames that are not whole yet holds the n bytes
// of the one that has begun, so that lengths which are only announced leave room
// in the broker's for everybody else. It returns false where the connection ends
// first.
func (c *conn) claim(n int) bool {
	if !c.srv.partial.try(int64(n)) {
		c.srv.count.waitedPartialBytes.Add(1)
		if !c.await(&c.srv.partial, int64(n)) {
			return false
		}
	}
	c.rd.claimed = n
	return true
}

// take waits until the broker's budget holds n bytes for the frame being read.
// A big frame takes all of its bytes before a slab is made for it: if it took
// them as they come, several half-read frames could hold the whole budget and
// wait for each other. It returns false where the connection ends first.
func (c *conn) take(n int) bool {
	more := int64(n - c.rd.taken)
	if more <= 0 {
		return true
	}
	if !c.srv.budget.try(more) {
		c.srv.count.waitedBrokerBytes.Add(1)
		if !c.await(&c.srv.budget, more) {
			return false
		}
	}
	c.rd.taken = n
	return true
}

// takeAcks0 waits until the budget of acks=0 holds n bytes. It returns false
// where the connection ends first.
func (c *conn) takeAcks0(n int64) bool {
	if c.srv.acks0.try(n) {
		return true
	}
	c.srv.count.waitedAcks0.Add(1)
	return c.await(&c.srv.acks0, n)
}

// await takes n bytes from a budget that had no room for them.
func (c *conn) await(b *budget, n int64) bool {
	b.wait(c.rd.room)
	defer b.leave(c.rd.room)
	for !b.try(n) {
		if c.srv.draining.Load() {
			return false
		}
		select {
		case <-c.rd.room:
		case <-c.dead:
			return false
		}
	}
	return true
}

// timeout turns a client's milliseconds into a duration within bounds.
func (s *Server) timeout(ms int32) time.Duration {
	return min(max(time.Duration(ms)*time.Millisecond, 0), s.cfg.TimeoutMax)
}
