package tcp

import (
	"context"
	"errors"
	"fmt"
	"net"
	"runtime/pprof"
	"time"

	"dyno/engine/ids"
	"dyno/engine/transport"
)

// outbound is a connection this node dialled: one lane to one peer. Its owner
// is the lane's writer.
type outbound struct {
	t        *Transport
	nc       net.Conn
	tcp      *net.TCPConn // nc if writev works on it, else nil
	frameMax int          // the peer's
	born     time.Time
	deadline time.Time     // set on the socket
	broken   chan struct{} // closed by watch
	readErr  error         // of watch, set before that
	bufs     net.Buffers   // of one write; here because WriteTo wants an address
}

// dial connects to a node and makes the handshake, within HandshakeTimeout.
// Errors: ErrNoAddress, those of greet, or what the network says.
func (t *Transport) dial(to ids.NodeID, lane transport.Lane) (*outbound, error) {
	addr, ok := t.cfg.Addr(to)
	if !ok {
		return nil, ErrNoAddress
	}
	deadline := time.Now().Add(t.cfg.HandshakeTimeout)
	ctx, cancel := context.WithDeadline(t.ctx, deadline)
	defer cancel()
	nc, err := t.cfg.Dial(ctx, addr)
	if err != nil {
		return nil, fmt.Errorf("dial %s: %w", addr, err)
	}
	if !t.own(nc) {
		return nil, transport.ErrClosed
	}
	tune(nc, t.cfg.KeepAlive, t.cfg.WriteTimeout)
	_ = nc.SetDeadline(deadline)
	frameMax, err := greet(nc, hello{cluster: t.cfg.ClusterID, from: t.cfg.Node, to: to, lane: lane})
	if err != nil {
		t.disown(nc)
		return nil, fmt.Errorf("handshake with %s: %w", addr, err)
	}
	_ = nc.SetDeadline(time.Time{})
	c := &outbound{t: t, nc: nc, frameMax: frameMax, born: time.Now(), broken: make(chan struct{})}
	c.tcp, _ = nc.(*net.TCPConn)
	t.count.outbound.Add(1)
	go c.watch()
	return c, nil
}

// watch waits for the peer to end the connection, which never sends anything.
// Without it the first messages after a peer's restart would go into a socket
// that the peer has already left, and be lost without a word.
func (c *outbound) watch() {
	defer close(c.broken)
	pprof.SetGoroutineLabels(pprof.WithLabels(c.t.ctx, pprof.Labels("dyno", "transport watcher")))
	var b [1]byte
	_, c.readErr = c.nc.Read(b[:])
}

// close ends the connection and waits for watch.
func (c *outbound) close() {
	c.t.disown(c.nc)
	<-c.broken
	c.t.count.outbound.Add(-1)
}

// stalled says that a closed connection broke, with err from write, because the
// peer took nothing: by our deadline, or by TCP's own, whose error goes to
// whichever of writer and watcher asks first.
func (c *outbound) stalled(err error) bool {
	for _, err := range []error{err, c.readErr} {
		if timeout, ok := errors.AsType[net.Error](err); ok && timeout.Timeout() {
			return true
		}
	}
	return false
}

// alive is false once the peer has ended the connection.
func (c *outbound) alive() bool {
	select {
	case <-c.broken:
		return false
	default:
		return true
	}
}

// write writes pieces, about writeBytesMax at a time: by writev on a TCP
// connection, else one by one (encoder.inlineMax sees to it that they are few).
func (c *outbound) write(pieces [][]byte) error {
	for len(pieces) > 0 {
		n, bytes := 1, len(pieces[0])
		for c.tcp != nil && n < len(pieces) && bytes < writeBytesMax {
			bytes += len(pieces[n])
			n++
		}
		c.extendDeadline()
		var err error
		if c.tcp != nil {
			c.bufs = pieces[:n]
			_, err = c.bufs.WriteTo(c.tcp)
		} else {
			_, err = c.nc.Write(pieces[0])
		}
		if err != nil {
			return err
		}
		c.t.count.writes.Add(1)
		c.t.count.sentBytes.Add(uint64(bytes))
		pieces = pieces[n:]
	}
	return nil
}

// extendDeadline keeps the deadline of writes within an eighth of WriteTimeout:
// setting it costs a timer, so not every write does.
func (c *outbound) extendDeadline() {
	limit := c.t.cfg.WriteTimeout
	now := time.Now()
	if c.deadline.Sub(now) < limit-limit/8 {
		c.deadline = now.Add(limit)
		_ = c.nc.SetWriteDeadline(c.deadline)
	}
}
