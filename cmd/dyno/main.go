// Command dyno is a dynamometer for replicated logs: a Kafka-compatible broker and the test stand that measures it.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"
)

// subcommands make the command tree, in the order help lists them.
var subcommands = []func() *cobra.Command{newLoadCommand}

func newRootCommand() *cobra.Command {
	root := &cobra.Command{
		Use:           "dyno",
		Short:         "A dynamometer for replicated logs",
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return &exitError{exitUsage, err} })
	for _, make := range subcommands {
		root.AddCommand(make())
	}
	return root
}

// run executes the command line and returns the exit code; a second signal kills.
func run() int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop)
	err := newRootCommand().ExecuteContext(ctx)
	if err == nil {
		return 0
	}
	fmt.Fprintln(os.Stderr, "dyno:", err)
	var exit *exitError
	if errors.As(err, &exit) {
		return exit.code
	}
	return exitUsage
}

func main() { os.Exit(run()) }
