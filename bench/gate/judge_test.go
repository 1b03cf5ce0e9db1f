package gate

import (
	"math"
	"reflect"
	"strings"
	"testing"
)

// measured is evidence of a quiet machine.
func measured(sigma float64, worse ...float64) *Evidence {
	if worse == nil {
		worse = make([]float64, 4)
	}
	return newBench(Default(), normal(sigma), worse, 77).evidence()
}

// until keeps the blocks up to a look, and so many of the confirmation.
func until(e *Evidence, slots, confirm int) *Evidence {
	cut := *e
	cut.Blocks, cut.Confirm = e.Blocks[:slots], e.Confirm[:confirm]
	return &cut
}

func want(t *testing.T, d *Decision, v Verdict, exit int, reason string) {
	t.Helper()
	if d.Verdict != v || d.Verdict.Exit() != exit || !strings.Contains(d.Reason, reason) {
		t.Errorf("%s (exit %d): %s; want %s (%d) about %q", d.Verdict, d.Verdict.Exit(), d.Reason, v, exit, reason)
	}
}

func TestARegressionFailsOnceConfirmed(t *testing.T) {
	e := measured(0.01, 0, 0, 0.05, 0)
	d := judged(t, Default(), until(e, 0, 0))
	want(t, d, Continue, 2, "15 more blocks")
	d = judged(t, Default(), until(e, 14, 0))
	want(t, d, Continue, 2, "1 more blocks until the look at 12")
	if f := d.Findings[2]; d.Look != 0 || f.P != 0 || f.Change != 0 || d.Need.Blocks != 1 {
		t.Errorf("figures before the first look: %+v", f)
	}
	d = judged(t, Default(), until(e, 15, 0))
	want(t, d, Continue, 2, "records_per_s looks worse")
	if d.Need != (Need{Confirm: 12}) || d.Look != 12 {
		t.Errorf("look %d, need %+v", d.Look, d.Need)
	}
	want(t, judged(t, Default(), until(e, 15, 11)), Continue, 2, "1 more blocks must confirm")

	d = judged(t, Default(), until(e, 15, 12))
	want(t, d, Fail, 1, "records_per_s by +")
	f := d.Findings[2]
	if !f.Candidate || f.Improved || f.Bounded || math.Abs(f.Change-0.05) > 0.01 || !(f.Low < f.Change && f.Change < f.High && f.Low > 0.03 && f.High < 0.07 && f.Upper <= f.High) {
		t.Errorf("finding %+v", f)
	}
	if f.P > 0.0034 || f.PBetter < 0.9 || f.ConfirmP == 0 || f.ConfirmP > 0.05 || math.Abs(f.ConfirmChange-0.05) > 0.01 || math.Abs(f.Sigma-0.01) > 0.006 {
		t.Errorf("finding %+v", f)
	}
	for _, i := range []int{0, 1, 3} {
		if f := d.Findings[i]; f.Candidate || !f.Bounded || f.ConfirmP != 0 || len(f.Nulls) != 3 {
			t.Errorf("finding %+v", f)
		}
	}
}

func TestAnAlarmThatDoesNotRepeatIsNoVerdict(t *testing.T) {
	e := measured(0.01, 0.05, 0, 0, 0)
	quiet := newBench(Default(), normal(0.01), nil, 78)
	quiet.runs = 1000
	e.Confirm = nil
	for n := range 12 {
		e.Confirm = append(e.Confirm, quiet.block(n, Slot{Order: Coin(e.ConfirmSeed, n)}))
	}
	want(t, judged(t, Default(), e), Inconclusive, 2, "do not confirm")
}

// Of two candidates only the one that is confirmed is blamed.
func TestOnlyTheConfirmedIsBlamed(t *testing.T) {
	e := measured(0.01, 0.05, 0, 0.05, 0)
	later := newBench(Default(), normal(0.01), []float64{0, 0, 0.05, 0}, 78)
	later.runs = 1000
	e.Confirm = nil
	for n := range 12 {
		e.Confirm = append(e.Confirm, later.block(n, Slot{Order: Coin(e.ConfirmSeed, n)}))
	}
	d := judged(t, Default(), until(e, 15, 12))
	want(t, d, Fail, 1, "worse: records_per_s by +")
	if a, b := d.Findings[0], d.Findings[2]; !a.Candidate || a.Confirmed || !b.Candidate || !b.Confirmed {
		t.Errorf("not confirmed %+v, confirmed %+v", a, b)
	}
}

func TestPasses(t *testing.T) {
	for name, c := range map[string]struct {
		sigma float64
		worse []float64
	}{
		"nothing changed":             {0.02, nil},
		"1 % for sure":                {0.003, []float64{0.01, 0, 0, 0}},
		"a tail that is 8 % worse":    {0.02, []float64{0, 0, 0, 0.08}},
		"a throughput 10 % better":    {0.02, []float64{0, 0, -0.1, 0}},
		"as much time as before, all": {0.01, []float64{0.005, 0.005, 0.005, 0.005}},
	} {
		d := judged(t, Default(), measured(c.sigma, c.worse...))
		want(t, d, Pass, 0, "at most 3 %")
		if d.Look == 0 || d.FalsePass != Default().FalsePass() {
			t.Errorf("%s: %+v", name, d)
		}
	}
}

func TestAnImprovementIsTold(t *testing.T) {
	d := judged(t, Default(), measured(0.01, -0.05, 0, -0.05, -0.05))
	want(t, d, Pass, 0, "bounded")
	for i, improved := range []bool{true, false, true, false} { // a tail needs 10 %
		f := d.Findings[i]
		if f.Improved != improved || improved && (f.Change > -0.03 || f.PBetter > 0.0034 || f.P < 0.9) {
			t.Errorf("%+v", f)
		}
	}
}

func TestNoiseIsInconclusive(t *testing.T) {
	e := measured(0.3)
	want(t, judged(t, Default(), until(e, 15, 0)), Continue, 2, "6 more blocks until the look at 18")
	d := judged(t, Default(), until(e, 27, 0))
	want(t, d, Inconclusive, 2, "produce_cpu_s_per_million, consume_cpu_s_per_million")
	if d.Look != 24 || d.Findings[0].Detectable < 0.2 {
		t.Errorf("%+v", d.Findings[0])
	}
}

// A 3 % change that is certain fails although it is below the bound.
func TestACandidateComesBeforeABound(t *testing.T) {
	d := judged(t, Default(), measured(0.004, 0.03, 0, 0, 0))
	want(t, d, Fail, 1, "produce_cpu")
	if !d.Findings[0].Bounded {
		t.Errorf("3 %% were not bounded: the test shows nothing: %+v", d.Findings[0])
	}
}

// What was measured after a look has no say in it.
func TestLaterBlocksDoNotChangeALook(t *testing.T) {
	e := measured(0.02)
	at12 := judged(t, Default(), until(e, 15, 0))
	want(t, at12, Pass, 0, "after 12")
	for i := 15; i < len(e.Blocks); i++ {
		for k, r := range e.Blocks[i].Runs {
			if e.Blocks[i].side(k) == 1 {
				r.Values["produce_cpu_s_per_million"] *= 2
			}
		}
	}
	if d := judged(t, Default(), e); !reflect.DeepEqual(d, at12) {
		t.Errorf("at 12: %+v\nlater: %+v", at12, d)
	}
}

func TestNullBlocksTellAnUnfitMachine(t *testing.T) {
	e := measured(0.01, 0.05, 0, 0, 0)
	e.Ledger = make(map[string][]float64)
	quiet := normal(0.01)(newBench(Default(), normal(1), nil, 5).rand)
	for range 40 {
		e.Ledger["produce_cpu_s_per_million"] = append(e.Ledger["produce_cpu_s_per_million"], quiet())
	}
	d := judged(t, Default(), e)
	want(t, d, Fail, 1, "")
	if r := d.Findings[0].NullRange; r == nil || r[0] > -0.02 || r[1] < 0.02 || r[1] > 0.08 || d.Findings[1].NullRange != nil {
		t.Errorf("range %v", r)
	}
	for i := range e.Blocks {
		if b := &e.Blocks[i]; b.Null {
			for k, r := range b.Runs {
				if b.side(k) == 1 {
					r.Values["produce_cpu_s_per_million"] *= 1.15
				}
			}
			break
		}
	}
	d = judged(t, Default(), e)
	want(t, d, Unmeasurable, 3, "base against itself: produce_cpu_s_per_million moved by +1")
	if d.Findings[0].P != 0 {
		t.Error("an unfit machine tells p-values")
	}
}

// A burst in some runs makes those blocks be done again; what they measured has no
// say, and too many of them end the run even if the rest would fail.
func TestRedoneBlocks(t *testing.T) {
	e := measured(0.01)
	clean := judged(t, Default(), e)
	redo := func(times int) *Evidence {
		dirty := *e
		dirty.Blocks = nil
		for i, b := range e.Blocks {
			if i < times {
				burst := Block{Number: b.Number, Null: b.Null, Order: b.Order, Redo: "steal 4 % of the block"}
				burst.Runs = append(burst.Runs, Run{Commit: "base", Values: map[string]float64{"records_per_s": 1e-9}})
				dirty.Blocks = append(dirty.Blocks, burst)
			}
			dirty.Blocks = append(dirty.Blocks, b)
		}
		return &dirty
	}
	d := judged(t, Default(), until(redo(4), 19, 0))
	want(t, d, Pass, 0, "bounded")
	if d.Redone != 4 || !reflect.DeepEqual(d.Findings, clean.Findings) {
		t.Errorf("%d redone, findings %+v", d.Redone, d.Findings)
	}
	want(t, judged(t, Default(), until(redo(5), 20, 0)), Unmeasurable, 3, "5 blocks had to be set aside")
	// At once, too: nobody need wait for the look.
	want(t, judged(t, Default(), until(redo(5), 9, 0)), Unmeasurable, 3, "5 blocks had to be set aside")
}

func TestRedoneConfirmation(t *testing.T) {
	e := until(measured(0.01, 0.05, 0, 0, 0), 15, 0)
	for range 4 {
		e.Confirm = append(e.Confirm[:len(e.Confirm):len(e.Confirm)], Block{Order: Coin(e.ConfirmSeed, 0), Redo: "clock step"})
	}
	want(t, judged(t, Default(), e), Unmeasurable, 3, "confirmation")
	e.Confirm = e.Confirm[:3]
	want(t, judged(t, Default(), e), Continue, 2, "12 more blocks must confirm")
}
