package replica

import (
	"encoding/binary"
	"time"

	"dyno/engine/ids"
)

// ReadWaiter hears the outcome of ReadIndex once, on the owner's goroutine; it
// must not block. With a nil error everything that was acknowledged anywhere
// before ReadIndex was called is at or below index, and this replica has
// applied index.
type ReadWaiter interface {
	ReadReady(index ids.LogIndex, err error)
}

// reads are the ReadIndex calls of one replica. All that wait when an attempt
// starts share it. An attempt whose answer was lost (a message dropped, a
// leader gone) is made again with another context.
//
// Source: Raft thesis section 6.4.
type reads struct {
	replica, seed, seq uint64

	waiting  []ReadWaiter
	attempts []readAttempt
	behind   []readBehind // confirmed, not yet applied here
}

type readAttempt struct {
	seq     uint64
	age     int // ticks
	waiters []ReadWaiter

	// A round of a leader, and what a lease needs to know of it; see lease.go.
	leased bool
	began  time.Duration
	epoch  uint64
}

type readBehind struct {
	index   ids.LogIndex
	waiters []ReadWaiter
}

// ReadIndex asks for an index that a linearizable read must have seen. On a
// follower the leader is asked. It does not time out by itself: CancelRead.
// Fails with ErrOverloaded beyond ReadsMax, and with the reason of a stop.
func (r *Replica) ReadIndex(w ReadWaiter) {
	switch {
	case r.err != nil:
		w.ReadReady(0, r.err)
	case r.reads.len() >= r.cfg.ReadsMax:
		r.stats.ReadsFull++
		w.ReadReady(0, ErrOverloaded)
	default:
		r.Wake()
		r.reads.waiting = append(r.reads.waiting, w)
	}
}

// CancelRead forgets w; it is not told anything any more.
func (r *Replica) CancelRead(w ReadWaiter) {
	r.reads.waiting = without(r.reads.waiting, w)
	for i := range r.reads.attempts {
		r.reads.attempts[i].waiters = without(r.reads.attempts[i].waiters, w)
	}
	for i := range r.reads.behind {
		r.reads.behind[i].waiters = without(r.reads.behind[i].waiters, w)
	}
}

func without(list []ReadWaiter, w ReadWaiter) []ReadWaiter {
	for i := range list {
		if list[i] == w {
			return append(list[:i:i], list[i+1:]...)
		}
	}
	return list
}

// askReads starts an attempt for all that wait, if there is somebody to ask. A
// leader asks itself only after Lead: before it, its commit index may be behind
// what its predecessor acknowledged.
func (r *Replica) askReads() {
	if len(r.reads.waiting) == 0 || r.role.Leader == 0 || r.role.State == Leader && !r.leading() {
		return
	}
	if r.readAlone() {
		return
	}
	waiters := r.reads.waiting
	r.reads.waiting = nil
	r.ask(waiters)
}

// ask starts an attempt for waiters.
func (r *Replica) ask(waiters []ReadWaiter) {
	rd := &r.reads
	if rd.seq++; forced().has(mutReuseRead) {
		rd.seq = 1
	}
	a := readAttempt{seq: rd.seq, waiters: waiters, epoch: r.lease.epoch}
	if r.leases() && r.role.State == Leader {
		a.leased, a.began = true, r.cfg.Clock() // before anybody can hear of it
	}
	rd.attempts = append(rd.attempts, a)
	r.stats.Reads++
	context := rd.context(rd.seq)
	r.fail(r.guard(func() error { r.node.ReadIndex(context); return nil }))
}

// early says that this leader has no other voter to ask and may not know yet what its
// predecessor acknowledged: Raft would answer its learners from a commit index that is
// too old.
func (r *Replica) early() bool {
	r.observe()
	return r.sole && !r.leading()
}

// context is unique among all replicas of the group and all their lives.
func (rd *reads) context(seq uint64) []byte {
	b := make([]byte, 0, 24)
	b = binary.BigEndian.AppendUint64(b, rd.replica)
	b = binary.BigEndian.AppendUint64(b, rd.seed)
	return binary.BigEndian.AppendUint64(b, seq)
}

func (rd *reads) len() int {
	n := len(rd.waiting)
	for i := range rd.attempts {
		n += len(rd.attempts[i].waiters)
	}
	for i := range rd.behind {
		n += len(rd.behind[i].waiters)
	}
	return n
}

// again takes every attempt back: its leader is gone.
func (rd *reads) again() {
	for i := range rd.attempts {
		rd.waiting = append(rd.waiting, rd.attempts[i].waiters...)
	}
	rd.attempts = nil
}

// tick takes back attempts that were not answered within patience ticks.
func (rd *reads) tick(patience int) {
	keep := rd.attempts[:0]
	for _, a := range rd.attempts {
		if a.age++; a.age < patience {
			keep = append(keep, a)
		} else {
			rd.waiting = append(rd.waiting, a.waiters...)
		}
	}
	clear(rd.attempts[len(keep):])
	rd.attempts = keep
}

// confirmed says a quorum knew the leader as such after the attempt with
// context began, when its commit index was index. It gives that attempt.
func (rd *reads) confirmed(context []byte, index ids.LogIndex) (a readAttempt) {
	if len(context) != 24 || binary.BigEndian.Uint64(context) != rd.replica ||
		binary.BigEndian.Uint64(context[8:]) != rd.seed {
		return a
	}
	seq := binary.BigEndian.Uint64(context[16:])
	for i, a := range rd.attempts {
		if a.seq == seq {
			rd.attempts = append(rd.attempts[:i:i], rd.attempts[i+1:]...)
			if len(a.waiters) > 0 {
				rd.behind = append(rd.behind, readBehind{index, a.waiters})
			}
			return a
		}
	}
	return a
}

// applied answers the reads whose index is applied.
func (rd *reads) applied(applied ids.LogIndex) {
	if len(rd.behind) == 0 {
		return
	}
	list := rd.behind
	rd.behind = nil
	for _, b := range list {
		if b.index > applied {
			rd.behind = append(rd.behind, b)
			continue
		}
		for _, w := range b.waiters {
			w.ReadReady(b.index, nil)
		}
	}
}

func (rd *reads) failAll(err error) {
	rd.again()
	list := rd.waiting
	for _, b := range rd.behind {
		list = append(list, b.waiters...)
	}
	rd.waiting, rd.behind = nil, nil
	for _, w := range list {
		w.ReadReady(0, err)
	}
}
