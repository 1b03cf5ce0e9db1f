package main

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
