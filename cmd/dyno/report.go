package main

import (
	"fmt"
	"text/tabwriter"

	"dyno/bench"
	"dyno/bench/record"

	"github.com/spf13/cobra"
)

// newReportCommand is `dyno report`.
func newReportCommand() *cobra.Command {
	var against string
	cmd := &cobra.Command{
		Use:   "report [DIR]",
		Short: "Draw a result's report.html again, or list the results",
		Long: `Draw the report of the result in DIR again from its other files, and from profiles/ where it has profiles. With --against:
also what differs from another result, the environment and where a record's CPU time goes. Without DIR: list the results below
results and results/local, oldest first, write the same with links and with the history to results/local/index.html, and
results/INDEX.jsonl anew.`,
		Example: "  dyno report\n  dyno report results/local/20261123.01-produce\n  dyno report results/local/20261123.02-produce --against results/local/20261123.01-produce",
		Args:    cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				if against != "" {
					return usageError("--against needs the result to draw: dyno report DIR --against OTHER")
				}
				return labError(listResults(cmd))
			}
			path, err := bench.WriteReportAgainst(args[0], against)
			if err != nil {
				return labError(err)
			}
			_, err = fmt.Fprintln(cmd.OutOrStdout(), path)
			return err
		},
	}
	cmd.Flags().StringVar(&against, "against", "", "directory of another result to show the differences from")
	return cmd
}

func listResults(cmd *cobra.Command) error {
	t := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 0, 2, ' ', 0)
	var all []record.Entry
	for _, root := range []string{"results", "results/local"} {
		entries, err := record.List(root)
		if err != nil {
			return err
		}
		all = append(all, entries...)
	}
	for _, e := range all {
		if e.Err != nil {
			fmt.Fprintf(t, "%s\tunreadable\t%v\n", e.Path, e.Err)
			continue
		}
		fmt.Fprintf(t, "%s\t%s\t%s\n", e.Path, e.Run.Verdict.Result, e.Run.Verdict.Text)
	}
	if len(all) == 0 {
		fmt.Fprintln(t, "no results yet: run `make bench`")
		return t.Flush()
	}
	if err := t.Flush(); err != nil {
		return err
	}
	if err := record.WriteIndex("results"); err != nil {
		return err
	}
	history, err := bench.ReadHistory("results")
	if err != nil {
		return err
	}
	index, err := bench.WriteIndex("results/local", all, bench.Trends(history))
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(cmd.OutOrStdout(), "with links: %s\n", index)
	return err
}
