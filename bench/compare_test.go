package bench

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/perf/benchfmt"

	"dyno/bench/build"
	"dyno/bench/gate"
	"dyno/bench/paired"
	"dyno/bench/record"
	"dyno/bench/stats"
)

// toyMain says its one constant and waits until it is let go.
const toyMain = `package main

import "os"

var cost = 100

func main() {
	println(cost)
	_, _ = os.Stdin.Read(make([]byte, 1))
}
`

// toyRepo makes a repository of three commits: base, one that edits comments, one
// that costs more. It returns its directory.
func toyRepo(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	write := func(name, text string) {
		path := filepath.Join(dir, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(text), 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	toyGit(t, dir, "init", "--quiet")
	write("go.mod", "module toy\n\ngo 1.26\n")
	for _, c := range [][2]string{
		{"base", toyMain}, {"comments", "// What this is.\n" + toyMain}, {"slower", strings.ReplaceAll(toyMain, "100", "110")},
		{"broken", strings.ReplaceAll(toyMain, "cost)", "nought)")},
	} {
		write("toy/main.go", c[1])
		toyGit(t, dir, "add", "--all")
		toyGit(t, dir, "commit", "--quiet", "-m", c[0])
		toyGit(t, dir, "tag", c[0])
	}
	return dir
}

func toyGit(t *testing.T, dir string, args ...string) string {
	t.Helper()
	cmd := exec.Command("git", append([]string{"-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "commit.gpgsign=false"}, args...)...)
	cmd.Dir = dir
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("git %v: %v\n%s", args, err, out)
	}
	return string(out)
}

// toyLane runs the toy program: what it says, give or take a little, is what it
// costs.
type toyLane struct {
	noise  *rand.Rand
	runs   []paired.Turn
	before func(n int) error                        // the nth run, from 1
	other  func(p *program, t paired.Turn) *program // plants a fault
	spoil  func(t paired.Turn, out *paired.Outcome) // changes what came out
	dirs   func(dir string)                         // is told of each directory
}

func (l *toyLane) name() string              { return "toy" }
func (l *toyLane) described() map[string]any { return map[string]any{"toy": true} }
func (l *toyLane) metrics() []gate.Metric {
	return []gate.Metric{{Name: "cost", Effect: 0.02, Bound: 0.05}}
}
func (l *toyLane) columns() []column {
	return []column{{"cost", "cost of the toy", 1, "%.1f"}, {"beside", "printed only", 1, "%.0f"}}
}
func (l *toyLane) units() []record.Unit {
	return []record.Unit{{Name: "cost", Unit: "units", Better: "lower"}, {Name: "beside", Unit: "B"}}
}
func (l *toyLane) check(context.Context, *program, string) error { return nil }
func (l *toyLane) probe(context.Context, *program, string, uint64) (map[string]float64, error) {
	return map[string]float64{"rate": 7}, nil
}

func (l *toyLane) abreast() int { return 1 }

func (l *toyLane) run(ctx context.Context, runs []laneRun, which func(int) (string, error)) ([]paired.Outcome, error) {
	return single(runs, func(r laneRun) (paired.Outcome, error) { return l.once(ctx, r.program, r.dir, r.turn, which) })
}

func (l *toyLane) once(ctx context.Context, p *program, dir string, t paired.Turn, which func(int) (string, error)) (paired.Outcome, error) {
	l.runs = append(l.runs, t)
	if l.before != nil {
		if err := l.before(len(l.runs)); err != nil {
			return paired.Outcome{}, err
		}
	}
	if l.dirs != nil {
		l.dirs(dir)
	}
	if l.other != nil {
		p = l.other(p, t)
	}
	cost, hash, err := toyRun(ctx, p.path, which)
	out := paired.Outcome{Program: hash, Status: paired.OK, Values: map[string]float64{"cost": cost * (1 + 0.002*l.noise.NormFloat64()), "beside": 3}}
	if l.spoil != nil {
		l.spoil(t, &out)
	}
	return out, err
}

func toyRun(ctx context.Context, path string, which func(int) (string, error)) (cost float64, hash string, err error) {
	cmd := exec.CommandContext(ctx, path)
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return 0, "", err
	}
	stderr, err := cmd.StderrPipe()
	if err != nil {
		return 0, "", err
	}
	if err := cmd.Start(); err != nil {
		return 0, "", err
	}
	line, readErr := bufio.NewReader(stderr).ReadString('\n')
	if hash, err = which(cmd.Process.Pid); err == nil {
		err = readErr
	}
	stdin.Close()
	err = errors.Join(err, cmd.Wait(), ctx.Err())
	if err == nil {
		cost, err = strconv.ParseFloat(strings.TrimSpace(line), 64)
	}
	return cost, hash, err
}

// toyCompare prepares a comparison of the toy's commits that judges after one
// block and a null block, with a lane that runs them.
func toyCompare(t *testing.T, repo, head string) (Options, CompareConfig, *toyLane) {
	t.Helper()
	opt, _, _ := fakeLab(t, fakeGood)
	l := &toyLane{noise: rand.New(rand.NewPCG(1, 2))}
	return opt, CompareConfig{Repo: repo, Base: "base", Head: head, Looks: []int{1}, Nulls: 1, Seed: 11, pkg: "./toy",
		Limits: paired.Limits{Steal: 1, Foreign: 1, Memory: 1}, lane: func(*lab) lane { return l },
		judge: afterLook, plan: paired.Plan{Pause: time.Nanosecond}}, l
}

// afterLook decides nothing, after the first look.
func afterLook(r gate.Rule, e *gate.Evidence) (*gate.Decision, error) {
	if need := r.Slots(r.Looks[0]) - len(e.Blocks); need > 0 {
		return &gate.Decision{Verdict: gate.Continue, Need: gate.Need{Blocks: need}}, nil
	}
	return &gate.Decision{Verdict: gate.Inconclusive, Reason: "seen enough", Rule: r, Look: 1,
		Findings: []gate.Finding{{Metric: "cost", Change: 0.1, Low: 0.09, High: 0.11, Detectable: 0.03, Nulls: []float64{0.001}}}}, nil
}

// builtNothing fails the test if a comparison left a worktree, a program or data.
func builtNothing(t *testing.T, repo string, opt *Options) {
	t.Helper()
	if list := toyGit(t, repo, "worktree", "list", "--porcelain"); strings.Count(list, "worktree ") != 1 {
		t.Errorf("worktrees left:\n%s", list)
	}
	if _, err := os.Stat(filepath.Join(opt.Results, workName)); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("work directory left: %v", err)
	}
}

func ledgers(t *testing.T, opt *Options) []string {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(opt.Results, ".paired-*"))
	if err != nil {
		t.Fatal(err)
	}
	return found
}

func TestIdenticalCommitsPassWithoutARun(t *testing.T) {
	repo := toyRepo(t)
	opt, cfg, l := toyCompare(t, repo, "comments")
	v, err := Compare(t.Context(), opt, cfg)
	if err != nil || v.Verdict != gate.Pass || !v.Identical || len(l.runs) > 0 {
		t.Errorf("%+v, %v, %d runs", v, err, len(l.runs))
	}
	builtNothing(t, repo, &opt)
	if raw, err := os.ReadFile(filepath.Join(opt.Results, VerdictFile)); err != nil || !strings.Contains(string(raw), `"identical": true`) {
		t.Errorf("%s, %v", raw, err)
	}
	if out := opt.Out.(*strings.Builder).String(); !strings.HasSuffix(out, "PASS: "+v.Text+"\n") {
		t.Errorf("the last line is not the verdict:\n%s", out)
	}
}

// A comparison from end to end, cut off in its second block and gone on with.
func TestCompareTwoCommits(t *testing.T) {
	if testing.Short() {
		t.Skip("links a dozen programs")
	}
	repo := toyRepo(t)
	opt, cfg, l := toyCompare(t, repo, "slower")
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	l.before = func(n int) error {
		if n == 6 {
			cancel()
		}
		return nil
	}
	_, err := Compare(ctx, opt, cfg)
	var left *Interrupted
	if !errors.As(err, &left) || !errors.Is(err, context.Canceled) || left.Kept != 1 || left.Of != 2 || !strings.Contains(err.Error(), "1 of 2 blocks are kept: the same command goes on") {
		t.Fatalf("cut off: %v", err)
	}
	builtNothing(t, repo, &opt)
	if len(ledgers(t, &opt)) != 1 {
		t.Fatal("the ledger is gone")
	}
	first := l.runs
	cfg.Seed = 0 // the ledger has it
	l.runs, l.before = nil, nil
	v, err := Compare(t.Context(), opt, cfg)
	if err != nil {
		t.Fatal(err)
	}
	if len(l.runs) != 4 || l.runs[0].Slot != first[4].Slot || l.runs[0].Side != first[4].Side || l.runs[1].Side != first[5].Side {
		t.Errorf("%d runs after %d; first %+v", len(l.runs), len(first), l.runs[0])
	}
	if v.Verdict != gate.Inconclusive || v.Blocks != 2 || v.Seed != 11 || len(v.Metrics) != 2 || len(ledgers(t, &opt)) != 0 {
		t.Errorf("%+v", v)
	}
	if m := v.Metrics[0]; m.Base < 98 || m.Base > 102 || m.Head < 108 || m.Head > 112 {
		t.Errorf("medians %+v: the sides are mixed up", m)
	}
	builtNothing(t, repo, &opt)
	toyResult(t, &opt, v)
}

// A result that cannot be written leaves the ledger, and no null blocks: the same command
// would add them once more.
func TestNullBlocksWaitForTheResult(t *testing.T) {
	if testing.Short() {
		t.Skip("links a dozen programs")
	}
	opt, cfg, l := toyCompare(t, toyRepo(t), "slower")
	inTheWay := filepath.Join(opt.Results, VerdictFile)
	if err := os.MkdirAll(inTheWay, 0o755); err != nil {
		t.Fatal(err)
	}
	nulls := filepath.Join(opt.Results, ".nulls-toy.jsonl")
	if _, err := Compare(t.Context(), opt, cfg); err == nil || len(ledgers(t, &opt)) != 1 {
		t.Errorf("a verdict that cannot be written: %v, ledgers %v", err, ledgers(t, &opt))
	}
	if _, err := os.Stat(nulls); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("null blocks of a comparison without a result: %v", err)
	}
	if err := os.Remove(inTheWay); err != nil {
		t.Fatal(err)
	}
	l.runs = nil
	if _, err := Compare(t.Context(), opt, cfg); err != nil || len(l.runs) != 0 {
		t.Errorf("once more: %v after %d runs", err, len(l.runs))
	}
	if text, err := os.ReadFile(nulls); err != nil || strings.Count(string(text), `"cost"`) != 1 {
		t.Errorf("null blocks: %s, %v", text, err)
	}
}

// toyResult looks at what a comparison wrote and printed.
func toyResult(t *testing.T, opt *Options, v *Verdict) {
	t.Helper()
	dir := filepath.Join(opt.Results, v.Result)
	run, err := record.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	if run.Kind != record.KindComparison || run.Verdict.Result != record.Unclear || run.Commit.Hash != v.Head || len(run.Arms) != 4 {
		t.Errorf("%s, %+v, %d arms", run.Kind, run.Verdict, len(run.Arms))
	}
	for arm, n := range map[string]int{"base": 2, "head": 2, "null-base": 2, "null-head": 2} {
		if a := run.Arm(arm); a == nil || len(a.Values("cost")) != n {
			t.Errorf("arm %s: %+v", arm, a)
		}
	}
	for _, cost := range append(run.Arm("null-head").Values("cost"), run.Arm("base").Values("cost")...) {
		if cost > 105 {
			t.Errorf("a program of base costs %v: it is head's", cost)
		}
	}
	raw, err := os.ReadFile(filepath.Join(dir, "ledger.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	if led, err := paired.ReadLedger(raw); err != nil || led.Kept() != 2 {
		t.Errorf("ledger of the result: %v", err)
	}
	for _, name := range []string{filepath.Join(dir, VerdictFile), filepath.Join(opt.Results, VerdictFile), filepath.Join(dir, "report.html")} {
		if info, err := os.Stat(name); err != nil || info.Size() == 0 {
			t.Errorf("%s: %v", filepath.Base(name), err)
		}
	}
	if page := drawnReport(t, dir, ""); !strings.Contains(page, "one block") || strings.Count(page, `class="mark ring c0"`) != 1 {
		t.Error("the report does not show the block that was compared")
	}
	bench, err := os.Open(filepath.Join(dir, "bench.txt"))
	if err != nil {
		t.Fatal(err)
	}
	defer bench.Close()
	lines := map[string]int{}
	for r := benchfmt.NewReader(bench, "bench.txt"); r.Scan(); {
		if res, ok := r.Result().(*benchfmt.Result); ok {
			lines[string(res.Name)]++
		}
	}
	if lines["CompareToy/arm=base/lane=toy"] != 2 || lines["CompareToy/arm=head/lane=toy"] != 2 {
		t.Errorf("benchstat would see %v", lines)
	}
	out := opt.Out.(*strings.Builder).String()
	for _, word := range []string{"cost of the toy", "+10.0 %", "+9.0 to +11.0 %", "3.0 %", "printed only", "seed 11", "benchstat -col /arm", "from an interrupted invocation"} {
		if !strings.Contains(out, word) {
			t.Errorf("the table lacks %q:\n%s", word, out)
		}
	}
	if !strings.HasSuffix(out, "INCONCLUSIVE: seen enough\n") {
		t.Errorf("the last line is not the verdict:\n%s", out)
	}
	if nulls, err := os.ReadFile(filepath.Join(opt.Results, ".nulls-toy.jsonl")); err != nil || !strings.Contains(string(nulls), `"cost":[0.001]`) {
		t.Errorf("null blocks: %s, %v", nulls, err)
	}
}

// A lane that runs one side's program for the other is found out by the files that
// the processes run.
func TestSwappedProgramsAreNoticed(t *testing.T) {
	repo := toyRepo(t)
	opt, cfg, l := toyCompare(t, repo, "slower")
	var last *program
	l.other = func(p *program, turn paired.Turn) *program {
		if turn.Place == 2 && last != nil {
			return last // the program of the run before
		}
		last = p
		return p
	}
	if v, err := Compare(t.Context(), opt, cfg); !errors.Is(err, paired.ErrHarness) || !strings.Contains(err.Error(), "labels are wrong") {
		t.Errorf("%+v, %v", v, err)
	}
	builtNothing(t, repo, &opt)
}

func TestBrokenPromisesAndFullDisks(t *testing.T) {
	if testing.Short() {
		t.Skip("links a dozen programs")
	}
	repo := toyRepo(t)
	opt, cfg, l := toyCompare(t, repo, "slower")
	fresh := map[string]bool{}
	l.dirs = func(dir string) {
		if left, err := os.ReadDir(dir); err != nil || len(left) > 0 || fresh[dir] {
			t.Errorf("directory %s is not fresh: %v, %v", filepath.Base(dir), left, err)
		}
		fresh[dir] = true
	}
	l.before = func(n int) error {
		if n == 2 {
			return fmt.Errorf("%w: the disk filled up during the run", ErrNoSpace)
		}
		return nil
	}
	if _, err := Compare(t.Context(), opt, cfg); !errors.Is(err, ErrNoSpace) || len(ledgers(t, &opt)) != 1 {
		t.Errorf("a full disk: %v, ledgers %v", err, ledgers(t, &opt))
	}
	l.before = nil
	l.spoil = func(turn paired.Turn, out *paired.Outcome) {
		if turn.Side == paired.Head && !turn.Null {
			out.Status, out.Problem, out.Values = paired.Failed, "3 lost", nil
		}
	}
	v, err := Compare(t.Context(), opt, cfg)
	if err != nil || v.Verdict != gate.Fail || !strings.Contains(v.Text, "3 lost") {
		t.Fatalf("%+v, %v", v, err)
	}
	run, err := record.Open(filepath.Join(opt.Results, v.Result))
	if err != nil || len(run.Arm("head").Repetitions) != 1 || run.Verdict.Result != record.Failed {
		t.Errorf("the failing run is not stored: %v", err)
	}
}

// A head that cannot take the load at all is slow, and not a machine that is unfit.
func TestHeadThatFallsBehindFails(t *testing.T) {
	opt, cfg, l := toyCompare(t, toyRepo(t), "slower")
	l.spoil = func(turn paired.Turn, out *paired.Outcome) {
		if turn.Side == paired.Head && !turn.Null {
			out.Status, out.Problem, out.Values = paired.Invalid, "the generator was late", nil
		}
	}
	v, err := Compare(t.Context(), opt, cfg)
	if err != nil || v.Verdict != gate.Fail || !v.Behind || !strings.Contains(v.Text, "the generator was late") || v.Decision != nil {
		t.Errorf("%+v, %v", v, err)
	}
}

func TestWhatCannotBeComparedIsSaid(t *testing.T) {
	repo := toyRepo(t)
	for name, c := range map[string]struct {
		change func(*CompareConfig)
		want   error
		word   string
	}{
		"no base":      {func(c *CompareConfig) { c.Base = "" }, ErrUsage, "--base"},
		"no such base": {func(c *CompareConfig) { c.Base = "nobody" }, build.ErrNoRevision, "base: "},
		"no such head": {func(c *CompareConfig) { c.Head = "nobody" }, build.ErrNoRevision, "head: "},
		"no checkout":  {func(c *CompareConfig) { c.Repo = t.TempDir() }, build.ErrNoRepository, ""},
		"unbuildable":  {func(c *CompareConfig) { c.Head = "broken" }, build.ErrBuild, "nought"},
		"few blocks":   {func(c *CompareConfig) { c.judge = gate.Judge }, ErrUsage, "--blocks"},
		"no settings":  {func(c *CompareConfig) { c.Config = "missing.yaml" }, ErrUsage, "missing.yaml"},
		"whose broker": {func(c *CompareConfig) { c.Config, c.Micro = "missing.yaml", true }, ErrUsage, "--micro"},
		"short window": {func(c *CompareConfig) { c.Window = 1 }, ErrUsage, "window"},
		"many blocks":  {func(c *CompareConfig) { c.Looks = []int{stats.FlipsMax + 1} }, ErrUsage, "at most"},
	} {
		opt, cfg, _ := toyCompare(t, repo, "slower")
		c.change(&cfg)
		if v, err := Compare(t.Context(), opt, cfg); !errors.Is(err, c.want) || !strings.Contains(err.Error(), c.word) {
			t.Errorf("%s: %+v, %v", name, v, err)
		}
		builtNothing(t, repo, &opt)
		if len(ledgers(t, &opt)) > 0 {
			t.Errorf("%s: a ledger of nothing", name)
		}
	}
	if err := os.WriteFile(filepath.Join(repo, "toy/main.go"), []byte(toyMain), 0o644); err != nil {
		t.Fatal(err)
	}
	opt, cfg, _ := toyCompare(t, repo, "")
	if _, err := Compare(t.Context(), opt, cfg); !errors.Is(err, build.ErrDirty) {
		t.Errorf("a dirty tree: %v", err)
	}
	busy, err := acquire(opt.lock)
	if err != nil {
		t.Fatal(err)
	}
	defer busy.release()
	cfg.Head = "slower"
	if _, err := Compare(t.Context(), opt, cfg); !errors.Is(err, ErrBusy) {
		t.Errorf("two labs at once: %v", err)
	}
}

func TestMicroRun(t *testing.T) {
	opt, _, strays := fakeLab(t, fakeGood)
	l, err := openLab(t.Context(), &opt, 0, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer l.close()
	m := &microLane{lab: l, scale: 20}
	p := &program{side: paired.Base, path: os.Args[0]}
	if err := m.check(t.Context(), p, t.TempDir()); err != nil {
		t.Error(err)
	}
	other := &microLane{lab: l, scale: 20, work: "something else"}
	if err := other.check(t.Context(), p, t.TempDir()); !errors.Is(err, ErrUsage) || !strings.Contains(err.Error(), "something else") {
		t.Errorf("a program that does other work than base's: %v", err)
	}
	runs := []laneRun{{p, t.TempDir(), paired.Turn{Place: 1}}, {p, t.TempDir(), paired.Turn{Place: 2}}}
	outs, err := m.run(t.Context(), runs, func(pid int) (string, error) { return os.Readlink(fmt.Sprintf("/proc/%d/exe", pid)) })
	if err != nil || len(outs) != len(runs) || !outs[0].Began.Before(outs[1].Began) {
		t.Fatalf("%+v, %v", outs, err)
	}
	for _, out := range outs {
		if out.Status != paired.OK || filepath.Base(out.Program) != filepath.Base(os.Args[0]) || out.Seconds <= 0 {
			t.Errorf("%+v", out)
		}
		for _, metric := range m.metrics() {
			if out.Values[metric.Name] <= 0 {
				t.Errorf("%s is %v", metric.Name, out.Values[metric.Name])
			}
		}
	}
	if pids := strays(); len(pids) > 0 {
		t.Errorf("processes left: %v", pids)
	}
}

// A run of the micro lane that breaks a promise is a broken promise, not a run that
// could not be made; the runs before it, which were alive with it, say nothing.
func TestMicroRunBreaksAPromise(t *testing.T) {
	opt, _, strays := fakeLab(t, fakeLoses)
	l, err := openLab(t.Context(), &opt, 0, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer l.close()
	p := &program{side: paired.Base, path: os.Args[0]}
	loses := filepath.Join(t.TempDir(), fakeLoses)
	if err := os.Mkdir(loses, 0o755); err != nil {
		t.Fatal(err)
	}
	runs := []laneRun{{p, t.TempDir(), paired.Turn{Place: 1}}, {p, loses, paired.Turn{Place: 2}}, {p, t.TempDir(), paired.Turn{Place: 3}}}
	outs, err := (&microLane{lab: l}).run(t.Context(), runs, func(int) (string, error) { return "this", nil })
	if err != nil || len(outs) != 2 || outs[0].Status != paired.Invalid || outs[1].Status != paired.Failed || !strings.Contains(outs[1].Problem, "3 records of 4") {
		t.Errorf("%+v, %v", outs, err)
	}
	if pids := strays(); len(pids) > 0 {
		t.Errorf("processes left: %v", pids)
	}
}

// A commit that is older than what the lab asks of it is named, not run.
func TestOldProgramsAreRefused(t *testing.T) {
	opt, _, _ := fakeLab(t, fakeOld)
	l, err := openLab(t.Context(), &opt, 0, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer l.close()
	p := &program{side: paired.Base, path: os.Args[0]}
	if err := newMacro(l, 1, 1, "").check(t.Context(), p, ""); !errors.Is(err, ErrUsage) || !strings.Contains(err.Error(), "--json") {
		t.Errorf("its `up`: %v", err)
	}
	if err := (&microLane{lab: l}).check(t.Context(), p, t.TempDir()); !errors.Is(err, ErrUsage) || !strings.Contains(err.Error(), "leave out --micro") {
		t.Errorf("its child: %v", err)
	}
	p.path = "/bin/false"
	if err := newMacro(l, 1, 1, "").check(t.Context(), p, ""); !errors.Is(err, ErrUsage) {
		t.Errorf("no `up` at all: %v", err)
	}
}
