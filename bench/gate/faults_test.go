package gate

import (
	"errors"
	"maps"
	"math"
	"strings"
	"testing"

	"dyno/bench/stats"
)

// compared is the index of the k-th block that compares.
func compared(e *Evidence, k int) int {
	for i, b := range e.Blocks {
		if !b.Null {
			if k == 0 {
				return i
			}
			k--
		}
	}
	panic("BUG: no such block")
}

func swapLabels(b *Block) {
	for i := range b.Runs {
		b.Runs[i].Commit = map[string]string{"base": "head", "head": "base"}[b.Runs[i].Commit]
	}
}

// again is a copy of a block with another number, linked and started anew if fresh.
func again(e *Evidence, from int, fresh bool) Block {
	last := e.Blocks[len(e.Blocks)-1]
	b := e.Blocks[from]
	b.Number, b.Order, b.Null = last.Number+1, Coin(e.Seed, last.Number+1), false
	runs := make([]Run, 4)
	for i, r := range b.Runs {
		runs[i] = r
		runs[i].Commit = [2]string{"base", "head"}[b.side(i)]
		runs[i].Values = maps.Clone(r.Values)
		if fresh {
			runs[i].Layout, runs[i].At = int64(1<<40+b.side(i)), int64(1<<40+i)
		}
	}
	b.Runs = runs
	return b
}

// Faults of a harness that change what the numbers mean. Each is noticed, and no
// verdict is given.
var faults = []struct {
	name  string
	plant func(e *Evidence)
	tells string
}{
	{"labels of one block swapped", func(e *Evidence) { swapLabels(&e.Blocks[compared(e, 3)]) }, "says"},
	{"labels of all blocks swapped", func(e *Evidence) {
		for i := range e.Blocks {
			swapLabels(&e.Blocks[i])
		}
	}, "says"},
	{"base never rebuilt: both sides are head", func(e *Evidence) {
		for i := range e.Blocks {
			for k := range e.Blocks[i].Runs {
				e.Blocks[i].Runs[k].Commit = "head"
			}
		}
	}, "says"},
	{"a null block that ran head", func(e *Evidence) {
		for i := range e.Blocks {
			if b := &e.Blocks[i]; b.Null {
				b.Runs[strings.IndexByte(string(b.Order), 'B')].Commit = "head"
			}
		}
	}, "says"},
	{"one side dropped", func(e *Evidence) {
		b := &e.Blocks[2]
		b.Runs = []Run{b.Runs[0], b.Runs[3]}
	}, "2 runs of 4"},
	{"one metric of a run missing", func(e *Evidence) { delete(e.Blocks[4].Runs[1].Values, "records_per_s") }, "records_per_s"},
	{"a run that served nothing", func(e *Evidence) { e.Blocks[4].Runs[1].Values["records_per_s"] = 0 }, "records_per_s"},
	{"a negative time", func(e *Evidence) { e.Blocks[4].Runs[1].Values["response_p99_ms"] = -1 }, "response_p99_ms"},
	{"no number", func(e *Evidence) { e.Blocks[4].Runs[1].Values["response_p99_ms"] = math.NaN() }, "response_p99_ms"},
	{"infinity", func(e *Evidence) { e.Blocks[4].Runs[1].Values["response_p99_ms"] = math.Inf(1) }, "response_p99_ms"},
	{"a null block filed as a comparison", func(e *Evidence) {
		for i := range e.Blocks {
			e.Blocks[i].Null = false
		}
	}, "where the seed says"},
	{"one coin overridden", func(e *Evidence) {
		b := &e.Blocks[compared(e, 5)]
		b.Order = map[Order]Order{ABBA: BAAB, BAAB: ABBA}[b.Order]
		swapLabels(b)
	}, "where the seed says"},
	{"an aborted block repeated in the other order", func(e *Evidence) {
		aborted := Block{Number: 0, Null: e.Blocks[0].Null, Order: map[Order]Order{ABBA: BAAB, BAAB: ABBA}[e.Blocks[0].Order], Redo: "steal"}
		e.Blocks = append([]Block{aborted}, e.Blocks...)
	}, "where the seed says"},
	{"filed by label, whatever the order was", func(e *Evidence) {
		for i := range e.Blocks {
			b := &e.Blocks[i]
			first := b.Runs[0].At
			places := map[Order][4]int64{ABBA: {0, 1, 2, 3}, BAAB: {1, 0, 3, 2}}[b.Order] // it always ran ABBA
			for k := range b.Runs {
				b.Runs[k].At = first + places[k]
			}
		}
	}, "began before"},
	{"a block there twice", func(e *Evidence) { e.Blocks = append(e.Blocks, e.Blocks[6]) }, "the next block is"},
	{"a block there twice, renumbered", func(e *Evidence) { e.Blocks = append(e.Blocks, again(e, 6, false)) }, ""},
	{"the numbers of a block there twice", func(e *Evidence) { e.Blocks = append(e.Blocks, again(e, 6, true)) }, "every value"},
	{"a block left out", func(e *Evidence) { e.Blocks = append(e.Blocks[:4:4], e.Blocks[5:]...) }, "the next block is 4"},
	{"a block redone after its result was known", func(e *Evidence) {
		known := e.Blocks[3]
		known.Redo = "looked wrong"
		e.Blocks = append(e.Blocks[:4:4], append([]Block{known}, e.Blocks[4:]...)...)
	}, "the next block is 4"},
	{"a link used in two blocks", func(e *Evidence) {
		for k := range 4 {
			e.Blocks[5].Runs[k].Layout = e.Blocks[4].Runs[0].Layout + int64(e.Blocks[5].side(k))*1000
		}
	}, "was there before"},
	{"both sides linked alike", func(e *Evidence) {
		for k := range 4 {
			e.Blocks[5].Runs[k].Layout = 999_999
		}
	}, "was there before"},
	{"relinked within a block", func(e *Evidence) { e.Blocks[5].Runs[3].Layout = 999_999 }, "its side had"},
	{"confirmed with the same coin", func(e *Evidence) { e.ConfirmSeed = e.Seed }, "the seed of what it confirms"},
	{"confirmed with the blocks that raised the alarm", func(e *Evidence) {
		e.Confirm = nil
		for n := range 12 {
			b := e.Blocks[n]
			b.Null, b.Order = false, Coin(e.ConfirmSeed, n)
			e.Confirm = append(e.Confirm, b)
		}
	}, "confirmation"},
	{"nobody knows what was compared", func(e *Evidence) { e.Base = "" }, "base"},
}

func TestPlantedFaultsAreNoticed(t *testing.T) {
	for _, f := range faults {
		e := newBench(Default(), normal(0.01), nil, 3).evidence()
		if _, err := Judge(Default(), e); err != nil {
			t.Fatalf("before the fault: %v", err)
		}
		f.plant(e)
		_, err := Judge(Default(), e)
		if !errors.Is(err, ErrEvidence) || !strings.Contains(err.Error(), f.tells) {
			t.Errorf("%s: %v, wanted it to tell %q", f.name, err, f.tells)
		}
	}
}

// Why the order is checked at all: on a machine whose first run of a block is slow,
// a harness that never throws the coin finds a change that is not there, with all
// the significance there can be.
func TestAFixedOrderUnderDriftIsNoticed(t *testing.T) {
	b := newBench(Default(), drifting(0.005), nil, 1)
	e := &Evidence{Base: "base", Head: "head", Seed: 5, ConfirmSeed: 6}
	var y []float64
	for n := range Default().Slots(12) {
		block := b.block(n, Slot{Order: ABBA, Null: Default().Slot(e.Seed, n).Null})
		e.Blocks = append(e.Blocks, block)
		if !block.Null {
			y = append(y, -block.worse(Default().Metrics[0])) // base has the first run
		}
	}
	if p := stats.SignFlip(y, 1); p > 0.001 {
		t.Errorf("p = %v: the drift does no harm, the test shows nothing", p)
	}
	if _, err := Judge(Default(), e); !errors.Is(err, ErrEvidence) {
		t.Errorf("a fixed order was judged: %v", err)
	}
	// The very same machine, with the coin thrown.
	if d := judged(t, Default(), newBench(Default(), drifting(0.005), nil, 1).evidence()); d.Findings[0].P < 0.01 || d.Findings[0].PBetter < 0.01 {
		t.Errorf("with the coin: %+v", d.Findings[0])
	}
}
