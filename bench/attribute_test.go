package bench

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/pprof/profile"

	"dyno/bench/attribute"
	"dyno/bench/gate"
	"dyno/bench/paired"
	"dyno/bench/record"
)

// profiledToy is the toy's lane with profiles: what the toy costs beyond 90 is spent
// in one function.
type profiledToy struct {
	*toyLane
	into string
	asks int // runs so far
	fail error
	// disturbed has the second block cost thrice at first, with a run that says nothing.
	disturbed bool
	late      bool // head's runs say nothing
	cancelAt  int  // the run in which the comparison is interrupted; 0: none
	cancel    func()
}

func (l *profiledToy) profiled(_ string, load map[string]float64, into string) (lane, string) {
	if load["rate"] != 7 {
		panic("BUG: the load is not that of the comparison")
	}
	l.into = into
	return toyProfiles{l}, "toying"
}

// toyProfiles are the profiled runs of the toy.
type toyProfiles struct{ *profiledToy }

func (l toyProfiles) name() string { return "toy-profiles" }
func (l toyProfiles) metrics() []gate.Metric {
	return []gate.Metric{{Name: valueProfiled, Effect: 1, Bound: 1}}
}

func (l toyProfiles) run(ctx context.Context, runs []laneRun, which func(int) (string, error)) ([]paired.Outcome, error) {
	return single(runs, func(r laneRun) (paired.Outcome, error) { return l.once(ctx, r.program, r.dir, which) })
}

func (l toyProfiles) once(ctx context.Context, p *program, dir string, which func(int) (string, error)) (paired.Outcome, error) {
	if l.asks++; l.fail != nil {
		return paired.Outcome{}, l.fail
	}
	cost, hash, err := toyRun(ctx, p.path, which)
	if err != nil {
		return paired.Outcome{}, err
	}
	status := paired.OK
	if l.disturbed && l.asks > 4 && l.asks <= 8 {
		cost *= 3
		if l.asks == 6 {
			status = paired.Invalid
		}
	}
	if l.late && p.side == paired.Head {
		return paired.Outcome{Program: hash, Status: paired.Invalid, Problem: "too late"}, nil
	}
	for process := range 2 {
		name := filepath.Join(l.into, profileName(filepath.Base(dir), process+1))
		if _, err := os.Stat(name); err == nil {
			return paired.Outcome{}, fmt.Errorf("%s: %w", name, os.ErrExist) // as a profile that is fetched
		}
		if err := l.write(name, cost); err != nil {
			return paired.Outcome{}, err
		}
	}
	if l.asks == l.cancelAt { // its profiles are there, and nobody has written the run down
		l.cancel()
		return paired.Outcome{}, ctx.Err()
	}
	return paired.Outcome{Program: hash, Status: status, Values: map[string]float64{valueProfiled: cost}}, nil
}

func (l toyProfiles) write(path string, cost float64) error {
	noisy := func(cost float64) float64 { return cost * (1 + 0.01*l.noise.NormFloat64()) }
	return writeProfile(path, []*profile.Profile{toyProfile(noisy(90), noisy(cost-90))})
}

// toyProfile is a profile of two functions, in CPU-seconds.
func toyProfile(work, slow float64) *profile.Profile {
	p := &profile.Profile{SampleType: []*profile.ValueType{{Type: "cpu", Unit: "nanoseconds"}}}
	for i, f := range []struct {
		name string
		cost float64
	}{{"dyno/toy.work", work}, {"dyno/toy.slow", slow}} {
		fn := &profile.Function{ID: uint64(i + 1), Name: f.name}
		loc := &profile.Location{ID: uint64(i + 1), Line: []profile.Line{{Function: fn}}}
		p.Function, p.Location = append(p.Function, fn), append(p.Location, loc)
		p.Sample = append(p.Sample, &profile.Sample{Location: []*profile.Location{loc}, Value: []int64{int64(1e9 * f.cost)}})
	}
	return p
}

// failing finds the cost to be worse, after one block.
func failing(r gate.Rule, e *gate.Evidence) (*gate.Decision, error) {
	d, err := afterLook(r, e)
	if d.Verdict != gate.Continue {
		d.Verdict, d.Reason, d.Findings[0].Candidate, d.Findings[0].Confirmed = gate.Fail, "cost is worse", true, true
	}
	return d, err
}

// TestLongFailNamesTheFunction follows a FAIL to the function: in verdict.json, in what is
// printed, and with the profiles beside; a block that was run again is left out.
func TestLongFailNamesTheFunction(t *testing.T) {
	long(t)
	repo := toyRepo(t)
	opt, cfg, l := toyCompare(t, repo, "slower")
	opt.Profiles = t.TempDir()
	toy := &profiledToy{toyLane: l, disturbed: true}
	cfg.lane, cfg.judge = func(*lab) lane { return toy }, failing
	v, err := Compare(t.Context(), opt, cfg)
	if err != nil {
		t.Fatal(err)
	}
	if len(l.runs) != 8 || toy.asks != (attributeBlocks+1)*4 {
		t.Errorf("%d runs decided and %d were profiled, want 8 and %d", len(l.runs), toy.asks, (attributeBlocks+1)*4)
	}
	a := v.Attribution
	if a == nil || a.Blocks != attributeBlocks || a.Phase != "toying" || len(a.Named) != 1 || a.Named[0].Name != "dyno/toy.slow" {
		t.Fatalf("%+v", a)
	}
	if f := a.Named[0].Rose; f.More < 9 || f.More > 11 {
		t.Errorf("rose by %.2f, want 10", f.More)
	}
	raw, err := os.ReadFile(filepath.Join(opt.Results, VerdictFile))
	var written Verdict
	if err := errors.Join(err, json.Unmarshal(raw, &written)); err != nil || written.Attribution == nil || written.Attribution.Named[0].Name != "dyno/toy.slow" {
		t.Errorf("verdict.json: %v", err)
	}
	if text, err := os.ReadFile(filepath.Join(opt.Results, SummaryFile)); err != nil || !strings.Contains(string(text), "`dyno/toy.slow`") || !strings.Contains(string(text), "**FAIL**") {
		t.Errorf("%s: %s, %v", SummaryFile, text, err)
	}
	if text, err := os.ReadFile(filepath.Join(opt.Results, JUnitFile)); err != nil || !strings.Contains(string(text), "<failure") {
		t.Errorf("%s: %s, %v", JUnitFile, text, err)
	}
	if out := opt.Out.(*strings.Builder).String(); !strings.Contains(out, "where: dyno/toy.slow got slower by") || !strings.HasSuffix(out, "FAIL: cost is worse\n") {
		t.Errorf("printed:\n%s", out)
	}
	for _, name := range []string{"base.pprof", "head.pprof", "block-01-base.pprof", fmt.Sprintf("block-%02d-head.pprof", attributeBlocks), "ledger.jsonl"} {
		if info, err := os.Stat(filepath.Join(opt.Profiles, v.Result, name)); err != nil || info.Size() == 0 {
			t.Errorf("%s: %v", name, err)
		}
	}
	page, err := os.ReadFile(filepath.Join(opt.Results, v.Result, record.ReportFile))
	for _, want := range []string{"Where head takes more CPU time", `<th scope="row">dyno/toy.slow</th>`, "What a record costs, head against base", "<svg class=\"chart flame\""} {
		if !strings.Contains(string(page), want) {
			t.Errorf("the report has no %s: %v", want, err)
		}
	}
	builtNothing(t, repo, &opt)
}

// TestLongAttributionGoesOn interrupts the profiled blocks: they and those that decided
// are kept, and nothing is left once there is a result.
func TestLongAttributionGoesOn(t *testing.T) {
	long(t)
	repo := toyRepo(t)
	opt, cfg, l := toyCompare(t, repo, "slower")
	opt.Profiles = t.TempDir()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	toy := &profiledToy{toyLane: l, cancelAt: 10, cancel: cancel}
	cfg.lane, cfg.judge = func(*lab) lane { return toy }, failing
	_, err := Compare(ctx, opt, cfg)
	var stopped *Interrupted
	if !errors.As(err, &stopped) || stopped.Kept != 2+2 || stopped.Of != 2+attributeBlocks || !strings.Contains(err.Error(), "4 of 14 blocks are kept") {
		t.Fatalf("interrupted: %v", err)
	}
	decided := len(l.runs)
	toy.asks, toy.cancelAt = 0, 0
	v, err := Compare(t.Context(), opt, cfg)
	if err != nil {
		t.Fatal(err)
	}
	if len(l.runs) != decided || toy.asks != (attributeBlocks-2)*4 {
		t.Errorf("after it %d runs decided and %d were profiled, want 0 and %d", len(l.runs)-decided, toy.asks, (attributeBlocks-2)*4)
	}
	if a := v.Attribution; a == nil || a.Blocks != attributeBlocks || len(a.Named) != 1 {
		t.Errorf("%+v", a)
	}
	if left, err := filepath.Glob(filepath.Join(opt.Results, ".paired-*")); err != nil || len(left) > 0 {
		t.Errorf("left: %v, %v", left, err)
	}
	builtNothing(t, repo, &opt)
}

// TestProfilesGoWithTheirResult: profiles that were kept for a result which then could
// not be made are taken away again.
func TestProfilesGoWithTheirResult(t *testing.T) {
	a, root := &attributed{&attribute.Attribution{}, t.TempDir()}, t.TempDir()
	if err := os.WriteFile(filepath.Join(a.dir, "base.pprof"), []byte("profile"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := a.keep(root, "20261127.01-compare-t"); err != nil {
		t.Fatal(err)
	}
	if raw, err := os.ReadFile(filepath.Join(root, "20261127.01-compare-t", "base.pprof")); err != nil || string(raw) != "profile" {
		t.Fatalf("%q: %v", raw, err)
	}
	if err := errors.Join(a.drop(), (*attributed)(nil).drop()); err != nil {
		t.Fatal(err)
	}
	if left, err := os.ReadDir(root); err != nil || len(left) > 0 {
		t.Errorf("%d directories are left: %v", len(left), err)
	}
}

// TestLongAttributionIsAsked: no profiles without a FAIL, unless they are asked for; none
// at all if they are not wanted; and one that fails leaves the verdict.
func TestLongAttributionIsAsked(t *testing.T) {
	long(t)
	repo := toyRepo(t)
	broken := errors.New("no profile today")
	for _, c := range []struct {
		when  string
		judge paired.Judge
		fail  error
		late  bool
		runs  int
		named bool
		word  string // of the caution
	}{
		{AttributeFail, afterLook, nil, false, 0, false, ""},
		{AttributeNever, failing, nil, false, 0, false, ""},
		{AttributeAlways, afterLook, nil, false, 8 * 4, true, ""},
		{AttributeFail, failing, broken, false, 1, false, "no profile today"},
		{AttributeFail, failing, nil, true, 2 * 4, false, "too late"},
	} {
		opt, cfg, l := toyCompare(t, repo, "slower")
		opt.Profiles = t.TempDir()
		toy := &profiledToy{toyLane: l, fail: c.fail, late: c.late}
		cfg.lane, cfg.judge, cfg.Attribute, cfg.profiled = func(*lab) lane { return toy }, c.judge, c.when, 8
		v, err := Compare(t.Context(), opt, cfg)
		if err != nil || toy.asks != c.runs || (v.Attribution != nil) != c.named {
			t.Errorf("%+v: %d profiled runs, %v", c, toy.asks, err)
			continue
		}
		if notes := strings.Join(v.Notes, " "); c.word != "" && (v.Verdict != gate.Fail || !strings.Contains(notes, "no function is named: ") || !strings.Contains(notes, c.word)) {
			t.Errorf("%s, notes %q", v.Verdict, v.Notes)
		}
	}
	opt, cfg, l := toyCompare(t, repo, "slower") // a lane that takes no profiles
	cfg.lane, cfg.judge = func(*lab) lane { return l }, failing
	if v, err := Compare(t.Context(), opt, cfg); err != nil || v.Attribution != nil || !strings.Contains(strings.Join(v.Notes, " "), "takes no profiles") {
		t.Errorf("%+v, %v", v, err)
	}
	opt, cfg, _ = toyCompare(t, repo, "slower")
	cfg.Attribute = "perhaps"
	if _, err := Compare(t.Context(), opt, cfg); !errors.Is(err, ErrUsage) {
		t.Errorf("attribute perhaps: %v", err)
	}
}

// TestLongProfiledRuns takes profiles of real brokers in each phase.
func TestLongProfiledRuns(t *testing.T) {
	long(t)
	bin, err := realDyno()
	if err != nil {
		t.Fatal(err)
	}
	opt, _, strays := fakeLab(t, fakeGood)
	l, err := openLab(t.Context(), &opt, 0, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer l.close()
	m := newMacro(l, 100*time.Millisecond, windowMin, "")
	load := map[string]float64{loadRate: 200, loadCapacity: 1e6}
	p := &program{side: paired.Base, path: bin}
	for i, c := range []struct{ metric, symbol string }{
		{valueP99, "dyno/"}, {valueConsumeCPU, "dyno/"}, {valueSaturated, "dyno/"},
	} {
		var into, phase string
		var out paired.Outcome
		for range 5 { // a generator that had no CPU makes a run invalid
			into = t.TempDir()
			var of lane
			of, phase = m.profiled(c.metric, load, into)
			of.(*profiledMacro).seconds = 1
			dir := filepath.Join(t.TempDir(), fmt.Sprint(i))
			if err := os.Mkdir(dir, 0o755); err != nil {
				t.Fatal(err)
			}
			turn := paired.Turn{Slot: paired.Slot{Stage: paired.Main}, Place: 1, Side: paired.Base, Load: load}
			outs, runErr := of.run(t.Context(), []laneRun{{p, dir, turn}}, func(int) (string, error) { return "this", nil })
			if out, err = outs[0], runErr; err != nil || out.Status != paired.Invalid {
				break
			}
		}
		if err != nil || out.Status != paired.OK || out.Values[valueProfiled] <= 0 {
			t.Fatalf("%s: %+v, %v", phase, out, err)
		}
		taken, err := readProfiles(into, fmt.Sprint(i))
		if err != nil || len(taken) != clusterNodes {
			t.Fatalf("%s: %d profiles, %v", phase, len(taken), err)
		}
		merged, err := profile.Merge(taken)
		if err != nil {
			t.Fatal(err)
		}
		found := false
		for _, f := range merged.Function {
			found = found || strings.HasPrefix(f.Name, c.symbol)
		}
		if !found {
			t.Errorf("%s: no profile has %s", phase, c.symbol)
		}
	}
	if pids := strays(); len(pids) > 0 {
		t.Errorf("processes left: %v", pids)
	}
}

// TestMutantBuilds wants both sides of one source, and head alone with the mutant.
func TestMutantBuilds(t *testing.T) {
	repo := toyRepo(t)
	toyWrite(t, repo, "toy/linked.go", "//go:build mutants\n\npackage main\n\nvar linked string\n\nfunc init() {\n\tif linked != \"\" {\n\t\tcost = 110\n\t}\n}\n")
	toyGit(t, repo, "add", "--all")
	toyGit(t, repo, "commit", "--quiet", "-m", "mutant", "--", "toy/linked.go")
	saved := Mutants
	defer func() { Mutants = saved }()
	Mutants = []Mutant{{Name: "slow", Package: "main", Size: "ns"}, {Name: "none", Package: "nobody", Size: ""}}
	toyGit(t, repo, "checkout", "--quiet", "slower", "--", "toy/main.go") // the last commit does not build
	toyGit(t, repo, "commit", "--quiet", "-m", "mended")
	opt, cfg, _ := toyCompare(t, repo, "HEAD")
	cfg.Base, cfg.Head, cfg.Mutant = "HEAD", "HEAD", "slow:10"
	costs := map[paired.Side]float64{}
	l := &toyLane{noise: rand.New(rand.NewPCG(1, 2)), spoil: func(t paired.Turn, out *paired.Outcome) {
		if !t.Null {
			costs[t.Side] = out.Values["cost"]
		}
	}}
	cfg.lane = func(*lab) lane { return l }
	if v, err := Compare(t.Context(), opt, cfg); err != nil || v.Identical {
		t.Fatalf("%+v, %v", v, err)
	}
	if len(costs) != 2 {
		t.Errorf("costs %v", costs)
	}
	for _, bad := range []string{"none", "slow", "slow:x", "none:1", "nobody"} {
		opt, cfg, _ := toyCompare(t, repo, "HEAD")
		cfg.Base, cfg.Mutant = "HEAD", bad
		if _, err := Compare(t.Context(), opt, cfg); !errors.Is(err, ErrUsage) {
			t.Errorf("mutant %s: %v", bad, err)
		}
	}
}

func toyWrite(t *testing.T, repo, name, text string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(repo, name), []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}
