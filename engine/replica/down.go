package replica

import "dyno/engine/ids"

// A follower whose leader's process has ended need not wait for its election
// timeout: it forgets the leader, so that it gives its vote at once (CheckQuorum
// and PreVote refuse a vote while a leader is known), and asks for votes itself
// after a while that differs from that of the others. If the hint was wrong the
// leader's next message makes it known again, and those who still hear the leader
// refuse their votes.

// down counts the ticks to the next try.
type down struct {
	in    int // 0: nothing to try
	tries int // left
}

const (
	downTries = 4
	downEvery = 6 // ticks between two tries
)

// PeerDown says that the process of a peer seems to have ended. Where it led,
// this replica asks for votes after that many ticks, 1 or more.
func (r *Replica) PeerDown(peer ids.ReplicaID, ticks int) {
	if r.err != nil || r.solo.on || r.incoming != nil || r.role.State == Leader || r.role.Leader != peer {
		return
	}
	r.Wake()
	r.fail(r.guard(func() error { return r.node.ForgetLeader() }))
	r.down = down{in: ticks, tries: downTries}
}

// tickDown makes the next try when its time has come.
func (r *Replica) tickDown() {
	if r.down.in == 0 {
		return
	}
	r.observe()
	if r.role.Leader != 0 || r.down.tries == 0 {
		r.down = down{}
		return
	}
	if r.bound() {
		return // nobody who kept the same leader's lease alive may vote yet
	}
	if r.down.in--; r.down.in == 0 {
		r.down.in, r.down.tries = downEvery, r.down.tries-1
		r.Campaign()
	}
}
