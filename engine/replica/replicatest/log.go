package replicatest

import (
	"errors"
	"fmt"
	"testing"

	"go.etcd.io/raft/v3/raftpb"

	"dyno/engine/ids"
	"dyno/engine/replica"
	"dyno/wal"
)

// Disk is a log that can be made durable, cut and opened again: what a view
// (replica.Log) is a view of.
type Disk interface {
	// Open gives the view that a start finds. Views opened before are dead.
	Open() replica.Log
	// Save makes records durable; the view was told of their entries.
	Save(records []wal.Record)
	// Cut makes first the oldest entry, durably and in the view.
	Cut(first ids.LogIndex)
}

// RunLog runs the contract of replica.Log against a fresh disk per test.
func RunLog(t *testing.T, fresh func(t *testing.T) Disk) {
	for name, test := range map[string]func(*logTest){
		"empty":                       (*logTest).empty,
		"append and read":             (*logTest).reads,
		"limits bytes, gives one":     (*logTest).limits,
		"an older index replaces":     (*logTest).replaces,
		"what was read never changes": (*logTest).keepsWhatWasRead,
		"cut from the front":          (*logTest).cuts,
		"only the saved survives":     (*logTest).reopens,
	} {
		t.Run(name, func(t *testing.T) {
			d := fresh(t)
			test(&logTest{disk: d, log: d.Open(), t: t})
		})
	}
}

type logTest struct {
	t    *testing.T
	disk Disk
	log  replica.Log
}

// add appends entries [lo, hi] of a term to the view, and to the disk if save.
func (l *logTest) add(lo, hi ids.LogIndex, term ids.Term, save bool) {
	var entries []raftpb.Entry
	var records []wal.Record
	for i := lo; i <= hi; i++ {
		data := fmt.Appendf(nil, "%d/%d", i, term)
		entries = append(entries, raftpb.Entry{Index: uint64(i), Term: uint64(term), Data: data})
		records = append(records, wal.Record{Kind: wal.KindEntry, Index: uint64(i), Term: uint64(term), Data: data})
	}
	l.log.Append(entries)
	if save {
		l.disk.Save(append(records, wal.Record{Kind: wal.KindState, Term: uint64(term), Vote: 1, Index: uint64(lo - 1)}))
	}
}

// expect reads everything in pieces of every size and compares.
func (l *logTest) expect(first ids.LogIndex, terms ...ids.Term) {
	l.t.Helper()
	last := first + ids.LogIndex(len(terms)) - 1
	if l.log.First() != first || l.log.Last() != last {
		l.t.Fatalf("bounds [%d, %d], want [%d, %d]", l.log.First(), l.log.Last(), first, last)
	}
	for lo := first; lo <= last; lo++ {
		if term, err := l.log.Term(lo); err != nil || term != terms[lo-first] {
			l.t.Fatalf("term of %d: %d %v, want %d", lo, term, err, terms[lo-first])
		}
		for hi := lo + 1; hi <= last+1; hi++ {
			for at := lo; at < hi; {
				got, err := l.log.Entries(at, hi, 1<<40)
				if err != nil || len(got) == 0 || len(got) > int(hi-at) || cap(got) != len(got) {
					l.t.Fatalf("entries [%d, %d): %d with room for %d, %v", at, hi, len(got), cap(got), err)
				}
				for _, e := range got {
					if want := fmt.Sprintf("%d/%d", at, terms[at-first]); string(e.Data) != want || e.Index != uint64(at) {
						l.t.Fatalf("entry %d is %q at %d, want %q", at, e.Data, e.Index, want)
					}
					at++
				}
			}
		}
	}
	_, below := l.log.Entries(first-1, last+1, 1)
	_, beyond := l.log.Entries(last+1, last+2, 1)
	_, termBeyond := l.log.Term(last + 1)
	if !errors.Is(beyond, replica.ErrUnavailable) || !errors.Is(termBeyond, replica.ErrUnavailable) ||
		first <= last && !errors.Is(below, replica.ErrCompacted) {
		l.t.Fatalf("outside the log: %v, %v, %v", below, beyond, termBeyond)
	}
	if _, err := l.log.Term(first - 1); err != nil {
		l.t.Fatalf("term of the entry before the first: %v", err)
	}
	if first > 1 {
		if _, err := l.log.Term(first - 2); !errors.Is(err, replica.ErrCompacted) {
			l.t.Fatalf("term of %d: %v", first-2, err)
		}
	}
}

func (l *logTest) empty() {
	l.expect(1)
	if term, err := l.log.Term(0); term != 0 || err != nil {
		l.t.Fatalf("term of 0: %d %v", term, err)
	}
	if s := l.log.State(); s != (replica.HardState{}) {
		l.t.Fatalf("state %+v", s)
	}
}

func (l *logTest) reads() {
	l.add(1, 1, 1, true)
	l.add(2, 5, 1, true)
	l.expect(1, 1, 1, 1, 1, 1)
	l.add(6, 7, 3, true)
	l.expect(1, 1, 1, 1, 1, 1, 3, 3)
}

func (l *logTest) limits() {
	l.add(1, 9, 1, true)
	for _, max := range []int64{0, 1, 3, 5, 6, 7} {
		got, err := l.log.Entries(1, 10, max)
		if err != nil || len(got) < 1 || len(got) > max1(int(max/3)) {
			l.t.Fatalf("limit of %d bytes: %d entries of 3 bytes, %v", max, len(got), err)
		}
	}
}

func max1(n int) int { return max(n, 1) }

func (l *logTest) replaces() {
	l.add(1, 6, 1, true)
	l.add(4, 4, 2, true) // shorter than what it replaces
	l.expect(1, 1, 1, 1, 2)
	l.add(5, 8, 2, true)
	l.add(2, 3, 3, true)
	l.expect(1, 1, 3, 3)
	l.add(1, 2, 4, true)
	l.expect(1, 4, 4)
}

func (l *logTest) keepsWhatWasRead() {
	l.add(1, 6, 1, true)
	got, err := l.log.Entries(1, 7, 1<<20)
	if err != nil {
		l.t.Fatal(err)
	}
	before := fmt.Sprint(got)
	l.add(3, 8, 2, true)
	if fmt.Sprint(got) != before {
		l.t.Fatal("a slice handed out was written to")
	}
	_ = append(got, raftpb.Entry{Index: 99})
	l.expect(1, 1, 1, 2, 2, 2, 2, 2, 2)
}

func (l *logTest) cuts() {
	l.add(1, 3, 1, true)
	l.add(4, 6, 2, true)
	l.disk.Cut(3)
	l.expect(3, 1, 2, 2, 2)
	l.disk.Cut(7) // everything
	l.expect(7)
	if term, err := l.log.Term(6); term != 2 || err != nil {
		l.t.Fatalf("term of the last entry cut: %d %v", term, err)
	}
	l.add(7, 8, 3, true)
	l.expect(7, 3, 3)
	l.log = l.disk.Open()
	l.expect(7, 3, 3)
}

func (l *logTest) reopens() {
	l.add(1, 6, 1, true)
	l.add(5, 7, 2, false)
	if l.log.Last() != 7 {
		l.t.Fatalf("the view ends at %d, want 7", l.log.Last())
	}
	l.log = l.disk.Open()
	l.expect(1, 1, 1, 1, 1, 1, 1)
	if s := l.log.State(); s != (replica.HardState{Term: 1, Vote: 1}) {
		l.t.Fatalf("state %+v", s)
	}
}
