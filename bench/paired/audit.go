package paired

import (
	"fmt"
	"math"
	"slices"

	"dyno/bench/gate"
)

// stuckAfter is how many blocks of one order, and none of the other, are taken for
// a coin that does not fall: by chance once in half a million comparisons.
const stuckAfter = 20

// Audit holds a ledger against the plan and its coins: that each run was made by
// the program of its side, at the place that the coin gave it, in a directory that
// nothing else had; that both sides have their two runs; that every block was
// linked anew; that what was run again was run again for its signals or for a run
// that said nothing. Error: ErrHarness, with the first fault.
func (l *Ledger) Audit(p *Plan, limits *Limits) error {
	a := &auditor{ledger: l, plan: p, limits: limits, open: map[Slot]*Linked{}, ran: map[Slot][]*Run{},
		done: map[Slot]bool{}, dirs: map[string]bool{}, program: map[string]Slot{}, orders: map[gate.Order]int{}}
	for n, line := range l.Lines {
		var err error
		switch {
		case line.Linked != nil:
			err = a.linked(line.Linked)
		case line.Run != nil:
			err = a.run(line.Run)
		case line.Closed != nil:
			err = a.closed(line.Closed)
		}
		if err != nil {
			return fmt.Errorf("%w: line %d of the ledger: %w", ErrHarness, n+2, err)
		}
	}
	if n := a.orders[gate.ABBA] + a.orders[gate.BAAB]; n >= stuckAfter && len(a.orders) == 1 {
		return fmt.Errorf("%w: all of %d blocks have the same order: the coin does not fall", ErrHarness, n)
	}
	return nil
}

// auditor walks a ledger from its first line to its last.
type auditor struct {
	ledger  *Ledger
	plan    *Plan
	limits  *Limits
	open    map[Slot]*Linked // the try under way
	ran     map[Slot][]*Run  // its runs so far
	done    map[Slot]bool    // blocks that count
	dirs    map[string]bool
	program map[string]Slot // who was linked first with that hash
	orders  map[gate.Order]int
}

func (a *auditor) linked(k *Linked) error {
	if a.done[k.Slot] {
		return fmt.Errorf("%s counts and was run again", k.Slot)
	}
	if last := a.open[k.Slot]; last != nil && k.Try != last.Try+1 || last == nil && k.Try != 1 {
		return fmt.Errorf("%s: try %d does not follow", k.Slot, k.Try)
	}
	if k.Programs[Base] == "" || k.Programs[Base] == k.Programs[Head] {
		return fmt.Errorf("%s: both sides have one program", k.Slot)
	}
	toss := a.plan.Toss(a.ledger.Header.Seed, k.Slot)
	for side, hash := range k.Programs {
		if k.Layouts[side] != toss.Layouts[side] {
			return fmt.Errorf("%s: the layout of %s is not the one that was drawn", k.Slot, side)
		}
		if first, ok := a.program[hash]; ok && first != k.Slot {
			return fmt.Errorf("%s has a program of %s: it was not linked anew", k.Slot, first)
		}
		a.program[hash] = k.Slot
	}
	a.open[k.Slot], a.ran[k.Slot] = k, nil
	return nil
}

func (a *auditor) run(r *Run) error {
	k := a.open[r.Slot]
	if k == nil || k.Try != r.Try {
		return fmt.Errorf("%s: a run of try %d, which was not begun", r.Slot, r.Try)
	}
	place := len(a.ran[r.Slot])
	if place == runsPerBlock || r.Place != place+1 {
		return fmt.Errorf("%s: run %d after %d runs", r.Slot, r.Place, place)
	}
	if want := a.plan.Toss(a.ledger.Header.Seed, r.Slot).side(place); r.Side != want {
		return fmt.Errorf("%s: run %d is of %s, the coin gave it to %s", r.Slot, r.Place, r.Side, want)
	}
	if r.Program != k.Programs[r.Side] {
		return fmt.Errorf("%s: run %d of %s was made by another program: the labels are wrong", r.Slot, r.Place, r.Side)
	}
	if r.Dir == "" || a.dirs[r.Dir] {
		return fmt.Errorf("%s: run %d had directory %q, which is not its own", r.Slot, r.Place, r.Dir)
	}
	a.dirs[r.Dir] = true
	for _, m := range a.plan.Rule.Metrics {
		if v, ok := r.Values[m.Name]; r.Status == OK && (!ok || !(v > 0) || math.IsInf(v, 0)) {
			return fmt.Errorf("%s: run %d of %s has %v for %s", r.Slot, r.Place, r.Side, v, m.Name)
		}
	}
	a.ran[r.Slot] = append(a.ran[r.Slot], r)
	return nil
}

func (a *auditor) closed(c *Closed) error {
	k, ran := a.open[c.Slot], a.ran[c.Slot]
	if k == nil || k.Try != c.Try || len(ran) != runsPerBlock {
		return fmt.Errorf("%s: closed with %d of %d runs", c.Slot, len(ran), runsPerBlock)
	}
	if want := a.plan.Toss(a.ledger.Header.Seed, c.Slot).Order; c.Order != want {
		return fmt.Errorf("%s: order %s, the coin fell on %s", c.Slot, c.Order, want)
	}
	quiet, bad := len(a.limits.exceeded(c.Signals)) == 0, slices.ContainsFunc(ran, func(r *Run) bool { return r.Status != OK })
	behind := quiet && bad && a.ledger.headAlone(a.plan.Toss(a.ledger.Header.Seed, c.Slot), c.Slot, c.Try)
	if aside := (bad || !quiet) && !behind; aside != (len(c.Redo) > 0) {
		return fmt.Errorf("%s: set aside is %v, by its signals and runs it should be %v", c.Slot, len(c.Redo) > 0, aside)
	}
	if behind != (c.Void != "") {
		return fmt.Errorf("%s: void is %q, by its runs head is behind: %v", c.Slot, c.Void, behind)
	}
	if len(c.Redo) == 0 && c.Void == "" {
		a.done[c.Slot] = true
		a.orders[c.Order]++
	}
	return nil
}
