package kafka

import (
	"bufio"
	"crypto/tls"
	"net"
	"runtime/pprof"
	"time"
)

// flushBytes is how much is collected before it is written although more
// replies are ready.
const flushBytes = 256 << 10

// write is the writer goroutine: it answers the ring's head again and again.
// All replies that are ready leave in one writev; nothing stays in the buffer
// when it goes to sleep.
func (c *conn) write() {
	defer c.srv.wg.Done()
	pprof.SetGoroutineLabels(pprof.WithLabels(c.ctx, pprof.Labels("dyno", "kafka writer")))
	defer c.leave()
	for {
		e, ok, done := c.ring.first()
		switch {
		case done:
			c.flush()
			return
		case !ok:
			if !c.flush() || !c.sleep() {
				return
			}
			continue
		case e.prod != nil:
			if !c.awaitProduce(e.prod) || !c.replyProduce(e.prod) {
				return
			}
		default:
			if !c.flush() {
				return
			}
			c.run(e.call)
			c.srv.budget.release(int64(e.bytes))
		}
		c.ring.pop()
		if c.wr.waiting() >= flushBytes && !c.flush() {
			return
		}
	}
}

// leave closes the socket, waits for the reader and gives back what the
// calls still in the ring took from the broker's budget.
func (c *conn) leave() {
	c.kill(closedByClient)
	<-c.eof
	for {
		e, ok, _ := c.ring.first()
		if !ok {
			break
		}
		if e.prod == nil {
			c.srv.budget.release(int64(e.bytes))
		}
		c.ring.pop()
	}
	c.dropFetched()
	if c.wr.timer != nil {
		c.wr.timer.Stop()
	}
	c.srv.forget(c)
}

// sleep waits for the next request.
func (c *conn) sleep() bool {
	select {
	case <-c.ring.pushed:
		return true
	case <-c.dead:
		return false
	}
}

// awaitProduce waits until the log has answered p or p's time is over, and
// writes out what is ready before it sleeps. It returns false where the
// connection ends first.
//
// No wake-up is lost: the writer stores parked and then looks at p; the last
// Appended marks p done and then looks at parked. Both are sequentially
// consistent, so at least one sees the other. A signal left over from an
// earlier p costs one more look.
func (c *conn) awaitProduce(p *produce) bool {
	if p.done() {
		return true
	}
	if !c.flush() {
		return false
	}
	c.parked.Store(p)
	defer c.parked.Store(nil)
	for !p.done() {
		left := p.deadline - c.srv.now()
		if left <= 0 {
			return true
		}
		select {
		case <-c.wake:
		case <-c.after(left):
		case <-c.dead:
			return false
		}
	}
	return true
}

// after is the connection's one timer set to d.
func (c *conn) after(d time.Duration) <-chan time.Time {
	if c.wr.timer == nil {
		c.wr.timer = time.NewTimer(d)
	} else {
		c.wr.timer.Reset(d)
	}
	return c.wr.timer.C
}

// flush writes all replies collected. It returns false, and kills the
// connection, where they do not leave within WriteTimeout.
func (c *conn) flush() bool {
	c.wr.close()
	if len(c.wr.bufs) == 0 {
		return true
	}
	if now := c.srv.now(); c.wr.deadline < now+c.srv.cfg.WriteTimeout*7/8 {
		c.wr.deadline = now + c.srv.cfg.WriteTimeout
		_ = c.nc.SetWriteDeadline(c.srv.start.Add(c.wr.deadline))
	}
	all, total := c.wr.bufs, c.wr.total
	err := writeAll(c.nc, &c.wr.bufs)
	c.wr.reset(all)
	c.dropFetched()
	if err != nil {
		c.kill(whyNotWritten(err))
		return false
	}
	c.answered.Store(true)
	c.srv.count.writes.Add(1)
	c.srv.count.bytesOut.Add(int64(total))
	return true
}

// writeAll writes bufs: by writev on a TCP connection; through one buffer where
// each slice would be a TLS record of its own.
func writeAll(nc net.Conn, bufs *net.Buffers) error {
	if _, ok := nc.(*tls.Conn); !ok {
		_, err := bufs.WriteTo(nc)
		return err
	}
	w := bufio.NewWriterSize(nc, 16<<10)
	for _, b := range *bufs {
		if _, err := w.Write(b); err != nil {
			return err
		}
	}
	return w.Flush()
}

func whyNotWritten(err error) reason {
	if t, ok := err.(net.Error); ok && t.Timeout() {
		return closedNoReader
	}
	return closedNetwork
}
