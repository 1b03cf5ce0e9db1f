package replica

import (
	"bytes"
	"time"

	"go.etcd.io/raft/v3/raftpb"

	"dyno/engine/ids"
)

// Leader leases: a leader that knows that no other one can be elected yet answers
// reads by itself, without asking a majority each time. Off unless Config.Promise is
// set, which every voter of the group must have set to the same, and for ever.
//
//	leader                              voter
//	clock s; a ReadIndex round -------> clock h: promised = h + Promise: no vote for
//	  <------------------- its answer   anybody before, no candidacy, whatever it hears
//	a majority has answered:
//	lease until s + leaseOf(Promise)
//
// Why no other leader is elected before that:
//
//  1. Clocks run at most LeaseDriftMax too fast or too slow, and never back. So a lease
//     ends, in true time, Promise/(1+LeaseDriftMax) after s at the latest, and a promise
//     holds at least as long after h, which is after s.
//  2. A new leader needs a vote of a member of the majority that answered; see 5 for a
//     membership that changes. If that vote came before h, the voter had a higher term
//     and would not have answered. If it comes after h, the promise has ended. The
//     leader's own vote ends its leadership, and so the lease, before it is given.
//  3. The promise is kept here and not by Raft, whose own (CheckQuorum: no vote while a
//     leader is known) is forgotten with the leader: by ForgetLeader (down.go), by any
//     message of a higher term, with a restart. And it is kept by the clock: ticks may
//     come in bursts, and a quiet group has none. So a group may go quiet with a lease.
//     A replica that starts does not know what it promised: it promises anew. The
//     candidate's own vote counts like any other: Tick and Campaign wait as well.
//  4. A handover is an election inside the promise: the candidate was told to
//     (MsgTimeoutNow) and says so, and voters break their promise for it. So a leader
//     has no lease from that word on until its term ends, even if nothing comes of it,
//     because it may arrive late; in another term it is void. Nor does a leader read
//     alone while it waits until it may say so.
//  5. A change of membership ends the lease, when it is proposed and when it is applied
//     here, and voids the rounds under way. So those who answered are a majority of the
//     newest membership M that this leader has applied, on both sides of a joint one.
//     Others may be one change behind or ahead of it, and memberships next to each other
//     have no majorities without a common member. Two behind, nobody is elected: they lack
//     the entry of M, which a majority of those one behind holds (flushBefore). Two ahead
//     is nobody: this leader asks for a change when it has applied the one before.
//
// What a read is answered with was committed when the clock was read, and the clock is
// read after the read has come in. So it does not matter how long the process is
// stopped between that and the answer: nothing that was acknowledged before the read
// came in is missing. A clock that was read before would not do.
//
// What remains: a clock whose rate is off by more than LeaseDriftMax, or that stands
// still while the process's machine does, and goes on as if nothing had been.
//
// Source: Raft thesis section 6.4.1, with the promise made explicit.
type lease struct {
	until   time.Duration // leader: holds before that; 0: there is none
	epoch   uint64        // rounds that began in another one give none
	offered ids.Term      // another was told to take over the leadership of this term

	promised time.Duration // voter: gives no vote before that; 0: free
	ticks    int           // that Raft has got since the promise
}

// LeaseDriftMax is how much faster or slower than true time a clock may run. Crystals
// are off by some 1e-4, and a disciplined clock is slewed by 5e-4 (ntpd) to 0.083
// (chronyd, as it comes).
const LeaseDriftMax = 0.1

// leaseOf is how long a lease lasts that rests on a promise.
func leaseOf(promise time.Duration) time.Duration {
	if forced().has(mutLongLease) {
		promise *= 8
	}
	return time.Duration(float64(promise) * (1 - LeaseDriftMax) / (1 + LeaseDriftMax))
}

func (r *Replica) leases() bool { return r.cfg.Promise > 0 }

// promise gives no vote for a while from now on.
func (r *Replica) promise() {
	if r.leases() && !forced().has(mutNoPromise) {
		r.lease.promised, r.lease.ticks = r.cfg.Clock()+r.cfg.Promise, 0
	}
}

// bound says whether a promise holds.
func (r *Replica) bound() bool {
	if r.lease.promised != 0 && r.cfg.Clock() >= r.lease.promised {
		r.lease.promised = 0
	}
	return r.lease.promised != 0
}

// hearRound promises what a round of the leader asks for, which Raft has just
// answered: its answer carries the context of the round.
func (r *Replica) hearRound(m *raftpb.Message) {
	if !r.leases() || len(m.Context) == 0 || r.err != nil {
		return
	}
	if st := r.node.BasicStatus(); st.Term == m.Term && st.Lead == m.From {
		r.promise()
	}
}

// keepsVote says that m asks for a vote that is promised away.
func (r *Replica) keepsVote(m *raftpb.Message) bool {
	return r.bound() && !bytes.Equal(m.Context, []byte(handedOver))
}

// handedOver is what Raft puts into the questions of a candidate that was told to be
// one by its leader.
const handedOver = "CampaignTransfer"

// mayTick says whether Raft may have a tick. One that would make it ask for votes
// waits until the promise has ended: Raft does that ElectionTicks after the leader was
// heard or later.
func (r *Replica) mayTick() bool {
	if !r.bound() || r.leads() {
		return true
	}
	if r.lease.ticks >= r.cfg.ElectionTicks-1 {
		return false
	}
	r.lease.ticks++
	return true
}

// dropLease ends the lease and voids the rounds that are under way.
func (r *Replica) dropLease() {
	r.lease.until = 0
	r.lease.epoch++
}

// noteOffer looks for the word that a handover is decided by, which may have been asked
// for by anybody and given up by now.
func (r *Replica) noteOffer(m *raftpb.Message) {
	if m.Type == raftpb.MsgTimeoutNow && !forced().has(mutLeaseKept) {
		r.lease.offered = ids.Term(m.Term)
	}
}

// mayLease says whether this replica may have a lease.
func (r *Replica) mayLease() bool {
	handing := r.handing && !forced().has(mutLeaseKept)
	return r.leases() && r.leading() && !handing && r.lease.offered != r.role.Term
}

// extendLease takes the lease that a round gives which a majority has answered.
func (r *Replica) extendLease(a *readAttempt) {
	if a.leased && a.epoch == r.lease.epoch && r.mayLease() {
		r.lease.until = max(r.lease.until, a.began+leaseOf(r.cfg.Promise))
	}
}

// readAlone answers all reads that wait if the lease holds, and begins a round where
// not much is left of it. The commit index is what observe saw in this turn, and the
// reads that wait came in before the clock is read.
func (r *Replica) readAlone() bool {
	if !r.mayLease() {
		return false
	}
	left := r.lease.until - r.cfg.Clock()
	if left <= 0 {
		return false
	}
	rd := &r.reads
	r.stats.LeaseReads += uint64(len(rd.waiting))
	rd.behind = append(rd.behind, readBehind{r.commit, rd.waiting})
	rd.waiting = nil
	rd.applied(r.applied)
	if left < leaseOf(r.cfg.Promise)/2 && len(rd.attempts) == 0 {
		r.ask(nil)
	}
	return true
}
