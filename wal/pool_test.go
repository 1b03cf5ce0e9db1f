package wal_test

import (
	"maps"
	"path"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"

	"dyno/wal"
	"dyno/wal/vfs"
)

// TestNextSegmentBeforeSpare: a spare takes as long to fill as a segment takes
// to write. The flusher must not wait for it while another spare is at hand.
func TestNextSegmentBeforeSpare(t *testing.T) {
	const piece, segment = 256 << 10, 16 << 20
	var (
		filling = make(chan struct{}) // the last spare is being filled
		release = make(chan struct{})
		renamed = make(chan string, 10) // segments that got their name
		early   = make(chan bool, 1)    // the third had its name before the spare was full
	)
	const last = "spare-00000004.tmp"
	fsys := vfs.NewFaulty(vfs.NewMem(1), func(c vfs.Call) vfs.Fault {
		name := path.Base(c.Name)
		switch {
		case c.Op == vfs.OpRename && strings.HasSuffix(name, ".wal"):
			renamed <- name
		case c.Op == vfs.OpWrite && name == last && c.Off == 0:
			close(filling)
			return vfs.Fault{Wait: release}
		case c.Op == vfs.OpWrite && name == last && c.Off == piece:
			early <- len(renamed) == 3
		}
		return vfs.Fault{}
	})
	l := mustOpen(t, wal.Options{FS: fsys, Dir: "/wal", SegmentBytes: segment, SpareSegments: 2})
	must(t, do(l, entry(1, 1, 1, 1))) // takes the first; the second gets its name
	<-filling
	for i := range uint64(segment / (1 << 20)) { // takes the second
		must(t, do(l, entry(1, 2+i, 1, 1<<20)))
	}
	close(release)
	if !<-early {
		t.Errorf("segments with a name while a spare is filled: %d, want 3: there was a spare for the next one", len(renamed))
	}
}

// TestZerosInPieces: a spare that nobody waits for is filled in pieces that hold a
// commit up for a moment only, the first ones, which somebody may wait for, in large ones.
func TestZerosInPieces(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const segment = 4 << 20
		writes := map[string]int{}
		fsys := vfs.NewFaulty(vfs.NewMem(1), func(c vfs.Call) vfs.Fault {
			if name := path.Base(c.Name); c.Op == vfs.OpWrite && strings.HasPrefix(name, "spare-") {
				writes[name]++ // by the pool's goroutine alone
			}
			return vfs.Fault{}
		})
		l := mustOpen(t, wal.Options{FS: fsys, Dir: "/wal", SegmentBytes: segment, SpareSegments: 2})
		synctest.Wait() // the spares are there
		want := map[string]int{"spare-00000001.tmp": segment >> 20, "spare-00000002.tmp": segment >> 20, "spare-00000003.tmp": segment / (256 << 10)}
		if !maps.Equal(writes, want) {
			t.Errorf("writes of zeros by file: %v, want %v", writes, want)
		}
		must(t, l.Close())
	})
}

// TestZerosAreSynced: a spare is never 8 MiB ahead of its last sync, and is synced
// when it is whole.
func TestZerosAreSynced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const segment, most = 20 << 20, 8 << 20
		dirty, syncs := map[string]int64{}, map[string]int{}
		fsys := vfs.NewFaulty(vfs.NewMem(1), func(c vfs.Call) vfs.Fault {
			switch name := path.Base(c.Name); { // by the pool's goroutine alone
			case !strings.HasPrefix(name, "spare-"):
			case c.Op == vfs.OpWrite:
				if dirty[name] += c.Len; dirty[name] > most {
					t.Errorf("%d bytes of %s are not synced", dirty[name], name)
				}
			case c.Op == vfs.OpDatasync:
				dirty[name] = 0
				syncs[name]++
			case c.Op == vfs.OpRename && dirty[name+".tmp"] > 0:
				t.Errorf("%s is named with %d bytes that are not synced", name, dirty[name+".tmp"])
			}
			return vfs.Fault{}
		})
		l := mustOpen(t, wal.Options{FS: fsys, Dir: "/wal", SegmentBytes: segment, SpareSegments: 2})
		synctest.Wait() // the spares are there
		want := map[string]int{"spare-00000001.tmp": 3, "spare-00000002.tmp": 3, "spare-00000003.tmp": 3}
		if !maps.Equal(syncs, want) {
			t.Errorf("syncs by file: %v, want %v", syncs, want)
		}
		must(t, l.Close())
	})
}

// TestUnnamedSegmentIsTheEnd: no room to make the next segment's name durable is
// not a full disk that may have room later, also while a spare is being filled.
func TestUnnamedSegmentIsTheEnd(t *testing.T) {
	const segment, last = 1 << 20, "spare-00000004.tmp"
	filling, release := make(chan struct{}), make(chan struct{})
	var full atomic.Bool
	fsys := vfs.NewFaulty(vfs.NewMem(1), func(c vfs.Call) vfs.Fault {
		switch {
		case c.Op == vfs.OpCreate && path.Base(c.Name) == last:
			close(filling)
			return vfs.Fault{Wait: release}
		case c.Op == vfs.OpSyncDir && full.Load():
			return vfs.Fault{Err: syscall.ENOSPC}
		}
		return vfs.Fault{}
	})
	l := mustOpen(t, wal.Options{FS: fsys, Dir: "/wal", SegmentBytes: segment, SpareSegments: 2})
	must(t, do(l, entry(1, 1, 1, 1)))
	<-filling
	must(t, do(l, entries(1, 2, 6, 1, segment/4)...)) // takes the second segment
	full.Store(true)
	close(release)
	<-l.Failed()
	if err := l.Err(); !strings.Contains(err.Error(), syscall.ENOSPC.Error()) {
		t.Errorf("the reason is lost: %v", err)
	}
}

// TestReserveWaitsForTheFullDisk: while nobody knows yet whether there is room for a
// spare, those who may use the last segment do not get it; once the disk is known to be
// full they do, and Full says so before they have used it up.
func TestReserveWaitsForTheFullDisk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var full atomic.Bool
		release := make(chan struct{})
		fsys := vfs.NewFaulty(vfs.NewMem(1), func(c vfs.Call) vfs.Fault {
			if c.Op == vfs.OpCreate && full.Load() {
				return vfs.Fault{Wait: release, Err: syscall.ENOSPC}
			}
			return vfs.Fault{}
		})
		l := mustOpen(t, small(fsys, "/wal"))
		synctest.Wait() // the spares are there
		full.Store(true)
		ended := make(chan error, 1)
		go func() {
			var err error
			for i := uint64(1); err == nil && !l.Full(); i++ {
				done := make(chan error, 1)
				err = l.Submit(&wal.Append{Records: []wal.Record{entry(1, i, 1, 8<<10)}, Sync: true, Reserve: true, Done: func(err error) { done <- err }})
				if err == nil {
					err = <-done
				}
			}
			ended <- err
		}()
		synctest.Wait() // it waits for a segment
		if l.Full() {
			t.Error("full, before anybody has asked the disk")
		}
		close(release)
		if err := <-ended; err != nil {
			t.Errorf("what may use the reserve did not fit: %v", err)
		}
		if !l.Full() || l.Err() != nil {
			t.Errorf("full %v, %v", l.Full(), l.Err())
		}
		must(t, l.Close())
	})
}
