//go:build mutants

package wal

import (
	"fmt"
	"sync/atomic"
)

var forcedMutant atomic.Uint32

var mutantNames = map[mutant]string{
	mutNoSync:    "no-sync",
	mutNoPromise: "no-promise",
	mutNoDirSync: "no-dirsync",
	mutNoSeq:     "no-seq",
	mutTwoSyncs:  "two-syncs",
	mutTwoWrites: "two-writes",

	mutLockedSync: "locked-sync",
}

// linked is the mutant a program has from its start, set by the linker:
//
//	go build -tags mutants -ldflags "-X dyno/wal.linked=locked-sync"
var linked string

func init() {
	if err := SetMutant(linked); err != nil {
		panic(err)
	}
}

func forced() mutant { return mutant(forcedMutant.Load()) }

// SetMutant breaks every log opened from now on in the named way: "no-sync",
// "no-promise", "no-dirsync", "no-seq", "two-syncs", "two-writes",
// "locked-sync"; "" mends them. It exists in builds with the tag mutants alone,
// for crash tests and a gate that must turn red.
func SetMutant(name string) error {
	if name == "" {
		forcedMutant.Store(0)
		return nil
	}
	for m, n := range mutantNames {
		if n == name {
			forcedMutant.Store(uint32(m))
			return nil
		}
	}
	return fmt.Errorf("wal: no mutant is called %q", name)
}
