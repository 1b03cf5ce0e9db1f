package main

import (
	"errors"
	"fmt"

	"dyno/bench"
	"dyno/bench/bisect"

	"github.com/spf13/cobra"
)

// Exit codes of `dyno bisect`, of which git bisect run knows these: 0 good, 125
// skip, above 127 stop, all others bad. Source: git-bisect(1).
const (
	exitBad   = 1
	exitSkip  = 125
	exitAbort = 128
)

const bisectLong = `Find the first commit after --base, along first parents, that made --head worse. It looks for something that head fails by: first
in lane x, which builds a commit and replays it in seconds, then in lane t, which compares it with base for minutes; and follows
that one metric, by halves. A commit that does not build is skipped; one that stays unclear is judged with twice the blocks, and
again. The checkout is left alone. With --config it looks in lane t alone.
Exit codes: 0 the first bad commit is named, 125 it is one of several, or head is not seen to be worse, 64 usage or could not run.

With --step it judges head alone and ends as git bisect run wants it: 0 good, 1 bad, 125 it does not build or stays unclear, 128
when the judging itself could not be done, which stops git. Name the --metric then, or commits may be bad for different reasons.`

const bisectExamples = `  dyno bisect --base v1.2 --head main
  dyno bisect --base v1.2 --lane x --metric three/produce/fsyncs
  dyno bisect --base v1.2 --lane t --metric produce_cpu_s_per_million --blocks 16
  git bisect start main v1.2 && git bisect run bin/dyno bisect --step --base v1.2 --metric records_per_s`

// newBisectCommand is `dyno bisect`.
func newBisectCommand() *cobra.Command {
	var cfg bench.BisectConfig
	var opt bench.Options
	var step bool
	cmd := &cobra.Command{
		Use:     "bisect --base REV [--head REV]",
		Short:   "Find the commit that made something worse",
		Long:    bisectLong,
		Example: bisectExamples,
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			err := noZeros(cmd, "blocks", "steal-max", "foreign-max", "memory-max")
			if err == nil {
				err = labOptions(cmd, &opt)
			}
			if err == nil {
				err = checkSettings(cfg.Config)
			}
			if step {
				return bisectStep(cmd, opt, cfg, err)
			}
			if err != nil {
				return &exitError{exitUsage, err}
			}
			res, err := bench.Bisect(cmd.Context(), opt, cfg)
			return bisectEnd(res, err)
		},
	}
	f := cmd.Flags()
	f.SortFlags = false
	f.StringVar(&cfg.Base, "base", "", "a commit that was good; required")
	f.StringVar(&cfg.Head, "head", "", "a later commit that is bad (default HEAD)")
	f.StringVar(&cfg.Lane, "lane", "", "x, the exact counters of a replay, or t, the time (default first x, then t)")
	f.StringVar(&cfg.Metric, "metric", "", "counter or metric to follow (default the first that head fails by)")
	f.IntVar(&cfg.Blocks, "blocks", 0, "blocks of lane t for a commit, at first (default 12)")
	f.BoolVar(&cfg.Micro, "micro", false, "lane t measures parts of one process: a block in seconds")
	addConfigFlag(cmd, &cfg.Config)
	f.BoolVar(&step, "step", false, "judge head alone, with the exit codes of git bisect run")
	addLimitFlags(cmd, &cfg.Limits)
	addLabFlags(cmd, &opt)
	return cmd
}

// bisectEnd gives a search its exit code.
func bisectEnd(res *bench.BisectResult, err error) error {
	switch {
	case errors.Is(err, bench.ErrNotWorse):
		return &exitError{exitSkip, err}
	case err != nil:
		return compareError(err)
	case len(res.Candidates) > 1:
		return &exitError{exitSkip, fmt.Errorf("%d commits may be the first bad one: some of them could not be judged", len(res.Candidates))}
	}
	return nil
}

// bisectStep judges one commit. err is what was wrong with the flags.
func bisectStep(cmd *cobra.Command, opt bench.Options, cfg bench.BisectConfig, err error) error {
	var j bench.Judged
	if err == nil {
		j, err = bench.BisectStep(cmd.Context(), opt, cfg)
	}
	switch {
	case err != nil:
		return &exitError{exitAbort, err}
	}
	fmt.Fprintf(cmd.OutOrStdout(), "%s: %s\n", j.Answer, j.Text)
	switch j.Answer {
	case bisect.Good:
		return nil
	case bisect.Bad:
		return &exitError{exitBad, errors.New("bad: " + j.Text)}
	}
	return &exitError{exitSkip, fmt.Errorf("%s: %s", j.Answer, j.Text)}
}
