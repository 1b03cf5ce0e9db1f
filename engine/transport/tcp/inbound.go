package tcp

import (
	"errors"
	"fmt"
	"net"
	"runtime/pprof"
	"sync/atomic"
	"time"

	"dyno/engine/ids"
	"dyno/engine/transport"
)

// inbound is a connection a peer dialled: one lane from it. Its owner is its
// reader.
type inbound struct {
	t    *Transport
	nc   net.Conn
	way  way
	slab slab
	dec  decoder

	stopped atomic.Bool   // it was replaced: nothing more is delivered
	done    chan struct{} // closed when the reader has delivered its last frame
}

// way is what there is one connection of.
type way struct {
	from ids.NodeID
	lane transport.Lane
}

// serve is the reader goroutine of an accepted connection.
func (t *Transport) serve(nc net.Conn) {
	defer t.count.inbound.Add(-1)
	defer t.disown(nc)
	pprof.SetGoroutineLabels(pprof.WithLabels(t.ctx, pprof.Labels("dyno", "transport reader")))
	tune(nc, t.cfg.KeepAlive, t.cfg.WriteTimeout)
	_ = nc.SetDeadline(time.Now().Add(t.cfg.HandshakeTimeout))
	h, err := readHello(nc)
	if err == nil {
		err = t.cfg.check(h)
	}
	if err != nil {
		t.refuse(nc, h, err)
		return
	}
	in := &inbound{t: t, nc: nc, way: way{h.from, h.lane}, slab: newSlab(t.cfg.FrameBytesMax), done: make(chan struct{})}
	t.replace(in)
	defer t.leave(in)
	_ = nc.SetDeadline(time.Now().Add(t.cfg.HandshakeTimeout))
	ok := answer{version: version, code: codeOK, node: t.cfg.Node, frameMax: uint32(t.cfg.FrameBytesMax)}
	if _, err := nc.Write(ok.append(nil)); err != nil {
		return
	}
	_ = nc.SetDeadline(time.Time{})
	t.count.accepted.Add(1)
	t.heardFrom(h.from)
	in.ended(in.read())
}

// ended says what the end of a connection means. A peer that lives does not
// close its control lane, unless we took nothing for its WriteTimeout; and the
// next connection of that lane waits for this one, so Down never comes after
// what a restarted peer sent.
func (in *inbound) ended(err error) {
	t := in.t
	switch {
	case t.ctx.Err() != nil:
	case err != nil:
		t.count.brokenFrame(err)
		t.logs.warn("a connection is given up", err, "node", t.cfg.Node, "peer", in.way.from, "lane", in.way.lane)
	case in.way.lane == transport.Control && !in.stopped.Load():
		if o, ok := t.handler.(transport.Observer); ok {
			o.Down(in.way.from)
		}
	}
}

// refuse answers a hello that is not taken, where there is somebody to answer.
func (t *Transport) refuse(nc net.Conn, h hello, err error) {
	if t.ctx.Err() != nil {
		return
	}
	t.count.refuse(err)
	if errors.Is(err, errGone) {
		return // looked whether the port is open
	}
	t.logs.warn("a connection is refused", err, "node", t.cfg.Node, "from", nc.RemoteAddr(), "peer", h.from)
	if c := codeOf(err); c != codeOK {
		_, _ = nc.Write(answer{version: version, code: c, node: t.cfg.Node, frameMax: uint32(t.cfg.FrameBytesMax)}.append(nil))
	}
}

// replace makes in the connection of its way and waits for the reader of the
// one before it. That one may itself be waiting for its predecessor: done is
// closed in order.
func (t *Transport) replace(in *inbound) {
	t.mu.Lock()
	old := t.ways[in.way]
	t.ways[in.way] = in
	t.mu.Unlock()
	if old != nil {
		old.stopped.Store(true)
		t.count.replaced.Add(1)
		hangUp(old.nc)
		<-old.done
	}
}

func (t *Transport) leave(in *inbound) {
	t.mu.Lock()
	if t.ways[in.way] == in {
		delete(t.ways, in.way)
	}
	t.mu.Unlock()
	close(in.done)
}

// read delivers frames until the connection ends. The error is about a frame;
// an end of the connection is none.
func (in *inbound) read() error {
	for {
		if ok, err := in.deliver(); !ok {
			return err
		}
		n, err := in.nc.Read(in.slab.space())
		if n > 0 {
			in.slab.filled(n)
			in.t.count.reads.Add(1)
			in.t.count.receivedBytes.Add(uint64(n))
			continue
		}
		if err != nil {
			return nil
		}
	}
}

// deliver hands out the whole frames that were read; ok is false where nothing
// more is to be read.
func (in *inbound) deliver() (ok bool, err error) {
	for !in.stopped.Load() && in.t.ctx.Err() == nil {
		f, err := in.slab.frame()
		if err != nil || f == nil {
			return err == nil, err
		}
		if err := in.dec.decode(f); err != nil {
			return false, fmt.Errorf("frame of %d bytes: %w", len(f), err)
		}
		if in.dec.kept {
			in.slab.keep()
		}
		in.t.count.receivedFrames.Add(1)
		in.t.count.receivedMessages.Add(uint64(len(in.dec.batch)))
		in.t.handler.Receive(in.way.from, in.dec.batch)
		in.dec.release()
	}
	return false, nil
}
