package replay

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"runtime/debug"
	"testing"
	"testing/synctest"
)

// Main is the whole life of a replaying process: it plays the workload once, writes
// the counters to out and ends the process, with 0 if all went well. Nothing may run
// beside it. What testing says to standard output comes after the counters.
//
// The bubble of testing/synctest, in which time stands still until every goroutine
// waits, can only be had from testing; hence the dress of a test.
func Main(out io.Writer) { playOn(1, out) }

// playOn is Main on so many processors. Only a test wants more than one: the counts
// must be the same, but for the allocations.
func playOn(processors int, out io.Writer) {
	runtime.GOMAXPROCS(processors)
	debug.SetGCPercent(-1)
	debug.SetMemoryLimit(1 << 50) // whatever GOMEMLIMIT says
	runtime.MemProfileRate = 0
	run := func(t *testing.T) {
		var s *Set
		var err error
		synctest.Test(t, func(*testing.T) {
			if s, err = Play(); err != nil {
				// Said at once: goroutines that still wait make the bubble panic.
				fmt.Fprintln(os.Stderr, "replay:", err)
			}
		})
		if err == nil {
			err = s.Write(out)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	testing.Main(func(string, string) (bool, error) { return true, nil }, []testing.InternalTest{{Name: "replay", F: run}}, nil, nil)
}

// ErrReplay means that a replaying process failed.
var ErrReplay = errors.New("the replay failed")

// Run plays the workload in a process of its own, which command must make call
// Main, and reads its counters. It blocks for some seconds; the end of ctx kills the
// process. Errors: ErrReplay, ErrSet, ctx's.
func Run(ctx context.Context, command []string) (*Set, error) {
	cmd := exec.CommandContext(ctx, command[0], command[1:]...)
	var out, said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &said
	// A runtime that is told to trace or to check allocates and schedules in another way.
	cmd.Env = append(os.Environ(), "GODEBUG=", "GOGC=off", "GOMEMLIMIT=off", "GOTRACEBACK=single")
	if err := cmd.Run(); ctx.Err() != nil {
		return nil, ctx.Err() // the process was killed for it
	} else if err != nil {
		return nil, fmt.Errorf("%w: %w: %s", ErrReplay, err, head(said.Bytes()))
	}
	return Read(&out)
}

// Repeat runs the replay so often and merges what was counted; see Run and Merge.
func Repeat(ctx context.Context, command []string, times int) (*Set, []Unequal, error) {
	sets := make([]*Set, times)
	for i := range sets {
		var err error
		if sets[i], err = Run(ctx, command); err != nil {
			return nil, nil, err
		}
	}
	return Merge(sets)
}

const headMax = 1000

// head is the begin of what a process said: the rest is where its goroutines were.
func head(b []byte) []byte { return bytes.TrimSpace(b[:min(len(b), headMax)]) }
