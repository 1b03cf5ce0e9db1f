//go:build mutants

package multiraft

import (
	"fmt"
	"sync/atomic"
)

var forcedMutant atomic.Uint32

var mutantNames = map[string]mutant{"early-promote": mutEarlyPromote}

func forced() mutant { return mutant(forcedMutant.Load()) }

// SetMutant breaks every group of the process in the named way: "early-promote";
// "" mends them. It exists in builds with the tag mutants alone, for simulations
// that must turn red.
func SetMutant(name string) error {
	m, ok := mutantNames[name]
	if !ok && name != "" {
		return fmt.Errorf("multiraft: no mutant is called %q", name)
	}
	forcedMutant.Store(uint32(m))
	return nil
}
