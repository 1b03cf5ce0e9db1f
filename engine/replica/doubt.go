package replica

import (
	"slices"

	"dyno/engine/ids"
)

// A leader that was replaced and does not know it yet lacks what its successor has
// appended. What it refuses for that reason may be in order: a producer that was told
// so gives up, although nothing is wrong. So a refusal that rests on what is in the log
// is told only when a majority has confirmed that this leader still was one, like a
// linearizable read. If its leadership ends before, ErrNotLeader is the answer.

// Verdict makes err such a refusal, for StateMachine.Stamp to return.
func Verdict(err error) error { return verdict{err} }

type verdict struct{ error }

func (v verdict) Unwrap() error { return v.error }

// doubt is a proposal whose refusal waits to be confirmed.
type doubt struct {
	r   *Replica
	p   *Proposal
	err error
}

// refuseOnceSure refuses p for err.
func (r *Replica) refuseOnceSure(p *Proposal, err error) {
	if p.Waiter == nil || p.Wait == WaitNone {
		return
	}
	d := &doubt{r, p, err}
	r.doubts = append(r.doubts, d)
	r.ReadIndex(d)
}

// ReadReady implements ReadWaiter.
func (d *doubt) ReadReady(_ ids.LogIndex, err error) {
	d.r.doubts = slices.DeleteFunc(d.r.doubts, func(o *doubt) bool { return o == d })
	if err == nil {
		err = d.err
	}
	d.p.Refuse(err)
}

// dropDoubts has those whose leadership ended refused for that reason.
func (r *Replica) dropDoubts() {
	for _, d := range r.doubts {
		r.CancelRead(d)
		r.parted.push(d.p)
	}
	r.doubts = nil
}
