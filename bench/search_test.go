package bench

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"dyno/bench/maxrate"
	"dyno/bench/record"
	"dyno/loadgen"

	"github.com/twmb/franz-go/pkg/kfake"
)

// kneeLoad is a cluster whose p99 passes 10 ms at a rate, and never varies.
type kneeLoad struct {
	knee  float64
	made  int
	specs []loadSpec
	spoil func(made int, res *loadResult) error // before a trial is judged; may be nil
}

func (k *kneeLoad) run(ctx context.Context, _ string, spec loadSpec) (*loadResult, map[string]float64, error) {
	if err := ctx.Err(); err != nil {
		return nil, nil, err
	}
	k.made++
	k.specs = append(k.specs, spec)
	zero, p99 := int64(0), int64(10e6*spec.Rate/k.knee)
	res := &loadResult{}
	res.Report.MsgsPerS, res.Report.Acked, res.Report.Saturated = spec.Rate, int64(spec.Rate), loadgen.BottleneckNone
	res.Report.Response = &loadgen.Quantiles{P50: p99 / 4, P90: p99 / 2, P99: p99, P999: 2 * p99, Max: 3 * p99}
	res.Report.Lost, res.Report.Duplicated, res.Report.Reordered, res.Report.Corrupted = &zero, &zero, &zero, &zero
	res.Detail.Verification, res.Detail.Capacity = &loadgen.Verification{}, 1e6
	if k.spoil != nil {
		if err := k.spoil(k.made, res); err != nil {
			return nil, nil, err
		}
	}
	return res, map[string]float64{"fsyncs": 12}, nil
}

// searchOf makes a lab and a search on a fake cluster.
func searchOf(t *testing.T, k *kneeLoad) (Options, MaxrateConfig) {
	t.Helper()
	opt, _, _ := fakeLab(t, fakeGood)
	opt.source = record.Commit{Hash: strings.Repeat("a", 40)}
	return opt, MaxrateConfig{SLO: []Bound{{"p99", 10 * time.Millisecond}}, Brokers: []string{"b:2", "a:1"}, load: k.run}
}

func TestMaxrateFindsTheKnee(t *testing.T) {
	k := &kneeLoad{knee: 43_000}
	opt, cfg := searchOf(t, k)
	run, err := RunMaxrate(t.Context(), opt, cfg)
	if err != nil {
		t.Fatal(err)
	}
	out := opt.Out.(*strings.Builder).String()
	last := k.specs[len(k.specs)-1]
	if last.Window != 15*time.Second || k.specs[0].Window != 3*time.Second || last.Rate > k.knee || last.Rate < 0.97*k.knee {
		t.Errorf("the last trial: %+v", last)
	}
	if k.specs[0].Capacity != 0 || last.Capacity != 1e6 {
		t.Errorf("the generator was probed with %v, and %v in the last trial", k.specs[0].Capacity, last.Capacity)
	}
	if last.Seed != uint64(k.made) || last.Topic != "dyno-maxrate" || !last.Existing {
		t.Errorf("a trial's load: %+v", last)
	}
	low := rateWord(last.Rate)
	for _, arm := range []string{"confirm/" + low, "measure/" + low} {
		if a := run.Arm(arm); a == nil || len(a.Values("response_p99")) == 0 || a.Values("fsyncs")[0] != 12 || a.Values(valueHeld)[0] != 1 {
			t.Errorf("%s: %+v", arm, a)
		}
	}
	if n := len(run.Arm("measure/" + low).Repetitions); n != 20 {
		t.Errorf("the lower end was measured %d times", n)
	}
	if run.Verdict.Result != record.OK || !strings.Contains(run.Verdict.Text, "holds at "+low) || strings.Contains(out, "wider") {
		t.Errorf("%+v\n%s", run.Verdict, out)
	}
	if strings.Count(out, "\n") < k.made || !strings.Contains(out, "failed: p99 is ") || !strings.Contains(out, "largest rate that held, records/s: "+low) {
		t.Errorf("the table:\n%s", out)
	}
	raw, err := json.Marshal(run)
	if err != nil || strings.Contains(string(raw), "a:1") {
		t.Errorf("the result tells the cluster's addresses, or nothing: %v", err)
	}
}

// What a search was told before it was interrupted it does not ask again, and the
// answer is the same.
func TestMaxrateGoesOnWhereItStopped(t *testing.T) {
	whole := &kneeLoad{knee: 43_000}
	opt, cfg := searchOf(t, whole)
	opt.Results = t.TempDir()
	want, err := RunMaxrate(t.Context(), opt, cfg)
	if err != nil {
		t.Fatal(err)
	}
	const stop = 17
	first := &kneeLoad{knee: 43_000, spoil: func(made int, _ *loadResult) error {
		if made > stop {
			return context.Canceled
		}
		return nil
	}}
	opt, cfg = searchOf(t, first)
	busy := opt
	busy.quiet.Share = -1 // each trial says so
	_, err = RunMaxrate(t.Context(), busy, cfg)
	var left *Interrupted
	if !errors.As(err, &left) || left.Kept != stop {
		t.Fatalf("interrupted: %v", err)
	}
	rest := &kneeLoad{knee: 43_000}
	cfg.load = rest.run
	got, err := RunMaxrate(t.Context(), opt, cfg)
	if err != nil {
		t.Fatal(err)
	}
	if rest.made != whole.made-stop || got.Verdict.Text != want.Verdict.Text || len(got.Seeds) != len(want.Seeds) {
		t.Errorf("%d trials of %d were made after %d were kept; %q, want %q", rest.made, whole.made, stop, got.Verdict.Text, want.Verdict.Text)
	}
	if out := opt.Out.(*strings.Builder).String(); !strings.Contains(out, "failed: p99 is ") || !strings.Contains(out, "17 trials come from an interrupted search") ||
		!strings.Contains(out, "% of the CPU before search") {
		t.Errorf("the table of a search that went on:\n%s", out)
	}
	again := &kneeLoad{knee: 43_000}
	cfg.load = again.run
	if _, err := RunMaxrate(t.Context(), opt, cfg); err != nil || again.made != whole.made {
		t.Errorf("a finished search left %d trials of %d to make: %v", again.made, whole.made, err)
	}
}

// A broken promise ends a search also when an earlier invocation met it, and a ledger
// that cannot be written says what is kept.
func TestMaxrateAsksNothingAfterABrokenPromise(t *testing.T) {
	for status, made := range map[string]int{record.Failed: 0, record.OK: 1} {
		plan, err := maxrate.New(maxrate.Config{})
		if err != nil {
			t.Fatal(err)
		}
		first, _ := plan.Next()
		k := &kneeLoad{knee: 43_000}
		x := bareExperiment(t)
		s := &search{cfg: &MaxrateConfig{Brokers: []string{"a:1"}, Trial: 1, Confirm: 5}, lab: x.lab, ledger: x.ledger,
			rateSearch: &rateSearch{plan: plan, slo: []Bound{{"p99", 10 * time.Millisecond}}, load: k.run}}
		old := rateTrial{Trial: first, rep: record.Repetition{Order: 1, Status: status, Values: map[string]float64{valueHeld: 1}}}
		if err := x.ledger.add(ledgerLine{Arm: old.arm() + "#1", Repetition: old.rep}); err != nil {
			t.Fatal(err)
		}
		x.ledger.file.Close()
		var left *Interrupted
		if err := s.all(t.Context()); k.made != made || errors.As(err, &left) != (made > 0) || made > 0 && left.Kept != 1 {
			t.Errorf("%s: %d trials, %v", status, k.made, err)
		}
	}
}

// Another topic is another search, and no name is told. What a topic that was there has
// of partitions is not known.
func TestMaxrateDescribesAClusterThatRuns(t *testing.T) {
	described := func(c MaxrateConfig) map[string]any { c.setDefaults(); return c.described() }
	mine, yours := described(MaxrateConfig{Brokers: []string{"a:1"}, Topic: "mine"}), described(MaxrateConfig{Brokers: []string{"a:1"}, Topic: "yours"})
	made := described(MaxrateConfig{Brokers: []string{"a:1"}, Topic: "mine", Create: true})
	if mine["topic"] == yours["topic"] || mine["topic"] == "mine" || mine["topic"] != made["topic"] || mine["create"] != false || made["create"] != true {
		t.Errorf("%v, %v, %v", mine, yours, made)
	}
	for _, key := range []string{"partitions", "rf"} {
		if mine[key] != nil || made[key] == nil {
			t.Errorf("%s: %v of a topic that was there, %v of one that is made", key, mine[key], made[key])
		}
	}
	if own := described(MaxrateConfig{}); own["topic"] != nil || own["create"] != nil || own["partitions"] != clusterParts {
		t.Errorf("fresh brokers: %v", own)
	}
}

func TestMaxrateEndsWithoutAnAnswer(t *testing.T) {
	for name, c := range map[string]struct {
		spoil func(made int, res *loadResult) error
		cfg   func(*MaxrateConfig)
		want  error
		word  string
		made  int // at most
	}{
		"a lost record": {func(made int, res *loadResult) error {
			if made == 5 {
				res.Violation = "1 lost of 9 acknowledged"
			}
			return nil
		}, nil, ErrViolation, "1 lost", 5},
		"the generator": {func(_ int, res *loadResult) error {
			if res.Report.MsgsPerS > 30_000 {
				res.Report.Saturated = loadgen.BottleneckGenerator
			}
			return nil
		}, nil, ErrInvalid, "the generator is the bottleneck", 100},
		"no rate holds": {func(_ int, res *loadResult) error { res.Report.Failed = 1; return nil }, nil, ErrInvalid, "held at no rate", 100},
		"never confirmed": {func(_ int, res *loadResult) error { return nil },
			func(c *MaxrateConfig) { c.Search.TrialsMax = 30 }, ErrInvalid, "30 trials were not enough", 30},
		"somebody else writes": {func(made int, res *loadResult) error {
			if made == 3 {
				res.Detail.Verification.Foreign = 4
			}
			return nil
		}, nil, ErrInvalid, "somebody else wrote 4", 3},
	} {
		k := &kneeLoad{knee: 43_000, spoil: c.spoil}
		opt, cfg := searchOf(t, k)
		opt.lock += name
		if c.cfg != nil {
			c.cfg(&cfg)
		}
		_, err := RunMaxrate(t.Context(), opt, cfg)
		if !errors.Is(err, c.want) || !strings.Contains(err.Error(), c.word) || k.made > c.made {
			t.Errorf("%s: after %d trials: %v", name, k.made, err)
		}
	}
}

func TestJudgeOfARate(t *testing.T) {
	slo := []Bound{{"p99", 10 * time.Millisecond}, {"p999", 30 * time.Millisecond}}
	for name, c := range map[string]struct {
		change    func(*loadResult)
		why       string
		generator bool
	}{
		"good":      {func(*loadResult) {}, "", false},
		"p99":       {func(r *loadResult) { r.Report.Response.P99 = 10e6 + 1 }, "p99 is 10ms", false},
		"p99.9":     {func(r *loadResult) { r.Report.Response.P999 = 31e6 }, "p999 is 31ms", false},
		"at limits": {func(r *loadResult) { r.Report.Response.P99, r.Report.Response.P999 = 10e6, 30e6 }, "", false},
		"generator": {func(r *loadResult) { r.Report.Saturated = loadgen.BottleneckGenerator }, "generator", true},
		"cluster":   {func(r *loadResult) { r.Report.Saturated = loadgen.BottleneckCluster }, "backlog", false},
		"disk":      {func(r *loadResult) { r.Report.Saturated = loadgen.BottleneckDisk }, "backlog", false},
		"fewer":     {func(r *loadResult) { r.Report.MsgsPerS = 940 }, "backlog grows: 940", false},
		"failed":    {func(r *loadResult) { r.Report.Failed = 1 }, "1 failed", false},
		"unknown":   {func(r *loadResult) { r.Report.Unknown = 2 }, "2 of unknown fate", false},
		"unsent":    {func(r *loadResult) { r.Detail.Unsent = 3 }, "3 not sent", false},
	} {
		res := &loadResult{}
		res.Report.MsgsPerS, res.Report.Saturated = 960, loadgen.BottleneckNone
		res.Report.Response = &loadgen.Quantiles{P99: 9e6, P999: 20e6}
		c.change(res)
		got := judgeRate(slo, 1000, res)
		if got.good != (c.why == "") || !strings.Contains(got.why, c.why) || got.generator != c.generator || strings.Contains(got.why, "another load") {
			t.Errorf("%s: %+v", name, got)
		}
	}
}

func TestBoundsAndShares(t *testing.T) {
	for text, want := range map[string]Bound{"p99=10ms": {"p99", 10 * time.Millisecond}, "P99.9=1s": {"p999", time.Second}, "max=2s": {"max", 2 * time.Second}} {
		if got, err := ParseBound(text); err != nil || got != want {
			t.Errorf("%s: %v, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "p99", "p98=1ms", "p99=10", "p99=0s", "p99=-1ms", "=1ms"} {
		if _, err := ParseBound(text); !errors.Is(err, ErrUsage) {
			t.Errorf("%q: %v", text, err)
		}
	}
	for text, want := range map[string]float64{"5%": 0.05, "0.05": 0.05, "0": 0, "12.5 %": 0.125} {
		if got, err := ParseShare(text); err != nil || got != want {
			t.Errorf("%q: %v, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "5", "-1%", "100%", "x%", "NaN"} {
		if _, err := ParseShare(text); !errors.Is(err, ErrUsage) {
			t.Errorf("%q: %v", text, err)
		}
	}
}

// The real generator, in a process of its own, against brokers that run already.
func TestMaxrateLoadsAClusterThatRuns(t *testing.T) {
	cluster, err := kfake.NewCluster(kfake.NumBrokers(1))
	if err != nil {
		t.Fatal(err)
	}
	defer cluster.Close()
	opt, _, strays := fakeLab(t, fakeGood)
	cfg := MaxrateConfig{SLO: []Bound{{"p99", 5 * time.Second}}, Brokers: cluster.ListenAddrs(), Topic: "mine", Create: true, RF: 1, JSON: true,
		Trial: searchTrialMin, Warmup: 100 * time.Millisecond, Search: maxrate.Config{Start: 200, TrialsMax: 2}}
	_, err = RunMaxrate(t.Context(), opt, cfg)
	if !errors.Is(err, ErrInvalid) || !strings.Contains(err.Error(), "2 trials were not enough") {
		t.Fatalf("%v\n%s", err, opt.Err)
	}
	var got maxrateReport
	if err := json.Unmarshal([]byte(opt.Out.(*strings.Builder).String()), &got); err != nil {
		t.Fatal(err)
	}
	if len(got.Trials) != 2 || got.Schema != maxrateSchema || got.Verdict != record.Invalid || got.Confirmed {
		t.Errorf("%+v", got)
	}
	for _, l := range got.Trials {
		if l.Offered != 200 || l.Achieved <= 0 || l.Held != (l.Why == "") || l.P99 <= 0 || l.Phase != maxrate.Search { // a busy machine may make it fail
			t.Errorf("trial %+v", l)
		}
	}
	if pids := strays(); len(pids) > 0 {
		t.Errorf("processes left: %v", pids)
	}
}

// Without brokers each trial starts its own.
func TestMaxrateStartsFreshBrokers(t *testing.T) {
	opt, suite, strays := fakeLab(t, fakeGood)
	cfg := MaxrateConfig{SLO: []Bound{{"p99", 5 * time.Second}}, Dyno: suite.Dyno, Nodes: 1,
		Trial: searchTrialMin, Warmup: 100 * time.Millisecond, Search: maxrate.Config{Start: 100, TrialsMax: 1}}
	run, err := RunMaxrate(t.Context(), opt, cfg)
	if !errors.Is(err, ErrInvalid) || run == nil || len(run.Arm("search/100").Values("response_p99")) != 1 {
		t.Fatalf("%v, %+v\n%s", err, run, opt.Err)
	}
	if pids := strays(); len(pids) > 0 {
		t.Errorf("processes left: %v", pids)
	}
	emptyOrGone(t, opt.Results+"/work")
	cfg.Dyno = []string{"no-such-dyno"}
	if _, err := RunMaxrate(t.Context(), opt, cfg); !errors.Is(err, ErrUsage) {
		t.Errorf("no program: %v", err)
	}
	cfg.SLO = nil
	if _, err := RunMaxrate(t.Context(), opt, cfg); !errors.Is(err, ErrUsage) {
		t.Errorf("no SLO: %v", err)
	}
}
