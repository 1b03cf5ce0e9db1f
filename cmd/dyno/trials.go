package main

import (
	"fmt"

	"dyno/bench"

	"github.com/spf13/cobra"
)

// newTrialsCommand is `dyno trials`.
func newTrialsCommand() *cobra.Command {
	var fl compareFlags
	var root string
	var count int
	cmd := &cobra.Command{
		Use:   "trials [--count N]",
		Short: "Try the gate itself: how often it cries wolf, how often it misses",
		Long: `Print how the trials of lane t fell: comparisons of a commit with itself, in which every FAIL is a false alarm, and of a commit with
a planted fault, in which every PASS is a miss. With --count so many are run first, by the gate's whole rule, and a line is
added to trials.jsonl for each, whatever it says. A trial takes minutes; after an interruption the same command goes on where
it stopped.`,
		Example: "  dyno trials\n  dyno trials --count 20 --micro\n  dyno trials --count 20 --micro --mutant spin-record:300 --metric produce_cpu",
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := noZeros(cmd, "count", "steal-max", "foreign-max", "memory-max"); err != nil {
				return err
			}
			if count < 0 {
				return usageError("--count %d: want 1 or more", count)
			}
			if fl.cfg.Config != "" && count == 0 {
				return usageError("--config is of trials that are run: add --count")
			}
			if err := checkSettings(fl.cfg.Config); err != nil {
				return err
			}
			if count > 0 {
				if err := labOptions(cmd, &fl.opt); err != nil {
					return &exitError{exitUsage, err}
				}
				rule := bench.Gate("", "")
				fl.cfg.Looks, fl.cfg.Nulls = rule.Looks, rule.Nulls
				if err := bench.RunTrials(cmd.Context(), fl.opt, fl.cfg, root, count); err != nil {
					return compareError(err)
				}
			}
			return labError(showTrials(cmd, root))
		},
	}
	f := cmd.Flags()
	f.SortFlags = false
	f.IntVar(&count, "count", 0, "trials to run and add")
	f.StringVar(&fl.cfg.Head, "head", "", "commit to try with (default the one checked out, of a tree without changes)")
	f.BoolVar(&fl.cfg.Micro, "micro", false, "lane micro: parts of one process, a block in seconds")
	f.StringVar(&fl.cfg.Mutant, "mutant", "", "fault to plant in head, NAME or NAME:SIZE (see README.md)")
	f.StringVar(&fl.cfg.Metric, "metric", "", "the one metric that decides (default all of the lane)")
	f.StringVar(&root, "root", "results", "directory of trials.jsonl")
	addConfigFlag(cmd, &fl.cfg.Config)
	addLimitFlags(cmd, &fl.cfg.Limits)
	addLabFlags(cmd, &fl.opt)
	return cmd
}

// showTrials prints the counts of the trials below root.
func showTrials(cmd *cobra.Command, root string) error {
	lines, err := bench.ReadTrials(root)
	if err != nil {
		return err
	}
	if len(lines) == 0 {
		_, err := fmt.Fprintln(cmd.OutOrStdout(), "no trials yet: run `dyno trials --count 1`")
		return err
	}
	return bench.WriteTrials(cmd.OutOrStdout(), bench.CountTrials(lines))
}
