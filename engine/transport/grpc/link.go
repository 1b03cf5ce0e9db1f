package grpctransport

import (
	"errors"
	"math/rand/v2"
	"runtime/pprof"
	"sync"
	"time"

	"dyno/engine/ids"
	"dyno/engine/transport"
)

// link is the way to one peer on one lane: a queue, and one goroutine, the
// writer, that opens the stream, hands the queue to it and opens another when
// it has ended.
//
//	idle     queue empty                → put wakes the writer
//	opening  no stream, queue not empty → what comes is queued
//	open     stream                     → what comes is queued, the writer sends
//	down     an attempt failed          → what comes is dropped, for one backoff
//
// Order is kept because one goroutine takes from the queue and sends on one
// stream at a time, and never sends again what a stream may have taken.
type link struct {
	t    *Transport
	to   ids.NodeID
	lane transport.Lane
	wake chan struct{} // capacity 1; sender: put
	kick chan struct{} // capacity 1; sender: Transport.heard

	mu    sync.Mutex
	queue []transport.Envelope // guarded by mu
	bytes int64                // of queue and of what the writer has in hand; guarded by mu
	down  bool                 // guarded by mu
	ended bool                 // what comes is forgotten; guarded by mu
	open  bool                 // guarded by mu
	err   error                // of the last attempt or stream, nil while open; guarded by mu

	// Owner of what follows: the writer.
	out      *outbound // nil unless open
	spare    []transport.Envelope
	attempts int   // that failed since a stream held
	told     error // the kind of failure that was logged last
}

// queueKeep is how many envelopes of room an empty queue keeps.
const queueKeep = 4096

func newLink(t *Transport, to ids.NodeID, lane transport.Lane) *link {
	return &link{t: t, to: to, lane: lane, wake: make(chan struct{}, 1), kick: make(chan struct{}, 1)}
}

// put queues what fits of a batch, from its start, and reports the rest. Does
// not block; does not keep batch.
func (l *link) put(batch []transport.Envelope) {
	counts := &l.t.counts.lanes[l.lane]
	l.mu.Lock()
	if l.ended {
		l.mu.Unlock()
		return
	}
	n, before := 0, l.bytes
	down := l.down
	for !down && n < len(batch) {
		size := transport.Size(&batch[n].Message)
		if l.bytes > 0 && l.bytes+size > l.t.cfg.QueueBytesMax {
			break
		}
		l.bytes += size
		n++
	}
	l.queue = append(l.queue, batch[:n]...)
	counts.queuedBytes.Add(l.bytes - before)
	l.mu.Unlock()
	if n > 0 {
		select {
		case l.wake <- struct{}{}:
		default:
		}
	}
	if n == len(batch) {
		return
	}
	if down {
		counts.unsent.Add(uint64(len(batch) - n))
	} else {
		counts.overflowed.Add(uint64(len(batch) - n))
	}
	l.t.reports.add(l.to, batch[n:])
}

// run is the writer.
func (l *link) run() {
	pprof.SetGoroutineLabels(pprof.WithLabels(l.t.ctx, pprof.Labels("raft-transport-writer", label(l.to, l.lane))))
	for l.wait() {
		if l.out == nil && !l.connect() {
			continue
		}
		l.flush()
	}
	if l.out != nil {
		l.out.close()
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.ended = true
	l.t.counts.lanes[l.lane].queuedBytes.Add(-l.bytes)
	l.queue, l.bytes = nil, 0
}

// wait returns once there is something to send, or false at Close. Meanwhile it
// lets go of a stream that has ended.
func (l *link) wait() bool {
	for l.t.ctx.Err() == nil {
		var gone chan struct{}
		if l.out != nil {
			gone = l.out.gone
		}
		select {
		case <-gone: // before the queue: what waits is for the next stream
			l.lost()
			continue
		default:
		}
		if l.waiting() {
			return true
		}
		select {
		case <-l.t.ctx.Done():
		case <-l.wake:
		case <-gone:
		}
	}
	return false
}

func (l *link) waiting() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.queue) > 0
}

func (l *link) take() []transport.Envelope {
	l.mu.Lock()
	defer l.mu.Unlock()
	batch := l.queue
	l.queue, l.spare = l.spare, nil
	return batch
}

// release says that bytes have left the link.
func (l *link) release(bytes int64) {
	l.mu.Lock()
	l.bytes -= bytes
	l.mu.Unlock()
	l.t.counts.lanes[l.lane].queuedBytes.Add(-bytes)
}

// reuse gives the memory of a taken batch back to the queue.
func (l *link) reuse(batch []transport.Envelope) {
	if cap(batch) <= queueKeep {
		clear(batch)
		l.spare = batch[:0]
	}
}

// flush sends what is queued. What cannot be sent because the stream ended is
// reported; what was queued meanwhile waits for the next stream.
func (l *link) flush() {
	batch := l.take()
	defer l.reuse(batch)
	counts := &l.t.counts.lanes[l.lane]
	for rest := batch; len(rest) > 0; {
		n := l.t.cfg.frame(rest)
		if n == 0 {
			counts.tooLarge.Add(1)
			l.t.reports.add(l.to, rest[:1])
			l.release(sizeOf(rest[:1]))
			rest = rest[1:]
			continue
		}
		bytes, err := l.out.send(rest[:n])
		if err != nil {
			l.drop(rest)
			l.lost()
			return
		}
		counts.sent.Add(uint64(n))
		counts.sentFrames.Add(1)
		counts.sentBytes.Add(uint64(bytes))
		l.release(sizeOf(rest[:n]))
		rest = rest[n:]
	}
}

// frame gives how many envelopes, from the first, go into one gRPC message; 0 if
// the first is too large for any.
func (c *Config) frame(batch []transport.Envelope) (n int) {
	bytes, entries := headBytes, 0
	for n < len(batch) && n < envelopesMax {
		m := &batch[n].Message
		size := wireBound(m)
		entries += len(m.Entries)
		if bytes+size > c.MessageBytesMax || entries > entriesMax || n > 0 && bytes+size > c.FrameBytes {
			break
		}
		bytes += size
		n++
	}
	return n
}

// drop reports envelopes that the writer has in hand.
func (l *link) drop(batch []transport.Envelope) {
	l.t.counts.lanes[l.lane].unsent.Add(uint64(len(batch)))
	l.t.reports.add(l.to, batch)
	l.release(sizeOf(batch))
}

func sizeOf(batch []transport.Envelope) (bytes int64) {
	for i := range batch {
		bytes += transport.Size(&batch[i].Message)
	}
	return bytes
}

// connect opens a stream, or backs off.
func (l *link) connect() bool {
	out, err := l.t.open(l.to, l.lane)
	if l.t.ctx.Err() != nil {
		if err == nil {
			out.close()
		}
		return false
	}
	if err != nil {
		l.t.counts.failures.Add(1)
		l.t.counts.refused(err)
		l.failed(err)
		return false
	}
	l.out = out
	l.t.counts.connects.Add(1)
	l.setErr(nil)
	l.t.cfg.Log.Info("stream to peer open", "node", l.t.cfg.Node, "peer", l.to, "lane", l.lane)
	l.told = nil
	l.t.heard(l.to)
	return true
}

// lost lets go of a stream that has ended. One that did not hold for the longest
// backoff counts as a failed attempt, so that a peer that accepts and hangs up,
// or two nodes under one id, do not make a tight loop.
func (l *link) lost() {
	out := l.out
	l.out = nil
	err := out.reason()
	out.close()
	if l.t.ctx.Err() != nil {
		return
	}
	l.t.counts.losses.Add(1)
	if time.Since(out.since) < l.t.cfg.BackoffMax {
		l.failed(err)
		return
	}
	l.attempts = 0
	l.tell(err)
	l.setErr(err)
}

// failed drops what is queued and waits before the next attempt may begin. What
// is sent meanwhile is dropped by put.
//
// A peer that was heard of ends the wait, if it was not reached: it came back.
// After a refusal or a stream that did not hold it must not: then each lane's
// success would call the next lane, and that one the first, without a pause.
func (l *link) failed(err error) {
	l.tell(err)
	l.mu.Lock()
	l.down, l.open, l.err = true, false, err
	l.mu.Unlock()
	batch := l.take()
	l.drop(batch)
	l.reuse(batch)

	timer := time.NewTimer(backoff(l.attempts, l.t.cfg.BackoffMin, l.t.cfg.BackoffMax, rand.Float64()))
	defer timer.Stop()
	l.attempts++
	var kick chan struct{}
	if errors.Is(err, ErrUnreachable) {
		kick = l.kick
	}
	select {
	case <-l.t.ctx.Done():
	case <-kick:
	case <-timer.C:
	}
	l.mu.Lock()
	l.down = false
	l.mu.Unlock()
}

// backoff is how long to wait after a number of failed attempts before: least
// doubled with each, at most most, then by chance (in [0, 1)) down to half, so
// that nodes do not come in step.
func backoff(attempts int, least, most time.Duration, chance float64) time.Duration {
	d := most
	if attempts < 32 && least<<attempts > 0 {
		d = min(d, least<<attempts)
	}
	return d - time.Duration(chance*float64(d/2))
}

func (l *link) setErr(err error) {
	l.mu.Lock()
	l.open, l.err = err == nil, err
	l.mu.Unlock()
}

// tell logs a failure unless the last one was of the same kind.
func (l *link) tell(err error) {
	kind := kindOf(err)
	if kind != l.told {
		l.t.cfg.Log.Warn("no stream to peer", "node", l.t.cfg.Node, "peer", l.to, "lane", l.lane, "err", err)
	}
	l.told = kind
}

// kindOf gives the sentinel that a reason is logged once for.
func kindOf(err error) error {
	for _, kind := range []error{
		ErrForeignCluster, ErrWrongNode, ErrVersion, ErrOtherTransport, ErrStreamLimit, ErrReplaced, ErrMalformed, ErrNoAddress, ErrStreamLost,
	} {
		if errors.Is(err, kind) {
			return kind
		}
	}
	return ErrUnreachable
}
