//go:build mutants

package enginetest

import (
	"fmt"
	"testing"

	"dyno/engine/partition"
	"dyno/engine/replica"
	"dyno/wal"
)

// mutants are guarantees that are switched off, each with the first seed of
// TestSim that notices. Look for others with DYNO_SIM_SEEDS=n.
var mutants = []struct {
	what, name string
	set        func(string) error
	cfg        SimConfig
}{
	{"an acknowledgement before the commit", "early-ack", replica.SetMutant, SimConfig{Seed: 0}},
	{"a vote that is not persisted", "no-vote", replica.SetMutant, SimConfig{Seed: 21}},
	{"a waiter keyed by its index alone", "index-only", replica.SetMutant, SimConfig{Seed: 1}},
	{"a read index context that is used again", "reuse-read", replica.SetMutant, SimConfig{Seed: 0}},
	{"a leader that serves before its first entry is applied", "early-lead", replica.SetMutant, SimConfig{Seed: 0}},
	{"producer state that is not rolled back", "keep-producers", partition.SetMutant, SimConfig{Seed: 2}},
	{"a log that does not sync", "no-sync", wal.SetMutant, SimConfig{Seed: 0}},
}

// searchMax is how far a seed that notices again is looked for.
const searchMax = 200

// TestSimMutants wants each mutant to be caught at its seed, and the real code
// to pass there. A change of the real code may move what a seed does: then the
// test names another one.
func TestSimMutants(t *testing.T) {
	for _, m := range mutants {
		t.Run(m.name, func(t *testing.T) {
			if v := violationsOf(t, m.cfg, "", m.set); len(v) > 0 {
				t.Fatalf("seed %d is no seed for a mutant, the real code fails: %s", m.cfg.Seed, v[0])
			}
			if v := violationsOf(t, m.cfg, m.name, m.set); len(v) > 0 {
				t.Logf("%s is caught by seed %d: %s", m.what, m.cfg.Seed, v[0])
				return
			}
			for cfg := (SimConfig{}); cfg.Seed < searchMax; cfg.Seed++ {
				if v := violationsOf(t, cfg, m.name, m.set); len(v) > 0 {
					t.Fatalf("seed %d does not notice %s any more; seed %d does: %s", m.cfg.Seed, m.what, cfg.Seed, v[0])
				}
			}
			t.Errorf("no seed below %d notices %s", searchMax, m.what)
		})
	}
}

func violationsOf(t *testing.T, cfg SimConfig, name string, set func(string) error) []string {
	if err := set(name); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := set(""); err != nil {
			t.Fatal(err)
		}
	}()
	var r *SimResult
	t.Run(fmt.Sprintf("seed %d %s", cfg.Seed, name), func(t *testing.T) { r = play(t, cfg) })
	return r.Violations
}
