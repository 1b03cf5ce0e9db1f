package variants

import (
	"context"
	"sync"
	"sync/atomic"

	"dyno/engine/partition"
	"dyno/engine/replica"
)

// Group is where a partition's proposals go; see multiraft.Group.
type Group interface {
	Propose(p *replica.Proposal) error
	ProposeAll(list []*replica.Proposal)
}

// Produce is the arm of one node's produce path: its lock, its gathering and its
// nested commits. Its methods may be called by any goroutine.
type Produce struct {
	cfg    Config
	lock   lock
	commit func(context.Context) error

	requests atomic.Uint64
	nested   atomic.Uint64

	mu     sync.Mutex // guards seats and closed
	seats  []*Seat    // those that gather
	closed bool
	work   sync.WaitGroup // nested commits, one goroutine each: as many as requests are under way
	ctx    context.Context
	cancel context.CancelFunc // of commits that are still under way at Close
}

// New makes the arm that cfg asks for; nil where it changes nothing of the path from
// the front to a group. commit commits one entry through the metadata group and
// returns when that is done, or ctx has ended. Close ends it.
func New(cfg Config, commit func(context.Context) error) *Produce {
	gathers := cfg.Batch == BatchTimer || cfg.Batch == BatchWindow
	if cfg.Lock == LockNone && !cfg.Nested && !gathers {
		return nil
	}
	p := &Produce{cfg: cfg, lock: newLock(cfg.Lock), commit: commit}
	p.ctx, p.cancel = context.WithCancel(context.Background())
	return p
}

// Close hands over what is gathered, gives nested commits up and waits for every
// goroutine. Idempotent.
func (p *Produce) Close() error {
	if p == nil {
		return nil
	}
	p.mu.Lock()
	was, seats := p.closed, p.seats
	p.closed = true
	p.mu.Unlock()
	if was {
		return nil
	}
	for _, s := range seats {
		s.gather.close()
	}
	p.cancel()
	p.work.Wait()
	p.lock.close()
	return nil
}

// Seat is where one partition's batches enter the arm.
type Seat struct {
	p      *Produce
	group  Group
	gather *gather    // nil: each request is handed over at once
	mu     sync.Mutex // of LockPartition: held while a batch is under way
}

// Seat makes the seat of one partition; nil of a nil Produce.
func (p *Produce) Seat(group Group) *Seat {
	if p == nil {
		return nil
	}
	s := &Seat{p: p, group: group, gather: newGather(p.cfg.Batch, group)}
	if s.gather != nil {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.seats = append(p.seats, s)
	}
	return s
}

// Append hands a batch to its group as Group.Propose does, with what the arm puts in
// front of that. It may block: for as long as other requests hold the lock.
func (s *Seat) Append(a *partition.Append) error {
	s.p.requests.Add(1)
	s.p.lock.enter(s)
	own := a.Reply
	a.Reply = &answer{seat: s, own: own}
	var err error
	if s.gather != nil {
		err = s.gather.add(a.Bind())
	} else {
		err = s.group.Propose(a.Bind())
	}
	s.p.lock.handed(s)
	if err != nil {
		a.Reply = own
		s.p.lock.answered(s)
	}
	return err
}

// answer stands between a batch's outcome and who waits for it.
type answer struct {
	seat *Seat
	own  partition.Reply
}

// Appended implements partition.Reply.
func (r *answer) Appended(a *partition.Append) {
	p := r.seat.p
	if !p.cfg.Nested || a.Err != nil || !p.begin() {
		r.tell(a)
		return
	}
	go func() {
		defer p.work.Done()
		if err := p.commit(p.ctx); err != nil {
			a.Err = err
		} else {
			p.nested.Add(1)
		}
		r.tell(a)
	}()
}

// begin enters a goroutine into work, unless Close waits for it already.
func (p *Produce) begin() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return false
	}
	p.work.Add(1)
	return true
}

func (r *answer) tell(a *partition.Append) {
	a.Reply = r.own
	r.seat.p.lock.answered(r.seat)
	if r.own != nil {
		r.own.Appended(a)
	}
}

// Stats count what an arm did.
type Stats struct {
	Requests uint64 // batches that went through it
	Nested   uint64 // commits in the metadata group before an answer
	Writes   uint64 // the lock was taken for writing
	ByTime   uint64 // gathered batches that the timer ended
	ByNumber uint64 // gathered batches that were full
}

// Stats sums up the counters; zeros of a nil Produce.
func (p *Produce) Stats() Stats {
	if p == nil {
		return Stats{}
	}
	s := Stats{Requests: p.requests.Load(), Nested: p.nested.Load()}
	if l, ok := p.lock.(*writtenLock); ok {
		s.Writes = l.writes.Load()
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, seat := range p.seats {
		byTime, byNumber := seat.gather.counts()
		s.ByTime, s.ByNumber = s.ByTime+byTime, s.ByNumber+byNumber
	}
	return s
}
