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
)

func TestCoinsFallBothWays(t *testing.T) {
	const n = 2000
	abba, swapped := 0, 0
	for i := range n {
		s := Slot{Main, i + 1}
		toss := TossOf(1, s)
		if toss.Order == orderABBA {
			abba++
		} else if toss.Order != orderBAAB {
			t.Fatalf("order %q", toss.Order)
		}
		base, head := toss.Layouts[Base], toss.Layouts[Head]
		if base == 0 || head == 0 || base == head {
			t.Fatalf("layouts %v", toss.Layouts)
		}
		if base > head {
			swapped++
		}
		if again := TossOf(1, s); again.Order != toss.Order || again.Layouts[Base] != base {
			t.Fatalf("%s: two tosses of one seed differ", s)
		}
		if other := TossOf(1, Slot{Confirm, i + 1}); other.Layouts[Base] == base {
			t.Fatalf("%s: a confirmation has the layouts of its block", s)
		}
	}
	for what, heads := range map[string]int{"order": abba, "layouts": swapped} { // 5 standard deviations
		if heads < n/2-112 || heads > n/2+112 {
			t.Errorf("%s: %d of %d", what, heads, n)
		}
	}
	same := 0
	for i := range n {
		if TossOf(1, Slot{Main, i + 1}).Order == TossOf(2, Slot{Main, i + 1}).Order {
			same++
		}
	}
	if same < n/2-112 || same > n/2+112 {
		t.Errorf("two seeds agree on %d of %d coins", same, n)
	}
}

func TestNullsAreMixedIn(t *testing.T) {
	p := Plan{Looks: []int{12, 18}, Nulls: 3}
	places := map[int]int{}
	for seed := range uint64(200) {
		slots := p.sequence(seed)
		if len(slots) != 21 {
			t.Fatalf("%d slots", len(slots))
		}
		count := map[Stage]int{}
		for i, s := range slots {
			if count[s.Stage]++; s.Block != count[s.Stage] {
				t.Fatalf("%v: numbers do not ascend", slots)
			}
			if s.Stage == Null {
				places[i]++
			}
		}
		if count[Null] != 3 || count[Main] != 18 {
			t.Fatalf("%v", count)
		}
	}
	if len(places) != 15 {
		t.Errorf("nulls came at %d places, want all 15 before the first look", len(places))
	}
}

func TestComparisonRunsWhatTheCoinsSay(t *testing.T) {
	dir := t.TempDir()
	f, w := &fake{}, &wants{looks: []int{6, 9}, confirm: 3}
	end, l, err := compare(t, t.Context(), dir, f, w)
	if err != nil || end != (End{}) {
		t.Fatalf("%+v, %v", end, err)
	}
	if len(w.main) != 9 || len(w.nulls) != 2 || len(w.repeated) != 3 || w.asked != 4 || f.probes != 1 {
		t.Errorf("%d, %d and %d blocks, asked %d times, %d probes", len(w.main), len(w.nulls), len(w.repeated), w.asked, f.probes)
	}
	if len(f.runs) != 14*4 || len(f.links) != 14 {
		t.Fatalf("%d runs of %d blocks", len(f.runs), len(f.links))
	}
	at := map[Slot]int{} // first run of a block
	for i := 0; i < len(f.runs); i += 4 {
		s, order := f.runs[i].Slot, ""
		for place, r := range f.runs[i : i+4] {
			if r.Slot != s || r.Place != place+1 || r.Load["rate"] != 1000 {
				t.Errorf("run %d: %+v", i+place, r)
			}
			order += map[Side]string{Base: "A", Head: "B"}[r.Side]
		}
		if order != TossOf(l.Header.Seed, s).Order {
			t.Errorf("%s ran %s", s, order)
		}
		at[s] = i
	}
	for n, b := range w.main { // the fake's value is the number of the run
		first := float64(at[Slot{Main, n + 1}] + 1)
		want := [2][2]float64{{first, first + 3}, {first + 1, first + 2}}
		if b.Order == orderBAAB {
			want[0], want[1] = want[1], want[0]
		}
		if b.Base["cpu"] != want[0] || b.Head["cpu"] != want[1] {
			t.Errorf("block %d, %s: base %v, head %v, want %v", n+1, b.Order, b.Base["cpu"], b.Head["cpu"], want)
		}
	}
	if err := l.Done(); err != nil || len(only(t, dir)) > 0 {
		t.Errorf("after Done: %v, %v", err, only(t, dir))
	}
}

// A comparison that is cut off in a block, by a signal or by the power, goes on
// with that block anew, in the order it had; what was measured before is kept.
func TestCutOffComparisonGoesOn(t *testing.T) {
	whole := &wants{looks: []int{6}}
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
		_, l, err := compare(t, ctx, dir, f, &wants{looks: []int{6}})
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
		next, w := &fake{}, &wants{looks: []int{6}}
		_, l2, err := compare(t, t.Context(), dir, next, w)
		if err != nil {
			t.Fatal(err)
		}
		if l2.Resumed != 3 || next.probes != 0 || len(next.links) != 5 || next.links[0] != cut || l2.Header.Seed != l.Header.Seed {
			t.Errorf("torn %v: %d blocks resumed, %d probes, blocks %v after %v", torn, l2.Resumed, next.probes, next.links, cut)
		}
		for i, r := range next.runs[:4] {
			if r.Side != TossOf(7, cut).side(i) {
				t.Errorf("torn %v: run %d of the repeated block is of %s", torn, i+1, r.Side)
			}
		}
		if len(w.main) != 6 || l2.Redone() != 0 || len(l2.Counted()) != len(reference.Counted()) {
			t.Errorf("torn %v: %d blocks, %d redone, %d runs count", torn, len(w.main), l2.Redone(), len(l2.Counted()))
		}
		for n := range w.main {
			if w.main[n].Order != whole.main[n].Order {
				t.Errorf("torn %v: block %d has order %s, without the cut %s", torn, n+1, w.main[n].Order, whole.main[n].Order)
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
	}}, &wants{looks: []int{6}})
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
	w := &wants{looks: []int{6}}
	end, l, err := compare(t, t.Context(), t.TempDir(), f, w)
	if err != nil || end != (End{}) || len(w.main) != 6 {
		t.Fatalf("%+v, %v, %d blocks", end, err, len(w.main))
	}
	if len(f.links) != 9 || f.links[1] != f.links[2] || l.Redone() != 1 || len(l.Counted()) != 8*4 {
		t.Errorf("blocks %v, %d redone, %d runs count", f.links, l.Redone(), len(l.Counted()))
	}
	for i := range 4 {
		if f.runs[4+i].Side != f.runs[8+i].Side {
			t.Error("the repeated block has another order")
		}
	}
	for _, b := range append(w.main, w.nulls...) {
		for _, two := range [][2]float64{b.Base["cpu"], b.Head["cpu"]} {
			if two[0] >= 5 && two[0] <= 8 || two[1] >= 5 && two[1] <= 8 {
				t.Errorf("a run of the disturbed block counts: %v", two)
			}
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
	_, l, err := compare(t, t.Context(), t.TempDir(), f, &wants{looks: []int{6}})
	if err != nil || len(f.links) != 8 || l.Redone() != 0 {
		t.Errorf("%v, %d blocks run, %d redone", err, len(f.links), l.Redone())
	}
}

func TestUnfitMachineEndsIt(t *testing.T) {
	f := &fake{steal: func(int) float64 { return 0.02 }}
	end, l, err := compare(t, t.Context(), t.TempDir(), f, &wants{looks: []int{6}})
	if err != nil || !strings.Contains(end.Unfit, "3 blocks of 8") || !strings.Contains(end.Unfit, "2.0 % stolen") || l.Redone() != 3 {
		t.Errorf("%+v, %v, %d redone", end, err, l.Redone())
	}
	l2, err := OpenLedger(t.TempDir(), header(7), false)
	if err != nil {
		t.Fatal(err)
	}
	defer l2.Close()
	c := &Comparison{Plan: plan, Ledger: l2, Stand: f, Judge: (&wants{looks: []int{6}}).judge, Limits: Limits{Steal: 0.03}}
	if end, err := c.Run(t.Context()); err != nil || end != (End{}) {
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
	mainOf := func(s Side) func(Turn) bool { return func(t Turn) bool { return t.Stage == Main && t.Side == s } }
	end, l, err := compare(t, t.Context(), t.TempDir(), spoil(Failed, mainOf(Head)), &wants{looks: []int{6}})
	if err != nil || !strings.Contains(end.Broken, "3 lost") || end.Unfit != "" {
		t.Errorf("head: %+v, %v", end, err)
	}
	if last := l.Lines[len(l.Lines)-1].Run; last == nil || last.Status != Failed {
		t.Error("the failing run is not kept")
	}
	for name, want := range map[string]func(Turn) bool{"base": mainOf(Base), "null": func(t Turn) bool { return t.Stage == Null && t.Side == Head }} {
		if end, _, err := compare(t, t.Context(), t.TempDir(), spoil(Failed, want), &wants{looks: []int{6}}); !errors.Is(err, ErrViolation) {
			t.Errorf("%s: %+v, %v", name, end, err)
		}
	}
	if end, _, err := compare(t, t.Context(), t.TempDir(), spoil(Invalid, mainOf(Base)), &wants{looks: []int{6}}); err != nil || end.Unfit == "" {
		t.Errorf("invalid: %+v, %v", end, err)
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
		f := &fake{before: func(int) error { closed = append(closed, time.Now()); return nil }}
		began := time.Now()
		c := &Comparison{Plan: p, Ledger: l, Stand: f, Judge: (&wants{looks: []int{6}, confirm: 3}).judge}
		if _, err := c.Run(t.Context()); err != nil {
			t.Fatal(err)
		}
		if waited := time.Since(began); waited != p.Pause || closed[8*4].Sub(closed[8*4-1]) != p.Pause {
			t.Errorf("waited %v in all, %v before the confirmation", waited, closed[8*4].Sub(closed[8*4-1]))
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
	}}, &wants{looks: []int{6}})
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
	for _, p := range []Plan{{}, {Looks: []int{6, 6}, Metrics: []string{"x"}}, {Looks: []int{0}, Metrics: []string{"x"}}, {Looks: []int{6}}} {
		if _, err := (&Comparison{Plan: p}).Run(t.Context()); err == nil {
			t.Errorf("%+v was taken", p)
		}
	}
	greedy := func(main, _, _ []Block) (Want, error) { return Want{Main: 99}, nil }
	l, err := OpenLedger(t.TempDir(), header(7), false)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if _, err := (&Comparison{Plan: plan, Ledger: l, Stand: &fake{}, Judge: greedy}).Run(t.Context()); !errors.Is(err, ErrHarness) {
		t.Errorf("a judge that wants more than there is: %v", err)
	}
	if s := fmt.Sprint(Slot{Null, 2}, Slot{Main, 3}); s != "null block 2 block 3" {
		t.Errorf("%q", s)
	}
}
