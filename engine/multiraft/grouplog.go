package multiraft

import (
	"errors"
	"fmt"
	"sort"
	"sync"

	"go.etcd.io/raft/v3/raftpb"

	"dyno/engine/ids"
	"dyno/engine/replica"
	"dyno/wal"
)

// groupLog is the view of one group's log: newest entries in memory, then the
// shared log, then what was moved to Cold.
//
//	Cold.First      first             front of runs        last
//	|---- Cold ------|---- log (wal) ----|------ runs -------|
//	                 |<--------- also in the log ------------>|
//
// Worker and readers: append, evict and cut run on the worker alone, so the
// worker reads without the lock; everybody else holds it for reading. The lock
// is never held over a read of the log or of Cold. Entries once handed out are
// never changed: a truncation makes shorter slices, it does not write into them.
type groupLog struct {
	stream uint64
	log    Log
	cold   Cold // may be nil
	tail   *tail
	opened replica.HardState

	mu       sync.RWMutex // see above
	first    ids.LogIndex // oldest entry that is in the shared log
	prev     ids.Term     // term of entry first-1
	last     ids.LogIndex
	lastTerm ids.Term
	runs     []run // contiguous, ascending, the last ends at last
	seq      uint64
}

// run is what one turn appended.
type run struct {
	seq     uint64
	entries []raftpb.Entry // shared with Raft
}

func (r *run) first() ids.LogIndex { return ids.LogIndex(r.entries[0].Index) }
func (r *run) end() ids.LogIndex   { return r.first() + ids.LogIndex(len(r.entries)) }

func openGroupLog(group ids.GroupID, log Log, cold Cold, t *tail) *groupLog {
	l := &groupLog{stream: uint64(group), log: log, cold: cold, tail: t, first: 1}
	if info, ok := log.Info(l.stream); ok {
		l.first, l.prev = max(1, ids.LogIndex(info.First)), ids.Term(info.PrevTerm)
		l.last, l.lastTerm = ids.LogIndex(info.Last), ids.Term(info.LastTerm)
		l.opened = replica.HardState{
			Term: ids.Term(info.State.Term), Vote: ids.ReplicaID(info.State.Vote), Commit: ids.LogIndex(info.State.Commit),
		}
	}
	return l
}

// State implements replica.Log.
func (l *groupLog) State() replica.HardState { return l.opened }

// First implements replica.Log.
func (l *groupLog) First() ids.LogIndex { return l.oldest(l.first) }

func (l *groupLog) oldest(first ids.LogIndex) ids.LogIndex {
	if l.cold != nil {
		if f := l.cold.First(); f != 0 {
			return min(f, first)
		}
	}
	return first
}

// Last implements replica.Log.
func (l *groupLog) Last() ids.LogIndex { return l.last }

// bounds is First and Last for readers on other goroutines.
func (l *groupLog) bounds() (first, last ids.LogIndex) {
	l.mu.RLock()
	first, last = l.first, l.last
	l.mu.RUnlock()
	return l.oldest(first), last
}

// end is the index after the newest entry, for readers on other goroutines.
func (l *groupLog) end() ids.LogIndex {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return l.last + 1
}

// Term implements replica.Log.
func (l *groupLog) Term(i ids.LogIndex) (ids.Term, error) {
	switch {
	case i > l.last:
		return 0, replica.ErrUnavailable
	case i == l.last:
		return l.lastTerm, nil
	case i+1 == l.first:
		return l.prev, nil
	case i+1 < l.First():
		return 0, replica.ErrCompacted
	case i < l.first:
		term, err := l.cold.Term(i)
		return term, l.wrap("cold term", i, err)
	}
	if k := l.find(i); k >= 0 {
		r := &l.runs[k]
		return ids.Term(r.entries[i-r.first()].Term), nil
	}
	term, err := l.log.Term(l.stream, uint64(i))
	return ids.Term(term), l.wrap("term", i, err)
}

// find gives the run that holds i, or -1. i must be at or below last.
func (l *groupLog) find(i ids.LogIndex) int {
	if len(l.runs) == 0 || i < l.runs[0].first() {
		return -1
	}
	return sort.Search(len(l.runs), func(k int) bool { return l.runs[k].end() > i })
}

// Entries implements replica.Log.
func (l *groupLog) Entries(lo, hi ids.LogIndex, bytesMax int64) ([]raftpb.Entry, error) {
	if lo > l.last || hi > l.last+1 {
		return nil, replica.ErrUnavailable
	}
	if lo < l.First() { // a run in memory may begin below it
		return nil, replica.ErrCompacted
	}
	if k := l.find(lo); k >= 0 {
		return l.cached(k, lo, hi, bytesMax), nil
	}
	records, err := l.stored(lo, hi, l.first, l.front(), bytesMax)
	if err != nil {
		return nil, err
	}
	entries := make([]raftpb.Entry, len(records))
	for i := range records {
		rec := &records[i]
		entries[i] = raftpb.Entry{Type: raftpb.EntryType(rec.Type), Index: rec.Index, Term: rec.Term, Data: rec.Data}
	}
	return entries, nil
}

// InMemory implements replica.Log.
func (l *groupLog) InMemory(i ids.LogIndex) bool { return i >= l.front() }

// front is the first index that is in memory, last+1 if none is.
func (l *groupLog) front() ids.LogIndex {
	if len(l.runs) == 0 {
		return l.last + 1
	}
	return l.runs[0].first()
}

// cached gives entries from memory: a part of run k itself if that will do,
// which costs nothing, otherwise a copy from several runs.
func (l *groupLog) cached(k int, lo, hi ids.LogIndex, bytesMax int64) []raftpb.Entry {
	r := &l.runs[k]
	part := r.entries[lo-r.first() : min(hi, r.end())-r.first()]
	if hi <= r.end() {
		return replica.Limit(part, bytesMax)
	}
	out := make([]raftpb.Entry, 0, hi-lo)
	for out = append(out, part...); ids.LogIndex(len(out)) < hi-lo; {
		k++
		r := &l.runs[k]
		out = append(out, r.entries[:min(hi, r.end())-r.first()]...)
	}
	return replica.Limit(out, bytesMax)
}

// stored reads records of [lo, hi) below front, where memory begins.
func (l *groupLog) stored(lo, hi, first, front ids.LogIndex, bytesMax int64) ([]wal.Record, error) {
	hi = min(hi, front)
	if lo >= first {
		records, err := l.log.Read(l.stream, uint64(lo), uint64(hi), bytesMax)
		return records, l.wrap("read", lo, err)
	}
	if l.cold == nil {
		return nil, replica.ErrCompacted
	}
	records, err := l.cold.Entries(lo, min(hi, first), bytesMax)
	return records, l.wrap("cold read", lo, err)
}

func (l *groupLog) wrap(op string, i ids.LogIndex, err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, wal.ErrCompacted), errors.Is(err, replica.ErrCompacted):
		return replica.ErrCompacted
	}
	return fmt.Errorf("%s group %d index %d: %w", op, l.stream, i, err)
}

// Append implements replica.Log: entries follow in the log, or replace its end.
func (l *groupLog) Append(entries []raftpb.Entry) {
	bytes := int64(0)
	for i := range entries {
		bytes += entryBytes + int64(len(entries[i].Data))
	}
	lo, end := ids.LogIndex(entries[0].Index), &entries[len(entries)-1]
	l.mu.Lock()
	if lo <= l.last {
		l.dropFrom(lo)
	}
	l.seq++
	seq := l.seq
	l.runs = append(l.runs, run{seq, entries[:len(entries):len(entries)]})
	l.last, l.lastTerm = ids.LogIndex(end.Index), ids.Term(end.Term)
	l.mu.Unlock()
	l.tail.add(tailRun{l, seq, bytes})
}

// entryBytes is the memory of an entry besides its data.
const entryBytes = 56

// dropFrom removes everything in memory from index lo on.
func (l *groupLog) dropFrom(lo ids.LogIndex) {
	n := len(l.runs)
	for n > 0 && l.runs[n-1].first() >= lo {
		n--
	}
	clear(l.runs[n:])
	l.runs = l.runs[:n]
	if n > 0 {
		if r := &l.runs[n-1]; r.end() > lo {
			keep := lo - r.first()
			r.entries = r.entries[:keep:keep]
		}
	}
}

// evict drops run seq from memory, if it is still the oldest.
func (l *groupLog) evict(seq uint64) {
	l.mu.Lock()
	if len(l.runs) > 0 && l.runs[0].seq == seq {
		l.dropRuns(1)
	}
	l.mu.Unlock()
}

// dropRuns forgets the n oldest runs. Moving the others is cheap: the slice
// header moves, and append copies what is left when it runs out of room.
func (l *groupLog) dropRuns(n int) {
	clear(l.runs[:n])
	if l.runs = l.runs[n:]; len(l.runs) == 0 {
		l.runs = nil
	}
}

// cut makes first the oldest entry in the shared log; prev is the term of the
// one before.
func (l *groupLog) cut(first ids.LogIndex, prev ids.Term) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.first, l.prev = first, prev
	n := 0
	for n < len(l.runs) && l.runs[n].end() <= first {
		n++
	}
	if n > 0 {
		l.dropRuns(n)
	}
}

// Reset implements replica.Log.
func (l *groupLog) Reset(index ids.LogIndex, term ids.Term) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.first, l.prev, l.last, l.lastTerm = index+1, term, index, term
	if n := len(l.runs); n > 0 {
		l.dropRuns(n)
	}
}

// read gives entries of [lo, hi) to a reader on any goroutine; hi-1 must be
// applied, so that nothing it sees is ever replaced.
func (l *groupLog) read(lo, hi ids.LogIndex, bytesMax int64) ([]replica.Entry, error) {
	l.mu.RLock()
	first, front := l.first, l.front()
	var cached []raftpb.Entry
	if lo >= front {
		cached = l.cached(l.find(lo), lo, hi, bytesMax)
	}
	l.mu.RUnlock()
	if lo < l.oldest(first) {
		return nil, replica.ErrCompacted
	}
	if cached != nil {
		out := make([]replica.Entry, len(cached))
		for i := range cached {
			e := &cached[i]
			out[i] = entry(uint8(e.Type), e.Index, e.Term, e.Data)
		}
		return out, nil
	}
	records, err := l.stored(lo, hi, first, front, bytesMax)
	if err != nil {
		return nil, err
	}
	out := make([]replica.Entry, len(records))
	for i := range records {
		rec := &records[i]
		out[i] = entry(rec.Type, rec.Index, rec.Term, rec.Data)
	}
	return out, nil
}

// entry hides the data of Raft's own entries from readers, as Apply does.
func entry(kind uint8, index, term uint64, data []byte) replica.Entry {
	if kind != uint8(raftpb.EntryNormal) {
		data = nil
	}
	return replica.Entry{Index: ids.LogIndex(index), Term: ids.Term(term), Data: data}
}
