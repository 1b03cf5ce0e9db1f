package tcp

import (
	"math/rand/v2"
	"runtime/pprof"
	"sync/atomic"
	"time"

	"dyno/engine/transport"
)

// lane is one lane to one peer. Its writer lives while something waits or a
// connection is up:
//
//	for something waits:
//	    until connected: pause → dial; failed: drop all that waits, longer pause
//	    until the connection breaks:
//	        take all that waits → frames → write     sleep where nothing waits
//
// What the writer could not write because the connection broke is dropped and
// reported; what it had not taken waits for the next connection.
type lane struct {
	queue
	t    *Transport
	peer *peer
	kind transport.Lane

	connected atomic.Bool
	resting   atomic.Bool // both lists are to go, see Rest

	w struct { // owner: the writer; one follows another by queue.running
		enc     encoder
		items   []item // memory for take
		retries backoff
	}
}

func newLane(t *Transport, p *peer, kind transport.Lane) *lane {
	l := &lane{t: t, peer: p, kind: kind, queue: queue{max: t.cfg.QueueBytesMax, wake: make(chan struct{}, 1)}}
	l.w.retries = backoff{min: t.cfg.ReconnectMin, max: t.cfg.ReconnectMax}
	return l
}

// send queues a batch and reports what does not fit.
func (l *lane) send(batch []transport.Envelope) {
	n, start := l.put(batch)
	if start && !l.t.spawn(l.write) {
		return // closed meanwhile: nobody waits for this queue
	}
	if n == len(batch) {
		return
	}
	l.t.count.overflowed.Add(uint64(len(batch) - n))
	told := map[report]struct{}{}
	for i := range batch[n:] {
		told[reportOf(l.peer.id, &batch[n+i])] = struct{}{}
	}
	l.t.reports.add(told)
}

// write is the writer goroutine.
func (l *lane) write() {
	pprof.SetGoroutineLabels(pprof.WithLabels(l.t.ctx, pprof.Labels("dyno", "transport writer")))
	for {
		c := l.connect()
		if c == nil {
			return
		}
		l.connected.Store(true)
		err := l.serve(c)
		l.connected.Store(false)
		c.close()
		l.w.enc, l.w.items = encoder{}, nil
		l.lost(c, err)
	}
}

// connect returns when there is a connection, or nil when nothing is left to
// send or the transport is closed.
func (l *lane) connect() *outbound {
	for {
		pause, ok := l.pause(time.Now())
		if !ok {
			return nil // l.w is the next writer's from now on
		}
		if pause > 0 {
			l.rest(pause)
			continue
		}
		c, err := l.t.dial(l.peer.id, l.kind)
		if err == nil {
			l.t.count.connects.Add(1)
			l.peer.reached(l)
			return c
		}
		if l.t.ctx.Err() == nil {
			l.failed(err)
		}
	}
}

// rest waits for d, or for a reason to look again.
func (l *lane) rest(d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-l.wake:
	case <-timer.C:
	case <-l.t.ctx.Done():
	}
}

// failed drops everything that waited for the attempt that failed.
func (l *lane) failed(err error) {
	l.t.count.attemptFailed(err)
	l.peer.failed(err)
	l.postpone(time.Now().Add(l.w.retries.next(rand.Float64())), true)
	l.drop(l.take(nil), 0)
	l.w.items = nil
}

// lost decides when to connect again after a connection broke. One that lived
// for a while is replaced at once; one that did not is no sign of health, and
// neither is what kicks.
func (l *lane) lost(c *outbound, err error) {
	if l.t.ctx.Err() != nil {
		return
	}
	l.t.count.lost.Add(1)
	if c.stalled(err) {
		l.t.count.stalled.Add(1)
		l.t.logs.warn("a connection is given up", errStalled, "node", l.t.cfg.Node, "peer", l.peer.id, "lane", l.kind)
	}
	if time.Since(c.born) >= l.w.retries.max {
		l.w.retries.reset()
		return
	}
	l.postpone(time.Now().Add(l.w.retries.next(rand.Float64())), false)
}

// serve writes what waits until the connection breaks or the transport is
// closed. The error is that of a write.
func (l *lane) serve(c *outbound) error {
	l.w.enc.frameMax, l.w.enc.inlineMax = c.frameMax, inlineBytesMax
	if c.tcp == nil {
		l.w.enc.inlineMax = inlineAll
	}
	for c.alive() && l.t.ctx.Err() == nil {
		items := l.next()
		if len(items) == 0 {
			select {
			case <-l.wake:
			case <-c.broken:
			case <-l.t.ctx.Done():
			}
			continue
		}
		if err := l.writeAll(c, items); err != nil {
			return err
		}
		l.recycle(items)
	}
	return nil
}

// next takes what waits, in turn with the other of the two lists there are. Where
// it is nothing, both go if the lane is to rest.
func (l *lane) next() []item {
	resting := l.resting.Swap(false)
	if resting {
		l.w.items = nil
	}
	items := l.take(l.w.items)
	if l.w.items = items; resting || len(items) > 0 {
		l.w.items = nil
	}
	return items
}

// writeAll writes items in turns. Where one fails, its messages and those after
// it are dropped: how many of them arrived nobody knows.
func (l *lane) writeAll(c *outbound, items []item) error {
	enc := &l.w.enc
	for i := 0; i < len(items); {
		next := enc.pack(items, i)
		err := c.write(enc.seal())
		if err != nil {
			enc.reset()
			l.drop(items, i)
			return err
		}
		l.refuse(items)
		l.t.count.sentMessages.Add(uint64(next - i - len(enc.refused)))
		l.t.count.sentFrames.Add(uint64(len(enc.frames)))
		enc.reset()
		l.release(sizeOf(items[i:next]))
		i = next
	}
	return nil
}

// refuse reports the items that pack found too large.
func (l *lane) refuse(items []item) {
	refused := l.w.enc.refused
	if len(refused) == 0 {
		return
	}
	l.t.count.tooLarge.Add(uint64(len(refused)))
	told := map[report]struct{}{}
	for _, i := range refused {
		told[reportOf(l.peer.id, &items[i].envelope)] = struct{}{}
	}
	l.t.reports.add(told)
}

// drop reports and forgets items from i on. Who hears of it finds them counted,
// and room in the queue.
func (l *lane) drop(items []item, i int) {
	l.t.count.unreachable.Add(uint64(len(items) - i))
	l.release(sizeOf(items[i:]))
	told := map[report]struct{}{}
	for k := i; k < len(items); k++ {
		told[reportOf(l.peer.id, &items[k].envelope)] = struct{}{}
	}
	l.t.reports.add(told)
	l.recycle(items)
}

// recycle keeps the memory of items for take, but nothing they point to. What a
// burst made large goes when it is not used any more.
func (l *lane) recycle(items []item) {
	if cap(items) > itemsKeepMax && len(items) < cap(items)/4 {
		l.w.items = nil
		return
	}
	clear(items)
	l.w.items = items[:0]
}

func sizeOf(items []item) (n int64) {
	for i := range items {
		n += items[i].bytes
	}
	return n
}

// backoff is the pause after a failure, doubled with each.
type backoff struct{ min, max, last time.Duration }

// next is between half of the pause and all of it, as chance in [0, 1) says, so
// that nodes that lost the same peer do not come back in step.
func (b *backoff) next(chance float64) time.Duration {
	b.last = min(max(b.min, 2*b.last), b.max)
	half := b.last / 2
	return half + time.Duration(chance*float64(b.last-half))
}

func (b *backoff) reset() { b.last = 0 }
