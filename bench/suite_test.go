package bench

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"dyno/bench/record"
	"dyno/loadgen"
)

func TestSuiteOnAFakeBroker(t *testing.T) {
	if testing.Short() {
		t.Skip("runs two windows of 2.5 s")
	}
	opt, cfg, strays := fakeLab(t, fakeGood)
	run, err := RunSuite(t.Context(), opt, cfg)
	for again := 0; errors.Is(err, ErrInvalid) && again < 2; again++ {
		// On a busy machine the generator was late. That is a true verdict, and this
		// test is about the parts of a run.
		run, err = RunSuite(t.Context(), opt, cfg)
	}
	if err != nil {
		t.Fatalf("%v\n%s", err, opt.Err)
	}
	if run.Verdict.Result != record.OK {
		t.Errorf("verdict %+v", run.Verdict)
	}
	got, err := record.Open(filepath.Join(opt.Results, run.ID))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{armSaturate, armHalf} {
		arm := got.Arm(name)
		for _, value := range []string{"throughput", "response_p99", "fsyncs", "records_per_sync", "entries_per_sync",
			"broker_cpu", "client_cpu", "wal_bytes", "lost", "duplicated", "reordered"} {
			if vs := arm.Values(value); len(vs) != 1 {
				t.Errorf("%s has %d values of %s", name, len(vs), value)
			}
		}
		if arm.Observed[observedPhase] != "recycled" {
			t.Errorf("%s: WAL phase %q", name, arm.Observed[observedPhase])
		}
		if entries := arm.Values("entries_per_sync"); len(entries) == 1 && entries[0] != 3 {
			t.Errorf("%s: %v entries per sync, the fake counts 3", name, entries)
		}
		if objects := arm.Values("objects_per_batch"); len(objects) != 1 || objects[0] != 1.5 {
			t.Errorf("%s: %v objects per batch, the fake counts 1.5", name, objects)
		}
	}
	if half, full := got.Arm(armHalf).Values("offered"), got.Arm(armSaturate).Values("throughput"); half[0] != full[0]/2 {
		t.Errorf("offered %v, half of %v was wanted", half, full)
	}
	// The half is offered on a schedule, so its generator had precedence, or the result says why not.
	if nice, told := got.Config["generator_nice"], strings.Contains(strings.Join(got.Notes, "\n"), "no precedence"); (nice == float64(urgentNice)) == told {
		t.Errorf("generator_nice %v, notes %q", nice, got.Notes)
	}
	for _, file := range []string{"bench.txt", "report.html", "latency.hlog", "response.hgrm", "series.jsonl", "reps/saturate-1/latency.hlog"} {
		if info, err := os.Stat(filepath.Join(opt.Results, run.ID, file)); err != nil || info.Size() == 0 {
			t.Errorf("%s: %v", file, err)
		}
	}
	out := opt.Out.(*strings.Builder).String()
	for _, word := range []string{"throughput", "response p99.9", "lost", "fsyncs/s", "report.html", "No earlier good result"} {
		if !strings.Contains(out, word) {
			t.Errorf("the table lacks %q:\n%s", word, out)
		}
	}
	if pids := strays(); len(pids) > 0 {
		t.Errorf("processes left: %v", pids)
	}
	if _, err := os.Stat(filepath.Join(opt.Results, workName)); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("work directory left: %v", err)
	}
	if lines := strings.Split(strings.TrimSpace(opt.Err.(*strings.Builder).String()), "\n"); !json.Valid([]byte(lines[0])) {
		t.Errorf("progress is not JSON: %q", lines[0])
	}
}

// watchWriter calls back when a line holds a word.
type watchWriter struct {
	word string
	once sync.Once
	act  func()
}

func (w *watchWriter) Write(b []byte) (int, error) {
	if strings.Contains(string(b), w.word) {
		w.once.Do(w.act)
	}
	return len(b), nil
}

func TestInterruptionLeavesNothing(t *testing.T) {
	for phase, way := range map[string]string{"wait for quiet": fakeGood, "start": fakeSilent, "probe": fakeGood, "measure": fakeGood} {
		t.Run(phase, func(t *testing.T) {
			if testing.Short() && phase == "measure" {
				t.Skip("waits for a window")
			}
			opt, cfg, strays := fakeLab(t, way)
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			opt.Err = &watchWriter{word: fmt.Sprintf("%q", phase), act: cancel}
			_, err := RunSuite(ctx, opt, cfg)
			if !errors.Is(err, context.Canceled) {
				t.Errorf("got %v, want context.Canceled", err)
			}
			if pids := strays(); len(pids) > 0 {
				t.Errorf("processes left: %v", pids)
			}
			emptyOrGone(t, opt.Results)
		})
	}
}

func TestBadBrokersAreNamedAndCleared(t *testing.T) {
	for _, c := range []struct {
		way, word string
		want      error
	}{
		{fakeBroken, "port 21000 is in use", ErrStart},
		{fakeDies, "told to die", nil},
	} {
		t.Run(c.way, func(t *testing.T) {
			if testing.Short() && c.way == fakeDies {
				t.Skip("waits for a load")
			}
			opt, cfg, strays := fakeLab(t, c.way)
			_, err := RunSuite(t.Context(), opt, cfg)
			if err == nil || !strings.Contains(err.Error(), c.word) || c.want != nil && !errors.Is(err, c.want) {
				t.Errorf("got %v, want %v with %q", err, c.want, c.word)
			}
			if pids := strays(); len(pids) > 0 {
				t.Errorf("processes left: %v", pids)
			}
			emptyOrGone(t, opt.Results)
		})
	}
}

func TestSuiteRefusesNonsense(t *testing.T) {
	opt, good, _ := fakeLab(t, fakeGood)
	for name, change := range map[string]func(*SuiteConfig){
		"make build":  func(c *SuiteConfig) { c.Dyno = []string{filepath.Join(t.TempDir(), "dyno")} },
		"nodes":       func(c *SuiteConfig) { c.Nodes = 11 },
		"repetitions": func(c *SuiteConfig) { c.Repetitions = -1 },
		"acks":        func(c *SuiteConfig) { c.Acks = "most" },
		"window":      func(c *SuiteConfig) { c.Window = 1 },
		"bytes":       func(c *SuiteConfig) { c.RecordBytes = 3 },
	} {
		cfg := good
		change(&cfg)
		if _, err := RunSuite(t.Context(), opt, cfg); !errors.Is(err, ErrUsage) || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: got %v", name, err)
		}
	}
	emptyOrGone(t, opt.Results)
}

func TestJudgeNamesWhatIsWrong(t *testing.T) {
	zero := int64(0)
	honest := func() *loadResult {
		r := &loadResult{}
		r.Report.MsgsPerS, r.Report.Lost, r.Report.Saturated = 1000, &zero, loadgen.BottleneckNone
		return r
	}
	w := &watch{first: &point{}, last: &point{acked: 100}}
	w.last.brokers.at = w.first.brokers.at.Add(1e9)
	w.last.brokers.seen = counters{metricSyncs: 1, metricWritten: 1, metricSubmitted: 1, metricEntries: 1, metricBatches: 1, metricObjects: 1}
	for name, c := range map[string]struct {
		rate   float64
		change func(*loadResult)
		status string
		word   string
	}{
		"good":      {0, func(*loadResult) {}, record.OK, ""},
		"violation": {0, func(r *loadResult) { r.Violation = "3 lost" }, record.Failed, "3 lost"},
		"unread":    {0, func(r *loadResult) { r.Report.Lost = nil }, record.Invalid, "not verified"},
		"failed":    {0, func(r *loadResult) { r.Report.Failed = 4 }, record.Invalid, "4 failed"},
		"unknown":   {9, func(r *loadResult) { r.Report.Unknown = 5 }, record.Invalid, "5 of unknown fate"},
		"unsent":    {9, func(r *loadResult) { r.Detail.Unsent = 6 }, record.Invalid, "6 not sent"},
		"foreign":   {0, func(r *loadResult) { r.Detail.Verification = &loadgen.Verification{Foreign: 7} }, record.Invalid, "7 written by somebody else"},
		"generator": {0, func(r *loadResult) { r.Report.Saturated = loadgen.BottleneckGenerator }, record.Invalid, "generator was the bottleneck"},
		"cluster":   {0, func(r *loadResult) { r.Report.Saturated = loadgen.BottleneckCluster }, record.OK, ""},
		"overrun":   {9, func(r *loadResult) { r.Report.Saturated = loadgen.BottleneckCluster }, record.OK, ""},
	} {
		s := &suite{cfg: &SuiteConfig{RecordBytes: 10}, lab: &lab{}}
		res, rep := honest(), &record.Repetition{Status: record.OK}
		c.change(res)
		m := measured{load: res, watch: w}
		if err := s.trial(step{}, "", c.rate, "").judge(rep, m); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		s.learn(rep, m, c.rate)
		if rep.Status != c.status || !strings.Contains(rep.Problem, c.word) {
			t.Errorf("%s: %s, %q", name, rep.Status, rep.Problem)
		}
		if behind := len(s.lab.cautions) > 0; behind != (name == "overrun") {
			t.Errorf("%s: cautions %q", name, s.lab.cautions)
		}
		if good := len(s.reached) > 0; good != (c.status == record.OK && c.rate == 0) {
			t.Errorf("%s: counted towards the maximum: %v", name, good)
		}
	}
	if v := (record.Verdict{Result: record.Invalid, Text: "x"}); !errors.Is(verdictError(&record.Run{Verdict: v}), ErrInvalid) {
		t.Error("an invalid run has no error")
	}
}

// TestSuiteVerdict: one repetition that says nothing costs itself and is named; an arm
// without a majority of good ones costs the run; a broken promise outranks all.
func TestSuiteVerdict(t *testing.T) {
	for name, c := range map[string]struct {
		half []string // statuses
		want string
		says string
	}{
		"all good":       {[]string{record.OK, record.OK, record.OK}, record.OK, "all 60 acknowledged"},
		"one invalid":    {[]string{record.OK, record.OK, record.Invalid}, record.OK, "not counted: half, repetition 3: busy"},
		"two invalid":    {[]string{record.Invalid, record.OK, record.Invalid}, record.Invalid, "half, repetition 1: busy; half, repetition 3: busy"},
		"half of two":    {[]string{record.OK, record.Invalid}, record.Invalid, "repetition 2"},
		"the only one":   {[]string{record.Invalid}, record.Invalid, "repetition 1"},
		"a lost promise": {[]string{record.Invalid, record.Failed, record.Invalid}, record.Failed, "half, repetition 2: busy"},
	} {
		run := &record.Run{Arms: []record.Arm{{Name: armSaturate}, {Name: armHalf}}}
		for range 3 {
			run.Arms[0].Repetitions = append(run.Arms[0].Repetitions, record.Repetition{Status: record.OK, Values: map[string]float64{"acked": 10}})
		}
		for i, status := range c.half {
			run.Arms[1].Repetitions = append(run.Arms[1].Repetitions, record.Repetition{Number: i + 1, Status: status, Problem: "busy", Values: map[string]float64{"acked": 10}})
		}
		if v := suiteVerdict(run); v.Result != c.want || !strings.Contains(v.Text, c.says) {
			t.Errorf("%s: %+v", name, v)
		}
	}
}

// TestProducersNameTheArm: benchstat compares lines of one name, so another number of
// producers is another name; the usual number has the name it always had.
func TestProducersNameTheArm(t *testing.T) {
	for producers, want := range map[int]string{0: "", suiteProducers: "", 4: "4"} {
		cfg := SuiteConfig{Producers: producers}
		cfg.setDefaults()
		p := cfg.params()
		if p["producers"] != want || p["acks"] != "all" {
			t.Errorf("%d producers: %v", producers, p)
		}
		arm := record.Arm{Name: armHalf, Params: p, Repetitions: []record.Repetition{{Number: 1, Status: record.OK, Values: map[string]float64{"throughput": 9}}}}
		if found := scalings(&record.Run{Arms: []record.Arm{arm}}); len(found) > 0 {
			t.Errorf("%d producers: the report draws them as %+v", producers, found)
		}
	}
}

func TestEveryHalfFollowsTheLastSaturate(t *testing.T) {
	steps := (&SuiteConfig{Repetitions: 3}).plan()
	for i, st := range steps {
		if want := []string{armSaturate, armHalf}[i/3]; len(steps) != 6 || st.arm != want {
			t.Errorf("step %d of %d is %s", i, len(steps), st.name())
		}
	}
}

func TestChangeComparesTheSameThing(t *testing.T) {
	build := func(cfg SuiteConfig, offered, p99 float64) *record.Run {
		cfg.setDefaults()
		return &record.Run{Config: cfg.described(), Units: loadUnits, Arms: []record.Arm{{Name: armHalf, Repetitions: []record.Repetition{
			{Status: record.OK, Values: map[string]float64{"offered": offered, "response_p99": p99, "throughput": offered}}}}}}
	}
	now := build(SuiteConfig{}, 1000, 10)
	for name, c := range map[string]struct {
		then        *record.Run
		table, tail bool
	}{
		"the same":     {build(SuiteConfig{Repetitions: 9}, 1019, 5), true, true},
		"another rate": {build(SuiteConfig{}, 1021, 5), true, false},
		"warm-up":      {build(SuiteConfig{Warmup: 1}, 1000, 5), false, false},
		"window":       {build(SuiteConfig{Window: 1}, 1000, 5), false, false},
		"producers":    {build(SuiteConfig{Producers: 9}, 1000, 5), false, false},
		"rf":           {build(SuiteConfig{Nodes: 1}, 1000, 5), false, false},
	} {
		raw, err := json.Marshal(c.then.Config)
		if err != nil {
			t.Fatal(err)
		}
		c.then.Config = nil
		if err := json.Unmarshal(raw, &c.then.Config); err != nil { // as a result on the disk has it
			t.Fatal(err)
		}
		var b strings.Builder
		if err := writeChange(&b, now, c.then); err != nil {
			t.Fatal(err)
		}
		if table, tail := strings.Contains(b.String(), "throughput"), strings.Contains(b.String(), "x2.000"); table != c.table || tail != c.tail {
			t.Errorf("%s:\n%s", name, b.String())
		}
	}
}

func TestProgressOnATerminalIsOneLine(t *testing.T) {
	var b strings.Builder
	r := newReporter(&b, true, 4)
	r.say("saturate 1", "measure", "300000 records/s")
	r.step(2e9)
	r.say("half 1", "start", "")
	r.clear()
	if strings.Contains(b.String(), "\n") || !strings.Contains(b.String(), "[2/4] half 1: start, about 6s left") {
		t.Errorf("%q", b.String())
	}
	newReporter(io.Discard, true, 1).clear()
}
