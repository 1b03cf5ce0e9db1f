package partition

import "dyno/engine/replica"

// Bind makes a its own waiter, as Partition.Stamp needs it, and returns the
// proposal to hand to the replica. It does not block or allocate.
func (a *Append) Bind() *replica.Proposal {
	a.Waiter = a
	return &a.Proposal
}

// Proposed implements replica.Waiter: it keeps err and tells Reply, if there is
// one. Base and LogStart stand since Stamp.
func (a *Append) Proposed(_ *replica.Proposal, err error) {
	a.Err = err
	if a.Reply != nil {
		a.Reply.Appended(a)
	}
}
