//go:build mutants

package enginetest

import (
	"fmt"
	"testing"

	"dyno/engine/multiraft"
	"dyno/engine/partition"
	"dyno/engine/replica"
	"dyno/wal"
)

// mutants are guarantees that are switched off, each with a seed of TestSim that
// notices.
var mutants = []struct {
	what, name string
	set        func(string) error
	cfg        SimConfig
}{
	{"an acknowledgement before the commit", "early-ack", replica.SetMutant, SimConfig{Seed: 0}},
	{"a vote that is not persisted", "no-vote", replica.SetMutant, SimConfig{Seed: 57}},
	{"a waiter keyed by its index alone", "index-only", replica.SetMutant, SimConfig{Seed: 1}},
	{"a read index context that is used again", "reuse-read", replica.SetMutant, SimConfig{Seed: 1}},
	{"a leader that serves before its first entry is applied", "early-lead", replica.SetMutant, SimConfig{Seed: 0}},
	{"producer state that is not rolled back", "keep-producers", partition.SetMutant, SimConfig{Seed: 1}},
	{"a log that does not sync", "no-sync", wal.SetMutant, SimConfig{Seed: 0}},
	{"a snapshot taken without its state", "empty-restore", partition.SetMutant, filing.with(38)},
	{"a snapshot's boundary that is one too high", "snap-high", replica.SetMutant, filing.with(0)},
	{"a learner counted as a voter", "learner-votes", replica.SetMutant, SimConfig{Seed: 0, Moves: true}},
	{"a learner that votes before it has caught up", "early-promote", multiraft.SetMutant, SimConfig{Seed: 0, Moves: true}},
	{"a group that goes quiet while a member lacks entries", "quiet-lag", replica.SetMutant, SimConfig{Seed: 3}},
	{"a copy that counts when it is sent", "copies-sent", replica.SetMutant, SimConfig{Seed: 0, MinInsync: 3}},
	{"an answer before min.insync.replicas hold it", "few-copies", replica.SetMutant, SimConfig{Seed: 0, MinInsync: 3}},
	{"a lease that outlasts the promises", "long-lease", replica.SetMutant, leasing.with(19)},
	{"a lease that is kept while leadership is handed over", "lease-kept", replica.SetMutant, leasing.with(16)},
	{"voters that forget what they promised", "no-promise", replica.SetMutant, leasing.with(35)},
	{"a removed member that keeps what it knows", "untold", replica.SetMutant, SimConfig{Seed: 46, Moves: true, Nodes: 3, Replicas: 1, Partitions: 2, Faults: 40}},
}

// leasing reads by leases.
var leasing = SimConfig{Leases: true, Partitions: 2, Faults: 40}

// filing sends snapshots.
var filing = SimConfig{Files: true, Partitions: 2, TailBytes: 2 << 10}

func (c SimConfig) with(seed uint64) SimConfig {
	c.Seed = seed
	return c
}

// searchMax bounds the seeds that are tried for one mutant.
const searchMax = 200

// TestSimMutants wants each mutant to be caught by its seed, and the real code to
// pass there. A change of the real code moves what a seed does, so a seed may
// cease to notice: then others are tried, and the test names the one to write
// above and fails until it is.
func TestSimMutants(t *testing.T) {
	for _, m := range mutants {
		t.Run(m.name, func(t *testing.T) {
			cfg, v := m.cfg, violationsOf(t, m.cfg, m.name, m.set)
			for seed := uint64(0); len(v) == 0 && seed < searchMax; seed++ {
				cfg.Seed = seed
				v = violationsOf(t, cfg, m.name, m.set)
			}
			if len(v) == 0 {
				t.Fatalf("no seed below %d notices %s", searchMax, m.what)
			}
			if cfg.Seed != m.cfg.Seed {
				t.Errorf("seed %d does not notice %s any more: write down seed %d", m.cfg.Seed, m.what, cfg.Seed)
			}
			t.Logf("%s is caught by seed %d: %s", m.what, cfg.Seed, v[0])
			if v := violationsOf(t, cfg, "", m.set); len(v) > 0 {
				t.Errorf("so is the real code: %s", v[0])
			}
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
