package bench

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"dyno/bench/cell"
	"dyno/bench/record"
	"dyno/engine/variants"
)

// Each step of a ladder changes one setting, and every arm is one that a node takes.
func TestNeighboursDifferByOneSetting(t *testing.T) {
	for name, arms := range map[string][]slowArm{"batching": batchingArms, "rwlock": rwlockLadder} {
		for i := 1; i < len(arms); i++ {
			a, b := reflect.ValueOf(arms[i-1].config), reflect.ValueOf(arms[i].config)
			var differ []string
			for f := range a.NumField() {
				if !a.Field(f).Equal(b.Field(f)) {
					differ = append(differ, a.Type().Field(f).Name)
				}
			}
			if len(differ) != 1 {
				t.Errorf("%s: %s and %s differ by %v", name, arms[i-1].name, arms[i].name, differ)
			}
		}
		if last := arms[len(arms)-1]; !last.config.Shipped() {
			t.Errorf("%s ends with %s, which is not what is shipped", name, last.name)
		}
	}
	for _, a := range slices.Concat(batchingArms, rwlockArms) {
		if a.config.OnlyToMeasure = true; a.config.Check() != nil {
			t.Errorf("%s: %v", a.name, a.config.Check())
		}
	}
}

func TestSlowExperimentsCompareLikeWithLike(t *testing.T) {
	for _, c := range []struct {
		build        func(ExperimentConfig) Experiment
		cells, quick int
		targets      int
	}{
		{rwlockExperiment, 6*(5*2*2) + 5*4, 6 + 5, 4},
		// 30 loads of 7 arms; A is left out where a partition has more than 64 clients.
		{batchingExperiment, 7*30 - 2*(2+2), 7, 3},
	} {
		e := c.build(ExperimentConfig{Seed: 7})
		if len(e.Cells) != c.cells || len(e.Targets) != c.targets {
			t.Errorf("%s: %d cells, want %d; %d targets, want %d", e.Name, len(e.Cells), c.cells, len(e.Targets), c.targets)
		}
		comparableArms(t, e, slowReps)
		seen := map[string]string{} // all that an arm says of itself, but where it stands: its name
		for _, cell := range e.Cells {
			params := fmt.Sprint(cell.Params)
			if other, twice := seen[params]; twice {
				t.Errorf("%s: %s and %s are the same", e.Name, other, cell.Arm)
			}
			seen[params] = cell.Arm
			if cell.Params[paramBlock] != cell.Block {
				t.Errorf("%s stands in block %s and says %s", cell.Arm, cell.Block, cell.Params[paramBlock])
			}
		}
		if q := c.build(ExperimentConfig{Quick: true}); len(q.Cells) != c.quick {
			t.Errorf("%s: %d cells of a quick run, want %d", e.Name, len(q.Cells), c.quick)
		}
		if err := e.restrict([]string{familyHeadline}); err != nil || len(e.Targets) != c.targets {
			t.Errorf("%s: the headline alone keeps %d targets: %v", e.Name, len(e.Targets), err)
		}
	}
}

func TestSlowArgs(t *testing.T) {
	if args, err := slowArgs(t.TempDir(), variants.Config{}); err != nil || args != nil {
		t.Errorf("the path as shipped is started with %v: %v", args, err)
	}
	args, err := slowArgs(t.TempDir(), variants.Config{Lock: "l", Batch: "b", Poll: "p", Sync: "s", Nested: true, SyncWait: 5e6})
	if err != nil || len(args) != 2 || args[0] != "--config" {
		t.Fatalf("arguments %v: %v", args, err)
	}
	text, err := os.ReadFile(args[1])
	if want := "experiment:\n  only_to_measure: true\n  lock: l\n  batch: b\n  poll: p\n  sync: s\n  nested: true\n  sync_wait: 5ms\n"; err != nil || string(text) != want {
		t.Errorf("settings %q: %v", text, err)
	}
}

// One arm and one map, from the command to the printed result; and a cluster whose
// replicas differ is a violation.
func TestSlowArmOnFakes(t *testing.T) {
	if testing.Short() {
		t.Skip("runs two windows of 2.5 s")
	}
	const arm, maps = "headline/fake", "map/xsync-4"
	experiments["one"] = known{"to test with", func(cfg ExperimentConfig) Experiment {
		e := rwlockExperiment(cfg)
		e.Cells = slices.DeleteFunc(e.Cells, func(c Cell) bool { return c.Arm != maps })
		p := newSlowPlan(cfg, "one", "q", "e")
		p.slow(familyHeadline, familyHeadline, slowArm{"fake", variants.Config{Batch: variants.BatchTimer, Nested: true}}, shape{sizeBytes: kib, partitions: 1, clients: 8}, 1)
		e.Cells, e.Targets = append(e.Cells, p.e.Cells...), nil
		return e
	}}
	t.Cleanup(func() { delete(experiments, "one") })
	opt, suite, strays := fakeLab(t, fakeGood)
	run, err := RunExperiment(t.Context(), "one", opt, ExperimentConfig{Quick: true, Dyno: suite.Dyno})
	if err != nil {
		t.Fatalf("%v\n%s", err, opt.Err)
	}
	got := run.Arm(arm)
	for name, want := range map[string]float64{"entries_per_proposal": 4, "proposals_per_batch": 0.5, "polls": 0} {
		if vs := got.Values(name); len(vs) != 1 || vs[0] != want {
			t.Errorf("%s: %v, the fake counts %v", name, vs, want)
		}
	}
	for _, name := range []string{"mutex_wait", "broker_cpu_1", "broker_cpu_2", "broker_cpu_3", "response_p999"} {
		if len(got.Values(name)) != 1 {
			t.Errorf("no %s", name)
		}
	}
	if p := got.Params; p[paramPath] != "fake" || p[paramProducers] != "8" || p["batch"] != "timer" || p["nested"] != "true" || p["nodes"] != "3" {
		t.Errorf("parameters %v", p)
	}
	if len(run.Arm(maps).Values("lookup")) != 1 || !strings.Contains(run.Verdict.Text, "xsync") {
		t.Errorf("the map: %+v; %s", run.Arm(maps), run.Verdict.Text)
	}
	opt, suite, _ = fakeLab(t, fakeApart)
	run, err = RunExperiment(t.Context(), "one", opt, ExperimentConfig{Quick: true, Only: []string{familyHeadline}, Dyno: suite.Dyno})
	if !errors.Is(err, ErrViolation) || run.Verdict.Result != record.Failed || !strings.Contains(run.Verdict.Text, "nodes 1 and 3 hold other bytes") {
		t.Errorf("replicas that differ: %v, %+v", err, run)
	}
	if pids := strays(); len(pids) > 0 {
		t.Errorf("processes left: %v", pids)
	}
}

// armRun is a run of arms with the same throughput in each repetition.
func armRun(throughput map[string]float64, params func(name string) map[string]string) *record.Run {
	run := &record.Run{Units: slices.Concat(loadUnits, []record.Unit{lookupUnit})}
	for name, v := range throughput {
		arm := record.Arm{Name: name}
		if params != nil {
			arm.Params = params(name)
		}
		for i := range slowReps {
			arm.Repetitions = append(arm.Repetitions, record.Repetition{Number: i + 1, Order: i + 1, Status: record.OK,
				Values: map[string]float64{"throughput": v, "lookup": v, "response_p99": 1e9 / v}})
		}
		run.Arms = append(run.Arms, arm)
	}
	return run
}

func TestRwlockAnswers(t *testing.T) {
	at := map[string]float64{"headline/none": 18000, "headline/read": 17000, "headline/read-writer": 16000, "headline/mutex": 15000,
		"headline/exclusive": 1500, "headline/origin": 1200, "map/rwmutex-4": 90, "map/copied-shards-4": 30}
	run := armRun(at, nil)
	text, factors := rwlockAnswer(run)
	for _, word := range []string{"the wait for the window explains 96 % (14.17x)", "the read lock 2 % (1.06x)", "both together are 15.00x", "nearest to 15.7x is origin",
		"With it 1200 records/s", "with 4 goroutines in ns: rwmutex 90, copied-shards 30"} {
		if !strings.Contains(text, word) {
			t.Errorf("no %q in %s", word, text)
		}
	}
	if len(factors) != 3+4 || factors[2].Claimed != rwlockClaim || factors[2].Ratio != 15 || factors[0].Ratio*factors[1].Ratio != factors[2].Ratio {
		t.Errorf("factors %+v", factors)
	}
	delete(at, "headline/origin")
	if text, factors = rwlockAnswer(armRun(at, nil)); strings.Contains(text, "claimed") || len(factors) != 5 {
		t.Errorf("without the origin: %s, %+v", text, factors)
	}
}

func TestBatchingAnswers(t *testing.T) {
	at := map[string]float64{}
	for i, v := range []float64{30, 300, 600, 3000, 6000, 600, 9000} {
		at[familyHeadline+"/"+batchingArms[i].name] = v
	}
	text, factors := batchingAnswer(armRun(at, nil))
	for _, word := range []string{"270x is reached", "from 30 records/s", "to 9000", "is 300.0x", "B-unlocked 10.00x", "E-timer 0.100x", "product 300.0x", "(F against D2) gains 1.50x"} {
		if !strings.Contains(text, word) {
			t.Errorf("no %q in %s", word, text)
		}
	}
	if n := len(batchingArms); len(factors) != n+1 || factors[n-1].Claimed != batchingClaim || math.Abs(product(factors[:n-1])-300) > 1e-9 {
		t.Errorf("factors %+v", factors)
	}
	at[familyHeadline+"/A-origin"] = 100
	if text, _ = batchingAnswer(armRun(at, nil)); !strings.Contains(text, "270x is not reached") {
		t.Error(text)
	}
	delete(at, familyHeadline+"/C-events")
	if text, _ = batchingAnswer(armRun(at, nil)); text != "" {
		t.Errorf("without an arm: %s", text)
	}
}

// Every map finds what it holds while somebody writes; one that finds something else
// is an error.
func TestLookups(t *testing.T) {
	for _, m := range lookupMaps {
		spec := lookupSpec{Map: m.name, Goroutines: 2, Run: 20 * lookupEvery, Seed: 1}
		res, err := spec.measure(m.make())
		if err != nil || res.Ns <= 0 || res.Lookups < lookupsUnlooked || res.Writes < 1 {
			t.Errorf("%s: %+v, %v", m.name, res, err)
		}
		made := m.make()
		k := replicaKey{part: 3}
		if made.put(k, &replicaValue{no: 5}); made.get(k) == nil || made.get(k).no != 5 || made.get(replicaKey{part: 4}) != nil {
			t.Errorf("%s does not hold what was put", m.name)
		}
		if made.remove(k); made.get(k) != nil {
			t.Errorf("%s holds what was removed", m.name)
		}
	}
	spec := lookupSpec{Goroutines: 1, Run: time.Millisecond}
	if _, err := spec.measure(forgetful{lookupMaps[0].make()}); !errors.Is(err, cell.ErrVerify) {
		t.Errorf("a map that forgets: %v", err)
	}
	if raw, err := json.Marshal(lookupSpec{Map: "none"}); err != nil {
		t.Error(err)
	} else if _, err := runLookups(t.Context(), raw, nil); err == nil {
		t.Error("a map that is not there was measured")
	}
}

type forgetful struct{ replicaMap }

func (f forgetful) get(k replicaKey) *replicaValue {
	if k.part == 3 {
		return nil
	}
	return f.replicaMap.get(k)
}

// The curves that a law can be fitted to: one for each path and load, by producers,
// the headline's cell among the others.
func TestScalings(t *testing.T) {
	at := map[string]float64{"one/none-1-256B": 100, "headline/none": 6000, "one/none-16-256B": 1500, "one/mutex-16-256B": 1400, "one/mutex-1-256B": 90, "three/none-1-256B": 50}
	run := armRun(at, func(name string) map[string]string {
		family, rest, _ := strings.Cut(name, "/")
		path, n, _ := strings.Cut(rest, "-")
		n, _, _ = strings.Cut(n, "-")
		p := map[string]string{"nodes": "1", "size": "256", "partitions": "1", paramPath: path, paramProducers: n}
		switch family {
		case familyHeadline:
			p[paramProducers] = "128"
		case "three":
			p["nodes"] = "3"
		}
		return p
	})
	run.Arms = append(run.Arms, record.Arm{Name: "map/xsync-4", Params: map[string]string{"map": "xsync"}})
	got := map[string]string{}
	for _, s := range scalings(run) {
		for _, p := range s.paths {
			for _, c := range p.cells {
				got[s.where+" "+p.name] += fmt.Sprintf("%.0f: %.0f %.2f, ", c.producers, c.throughput(), c.p99)
			}
		}
	}
	want := map[string]string{
		"1 node(s), 256 B, 1 partition(s) none":  "1: 100 10.00, 16: 1500 0.67, 128: 6000 0.17, ",
		"1 node(s), 256 B, 1 partition(s) mutex": "1: 90 11.11, 16: 1400 0.71, ",
		"3 node(s), 256 B, 1 partition(s) none":  "1: 50 20.00, ",
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("curves %v\nwant %v", got, want)
	}
	p := &page{Run: run, hues: map[string]int{}}
	grown, priced := p.scalingSection(), p.latencySection()
	if len(grown.Figures) != 2 || len(priced.Figures) != 1 || len(grown.Tables) != 1 || len(grown.Tables[0].Rows) != 1 {
		t.Errorf("charts %+v, %+v", grown, priced)
	}
}
