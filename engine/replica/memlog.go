package replica

import (
	"go.etcd.io/raft/v3/raftpb"

	"dyno/engine/ids"
	"dyno/wal"
)

// MemoryLog is a Log in memory, for tests and simulations: what Append was told
// of can be read at once, what Save was given survives Reopen.
type MemoryLog struct {
	first   ids.LogIndex
	prev    ids.Term // term of entry first-1
	entries []raftpb.Entry

	disk struct {
		state   HardState
		first   ids.LogIndex
		prev    ids.Term
		entries []raftpb.Entry
	}
	opened HardState
}

// NewMemoryLog makes an empty log.
func NewMemoryLog() *MemoryLog {
	l := &MemoryLog{first: 1}
	l.disk.first = 1
	return l
}

// Save makes records durable. Records of other kinds than entries, states and
// truncations from the front are not for it.
func (l *MemoryLog) Save(records []wal.Record) {
	d := &l.disk
	for i := range records {
		rec := &records[i]
		switch rec.Kind {
		case wal.KindEntry:
			keep := rec.Index - uint64(d.first)
			d.entries = append(d.entries[:keep:keep], raftpb.Entry{
				Type: raftpb.EntryType(rec.Type), Index: rec.Index, Term: rec.Term, Data: rec.Data,
			})
		case wal.KindState:
			d.state = HardState{ids.Term(rec.Term), ids.ReplicaID(rec.Vote), ids.LogIndex(rec.Index)}
		case wal.KindTruncateAfter:
			d.entries = d.entries[:min(len(d.entries), int(rec.Index+1-uint64(d.first)))]
		case wal.KindTruncateBefore:
			d.entries = d.entries[min(len(d.entries), int(rec.Index-uint64(d.first))):]
			d.first, d.prev = ids.LogIndex(rec.Index), ids.Term(rec.Term)
		default:
			panic("BUG: record kind not for a memory log")
		}
	}
}

// Reopen gives the log a restarted replica finds: what was saved.
func (l *MemoryLog) Reopen() *MemoryLog {
	n := &MemoryLog{first: l.disk.first, prev: l.disk.prev, disk: l.disk, opened: l.disk.state}
	n.entries = l.disk.entries[:len(l.disk.entries):len(l.disk.entries)]
	return n
}

// Cut drops the entries below first from the view; first-1 must be in the log.
func (l *MemoryLog) Cut(first ids.LogIndex) {
	term, err := l.Term(first - 1)
	if err != nil {
		panic("BUG: cut outside the log")
	}
	l.entries = l.entries[first-l.first:]
	l.first, l.prev = first, term
}

// Reset implements Log.
func (l *MemoryLog) Reset(index ids.LogIndex, term ids.Term) {
	l.first, l.prev, l.entries = index+1, term, nil
}

// State implements Log.
func (l *MemoryLog) State() HardState { return l.opened }

// First implements Log.
func (l *MemoryLog) First() ids.LogIndex { return l.first }

// Last implements Log.
func (l *MemoryLog) Last() ids.LogIndex { return l.first + ids.LogIndex(len(l.entries)) - 1 }

// Term implements Log.
func (l *MemoryLog) Term(i ids.LogIndex) (ids.Term, error) {
	switch {
	case i+1 < l.first:
		return 0, ErrCompacted
	case i > l.Last():
		return 0, ErrUnavailable
	case i+1 == l.first:
		return l.prev, nil
	}
	return termOf(&l.entries[i-l.first]), nil
}

// Entries implements Log.
func (l *MemoryLog) Entries(lo, hi ids.LogIndex, bytesMax int64) ([]raftpb.Entry, error) {
	if lo < l.first {
		return nil, ErrCompacted
	}
	if lo > l.Last() || hi > l.Last()+1 {
		return nil, ErrUnavailable
	}
	return Limit(l.entries[lo-l.first:hi-l.first], bytesMax), nil
}

// InMemory implements Log.
func (l *MemoryLog) InMemory(ids.LogIndex) bool { return true }

// Append implements Log.
func (l *MemoryLog) Append(entries []raftpb.Entry) {
	keep := idxOf(&entries[0]) - l.first
	l.entries = append(l.entries[:keep:keep], entries...)
}

// Limit cuts entries to at most bytesMax bytes of Data, but keeps the first,
// and takes its spare capacity away. Exported for implementations of Log.
func Limit(entries []raftpb.Entry, bytesMax int64) []raftpb.Entry {
	n, size := 0, int64(0)
	for n < len(entries) {
		size += int64(len(entries[n].Data))
		if n > 0 && size > bytesMax {
			break
		}
		n++
	}
	return entries[:n:n]
}
