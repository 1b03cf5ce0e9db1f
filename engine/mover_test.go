package engine

import (
	"path"
	"sync/atomic"
	"testing"
	"time"

	"dyno/engine/ids"
	"dyno/wal"
	"dyno/wal/vfs"
)

// A segment is read once, however many partitions have entries in it, and the
// memory for that is given back when the log has been within its budget for long.
func TestMoverReadsOnce(t *testing.T) {
	var armed atomic.Bool
	var read, calls atomic.Int64
	b := newBed(t, func(c *Config) {
		smallLog(c)
		c.WAL.SegmentBytes, c.WAL.BudgetBytes, c.WAL.MoveEvery = 1<<20, 1<<30, time.Hour
	}, faulty(func(c vfs.Call) vfs.Fault {
		if armed.Load() && c.Op == vfs.OpRead && path.Base(path.Dir(c.Name)) == walDir {
			read.Add(c.Len)
			calls.Add(1)
		}
		return vfs.Fault{}
	}, nil))
	const parts = 6
	b.topic("t", parts)
	want := make([][]string, parts)
	for range 4 {
		for p := range int32(parts) {
			want[p] = append(want[p], b.fill("t", p, 60)...)
		}
	}
	seg, ok := b.node.log.Oldest()
	if !ok || b.full(&seg) < parts {
		t.Fatalf("a sealed segment of all partitions: %v, %+v", ok, seg)
	}
	m := b.node.mover // its goroutine waits for an hour
	b.node.cfg.WAL.BudgetBytes = b.node.log.Size() - 1
	armed.Store(true)
	if err := m.reclaim(); err != nil {
		t.Fatal(err)
	}
	armed.Store(false)
	if m.segments.Load() != 1 || read.Load() > seg.Bytes+64<<10 { // a little for the metadata's entries
		t.Errorf("%d segments emptied with %d reads of %d bytes, want one with %d", m.segments.Load(), calls.Load(), read.Load(), seg.Bytes)
	}
	for p := range int32(parts) {
		b.wantValues("t", p, 0, want[p]...)
	}
	for _, c := range []struct {
		after time.Duration
		kept  bool
	}{{imageKeep - time.Second, true}, {imageKeep + time.Second, false}} {
		if m.rest(m.used.Add(c.after)); m.used.IsZero() == c.kept {
			t.Errorf("%s after its use: memory kept %v", c.after, !c.kept)
		}
	}
}

// full counts the partitions that have entries in a segment.
func (b *bed) full(seg *wal.SegmentInfo) (n int) {
	for _, run := range seg.Runs {
		if b.node.hosts.get(ids.GroupID(run.Stream)) != nil {
			n++
		}
	}
	return n
}
