package replica

import (
	"errors"
	"fmt"

	"go.etcd.io/raft/v3"
	"go.etcd.io/raft/v3/raftpb"

	"dyno/engine/ids"
)

// ErrUnavailable means entries beyond the end of the log were asked for.
var ErrUnavailable = errors.New("entries beyond the last index")

// HardState is what a replica must remember besides its entries.
type HardState struct {
	Term   ids.Term
	Vote   ids.ReplicaID
	Commit ids.LogIndex
}

// Log is a replica's view of its durable log. The replica writes through
// Output.Records; Append only tells the view what was handed out. Entries that
// are not yet durable count in First and Last, but need not be readable: Raft
// keeps them itself until then. Called on the owner's goroutine only. Every
// implementation passes replicatest.RunLog.
type Log interface {
	// State is the hard state found when the log was opened.
	State() HardState
	// First and Last bound the entries: First is the oldest that Entries can
	// give, Last the newest that Append was told of. Empty: First == Last+1.
	First() ids.LogIndex
	Last() ids.LogIndex
	// Term gives the term of an entry in [First-1, Last]; outside it fails with
	// ErrCompacted or ErrUnavailable. Term(0) is 0.
	Term(i ids.LogIndex) (ids.Term, error)
	// Entries gives entries of [lo, hi), at least one, at most bytesMax bytes
	// of Data beyond the first, and possibly fewer than would fit. The slice is
	// never changed afterwards and has no spare capacity. Fails with
	// ErrCompacted below First and with ErrUnavailable beyond Last.
	Entries(lo, hi ids.LogIndex, bytesMax int64) ([]raftpb.Entry, error)
	// InMemory says whether Entries from i on reads no disk. i is in [First, Last].
	InMemory(i ids.LogIndex) bool
	// Append says that these consecutive entries follow in the log; an entry at
	// or below Last drops everything from that index on. The slice is kept and
	// must not be changed.
	Append(entries []raftpb.Entry)
	// Reset empties the view: the log goes on after index, an entry of term.
	Reset(index ids.LogIndex, term ids.Term)
}

// storage shows a Log to Raft. An error other than the two Raft expects is
// kept, because Raft answers it with a panic; see Replica.guard.
type storage struct {
	log  Log
	hard raftpb.HardState
	conf raftpb.ConfState
	err  error
	take func() (Snapshot, error) // nil: no snapshots
	// confAt is the entry that conf is of: in a snapshot conf may be newer than
	// its index.
	confAt ids.LogIndex

	pace     Pace        // nil: no limit; see pace.go
	leads    func() bool // whether Raft leads now
	applying bool        // Raft reads what it applies, not what it sends
}

func (s *storage) InitialState() (raftpb.HardState, raftpb.ConfState, error) {
	return s.hard, s.conf, nil
}

func (s *storage) FirstIndex() (uint64, error) { return uint64(s.log.First()), nil }
func (s *storage) LastIndex() (uint64, error)  { return uint64(s.log.Last()), nil }

func (s *storage) Term(i uint64) (uint64, error) {
	t, err := s.log.Term(ids.LogIndex(i))
	return uint64(t), s.translate(err)
}

func (s *storage) Entries(lo, hi, maxSize uint64) ([]raftpb.Entry, error) {
	limit := int64(1<<63 - 1)
	if maxSize < uint64(limit) {
		limit = int64(maxSize)
	}
	from := ids.LogIndex(lo)
	if s.held(from) {
		return nil, nil
	}
	entries, err := s.log.Entries(from, ids.LogIndex(hi), limit)
	s.count(from, entries)
	return entries, s.translate(err)
}

// Snapshot is what Raft asks for when a follower needs entries that are gone. It
// says temporarily unavailable where there is none to give, and is asked again.
func (s *storage) Snapshot() (raftpb.Snapshot, error) {
	if s.take == nil || s.pace != nil && !s.pace.May() {
		return raftpb.Snapshot{}, raft.ErrSnapshotTemporarilyUnavailable
	}
	snap, err := s.take()
	if err != nil || snap.Index == 0 || snap.Index+1 < s.log.First() {
		return raftpb.Snapshot{}, raft.ErrSnapshotTemporarilyUnavailable
	}
	if forced().has(mutSnapHigh) {
		snap.Index++
	}
	if s.pace != nil {
		s.pace.Sent(int64(len(snap.State)))
	}
	return s.pack(&snap), nil
}

func (s *storage) translate(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, ErrCompacted):
		return raft.ErrCompacted
	case errors.Is(err, ErrUnavailable):
		return raft.ErrUnavailable
	}
	if s.err == nil {
		s.err = err
	}
	return err
}

// load reads the hard state and reconciles it with the log and with what the
// state machine has applied.
func (s *storage) load(applied ids.LogIndex) error {
	first, last, hard := s.log.First(), s.log.Last(), s.log.State()
	if applied > last || applied+1 < first {
		return fmt.Errorf("%w: the state machine applied index %d, the log holds [%d, %d]",
			ErrDamaged, applied, first, last)
	}
	if hard.Commit > last {
		return fmt.Errorf("%w: commit index %d is beyond the end of the log %d", ErrDamaged, hard.Commit, last)
	}
	lastTerm, err := s.log.Term(last)
	if err != nil {
		return fmt.Errorf("term of the last index %d: %w", last, err)
	}
	// The commit index is written lazily; what was applied was committed. A
	// term that lags its entries was torn off the last, unanswered append, and
	// the vote in it with it.
	hard.Commit = max(hard.Commit, applied)
	if hard.Term < lastTerm {
		hard.Term, hard.Vote = lastTerm, 0
	}
	s.hard = raftpb.HardState{Term: uint64(hard.Term), Vote: uint64(hard.Vote), Commit: uint64(hard.Commit)}
	return nil
}
