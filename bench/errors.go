package bench

import (
	"cmp"
	"errors"
	"fmt"
)

var (
	// ErrBusy means another lab runs on this machine, or the machine is too
	// busy for a run that is meant to be recorded.
	ErrBusy = errors.New("the machine is busy")
	// ErrNoSpace means the disk cannot hold the run, before or during it.
	ErrNoSpace = errors.New("not enough disk space")
	// ErrStart means a process of the run could not be started or did not
	// become ready.
	ErrStart = errors.New("could not start")
	// ErrViolation means the system under test broke a promise: a record was
	// lost, duplicated, reordered or corrupted.
	ErrViolation = errors.New("a promise was broken")
	// ErrInvalid means the run ended but says nothing about the system: the
	// generator or the machine was the bottleneck, or the system fell silent.
	ErrInvalid = errors.New("the run is not valid")
	// ErrUsage means the request itself is wrong.
	ErrUsage = errors.New("usage")
)

// Interrupted is an experiment or a comparison that ended early. Err is why.
type Interrupted struct {
	What     string // what is counted: "repetitions" where empty
	Kept, Of int    // that the same command will not run again, of all
	Err      error
}

func (e *Interrupted) Error() string { return fmt.Sprintf("%v (%s)", e.Err, e.Left()) }
func (e *Interrupted) Unwrap() error { return e.Err }

// Left says what is kept, as the end of a sentence.
func (e *Interrupted) Left() string {
	what := cmp.Or(e.What, "repetitions")
	if e.Kept == 0 {
		return fmt.Sprintf("none of %d %s is kept", e.Of, what)
	}
	return fmt.Sprintf("%d of %d %s are kept: the same command goes on from there", e.Kept, e.Of, what)
}
