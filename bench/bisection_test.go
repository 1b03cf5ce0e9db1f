package bench

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"dyno/bench/bisect"
	"dyno/bench/build"
	"dyno/bench/gate"
)

// slowRepo makes a repository of nine commits, c0 to c8, of a toy that costs 100 at
// first and 110 from commit first on. It does not build at commits broken.
func slowRepo(t *testing.T, first int, broken ...int) string {
	t.Helper()
	dir := t.TempDir()
	toyGit(t, dir, "init", "--quiet")
	if err := os.Mkdir(filepath.Join(dir, "toy"), 0o755); err != nil {
		t.Fatal(err)
	}
	toyWrite(t, dir, "go.mod", "module toy\n\ngo 1.26\n")
	for n := range 9 {
		text := toyMain + fmt.Sprintf("\nvar _ = %d\n", n)
		if n >= first {
			text = strings.ReplaceAll(text, "100", "110")
		}
		if slices.Contains(broken, n) {
			text = strings.ReplaceAll(text, "cost)", "nought)")
		}
		toyWrite(t, dir, "toy/main.go", text)
		toyGit(t, dir, "add", "--all")
		toyGit(t, dir, "commit", "--quiet", "-m", fmt.Sprintf("commit %d", n))
		toyGit(t, dir, "tag", fmt.Sprintf("c%d", n))
	}
	return dir
}

// byCost is a lane t that builds a commit and asks it what it costs. It is unsure of
// the commits in unsure, until the effort is that.
func byCost(t *testing.T, unsure map[string]int) commitJudge {
	return func(ctx context.Context, b *bisection, c build.Commit, metric string, effort int) (Judged, error) {
		j := Judged{Answer: bisect.Good, Metric: "cost"}
		err := b.program(ctx, c, func(path string) error {
			cost, _, err := toyRun(ctx, path, func(int) (string, error) { return "", nil })
			if cost > 100 {
				j.Answer = bisect.Bad
			}
			j.Text = fmt.Sprintf("cost %.0f", cost)
			return err
		})
		subject := strings.TrimSpace(toyGit(t, b.cfg.Repo, "log", "-1", "--format=%s", c.Hash))
		if need, ok := unsure[subject]; ok && effort < need {
			j.Answer, j.Text = bisect.Unclear, "who knows"
		}
		return j, err
	}
}

func passing(context.Context, *bisection, build.Commit, string, int) (Judged, error) {
	return Judged{Answer: bisect.Good, Text: "all counters as they were"}, nil
}

func toyBisect(t *testing.T, repo string, unsure map[string]int) (Options, BisectConfig) {
	t.Helper()
	opt, _, _ := fakeLab(t, fakeGood)
	return opt, BisectConfig{Repo: repo, Base: "c0", Head: "c8", pkg: "./toy", judges: map[string]commitJudge{laneX: passing, laneT: byCost(t, unsure)}}
}

func subjects(r *BisectResult) (out []string) {
	for _, c := range r.Candidates {
		out = append(out, c.Subject)
	}
	return out
}

// TestBisect walks a history with a commit that does not build and one that is unclear
// at first, and finds the commit that costs more; lane x has nothing to say.
func TestBisect(t *testing.T) {
	if testing.Short() {
		t.Skip("builds a dozen programs")
	}
	for _, c := range []struct {
		first  int
		broken []int
		unsure map[string]int
		want   []string
	}{
		{5, []int{4}, map[string]int{"commit 5": 1}, []string{"commit 4", "commit 5"}},
		{6, []int{4}, map[string]int{"commit 5": 1}, []string{"commit 6"}},
		{3, nil, map[string]int{"commit 2": bisect.EffortMax + 1}, []string{"commit 2", "commit 3"}},
	} {
		repo := slowRepo(t, c.first, c.broken...)
		toyWrite(t, repo, "toy/main.go", "not committed")
		before := toyGit(t, repo, "status", "--porcelain", "--branch")
		opt, cfg := toyBisect(t, repo, c.unsure)
		r, err := Bisect(t.Context(), opt, cfg)
		if err != nil {
			t.Fatal(err)
		}
		if r.Lane != laneT || r.Metric != "cost" || !slices.Equal(subjects(r), c.want) {
			t.Errorf("first bad %d: lane %s, %s, candidates %v, want %v", c.first, r.Lane, r.Metric, subjects(r), c.want)
		}
		out := opt.Out.(*strings.Builder).String()
		if !strings.HasSuffix(out, "cost: cost 110\n") || len(c.want) == 1 != strings.Contains(out, "first bad commit: "+r.Candidates[0].Hash) {
			t.Errorf("printed:\n%s", out)
		}
		if n := strings.Count(out, "who knows"); n != len(c.unsure) && c.want[0] != "commit 2" {
			t.Errorf("an unclear commit was asked about %d times without an answer:\n%s", n, out)
		}
		if after := toyGit(t, repo, "status", "--porcelain", "--branch"); after != before {
			t.Errorf("the checkout was %q, is %q", before, after)
		}
		builtNothing(t, repo, &opt)
	}
}

// TestBisectLanes: what lane x sees is followed in lane x; where nothing is worse
// there is nothing to find; and what cannot be asked is refused.
func TestBisectLanes(t *testing.T) {
	if testing.Short() {
		t.Skip("builds some programs")
	}
	repo := slowRepo(t, 5)
	opt, cfg := toyBisect(t, repo, nil)
	cfg.judges = map[string]commitJudge{laneX: byCost(t, nil), laneT: func(context.Context, *bisection, build.Commit, string, int) (Judged, error) {
		t.Error("lane t was asked")
		return Judged{}, nil
	}}
	if r, err := Bisect(t.Context(), opt, cfg); err != nil || r.Lane != laneX || !slices.Equal(subjects(r), []string{"commit 5"}) {
		t.Errorf("%+v, %v", r, err)
	}
	opt, cfg = toyBisect(t, repo, nil)
	cfg.Config, cfg.judges[laneX] = "settings.yaml", func(context.Context, *bisection, build.Commit, string, int) (Judged, error) {
		t.Error("lane x was asked about brokers with settings")
		return Judged{}, nil
	}
	if r, err := Bisect(t.Context(), opt, cfg); err != nil || r.Lane != laneT || !slices.Equal(subjects(r), []string{"commit 5"}) {
		t.Errorf("with settings: %+v, %v", r, err)
	}
	cfg.judges, cfg.Config = nil, "missing.yaml" // which lane t itself is to read
	if _, err := Bisect(t.Context(), opt, cfg); !errors.Is(err, ErrUsage) || !strings.Contains(err.Error(), "missing.yaml") {
		t.Errorf("settings that are missing: %v", err)
	}
	opt, cfg = toyBisect(t, repo, nil)
	cfg.Head = "c4"
	if _, err := Bisect(t.Context(), opt, cfg); !errors.Is(err, ErrNotWorse) {
		t.Errorf("nothing worse: %v", err)
	}
	for name, change := range map[string]func(*BisectConfig){
		"no base": func(c *BisectConfig) { c.Base = "" }, "no lane": func(c *BisectConfig) { c.Lane = "y" },
		"one commit": func(c *BisectConfig) { c.Base = "c8" }, "many blocks": func(c *BisectConfig) { c.Blocks = 18 },
		"settings in lane x": func(c *BisectConfig) { c.Config, c.Lane = "f", laneX }, "settings of a counter": func(c *BisectConfig) { c.Config, c.Metric = "f", "a/b" },
		"settings without brokers": func(c *BisectConfig) { c.Config, c.Micro = "f", true },
	} {
		opt, cfg = toyBisect(t, repo, nil)
		if change(&cfg); name == "one commit" {
			cfg.judges = map[string]commitJudge{}
		}
		if _, err := Bisect(t.Context(), opt, cfg); !errors.Is(err, ErrUsage) {
			t.Errorf("%s: %v", name, err)
		}
	}
	opt, cfg = toyBisect(t, repo, nil)
	if cfg.Base, cfg.Head = "c8", "c0"; true {
		if _, err := Bisect(t.Context(), opt, cfg); !errors.Is(err, build.ErrNoRevision) {
			t.Errorf("backwards: %v", err)
		}
	}
	builtNothing(t, repo, &opt)
}

// TestBisectStep gives the answers that git bisect run is told.
func TestBisectStep(t *testing.T) {
	if testing.Short() {
		t.Skip("builds some programs")
	}
	repo := slowRepo(t, 5, 3)
	unsure := map[string]int{"commit 2": 9, "commit 1": 2}
	for head, want := range map[string]bisect.Answer{"c8": bisect.Bad, "c4": bisect.Good, "c3": bisect.Skip, "c2": bisect.Unclear, "c1": bisect.Good} {
		opt, cfg := toyBisect(t, repo, unsure)
		cfg.Head = head
		if j, err := BisectStep(t.Context(), opt, cfg); err != nil || j.Answer != want {
			t.Errorf("%s: %+v, %v, want %s", head, j, err, want)
		}
	}
}

// A base that cannot be judged, and a full disk, are no word on a commit.
func TestBisectSkipsCommitsAlone(t *testing.T) {
	broken := fmt.Errorf("head: %w", build.ErrBuild)
	for name, c := range map[string]struct {
		err  error
		skip bool
	}{
		"head does not build": {broken, true},
		"base does not build": {&badBase{fmt.Errorf("base: %w", build.ErrBuild)}, false},
		"a full disk":         {errors.Join(broken, ErrNoSpace), false},
	} {
		b := &bisection{cfg: &BisectConfig{judges: map[string]commitJudge{laneT: func(context.Context, *bisection, build.Commit, string, int) (Judged, error) {
			return Judged{}, c.err
		}}}}
		if j, err := b.judge(t.Context(), laneT, build.Commit{}, "", 0); (err == nil) != c.skip || c.skip && j.Answer != bisect.Skip {
			t.Errorf("%s: %+v, %v", name, j, err)
		}
	}
}

// TestJudgedCounters reads a report of lane x as an answer about one counter.
func TestJudgedCounters(t *testing.T) {
	one, two := 1.0, 2.0
	r := &gate.Report{Verdict: gate.Fail, Text: "all", Rows: []gate.Row{
		{Name: "three/a", Base: &one, Head: &one, Verdict: gate.Pass}, {Name: "three/b", Unit: "/record", Base: &one, Head: &two, Verdict: gate.Fail},
		{Name: "three/c", Base: &one, Head: &two, Verdict: gate.Fail}, {Name: "three/d", Verdict: gate.Quarantined},
	}}
	for metric, want := range map[string]Judged{
		"": {bisect.Bad, "three/b", "three/b from 1 to 2 /record"}, "three/a": {bisect.Good, "three/a", "three/a from 1 to 1 "},
		"three/c": {bisect.Bad, "three/c", "three/c from 1 to 2 "}, "three/d": {bisect.Skip, "three/d", "three/d is not there on both sides"},
		"three/e": {bisect.Skip, "three/e", "all"},
	} {
		if got := judgedCounters(r, metric); got != want {
			t.Errorf("%q: %+v, want %+v", metric, got, want)
		}
	}
	if got := judgedCounters(&gate.Report{Verdict: gate.Pass, Text: "fine"}, ""); got.Answer != bisect.Good {
		t.Errorf("%+v", got)
	}
	if got := judgedCounters(&gate.Report{Verdict: gate.Unmeasurable}, ""); got.Answer != bisect.Skip {
		t.Errorf("%+v", got)
	}
}
