//go:build mutants

package engine

import (
	"testing"

	"dyno/wal"
)

// mutantSeeds is how many seeds a mutant may survive before the suite counts as
// blind to it.
const mutantSeeds = 200

// TestCrashMutants removes one guarantee of the log at a time and wants the
// crash suite to turn red. The seed that caught it is logged.
func TestCrashMutants(t *testing.T) {
	for _, name := range []string{"no-sync", "no-promise", "no-dirsync", "no-seq"} {
		t.Run(name, func(t *testing.T) {
			if err := wal.SetMutant(name); err != nil {
				t.Fatal(err)
			}
			defer func() {
				if err := wal.SetMutant(""); err != nil {
					t.Fatal(err)
				}
			}()
			for seed := range uint64(mutantSeeds) {
				if err := runCrash(seed); err != nil {
					t.Logf("%s is caught by seed %d: %v", name, seed, err)
					return
				}
			}
			t.Errorf("no seed below %d notices %s", mutantSeeds, name)
		})
	}
}
