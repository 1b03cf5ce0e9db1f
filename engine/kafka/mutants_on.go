//go:build mutants

package kafka

import (
	"fmt"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
)

// mutant names work that this front does for nothing, to show that the gate notices.
type mutant uint32

const (
	mutSpinBatch  mutant = 1 << iota // CPU time for each batch that is produced
	mutSpinRecord                    // CPU time for each record of one
	mutDelay                         // one Produce in a hundred is held up, and what its connection sends after it
)

func (m mutant) has(x mutant) bool { return m&x != 0 }

var mutantNames = map[string]mutant{"spin-batch": mutSpinBatch, "spin-record": mutSpinRecord, "delay": mutDelay}

// linked is the mutant a program has from its start, set by the linker:
//
//	go build -tags mutants -ldflags "-X dyno/engine/kafka.linked=spin-record:250"
var linked string

func init() {
	if err := SetMutant(linked); err != nil {
		panic(err)
	}
}

// dawdling is what the process wastes now, and what it has wasted.
var dawdling struct {
	mutant   atomic.Uint32
	size     atomic.Int64 // ns
	turns    atomic.Int64 // of the loop of spin, for size
	produces atomic.Int64

	spun   atomic.Int64 // turns
	delays atomic.Int64
}

// delayEvery is how many requests there are to one that is delayed.
const delayEvery = 100

// SetMutant makes every front of the process do more than it must: "spin-batch:NS"
// and "spin-record:NS" so many nanoseconds of CPU time for each batch and record
// that is produced, "delay:NS" holds up one Produce in a hundred; "" mends it. It
// exists in builds with the tag mutants alone.
func SetMutant(name string) error {
	name, text, _ := strings.Cut(name, ":")
	m, ok := mutantNames[name]
	if !ok && name != "" {
		return fmt.Errorf("kafka: no mutant is called %q", name)
	}
	size, err := strconv.ParseInt(text, 10, 64)
	if ok && (err != nil || size <= 0) {
		return fmt.Errorf("kafka: mutant %s needs a size in ns, as in %s:1000, not %q", name, name, text)
	}
	dawdling.mutant.Store(0)
	if m.has(mutSpinBatch | mutSpinRecord) {
		dawdling.turns.Store(max(1, int64(float64(size)/turnNS())))
	}
	dawdling.size.Store(size)
	dawdling.produces.Store(0)
	dawdling.spun.Store(0)
	dawdling.delays.Store(0)
	dawdling.mutant.Store(uint32(m))
	return nil
}

func dawdleRequest() {
	if mutant(dawdling.mutant.Load()).has(mutDelay) && dawdling.produces.Add(1)%delayEvery == 0 {
		dawdling.delays.Add(1)
		time.Sleep(time.Duration(dawdling.size.Load()))
	}
}

func dawdleBatch(records int32) {
	switch m := mutant(dawdling.mutant.Load()); {
	case m.has(mutSpinBatch):
		spin(dawdling.turns.Load())
	case m.has(mutSpinRecord):
		spin(dawdling.turns.Load() * int64(records))
	}
}

// turnNS measures what one turn of spin takes: the best of several tries, since
// whatever else runs can only make one longer.
func turnNS() float64 {
	const turns = 200_000
	best := time.Hour
	for range 10 {
		begun := time.Now()
		spin(turns)
		best = min(best, time.Since(begun))
	}
	return float64(best) / turns
}

// spin keeps a core busy for a number of turns, each of which needs the one before:
// the same work whatever else runs. A loop until a time has come would end early
// where the thread had to give way.
func spin(turns int64) {
	x := uint64(turns)
	for range turns {
		x = x*6364136223846793005 + 1442695040888963407
	}
	if x != 0 { // always, which the compiler cannot know
		dawdling.spun.Add(turns)
	}
}
