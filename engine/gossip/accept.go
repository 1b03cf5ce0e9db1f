package gossip

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"runtime/pprof"
	"time"

	"github.com/hashicorp/memberlist"
)

// silentMax ends an accepted connection that brings no packets: whoever dialled it
// would have closed it by then.
const silentMax = 3 * idleAfter

// accept is the acceptor goroutine. A listener that fails for a moment is its
// owner's business; this one ends with it.
func (w *wire) accept() {
	pprof.SetGoroutineLabels(pprof.WithLabels(w.ctx, pprof.Labels("dyno", "gossip acceptor")))
	for {
		c, err := w.g.cfg.Listener.Accept()
		if err != nil {
			if !errors.Is(err, net.ErrClosed) {
				w.g.logs.warn("no node can connect any more", err)
			}
			return
		}
		if !w.own(c) {
			return
		}
		if !w.enter() {
			w.g.refused("a connection is refused", ErrLimit, "from", c.RemoteAddr())
			w.disown(c)
			continue
		}
		w.wg.Go(func() {
			defer w.exit()
			w.serve(c)
		})
	}
}

func (w *wire) enter() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.inbound >= w.g.cfg.ConnectionsMax {
		return false
	}
	w.inbound++
	return true
}

func (w *wire) exit() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.inbound--
}

// serve answers a hello and reads packets, or hands the stream to memberlist.
func (w *wire) serve(c net.Conn) {
	pprof.SetGoroutineLabels(pprof.WithLabels(w.ctx, pprof.Labels("dyno", "gossip reader")))
	_ = c.SetDeadline(time.Now().Add(helloTimeout))
	kind, err := w.greet(c)
	_ = c.SetDeadline(time.Time{})
	if err == nil && kind == streamConn {
		w.g.count.streamsIn.Add(1)
		w.hand(c)
		return
	}
	defer w.disown(c)
	if err == nil {
		err = w.readPackets(c)
	}
	if errors.Is(err, ErrMalformed) || errors.Is(err, ErrForeignCluster) {
		w.g.refused("a connection is refused", err, "from", c.RemoteAddr())
	}
}

// greet reads a hello and answers it. Errors: ErrForeignCluster, ErrMalformed, or
// what the network says.
func (w *wire) greet(c net.Conn) (kind byte, err error) {
	var b [len(Magic) + 2 + clusterBytesMax]byte
	head := b[:len(Magic)+2]
	if _, err := io.ReadFull(c, head); err != nil {
		return 0, err
	}
	kind = head[len(Magic)]
	cluster := b[len(head) : len(head)+int(head[len(Magic)+1])]
	if string(head[:len(Magic)]) != Magic || kind != packetConn && kind != streamConn {
		return 0, fmt.Errorf("%w: hello %x", ErrMalformed, head)
	}
	if _, err := io.ReadFull(c, cluster); err != nil {
		return 0, err
	}
	answer := answerOK
	if string(cluster) != w.g.cfg.Self.Cluster {
		answer, err = answerForeign, fmt.Errorf("%w: %q", ErrForeignCluster, cluster)
	}
	if _, werr := c.Write([]byte{answer}); werr != nil && err == nil {
		err = werr
	}
	return kind, err
}

// readPackets hands packets to memberlist until the connection ends.
func (w *wire) readPackets(c net.Conn) error {
	for {
		_ = c.SetReadDeadline(time.Now().Add(silentMax))
		var head [2]byte
		if _, err := io.ReadFull(c, head[:]); err != nil {
			return err
		}
		n := binary.BigEndian.Uint16(head[:])
		if n == 0 {
			return fmt.Errorf("%w: empty packet", ErrMalformed)
		}
		b := make([]byte, n)
		if _, err := io.ReadFull(c, b); err != nil {
			return err
		}
		w.g.count.packetsIn.Add(1)
		if kindOf(b) == indirectPingMsg {
			w.relayUntil.Store(time.Now().Add(w.g.cfg.ProbeInterval).UnixNano())
		}
		select {
		case w.packets <- &memberlist.Packet{Buf: b, From: c.RemoteAddr(), Timestamp: time.Now()}:
		case <-w.ctx.Done():
			return nil
		}
	}
}
