package main

import (
	"context"
	"errors"
	"fmt"

	"dyno/bench"
	"dyno/bench/gate"
	"dyno/bench/paired"

	"github.com/spf13/cobra"
)

const verdictCodes = `Exit codes: 0 PASS, 1 FAIL, 2 INCONCLUSIVE, 3 UNMEASURABLE (the machine is not fit), 64 usage or could not run.`

// compareFlags are those of every comparison.
type compareFlags struct {
	cfg    bench.CompareConfig
	opt    bench.Options
	blocks int
}

// newCompareCommand is `dyno compare`.
func newCompareCommand() *cobra.Command {
	var fl compareFlags
	cmd := &cobra.Command{
		Use:   "compare --base REV [--head REV]",
		Short: "Compare two commits: build both, run them in paired blocks, judge",
		Long: `Compare two commits of this checkout. Both are built alike; if they make the same program, that is all. Otherwise their brokers
run in turn, in blocks of four runs whose order a coin decides, each with fresh brokers in a fresh directory, linked anew for
each block. This program makes the load for both. With --micro, parts of one process are measured instead:
the four runs of a block are alive together and take turns of some 10 ms.
It prints each metric of both sides, by how much head is worse, and what change it would have seen. After an interruption the
same command goes on where it stopped.
After a FAIL by a metric of brokers under load, or with --attribute, the functions that got slower are named: 12 further blocks
are run with CPU profiles of the brokers, which go to profiles/local/ID (with --record to profiles/ID); not with --micro. No profile is taken in a run that decides.
` + verdictCodes,
		Example: "  dyno compare --base main\n  dyno compare --base v1.2 --head v1.3 --blocks 24\n  dyno compare --base HEAD~1 --head HEAD --micro\n  dyno compare --base main --attribute\n  dyno compare --base HEAD --head HEAD --mutant spin-record:250",
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := noZeros(cmd, "blocks"); err != nil {
				return err
			}
			if fl.blocks > 0 {
				fl.cfg.Looks = []int{fl.blocks}
			}
			return compareCommits(cmd, &fl)
		},
	}
	cmd.Flags().SortFlags = false
	addCommitFlags(cmd, &fl)
	cmd.Flags().IntVar(&fl.blocks, "blocks", 0, "blocks to run, four runs each (default 12)")
	addCompareFlags(cmd, &fl)
	return cmd
}

func addCommitFlags(cmd *cobra.Command, fl *compareFlags) {
	cmd.Flags().StringVar(&fl.cfg.Base, "base", "", "commit to compare with; required")
	cmd.Flags().StringVar(&fl.cfg.Head, "head", "", "commit to judge (default the one checked out, of a tree without changes)")
}

func addCompareFlags(cmd *cobra.Command, fl *compareFlags) {
	f := cmd.Flags()
	f.BoolVar(&fl.cfg.Micro, "micro", false, "measure parts of one process: a block in seconds")
	f.DurationVar(&fl.cfg.Window, "window", 0, "timed window of a run at the fixed rate (default 4s)")
	f.DurationVar(&fl.cfg.Warmup, "warmup", 0, "load before each window (default 3s)")
	addConfigFlag(cmd, &fl.cfg.Config)
	f.Uint64Var(&fl.cfg.Seed, "seed", 0, "of all coins (default drawn, and printed)")
	addLimitFlags(cmd, &fl.cfg.Limits)
	f.StringVar(&fl.cfg.Metric, "metric", "", "the one metric that decides (default all of the lane)")
	f.StringVar(&fl.cfg.Attribute, "attribute", bench.AttributeFail, "when 12 further blocks are run with CPU profiles to name the functions that got slower: fail, always or never")
	f.Lookup("attribute").NoOptDefVal = bench.AttributeAlways
	f.StringVar(&fl.cfg.Mutant, "mutant", "", "for proving the gate: build head with this fault, NAME or NAME:SIZE (see README.md)")
	f.BoolVar(&fl.cfg.Force, "force", false, "go on with a ledger that was begun on another machine")
	f.BoolVar(&fl.cfg.Anyway, "anyway", false, "run also if both commits make the same program: a trial of the method itself")
	addLabFlags(cmd, &fl.opt)
}

func addConfigFlag(cmd *cobra.Command, file *string) {
	cmd.Flags().StringVar(file, "config", "", "settings of all brokers of both sides, a file as dyno up --config takes it; not with --micro")
}

// checkSettings refuses a file that no node of this program would start with, or that no
// result could state, before anything is built.
func checkSettings(file string) error {
	if file == "" {
		return nil
	}
	_, err := bench.ReadSettings(file)
	if err == nil {
		_, err = (&upFlags{config: file}).settings()
	}
	return err
}

// addLimitFlags adds what the machine may do to a block.
func addLimitFlags(cmd *cobra.Command, limits *paired.Limits) {
	f := cmd.Flags()
	f.Float64Var(&limits.Steal, "steal-max", 0, "share of CPU time the hypervisor may take before a block is run again (default 0.01)")
	f.Float64Var(&limits.Foreign, "foreign-max", 0, "share of CPU time that other work may use (default 0.10)")
	f.Float64Var(&limits.Memory, "memory-max", 0, "share of time that tasks may wait for memory (default 0.05)")
}

// compareCommits runs a comparison and gives its verdict an exit code.
func compareCommits(cmd *cobra.Command, fl *compareFlags) error {
	if err := noZeros(cmd, "window", "warmup", "seed", "steal-max", "foreign-max", "memory-max"); err != nil {
		return err
	}
	if err := checkSettings(fl.cfg.Config); err != nil {
		return err
	}
	if err := labOptions(cmd, &fl.opt); err != nil {
		return &exitError{exitUsage, err}
	}
	v, err := bench.Compare(cmd.Context(), fl.opt, fl.cfg)
	if err != nil {
		return compareError(err)
	}
	if v.Verdict == gate.Pass {
		return nil
	}
	return &exitError{v.Verdict.Exit(), fmt.Errorf("%s: %s", v.Verdict, v.Text)}
}

// compareError gives a comparison that could not run its one exit code: the lower
// ones are verdicts.
func compareError(err error) error {
	var left *bench.Interrupted
	switch {
	case errors.Is(err, context.Canceled) && errors.As(err, &left):
		err = fmt.Errorf("interrupted; every process was stopped, nothing that was built is left, and %s", left.Left())
	case errors.Is(err, context.Canceled):
		err = errors.New("interrupted; every process was stopped, nothing that was built is left, and the comparison under way had measured nothing yet")
	}
	return &exitError{exitUsage, err}
}
