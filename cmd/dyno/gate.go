package main

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"dyno/bench"
	"dyno/bench/gate"
	"dyno/bench/replay"

	"github.com/spf13/cobra"
)

const gateLong = `Decide whether a commit may pass. Lane x asks whether this dyno does more for a record than the baseline says: it replays a fixed workload on clusters of three nodes
and of one, in a process where nothing happens by itself, three times, and compares exact counters: fsyncs, writes, bytes of the log,
Raft's messages and bytes, round trips, allocations. A count that rises fails unless %s allows it: a waiver has a metric, how much
is allowed, a reason and a day on which it ends.
With --base it also tells what the baseline itself has otherwise than that of BASE: who writes it anew allows a rise.
It prints a table and the verdict, and writes verdict.json, summary.md (for a pull request), junit.xml and counters.json to --out.
Lane t compares the time that a commit takes with that of --base, as dyno compare does, with all looks of the rule (12, 18 and 24
blocks), three blocks of base against itself mixed in, and a confirmation of what would fail it; after a FAIL by one of its metrics
it names the functions that got slower, from CPU profiles of further blocks. Its verdict.json, summary.md and junit.xml lie in --results. Lane all is x
and, where that passes, t.
Exit codes: 0 PASS, 1 FAIL, 2 INCONCLUSIVE, 3 UNMEASURABLE, 64 usage or could not run.`

const gateExamples = `  dyno gate --lane x
  dyno gate --base main                         # both lanes
  dyno gate --base main --lane t --micro        # parts of one process: a block in seconds
  dyno gate --lane x --all                      # every counter, also those that are as they were
  dyno gate --lane x --write-baseline           # after an improvement, or a rise that is meant: commit the file
  dyno gate --lane x --counters counters.json   # judge what another run counted`

const (
	baselineFile = "bench/replay/baseline.json"
	waiversFile  = "bench/replay/waivers.yaml"
)

type gateFlags struct {
	lane, baseline, waivers, counters, out string
	repeats                                int
	write, all                             bool
	time                                   compareFlags
}

// newGateCommand is `dyno gate`.
func newGateCommand() *cobra.Command {
	var f gateFlags
	cmd := &cobra.Command{
		Use:     "gate",
		Short:   "Stop a commit that does more for a record than the baseline says, or that is slower than another",
		Long:    fmt.Sprintf(gateLong, waiversFile),
		Example: gateExamples,
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := f.check(); err != nil {
				return err
			}
			if f.lane != laneTime {
				if err := gateError(f.run(cmd)); err != nil || f.lane == laneCounts || f.write {
					return err
				}
				counters, err := os.ReadFile(filepath.Join(f.out, "verdict.json")) // for the report of lane t
				if err != nil {
					return gateError(err)
				}
				f.time.cfg.Counters = counters
			}
			return gateTime(cmd, &f.time)
		},
	}
	p := cmd.Flags()
	p.SortFlags = false
	addCommitFlags(cmd, &f.time)
	p.StringVar(&f.lane, "lane", "", "x, the exact counters of a replay; t, the time against base; or all (default x, and all with --base)")
	p.StringVar(&f.baseline, "baseline", baselineFile, "the counters to compare with")
	p.BoolVar(&f.write, "write-baseline", false, "write what is counted as the baseline, and judge nothing")
	p.StringVar(&f.counters, "counters", "", "judge the counters in this file instead of a replay")
	p.StringVar(&f.waivers, "waivers", waiversFile, "what may be worse, and until when")
	p.StringVar(&f.out, "out", filepath.FromSlash("results/local/gate-x"), "directory of verdict.json, summary.md, junit.xml and counters.json")
	p.IntVar(&f.repeats, "repeats", 3, "replays, each in a process of its own")
	p.BoolVar(&f.all, "all", false, "show every counter")
	addCompareFlags(cmd, &f.time)
	return cmd
}

// The lanes.
const (
	laneCounts = "x"
	laneTime   = "t"
	laneAll    = "all"
)

// check fills in the lane and refuses what cannot be asked.
func (f *gateFlags) check() error {
	base, head := f.time.cfg.Base != "", f.time.cfg.Head != ""
	if f.lane == "" && base {
		f.lane = laneAll
	}
	f.lane = cmp.Or(f.lane, laneCounts)
	switch {
	case f.lane != laneCounts && f.lane != laneTime && f.lane != laneAll:
		return usageError("--lane %s: there are %s, %s and %s", f.lane, laneCounts, laneTime, laneAll)
	case f.repeats < 2:
		return usageError("--repeats %d: want 2 or more, or nothing shows that they agree", f.repeats)
	case f.lane != laneCounts && !base:
		return usageError("--lane %s: name the commit to compare with: --base REV", f.lane)
	case f.lane == laneCounts && f.time.cfg.Config != "":
		return usageError("--config is of the brokers of lane t: lane x replays without any")
	case f.time.cfg.Config != "" && f.time.cfg.Micro:
		return usageError("--config is of brokers: leave out --micro")
	case f.lane != laneTime && head:
		return usageError("lane x counts what this program does, not what --head would: add --lane t, or leave out --head")
	}
	return checkSettings(f.time.cfg.Config)
}

// gateTime is lane t.
func gateTime(cmd *cobra.Command, fl *compareFlags) error {
	all := bench.Gate(fl.cfg.Base, fl.cfg.Head)
	fl.cfg.Looks, fl.cfg.Nulls = all.Looks, all.Nulls
	return compareCommits(cmd, fl)
}

// gateError gives what is no verdict its exit code.
func gateError(err error) error {
	var exit *exitError
	if err == nil || errors.As(err, &exit) {
		return err
	}
	return &exitError{exitUsage, err}
}

func (f *gateFlags) run(cmd *cobra.Command) error {
	head, unequal, err := f.count(cmd)
	if err != nil {
		return err
	}
	if f.write {
		if len(unequal) > 0 {
			return fmt.Errorf("no baseline is written: repeats do not agree: %v", unequal)
		}
		return f.writeBaseline(cmd.OutOrStdout(), head)
	}
	in := gate.Counters{BaseName: f.baseline, HeadName: "this program", Head: head, Unequal: unequal}
	if f.counters != "" {
		in.HeadName = f.counters
	}
	if in.Base, err = readSet(f.baseline); errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("%w; run it at the root of the repository, or make a baseline by --write-baseline", err)
	} else if err != nil {
		return err
	}
	if in.Waivers, err = f.readWaivers(in.Base, head); err != nil {
		return err
	}
	report := gate.JudgeCounters(in)
	moved, err := f.moved(cmd.Context(), in.Base)
	if err != nil {
		return err
	}
	report.Notes = append(report.Notes, moved...)
	return f.tell(cmd.OutOrStdout(), report, head)
}

// count gives the counters to judge.
func (f *gateFlags) count(cmd *cobra.Command) (*replay.Set, []replay.Unequal, error) {
	if f.counters != "" {
		s, err := readSet(f.counters)
		return s, nil, err
	}
	exe, err := os.Executable()
	if err != nil {
		return nil, nil, fmt.Errorf("find the dyno binary: %w", err)
	}
	return replay.Repeat(cmd.Context(), []string{exe, "replay"}, f.repeats)
}
