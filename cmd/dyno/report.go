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
	return &cobra.Command{
		Use:   "report [DIR]",
		Short: "Draw a result's report.html again, or list the results",
		Long: `Draw the report of the result in DIR again from its other files. Without DIR: list the results below results and
results/local, oldest first.`,
		Example: "  dyno report\n  dyno report results/local/20261123.01-produce",
		Args:    cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return labError(listResults(cmd))
			}
			path, err := bench.WriteReport(args[0])
			if err != nil {
				return labError(err)
			}
			_, err = fmt.Fprintln(cmd.OutOrStdout(), path)
			return err
		},
	}
}

func listResults(cmd *cobra.Command) error {
	t := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 0, 2, ' ', 0)
	any := false
	for _, root := range []string{"results", "results/local"} {
		entries, err := record.List(root)
		if err != nil {
			return err
		}
		for _, e := range entries {
			any = true
			if e.Err != nil {
				fmt.Fprintf(t, "%s\tunreadable\t%v\n", e.Path, e.Err)
				continue
			}
			fmt.Fprintf(t, "%s\t%s\t%s\n", e.Path, e.Run.Verdict.Result, e.Run.Verdict.Text)
		}
	}
	if !any {
		fmt.Fprintln(t, "no results yet: run `make bench`")
	}
	return t.Flush()
}
