package partition

import (
	"fmt"
	"math"

	"dyno/engine/ids"
	"dyno/engine/replica"
)

// stamped is one proposal that got its place in the log and is not applied.
type stamped struct {
	base     ids.Offset // the next offset before it
	producer ids.ProducerID
	prev     uint64 // number of the producer's stamped batch before this one; gone when below head
	parked   *Append
	firstSeq int32
	delta    int32 // last offset delta; -1 for a command, which takes no offsets
	epoch    int16
}

// pending is the speculative state of a leader: what was stamped and not yet
// applied, in log order, on top of the applied state. Each item is numbered
// for ever; [head, tail) are live. All that Stamp must know of a producer
// beyond the applied table is its last live item, and items of one producer
// are chained through prev. So rollback is exact by construction: to drop the
// newest item restores the state before it, to drop all restores the applied
// state, and nothing is copied or undone.
//
// Its length is bounded by the replica's limit on uncommitted bytes.
// Owner: the group's worker.
type pending struct {
	ring       []stamped // len is a power of two
	head, tail uint64    // numbers start at 1, so that prev 0 means none
	last       map[ids.ProducerID]uint64
	parked     int // duplicates kept
}

func newPending() pending {
	return pending{head: 1, tail: 1, last: map[ids.ProducerID]uint64{}}
}

func (q *pending) len() int { return int(q.tail - q.head) }

func (q *pending) at(n uint64) *stamped { return &q.ring[n&uint64(len(q.ring)-1)] }

// newest is the last live item of a producer, nil if there is none.
func (q *pending) newest(id ids.ProducerID) *stamped {
	if n, ok := q.last[id]; ok {
		return q.at(n)
	}
	return nil
}

// push adds an item behind all others.
func (q *pending) push(s stamped) {
	if q.len() == len(q.ring) {
		q.grow()
	}
	if s.producer >= 0 {
		s.prev = q.last[s.producer]
		q.last[s.producer] = q.tail
	}
	*q.at(q.tail) = s
	q.tail++
}

func (q *pending) grow() {
	ring := make([]stamped, max(16, 2*len(q.ring)))
	for n := q.head; n < q.tail; n++ {
		ring[n&uint64(len(ring)-1)] = *q.at(n)
	}
	q.ring = ring
}

// popFront takes the oldest item out: it was applied.
func (q *pending) popFront() stamped {
	s := *q.at(q.head)
	if s.producer >= 0 && q.last[s.producer] == q.head {
		delete(q.last, s.producer)
	}
	q.at(q.head).parked = nil
	q.head++
	return s
}

// popBack takes the newest item out: the log refused it.
func (q *pending) popBack() stamped {
	if q.len() == 0 {
		panic("BUG: Unstamp of more proposals than were stamped")
	}
	q.tail--
	s := *q.at(q.tail)
	if s.producer >= 0 {
		if s.prev >= q.head {
			q.last[s.producer] = s.prev
		} else {
			delete(q.last, s.producer)
		}
	}
	q.at(q.tail).parked = nil
	return s
}

// duplicate finds the live item of a producer with exactly this epoch and
// range of sequences.
func (q *pending) duplicate(in *BatchInfo) *stamped {
	for n := q.last[in.ProducerID]; n >= q.head; n = q.at(n).prev {
		s := q.at(n)
		if s.epoch == in.ProducerEpoch && s.firstSeq == in.BaseSequence && s.delta == in.LastOffsetDelta {
			return s
		}
	}
	return nil
}

// park keeps a behind s, to be answered with it.
func (q *pending) park(s *stamped, a *Append) {
	a.next, s.parked = s.parked, a
	q.parked++
}

// answer ends the duplicates parked behind s.
func (q *pending) answer(s *stamped, err error) {
	for a := s.parked; a != nil; {
		next := a.next
		a.next = nil
		q.parked--
		a.Base = s.base
		a.Proposed(&a.Proposal, err)
		a = next
	}
	s.parked = nil
}

// verdict is what the idempotence check says of a batch.
type verdict uint8

const (
	fresh   verdict = iota // append it
	again                  // an applied batch came again
	pendant                // a stamped batch came again
)

// sequence decides on a batch of an idempotent producer, against the stamped
// batches and, below them, the applied ones. Exactly one of the results beside
// the verdict is set for a duplicate. A batch in sequence cannot be one that is
// remembered: six batches would have to span all 2^31 sequences.
//
// Errors: ErrProducerFenced, ErrOutOfOrderSequence. Source: Kafka 4.0
// ProducerAppendInfo.checkProducerEpoch and checkSequence: a producer without
// state may begin at any sequence, a new epoch of a known one only at 0.
func sequence(in *BatchInfo, q *pending, t *producers) (verdict, *stamped, *batchMemo, error) {
	spec, done := q.newest(in.ProducerID), t.find(in.ProducerID)
	var epoch int16
	var lastSeq int32
	switch {
	case spec != nil:
		epoch, lastSeq = spec.epoch, lastSequence(spec.firstSeq, spec.delta)
	case done != nil:
		epoch, lastSeq = done.epoch, lastSequence(done.last().firstSeq, done.last().delta)
	default:
		return fresh, nil, nil, nil
	}
	switch {
	case in.ProducerEpoch < epoch:
		return 0, nil, nil, fmt.Errorf("%w: producer %d has epoch %d, the batch %d",
			ErrProducerFenced, in.ProducerID, epoch, in.ProducerEpoch)
	case in.ProducerEpoch > epoch:
		if in.BaseSequence == 0 {
			return fresh, nil, nil, nil
		}
		return 0, nil, nil, fmt.Errorf("%w: producer %d begins epoch %d at %d",
			ErrOutOfOrderSequence, in.ProducerID, in.ProducerEpoch, in.BaseSequence)
	case follows(lastSeq, in.BaseSequence):
		return fresh, nil, nil, nil
	}
	if s := q.duplicate(in); s != nil {
		return pendant, s, nil, nil
	}
	if done != nil && done.epoch == epoch {
		if m := done.duplicate(in.BaseSequence, in.LastOffsetDelta); m != nil {
			return again, nil, m, nil
		}
	}
	return 0, nil, nil, fmt.Errorf("%w: producer %d sent %d after %d",
		ErrOutOfOrderSequence, in.ProducerID, in.BaseSequence, lastSeq)
}

// follows says whether next comes right after last, with the wrap to 0.
func follows(last, next int32) bool {
	return int64(next) == int64(last)+1 || next == 0 && last == math.MaxInt32
}

var _ replica.Waiter = (*Append)(nil)
