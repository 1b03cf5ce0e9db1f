package loadgen

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// The hot path, per record:
//
//	sender                                     promise (one at a time per client)
//	  intended = schedule                        answered = clock
//	  slot = ring.pop                            ledger.settle(partition, seq, fate)
//	  sent = clock                               recorder: response, service, delay
//	  seq = ledger.next(partition)               ring.push(slot)
//	  stamp the header in place
//	  client.TryProduce(slot.record)
//
// Nothing here allocates; a record costs two clock reads, a checksum of 32 bytes and one uncontended lock.

const (
	lateNs     = int64(10 * time.Millisecond)   // a record sent later than this is late
	overrunMin = int64(1000 * time.Millisecond) // how long past the window a late sender may go on, or a tenth of the window
	refillMax  = 256                            // free slots a sender that found none waits for
)

const (
	wakeMin       = 100 * time.Microsecond
	wakeMax       = time.Millisecond
	wakePerRecord = 8 // ns for each record/s of a sender
)

// WakeEvery is the least time between two wake-ups of a sender that is asked for rate records/s, as a mean over its profile: 100 us up to
// 12,500 records/s, 1 ms from 125,000 on. What is due meanwhile goes out in one burst, late by up to as much: a delay like any other, and
// part of the response. A wake-up costs the same at every rate; where records are many, those of a sender and the small requests that follow
// each cost more than they show. Generators of other protocols that are compared with this one keep the same rule.
func WakeEvery(rate float64) time.Duration {
	return time.Duration(min(max(wakePerRecord*rate, float64(wakeMin)), float64(wakeMax)))
}

// StickyBytes of records without a key go to one partition before the next unless
// Config.Spread says otherwise, as with franz-go's own default partitioner.
const StickyBytes = 64 << 10

// window is a run's time frame, in ns on its clock, fixed before the first record. end is 0 when the run ends by count.
type window struct {
	start, warmEnd, end int64
	records             int64 // timed records, when the run ends by count
}

// grace is how long past the end a late sender may go on, in ns.
func (w *window) grace() int64 { return max(overrunMin, (w.end-w.warmEnd)/10) }

// flight is what the senders of one run share.
type flight struct {
	cfg        *Config
	clk        *clock
	run        uint64
	partitions int
	win        window
	budget     atomic.Int64 // timed records left, closed loop and saturating by count
	stopped    atomic.Bool
	silent     atomic.Bool // stopped because the cluster answered nothing any more
	errs       errorLog
}

// horizon is the least time at which a record without an acknowledgement could still have got one: the end of the window, or now
// where that is later or the run was interrupted.
func (f *flight) horizon(now int64) int64 {
	if f.stopped.Load() && !f.silent.Load() {
		return now
	}
	return max(now, f.win.end)
}

// producer is one sender with its client, its ledger and its slots.
type producer struct {
	f       *flight
	id      uint32
	cl      *kgo.Client
	discard func(*slot) // instead of cl: simulations and the null sink
	ctx     context.Context
	free    *ring
	slots   []slot
	ledger  *ledger
	draws   *draws
	rec     *recorder

	part   int32 // partition of records without a key
	pinned bool
	room   int   // bytes until the next partition
	woke   int64 // when the sender last slept
	every  int64 // ns between two wake-ups, at least

	sent atomic.Int64
	full atomic.Int64 // backpressure events: a record was due and no slot was free

	done chan struct{} // closed loop: closed by the last promise
	lag  lag           // owner: sender, read after it ended
	last int64         // time of the last acknowledgement; owner: promises
}

// lag is how a sender stood against its schedule.
type lag struct {
	late    int64 // records sent more than lateNs late
	lateFor int64 // ns spent in that state
	blocked int64 // ns spent waiting for a free slot
	final   int64 // ns behind at the last record sent
	unsent  int64 // scheduled inside the window, never sent
}

func newProducer(f *flight, id int, rec *recorder) *producer {
	p := &producer{
		f: f, id: uint32(id), rec: rec, ctx: context.Background(),
		slots:  newSlots(f.cfg.slots(), &f.cfg.Workload, f.cfg.Seed, uint64(id)),
		ledger: newLedger(f.partitions),
		draws:  newDraws(&f.cfg.Workload, f.cfg.Seed, uint64(id)),
		done:   make(chan struct{}),
		part:   int32(id % f.partitions),
		room:   f.cfg.Spread,
		every:  int64(WakeEvery(f.cfg.Rate / float64(f.cfg.Producers))),
		// Enough closed-loop clients cover the partitions by themselves; each then keeps to one, and so does its ledger.
		pinned: f.cfg.ClosedLoop >= f.partitions,
	}
	p.free = newRing(len(p.slots))
	for i := range p.slots {
		s := &p.slots[i]
		if f.cfg.ClosedLoop > 0 {
			s.promise = func(_ *kgo.Record, err error) { p.answerClosed(s, err) }
		} else {
			s.promise = func(_ *kgo.Record, err error) { p.answer(s, err) }
		}
		p.free.push(s)
	}
	return p
}

// emit stamps and sends a slot. Called by the sender, or in the closed loop by the promise before.
func (p *producer) emit(s *slot, intended, now int64) {
	size, key := p.draws.next()
	if len(p.slots) == 1 && size != 0 {
		s.size = int(size)
		s.body = bodyCRC(s.value[:size])
	}
	value := s.value[:s.size]
	var k []byte
	if key >= 0 {
		k = s.key[:]
		putKey(k, key)
		s.part = keyPartition(key, p.f.partitions)
	} else {
		s.part = p.nextPartition(s.size)
	}
	s.seq = p.ledger.next(s.part)
	s.intended, s.sent = intended, now
	h := header{run: p.f.run, producer: p.id, partition: uint32(s.part), seq: s.seq, intended: intended}
	h.stamp(value, k, s.body)
	p.sent.Add(1)
	if p.discard != nil {
		p.discard(s)
		return
	}
	s.rec = kgo.Record{Key: k, Value: value, Topic: p.f.cfg.Topic, Partition: s.part, Timestamp: p.f.clk.wallAt(now), Context: p.ctx}
	p.cl.TryProduce(p.ctx, &s.rec, s.promise)
}

// nextPartition spreads evenly: partitions in turn, a batch's worth of bytes each; in the closed loop a record each.
func (p *producer) nextPartition(size int) int32 {
	part := p.part
	if p.pinned {
		return part
	}
	p.room -= size
	if p.room <= 0 || p.f.cfg.ClosedLoop > 0 {
		p.room = p.f.cfg.Spread
		if p.part++; int(p.part) == p.f.partitions {
			p.part = 0
		}
	}
	return part
}

// answer is the promise of the open loop and of saturation.
func (p *producer) answer(s *slot, err error) {
	p.settle(s, err)
	p.free.push(s)
}

// answerClosed is the promise of a closed-loop client: it sends the next record at once, from the client's own goroutine, so that
// no wake-up stands between an answer and the next request. One record is in flight, so the client's promise queue is empty.
func (p *producer) answerClosed(s *slot, err error) {
	now := p.settle(s, err)
	if p.over(now) {
		p.free.push(s)
		close(p.done)
		return
	}
	p.emit(s, now, now)
}

// settle books an answer and returns its time.
func (p *producer) settle(s *slot, err error) int64 {
	now := p.f.clk.now()
	f := fateAcked
	if err != nil {
		f = fateOfError(err)
		p.f.errs.note(err)
	}
	p.ledger.settle(s.part, s.seq, f)
	p.rec.mu.Lock()
	e := p.rec.active
	if f != fateAcked && s.intended >= p.f.win.warmEnd {
		e.censor(p.f.horizon(now) - s.intended)
	}
	switch f {
	case fateAcked:
		p.last = now
		if p.f.cfg.Acks != AcksNone {
			p.ledger.place(s.part, s.seq, s.rec.Offset)
		}
		e.acked++
		e.bytes += int64(s.size + len(s.rec.Key))
		if s.intended >= p.f.win.warmEnd {
			e.timed++
			p.measure(e, s, now)
		}
	case fateFailed:
		e.failed++
	default:
		e.unknown++
	}
	p.rec.mu.Unlock()
	if f == fateAcked && p.f.cfg.Acked != nil {
		p.f.cfg.Acked(s.part, time.Duration(now-s.sent))
	}
	return now
}

// measure records the latencies of an acknowledged record; the recorder's series say which exist in this mode.
func (p *producer) measure(e *epoch, s *slot, now int64) {
	if e.hist[seriesResponse] != nil {
		e.record(seriesResponse, now-s.intended)
	}
	if e.hist[seriesDelay] != nil {
		e.record(seriesDelay, s.sent-s.intended)
	}
	if e.hist[seriesService] != nil {
		e.record(seriesService, now-s.sent)
	}
}

// measured are the series a producer records: without a schedule service equals response and delay does not exist; at acks 0
// there is no answer to measure.
func measured(cfg *Config) []series {
	var which []series
	if cfg.Acks != AcksNone {
		which = append(which, seriesResponse)
	}
	if cfg.Rate > 0 {
		which = append(which, seriesDelay)
		if cfg.Acks != AcksNone {
			which = append(which, seriesService)
		}
	}
	return which
}

// over tells a sender without a schedule whether its window has ended; by count it claims the next record.
func (p *producer) over(now int64) bool {
	f := p.f
	if f.stopped.Load() {
		return true
	}
	if f.win.end > 0 {
		return now >= f.win.end
	}
	return now >= f.win.warmEnd && f.budget.Add(-1) < 0
}

// startClosed sends a closed-loop client's first record; promises do the rest and close done.
func (p *producer) startClosed() {
	now := p.f.clk.now()
	s := p.free.pop()
	if p.over(now) {
		p.free.push(s)
		close(p.done)
		return
	}
	p.emit(s, now, now)
}

// saturate sends as fast as slots come free.
func (p *producer) saturate(ctx context.Context) {
	for {
		now := p.f.clk.now()
		if p.over(now) {
			return
		}
		s := p.free.pop()
		if s == nil {
			if s = p.waitSlot(ctx); s == nil {
				return
			}
			now = p.f.clk.now()
		}
		p.emit(s, now, now)
	}
}

// waitSlot counts a backpressure event and blocks until slots are free; nil when the context ended.
func (p *producer) waitSlot(ctx context.Context) *slot {
	p.full.Add(1)
	from := p.f.clk.now()
	err := p.free.wait(ctx, min(max(len(p.slots)/8, 1), refillMax))
	p.lag.blocked += p.f.clk.now() - from
	if err != nil {
		return nil
	}
	return p.free.pop()
}

// follow sends on schedule until its window or quota ends. A record that is late is sent at once and keeps its intended time.
func (p *producer) follow(ctx context.Context, a *arrivals, sl *sleeper) error {
	f := p.f
	quota := f.win.records
	if quota > 0 {
		quota = share(quota, int(p.id), f.cfg.Producers)
	}
	grace := f.win.grace()
	var due [256]int64
	var last int64
	for {
		a.fill(due[:])
		for i, at := range due {
			at += f.win.start
			if f.win.end > 0 && at >= f.win.end || f.win.records > 0 && quota <= 0 {
				return nil
			}
			now, err := p.awaitDue(at, sl)
			if err != nil {
				return err
			}
			if f.stopped.Load() {
				p.owe(a, due[i:], quota)
				return nil
			}
			if f.win.end > 0 && now > f.win.end+grace {
				p.owe(a, due[i:], quota)
				return nil
			}
			s := p.free.pop()
			if s == nil {
				if s = p.waitSlot(ctx); s == nil {
					p.owe(a, due[i:], quota)
					return nil
				}
				now = f.clk.now()
			}
			p.lag.note(now-at, now-last)
			last = now
			if at >= f.win.warmEnd {
				quota--
			}
			p.emit(s, at, now)
		}
	}
}

// owe books what is left of the schedule when a sender stops before its end: every record due before the horizon counts as unsent
// and, in the timed window, enters the response at the least it could have been. quota bounds it where the run ends by count.
func (p *producer) owe(a *arrivals, due []int64, quota int64) {
	f := p.f
	end := f.horizon(f.clk.now())
	until := end
	if f.win.end > 0 {
		until = min(end, f.win.end)
	}
	var next [256]int64
	for {
		p.rec.mu.Lock()
		for _, at := range due {
			at += f.win.start
			if at >= until || f.win.records > 0 && quota <= 0 {
				p.rec.mu.Unlock()
				return
			}
			p.lag.unsent++
			if at >= f.win.warmEnd {
				quota--
				p.rec.active.censor(end - at)
			}
		}
		p.rec.mu.Unlock()
		a.fill(next[:])
		due = next[:]
	}
}

// awaitDue sleeps until at is due and returns the time.
func (p *producer) awaitDue(at int64, sl *sleeper) (int64, error) {
	now := p.f.clk.now()
	if at <= now {
		return now, nil
	}
	for wake := max(at, p.woke+p.every); now < wake && !p.f.stopped.Load(); now = p.f.clk.now() {
		if err := sl.until(wake); err != nil {
			return now, err
		}
	}
	p.woke = now
	return now, nil
}

// note books one send that was behind by ns, after since the one before.
func (l *lag) note(behind, since int64) {
	l.final = behind
	if behind > lateNs {
		l.late++
		l.lateFor += min(since, behind)
	}
}

// share is part i of n of a whole.
func share(whole int64, i, n int) int64 {
	part := whole / int64(n)
	if int64(i) < whole%int64(n) {
		part++
	}
	return part
}

// finish waits for every answer, closes the client and joins its promises. After drain has ended, what is still open is cut off
// and becomes unknown.
func (p *producer) finish(drain context.Context) error {
	if p.cl == nil {
		return nil
	}
	flushErr := p.cl.Flush(drain)
	p.cl.Close()
	// Close fails what is left; its promises run on a goroutine of the client, so wait for the slots to come home.
	home, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	if err := p.free.wait(home, len(p.slots)); err != nil {
		return fmt.Errorf("producer %d: the client did not settle %d records after it was closed", p.id, len(p.slots)-p.free.len())
	}
	if flushErr != nil {
		p.f.errs.note(fmt.Errorf("drain: %w", flushErr))
	}
	return nil
}
