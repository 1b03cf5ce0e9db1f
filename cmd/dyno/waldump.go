package main

import (
	"errors"
	"io"
	"path/filepath"

	"dyno/engine"
	"dyno/wal"
	"dyno/wal/vfs"

	"github.com/spf13/cobra"
)

// newWALCommand is `dyno wal`, the parent of what looks at a log.
func newWALCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "wal",
		Short: "Look at a node's log",
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) > 0 {
				return usageError("no command wal %q; see: dyno wal --help", args[0])
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newWALDumpCommand())
	return cmd
}

// newWALDumpCommand is `dyno wal dump`.
func newWALDumpCommand() *cobra.Command {
	var opts wal.DumpOptions
	cmd := &cobra.Command{
		Use:   "dump DIR",
		Short: "Print the segments, frames and records of a log, and whether its end is sound",
		Long: `Print the segments of the log in DIR, which is a node's data directory or the wal directory in it, and how the log ends.
It changes nothing and takes no lock; the log of a running node may look torn.
Exit codes: 0 sound, 1 damaged, 64 usage, 69 cannot be read.`,
		Example: "  dyno wal dump ./data\n  dyno wal dump ./data --records --stream 1",
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 1 {
				return usageError("wal dump needs one directory, got %d; see: dyno wal dump --help", len(args))
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			opts.Records = opts.Records || opts.Stream != 0
			return dumpWAL(cmd.OutOrStdout(), args[0], opts)
		},
	}
	f := cmd.Flags()
	f.SortFlags = false
	f.BoolVar(&opts.Frames, "frames", false, "print every frame")
	f.BoolVar(&opts.Records, "records", false, "print every frame and record")
	f.Uint64Var(&opts.Stream, "stream", 0, "print the records of this stream (Raft group) only; 1 is the metadata")
	return cmd
}

func dumpWAL(out io.Writer, dir string, opts wal.DumpOptions) error {
	if _, err := engine.ReadMeta(vfs.OS(), dir); err == nil {
		dir = filepath.Join(dir, "wal")
	}
	err := wal.Dump(out, vfs.OS(), dir, opts)
	if damage := (*wal.DamageError)(nil); errors.As(err, &damage) {
		return &exitError{exitViolation, err}
	}
	return nodeError(err)
}
