package paired

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"dyno/bench/gate"
)

// Faults planted in the stand: what a comparison that mixes things up would do.
func TestFaultsOfTheStandAreNoticed(t *testing.T) {
	for name, c := range map[string]struct {
		plant func(*fake)
		word  string
	}{
		"labels swapped": {func(f *fake) {
			f.spoil = func(_ int, t Turn, o *Outcome) { o.Program = f.linked[map[Side]Side{Base: Head, Head: Base}[t.Side]] }
		}, "labels are wrong"},
		"a side dropped": {func(f *fake) {
			f.spoil = func(_ int, _ Turn, o *Outcome) { o.Program = f.linked[Base] }
		}, "labels are wrong"},
		"directory reused": {func(f *fake) {
			f.spoil = func(n int, _ Turn, o *Outcome) {
				if n%2 == 0 {
					o.Dir = "000001"
				}
			}
		}, "not its own"},
		"one program for both": {func(f *fake) {
			f.relink = func(_ Slot, p map[Side]string) { p[Head] = p[Base] }
		}, "one program"},
		"linked once": {func(f *fake) {
			f.relink = func(_ Slot, p map[Side]string) { p[Base], p[Head] = "x", "y" }
		}, "not linked anew"},
		"a metric missing": {func(f *fake) {
			f.spoil = func(_ int, _ Turn, o *Outcome) { delete(o.Values, "cpu") }
		}, "for cpu"},
		"a metric of nothing": {func(f *fake) {
			f.spoil = func(_ int, _ Turn, o *Outcome) { o.Values["cpu"] = 0 }
		}, "for cpu"},
	} {
		f := &fake{}
		c.plant(f)
		end, _, err := compare(t, t.Context(), t.TempDir(), f, &wants{look: 6})
		if !errors.Is(err, ErrHarness) || !strings.Contains(err.Error(), c.word) {
			t.Errorf("%s: %+v, %v", name, end, err)
		}
	}
}

// ledgerFault is what a comparison that breaks its rules would write.
type ledgerFault struct {
	plant func([]Line) []Line
	word  string
}

func isRun(line Line) bool    { return line.Run != nil }
func isLinked(line Line) bool { return line.Linked != nil }

// Of one that does not obey its coin, or loses runs.
var orderFaults = map[string]ledgerFault{
	"order fixed": {func(lines []Line) []Line {
		for i := range lines {
			if r := lines[i].Run; r != nil {
				lines[i].Run.Side = map[int]Side{1: Base, 2: Head, 3: Head, 4: Base}[r.Place]
			}
		}
		return lines
	}, "the coin gave it to"},
	"order misstated": {func(lines []Line) []Line {
		for i := range lines {
			if lines[i].Closed != nil {
				lines[i].Closed.Order = gate.ABBA
			}
		}
		return lines
	}, "the coin fell on"},
	"a run dropped": {func(lines []Line) []Line {
		i := slices.IndexFunc(lines, isRun)
		return slices.Delete(lines, i, i+1)
	}, "run 2 after 0 runs"},
	"the last run dropped": {func(lines []Line) []Line {
		i := slices.IndexFunc(lines, func(l Line) bool { return isRun(l) && l.Run.Place == 4 })
		return slices.Delete(lines, i, i+1)
	}, "closed with 3 of 4"},
	"a run too many": {func(lines []Line) []Line {
		i := slices.IndexFunc(lines, func(l Line) bool { return isRun(l) && l.Run.Place == 4 })
		more := *lines[i].Run
		more.Place, more.Dir = 5, "999999"
		return slices.Insert(lines, i+1, Line{Run: &more})
	}, "run 5 after 4 runs"},
}

// Of one that chooses among its blocks.
var choiceFaults = map[string]ledgerFault{
	"a good block set aside": {func(lines []Line) []Line {
		i := slices.IndexFunc(lines, func(l Line) bool { return l.Closed != nil && len(l.Closed.Redo) == 0 })
		lines[i].Closed.Redo = []string{"it looked odd"}
		return lines
	}, "by its signals"},
	"a disturbed block kept": {func(lines []Line) []Line {
		i := slices.IndexFunc(lines, func(l Line) bool { return l.Closed != nil && len(l.Closed.Redo) > 0 })
		lines[i].Closed.Redo = nil
		return lines
	}, "by its signals"},
	"a good block run again": {func(lines []Line) []Line {
		i := slices.IndexFunc(lines, isLinked)
		again := *lines[i].Linked
		again.Try++
		return append(lines, Line{Linked: &again})
	}, "was run again"},
	"a layout of choice": {func(lines []Line) []Line {
		i := slices.IndexFunc(lines, isLinked)
		lines[i].Linked.Layouts = map[Side]uint32{Base: 1, Head: 2}
		return lines
	}, "was drawn"},
	"a failed run kept": {func(lines []Line) []Line {
		i := slices.IndexFunc(lines, isRun)
		lines[i].Run.Status = Failed
		return lines
	}, "by its signals and runs it should be true"},
	"a run from nowhere": {func(lines []Line) []Line {
		i := slices.IndexFunc(lines, isLinked)
		return slices.Delete(lines, i, i+1)
	}, "was not begun"},
}

func TestFaultsOfTheLedgerAreNoticed(t *testing.T) {
	f := &fake{steal: func(link int) float64 { return map[bool]float64{true: 0.05}[link == 2] }}
	_, l, err := compare(t, t.Context(), t.TempDir(), f, &wants{look: 6})
	if err != nil {
		t.Fatal(err)
	}
	raw, err := l.Text()
	if err != nil {
		t.Fatal(err)
	}
	var limits Limits
	limits.SetDefaults()
	if err := l.Audit(&plan, &limits); err != nil {
		t.Fatal(err)
	}
	for _, faults := range []map[string]ledgerFault{orderFaults, choiceFaults} {
		for name, c := range faults {
			copied, err := ReadLedger(raw)
			if err != nil {
				t.Fatal(err)
			}
			copied.Lines = c.plant(copied.Lines)
			if err := copied.Audit(&plan, &limits); !errors.Is(err, ErrHarness) || !strings.Contains(err.Error(), c.word) {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
}

// A coin that always falls on one side obeys itself; only many blocks show it.
func TestStuckCoinIsNoticed(t *testing.T) {
	l := &Ledger{Header: Header{Schema: Schema, Seed: 7}}
	for n := 0; len(l.Lines) < 6*stuckAfter; n++ {
		s := Slot{Main, n}
		toss := plan.Toss(7, s)
		if toss.Order != gate.ABBA {
			continue // as if the others had never been
		}
		programs := map[Side]string{Base: "b" + s.String(), Head: "h" + s.String()}
		l.Lines = append(l.Lines, Line{Linked: &Linked{Slot: s, Try: 1, Layouts: toss.Layouts, Programs: programs}})
		for place := range runsPerBlock {
			side := toss.side(place)
			l.Lines = append(l.Lines, Line{Run: &Run{Slot: s, Try: 1, Place: place + 1, Side: side, Program: programs[side],
				Dir: s.String() + string(rune('a'+place)), Status: OK, Values: map[string]float64{"cpu": 1, "rate": 1}}})
		}
		l.Lines = append(l.Lines, Line{Closed: &Closed{Slot: s, Try: 1, Order: toss.Order}})
	}
	var limits Limits
	limits.SetDefaults()
	if err := l.Audit(&plan, &limits); !errors.Is(err, ErrHarness) || !strings.Contains(err.Error(), "the coin does not fall") {
		t.Errorf("%d blocks of one order: %v", stuckAfter, err)
	}
	l.Lines = l.Lines[:6*(stuckAfter-1)]
	if err := l.Audit(&plan, &limits); err != nil {
		t.Errorf("%d blocks of one order: %v", stuckAfter-1, err)
	}
}
