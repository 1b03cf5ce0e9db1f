//go:build mutants

package wal_test

import (
	"testing"

	"dyno/wal"
	"dyno/wal/vfs"
)

// TestMutantsByName shows that a log broken by name is caught as one broken by
// option is: what the crash tests of other packages rely on.
func TestMutantsByName(t *testing.T) {
	defer wal.SetMutant("")
	if wal.SetMutant("no-such") == nil {
		t.Error("an unknown mutant was accepted")
	}
	for _, m := range mutants {
		must(t, wal.SetMutant(m.name))
		wantNoticed(t, m.what, m.seed, whole)
	}
}

// TestMutantsLockSync counts the syncs during which nothing can be submitted.
func TestMutantsLockSync(t *testing.T) {
	defer wal.SetMutant("")
	for _, name := range []string{"", "locked-sync"} {
		must(t, wal.SetMutant(name))
		var l *wal.Log
		syncs, locked := 0, 0
		fsys := vfs.NewFaulty(vfs.NewMem(1), counted(vfs.OpDatasync, func(int) vfs.Fault {
			if l != nil { // not while it opens
				syncs++
				if wal.QueueLocked(l) {
					locked++
				}
			}
			return vfs.Fault{}
		}))
		opened := mustOpen(t, small(fsys, "/wal"))
		must(t, do(opened, entry(1, 1, 1, 10)))
		l = opened
		for i := range uint64(10) {
			must(t, do(opened, entry(1, i+2, 1, 10)))
		}
		want := 0
		if name != "" {
			want = syncs
		}
		if syncs < 10 || locked != want {
			t.Errorf("%q: nothing could be submitted during %d of %d syncs, want %d", name, locked, syncs, want)
		}
		must(t, l.Close())
	}
}
