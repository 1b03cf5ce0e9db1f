package main

import (
	"fmt"
	"io"
	"os"

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

// readSet reads a file of counters.
func readSet(path string) (*replay.Set, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	s, err := replay.Read(f)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return s, nil
}

// writeFile writes a file by what write writes.
func writeFile(path string, write func(io.Writer) error) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	if err := write(f); err != nil {
		_ = f.Close() // the first error counts
		return fmt.Errorf("write %s: %w", path, err)
	}
	return f.Close()
}
