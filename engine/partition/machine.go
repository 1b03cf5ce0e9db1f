package partition

import (
	"errors"
	"fmt"
	"maps"

	"dyno/engine/ids"
	"dyno/engine/replica"
)

// Stamp implements replica.StateMachine for batches (p.Waiter is the *Append,
// at every Wait) and commands (any Waiter). A batch gets the next offset and
// the term as leader epoch, written into p.Data. A duplicate of an applied
// batch gives replica.ErrAgain, one of a stamped batch is answered together with
// it and gives replica.ErrParked. Other errors: replica.ErrNotLeader,
// replica.ErrOverloaded, ErrProducerFenced, ErrOutOfOrderSequence,
// ErrInvalidBatch, ErrOffsetOutOfRange. It allocates nothing on success beyond
// the amortised growth of its queue.
func (p *Partition) Stamp(term ids.Term, _ int64, pr *replica.Proposal) error {
	if !p.leading || term != p.term {
		return replica.ErrNotLeader
	}
	if len(pr.Data) == 0 {
		return fmt.Errorf("%w: empty", ErrInvalidBatch)
	}
	if isCommand(pr.Data) {
		return p.stampCommand(pr)
	}
	a, ok := pr.Waiter.(*Append)
	if !ok || len(pr.Data) < headerBytes {
		return fmt.Errorf("%w: %d bytes from %T", ErrInvalidBatch, len(pr.Data), pr.Waiter)
	}
	return p.stampBatch(a, pr.Data)
}

func (p *Partition) stampBatch(a *Append, data []byte) error {
	in := readInfo(data)
	if in.LastOffsetDelta < 0 {
		return fmt.Errorf("%w: last offset delta %d", ErrInvalidBatch, in.LastOffsetDelta)
	}
	if in.ProducerID >= 0 {
		verdict, original, memo, err := sequence(&in, &p.pending, &p.producers)
		switch {
		case errors.Is(err, ErrOutOfOrderSequence):
			return replica.Verdict(err)
		case err != nil:
			return err
		case verdict == again:
			return p.answerAgain(a, memo)
		case verdict == pendant && a.Copies > 1:
			return fmt.Errorf("%w: the original waits for more copies than a majority", replica.ErrOverloaded)
		case verdict == pendant:
			return p.park(a, original)
		}
	}
	if forced().has(mutAllocate) {
		waste()
	}
	if forced().has(mutLeak) {
		leak(a)
	}
	stamp(data, p.next, p.term.Epoch())
	a.Base, a.LogStart = p.next, p.start
	p.pending.push(stamped{base: p.next, producer: in.ProducerID, firstSeq: in.BaseSequence,
		delta: in.LastOffsetDelta, epoch: in.ProducerEpoch})
	p.setNext(p.next + ids.Offset(in.LastOffsetDelta) + 1)
	return nil
}

// answerAgain has a duplicate of an applied batch answered with the original's
// place. Source: Kafka's UnifiedLog.append, the duplicate branch.
func (p *Partition) answerAgain(a *Append, m *batchMemo) error {
	a.Base, a.LogStart = m.base, p.start
	if a.AppendTimeMS >= 0 {
		a.AppendTimeMS = m.maxMS
	}
	p.count(func(s *Stats) { s.Duplicates++ })
	return replica.ErrAgain
}

func (p *Partition) park(a *Append, original *stamped) error {
	if p.pending.parked >= p.parkedMax {
		p.parkedFull.Add(1)
		return fmt.Errorf("%w: %d duplicates wait for their original", replica.ErrOverloaded, p.pending.parked)
	}
	p.count(func(s *Stats) { s.Parked++; s.Duplicates++ })
	a.LogStart = p.start
	p.pending.park(original, a)
	return replica.ErrParked
}

// count changes the counters; for rare events only.
func (p *Partition) count(f func(*Stats)) {
	p.applying.Lock()
	f(&p.stats)
	p.applying.Unlock()
}

func (p *Partition) stampCommand(pr *replica.Proposal) error {
	c, err := parseCommand(pr.Data)
	if err != nil {
		return err
	}
	if hw := p.index.end; c.kind == kindLogStart && ids.Offset(c.value) > hw {
		return fmt.Errorf("%w: log start %d, high watermark %d", ErrOffsetOutOfRange, c.value, hw)
	}
	p.pending.push(stamped{base: p.next, producer: ids.NoProducer, delta: -1})
	return nil
}

// Unstamp implements replica.StateMachine. Duplicates parked behind a proposal
// that is taken back are answered with replica.ErrDropped.
func (p *Partition) Unstamp(n int) {
	for ; n > 0; n-- {
		s := p.pending.popBack()
		p.setNext(s.base)
		p.pending.answer(&s, replica.ErrDropped)
	}
}

// Lead implements replica.StateMachine.
func (p *Partition) Lead(term ids.Term) {
	p.rollback()
	p.leading, p.term = true, term
}

// Follow implements replica.StateMachine. Watchers are woken too: what waits
// for records here waits at the wrong node now.
func (p *Partition) Follow() {
	p.leading = false
	p.rollback()
	p.watch.wake()
}

// rollback drops all that is stamped and not applied.
func (p *Partition) rollback() {
	if forced().has(mutKeepProducers) {
		kept := maps.Clone(p.pending.last)
		defer func() { p.pending.last = kept }()
	}
	for p.pending.len() > 0 {
		s := p.pending.popFront()
		p.pending.answer(&s, replica.ErrNotLeader)
	}
	p.setNext(p.index.end)
}

// Restore implements replica.StateMachine: the partition begins anew where Cold
// ends by now, with state, which is what State of another replica gave. The high
// watermark never goes back. Errors: ErrCheckpoint, ErrDamaged.
func (p *Partition) Restore(state []byte) error {
	if forced().has(mutEmptyRestore) {
		state = nil
	}
	fresh, err := New(Config{Cold: p.cold, State: state, ProducersMax: p.producers.max, ProducerExpiryMS: p.producers.expiryMS})
	if err != nil {
		return err
	}
	p.applying.Lock()
	defer p.applying.Unlock()
	p.mu.Lock()
	defer p.mu.Unlock()
	if fresh.applied < p.applied || fresh.index.end < p.index.end {
		return fmt.Errorf("%w: a snapshot at index %d, offset %d behind %d, %d", ErrDamaged, fresh.applied, fresh.index.end, p.applied, p.index.end)
	}
	p.producers, p.index, p.epochs = fresh.producers, fresh.index, fresh.epochs
	p.applied, p.seen, p.start, p.moved = fresh.applied, fresh.seen, fresh.start, fresh.moved
	p.setNext(p.index.end)
	p.watch.wake()
	return nil
}

// Applied implements replica.StateMachine. Worker only.
func (p *Partition) Applied() ids.LogIndex { return p.applied }

// applyChunk bounds how many entries are published under one hold of mu.
const applyChunk = 256

// Apply implements replica.StateMachine: it moves the high watermark over the
// batches in entries, keeps the producer table and epochs, executes commands
// and wakes watchers once. Errors: ErrDamaged.
//
//	for each chunk of entries:
//	    check order, offsets and frame; note producers; release pending items
//	    lock mu: add to the index, epochs, log start; high watermark = end
//	answer parked duplicates; wake watchers
func (p *Partition) Apply(entries []replica.Entry) error {
	p.applying.Lock()
	before := p.index.end
	var err error
	for len(entries) > 0 && err == nil {
		n := min(len(entries), applyChunk)
		err = p.applySome(entries[:n])
		entries = entries[n:]
	}
	advanced := p.index.end > before
	p.applying.Unlock()
	if !p.leading {
		p.setNext(p.index.end)
	}
	for i := range p.freed {
		p.pending.answer(&p.freed[i], nil)
		p.freed[i] = stamped{}
	}
	p.freed = p.freed[:0]
	if advanced {
		p.watch.wake()
	}
	return err
}

// applySome needs applying. Only the worker changes what mu guards here, so it
// may read index.end before it takes mu.
func (p *Partition) applySome(entries []replica.Entry) error {
	end := p.index.end
	for i := range entries {
		e := &entries[i]
		if e.Index != p.applied+ids.LogIndex(i)+1 {
			return fmt.Errorf("%w: entry %d after %d", ErrDamaged, e.Index, p.applied+ids.LogIndex(i))
		}
		var err error
		if end, err = p.check(e, end); err != nil {
			return err
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for i := range entries {
		if err := p.publish(&entries[i]); err != nil {
			return err
		}
	}
	p.applied += ids.LogIndex(len(entries))
	return nil
}

// check takes one entry into what mu does not guard; end is the offset it must
// begin at, and the result the offset after it.
func (p *Partition) check(e *replica.Entry, end ids.Offset) (ids.Offset, error) {
	if len(e.Data) == 0 {
		return end, nil
	}
	if p.leading && e.Term == p.term {
		if err := p.release(e, end); err != nil {
			return end, err
		}
	}
	if isCommand(e.Data) {
		c, err := parseCommand(e.Data)
		if err != nil {
			return end, fmt.Errorf("%w: entry %d: %w", ErrDamaged, e.Index, err)
		}
		if c.kind == kindClock && e.Index > p.seen {
			p.producers.tick(c.value)
		}
		return end, nil
	}
	if len(e.Data) < headerBytes || baseOffset(e.Data) != end {
		return end, fmt.Errorf("%w: entry %d, %d bytes, does not continue at offset %d", ErrDamaged, e.Index, len(e.Data), end)
	}
	in := readInfo(e.Data)
	if in.LastOffsetDelta < 0 {
		return end, fmt.Errorf("%w: entry %d has last offset delta %d", ErrDamaged, e.Index, in.LastOffsetDelta)
	}
	if in.ProducerID >= 0 && e.Index > p.seen {
		p.producers.apply(&in, end)
	}
	p.stats.Batches++
	p.stats.Bytes += uint64(in.Bytes)
	return end + ids.Offset(in.LastOffsetDelta) + 1, nil
}

// release takes the stamped item of an entry of our own term out of pending.
func (p *Partition) release(e *replica.Entry, end ids.Offset) error {
	if p.pending.len() == 0 {
		return fmt.Errorf("%w: entry %d of term %d was never stamped here", ErrDamaged, e.Index, e.Term)
	}
	s := p.pending.popFront()
	if s.base != end || (s.delta < 0) != isCommand(e.Data) {
		return fmt.Errorf("%w: entry %d was stamped at offset %d, comes at %d", ErrDamaged, e.Index, s.base, end)
	}
	if s.parked != nil {
		p.freed = append(p.freed, s)
	}
	return nil
}

// publish takes one checked entry into what readers see; needs mu.
func (p *Partition) publish(e *replica.Entry) error {
	if epoch := e.Term.Epoch(); epoch > p.epochs.latest() {
		p.epochs.assign(epoch, p.index.end)
	}
	if len(e.Data) == 0 {
		return nil
	}
	if isCommand(e.Data) {
		c, err := parseCommand(e.Data)
		if err == nil && c.kind == kindLogStart && e.Index > p.seen {
			p.setStart(min(ids.Offset(c.value), p.index.end))
		}
		return err
	}
	in := readInfo(e.Data)
	base := p.index.end
	p.index.add(e.Index, base, base+ids.Offset(in.LastOffsetDelta)+1, in.Bytes, in.MaxTimestampMS)
	return nil
}

// setStart moves the log start up; needs mu.
func (p *Partition) setStart(start ids.Offset) {
	if start > p.start {
		p.start = start
		p.epochs.cut(start)
		p.index.cut(start)
	}
}
