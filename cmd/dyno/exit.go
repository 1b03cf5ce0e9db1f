package main

import (
	"errors"
	"fmt"
	"strings"
	"syscall"

	"dyno/engine"
	"dyno/wal/vfs"

	"github.com/spf13/cobra"
)

// Exit codes of `dyno`, after sysexits.h where a meaning exists there.
const (
	exitViolation   = 1  // the tested thing is wrong
	exitUsage       = 64 // wrong flags or configuration
	exitUnavailable = 69 // could not reach, or could not run
)

// exitError carries the exit code of an error to main.
type exitError struct {
	code int
	err  error
}

func (e *exitError) Error() string { return e.err.Error() }
func (e *exitError) Unwrap() error { return e.err }

// usageError is an error about what the caller typed.
func usageError(format string, args ...any) error {
	return &exitError{exitUsage, fmt.Errorf(format, args...)}
}

// nodeError gives an error of the engine its exit code, and the way out where
// the engine cannot know it.
func nodeError(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, engine.ErrConfig):
		return &exitError{exitUsage, err}
	case errors.Is(err, syscall.EADDRINUSE):
		err = fmt.Errorf("%w; stop the process that has the port, or choose another port", err)
	case errors.Is(err, vfs.ErrLocked):
		err = fmt.Errorf("%w; stop the dyno that uses this directory first", err)
	}
	return &exitError{exitUnavailable, err}
}

// oneLine keeps an error to one line: joined errors come on several.
func oneLine(err error) string {
	return strings.Join(strings.FieldsFunc(err.Error(), func(r rune) bool { return r == '\n' || r == '\r' }), "; ")
}

// noArgs refuses arguments of a command that takes flags only.
func noArgs(cmd *cobra.Command, args []string) error {
	if len(args) > 0 {
		return usageError("%s takes flags only, got %q; see: %s --help", cmd.CommandPath(), args[0], cmd.CommandPath())
	}
	return nil
}
