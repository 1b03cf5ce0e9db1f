package natspeer

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// The hot path, per message:
//
//	sender                                    answer (one at a time per connection)
//	  intended = schedule                       answered = clock
//	  slot = pool.pop                           ledger.put(number, sequence)
//	  sent = clock                              recorder: response, service, delay
//	  stamp the payload in place                pool.push(slot)
//	  js.PublishMsgAsync(slot.msg)
//
// The library keeps the message until its answer, so a slot is not touched in
// between. Answers come through its ack handler, on the goroutine that read
// them: waiting on its futures would put a wake-up into every response. For the
// same reason a closed-loop client sends its next message from the answer.

const (
	refillMax = 256                          // free slots a publisher that found none waits for
	lateNs    = int64(10 * time.Millisecond) // a message sent later than this is late
)

// window is a run's time frame, in ns on its clock, fixed before the first message.
type window struct{ start, warmEnd, end int64 }

// grace is how long past its end a late sender may go on, in ns.
func (w *window) grace() int64 { return max(int64(time.Second), (w.end-w.warmEnd)/10) }

// flight is what the publishers of one run share.
type flight struct {
	cfg      *Config
	clk      clock
	win      window
	subjects []string    // by stream
	stopped  atomic.Bool // senders end; set with cause, or by the end of the context
	cause    atomic.Pointer[error]
	errs     errorLog
}

// fail stops the load for a reason of its own.
func (f *flight) fail(err error) {
	f.cause.CompareAndSwap(nil, &err)
	f.stopped.Store(true)
}

// slot is one message in the making. Between pop and push it belongs to the
// message in flight.
type slot struct {
	msg      nats.Msg
	body     uint32 // checksum of the body, which never changes
	stream   int
	number   uint64
	intended int64
	sent     int64
	// inFlight is set by the sender after the fields above and cleared by
	// whoever settles the message: its answer, or the end of the run.
	inFlight atomic.Bool
}

// publisher is one client: a connection, its slots and its ledger.
type publisher struct {
	f       *flight
	id      int
	streams []int // it sends to, in turn
	conn    *nats.Conn
	js      jetstream.JetStream
	slots   []slot
	bySlot  map[*nats.Msg]*slot // read-only
	pool    *pool
	ledger  ledger // guarded by rec.mu
	rec     *recorder

	next uint64 // number of the next message; owner: sender, in the closed loop the answers
	sent atomic.Int64
	full atomic.Int64  // times a message was due and no slot was free
	done chan struct{} // closed loop: closed by the last answer
	lag  lag           // owner: sender, read after it ended
}

// lag is how a sender stood against its schedule, or against its slots.
type lag struct {
	late    int64 // messages sent more than lateNs late
	lateFor int64 // ns spent in that state
	blocked int64 // ns spent waiting for a free slot
	unsent  int64 // scheduled, never sent
}

func newPublisher(f *flight, id int, streams []int, rec *recorder) *publisher {
	p := &publisher{f: f, id: id, streams: streams, rec: rec, slots: make([]slot, f.cfg.Pending),
		bySlot: make(map[*nats.Msg]*slot, f.cfg.Pending), done: make(chan struct{})}
	random := newBodies(f.cfg.Seed, uint64(id))
	slab := make([]byte, f.cfg.Pending*f.cfg.SizeBytes)
	_, _ = random.Read(slab) // never fails
	for i := range p.slots {
		s := &p.slots[i]
		s.msg.Data, slab = slab[:f.cfg.SizeBytes:f.cfg.SizeBytes], slab[f.cfg.SizeBytes:]
		s.body = bodyCRC(s.msg.Data)
		p.bySlot[&s.msg] = s
	}
	p.pool = newPool(p.slots)
	return p
}

// attach gives the publisher its connection. The library's limit is above ours,
// so that it never makes a message wait or fail.
func (p *publisher) attach(conn *nats.Conn) (err error) {
	p.conn = conn
	p.js, err = jetstream.New(conn,
		jetstream.WithPublishAsyncMaxPending(2*len(p.slots)),
		jetstream.WithPublishAsyncAckHandler(func(_ jetstream.JetStream, m *nats.Msg, ack *jetstream.PubAck) { p.answer(m, ack, nil) }),
		jetstream.WithPublishAsyncErrHandler(func(_ jetstream.JetStream, m *nats.Msg, err error) { p.answer(m, nil, err) }))
	return err
}

// emit stamps and sends a slot. A message the library refuses is settled at once.
func (p *publisher) emit(s *slot, intended, now int64) bool {
	s.number = p.next
	p.next++
	s.stream = p.streams[s.number%uint64(len(p.streams))]
	s.msg.Subject = p.f.subjects[s.stream]
	s.intended, s.sent = intended, now
	st := stamp{seed: p.f.cfg.Seed, publisher: uint32(p.id), stream: uint32(s.stream), number: s.number, body: s.body}
	st.put(s.msg.Data)
	p.sent.Add(1)
	s.inFlight.Store(true)
	if _, err := p.js.PublishMsgAsync(&s.msg); err != nil {
		p.settle(s, nil, err, p.f.clk.now())
		p.f.fail(fmt.Errorf("publisher %d: %w", p.id, err)) // a broken connection refuses everything that follows
		p.pool.push(s)
		return false
	}
	return true
}

// answer is called by the library for every message that it took.
func (p *publisher) answer(m *nats.Msg, ack *jetstream.PubAck, err error) {
	s, now := p.bySlot[m], p.f.clk.now()
	if s == nil {
		panic("BUG: an answer to a message that is nobody's")
	}
	if !p.settle(s, ack, err, now) {
		return
	}
	if p.f.cfg.ClosedLoop == 0 {
		p.pool.push(s)
		return
	}
	if p.over(now) {
		p.pool.push(s)
		close(p.done)
	} else if !p.emit(s, now, now) {
		close(p.done)
	}
}

// settle books the fate of a message, once; false if it has one already.
func (p *publisher) settle(s *slot, ack *jetstream.PubAck, err error, now int64) bool {
	if !s.inFlight.CompareAndSwap(true, false) {
		return false
	}
	if err != nil {
		p.f.errs.note(err)
	}
	win := &p.f.win
	p.rec.mu.Lock()
	defer p.rec.mu.Unlock()
	e := p.rec.active
	if err != nil {
		if unanswered(err) {
			e.unknown++
		} else {
			e.failed++
		}
		if s.intended >= win.warmEnd {
			e.censored++
			record(e.response, max(now, win.end)-s.intended)
		}
		return true
	}
	p.ledger.put(s.number, uint32(min(ack.Sequence, sequenceMax)))
	p.rec.last = max(p.rec.last, now)
	e.acked++
	if now >= win.warmEnd {
		e.inWindow++
	}
	if s.intended >= win.warmEnd {
		e.timed++
		record(e.response, now-s.intended)
		if e.service != nil {
			record(e.service, now-s.sent)
			record(e.delay, s.sent-s.intended)
		}
	}
	return true
}

// abandon settles what was never answered. Called after the sender has ended.
func (p *publisher) abandon() {
	for i := range p.slots {
		p.settle(&p.slots[i], nil, errNoAnswer, p.f.clk.now())
	}
}

// over tells a sender without a schedule whether its window has ended.
func (p *publisher) over(now int64) bool { return p.f.stopped.Load() || now >= p.f.win.end }

// closed is a closed-loop client: it sends the first message and waits for the
// chain of answers to end.
func (p *publisher) closed(ctx context.Context) {
	now := p.f.clk.now()
	if !p.emit(p.pool.pop(), now, now) {
		return
	}
	select {
	case <-p.done:
	case <-ctx.Done():
	}
}

// saturate sends as fast as slots come free.
func (p *publisher) saturate(ctx context.Context) {
	for {
		now := p.f.clk.now()
		if p.over(now) {
			return
		}
		s := p.pool.pop()
		if s == nil {
			if s = p.waitSlot(ctx); s == nil {
				return
			}
			now = p.f.clk.now()
		}
		if !p.emit(s, now, now) {
			return
		}
	}
}

// waitSlot blocks until slots are free; nil when the context ended.
func (p *publisher) waitSlot(ctx context.Context) *slot {
	p.full.Add(1)
	from := p.f.clk.now()
	err := p.pool.wait(ctx, min(max(len(p.slots)/8, 1), refillMax))
	p.lag.blocked += p.f.clk.now() - from
	if err != nil {
		return nil
	}
	return p.pool.pop()
}
