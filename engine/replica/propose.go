package replica

import (
	"fmt"

	"go.etcd.io/raft/v3/raftpb"
)

// errFull is what a proposal gets that Raft dropped although room was counted.
var errFull = fmt.Errorf("%w: %w", ErrOverloaded, ErrDropped)

// Propose takes all proposals that one drain of the owner's mailbox brought; the
// next Turn stamps them and hands them to Raft as one message, as far as the
// uncommitted log has room. The rest waits, in order, for room or for Lead. The
// slice is not kept, the proposals are, until their waiter was told.
func (r *Replica) Propose(drain []*Proposal) {
	if r.err != nil {
		for _, p := range drain {
			p.Refuse(r.err)
		}
		return
	}
	r.Wake()
	r.observe()
	// behind holds for the rest of this drain and, once, for the next.
	carried, refused := r.behind, false
	for _, p := range drain {
		if r.enqueue(p) {
			r.behind, refused = true, true
		}
	}
	r.behind = refused && !carried
}

// enqueue refuses what the queue has no room for and everything that came
// behind it before its proposer can know: the rest of the drain, and the next
// one. A small batch that passed a refused large one would be the first that a
// new idempotent producer is known by, and the large one out of order for ever.
func (r *Replica) enqueue(p *Proposal) (refused bool) {
	size := int64(len(p.Data))
	switch {
	case !r.mayLead() && r.parting():
		r.parted.push(p)
	case !r.mayLead():
		p.Refuse(r.notLeader())
	case r.behind, r.queue.len() > 0 && r.queueBytes+size > r.cfg.QueueBytesMax:
		r.stats.Overload++
		p.Refuse(ErrOverloaded)
		return true
	default:
		r.queue.push(p)
		r.queueBytes += size
	}
	return false
}

// pump proposes what waits, as far as it may; nowMS is the wall clock in
// milliseconds. With out.Full set the log has room for Reserve proposals only; at
// out.ProposeMax the rest waits.
func (r *Replica) pump(nowMS int64, out *Output) {
	switch {
	case r.queue.len() == 0 || !r.leading() || r.handing:
	default:
		if out.Full {
			r.failUnreserved()
		}
		for r.stamp(nowMS, out); len(r.stamped) > 0; r.stamp(nowMS, out) {
			r.propose(out)
			if !r.cfg.Single || !r.leading() || r.err != nil {
				break
			}
		}
		out.Later = out.Later || out.limited() && r.queue.len() > 0
	}
}

// failUnreserved refuses what may not go into a full log's reserve.
func (r *Replica) failUnreserved() {
	for n := r.queue.len(); n > 0; n-- {
		p := r.queue.pop()
		if p.Reserve {
			r.queue.push(p)
			continue
		}
		r.queueBytes -= int64(len(p.Data))
		p.Refuse(ErrDiskFull)
	}
}

// stamp moves proposals from the queue to stamped, in order, while there is
// room. One that does not fit stops all behind it: a producer's sequence must
// not get a hole because a small batch passed a large one. With Single it stops
// after one.
func (r *Replica) stamp(nowMS int64, out *Output) {
	bytes := int64(0)
	for r.queue.len() > 0 && !out.limited() && r.room(bytes, int64(len(r.queue.front().Data))) {
		p := r.queue.pop()
		r.queueBytes -= int64(len(p.Data))
		if err := r.sm.Stamp(r.led, nowMS, p); err != nil {
			switch {
			case err == ErrAgain && p.Waiter != nil && p.Wait != WaitNone:
				p.Index, p.Term = r.applied, r.led
				r.answerOrHold(p)
			case err != ErrParked && err != ErrAgain:
				if v, ok := err.(verdict); ok {
					r.refuseOnceSure(p, v.error)
				} else {
					p.Refuse(err)
				}
			}
			continue
		}
		bytes += int64(len(p.Data))
		out.Proposed += int64(len(p.Data))
		r.stamped = append(r.stamped, p)
		r.props = append(r.props, raftpb.Entry{Data: p.Data})
		if r.cfg.Single || forced().has(mutOneByOne) {
			return
		}
	}
}

// room mirrors Raft's limit on the uncommitted log: anything fits into an empty
// one, after that the sum counts. Counting here keeps a proposal that would be
// dropped from being stamped at all.
func (r *Replica) room(taken, size int64) bool {
	used := r.uncommitted + taken
	return used == 0 || size == 0 || used+size <= r.cfg.UncommittedBytesMax
}

// propose gives everything stamped its place in the log.
func (r *Replica) propose(out *Output) {
	if r.solo.on {
		r.proposeSolo(out)
	} else {
		r.proposeRaft()
	}
	clear(r.props)
	clear(r.stamped)
	r.props, r.stamped = r.props[:0], r.stamped[:0]
}

// proposeRaft steps all of it as one MsgProp. Raft writes index and term into
// our slice and copies the entries from it, so the slice is used again.
func (r *Replica) proposeRaft() {
	m := raftpb.Message{Type: raftpb.MsgProp, From: uint64(r.cfg.ID), Entries: r.props}
	var dropped error
	r.fail(r.guard(func() error { dropped = r.node.Step(m); return nil }))
	switch {
	case r.err != nil:
		r.refuse(r.err)
	case dropped != nil:
		r.stats.Dropped += uint64(len(r.stamped))
		r.sm.Unstamp(len(r.stamped))
		if r.observe(); r.role.State == Leader {
			r.refuse(errFull)
		} else {
			r.refuse(r.notLeader())
		}
	default:
		r.bind()
	}
}

func (r *Replica) bind() {
	r.stats.Proposals++
	r.stats.Proposed += uint64(len(r.stamped))
	for i, p := range r.stamped {
		e := &r.props[i]
		r.uncommitted += int64(len(e.Data))
		p.Index, p.Term = idxOf(e), termOf(e)
		switch {
		case p.Waiter == nil:
		case p.Wait == WaitCommit:
			r.committed.push(p)
		case p.Wait == WaitDurable:
			r.durable.push(p)
		}
	}
}

func (r *Replica) refuse(err error) {
	for _, p := range r.stamped {
		p.Refuse(err)
	}
}

func (r *Replica) failQueue(err error) {
	r.queueBytes = 0
	r.queue.failAll(err)
}
