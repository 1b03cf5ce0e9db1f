package main

import (
	"fmt"
	"strings"

	"dyno/bench"

	"github.com/spf13/cobra"
)

// newExperimentCommand is `dyno experiment`.
func newExperimentCommand() *cobra.Command {
	var cfg bench.ExperimentConfig
	var opt bench.Options
	names := bench.Experiments()
	var list strings.Builder
	for _, name := range names {
		fmt.Fprintf(&list, "  %-18s %s\n", name, bench.Purpose(name))
	}
	cmd := &cobra.Command{
		Use:   "experiment NAME",
		Short: "Run a stated experiment: arms interleaved, question and expectation written before",
		Long: fmt.Sprintf(`Run a stated experiment and write its result. There are:
%s
Arms run interleaved, each repetition in fresh processes and a fresh directory; everything written is read back and compared.
After an interruption the same command goes on where it stopped. A missed target is an answer: the exit code stays 0.
Exit codes: 0 ran, 1 a log or a cluster did not give back what it took, 64 usage, 69 could not run.`, list.String()),
		Example:   "  dyno experiment transport --quick\n  dyno experiment fsync --only peers\n  dyno experiment fsync --record",
		ValidArgs: names,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 1 {
				return usageError("name one experiment: %s", strings.Join(names, ", "))
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := noZeros(cmd, "seed", "repetitions"); err != nil {
				return err
			}
			if err := labOptions(cmd, &opt); err != nil {
				return err
			}
			if cfg.Peers == "" {
				cfg.Peers = peersProgram(&opt)
			}
			if cfg.Dyno[0] == "" {
				cfg.Dyno[0] = opt.Child[0]
			}
			if cfg.Quick && opt.Record {
				return usageError("--quick concludes nothing, so it cannot be recorded: leave out one of --quick and --record")
			}
			_, err := bench.RunExperiment(cmd.Context(), args[0], opt, cfg)
			return labError(err)
		},
	}
	f := cmd.Flags()
	f.SortFlags = false
	f.BoolVar(&cfg.Quick, "quick", false, "tiny sizes, few repetitions, no waiting for quiet: to see that it runs")
	f.StringSliceVar(&cfg.Only, "only", nil, "families of arms to run, such as peers,commit (default all)")
	f.IntVar(&cfg.Repetitions, "repetitions", 0, "of the arms that carry a target and of those beside them (default the experiment's own: 10 in fsync, rwlock, batching and raft-version; 3 in idle, in the idle arms of partitions, where acks counts losses and where recovery ends all nodes; else 6)")
	cfg.Dyno = make([]string, 1)
	f.StringVar(&cfg.Dyno[0], "dyno", "", "dyno program whose brokers are measured (default this one)")
	f.StringVar(&cfg.Peers, "peers", "", "the dyno-peers program (default beside dyno)")
	f.Uint64Var(&cfg.Seed, "seed", 1, "of the order and of the payloads")
	addLabFlags(cmd, &opt)
	return cmd
}
