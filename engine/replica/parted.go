package replica

import "dyno/engine/ids"

// A leader that steps down mostly learns within milliseconds who leads now: in a
// handover it is told by the new leader's first message. Until then what it has
// not answered is kept, and so is what still comes, so that the refusal can name
// the new leader: a client that is refused without a name asks for one while
// nobody knows it, and asks again only after a while of its own, up to seconds.
//
//	stepDown: rolled back, waiters parted     their fate is sealed, only the word waits
//	a Turn ends with a leader known           its owner shows that to whoever asks
//	the next Turn begins                      parted are refused, and named that leader
//
// After partedTicks they are refused as they are.
type parted struct {
	line
	until uint64        // tick at which nobody is waited for any more
	shown ids.ReplicaID // leader as of the end of the last Turn; 0 since the step down
}

const (
	partedTicks = 5
	// partedMax bounds what is kept of proposals that come after the step down.
	// What was here before is bounded by the limits of a leader.
	partedMax = 1024
)

// part takes what a leader owed, in order.
func (r *Replica) part(l *line) {
	for l.len() > 0 {
		r.parted.push(l.pop())
	}
}

// parting says whether a proposal that comes now may wait for the leader's name.
func (r *Replica) parting() bool {
	return r.role.Leader == 0 && r.heard.now < r.parted.until && r.parted.len() < partedMax
}

// tellParted refuses those that wait, if there is a name or no more time. Called
// at the begin of a Turn.
func (r *Replica) tellParted() {
	if r.parted.len() > 0 && (r.parted.shown != 0 || r.heard.now >= r.parted.until) {
		r.parted.failAll(r.notLeader())
	}
}
