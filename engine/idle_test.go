package engine

import (
	"testing"
	"time"

	"dyno/wal/vfs"
)

// A broker that nobody talks to does nothing: no worker is woken, nothing is
// written, nothing synced, whatever number of partitions it holds and clients
// are connected.
func TestIdle(t *testing.T) {
	var disk *vfs.Faulty
	b := newBed(t, faulty(nil, &disk))
	b.topic("idle", 50)
	b.produce("idle", 7, "a")
	cl := b.client()
	if err := cl.Ping(soon(t)); err != nil {
		t.Fatal(err)
	}
	type work struct{ drains, appends, syncs, writes, calls uint64 }
	now := func() work {
		raft, log := b.node.raft.Stats(), b.node.log.Stats()
		return work{raft.Drains, raft.Appends, uint64(log.Syncs), uint64(log.Writes), uint64(disk.Calls())}
	}
	window := func(d time.Duration) (before, after work) {
		before = now()
		<-time.After(d)
		return before, now()
	}
	until(t, "the broker falls silent", func() bool { a, z := window(50 * time.Millisecond); return a == z })
	if a, z := window(300 * time.Millisecond); a != z {
		t.Errorf("work while idle: %+v, before %+v", z, a)
	}
	b.produce("idle", 7, "b") // and it wakes up
	b.wantValues("idle", 7, 0, "a", "b")
}
