//go:build mutants

package wal_test

import (
	"testing"

	"dyno/wal"
)

// TestSetMutant shows that a log broken by name is caught as one broken by
// option is: what the crash tests of other packages rely on.
func TestSetMutant(t *testing.T) {
	defer wal.SetMutant("")
	if wal.SetMutant("no-such") == nil {
		t.Error("an unknown mutant was accepted")
	}
	for _, name := range []string{"no-sync", "no-promise", "no-dirsync", "no-seq"} {
		must(t, wal.SetMutant(name))
		caught := false
		for seed := uint64(1); seed <= 200 && !caught; seed++ {
			err := lives(seed, whole)
			if caught = err != nil; caught {
				t.Logf("%s caught at seed %d: %v", name, seed, err)
			}
		}
		if !caught {
			t.Errorf("no seed notices %s", name)
		}
	}
}
