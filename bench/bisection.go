package bench

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"

	"dyno/bench/bisect"
	"dyno/bench/build"
	"dyno/bench/gate"
	"dyno/bench/paired"
	"dyno/bench/replay"
	"dyno/bench/stats"
)

// The lanes of a bisection.
const (
	laneX = "x" // exact counters
	laneT = "t" // paired time
)

// BisectConfig is one search for the commit that made something worse. The zero value
// of a field is its default.
type BisectConfig struct {
	Repo   string // a directory of the checkout: "."
	Base   string // revision that is good; required
	Head   string // revision that is bad: HEAD
	Lane   string // laneX or laneT: first x, which costs nothing, then t
	Metric string // of the lane: the first that head fails by
	Micro  bool   // of lane t: the work of one process
	Config string // of lane t: a file with settings of all brokers, as CompareConfig has it; without a lane there is only t
	Blocks int    // of lane t, at first: 12
	Limits paired.Limits

	pkg    string                 // what tests replace, as the judges
	judges map[string]commitJudge // by lane
}

// Judged is what one commit came to.
type Judged struct {
	Answer bisect.Answer
	Metric string // that was looked at; the first that fails where none was asked for
	Text   string // its figures, or why there are none
}

// commitJudge judges a commit against the base, with 2^effort times the effort; by
// all metrics where metric is "".
type commitJudge func(ctx context.Context, b *bisection, c build.Commit, metric string, effort int) (Judged, error)

// ErrNotWorse means that head is not worse than base, as far as could be seen.
var ErrNotWorse = errors.New("head is not seen to be worse than base")

// BisectResult is the end of a search: the commits of which the first is to blame,
// one of them if all that mattered could be judged.
type BisectResult struct {
	Lane       string
	Metric     string
	Candidates []build.Line
	Judged     []Judged // of the candidates; those that were not judged are Skip
}

// bisection is a search in progress. One goroutine owns it.
type bisection struct {
	cfg        *BisectConfig
	opt        *Options
	repo       *build.Repo
	base, head build.Commit
	counted    *replay.Set // of base, once lane x has it
}

func newBisection(ctx context.Context, opt *Options, cfg *BisectConfig) (_ *bisection, err error) {
	cfg.Repo, cfg.Head, cfg.pkg = cmp.Or(cfg.Repo, "."), cmp.Or(cfg.Head, "HEAD"), cmp.Or(cfg.pkg, "./cmd/dyno")
	cfg.Blocks = cmp.Or(cfg.Blocks, gate.Default().Looks[0])
	opt.setDefaults()
	switch {
	case cfg.Base == "":
		return nil, fmt.Errorf("%w: name a commit that was good: --base REV", ErrUsage)
	case cfg.Lane != "" && cfg.Lane != laneX && cfg.Lane != laneT:
		return nil, fmt.Errorf("%w: no lane %s: there are %s and %s", ErrUsage, cfg.Lane, laneX, laneT)
	case cfg.Blocks<<bisect.EffortMax > stats.FlipsMax || cfg.Blocks < 0:
		return nil, fmt.Errorf("%w: %d blocks, doubled %d times: want at most %d", ErrUsage, cfg.Blocks, bisect.EffortMax, stats.FlipsMax>>bisect.EffortMax)
	}
	if cfg.Lane == "" && (cfg.Metric != "" || cfg.Config != "") {
		cfg.Lane = laneT
		if strings.Contains(cfg.Metric, "/") { // as all counters are named
			cfg.Lane = laneX
		}
	}
	if cfg.Config != "" && (cfg.Lane == laneX || cfg.Micro) {
		return nil, fmt.Errorf("%w: --config is of the brokers of lane t: leave out --lane x, --micro, and a counter as --metric", ErrUsage)
	}
	if cfg.judges == nil {
		cfg.judges = map[string]commitJudge{laneX: judgeByCounters, laneT: judgeByTime}
	}
	b := &bisection{cfg: cfg, opt: opt}
	if b.repo, err = build.Open(ctx, cfg.Repo); err != nil {
		return nil, err
	}
	if b.base, err = b.repo.Resolve(ctx, cfg.Base); err != nil {
		return nil, fmt.Errorf("base: %w", err)
	}
	if b.head, err = b.repo.Resolve(ctx, cfg.Head); err != nil {
		return nil, fmt.Errorf("head: %w", err)
	}
	return b, nil
}

func (b *bisection) lanes() []string {
	if b.cfg.Lane != "" {
		return []string{b.cfg.Lane}
	}
	return []string{laneX, laneT}
}

// judge asks a lane about a commit. A commit that does not build, or is too old to be
// asked, is skipped; a base of that kind, or a full disk, is an error.
func (b *bisection) judge(ctx context.Context, lane string, c build.Commit, metric string, effort int) (Judged, error) {
	j, err := b.cfg.judges[lane](ctx, b, c, metric, effort)
	var old *oldProgram
	var base *badBase
	if ctx.Err() == nil && !errors.Is(err, ErrNoSpace) && !errors.As(err, &base) && (errors.Is(err, build.ErrBuild) || errors.Is(err, replay.ErrReplay) || errors.Is(err, replay.ErrSet) || errors.As(err, &old)) {
		return Judged{bisect.Skip, metric, err.Error()}, nil
	}
	return j, err
}

// decide asks about a commit until the answer is clear, or the effort is spent.
func (b *bisection) decide(ctx context.Context, lane string, c build.Commit, metric string) (j Judged, err error) {
	_, err = bisect.Insist(ctx, func(ctx context.Context, effort int) (bisect.Answer, error) {
		j, err = b.judge(ctx, lane, c, metric, effort)
		return j.Answer, err
	})
	return j, err
}

// BisectStep judges head alone, as `git bisect run` asks for one commit: Bad if a lane
// says so, Good if all do, otherwise what kept it from an answer. It blocks for
// minutes in lane t. Errors: ErrUsage, those of bench/build and Compare.
func BisectStep(ctx context.Context, opt Options, cfg BisectConfig) (Judged, error) {
	b, err := newBisection(ctx, &opt, &cfg)
	if err != nil {
		return Judged{}, err
	}
	out := Judged{Answer: bisect.Good, Metric: cfg.Metric}
	for _, lane := range b.lanes() {
		j, err := b.decide(ctx, lane, b.head, cfg.Metric)
		if err != nil || j.Answer == bisect.Bad {
			return j, err
		}
		if out.Answer == bisect.Good {
			out.Text, out.Answer = j.Text, j.Answer
		}
	}
	return out, nil
}

// Bisect finds the first commit after base, along first parents, that made head worse,
// and tells each step. It looks for something that head fails by, in lane x and then
// in lane t, and follows that one metric. The checkout is left alone: commits are
// built in worktrees that are gone when it returns. It blocks, in lane t for minutes a
// step. Errors: ErrUsage, ErrNotWorse, those of bench/build and Compare.
func Bisect(ctx context.Context, opt Options, cfg BisectConfig) (*BisectResult, error) {
	b, err := newBisection(ctx, &opt, &cfg)
	if err != nil {
		return nil, err
	}
	line, err := b.repo.History(ctx, b.base, b.head)
	if err != nil {
		return nil, err
	}
	if len(line) == 0 {
		return nil, fmt.Errorf("%w: base and head are one commit", ErrUsage)
	}
	lane, worst, err := b.worse(ctx)
	if err != nil {
		return nil, err
	}
	judged := map[int]Judged{len(line) - 1: worst}
	b.say("%s is bad: %s, in lane %s; %d commits to search", b.head.Short(), worst.Text, lane, len(line))
	found, err := bisect.Search(ctx, len(line), func(ctx context.Context, n, effort int) (bisect.Answer, error) {
		j, err := b.judge(ctx, lane, line[n].Commit, worst.Metric, effort)
		if err != nil {
			return j.Answer, err
		}
		judged[n] = j
		b.say("%s %s: %s: %s", line[n].Short(), j.Answer, line[n].Subject, j.Text)
		return j.Answer, nil
	})
	if err != nil {
		return nil, err
	}
	res := &BisectResult{Lane: lane, Metric: worst.Metric}
	for _, n := range found.Candidates {
		j, ok := judged[n]
		if !ok {
			j = Judged{Answer: bisect.Skip, Text: "not judged"}
		}
		res.Candidates, res.Judged = append(res.Candidates, line[n]), append(res.Judged, j)
	}
	b.tell(res)
	return res, nil
}

// worse finds the lane and the metric by which head is worse.
func (b *bisection) worse(ctx context.Context) (lane string, j Judged, err error) {
	var said []string
	for _, lane := range b.lanes() {
		if j, err = b.decide(ctx, lane, b.head, b.cfg.Metric); err != nil || j.Answer == bisect.Bad {
			return lane, j, err
		}
		said = append(said, fmt.Sprintf("lane %s: %s, %s", lane, j.Answer, j.Text))
	}
	return "", j, fmt.Errorf("%w: %s", ErrNotWorse, strings.Join(said, "; "))
}

func (b *bisection) say(format string, args ...any) { fmt.Fprintf(b.opt.Out, format+"\n", args...) }

// tell prints the end.
func (b *bisection) tell(r *BisectResult) {
	last := len(r.Candidates) - 1
	if last == 0 {
		b.say("\nfirst bad commit: %s %s", r.Candidates[0].Hash, r.Candidates[0].Subject)
	} else {
		b.say("\nthe first bad commit is one of these:")
		for i, c := range r.Candidates {
			b.say("  %s %s (%s)", c.Hash, c.Subject, r.Judged[i].Answer)
		}
	}
	b.say("%s: %s", r.Metric, r.Judged[last].Text)
}
