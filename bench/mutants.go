package bench

import (
	"fmt"
	"strings"

	"dyno/bench/build"
	"dyno/bench/paired"
)

// Mutant is one way to build a broker that does more than it must, to prove that the
// gate stops it. It exists in programs that are built with the tag mutants.
type Mutant struct {
	Name    string
	Package string // whose variable linked names it
	Size    string // what the number after the name means; "" it has none
	What    string
	Lane    string // that must fail because of it
}

// mutantTag builds a program that can have a mutant.
const mutantTag = "mutants"

// Mutants are all that cost or wait. Those that break a promise are no matter of the
// gate: crash tests and simulations find them.
var Mutants = []Mutant{
	{"spin-batch", "dyno/engine/kafka", "ns", "CPU time for each batch that is produced", "t: produce_cpu_s_per_million"},
	{"spin-record", "dyno/engine/kafka", "ns", "CPU time for each record that is produced", "t: produce_cpu_s_per_million"},
	{"delay", "dyno/engine/kafka", "ns", "one Produce in a hundred is held up", "t: response_p99_ms"},
	{"linger", "dyno/engine/multiraft", "ns", "proposals wait for more of them", "t: response_p99_ms, records_per_s"},
	{"locked-sync", "dyno/wal", "", "nothing can be submitted to the log during a sync", "t on a slow disk: response_p99_ms"},
	{"copy-reads", "dyno/engine/partition", "copies", "what is read is copied before it is sent", "t: consume_cpu_s_per_million; x: fetch/alloc-bytes"},
	{"allocate", "dyno/engine/partition", "", "one more allocation for each batch", "x: produce/allocs"},
	{"leak", "dyno/engine/partition", "", "a finished batch is never let go of", "x: whole/kept-bytes"},
	{"two-syncs", "dyno/wal", "", "each sync twice", "x: produce/fsyncs"},
	{"two-writes", "dyno/wal", "", "a write of the log in two pieces", "x: produce/write-calls"},
	{"more-state", "dyno/engine/replica", "", "3 % more bytes in the log", "x: produce/wal-bytes"},
	{"one-by-one", "dyno/engine/replica", "", "a message for each proposal", "x: produce/raft-messages"},
}

// mutant finds the one that was asked for. Error: ErrUsage.
func (c *CompareConfig) mutant() (*Mutant, error) {
	if c.Mutant == "" {
		return nil, nil
	}
	name, size, _ := strings.Cut(c.Mutant, ":")
	var names []string
	for i := range Mutants {
		m := &Mutants[i]
		if names = append(names, m.Name); m.Name != name {
			continue
		}
		if size == "" && m.Size == "ns" || size != "" && m.Size == "" || strings.Trim(size, "0123456789") != "" {
			return nil, fmt.Errorf("%w: mutant %q: its size is in %q, as in %s:1000", ErrUsage, c.Mutant, m.Size, name)
		}
		return m, nil
	}
	return nil, fmt.Errorf("%w: no mutant %s: there are %s", ErrUsage, name, strings.Join(names, ", "))
}

// vary builds both sides so that head alone has the mutant, and nothing else differs.
func (c *CompareConfig) vary(tree *build.Tree, side paired.Side) {
	m, err := c.mutant()
	if err != nil {
		panic(fmt.Sprintf("BUG: a mutant that was checked: %v", err))
	}
	switch {
	case m == nil:
	case side == paired.Head:
		tree.Vary(mutantTag, m.Package+".linked="+c.Mutant)
	default:
		tree.Vary(mutantTag)
	}
}
