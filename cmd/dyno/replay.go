package main

import (
	"dyno/bench/replay"

	"github.com/spf13/cobra"
)

// newReplayCommand is one replay of lane x: gate starts several.
func newReplayCommand() *cobra.Command {
	return &cobra.Command{
		Use:    "replay",
		Short:  "Replay the workload of the gate's lane x once and print its counters",
		Hidden: true,
		Args:   noArgs,
		Run:    func(cmd *cobra.Command, _ []string) { replay.Main(cmd.OutOrStdout()) },
	}
}
