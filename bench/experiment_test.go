package bench

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"dyno/bench/cell"
	"dyno/bench/record"
)

// tinyExperiment has two arms that are compared and one by itself.
func tinyExperiment(cfg ExperimentConfig) Experiment {
	p := &fsyncPlan{cfg: cfg, e: Experiment{Name: "tiny", Question: "q", Expectation: "e", Units: cellUnits, Config: map[string]any{"seed": cfg.Seed}}}
	p.cfg.Quick = true
	p.raw("a/written", "a", cell.Zero, 4096, 1, p.cfg.headline(fsyncReps))
	p.raw("a/grow", "a", cell.Grow, 4096, 1, p.cfg.headline(fsyncReps))
	p.raw("b/three", "b", cell.Recycled, 4096, 3, p.cfg.plain())
	p.goal("written against grow", "a/written", "a/grow", 1e-6)
	p.goal("written against grow, absurdly", "a/written", "a/grow", 1e6)
	for i := range p.e.Cells {
		c := &p.e.Cells[i]
		jobs := c.Jobs
		c.Jobs = func(dir string, seed uint64) []Task {
			tasks := jobs(dir, seed)
			for i := range tasks {
				spec := tasks[i].Spec.(cell.RawSpec)
				spec.TotalBytes = 64 << 10
				tasks[i].Spec = spec
			}
			return tasks
		}
	}
	return p.e
}

func withTiny(t *testing.T) {
	t.Helper()
	experiments["tiny"] = known{"to test with", tinyExperiment}
	t.Cleanup(func() { delete(experiments, "tiny") })
}

func TestExperimentEndToEnd(t *testing.T) {
	withTiny(t)
	opt, _, strays := fakeLab(t, fakeGood)
	run, err := RunExperiment(t.Context(), "tiny", opt, ExperimentConfig{})
	if err != nil {
		t.Fatal(err)
	}
	got, err := record.Open(filepath.Join(opt.Results, run.ID))
	if err != nil {
		t.Fatal(err)
	}
	for arm, n := range map[string]int{"a/written": 2, "a/grow": 2, "b/three": 1} {
		if vs := got.Arm(arm).Values("throughput"); len(vs) != n {
			t.Errorf("%s: %d good repetitions, want %d", arm, len(vs), n)
		}
	}
	targets := got.Verdict.Targets
	// Two repetitions are too few to call even an absurd target missed.
	if len(targets) != 2 || targets[0].Result != record.Unclear || targets[1].Result != record.Unclear || got.Verdict.Result != record.Unclear {
		t.Errorf("verdict %+v", got.Verdict)
	}
	for _, file := range []string{"bench.txt", "report.html"} {
		if _, err := os.Stat(filepath.Join(opt.Results, run.ID, file)); err != nil {
			t.Error(err)
		}
	}
	if left, _ := filepath.Glob(filepath.Join(opt.Results, ".*")); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
	if pids := strays(); len(pids) > 0 {
		t.Errorf("processes left: %v", pids)
	}
}

// An interrupted experiment keeps what it measured and goes on there.
func TestExperimentResumes(t *testing.T) {
	withTiny(t)
	opt, _, strays := fakeLab(t, fakeGood)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	opt.source = exactSource
	first := opt
	first.Err = &watchWriter{word: `"step":3`, act: cancel}
	first.quiet.Share = -1 // each repetition says that the machine is busy
	var left *Interrupted
	_, err := RunExperiment(ctx, "tiny", first, ExperimentConfig{})
	if !errors.Is(err, context.Canceled) || !errors.As(err, &left) || !strings.Contains(left.Left(), "2 of 5 repetitions are kept") {
		t.Fatalf("interrupted: %v", err)
	}
	if pids := strays(); len(pids) > 0 {
		t.Errorf("processes left: %v", pids)
	}
	ledgers, _ := filepath.Glob(filepath.Join(opt.Results, ".ledger-*"))
	if len(ledgers) != 1 {
		t.Fatalf("ledgers %v", ledgers)
	}
	// A crash in the middle of a line must cost that line alone.
	f, err := os.OpenFile(ledgers[0], os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteString(`{"arm":"a/gro`); err != nil {
		t.Fatal(err)
	}
	f.Close()
	run, err := RunExperiment(t.Context(), "tiny", opt, ExperimentConfig{})
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(strings.Join(run.Notes, "\n"), "2 repetitions come from an interrupted") {
		t.Errorf("notes %q", run.Notes)
	}
	if !strings.Contains(strings.Join(run.Notes, "\n"), "% of the CPU before ") {
		t.Errorf("what the interrupted invocation said is lost: %q", run.Notes)
	}
	orders := map[int]bool{}
	for _, arm := range run.Arms {
		if phase := arm.Observed[observedPhase]; phase == "" {
			t.Errorf("%s: the state of its space is not recorded", arm.Name)
		}
		for _, rep := range arm.Repetitions {
			orders[rep.Order] = true
		}
	}
	if len(orders) != 5 {
		t.Errorf("%d repetitions of 5: %v", len(orders), orders)
	}
	if left, _ := filepath.Glob(filepath.Join(opt.Results, ".*")); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

var exactSource = record.Commit{Hash: strings.Repeat("0123456789", 4)}

// A program of unknown or changed source keeps nothing: the next one may be
// another program of the same name.
func TestInexactBuildKeepsNothing(t *testing.T) {
	withTiny(t)
	for name, source := range map[string]record.Commit{
		"dirty": {Hash: exactSource.Hash, Dirty: true}, "unknown": {Hash: record.Unknown},
	} {
		opt, _, _ := fakeLab(t, fakeGood)
		ctx, cancel := context.WithCancel(t.Context())
		opt.source, opt.Err = source, &watchWriter{word: `"step":3`, act: cancel}
		_, err := RunExperiment(ctx, "tiny", opt, ExperimentConfig{})
		cancel()
		if err == nil || !strings.Contains(err.Error(), "none of 5") {
			t.Errorf("%s: %v", name, err)
		}
		emptyOrGone(t, opt.Results)
	}
}

// Another configuration must neither inherit repetitions nor cost them.
func TestLedgerOfAnotherRunIsNotMixedIn(t *testing.T) {
	root := t.TempDir()
	e := Experiment{Name: "x", Config: map[string]any{}}
	open := func(seed int, machine, gogc string, source record.Commit) *ledger {
		t.Helper()
		e.Config["seed"] = seed
		l, err := openLedger(root, &e, &record.Environment{Fingerprint: machine, Go: record.GoFacts{GOGC: gogc}}, source, nil)
		if err != nil {
			t.Fatal(err)
		}
		return l
	}
	l := open(1, "machine", "100", exactSource)
	if err := l.add(ledgerLine{Arm: "arm", Repetition: record.Repetition{Number: 1, Status: record.OK}, Phase: "zero"}); err != nil {
		t.Fatal(err)
	}
	if err := l.close(); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name, machine, gogc string
		seed                int
		source              record.Commit
		has                 bool
	}{
		{"another seed", "machine", "100", 2, exactSource, false},
		{"another machine", "other", "100", 1, exactSource, false},
		{"another setting of the collector", "machine", "400", 1, exactSource, false},
		{"another commit", "machine", "100", 1, record.Commit{Hash: strings.Repeat("a", 40)}, false},
		{"a dirty build", "machine", "100", 1, record.Commit{Hash: exactSource.Hash, Dirty: true}, false},
		{"the same", "machine", "100", 1, exactSource, true}, // the others have not taken it away
	} {
		l := open(c.seed, c.machine, c.gogc, c.source)
		if l.has("arm", 1) != c.has {
			t.Errorf("%s: has %v", c.name, !c.has)
		}
		if err := l.close(); err != nil {
			t.Fatal(err)
		}
	}
}

func TestOrderInterleavesComparedArms(t *testing.T) {
	e := fsyncExperiment(ExperimentConfig{Seed: 7})
	order := e.order(7)
	if !reflect.DeepEqual(order, e.order(7)) {
		t.Error("the same seed gave another order")
	}
	if reflect.DeepEqual(order, e.order(8)) {
		t.Error("another seed gave the same order")
	}
	seen := map[turn]bool{}
	for i, at := range order {
		if seen[at] {
			t.Fatalf("turn %+v twice", at)
		}
		seen[at] = true
		if i > 0 && order[i-1].number > at.number {
			t.Fatal("a repetition began before the one before it was over")
		}
	}
	for _, g := range e.Targets {
		a, b := armAt(t, e, g.Arm), armAt(t, e, g.Against)
		if e.Cells[a].Block != e.Cells[b].Block || e.Cells[a].Repetitions != fsyncReps {
			t.Errorf("%s: its arms are not interleaved or have too few repetitions", g.Name)
		}
	}
	if len(e.Targets) != 5+4+4 {
		t.Errorf("%d targets", len(e.Targets))
	}
}

func armAt(t *testing.T, e Experiment, arm string) int {
	t.Helper()
	i := slices.IndexFunc(e.Cells, func(c Cell) bool { return c.Arm == arm })
	if i < 0 {
		t.Fatalf("no arm %s", arm)
	}
	return i
}

func TestSettle(t *testing.T) {
	run := &record.Run{Arms: []record.Arm{{Name: "a"}, {Name: "b"}, {Name: "c"}}}
	for i := range 10 {
		for j, v := range []float64{200 + float64(i), 100, 100 + 30*float64(i)} {
			run.Arms[j].Repetitions = append(run.Arms[j].Repetitions, record.Repetition{
				Number: i + 1, Status: record.OK, Values: map[string]float64{"throughput": v}})
		}
	}
	for _, c := range []struct {
		arm    string
		least  float64
		result string
	}{{"a", 2, record.OK}, {"a", 3, record.Failed}, {"c", 2, record.Unclear}, {"none", 1, record.Invalid}} {
		got := settle(run, Goal{Arm: c.arm, Against: "b", Measure: "throughput", AtLeast: c.least})
		if got.Result != c.result {
			t.Errorf("%s against %v: %+v", c.arm, c.least, got)
		}
	}
	few := &record.Run{Arms: slices.Clone(run.Arms)}
	few.Arms[0].Repetitions = run.Arms[0].Repetitions[:3]
	if got := settle(few, Goal{Arm: "a", Against: "b", Measure: "throughput", AtLeast: 1}); got.Result != record.Unclear || got.Ratio < 2 {
		t.Errorf("three repetitions decided: %+v", got)
	}
	got := settle(run, Goal{Arm: "a", Against: "b", Measure: "throughput", AtLeast: 2})
	if got.Ratio != 2.045 || got.Low != 2.01 || got.High != 2.08 || got.Repetitions != 10 {
		t.Errorf("%+v", got)
	}
}

// An arm that is compared with a loop that syncs each write must sync as often.
func TestSharedSyncsMakeARepetitionInvalid(t *testing.T) {
	e := fsyncExperiment(ExperimentConfig{})
	c := &e.Cells[armAt(t, e, "commit/wal-1MiB")]
	for got, status := range map[float64]string{1: record.OK, 1.02: record.OK, 1.03: record.Invalid} {
		rep := record.Repetition{Number: 1, Status: record.OK, Values: map[string]float64{"records_per_sync": got}}
		if c.check(&rep); rep.Status != status {
			t.Errorf("%v records per sync: %s", got, rep.Status)
		}
		v := conclude(&record.Run{Arms: []record.Arm{{Name: c.Arm, Repetitions: []record.Repetition{rep}}}}, nil)
		if named := strings.Contains(v.Text, c.Arm); named != (status == record.Invalid) {
			t.Errorf("%v records per sync: verdict %q", got, v.Text)
		}
	}
	shares := record.Repetition{Status: record.OK, Values: map[string]float64{"records_per_sync": 9}}
	if e.Cells[armAt(t, e, "peers/usual-dyno")].check(&shares); shares.Status != record.OK {
		t.Error("an arm that may share syncs was refused")
	}
}

// The full run must end within about 20 minutes: preparing and reading back cost
// about as much again as the bytes counted here, several times for dyno's log.
func TestFullExperimentWritesABoundedAmount(t *testing.T) {
	var written int64
	for _, c := range fsyncExperiment(ExperimentConfig{}).Cells {
		for _, task := range c.Jobs("", 1) {
			if spec, ok := task.Spec.(cell.RawSpec); ok {
				written += int64(c.Repetitions) * spec.TotalBytes
			}
		}
	}
	if most := int64(80 << 30); written > most {
		t.Errorf("the raw loops write %s, at most %s", byteWord(written), byteWord(most))
	}
}

func TestExperimentRefusesNonsense(t *testing.T) {
	opt, _, _ := fakeLab(t, fakeGood)
	missing := filepath.Join(t.TempDir(), "dyno-peers")
	for _, c := range []struct {
		name, word string
		cfg        ExperimentConfig
	}{
		{"nosuch", "there are acks, batching, fsync", ExperimentConfig{}},
		{"fsync", "family", ExperimentConfig{Only: []string{"nosuch"}}},
		{"fsync", "make build-peers", ExperimentConfig{Only: []string{"peers"}, Peers: missing}},
	} {
		_, err := RunExperiment(t.Context(), c.name, opt, c.cfg)
		if !errors.Is(err, ErrUsage) || !strings.Contains(err.Error(), c.word) {
			t.Errorf("%s %+v: %v", c.name, c.cfg, err)
		}
	}
	broken := filepath.Join(t.TempDir(), "peers")
	if err := os.WriteFile(broken, []byte("#!/bin/sh\necho no\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	if _, err := RunExperiment(t.Context(), "fsync", opt, ExperimentConfig{Peers: broken}); !errors.Is(err, ErrStart) {
		t.Errorf("peers that talk nonsense: %v", err)
	}
}

// Arms that start no dyno measure the program that runs them, whatever --dyno says.
func TestAnotherDynoIsNotMixedIn(t *testing.T) {
	here, other := []string{"bin/dyno"}, []string{"old/dyno"}
	acks := experiments["acks"].build(ExperimentConfig{Quick: true})
	if text, err := acks.mixed(other, here); err != nil || text != "the arms power measured the dyno that ran the experiment, not the one of --dyno" {
		t.Errorf("acks: %q, %v", text, err)
	}
	again := filepath.Join(t.TempDir(), "again")
	if err := os.Symlink(os.Args[0], again); err != nil {
		t.Fatal(err)
	}
	if text, err := acks.mixed([]string{again}, []string{os.Args[0]}); err != nil || text != "" {
		t.Errorf("the same program by another path: %q, %v", text, err)
	}
	if text, err := acks.mixed(here, here); err != nil || text != "" {
		t.Errorf("acks with its own dyno: %q, %v", text, err)
	}
	if err := acks.restrict([]string{"power"}); err != nil {
		t.Fatal(err)
	}
	if _, err := acks.mixed(other, here); !errors.Is(err, ErrUsage) {
		t.Errorf("nothing starts the other dyno: %v", err)
	}
	idle := experiments["idle"].build(ExperimentConfig{Quick: true})
	if text, err := idle.mixed(other, here); err != nil || text != "" {
		t.Errorf("idle starts nothing else: %q, %v", text, err)
	}
}

// Repetitions are asked for where there are targets, and are part of what tells
// one ledger from another.
func TestRepetitionsOfHeadlineCells(t *testing.T) {
	for _, c := range []struct {
		cfg             ExperimentConfig
		headline, plain int
	}{
		{ExperimentConfig{}, fsyncReps, plainReps}, {ExperimentConfig{Repetitions: 4}, 4, plainReps},
		{ExperimentConfig{Quick: true}, 2, 1}, {ExperimentConfig{Quick: true, Repetitions: 1}, 1, 1},
	} {
		e := fsyncExperiment(c.cfg)
		head, plain := e.Cells[armAt(t, e, "commit/wal-4KiB")], e.Cells[armAt(t, e, "space/grow-4KiB-1p")]
		if head.Repetitions != c.headline || plain.Repetitions != c.plain || e.Config["repetitions_headline"] != c.headline {
			t.Errorf("%+v: %d and %d times, configuration %v", c.cfg, head.Repetitions, plain.Repetitions, e.Config)
		}
	}
	opt, _, _ := fakeLab(t, fakeGood)
	for _, n := range []int{-1, repetitionsMax + 1} {
		if _, err := RunExperiment(t.Context(), "fsync", opt, ExperimentConfig{Repetitions: n}); !errors.Is(err, ErrUsage) {
			t.Errorf("%d repetitions: %v", n, err)
		}
	}
}

// A column that nothing was measured for is not printed, and a single loss is not
// hidden behind a median.
func TestColumnsOfAnExperiment(t *testing.T) {
	run := &record.Run{Arms: []record.Arm{{Name: "a/b"}}}
	for i, lost := range []float64{0, 1, 0} {
		run.Arms[0].Repetitions = append(run.Arms[0].Repetitions, record.Repetition{
			Number: i + 1, Status: record.OK, Values: map[string]float64{"lost": lost, "response_p99": 2e6}})
	}
	var b strings.Builder
	if err := writeExperiment(&b, run, []column{{"lost", "gone", 1, "%.0f"}, {"response_p99", "tail", 1e-6, "%.1f"}, {"fsyncs", "syncs", 1, "%.0f"}}); err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(b.String(), "\n")
	at := slices.IndexFunc(lines, func(l string) bool { return strings.Contains(l, "gone") })
	if at < 0 || strings.Join(strings.Fields(lines[at]), " ") != "arm n gone tail" || strings.Join(strings.Fields(lines[at+1]), " ") != "a/b 3 1 2.0" {
		t.Errorf("%q", lines)
	}
}
