package multiraft

import (
	"errors"
	"fmt"
	"sync"
	"testing"

	"go.etcd.io/raft/v3/raftpb"

	"dyno/engine/ids"
	"dyno/engine/replica"
	"dyno/engine/replica/replicatest"
	"dyno/wal"
	"dyno/wal/vfs"
)

// viewDisk is a groupLog over some log, as a replicatest.Disk. The stream is
// not the first, and another one is between.
type viewDisk struct {
	t    *testing.T
	log  Log
	tail int64
	view *groupLog
}

func (d *viewDisk) Open() replica.Log {
	d.view = openGroupLog(5, d.log, nil, &tail{max: d.tail})
	return d.view
}

func (d *viewDisk) Save(records []wal.Record) {
	for i := range records {
		records[i].Stream = 5
	}
	other := wal.Record{Stream: 3, Kind: wal.KindState, Term: 1}
	done := make(chan error, 1)
	a := &wal.Append{Records: append(records, other), Sync: true, Done: func(err error) { done <- err }}
	if err := d.log.Submit(a); err != nil {
		d.t.Fatal(err)
	}
	if err := <-done; err != nil {
		d.t.Fatal(err)
	}
}

func (d *viewDisk) Cut(first ids.LogIndex) {
	prev, err := d.view.Term(first - 1)
	if err != nil {
		d.t.Fatal(err)
	}
	d.Save([]wal.Record{{Kind: wal.KindTruncateBefore, Index: uint64(first), Term: uint64(prev)}})
	d.view.cut(first, prev)
}

func TestGroupLog(t *testing.T) {
	logs := map[string]func(t *testing.T) Log{
		"memory": func(*testing.T) Log { return NewMemoryLog() },
		"wal": func(t *testing.T) Log {
			log, err := wal.Open(wal.Options{FS: vfs.NewMem(1), Dir: "wal", SegmentBytes: 1 << 20, SpareSegments: 1})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { log.Close() })
			return log
		},
	}
	for name, open := range logs {
		for _, tailBytes := range []int64{0, 2 * (entryBytes + 3), 1 << 20} {
			t.Run(fmt.Sprintf("%s, tail of %d bytes", name, tailBytes), func(t *testing.T) {
				replicatest.RunLog(t, func(t *testing.T) replicatest.Disk {
					return &viewDisk{t: t, log: open(t), tail: tailBytes}
				})
			})
		}
	}
}

func TestTailKeepsTheNewestWithinItsBytes(t *testing.T) {
	log := NewMemoryLog()
	tl := &tail{max: 10 * (entryBytes + 100)}
	a, b := openGroupLog(1, log, nil, tl), openGroupLog(2, log, nil, tl)
	for i := range 50 {
		for _, l := range []*groupLog{a, b} {
			l.Append([]raftpb.Entry{{Index: uint64(i + 1), Term: 1, Data: make([]byte, 100)}})
		}
		if tl.bytes > tl.max {
			t.Fatalf("%d bytes kept, at most %d", tl.bytes, tl.max)
		}
	}
	if a.front() != 46 || b.front() != 46 {
		t.Fatalf("memory begins at %d and %d, want 46", a.front(), b.front())
	}
	// b goes on alone: what a has in memory is the oldest now.
	for i := range 10 {
		b.Append([]raftpb.Entry{{Index: uint64(i + 51), Term: 1, Data: make([]byte, 100)}})
	}
	if len(a.runs) != 0 || b.front() != 51 {
		t.Fatalf("memory of a holds %d runs, that of b begins at %d", len(a.runs), b.front())
	}
}

// coldSlice is a Cold over records that start at index 1.
type coldSlice struct {
	mu      sync.Mutex
	first   ids.LogIndex
	records []wal.Record
}

func (c *coldSlice) First() ids.LogIndex {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.first
}

func (c *coldSlice) Term(i ids.LogIndex) (ids.Term, error) {
	if i == 0 {
		return 0, nil
	}
	return ids.Term(c.records[i-1].Term), nil
}

func (c *coldSlice) Entries(lo, hi ids.LogIndex, _ int64) ([]wal.Record, error) {
	return append([]wal.Record(nil), c.records[lo-1:hi-1]...), nil
}

func TestReadGoesThroughMemoryLogAndCold(t *testing.T) {
	log := NewMemoryLog()
	cold := &coldSlice{}
	m := single(t, log, func(c *Config) { c.TailBytes = 4 * (entryBytes + 8) })
	sm := replicatest.NewMachine()
	s := spec(1)
	s.Cold = cold
	g, err := m.Open(s, sm)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 40 {
		want(t, propose(t, g, fmt.Sprintf("entry-%02d", i), replica.WaitCommit), nil)
	}
	cold.records, err = log.Read(1, 1, 21, 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	cold.mu.Lock()
	cold.first = 1
	cold.mu.Unlock()
	if err := g.Compact(21); err != nil {
		t.Fatal(err)
	}
	if info, _ := log.Info(1); info.First != 21 {
		t.Fatalf("the log begins at %d after Compact(21)", info.First)
	}
	readAll(t, g, 1, 41)
	cold.mu.Lock()
	cold.first = 11 // retention
	cold.mu.Unlock()
	readAll(t, g, 11, 41)
	if _, err := g.Read(10, 41, 1<<20); !errors.Is(err, replica.ErrCompacted) {
		t.Fatalf("read below the first: %v", err)
	}
	if first, last := g.Bounds(); first != 11 || last != 41 {
		t.Fatalf("bounds [%d, %d]", first, last)
	}
	if err := g.Compact(100); err == nil {
		t.Fatal("compacted beyond what is applied")
	}
	if err := g.Compact(5); err != nil {
		t.Fatalf("compacting what is gone: %v", err)
	}
	// A restart from a checkpoint at the end finds the same.
	m.Close()
	m = single(t, log)
	if g, err = m.Open(s, sm.Restart()); err != nil {
		t.Fatal(err)
	}
	want(t, propose(t, g, "entry-40", replica.WaitCommit), nil)
	readAll(t, g, 11, 41)
}

func readAll(t *testing.T, g *Group, lo, hi ids.LogIndex) {
	t.Helper()
	for lo < hi {
		entries, err := g.Read(lo, hi, 64)
		if err != nil || len(entries) == 0 {
			t.Fatalf("read [%d, %d): %d entries, %v", lo, hi, len(entries), err)
		}
		for _, e := range entries {
			data := ""
			if lo > 1 {
				data = fmt.Sprintf("entry-%02d", lo-2)
			}
			if e.Index != lo || string(e.Data) != data {
				t.Fatalf("entry %d %q, want %d %q", e.Index, e.Data, lo, data)
			}
			lo++
		}
	}
}
