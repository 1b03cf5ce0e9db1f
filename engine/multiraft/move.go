package multiraft

import (
	"slices"

	"dyno/engine/ids"
	"dyno/engine/replica"
)

// Move is a membership on its way: what the members of a group are, what they are
// to be, and what the leader knows of them. It is a value; Next decides and does
// nothing, so whoever leads takes the next step and no step is lost or done twice:
//
//	learner         those that join are sent the log and do not vote
//	caught up       they lack at most Lag entries
//	joint change    they vote, those that leave do not (Raft thesis section 4.3)
//	barrier         an entry on top of it is committed
//	done
//
// A leader never asks for its own removal. It hands over to a member that stays, and
// where none is there yet, those that join vote beside it first. So a group does not lose
// its leader to a move, and wait for an election.
type Move struct {
	Self     ids.ReplicaID      // the leader
	Have     *replica.Members   // as it has applied them
	Want     []ids.ReplicaID    // the voters to be
	Progress []replica.Progress // of each member
	Commit   ids.LogIndex
	Lag      ids.LogIndex // entries that one who is caught up may lack
	Silence  int          // ticks that it may have been silent
}

// Step is what a leader does next for a Move: at most one of its fields is set,
// none where something is under way that ends by itself.
type Step struct {
	Change   *Change       // ask the group for it
	Transfer ids.ReplicaID // hand the leadership over: this leader is to leave the group
	// Barrier asks for an entry that changes nothing, and to wait until it is
	// committed. With it a majority stores that everything before it is: the
	// membership that was applied last holds for whoever starts again, before a
	// member that left is deleted. A joint change leaves by itself, with the next
	// entry that is applied.
	Barrier bool
	// Done is Barrier, and the move is over if the membership is still the same when
	// it is committed. A new leader may have a change of its predecessor in its log
	// that it has not applied yet.
	Done bool
}

// Next gives the next step.
func (m *Move) Next() Step {
	if len(m.Have.Outgoing) > 0 {
		return Step{Barrier: true}
	}
	var c Change
	for _, id := range m.Want {
		switch {
		case slices.Contains(m.Have.Voters, id):
		case !slices.Contains(m.Have.Learners, id):
			c.Learn = append(c.Learn, id)
		case m.CaughtUp(id) || forced().has(mutEarlyPromote):
			c.Vote = append(c.Vote, id)
		default:
			return Step{} // it is being sent the log
		}
	}
	if len(c.Learn) > 0 {
		return Step{Change: &Change{Learn: c.Learn}}
	}
	for _, id := range slices.Concat(m.Have.Voters, m.Have.Learners) {
		if !slices.Contains(m.Want, id) {
			c.Remove = append(c.Remove, id)
		}
	}
	if len(c.Vote) == 0 && len(c.Remove) == 0 {
		return Step{Done: true}
	}
	if slices.Contains(c.Remove, m.Self) {
		if to := m.heir(); to != 0 {
			return Step{Transfer: to}
		}
		if len(c.Vote) == 0 {
			return Step{} // who stays lacks too much to take over
		}
		c.Remove = nil
	}
	return Step{Change: &c}
}

// heir is a voter that stays and can take over, 0 for none.
func (m *Move) heir() ids.ReplicaID {
	for _, id := range m.Want {
		if slices.Contains(m.Have.Voters, id) && m.CaughtUp(id) {
			return id
		}
	}
	return 0
}

// CaughtUp says whether a member lacks little and has answered lately.
func (m *Move) CaughtUp(id ids.ReplicaID) bool {
	for i := range m.Progress {
		if p := &m.Progress[i]; p.ID == id {
			return p.Match+m.Lag >= m.Commit && p.Silent <= m.Silence
		}
	}
	return false
}
