package enginetest

import (
	"fmt"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"testing/cryptotest"
	"testing/synctest"
	"time"

	"dyno/engine/replica"
)

// play runs one seed in a bubble of its own.
func play(t *testing.T, cfg SimConfig) (r *SimResult) {
	if only := os.Getenv("DYNO_SIM_ONLY"); only != "" {
		cfg.Only = regexp.MustCompile(only)
	}
	cryptotest.SetGlobalRandom(t, cfg.Seed)
	synctest.Test(t, func(*testing.T) { r = Simulate(cfg) })
	return r
}

// must wants no violation and a linearizable history, or shows the end of the
// trace. It returns how many operations were checked against the model.
func must(t *testing.T, cfg SimConfig, r *SimResult) (checked int) {
	t.Helper()
	if len(r.Violations) == 0 {
		checked = linearizable(t, r, max(cfg.Partitions, 4)) // 4 is the default
	}
	if len(r.Violations) == 0 && !t.Failed() {
		return checked
	}
	tail := r.Trace[max(0, len(r.Trace)-traceLines()):]
	for _, line := range tail {
		t.Log(line)
	}
	for _, v := range r.Violations {
		t.Error(v)
	}
	t.Fatalf("replay with DYNO_SIM_SEED=%d go test ./engine/enginetest -run '%s$'", cfg.Seed, strings.Split(t.Name(), "/")[0])
	return 0
}

func traceLines() int { return number0("DYNO_SIM_TRACE", 60) }

func number0(name string, other int) int {
	if n, err := strconv.Atoi(os.Getenv(name)); err == nil {
		return n
	}
	return other
}

// seeds are those to run: one that was asked for, as many as were asked for, or
// a few.
func seeds(few int) (list []uint64) {
	if s, err := strconv.ParseUint(os.Getenv("DYNO_SIM_SEED"), 10, 64); err == nil {
		return []uint64{s}
	}
	if testing.Short() {
		few = 1
	}
	for i := range number0("DYNO_SIM_SEEDS", few) {
		list = append(list, uint64(number0("DYNO_SIM_FROM", 0)+i))
	}
	return list
}

// TestSim plays random operations and faults and wants nothing that must not
// happen. DYNO_SIM_SEED=n plays one seed, DYNO_SIM_SEEDS=n that many from DYNO_SIM_FROM,
// DYNO_SIM_TRACE=n shows so many lines of a failed one, DYNO_SIM_ONLY=regexp those that
// match.
func TestSim(t *testing.T) {
	total, checked, start := &SimResult{Faults: map[string]int{}}, 0, time.Now()
	list := seeds(5)
	for _, seed := range list {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			cfg := SimConfig{Seed: seed, Messages: os.Getenv("DYNO_SIM_TRACE") != ""}
			r := play(t, cfg)
			checked += must(t, cfg, r)
			t.Log(r)
			total.add(r)
		})
		if t.Failed() {
			return
		}
	}
	t.Logf("%d seeds in %v: %d operations (%d checked to be linearizable), %d batches acknowledged, %d sent again, %d unknown, %d refused by a full disk, %d entries, %d quiet, %d of %d moves of replicas done, %d faults",
		len(list), time.Since(start).Round(time.Millisecond), total.Operations, checked, total.Acked, total.Retries, total.Unknown, total.NoRoom, total.Entries, total.Quiets, total.MovesDone, total.MovesBegun, total.faults())
	for _, kind := range FaultKinds() {
		t.Logf("  %-22s %d", kind, total.Faults[kind])
		if len(list) >= 5 && total.Faults[kind] == 0 {
			t.Errorf("no seed had a %s", kind)
		}
	}
}

// variants are other shapes of a cluster, and one in which everything is narrow:
// queues, messages and memory.
var variants = map[string]SimConfig{
	"one node":                 {Nodes: 1, Partitions: 2},
	"five nodes":               {Nodes: 5, Replicas: 3},
	"five replicas":            {Nodes: 5, Replicas: 5, Partitions: 2},
	"large segments":           {SegmentBytes: 1 << 20, TailBytes: 2 << 10},
	"files and snapshots":      {Files: true, Partitions: 2, TailBytes: 2 << 10},
	"narrow queues":            {TailBytes: 2 << 10, Replica: narrow},
	"one partition, many hurt": {Partitions: 1, Faults: 40},
	"moves":                    {Moves: true, Partitions: 2},
	"moves of one replica":     {Moves: true, Nodes: 3, Replicas: 1, Partitions: 2},
	"moves by snapshot":        {Moves: true, Nodes: 4, Files: true, Partitions: 2, TailBytes: 2 << 10},
	"moves in narrow queues":   {Moves: true, Partitions: 2, TailBytes: 2 << 10, Replica: narrow},
	"moves, many hurt":         {Moves: true, Nodes: 4, Partitions: 1, Faults: 60},
	"min.insync of all":        {MinInsync: 3, Partitions: 2},
	"leases":                   {Leases: true, Partitions: 2, Faults: 40},
	"leases, moves":            {Leases: true, Partitions: 2, Moves: true},
	"leases, files":            {Leases: true, Partitions: 2, Files: true, TailBytes: 2 << 10},
	"leases, five replicas":    {Leases: true, Nodes: 5, Replicas: 5, Partitions: 1, Faults: 40},
	"min.insync, moves":        {MinInsync: 3, Nodes: 5, Moves: true, Partitions: 2},
}

var narrow = replica.Config{
	MessageBytesMax: 600, InflightBytesMax: 2000, InflightMessagesMax: 4, UncommittedBytesMax: 2000, QueueBytesMax: 1500, ApplyBytesMax: 800,
}

// TestSimVariants plays the same on other clusters. DYNO_SIM_SEEDS and
// DYNO_SIM_SEED count for it as well.
func TestSimVariants(t *testing.T) {
	for name, cfg := range variants {
		t.Run(name, func(t *testing.T) {
			if testing.Short() && !cfg.Files {
				t.Skip("only one variant under -short")
			}
			for _, seed := range seeds(1) {
				t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
					cfg.Seed, cfg.Messages = seed, os.Getenv("DYNO_SIM_TRACE") != ""
					r := play(t, cfg)
					must(t, cfg, r)
					t.Log(r)
					if cfg.Leases && r.LeaseReads == 0 {
						t.Error("no read went by a lease")
					}
				})
				if t.Failed() {
					return
				}
			}
		})
	}
}

func (r *SimResult) add(o *SimResult) {
	r.Operations += o.Operations
	r.Acked += o.Acked
	r.Retries += o.Retries
	r.Unknown += o.Unknown
	r.NoRoom += o.NoRoom
	r.Quiets += o.Quiets
	r.Entries += o.Entries
	r.MovesBegun += o.MovesBegun
	r.MovesDone += o.MovesDone
	for k, n := range o.Faults {
		r.Faults[k] += n
	}
}

func (r *SimResult) faults() (n int) {
	for _, k := range r.Faults {
		n += k
	}
	return n
}

// TestSimReplays: a seed is a run, to the last message.
func TestSimReplays(t *testing.T) {
	files := variants["files and snapshots"]
	files.Seed, files.Operations = 11, 800
	for _, cfg := range []SimConfig{{Seed: 3, Operations: 800}, files} {
		var hashes []uint64
		for i := range 2 {
			t.Run(fmt.Sprint("seed ", cfg.Seed, " run ", i), func(t *testing.T) {
				r := play(t, cfg)
				must(t, cfg, r)
				hashes = append(hashes, r.Hash)
			})
		}
		if len(hashes) != 2 || hashes[0] != hashes[1] {
			t.Errorf("seed %d gave hashes %x", cfg.Seed, hashes)
		}
	}
}
