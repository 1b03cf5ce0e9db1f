package bench

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/pprof/profile"

	"dyno/bench/attribute"
	"dyno/bench/record"
)

// The results that reports are drawn from in tests. That of a load is one of the
// repository's own; the others are made up, with every section filled.

func copyFile(t *testing.T, from, to string) {
	t.Helper()
	raw, err := os.ReadFile(from)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(to, raw, 0o600); err != nil {
		t.Fatal(err)
	}
}

// recordedLoad is a recorded load of three brokers, with a profile.
func recordedLoad(t *testing.T, root string) string {
	t.Helper()
	const id = "20261126.01-produce"
	dir := filepath.Join(root, "results", id)
	files := []string{"run.json", "latency.hlog", "series.jsonl", "detail.json"}
	for n := 1; n <= pooledLeast; n++ {
		files = append(files, step{arm: armHalf, number: n}.dir(repsDir)+"/latency.hlog")
	}
	for _, name := range files {
		copyFile(t, filepath.Join("..", "results", id, name), filepath.Join(dir, name))
	}
	storeProfile(t, filepath.Join(root, "profiles", id, cpuProfile), map[string]int64{
		"runtime.goexit;dyno/engine/multiraft.(*worker).run;dyno/engine/replica.(*Replica).turn;runtime.mallocgc": 300,
		"runtime.goexit;dyno/engine/multiraft.(*worker).run;dyno/wal.(*Log).flush;syscall.Syscall6":               500,
		"runtime.goexit;dyno/engine/kafka.(*conn).read;syscall.Syscall6":                                          200,
		"runtime.mcall;runtime.schedule": 120, "runtime.mcall;runtime.park_m": 1,
	})
	return dir
}

// storeProfile writes a CPU profile of stacks, outermost first, and their samples.
func storeProfile(t *testing.T, path string, stacks map[string]int64) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := profileOf(stacks).Write(f); err != nil {
		t.Fatal(err)
	}
}

func profileOf(stacks map[string]int64) *profile.Profile {
	p := &profile.Profile{SampleType: []*profile.ValueType{{Type: "samples", Unit: "count"}, {Type: "cpu", Unit: "nanoseconds"}},
		PeriodType: &profile.ValueType{Type: "cpu", Unit: "nanoseconds"}, Period: 1e7}
	known := map[string]*profile.Location{}
	for stack, n := range stacks {
		s := &profile.Sample{Value: []int64{n, n * 1e7}}
		names := strings.Split(stack, ";")
		slices.Reverse(names)
		for _, name := range names {
			l := known[name]
			if l == nil {
				f := &profile.Function{ID: uint64(len(known) + 1), Name: name}
				l = &profile.Location{ID: f.ID, Line: []profile.Line{{Function: f}}}
				known[name] = l
				p.Function, p.Location = append(p.Function, f), append(p.Location, l)
			}
			s.Location = append(s.Location, l)
		}
		p.Sample = append(p.Sample, s)
	}
	return p
}

// madeExperiment is the experiment rwlock as it might have come out: every arm of its
// plan follows a scalability law of its own, with noise.
func madeExperiment(t *testing.T, root string) string {
	t.Helper()
	e := rwlockExperiment(ExperimentConfig{Dyno: []string{"dyno"}, Peers: "", Seed: 1})
	run := madeRun(t, record.KindExperiment, e.Question, e.Expectation)
	run.Config, run.Units = e.Config, e.Units
	r := rand.New(rand.NewPCG(1, 2))
	laws := map[string][3]float64{"none": {900, 0.03, 1e-6}, "read": {880, 0.031, 2e-6}, "read-writer": {870, 0.032, 4e-6},
		"mutex": {850, 0.034, 8e-6}, "exclusive": {800, 0.95, 1e-5}, "origin": {10, 0.0004, 1e-8}}
	order := 0
	for _, c := range e.Cells {
		arm := record.Arm{Name: c.Arm, Params: c.Params}
		for n := 1; n <= c.Repetitions; n++ {
			order++
			values := map[string]float64{}
			noise := math.Exp(0.05 * r.NormFloat64())
			if law, ok := laws[c.Params[paramPath]]; ok {
				var clients float64
				if _, err := fmt.Sscan(c.Params[paramProducers], &clients); err != nil {
					t.Fatal(err)
				}
				x := noise * law[0] * clients / (1 + law[1]*(clients-1) + law[2]*clients*(clients-1))
				values["throughput"], values["response_p99"], values["broker_cpu"] = x, 2e9*clients/x, 1e5/x
				values["lost"] = 0
			} else {
				values["lookup"] = 20 * noise * float64(1+order%5)
			}
			arm.Repetitions = append(arm.Repetitions, record.Repetition{Number: n, Order: order, Seed: uint64(n), Seconds: 3, Status: record.OK, Values: values})
		}
		run.Arms = append(run.Arms, arm)
	}
	last := &run.Arms[len(run.Arms)-1]
	last.Repetitions[0].Status, last.Repetitions[0].Problem = record.Invalid, "the machine was not quiet: <5 % & rising"
	run.Verdict = conclude(run, e.Targets)
	text, factors := e.Answer(run)
	factors[0].Name += ", under a name that has no room beside its figures"
	run.Verdict.Text, run.Verdict.Factors = join(text, run.Verdict.Text), factors
	run.Verdict.Fits = fits(run)
	return seal(t, root, "rwlock", run)
}

// madeComparison is a comparison of two commits in blocks: one metric is worse, one
// better, one as before. The counters of a replay stand beside it.
func madeComparison(t *testing.T, root string) string {
	t.Helper()
	run := madeRun(t, record.KindComparison, "Is bbbbbbbbbb slower than aaaaaaaaaa?", "No metric is worse by its bound or more.")
	run.Config = map[string]any{"base": "aaaaaaaaaa", "head": "bbbbbbbbbb", "seed": "7"}
	run.Units = []record.Unit{{Name: "records_per_s", Unit: "records/s", Better: "higher"},
		{Name: "produce_cpu_s_per_million", Unit: "cpu-s/Mrecord", Better: "lower"}, {Name: "response_p99_ms", Unit: "ms", Better: "lower"}}
	r := rand.New(rand.NewPCG(3, 4))
	order := 0
	arms := map[string]*record.Arm{}
	measure := func(arm string, number int, shift [3]float64) {
		if arms[arm] == nil {
			arms[arm] = &record.Arm{Name: arm, Params: map[string]string{"lane": "t"}}
		}
		order++
		values := map[string]float64{}
		for i, u := range run.Units {
			values[u.Name] = []float64{180000, 6.5, 40}[i] * math.Exp(shift[i]+[]float64{0.01, 0.01, 0.08}[i]*r.NormFloat64())
		}
		arms[arm].Repetitions = append(arms[arm].Repetitions, record.Repetition{Number: number, Order: order, Seed: 1, Seconds: 9, Status: record.OK, Values: values})
	}
	none, change := [3]float64{}, [3]float64{-0.04, -0.05, 0.02}
	for _, stage := range []struct {
		prefix      string
		from, until int
		shift       [3]float64
	}{{"", 0, 12, change}, {"null-", 12, 15, none}, {"confirm-", 0, 12, change}} {
		for block := stage.from; block < stage.until; block++ {
			for place, side := range []string{"base", "head", "head", "base"} {
				shift := none
				if side == "head" {
					shift = stage.shift
				}
				measure(stage.prefix+side, block*4+place+1, shift)
			}
		}
	}
	for _, name := range []string{"base", "head", "null-base", "null-head", "confirm-base", "confirm-head"} {
		run.Arms = append(run.Arms, *arms[name])
	}
	run.Verdict = record.Verdict{Result: record.Failed, Text: "FAIL: records_per_s is worse"}
	dir := seal(t, root, "compare-t", run)
	copyFile(t, filepath.Join("testdata", "report", CountersFile), filepath.Join(dir, CountersFile))
	madeAttribution(t, dir)
	return dir
}

// madeAttribution writes the verdict of testdata into the result in dir, with a function
// that got slower and the profiles that show it.
func madeAttribution(t *testing.T, dir string) {
	t.Helper()
	v, err := readVerdict(filepath.Join("testdata", "report"))
	if err != nil {
		t.Fatal(err)
	}
	rose := attribute.Change{Base: 1, Head: 2.5, More: 1.5, Low: 1.25, High: 1.75, P: 0.0005}
	v.Attribution = &attribute.Attribution{Schema: attribute.Schema, Blocks: 12, Tested: 2, Phase: "toying", Profiles: t.TempDir(),
		Total: attribute.Change{Base: 91, Head: 92.5, More: 1.5, Low: 0.5, High: 2.5, P: 0.0005},
		Named: []attribute.Function{{Name: "dyno/toy.slow", Own: rose, Cum: rose, Rose: rose, Q: 0.001, From: "dyno/toy.work", Share: 1}}}
	err = errors.Join(v.write(filepath.Join(dir, VerdictFile)),
		writeProfile(filepath.Join(v.Attribution.Profiles, baseProfile), []*profile.Profile{toyProfile(90, 1)}),
		writeProfile(filepath.Join(v.Attribution.Profiles, headProfile), []*profile.Profile{toyProfile(90, 2.5)}))
	if err != nil {
		t.Fatal(err)
	}
}

// madeTrends is a history of two metrics, one of which got worse in the middle.
func madeTrends() []*Trend {
	var lines []HistoryLine
	for i := range 12 {
		lines = append(lines, HistoryLine{Lane: "micro", Reference: "aaaaaaaaaa", Commit: fmt.Sprintf("%010d", i),
			Ratios: map[string]float64{"produce_cpu": 1 + 0.001*float64(i%3) + 0.05*float64(i/6), "append_cpu": 1 - 0.001*float64(i%4)}})
	}
	return Trends(lines)
}

// madeRun is a run on the machine of the test.
func madeRun(t *testing.T, kind, question, expectation string) *record.Run {
	t.Helper()
	env, err := record.Capture(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	return &record.Run{Kind: kind, Question: question, Expectation: expectation, Started: time.Date(2026, 11, 27, 3, 0, 0, 0, time.UTC), Seconds: 1234,
		Commit: record.Commit{Hash: "bbbbbbbbbb1111111111bbbbbbbbbb1111111111"}, Seeds: []uint64{1}, Environment: env,
		Notes: []string{"machine: quiet in all of it, <b>as far as it tells</b>"}}
}

func seal(t *testing.T, root, name string, run *record.Run) string {
	t.Helper()
	dir, err := record.Create(filepath.Join(root, "results"), name, run.Started)
	if err != nil {
		t.Fatal(err)
	}
	if err := dir.Seal(run); err != nil {
		t.Fatal(err)
	}
	return dir.Path()
}

// rewriteRun rewrites a result's run.json, as if it had been another one.
func rewriteRun(t *testing.T, dir string, edit func(*record.Run)) {
	t.Helper()
	run, err := record.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	edit(run)
	raw, err := json.Marshal(run)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, record.RunFile), raw, 0o600); err != nil {
		t.Fatal(err)
	}
}
