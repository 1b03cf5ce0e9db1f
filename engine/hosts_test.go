package engine

import (
	"errors"
	"fmt"
	"path"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"dyno/engine/ids"
	"dyno/engine/replica"
	"dyno/engine/store"
	"dyno/wal"
	"dyno/wal/vfs"
)

// dirFault fails calls of op on one directory of partition files while it is on.
type dirFault struct {
	op  vfs.Op
	dir atomic.Pointer[string] // nil: off
}

func (d *dirFault) plan(c vfs.Call) vfs.Fault {
	if dir := d.dir.Load(); dir != nil && c.Op == d.op && strings.HasPrefix(c.Name, *dir) {
		return vfs.Fault{Err: syscall.EIO}
	}
	return vfs.Fault{}
}

// A partition that cannot be opened is its own topic's error: others are made
// and deleted beside it, and it is opened once the disk lets it.
func TestHostTriedAgain(t *testing.T) {
	t.Parallel()
	fault := &dirFault{op: vfs.OpList}
	b := newBed(t, faulty(fault.plan, nil))
	all := path.Join(bedDir, storeDir) + "/"
	fault.dir.Store(&all)
	adm := b.admin()
	if _, err := adm.CreateTopic(soon(t), 1, 1, nil, "stuck"); err == nil {
		t.Fatal("a topic was made without a disk for it")
	}
	stuck, ok := b.node.meta.Image().Topic("stuck")
	if !ok {
		t.Fatal("the topic is not in the metadata")
	}
	dir := b.node.partitionDir(stuck.ID, 0)
	fault.dir.Store(&dir)
	b.topic("other", 1)
	b.produce("other", 0, "x")
	if _, err := adm.DeleteTopic(soon(t), "other"); err != nil {
		t.Errorf("delete beside a topic that cannot be opened: %v", err)
	}
	fault.dir.Store(nil)
	until(t, "the partition is opened", func() bool { return len(b.node.hosts.list()) == 1 })
	b.produce("stuck", 0, "y")
}

// Files that cannot be deleted are tried again, beside a new topic of the same
// name; meanwhile nobody finds the old one.
func TestUnhostTriedAgain(t *testing.T) {
	t.Parallel()
	fault := &dirFault{op: vfs.OpRemove}
	b := newBed(t, faulty(fault.plan, nil), smallLog)
	b.topic("goes", 1)
	b.fill("goes", 0, 300)
	b.moved()
	h := b.partition("goes", 0)
	dir := b.node.partitionDir(h.topic, 0)
	fault.dir.Store(&dir)
	if _, err := b.admin().DeleteTopic(soon(t), "goes"); err == nil {
		t.Error("deleted, though its files are there")
	}
	if len(b.node.hosts.list()) != 0 || b.node.hosts.get(h.group.ID()) != h {
		t.Error("the replica is not among those that are being deleted")
	}
	b.topic("goes", 1)
	b.produce("goes", 0, "new")
	fault.dir.Store(nil)
	until(t, "the files are deleted", func() bool { _, err := b.mem.Stat(dir); return err != nil && len(b.node.hosts.all()) == 1 })
	b.wantValues("goes", 0, 0, "new")
}

// What is deleted under the mover and retention is no failure of theirs, and a
// partition that is gone is left alone.
func TestDeletedUnderMover(t *testing.T) {
	b := newBed(t)
	b.topic("goes", 1)
	b.fill("goes", 0, 100)
	h := b.partition("goes", 0)
	run := wal.Run{Stream: uint64(h.group.ID()), First: 1, Last: uint64(h.group.Status().Applied)}
	if err := h.files.Close(); err != nil {
		t.Fatal(err)
	}
	if err := b.node.mover.empty(run); !errors.Is(err, store.ErrClosed) {
		t.Errorf("move to closed files: %v", err)
	}
	h.gone.Store(true)
	if err := b.node.mover.empty(run); err != nil {
		t.Errorf("move of a partition that is gone: %v", err)
	}
	if err := b.node.retention.tend(t.Context(), h); err != nil {
		t.Errorf("retention of a partition that is gone: %v", err)
	}
}

// A move that fails half way leaves nothing staged: retention works, and the
// next move succeeds.
func TestMoveFailsHalfWay(t *testing.T) {
	var armed, wrote atomic.Bool
	b := newBed(t, faulty(func(c vfs.Call) vfs.Fault {
		switch inLog := path.Base(path.Dir(c.Name)) == walDir; {
		case !armed.Load():
		case c.Op == vfs.OpWrite && !inLog:
			wrote.Store(true)
		case c.Op == vfs.OpRead && inLog && wrote.Load():
			return vfs.Fault{Err: syscall.EIO}
		}
		return vfs.Fault{}
	}, nil), func(c *Config) { c.WAL = WALConfig{SegmentBytes: 2 << 20, BudgetBytes: 1 << 30} }) // no mover but the test's
	b.topic("t", 1, "retention.ms", "-1")
	want := b.fill("t", 0, 3000)
	h := b.partition("t", 0)
	last := h.group.Status().Applied
	armed.Store(true)
	if err := b.node.mover.move(h, last); !errors.Is(err, syscall.EIO) || !wrote.Load() {
		t.Fatalf("move: %v, after a write: %v", err, wrote.Load())
	}
	armed.Store(false)
	if err := b.node.retention.tend(t.Context(), h); err != nil {
		t.Errorf("retention after a move that failed: %v", err)
	}
	if err := b.node.mover.move(h, last); err != nil || h.files.Last() != last {
		t.Fatalf("the next move: %v, the files end at %d, want %d", err, h.files.Last(), last)
	}
	b.wantValues("t", 0, 0, want...)
}

// A full disk while a checkpoint is written fails the move, not the files: with
// room the move is made.
func TestMoveNoRoom(t *testing.T) {
	var armed atomic.Bool
	var writes atomic.Int64
	b := newBed(t, faulty(func(c vfs.Call) vfs.Fault {
		// The first write to the index file is of the entries, the second of the record.
		if armed.Load() && c.Op == vfs.OpWrite && path.Ext(c.Name) == ".idx" && writes.Add(1) == 2 {
			return vfs.Fault{Err: syscall.ENOSPC}
		}
		return vfs.Fault{}
	}, nil))
	b.topic("t", 1, "retention.ms", "-1")
	want := b.fill("t", 0, 200)
	h := b.partition("t", 0)
	last := h.group.Status().Applied
	armed.Store(true)
	if err := b.node.mover.move(h, last); !noRoom(err) || errors.Is(err, store.ErrFailed) {
		t.Fatalf("move on a full disk: %v", err)
	}
	if err := b.node.retention.tend(t.Context(), h); err != nil {
		t.Errorf("retention after a move without room: %v", err)
	}
	if err := b.node.mover.move(h, last); err != nil {
		t.Fatalf("move with room again: %v", err)
	}
	b.wantValues("t", 0, 0, want...)
}

// A segment that stays live after it was emptied is told in the end.
func TestStillLive(t *testing.T) {
	m := &mover{}
	for _, seq := range []uint64{1, 1, 2} {
		if err := m.stillLive(seq, wal.ErrLive); err != nil {
			t.Errorf("segment %d at first: %v", seq, err)
		}
	}
	m.liveSince = m.liveSince.Add(-liveMax)
	wantErr(t, "the same one later", m.stillLive(2, wal.ErrLive), wal.ErrLive)
	if err := m.stillLive(3, wal.ErrLive); err != nil {
		t.Errorf("another one: %v", err)
	}
}

// Damage that a read meets is told as damage of the partition, whoever found it.
func TestReadDamage(t *testing.T) {
	h := &hosted{}
	for _, err := range []error{
		fmt.Errorf("read: %w", &store.CorruptError{File: "f", What: "batch"}),
		fmt.Errorf("read: %w", &wal.DamageError{File: "f", Reason: "checksum"}),
	} {
		wantErr(t, "damage", h.whyFailed(err), replica.ErrDamaged)
		wantErr(t, "its cause", h.whyFailed(err), err)
	}
	if err := h.whyFailed(replica.ErrCompacted); errors.Is(err, replica.ErrDamaged) {
		t.Errorf("compacted: %v", err)
	}
	var none ids.TopicID
	if err := (&hosts{errs: failures{{1}: {syscall.EIO}}, settled: 1}).settle(t.Context(), 1, none); err != nil {
		t.Errorf("the error of another topic: %v", err)
	}
}

// TestFreshEndsWithACommit: a partition in which something is committed had a leader, and
// its first replica does not campaign against one that it has not heard of yet.
func TestFreshEndsWithACommit(t *testing.T) {
	t.Parallel()
	c := newClusterBed(t, 3)
	c.topic("t", 1, 3)
	c.produce("t", 0, 10)
	h := c.hosted(1, "t")
	until(t, "a commit", func() bool { return h.group.Status().Commit > 0 })
	c.stop(2, 3)
	until(t, "there is no leader", func() bool { return h.group.Status().Leader == 0 })
	if again := c.nodes[0].hosts.campaign([]fresh{{h, freshTries}}); len(again) > 0 {
		t.Error("it asks for votes as if the partition was new")
	}
}
