package gate

import (
	"fmt"
	"math"
	"slices"
)

// Run is one process from its start to its end.
type Run struct {
	// Commit is what the process said of itself, not what the plan had in mind.
	Commit string `json:"commit"`
	// Layout is the seed with which its binary was linked; runs of the same side of
	// one block share it, and no other run has it.
	Layout int64 `json:"layout"`
	// At is when it began, in any unit: only the order counts.
	At int64 `json:"at"`
	// Values hold every metric of the rule; others are kept and not judged.
	Values map[string]float64 `json:"values"`
}

// Block is one attempt at four runs, in the order in which they ran.
type Block struct {
	Number int   `json:"number"`
	Null   bool  `json:"null,omitempty"`
	Order  Order `json:"order"`
	// Redo says why the block does not count; empty if it does. The reason is
	// a disturbance, or a run that said nothing, and not what a run said. The next block has the same
	// number and order.
	Redo string `json:"redo,omitempty"`
	Runs []Run  `json:"runs"`
}

// Evidence is all that was measured for one decision, failed attempts included.
type Evidence struct {
	Base string `json:"base"` // commits; the same for a trial of the gate itself
	Head string `json:"head"`
	Seed uint64 `json:"seed"` // of Rule.Slot
	// ConfirmSeed is the seed of Coin for the confirmation; it differs from Seed.
	ConfirmSeed uint64  `json:"confirm_seed,omitempty"`
	Blocks      []Block `json:"blocks"`            // comparisons and null blocks, as they were made
	Confirm     []Block `json:"confirm,omitempty"` // empty until one is needed
	// Ledger holds, by metric, the values of null blocks of earlier runs on this
	// machine; Decision tells those of this run.
	Ledger map[string][]float64 `json:"ledger,omitempty"`
}

// sample is sound evidence in the form that is judged: per metric the values of
// blocks, the logarithm of how much worse B was than A.
type sample struct {
	compared, nulls, confirm [][]float64
	slots                    int // blocks that count, without the confirmation
	redone, redoneConfirm    int
}

// sound checks everything that evidence says about how it was made, and gives its
// values. Error: ErrEvidence.
func sound(r Rule, e *Evidence) (*sample, error) {
	if e.Base == "" || e.Head == "" {
		return nil, fmt.Errorf("%w: base %q, head %q", ErrEvidence, e.Base, e.Head)
	}
	if len(e.Confirm) > 0 && e.ConfirmSeed == e.Seed {
		return nil, fmt.Errorf("%w: the confirmation has the seed of what it confirms", ErrEvidence)
	}
	c := checker{rule: r, evidence: e, layouts: make(map[int64]bool), at: math.MinInt64}
	main, redone, err := c.stage(e.Blocks, func(n int) Slot { return r.Slot(e.Seed, n) })
	if err != nil {
		return nil, err
	}
	again, redoneConfirm, err := c.stage(e.Confirm, func(n int) Slot { return Slot{Order: Coin(e.ConfirmSeed, n)} })
	if err != nil {
		return nil, fmt.Errorf("confirmation: %w", err)
	}
	s := &sample{slots: len(main), redone: redone, redoneConfirm: redoneConfirm}
	for _, m := range r.Metrics {
		var compared, nulls, confirm []float64
		for _, b := range main {
			if y := b.worse(m); b.Null {
				nulls = append(nulls, y)
			} else {
				compared = append(compared, y)
			}
		}
		for _, b := range again {
			confirm = append(confirm, b.worse(m))
		}
		s.compared, s.nulls, s.confirm = append(s.compared, compared), append(s.nulls, nulls), append(s.confirm, confirm)
	}
	return s, nil
}

// checker remembers what no two blocks may share.
type checker struct {
	rule     Rule
	evidence *Evidence
	layouts  map[int64]bool
	values   [][]float64 // all values of each block
	at       int64       // when the last run began
}

// stage checks one list of attempts and gives the blocks that count. Numbers that
// must follow each other are what shows a block that was dropped, or one that was
// measured again after its result was known.
func (c *checker) stage(blocks []Block, slot func(int) Slot) (counted []*Block, redone int, err error) {
	for i := range blocks {
		b := &blocks[i]
		want := slot(len(counted))
		switch {
		case b.Number != len(counted):
			err = fmt.Errorf("the next block is %d", len(counted))
		case b.Order != want.Order || b.Null != want.Null:
			err = fmt.Errorf("order %s, null %v, where the seed says %s, %v", b.Order, b.Null, want.Order, want.Null)
		case b.Redo != "":
			redone++
			continue
		default:
			err = c.block(b)
		}
		if err != nil {
			return nil, 0, fmt.Errorf("%w: block %d: %w", ErrEvidence, b.Number, err)
		}
		counted = append(counted, b)
	}
	return counted, redone, nil
}

// block checks the runs of a block that counts.
func (c *checker) block(b *Block) error {
	if len(b.Runs) != len(b.Order) {
		return fmt.Errorf("%d runs of %d", len(b.Runs), len(b.Order))
	}
	var values []float64
	var layout [2]int64
	for i, r := range b.Runs {
		side, commit := b.side(i), c.evidence.Base
		if side == 1 && !b.Null {
			commit = c.evidence.Head
		}
		switch {
		case r.Commit != commit:
			return fmt.Errorf("run %d is of %q, %s says %q", i, r.Commit, b.Order, commit)
		case r.At <= c.at:
			return fmt.Errorf("run %d began before the one in front of it", i)
		case i < 2:
			layout[side] = r.Layout
		case r.Layout != layout[side]:
			return fmt.Errorf("run %d has layout %d, its side had %d", i, r.Layout, layout[side])
		}
		c.at = r.At
		for _, m := range c.rule.Metrics {
			v, ok := r.Values[m.Name]
			if !ok || !positive(v) {
				return fmt.Errorf("run %d: %s is %v (there: %v)", i, m.Name, v, ok)
			}
			values = append(values, v)
		}
	}
	for _, l := range layout {
		if c.layouts[l] {
			return fmt.Errorf("layout %d was there before", l)
		}
		c.layouts[l] = true
	}
	if slices.ContainsFunc(c.values, func(v []float64) bool { return slices.Equal(v, values) }) {
		return fmt.Errorf("every value is that of an earlier block")
	}
	c.values = append(c.values, values)
	return nil
}

// side is 0 for a run of A and 1 for a run of B.
func (b *Block) side(run int) int { return int(b.Order[run] - 'A') }

// worse is the value of a sound block: mean log B - mean log A, turned so that
// positive is worse.
func (b *Block) worse(m Metric) float64 {
	var logs [2]float64
	for i, r := range b.Runs {
		logs[b.side(i)] += math.Log(r.Values[m.Name])
	}
	if m.Higher {
		return (logs[0] - logs[1]) / 2
	}
	return (logs[1] - logs[0]) / 2
}
