package paired

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"dyno/bench/gate"
)

func TestTossesFollowTheSeed(t *testing.T) {
	const n = BlocksMax
	abba, swapped, same, layouts := 0, 0, 0, map[uint32]bool{}
	for i := range n {
		for _, stage := range []Stage{Main, Confirm} {
			toss := plan.Toss(1, Slot{stage, i})
			if again := plan.Toss(1, Slot{stage, i}); again.Order != toss.Order || again.Layouts[Base] != toss.Layouts[Base] {
				t.Fatalf("%s: two tosses of one seed differ", Slot{stage, i})
			}
			if toss.Layouts[Base]>>layoutBits > toss.Layouts[Head]>>layoutBits {
				swapped++
			}
			if toss.Order == gate.ABBA {
				abba++
			}
			if plan.Toss(2, Slot{stage, i}).Order == toss.Order {
				same++
			}
			for _, layout := range toss.Layouts {
				if layout == 0 || layouts[layout] {
					t.Fatalf("layout %d was there before", layout)
				}
				layouts[layout] = true
			}
		}
	}
	for what, heads := range map[string]int{"order": abba, "layouts": swapped, "seeds": same} { // of 2n: 5 standard deviations
		if d := heads - n; d < -115 || d > 115 {
			t.Errorf("%s: %d of %d", what, heads, 2*n)
		}
	}
	if ConfirmSeed(1) == 1 || ConfirmSeed(1) == ConfirmSeed(2) {
		t.Error("a confirmation has coins of its own")
	}
}

func TestComparisonRunsWhatTheCoinsSay(t *testing.T) {
	dir := t.TempDir()
	f, w := &fake{}, &wants{look: 9, confirm: 3}
	end, l, err := compare(t, t.Context(), dir, f, w)
	if err != nil || !decided(end) {
		t.Fatalf("%+v, %v", end, err)
	}
	if len(w.seen.Blocks) != 11 || len(w.seen.Confirm) != 3 || w.asked != 4 || f.probes != 1 || len(f.runs) != 14*4 || len(f.links) != 14 {
		t.Fatalf("%d and %d blocks, asked %d times, %d probes, %d runs", len(w.seen.Blocks), len(w.seen.Confirm), w.asked, f.probes, len(f.runs))
	}
	blocks, nulls := append(w.seen.Blocks, w.seen.Confirm...), 0
	for i, b := range blocks {
		toss := plan.Toss(7, f.links[i])
		order := ""
		for place, r := range f.runs[4*i : 4*i+4] {
			if r.Slot != f.links[i] || r.Place != place+1 || r.Null != toss.Null || r.Load["rate"] != 1000 {
				t.Errorf("run %d: %+v", i+place, r)
			}
			order += map[Side]string{Base: "A", Head: "B"}[r.Side]
			commit := "b"
			if r.Side == Head && !r.Null {
				commit = "h"
			}
			if got := b.Runs[place]; got.Commit != commit || got.Layout != int64(toss.Layouts[r.Side]) || got.Values["cpu"] != float64(4*i+place+1) {
				t.Errorf("block %d, run %d: %+v", i, place, got)
			}
		}
		if order != string(toss.Order) || b.Order != toss.Order || b.Null != toss.Null || b.Number != f.links[i].Number {
			t.Errorf("%s ran %s; the judge saw %+v", f.links[i], order, b)
		}
		if b.Null {
			nulls++
		}
	}
	if nulls != plan.Rule.Nulls {
		t.Errorf("%d null blocks", nulls)
	}
	if err := l.Done(); err != nil || len(only(t, dir)) > 0 {
		t.Errorf("after Done: %v, %v", err, only(t, dir))
	}
}

// What a comparison hands over is evidence that gate.Judge accepts, and judges by
// the sides: a head that is slower fails, one that is alike passes.
func TestGateJudgesWhatWasMeasured(t *testing.T) {
	for slower, want := range map[float64]gate.Verdict{1: gate.Pass, 1.10: gate.Fail} {
		rule := gate.Default()
		rule.Metrics = []gate.Metric{{Name: "cpu", Effect: 0.02, Bound: 0.05}}
		l, err := OpenLedger(t.TempDir(), header(7), false)
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		f := &fake{spoil: func(n int, turn Turn, o *Outcome) {
			o.Values["cpu"] = 1 + 0.001*float64(n%7) + 1e-7*float64(n)
			if turn.Side == Head && !turn.Null {
				o.Values["cpu"] *= slower
			}
		}}
		c := &Comparison{Plan: Plan{Rule: rule}, Ledger: l, Stand: f, Judge: gate.Judge}
		end, err := c.Run(t.Context())
		if err != nil || end.Decision == nil || end.Decision.Verdict != want {
			t.Errorf("head at %v: %+v, %v", slower, end.Decision, err)
		}
	}
}

// A comparison that is cut off in a block, by a signal or by the power, goes on
// with that block anew, in the order it had; what was measured before is kept.
func TestCutOffComparisonGoesOn(t *testing.T) {
	whole := &wants{look: 6}
	_, reference, err := compare(t, t.Context(), t.TempDir(), &fake{}, whole)
	if err != nil {
		t.Fatal(err)
	}
	for _, torn := range []bool{false, true} {
		dir := t.TempDir()
		ctx, cancel := context.WithCancel(t.Context())
		f := &fake{before: func(n int) error {
			if n == 4*3+3 { // the third run of the fourth block
				cancel()
			}
			return nil
		}}
		_, l, err := compare(t, ctx, dir, f, &wants{look: 6})
		if !errors.Is(err, context.Canceled) || l.Kept() != 3 {
			t.Fatalf("%v, %d blocks kept", err, l.Kept())
		}
		cut := f.runs[len(f.runs)-1].Slot
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		if torn {
			raw, err := os.ReadFile(l.Path())
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(l.Path(), raw[:len(raw)-9], 0o644); err != nil {
				t.Fatal(err)
			}
		}
		next, w := &fake{}, &wants{look: 6}
		_, l2, err := compare(t, t.Context(), dir, next, w)
		if err != nil {
			t.Fatal(err)
		}
		if l2.Resumed != 3 || next.probes != 0 || len(next.links) != 5 || next.links[0] != cut || l2.Header.Seed != l.Header.Seed {
			t.Errorf("torn %v: %d blocks resumed, %d probes, blocks %v after %v", torn, l2.Resumed, next.probes, next.links, cut)
		}
		for i, r := range next.runs[:4] {
			if r.Side != plan.Toss(7, cut).side(i) {
				t.Errorf("torn %v: run %d of the repeated block is of %s", torn, i+1, r.Side)
			}
		}
		if len(w.seen.Blocks) != 8 || l2.Redone(Main) != 0 || len(l2.Stored()) != len(reference.Stored()) {
			t.Errorf("torn %v: %d blocks, %d redone, %d runs count", torn, len(w.seen.Blocks), l2.Redone(Main), len(l2.Stored()))
		}
		for n, b := range w.seen.Blocks {
			if ref := whole.seen.Blocks[n]; b.Order != ref.Order || b.Null != ref.Null || b.Runs[0].Layout != ref.Runs[0].Layout {
				t.Errorf("torn %v: block %d has order %s, without the cut %s", torn, n, b.Order, ref.Order)
			}
		}
	}
}

// What a stand could not run ends the comparison; what was measured stays.
func TestFailingStandKeepsTheLedger(t *testing.T) {
	full := errors.New("the disk is full")
	dir := t.TempDir()
	_, l, err := compare(t, t.Context(), dir, &fake{before: func(n int) error {
		if n == 6 {
			return full
		}
		return nil
	}}, &wants{look: 6})
	if !errors.Is(err, full) || !strings.Contains(err.Error(), "block") || l.Kept() != 1 {
		t.Errorf("%v, %d kept", err, l.Kept())
	}
	if err := l.Close(); err != nil || len(only(t, dir)) != 1 {
		t.Errorf("%v: %v", only(t, dir), err)
	}
	empty := t.TempDir()
	l, err = OpenLedger(empty, header(0), false)
	if err != nil || l.Header.Seed == 0 {
		t.Fatalf("%v, seed %d", err, l.Header.Seed)
	}
	if err := l.Close(); err != nil || len(only(t, empty)) > 0 {
		t.Errorf("a ledger of nothing stays: %v, %v", only(t, empty), err)
	}
}

func TestDisturbedBlocksAreRunAgain(t *testing.T) {
	f := &fake{steal: func(link int) float64 { return map[bool]float64{true: 0.05}[link == 2] }}
	w := &wants{look: 6}
	end, l, err := compare(t, t.Context(), t.TempDir(), f, w)
	if err != nil || !decided(end) || len(w.seen.Blocks) != 9 {
		t.Fatalf("%+v, %v, %d blocks", end, err, len(w.seen.Blocks))
	}
	if len(f.links) != 9 || f.links[1] != f.links[2] || l.Redone(Main) != 1 || len(l.Stored()) != 8*4 || w.seen.Blocks[1].Redo == "" {
		t.Errorf("blocks %v, %d redone, %d runs count", f.links, l.Redone(Main), len(l.Stored()))
	}
	for i := range 4 {
		if f.runs[4+i].Side != f.runs[8+i].Side {
			t.Error("the repeated block has another order")
		}
	}
	for _, r := range l.Stored() {
		if v := r.Values["cpu"]; v >= 5 && v <= 8 {
			t.Errorf("a run of the disturbed block counts: %v", v)
		}
	}
	for _, line := range l.Lines {
		if c := line.Closed; c != nil && len(c.Redo) > 0 && !strings.Contains(c.Redo[0], "5.0 % stolen") {
			t.Errorf("the reason is %q", c.Redo)
		}
	}
}

// No outcome, however odd, makes a block run again.
func TestOutcomesRedoNothing(t *testing.T) {
	f := &fake{spoil: func(n int, _ Turn, o *Outcome) { o.Values["cpu"] = []float64{1e-9, 1e9, 1, 1e300}[n%4] }}
	_, l, err := compare(t, t.Context(), t.TempDir(), f, &wants{look: 6})
	if err != nil || len(f.links) != 8 || l.Redone(Main) != 0 {
		t.Errorf("%v, %d blocks run, %d redone", err, len(f.links), l.Redone(Main))
	}
}

func TestUnfitMachineEndsIt(t *testing.T) {
	f := &fake{steal: func(int) float64 { return 0.02 }}
	end, l, err := compare(t, t.Context(), t.TempDir(), f, &wants{look: 6})
	if err != nil || !strings.Contains(end.Unfit, "3 blocks of 8") || !strings.Contains(end.Unfit, "2.0 % stolen") || l.Redone(Main) != 3 {
		t.Errorf("%+v, %v, %d redone", end, err, l.Redone(Main))
	}
	l2, err := OpenLedger(t.TempDir(), header(7), false)
	if err != nil {
		t.Fatal(err)
	}
	defer l2.Close()
	c := &Comparison{Plan: plan, Ledger: l2, Stand: f, Judge: (&wants{look: 6}).judge, Limits: Limits{Steal: 0.03}}
	if end, err := c.Run(t.Context()); err != nil || !decided(end) {
		t.Errorf("under another limit: %+v, %v", end, err)
	}
}

func TestBadRunsEndIt(t *testing.T) {
	spoil := func(status string, want func(Turn) bool) *fake {
		done := false
		return &fake{spoil: func(_ int, t Turn, o *Outcome) {
			if !done && want(t) {
				done, o.Status, o.Problem, o.Values = true, status, "3 lost", nil
			}
		}}
	}
	mainOf := func(s Side) func(Turn) bool { return func(t Turn) bool { return !t.Null && t.Side == s } }
	end, l, err := compare(t, t.Context(), t.TempDir(), spoil(Failed, mainOf(Head)), &wants{look: 6})
	if err != nil || !strings.Contains(end.Broken, "3 lost") || end.Unfit != "" {
		t.Errorf("head: %+v, %v", end, err)
	}
	if last := l.Lines[len(l.Lines)-1].Run; last == nil || last.Status != Failed {
		t.Error("the failing run is not kept")
	}
	for name, want := range map[string]func(Turn) bool{"base": mainOf(Base), "null": func(t Turn) bool { return t.Null && t.Side == Head }} {
		if end, _, err := compare(t, t.Context(), t.TempDir(), spoil(Failed, want), &wants{look: 6}); !errors.Is(err, ErrViolation) {
			t.Errorf("%s: %+v, %v", name, end, err)
		}
	}
}

// TestInvalidRuns: a run that says nothing costs its block, which is run again; more
// than the redo share of such blocks, and the machine was not fit.
func TestInvalidRuns(t *testing.T) {
	for most, want := range map[int]func(End) bool{
		1: decided,
		9: func(e End) bool {
			return strings.Contains(e.Unfit, "set aside") && strings.Contains(e.Unfit, "too late")
		},
	} {
		spoilt := 0
		f := &fake{spoil: func(_ int, turn Turn, o *Outcome) {
			if turn.Side == Base && turn.Place < 3 && !turn.Null && spoilt < most {
				spoilt++
				o.Status, o.Problem, o.Values = Invalid, "too late", nil
			}
		}}
		end, l, err := compare(t, t.Context(), t.TempDir(), f, &wants{look: 6})
		if err != nil || !want(end) || len(f.runs)%4 != 0 || l.Redone(Main) == 0 {
			t.Errorf("%d runs say nothing: %+v, %v, %d redone of %d runs", most, end, err, l.Redone(Main), len(f.runs))
		}
		if base, head := l.Mute(&plan); base != spoilt || head != 0 {
			t.Errorf("%d runs say nothing: %d of base and %d of head are told", spoilt, base, head)
		}
	}
}

// A head that cannot do what base does is found out, in two blocks; one may be chance.
func TestHeadFallsBehind(t *testing.T) {
	for name, c := range map[string]struct {
		bad  func(link int, t Turn) bool
		want func(End) bool
	}{
		"always": {func(_ int, t Turn) bool { return t.Side == Head && !t.Null },
			func(e End) bool { return strings.Contains(e.Behind, "too late") && e.Decision == nil }},
		"in one block": {func(link int, t Turn) bool { return t.Side == Head && !t.Null && t.Number == 3 && link < 5 }, decided},
		"one run of two": {func(_ int, t Turn) bool { return t.Side == Head && !t.Null && t.Place < 3 },
			func(e End) bool { return e.Unfit != "" && e.Behind == "" }},
		"base too":   {func(_ int, t Turn) bool { return !t.Null }, func(e End) bool { return e.Unfit != "" && e.Behind == "" }},
		"a null run": {func(_ int, t Turn) bool { return t.Side == Head && t.Null }, func(e End) bool { return e.Unfit != "" && e.Behind == "" }},
	} {
		var f *fake
		f = &fake{spoil: func(_ int, t Turn, o *Outcome) {
			if c.bad(len(f.links), t) {
				o.Status, o.Problem, o.Values = Invalid, "too late", nil
			}
		}}
		if end, _, err := compare(t, t.Context(), t.TempDir(), f, &wants{look: 6}); err != nil || !c.want(end) {
			t.Errorf("%s: %+v, %v", name, end, err)
		}
	}
}

// A run that says nothing in a block that was disturbed is the disturbance's fault:
// the block is run again, as it would be whatever came of its runs.
func TestInvalidRunOfADisturbedBlock(t *testing.T) {
	f := &fake{steal: func(link int) float64 { return map[bool]float64{true: 0.05}[link == 2] }}
	f.spoil = func(n int, _ Turn, o *Outcome) {
		if n == 6 {
			o.Status, o.Problem = Invalid, "the generator was the bottleneck"
		}
	}
	end, l, err := compare(t, t.Context(), t.TempDir(), f, &wants{look: 6})
	if err != nil || !decided(end) || l.Redone(Main) != 1 || len(f.links) != 9 || f.links[1] != f.links[2] || len(f.runs) != 9*4 {
		t.Errorf("%+v, %v, %d redone, blocks %v", end, err, l.Redone(Main), f.links)
	}
}

func TestConfirmationWaits(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		l, err := OpenLedger(dir, header(7), false)
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		p := plan
		p.Pause = 2 * time.Minute
		var closed []time.Time
		f := &fake{before: func(int) error {
			<-time.After(1) // a run takes time
			closed = append(closed, time.Now())
			return nil
		}}
		began := time.Now()
		c := &Comparison{Plan: p, Ledger: l, Stand: f, Judge: (&wants{look: 6, confirm: 3}).judge}
		if _, err := c.Run(t.Context()); err != nil {
			t.Fatal(err)
		}
		before := closed[8*4].Sub(closed[8*4-1])
		if all := time.Since(began); before != p.Pause+1 || all != p.Pause+11*4 {
			t.Errorf("%v in all, %v before the confirmation", all, before)
		}
	})
}

func TestLedgersOfOthersAreRefused(t *testing.T) {
	dir := t.TempDir()
	_, l, err := compare(t, t.Context(), dir, &fake{before: func(n int) error {
		if n == 9 {
			return errors.New("over")
		}
		return nil
	}}, &wants{look: 6})
	if err == nil || l.Close() != nil {
		t.Fatal(err)
	}
	elsewhere := header(0)
	elsewhere.Fingerprint = "there"
	if _, err := OpenLedger(dir, elsewhere, false); !errors.Is(err, ErrOther) || !strings.Contains(err.Error(), "--force") {
		t.Errorf("another machine: %v", err)
	}
	if _, err := OpenLedger(dir, header(8), false); !errors.Is(err, ErrOther) || !strings.Contains(err.Error(), "seed 7") {
		t.Errorf("another seed: %v", err)
	}
	other := header(0)
	other.Head = "h2"
	if l, err := OpenLedger(dir, other, false); err != nil || l.Resumed != 0 || l.Close() != nil {
		t.Errorf("another commit: %v", err)
	}
	forced, err := OpenLedger(dir, elsewhere, true)
	if err != nil || forced.Resumed != 2 || !slices.ContainsFunc(forced.Lines, func(l Line) bool { return strings.Contains(l.Note, "another machine") }) {
		t.Errorf("forced: %v", err)
	}
	forced.Close()
}

func TestSignals(t *testing.T) {
	a := Reading{Wall: time.Hour, Mono: time.Minute, Boot: time.Minute, Total: 100, Busy: 50, Own: 10, Steal: 1, CPU: 5, IO: 5, Memory: 5}
	b := Reading{Wall: time.Hour + 10*time.Second, Mono: time.Minute + 10*time.Second, Boot: time.Minute + 10*time.Second,
		Total: 120, Busy: 65, Own: 24, Steal: 1.1, CPU: 13, IO: 6, Memory: 5.1}
	s := Between(a, b)
	for what, got := range map[string][2]float64{"steal": {s.Steal, 0.005}, "foreign": {s.Foreign, 0.05}, "cpu": {s.CPU, 0.8},
		"io": {s.IO, 0.1}, "memory": {s.Memory, 0.01}, "seconds": {s.Seconds, 10}} {
		if d := got[0] - got[1]; d > 1e-9 || d < -1e-9 {
			t.Errorf("%s is %v, want %v", what, got[0], got[1])
		}
	}
	var l Limits
	l.SetDefaults()
	if why := l.exceeded(s); len(why) > 0 {
		t.Errorf("a quiet block: %v", why)
	}
	for word, change := range map[string]func(*Reading){
		"stolen":      func(r *Reading) { r.Steal += 0.2 },
		"other work":  func(r *Reading) { r.Busy += 2 },
		"memory":      func(r *Reading) { r.Memory += 1 },
		"set by -1s":  func(r *Reading) { r.Wall -= time.Second },
		"set by 1s":   func(r *Reading) { r.Wall += time.Second },
		"stood still": func(r *Reading) { r.Wall += time.Minute; r.Boot += time.Minute },
	} {
		c := b
		change(&c)
		if why := l.exceeded(Between(a, c)); len(why) != 1 || !strings.Contains(why[0], word) {
			t.Errorf("%s: %v", word, why)
		}
	}
	if now := Look(); now.Total <= 0 || now.Busy <= 0 || now.Own <= 0 || now.Boot < now.Mono || now.Wall < 0 {
		t.Errorf("this machine: %+v", now)
	}
}

func TestPlansThatCannotBe(t *testing.T) {
	for _, r := range []gate.Rule{{}, {Looks: []int{6}}, {Metrics: plan.Rule.Metrics}} {
		if _, err := (&Comparison{Plan: Plan{Rule: r}}).Run(t.Context()); !errors.Is(err, gate.ErrRule) {
			t.Errorf("%+v: %v", r, err)
		}
	}
	for name, need := range map[string]gate.Need{"more than there is": {Blocks: 99}, "more confirmation than there is": {Confirm: 4}, "nothing": {}} {
		l, err := OpenLedger(t.TempDir(), header(7), false)
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		judge := func(gate.Rule, *gate.Evidence) (*gate.Decision, error) {
			return &gate.Decision{Verdict: gate.Continue, Need: need}, nil
		}
		if _, err := (&Comparison{Plan: plan, Ledger: l, Stand: &fake{}, Judge: judge}).Run(t.Context()); !errors.Is(err, ErrHarness) {
			t.Errorf("a judge that needs %s: %v", name, err)
		}
	}
	if s := fmt.Sprint(Slot{Confirm, 1}, Slot{Main, 2}); s != "confirmation 2 block 3" {
		t.Errorf("%q", s)
	}
}
