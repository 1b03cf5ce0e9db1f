package bench

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"dyno/bench/record"
)

func TestPartitionsAsksWhatWasPromised(t *testing.T) {
	e := partitionsExperiment(ExperimentConfig{Seed: 7})
	var ratios Experiment
	ratios.Cells = e.Cells
	bounds := map[string]float64{"cpu of idle/1000": 5, "cpu of idle/10000": 10, "rss_per_replica of idle/1000": 16384, "rss_per_replica of idle/10000": 16384}
	for _, g := range e.Targets {
		if !g.bound() {
			ratios.Targets = append(ratios.Targets, g)
			continue
		}
		key := g.Measure + " of " + g.Arm
		if most, ok := bounds[key]; !ok || g.AtMost != most || !g.Worst {
			t.Errorf("%+v", g)
		}
		delete(bounds, key)
	}
	if len(bounds) > 0 || len(ratios.Targets) != 2 {
		t.Errorf("not promised: %v; %d ratios", bounds, len(ratios.Targets))
	}
	comparableArms(t, ratios, clusterReps)
	for _, arm := range []string{"load/1", "load/8", "load/64", "load/512", "load/4096", "idle/0", "idle/100", "idle/1000", "idle/10000"} {
		if c := e.Cells[armAt(t, e, arm)]; !strings.HasSuffix(arm, "/"+c.Params["partitions"]) {
			t.Errorf("%s: %v", arm, c.Params)
		}
	}
	for _, c := range partitionsExperiment(ExperimentConfig{Quick: true}).Cells {
		if n := c.Params["partitions"]; n == "10000" || n == "4096" {
			t.Errorf("%s is in a quick run", c.Arm)
		}
	}
	names := map[string]bool{}
	for _, u := range e.Units {
		if names[u.Name] {
			t.Errorf("unit %s stands twice", u.Name)
		}
		names[u.Name] = true
	}
}

// The memory of a replica is derived from the arm without partitions.
func TestPartitionsDeriveTheMemoryOfAReplica(t *testing.T) {
	e := partitionsExperiment(ExperimentConfig{})
	run := &record.Run{}
	for arm, rss := range map[string]float64{"idle/0": 10e6, "idle/100": 11e6, "idle/1000": 20e6, "idle/10000": 60e6} {
		run.Arms = append(run.Arms, record.Arm{Name: arm, Repetitions: []record.Repetition{{Number: 1, Status: record.OK, Values: map[string]float64{"rss": rss}}}})
	}
	e.Derive(run)
	for arm, want := range map[string]float64{"idle/1000": 10e3, "idle/10000": 5e3} {
		if got := run.Arm(arm).Values("rss_per_replica"); len(got) != 1 || got[0] != want {
			t.Errorf("%s: %v, want %v", arm, got, want)
		}
	}
	if got := run.Arm("idle/100").Values("rss_per_replica"); len(got) > 0 {
		t.Errorf("a hundred are too few to divide by: %v", got)
	}
	if text, _ := partitionsAnswer(run); !strings.Contains(text, "10000: 0.00 % and 57") {
		t.Errorf("%q", text)
	}
}

// A repetition that takes too long says so and ends; an interruption is none.
func TestWithinALimit(t *testing.T) {
	wait := func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }
	b := &bed{rep: &record.Repetition{Status: record.OK}}
	if err := b.within(t.Context(), time.Millisecond, wait); err != nil || b.rep.Status != record.Invalid || !strings.Contains(b.rep.Problem, "longer than 1ms") {
		t.Errorf("%v, %+v", err, b.rep)
	}
	b = &bed{rep: &record.Repetition{Status: record.OK}}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := b.within(ctx, time.Hour, wait); !errors.Is(err, context.Canceled) || b.rep.Status != record.OK {
		t.Errorf("%v, %+v", err, b.rep)
	}
	broken := errors.New("broken")
	if err := b.within(t.Context(), time.Hour, func(context.Context) error { return broken }); !errors.Is(err, broken) {
		t.Errorf("%v", err)
	}
}
