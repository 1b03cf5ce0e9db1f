package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"dyno/bench"
	"dyno/bench/record"

	"github.com/spf13/cobra"
	"golang.org/x/term"
)

const benchExamples = `  dyno bench
  dyno bench peers
  dyno bench --repetitions 5 --profile
  dyno bench --nodes 1 --partitions 1 --producers 4
  dyno bench --record`

// newBenchCommand is `dyno bench`.
func newBenchCommand() *cobra.Command {
	var cfg bench.SuiteConfig
	var opt bench.Options
	cmd := &cobra.Command{
		Use:   "bench [suite]",
		Short: "Measure this dyno: start it, load it, verify every record, report",
		Long: `Measure this dyno: each repetition starts fresh brokers in a fresh directory, loads them over the Kafka protocol and reads
every record back. The suite produce has saturating windows and windows at half of that rate. It prints a table, the change
against the last good result of this machine, and the path of an HTML report. Results go to results/local unless --record.
The suite peers compares dyno's log alone with those of etcd and HashiCorp (the arms "peers" of dyno experiment fsync); of the
flags about what is measured it takes --repetitions (default 10) and --seed.
Exit codes: 0 good, 1 a record was lost, duplicated, reordered or corrupted, 64 usage, 69 could not run or says nothing.`,
		Example:   benchExamples,
		ValidArgs: []string{"produce", "peers"},
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) > 1 || len(args) == 1 && args[0] != "produce" && args[0] != "peers" {
				return usageError("no suite %q: there are produce and peers", args[len(args)-1])
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := noZeros(cmd, "nodes", "partitions", "producers", "size", "repetitions", "window", "warmup", "seed"); err != nil {
				return err
			}
			if err := labOptions(cmd, &opt); err != nil {
				return err
			}
			if len(args) == 1 && args[0] == "peers" {
				of, err := peersConfig(cmd, &cfg, &opt)
				if err != nil {
					return err
				}
				_, err = bench.RunExperiment(cmd.Context(), "fsync", opt, of)
				return labError(err)
			}
			if len(cfg.Dyno) == 0 || cfg.Dyno[0] == "" {
				cfg.Dyno = opt.Child[:1]
			}
			_, err := bench.RunSuite(cmd.Context(), opt, cfg)
			return labError(err)
		},
	}
	f := cmd.Flags()
	f.SortFlags = false
	f.IntVar(&cfg.Nodes, "nodes", 3, "brokers of the cluster, each a process")
	f.IntVar(&cfg.Partitions, "partitions", 8, "partitions of the topic")
	f.IntVar(&cfg.Producers, "producers", 2, "producing clients of the generator")
	f.IntVar(&cfg.RecordBytes, "size", 1024, "record value in bytes")
	f.IntVar(&cfg.Repetitions, "repetitions", 3, "of each arm")
	f.DurationVar(&cfg.Window, "window", 0, "timed window of one repetition (default 5s)")
	f.DurationVar(&cfg.Warmup, "warmup", 0, "load before each window (default 2s)")
	f.Uint64Var(&cfg.Seed, "seed", 1, "of the first repetition")
	f.BoolVar(&cfg.Profile, "profile", false, "add a profiled repetition; its figures are thrown away")
	cfg.Dyno = make([]string, 1)
	f.StringVar(&cfg.Dyno[0], "dyno", "", "dyno program to measure (default this one)")
	addLabFlags(cmd, &opt)
	cmd.AddCommand(newBenchChildCommand())
	return cmd
}

// peersConfig is the experiment that the suite peers is. Its arms are logs without a
// cluster, so it refuses what says how a cluster is loaded.
func peersConfig(cmd *cobra.Command, cfg *bench.SuiteConfig, opt *bench.Options) (bench.ExperimentConfig, error) {
	out := bench.ExperimentConfig{Only: []string{"peers"}, Peers: peersProgram(opt), Seed: cfg.Seed}
	for _, name := range []string{"nodes", "partitions", "producers", "size", "window", "warmup", "profile", "dyno"} {
		if cmd.Flags().Changed(name) {
			return out, usageError("--%s is of the suite produce: peers compares logs without a cluster", name)
		}
	}
	if cmd.Flags().Changed("repetitions") {
		out.Repetitions = cfg.Repetitions
	}
	return out, nil
}

// noZeros refuses a zero that was typed: in a configuration it means the default.
func noZeros(cmd *cobra.Command, names ...string) error {
	for _, name := range names {
		if f := cmd.Flags().Lookup(name); f.Changed && (f.Value.String() == "0" || f.Value.String() == "0s") {
			return usageError("--%s %s: want more than 0", name, f.Value)
		}
	}
	return nil
}

func addLabFlags(cmd *cobra.Command, opt *bench.Options) {
	f := cmd.Flags()
	f.BoolVar(&opt.Record, "record", false, "write a result that is meant to be committed; needs a quiet machine")
	f.StringVar(&opt.Results, "results", "", "root of result directories (default results/local, or results with --record)")
	f.StringVar(&opt.Data, "data", "", "where brokers and logs keep their data meanwhile (default the results root)")
}

// labOptions fills in what the process knows of itself.
func labOptions(cmd *cobra.Command, opt *bench.Options) error {
	exe, err := os.Executable()
	if err != nil {
		return &exitError{exitUnavailable, fmt.Errorf("find the dyno binary: %w", err)}
	}
	opt.Child = []string{exe, "bench", "child"}
	opt.Out, opt.Err = cmd.OutOrStdout(), cmd.ErrOrStderr()
	opt.Terminal = term.IsTerminal(int(os.Stderr.Fd()))
	return nil
}

// peersProgram is where make build-peers puts dyno-peers: beside dyno.
func peersProgram(opt *bench.Options) string {
	return filepath.Join(filepath.Dir(opt.Child[0]), "dyno-peers")
}

// labError gives an error of package bench its exit code.
func labError(err error) error {
	var left *bench.Interrupted
	switch {
	case err == nil:
		return nil
	case errors.Is(err, bench.ErrViolation):
		return &exitError{exitViolation, err}
	case errors.Is(err, bench.ErrUsage), errors.Is(err, record.ErrNotResult):
		return &exitError{exitUsage, err}
	case errors.Is(err, context.Canceled) && errors.As(err, &left):
		return &exitError{exitUnavailable, fmt.Errorf("interrupted; every process was stopped, and %s", left.Left())}
	case errors.Is(err, context.Canceled):
		return &exitError{exitUnavailable, errors.New("interrupted; every process was stopped and nothing was recorded")}
	}
	return &exitError{exitUnavailable, err}
}

// newBenchChildCommand is the process that bench and experiment start for one
// measurement; it speaks with its parent alone.
func newBenchChildCommand() *cobra.Command {
	return &cobra.Command{
		Use:    "child",
		Short:  "Answer one request of a measuring parent on standard input",
		Hidden: true,
		Args:   noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := bench.ServeChild(cmd.Context(), cmd.OutOrStdout()); err != nil {
				return &exitError{exitUnavailable, err}
			}
			return nil
		},
	}
}
