package bench

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"dyno/bench/bisect"
	"dyno/bench/build"
	"dyno/bench/gate"
	"dyno/bench/replay"
)

// judgeByTime is lane t: a comparison with base, by the one metric.
func judgeByTime(ctx context.Context, b *bisection, c build.Commit, metric string, effort int) (Judged, error) {
	v, err := Compare(ctx, *b.opt, CompareConfig{Repo: b.cfg.Repo, Base: b.base.Hash, Head: c.Hash, Micro: b.cfg.Micro, Config: b.cfg.Config, Metric: metric,
		Looks: []int{b.cfg.Blocks << effort}, Limits: b.cfg.Limits, Attribute: AttributeNever})
	if err != nil {
		return Judged{}, err
	}
	j := Judged{Answer: bisect.Unclear, Metric: metric, Text: v.Text}
	switch {
	case v.Verdict == gate.Pass:
		j.Answer = bisect.Good
	case v.Behind:
		j.Answer = bisect.Bad
	case v.Verdict == gate.Fail && v.Decision == nil: // it broke a promise: not this matter
		j.Answer = bisect.Skip
	case v.Verdict == gate.Fail:
		j.Answer = bisect.Bad
		for _, f := range v.Decision.Findings {
			if f.Confirmed {
				j.Metric = f.Metric
				j.Text = fmt.Sprintf("%s worse by %+.1f %% (%+.1f to %+.1f %%)", f.Metric, 100*f.Change, 100*f.Low, 100*f.High)
				break
			}
		}
	}
	return j, nil
}

// bisectRepeats is how often a commit's replay is counted: two that agree.
const bisectRepeats = 2

// judgeByCounters is lane x: the counters of the commit's own replay against those of
// base's.
func judgeByCounters(ctx context.Context, b *bisection, c build.Commit, metric string, _ int) (Judged, error) {
	if b.counted == nil {
		set, _, err := b.count(ctx, b.base)
		if err != nil {
			return Judged{}, &badBase{fmt.Errorf("base: %w", err)}
		}
		b.counted = set
	}
	head, unequal, err := b.count(ctx, c)
	if err != nil {
		return Judged{}, err
	}
	r := gate.JudgeCounters(gate.Counters{BaseName: b.base.Short(), HeadName: c.Short(), Base: b.counted, Head: head, Unequal: unequal})
	return judgedCounters(r, metric), nil
}

// judgedCounters finds a counter in a report of lane x, or the first that fails.
func judgedCounters(r *gate.Report, metric string) Judged {
	for _, row := range r.Rows {
		if row.Name != metric && (metric != "" || row.Verdict != gate.Fail) {
			continue
		}
		j := Judged{Answer: bisect.Good, Metric: row.Name, Text: row.Name + " is not there on both sides"}
		if row.Base != nil && row.Head != nil {
			j.Text = fmt.Sprintf("%s from %.6g to %.6g %s", row.Name, *row.Base, *row.Head, row.Unit)
		}
		switch row.Verdict {
		case gate.Fail:
			j.Answer = bisect.Bad
		case gate.Unmeasurable, gate.Quarantined, gate.Advisory:
			j.Answer = bisect.Skip
		}
		return j
	}
	j := Judged{Answer: bisect.Good, Metric: metric, Text: r.Text}
	if metric != "" || r.Verdict == gate.Unmeasurable {
		j.Answer = bisect.Skip // it has no such counter, or another workload
	}
	return j
}

// count builds a commit and counts its replay.
func (b *bisection) count(ctx context.Context, c build.Commit) (set *replay.Set, unequal []replay.Unequal, err error) {
	err = b.program(ctx, c, func(path string) (err error) {
		set, unequal, err = replay.Repeat(ctx, []string{path, "replay"}, bisectRepeats)
		return err
	})
	return set, unequal, err
}

// program builds a commit, has use run it, and takes everything away again. It holds
// the lab's lock meanwhile.
func (b *bisection) program(ctx context.Context, c build.Commit, use func(path string) error) (err error) {
	lock, err := acquire(b.opt.lock)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, lock.release()) }()
	work, err := newWorkDir(b.opt.Data)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, work.close()) }()
	dir := filepath.Join(work.path, "build")
	if err := os.Mkdir(dir, 0o755); err != nil {
		return err
	}
	builder, err := build.NewBuilder(ctx, b.repo, dir, b.cfg.pkg)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, builder.Close()) }()
	tree, err := builder.Checkout(ctx, c)
	if err != nil {
		return err
	}
	path := filepath.Join(work.path, "dyno")
	if err := tree.Link(ctx, 0, path); err != nil {
		return err
	}
	return use(path)
}
