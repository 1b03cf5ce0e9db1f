//go:build mutants

package multiraft

import (
	"fmt"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
)

var (
	forcedMutant atomic.Uint32
	forcedLinger atomic.Int64 // ns
)

var mutantNames = map[string]mutant{"early-promote": mutEarlyPromote, "linger": mutLinger}

// linked is the mutant a program has from its start, set by the linker:
//
//	go build -tags mutants -ldflags "-X dyno/engine/multiraft.linked=linger:200000"
var linked string

func init() {
	if err := SetMutant(linked); err != nil {
		panic(err)
	}
}

func forced() mutant { return mutant(forcedMutant.Load()) }

// SetMutant breaks every group of the process in the named way: "early-promote", or
// "linger:NS", by which proposals wait so long for more of them; "" mends them. It
// exists in builds with the tag mutants alone, for simulations and a gate that must
// turn red.
func SetMutant(name string) error {
	name, text, _ := strings.Cut(name, ":")
	m, ok := mutantNames[name]
	if !ok && name != "" {
		return fmt.Errorf("multiraft: no mutant is called %q", name)
	}
	size, err := strconv.ParseInt(text, 10, 64)
	if m == mutLinger && (err != nil || size <= 0) {
		return fmt.Errorf("multiraft: mutant linger needs a time in ns, as in linger:200000, not %q", text)
	}
	forcedLinger.Store(size)
	forcedMutant.Store(uint32(m))
	return nil
}

// linger lets proposals gather before the worker takes them.
func (b *mailbox) linger() {
	b.mu.Lock()
	proposed := len(b.in.props) > 0
	b.mu.Unlock()
	if proposed {
		time.Sleep(time.Duration(forcedLinger.Load()))
	}
}
