// Command dyno is a dynamometer for replicated logs: a Kafka-compatible broker
// and the test stand that measures it.
//
// Each subcommand is one file: flags -> config -> Run(ctx). Signals, flags and
// os.Exit are handled here and nowhere else in the module. An error is one line
// on standard error that says what was wrong and what to do.
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
var subcommands = []func() *cobra.Command{
	newBenchCommand, newExperimentCommand, newLoadCommand, newReportCommand,
	newUpCommand, newFormatCommand, newServeCommand, newWALCommand,
}

func newRootCommand() *cobra.Command {
	root := &cobra.Command{
		Use:           "dyno",
		Short:         "A dynamometer for replicated logs",
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return usageError("%w; see: %s --help", err, cmd.CommandPath())
	})
	root.CompletionOptions.HiddenDefaultCmd = true
	cobra.EnableCommandSorting = false
	for _, newCommand := range subcommands {
		root.AddCommand(newCommand())
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
	fmt.Fprintln(os.Stderr, "dyno:", oneLine(err))
	var exit *exitError
	if errors.As(err, &exit) {
		return exit.code
	}
	return exitUsage // what cobra itself refuses
}

func main() { os.Exit(run()) }
