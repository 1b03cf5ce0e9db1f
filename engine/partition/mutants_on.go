//go:build mutants

package partition

import (
	"fmt"
	"strconv"
	"strings"
	"sync/atomic"
)

var (
	forcedMutant atomic.Uint32
	copies       atomic.Int64 // of mutCopyReads; 0 is one
)

var mutantNames = map[string]mutant{"keep-producers": mutKeepProducers, "empty-restore": mutEmptyRestore, "allocate": mutAllocate, "leak": mutLeak, "copy-reads": mutCopyReads}

// wasted keeps what waste allocates from being found needless.
var wasted *stamped

// waste is what mutAllocate does.
func waste() { wasted = new(stamped) }

// leaked keeps what leak was given; in a ring, so that it costs no allocation.
var leaked struct {
	kept [1 << 20]atomic.Pointer[Append]
	next atomic.Uint64
}

// leak is what mutLeak does.
func leak(a *Append) { leaked.kept[leaked.next.Add(1)%uint64(len(leaked.kept))].Store(a) }

// linked is the mutant a program has from its start, set by the linker:
//
//	go build -tags mutants -ldflags "-X dyno/engine/partition.linked=copy-reads:2"
var linked string

func init() {
	if err := SetMutant(linked); err != nil {
		panic(err)
	}
}

func forced() mutant { return mutant(forcedMutant.Load()) }

func forcedCopies() int64 { return copies.Load() }

// SetMutant breaks every partition of the process in the named way:
// "keep-producers", "empty-restore", "allocate", "leak", "copy-reads" or "copy-reads:N" for N
// copies; "" mends them. It exists in builds with the tag mutants alone, for
// simulations and a gate that must turn red.
func SetMutant(name string) error {
	name, text, sized := strings.Cut(name, ":")
	m, ok := mutantNames[name]
	if !ok && name != "" {
		return fmt.Errorf("partition: no mutant is called %q", name)
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if sized && (m != mutCopyReads || err != nil || n <= 0) {
		return fmt.Errorf("partition: mutant %s has no size %q", name, text)
	}
	copies.Store(n)
	forcedMutant.Store(uint32(m))
	return nil
}
