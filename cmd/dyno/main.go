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
	"slices"
	"syscall"

	"github.com/spf13/cobra"
)

// subcommands make the command tree, in the order help lists them.
var subcommands = []func() *cobra.Command{
	newBenchCommand, newHistoryCommand, newBisectCommand, newCompareCommand, newGateCommand, newTrialsCommand, newExperimentCommand, newLoadCommand, newMaxrateCommand, newReplayCommand, newReportCommand,
	newUpCommand, newFormatCommand, newServeCommand, newClusterCommand, newWALCommand,
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

// endings are the signals that end a command in order. A hang-up that the caller
// has set aside (nohup) stays set aside.
func endings() []os.Signal {
	signals := []os.Signal{os.Interrupt, syscall.SIGTERM}
	if !signal.Ignored(syscall.SIGHUP) {
		signals = append(signals, syscall.SIGHUP)
	}
	return signals
}

// pipeEnd ends the command in order once nobody reads what it says. The signal
// itself cannot: it also comes when a client of a broker hangs up.
type pipeEnd struct {
	f    *os.File
	stop context.CancelFunc
}

func (p *pipeEnd) Write(b []byte) (int, error) {
	n, err := p.f.Write(b)
	if errors.Is(err, syscall.EPIPE) {
		p.stop()
	}
	return n, err
}

// run executes the command line and returns the exit code; a second signal kills.
func run() int {
	ctx, stop := signal.NotifyContext(context.Background(), endings()...)
	defer stop()
	context.AfterFunc(ctx, stop)
	// Taken and left lying, so that a write to a closed pipe is an error of that
	// write instead of the end of the process.
	signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE)
	root := newRootCommand()
	root.SetOut(&pipeEnd{os.Stdout, stop})
	root.SetErr(&pipeEnd{os.Stderr, stop})
	err := root.ExecuteContext(ctx)
	if err == nil {
		return 0
	}
	fmt.Fprintln(os.Stderr, "dyno:", oneLine(err))
	return exitCode(err, os.Args[1:])
}

// exitCode is that of an error. Git takes 1 to 127 of a step for a word on the
// commit, so a step that was typed wrong must not end with exitUsage.
func exitCode(err error, args []string) int {
	code := exitUsage // what cobra itself refuses
	var exit *exitError
	if errors.As(err, &exit) {
		code = exit.code
	}
	if code == exitUsage && len(args) > 0 && args[0] == "bisect" && slices.Contains(args, "--step") {
		return exitAbort
	}
	return code
}

func main() { os.Exit(run()) }
