package replica

import (
	"fmt"
	"slices"

	"go.etcd.io/raft/v3"
	"go.etcd.io/raft/v3/raftpb"

	"dyno/engine/ids"
	"dyno/wal"
)

// Output collects what turns of any number of replicas want done. The owner
// empties it with Reset and uses it again.
type Output struct {
	// Full is set by the owner: the log has no room, so queued proposals fail
	// with ErrDiskFull. Raft's own records still come.
	Full bool
	// ProposeMax is set by the owner: once Proposed has reached it, proposals stay
	// queued and Later is set; 0 is no limit. The owner takes back Proposed and Later.
	ProposeMax, Proposed int64 // bytes
	Later                bool
	// Messages go to other replicas (To) of the same group, at once.
	Messages []raftpb.Message
	// Records go to the log in one append, synced, in this order.
	Records []wal.Record
	// Stored must come back through Replica.Stored once Records and all that
	// was appended before them are durable. It may be there without Records.
	Stored []Stored
	// Snapshots must be made durable, on another goroutine, and answered with
	// Replica.Installed: at most one for each replica.
	Snapshots []Incoming
}

// limited says that no more is to be proposed.
func (o *Output) limited() bool { return o.ProposeMax > 0 && o.Proposed >= o.ProposeMax }

// ResetMessages takes all but Records out of o and keeps their memory, for
// an owner that must know which replica they came from.
func (o *Output) ResetMessages() {
	clear(o.Messages)
	clear(o.Stored)
	clear(o.Snapshots)
	o.Messages, o.Stored, o.Snapshots = o.Messages[:0], o.Stored[:0], o.Snapshots[:0]
}

// Reset empties o and keeps its memory.
func (o *Output) Reset() {
	o.ResetMessages()
	clear(o.Records)
	o.Records = o.Records[:0]
}

// Stored is what must wait until an append is durable.
type Stored struct {
	last      ids.LogIndex // of the append; 0 if it held no entries
	term      ids.Term
	responses []raftpb.Message
}

// Turn runs Raft until it wants nothing more: committed entries are applied and
// answered, queued proposals and reads are handed on, and what must be sent or
// stored is added to out. A replica that is damaged by it, or already stopped,
// adds nothing and returns Err.
func (r *Replica) Turn(nowMS int64, out *Output) error {
	r.tellParted()
	err := r.turn(nowMS, out)
	r.parted.shown = r.role.Leader
	return err
}

func (r *Replica) turn(nowMS int64, out *Output) error {
	for r.err == nil && !r.solo.on && r.incoming == nil {
		r.observe()
		r.pump(nowMS, out)
		r.askReads()
		if r.err != nil {
			break
		}
		r.answerHeld()
		if !r.node.HasReady() {
			r.enterSolo()
			r.sayQuiet(out)
			r.sayCommitted(out)
			return nil
		}
		r.fail(r.ready(out))
	}
	if r.err == nil && r.solo.on {
		r.turnSolo(nowMS, out)
	}
	return r.err
}

// ready takes one Ready. Raft has put MsgStorageAppend and MsgStorageApply
// behind the messages to peers.
//
// Differs from Raft's library, which lets a candidate ask for votes while its own is
// on its way to the disk: where the others are a majority without it, it would lead a
// term that it forgets with its power, and win the same votes for the same term again,
// with another log. So MsgVote waits for the append that holds the candidate's own.
func (r *Replica) ready(out *Output) error {
	return r.guard(func() error {
		r.store.applying = true
		rd := r.node.Ready()
		r.store.applying = false
		for i := range rd.ReadStates {
			a := r.reads.confirmed(rd.ReadStates[i].RequestCtx, ids.LogIndex(rd.ReadStates[i].Index))
			r.extendLease(&a)
		}
		var asked []raftpb.Message // for votes
		for i := range rd.Messages {
			m := &rd.Messages[i]
			switch m.Type {
			case raftpb.MsgVote:
				asked = append(asked, *m)
			case raftpb.MsgStorageAppend:
				if m.Snapshot != nil && !raft.IsEmptySnap(*m.Snapshot) {
					if err := r.receive(m, out); err != nil {
						return err
					}
					continue
				}
				m.Responses, asked = slices.Concat(m.Responses, asked), nil
				r.append(m, out)
			case raftpb.MsgStorageApply:
				before := r.store.confAt
				if err := r.apply(m); err != nil {
					return err
				}
				if r.store.confAt != before {
					// A start knows no membership beyond the commit index: nothing
					// else may follow soon that would store it.
					r.Flush(out)
				}
			default:
				r.noteOffer(m)
				out.Messages = append(out.Messages, *m)
			}
		}
		r.reads.applied(r.applied)
		return nil
	})
}

// append turns a MsgStorageAppend into records. The hard state follows the
// entries it may speak of: a prefix of the append never holds a commit index
// beyond its entries. Nor does it hold a membership change without the commit index
// that goes with it, see flushBefore.
func (r *Replica) append(m *raftpb.Message, out *Output) {
	if m.Term != 0 {
		r.newest = raftpb.HardState{Term: m.Term, Vote: m.Vote, Commit: m.Commit}
	}
	s := Stored{responses: m.Responses}
	if n := len(m.Entries); n > 0 {
		s.last, s.term = idxOf(&m.Entries[n-1]), termOf(&m.Entries[n-1])
		r.record(m.Entries, out)
	}
	if len(m.Entries) > 0 || r.newest.Term != r.saved.Term || r.newest.Vote != r.saved.Vote {
		r.flush(out)
	}
	if s.last != 0 || len(s.responses) > 0 {
		out.Stored = append(out.Stored, s)
	}
}

// record puts entries into out and into the view of the log, which keeps them.
func (r *Replica) record(entries []raftpb.Entry, out *Output) {
	for i := range entries {
		e := &entries[i]
		if e.Type != raftpb.EntryNormal {
			r.flushBefore(e.Index, out)
		}
		out.Records = append(out.Records, wal.Record{
			Stream: uint64(r.cfg.Group), Kind: wal.KindEntry, Type: uint8(e.Type), Index: e.Index, Term: e.Term, Data: e.Data,
		})
		if forced().has(mutMoreState) {
			r.saveAgain(len(e.Data), out)
		}
	}
	r.store.log.Append(entries)
}

// Flush adds the hard state to out if its commit index moved since it was last
// stored: for a clean stop, so that the next start knows it at once.
func (r *Replica) Flush(out *Output) {
	if r.newest.Term != 0 {
		r.flush(out)
	}
}

func (r *Replica) flush(out *Output) { r.save(r.newest, out) }

// flushBefore puts the commit index in front of the membership change at index. A
// leader asks for a change when it has applied the one before, and says so with it. A
// replica must not have the second without knowing that the first holds: it would
// start with the membership before both, whose majority may share nobody with that of
// the membership after both, and be elected by it.
func (r *Replica) flushBefore(index uint64, out *Output) {
	state := r.newest
	state.Commit = min(state.Commit, index-1)
	if state.Commit > r.saved.Commit {
		r.save(state, out)
	}
}

func (r *Replica) save(state raftpb.HardState, out *Output) {
	if state == r.saved {
		return
	}
	r.saved = state
	vote := state.Vote
	if forced().has(mutNoVote) {
		vote = 0
	}
	out.Records = append(out.Records, wal.Record{
		Stream: uint64(r.cfg.Group), Kind: wal.KindState,
		Term: state.Term, Vote: vote, Index: state.Commit,
	})
}

// saveAgain repeats the hard state, 56 bytes in the log, as often as makes 3 % of an
// entry. Only a mutant does.
func (r *Replica) saveAgain(bytes int, out *Output) {
	for left := bytes * 3 / 100; left > 0 && r.saved.Term != 0; left -= 56 {
		out.Records = append(out.Records, wal.Record{
			Stream: uint64(r.cfg.Group), Kind: wal.KindState, Term: r.saved.Term, Vote: r.saved.Vote, Index: r.saved.Commit,
		})
	}
}

// Stored says that the append s came with, and all before it, are durable. Its
// messages to peers are added to out.
func (r *Replica) Stored(s *Stored, out *Output) {
	if r.err != nil {
		return
	}
	if r.solo.on {
		r.storedSolo(s)
		return
	}
	r.observe()
	if s.last != 0 && r.role.State == Leader && s.term == r.role.Term {
		r.durable.answerTo(s.last)
		if forced().has(mutEarlyAck) {
			r.committed.answerTo(s.last)
		}
	}
	for i := range s.responses {
		m := &s.responses[i]
		switch {
		case m.To == uint64(r.cfg.ID):
			r.step(m)
		case !superseded(m, s.responses[i+1:]):
			out.Messages = append(out.Messages, *m)
		}
	}
}

// superseded says that a later response tells m's receiver all that m does: an
// acknowledgement is of everything up to its index.
func superseded(m *raftpb.Message, later []raftpb.Message) bool {
	if m.Type != raftpb.MsgAppResp || m.Reject {
		return false
	}
	for i := range later {
		l := &later[i]
		if l.Type == m.Type && l.To == m.To && l.Term == m.Term && !l.Reject && l.Index >= m.Index {
			return true
		}
	}
	return false
}

// apply does what a MsgStorageApply asks for.
func (r *Replica) apply(m *raftpb.Message) error {
	if err := r.applyEntries(m.Entries); err != nil {
		return err
	}
	for i := range m.Responses {
		if err := r.node.Step(m.Responses[i]); err != nil {
			panic(fmt.Sprintf("BUG: raft refused %s: %v", m.Responses[i].Type, err))
		}
	}
	return nil
}

// applyEntries hands committed entries to the state machine and answers for them.
func (r *Replica) applyEntries(list []raftpb.Entry) error {
	own, bytes := false, int64(0)
	r.entries = r.entries[:0]
	for i := range list {
		e := &list[i]
		data := e.Data
		bytes += int64(len(data))
		own = own || r.role.State == Leader && termOf(e) == r.role.Term
		if e.Type != raftpb.EntryNormal {
			if err := r.applyConf(e); err != nil {
				return err
			}
			data = nil
		}
		r.entries = append(r.entries, Entry{Index: idxOf(e), Term: termOf(e), Data: data})
	}
	if err := r.sm.Apply(r.entries); err != nil {
		return fmt.Errorf("%w: group %d: apply [%d, %d]: %w", ErrDamaged, r.cfg.Group,
			r.entries[0].Index, r.entries[len(r.entries)-1].Index, err)
	}
	r.applied = r.entries[len(r.entries)-1].Index
	clear(r.entries)
	r.uncommitted = max(0, r.uncommitted-bytes)
	r.answerCommitted(r.applied)
	if own && r.led == 0 {
		r.led = r.role.Term
		r.sm.Lead(r.led)
	}
	return nil
}

func idxOf(e *raftpb.Entry) ids.LogIndex { return ids.LogIndex(e.Index) }
func termOf(e *raftpb.Entry) ids.Term    { return ids.Term(e.Term) }
