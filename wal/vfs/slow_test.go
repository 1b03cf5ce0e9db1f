package vfs_test

import (
	"testing"
	"testing/synctest"
	"time"

	"dyno/wal/vfs"
)

// TestSlow: syncs take longer, nothing else does.
func TestSlow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const wait = 5 * time.Millisecond
		mem := vfs.NewMem(1)
		must(t, mem.MkdirAll("/d"))
		disk := vfs.Slow(mem, wait)
		start := time.Now()
		f := create(t, disk, "/d/a")
		write(t, f, 0, "x")
		if took := time.Since(start); took != 0 {
			t.Errorf("making and writing a file took %v", took)
		}
		must(t, f.Datasync())
		must(t, disk.SyncDir("/d"))
		again, err := disk.Open("/d/a")
		must(t, err)
		must(t, again.Datasync())
		must(t, again.Close())
		if took := time.Since(start); took != 3*wait {
			t.Errorf("three syncs took %v, want %v", took, 3*wait)
		}
	})
}
