package tcp

import (
	"context"
	"errors"
	"fmt"
	"net"
	"runtime/pprof"
	"time"
)

const (
	acceptPauseMin = 5 * time.Millisecond
	acceptPauseMax = time.Second
)

// accept is the acceptor goroutine. A failing Accept (out of descriptors) is
// tried again after a pause that doubles.
func (t *Transport) accept() {
	pprof.SetGoroutineLabels(pprof.WithLabels(t.ctx, pprof.Labels("dyno", "transport acceptor")))
	pause := acceptPauseMin
	for {
		nc, err := t.cfg.Listener.Accept()
		switch {
		case err == nil:
			pause = acceptPauseMin
			t.admit(nc)
		case t.ctx.Err() != nil:
			return
		case errors.Is(err, net.ErrClosed):
			t.logs.warn("no peer can connect any more", fmt.Errorf("%w: %w", errListener, err), "node", t.cfg.Node)
			return
		default:
			t.logs.warn("a connection is lost", fmt.Errorf("%w: %w", errListener, err), "node", t.cfg.Node)
			rest(t.ctx, pause)
			pause = min(2*pause, acceptPauseMax)
		}
	}
}

func rest(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

// admit starts the reader of a connection, or closes it where there are too
// many.
func (t *Transport) admit(nc net.Conn) {
	if t.count.inbound.Add(1) > int64(t.cfg.ConnectionsMax) {
		t.count.inbound.Add(-1)
		t.count.refuse(errLimit)
		t.logs.warn("a connection is refused", errLimit, "node", t.cfg.Node, "from", nc.RemoteAddr())
		hangUp(nc)
		return
	}
	if !t.own(nc) {
		t.count.inbound.Add(-1)
		return
	}
	if !t.spawn(func() { t.serve(nc) }) {
		t.count.inbound.Add(-1)
	}
}
