package replica

import (
	"errors"

	"dyno/engine/ids"
)

// Entry is one entry of a replicated log as a state machine sees it. Data is
// empty for the entries Raft writes for itself (a new leader's first entry,
// membership changes); they still move the applied index.
type Entry struct {
	Index ids.LogIndex
	Term  ids.Term
	Data  []byte // shared with the log and its readers: never change it
}

// Wait says when a proposal's waiter is answered.
type Wait uint8

const (
	WaitNone    Wait = iota // never: nobody asked
	WaitDurable             // this replica's log holds it durably
	WaitCommit              // committed, durable here, and applied
)

// Proposal asks for one entry. The memory of Data passes to the replica with
// Propose and becomes the log entry itself, without a copy.
type Proposal struct {
	Data   []byte
	Wait   Wait
	Waiter Waiter // nil with WaitNone
	// Reserve lets the entry into a full log's reserve: deletions, retention,
	// what a node needs to start. Few and small, or the reserve ends, too.
	Reserve bool
	// Copies is how many voters must hold the entry durably before WaitCommit is
	// answered, where that is more than a majority; see copies.go.
	Copies int

	// Set by the replica before the waiter is told.
	Index ids.LogIndex
	Term  ids.Term
}

// Waiter hears the outcome of one proposal, once, on the worker goroutine; it
// must not block. A nil error means the promise of Wait holds. After
// ErrNotLeader, ErrStopped or a failed log the entry may still be committed
// later: the outcome is unknown, not negative.
type Waiter interface{ Proposed(p *Proposal, err error) }

// StateMachine is what a group replicates. All methods run on the group's
// worker goroutine; none may block or do I/O.
type StateMachine interface {
	// Stamp admits p to the log of this leader in term: it checks p against
	// everything stamped and not yet applied, and finishes p.Data in place
	// (base offset, leader epoch). nowMS is wall-clock milliseconds. An error
	// refuses p and is handed to its waiter, except ErrParked: the state
	// machine keeps p and answers the waiter itself; and ErrAgain: what p asks for
	// is applied already, so its waiter hears no error, once there are Copies; and
	// one made with Verdict, which is told once it is certain that p came to a leader.
	Stamp(term ids.Term, nowMS int64, p *Proposal) error
	// Unstamp takes back the last n stamped proposals: the log refused them.
	Unstamp(n int)
	// Lead says this replica leads term and has applied that term's first
	// entry: Stamp may follow. Follow says it does not lead (any more): all
	// that is stamped and not applied is rolled back, parked proposals are
	// answered with ErrNotLeader.
	Lead(term ids.Term)
	Follow()
	// Apply applies committed entries, in order, without gaps. The slice is
	// used again after the call; Data is shared and stays. An error is fatal
	// for the group: it stops and is reported as damaged.
	Apply(entries []Entry) error
	// Applied is the index of the last entry applied. It is also called once
	// before the worker has the group, when the replica is made.
	Applied() ids.LogIndex
	// Restore replaces the whole state by that of a snapshot, which its owner
	// has made durable before; afterwards Applied is at or beyond the
	// snapshot's index. An error is fatal for the group.
	Restore(state []byte) error
}

// Snapshot is a state from which the entries after Index lead to the same state
// as the whole log: what a replica is given that lacks entries nobody has any
// more. The state may be of a later entry than Index, if applying the entries in
// between again does not change it.
type Snapshot struct {
	Index ids.LogIndex // inclusive
	Term  ids.Term     // of the entry at Index
	State []byte
	// Members is the membership that came with it; set where one is installed.
	Members Members
}

var (
	// ErrNotLeader refuses a proposal or read that only the leader serves; a
	// *NotLeaderError wraps it with the leader's id where that is known.
	ErrNotLeader = errors.New("not the leader of the group")
	// ErrParked: see StateMachine.Stamp.
	ErrParked = errors.New("kept by the state machine")
	// ErrAgain: see StateMachine.Stamp.
	ErrAgain = errors.New("applied already")
	// ErrOverloaded means a queue or the uncommitted log is full; try again.
	ErrOverloaded = errors.New("overloaded")
	// ErrDropped means Raft refused the proposal (no leader, limits).
	ErrDropped = errors.New("proposal dropped")
	// ErrStopped means the group or node is shutting down.
	ErrStopped = errors.New("group stopped")
	// ErrDamaged means the group lost its log or failed to apply.
	ErrDamaged = errors.New("group damaged")
	// ErrTimeout means the answer did not come in time; the outcome is open.
	ErrTimeout = errors.New("timed out")
	// ErrCompacted means the entries asked for were cut from the log.
	ErrCompacted = errors.New("entries compacted")
	// ErrDiskFull means the log has no room for new records.
	ErrDiskFull = errors.New("disk full")
)

// NotLeaderError is ErrNotLeader with the leader's id, 0 if unknown.
type NotLeaderError struct{ Leader ids.ReplicaID }

func (e *NotLeaderError) Error() string { return ErrNotLeader.Error() }

// Is makes errors.Is(err, ErrNotLeader) true.
func (e *NotLeaderError) Is(target error) bool { return target == ErrNotLeader }
