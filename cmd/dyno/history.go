package main

import (
	"fmt"

	"dyno/bench"

	"github.com/spf13/cobra"
)

// newHistoryCommand is `dyno history`.
func newHistoryCommand() *cobra.Command {
	var fl compareFlags
	var root string
	var add bool
	cmd := &cobra.Command{
		Use:   "history [--add]",
		Short: "Show how commits compare with a pinned one, over time",
		Long: `Print, for each metric, the ratio of every recorded commit to the reference and where it moved to another level, and draw it
into history.html. Small losses that the gate lets through, one after another, show here.
With --add the commit is first compared with the reference, as dyno compare does, and a line is added to history.jsonl. The
first line of the file REFERENCE names the reference; it moves only when somebody commits another one.`,
		Example: "  dyno history\n  dyno history --add            # on main, after each merge\n  dyno history --add --head main~3",
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if add {
				if err := labOptions(cmd, &fl.opt); err != nil {
					return &exitError{exitUsage, err}
				}
				if _, err := bench.RecordHistory(cmd.Context(), fl.opt, fl.cfg, root); err != nil {
					return compareError(err)
				}
			}
			return labError(showHistory(cmd, root))
		},
	}
	f := cmd.Flags()
	f.SortFlags = false
	f.BoolVar(&add, "add", false, "compare a commit with the reference first, and add it")
	f.StringVar(&fl.cfg.Head, "head", "", "commit to add (default the one checked out, of a tree without changes)")
	f.BoolVar(&fl.cfg.Micro, "micro", false, "add by lane micro: parts of one process, a block in seconds")
	f.StringVar(&root, "root", "results", "directory of REFERENCE, history.jsonl and history.html")
	addLimitFlags(cmd, &fl.cfg.Limits)
	addLabFlags(cmd, &fl.opt)
	return cmd
}

// showHistory prints and draws the history below root.
func showHistory(cmd *cobra.Command, root string) error {
	lines, err := bench.ReadHistory(root)
	if err != nil {
		return err
	}
	if len(lines) == 0 {
		_, err := fmt.Fprintf(cmd.OutOrStdout(), "no history yet: run `dyno history --add`\n")
		return err
	}
	trends := bench.Trends(lines)
	if err := bench.WriteTrends(cmd.OutOrStdout(), trends); err != nil {
		return err
	}
	path, err := bench.WriteHistoryPage(root, trends)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(cmd.OutOrStdout(), path)
	return err
}
