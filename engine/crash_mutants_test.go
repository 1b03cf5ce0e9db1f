//go:build mutants

package engine

import (
	"testing"

	"dyno/wal"
)

// crashMutants are guarantees of the log that are switched off, each with a seed
// of TestCrashPowerCuts that notices.
var crashMutants = []struct {
	what, name string
	seed       uint64
}{
	{"an fdatasync that is left out", "no-sync", 8},
	{"damage below a promise, taken for a tear", "no-promise", 59},
	{"a segment's name that is not synced", "no-dirsync", 0},
	{"a record of an older use of its segment", "no-seq", 1},
}

const (
	// crashGoes is how often a seed may be played: what it does depends on the
	// scheduler, too. The worst of those above, no-seq, noticed in 57 of 60 goes
	// on two processors and in 15 of 60 on one.
	crashGoes = 50
	// crashSearchMax bounds the seeds that are tried for one mutant.
	crashSearchMax = 200
)

// TestCrashMutants removes one guarantee of the log at a time and wants the seed
// kept for it to turn red, and to pass with it.
func TestCrashMutants(t *testing.T) {
	for _, m := range crashMutants {
		t.Run(m.name, func(t *testing.T) {
			wantCrash(t, m.what, m.name, m.seed)
			if err := runCrash(m.seed); err != nil {
				t.Errorf("the real code fails there, too: %v", err)
			}
		})
	}
}

// wantCrash fails unless the seed turns red; it then says which one does.
func wantCrash(t *testing.T, what, name string, seed uint64) {
	t.Helper()
	if err := wal.SetMutant(name); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := wal.SetMutant(""); err != nil {
			t.Fatal(err)
		}
	}()
	for range crashGoes {
		if err := runCrash(seed); err != nil {
			t.Logf("seed %d notices %s: %v", seed, what, err)
			return
		}
	}
	for other := range uint64(crashSearchMax) {
		if err := runCrash(other); err != nil {
			t.Fatalf("seed %d does not notice %s any more: write down seed %d, which says: %v", seed, what, other, err)
		}
	}
	t.Fatalf("no seed below %d notices %s", crashSearchMax, what)
}
