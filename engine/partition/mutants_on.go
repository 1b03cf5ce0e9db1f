//go:build mutants

package partition

import (
	"fmt"
	"sync/atomic"
)

var forcedMutant atomic.Uint32

var mutantNames = map[string]mutant{"keep-producers": mutKeepProducers, "empty-restore": mutEmptyRestore, "allocate": mutAllocate, "copy-reads": mutCopyReads}

// wasted keeps what waste allocates from being found needless.
var wasted *stamped

// waste is what mutAllocate does.
func waste() { wasted = new(stamped) }

func forced() mutant { return mutant(forcedMutant.Load()) }

// SetMutant breaks every partition of the process in the named way:
// "keep-producers", "empty-restore", "allocate", "copy-reads"; "" mends them. It exists
// in builds with the tag mutants alone, for simulations and a gate that must turn red.
func SetMutant(name string) error {
	m, ok := mutantNames[name]
	if !ok && name != "" {
		return fmt.Errorf("partition: no mutant is called %q", name)
	}
	forcedMutant.Store(uint32(m))
	return nil
}
