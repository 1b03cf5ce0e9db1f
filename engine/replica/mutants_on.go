//go:build mutants

package replica

import (
	"fmt"
	"sync/atomic"
)

var forcedMutant atomic.Uint32

var mutantNames = map[string]mutant{
	"early-ack":  mutEarlyAck,
	"no-vote":    mutNoVote,
	"index-only": mutIndexOnly,
	"reuse-read": mutReuseRead,
	"early-lead": mutEarlyLead,

	"snap-high":     mutSnapHigh,
	"learner-votes": mutLearnerVotes,
	"quiet-lag":     mutQuietLag,
	"copies-sent":   mutCopiesSent,
	"few-copies":    mutFewCopies,
	"untold":        mutUntold,
	"long-lease":    mutLongLease,
	"lease-kept":    mutLeaseKept,
	"no-promise":    mutNoPromise,

	"one-by-one": mutOneByOne,
	"more-state": mutMoreState,
}

// linked is the mutant a program has from its start, set by the linker:
//
//	go build -tags mutants -ldflags "-X dyno/engine/replica.linked=one-by-one"
var linked string

func init() {
	if err := SetMutant(linked); err != nil {
		panic(err)
	}
}

func forced() mutant { return mutant(forcedMutant.Load()) }

// SetMutant breaks every replica of the process in the way of that name, see
// mutantNames and mutant.go; "" mends them. It exists in builds with the tag mutants
// alone, for simulations and a gate that must turn red.
func SetMutant(name string) error {
	m, ok := mutantNames[name]
	if !ok && name != "" {
		return fmt.Errorf("replica: no mutant is called %q", name)
	}
	forcedMutant.Store(uint32(m))
	return nil
}
