package gate

import (
	"errors"
	"math"
	"testing"
)

func TestReachable(t *testing.T) {
	if err := Default().Reachable(); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		change func(r *Rule)
		ok     bool
	}{
		"3 blocks":                 {func(r *Rule) { r.Looks = []int{3} }, false},
		"10 blocks, three looks":   {func(r *Rule) { r.Looks = []int{10, 18, 24} }, false},
		"11 blocks, three looks":   {func(r *Rule) { r.Looks = []int{11, 18, 24} }, true},
		"10 blocks, one look":      {func(r *Rule) { r.Looks = []int{10} }, true},
		"9 blocks for one metric":  {func(r *Rule) { r.Looks[0], r.Metrics = 9, r.Metrics[:1] }, true},
		"sure passes":              {func(r *Rule) { r.PassConfidence = 0.9999 }, false},
		"a confirmation of 6":      {func(r *Rule) { r.Confirm = 6 }, false},
		"a look at 64":             {func(r *Rule) { r.Looks = []int{12, 64} }, true},
		"a look at 65":             {func(r *Rule) { r.Looks = []int{12, 65} }, false},
		"a confirmation of 65":     {func(r *Rule) { r.Confirm = 65 }, false},
		"a confirmation of 7":      {func(r *Rule) { r.Confirm = 7 }, true},
		"no metric":                {func(r *Rule) { r.Metrics = nil }, false},
		"no look":                  {func(r *Rule) { r.Looks = nil }, false},
		"looks that go back":       {func(r *Rule) { r.Looks = []int{18, 12} }, false},
		"a metric twice":           {func(r *Rule) { r.Metrics[1] = r.Metrics[0] }, false},
		"a metric without a name":  {func(r *Rule) { r.Metrics[1].Name = "" }, false},
		"no effect":                {func(r *Rule) { r.Metrics[1].Effect = 0 }, false},
		"no bound":                 {func(r *Rule) { r.Metrics[1].Bound = math.NaN() }, false},
		"alpha 0":                  {func(r *Rule) { r.Alpha = 0 }, false},
		"everything may be redone": {func(r *Rule) { r.RedoShare = 1 }, false},
		"null chance unset":        {func(r *Rule) { r.NullChance = 0 }, false},
		"no null blocks":           {func(r *Rule) { r.Nulls = 0 }, true},
		"negative null blocks":     {func(r *Rule) { r.Nulls = -1 }, false},
	} {
		r := Default()
		c.change(&r)
		if err := r.Reachable(); (err == nil) != c.ok || err != nil && !errors.Is(err, ErrRule) {
			t.Errorf("%s: %v", name, err)
		}
		if _, err := Judge(r, &Evidence{Base: "a", Head: "b"}); (err == nil) != c.ok {
			t.Errorf("%s: Judge says %v", name, err)
		}
	}
}

func TestRatesOfTheDefault(t *testing.T) {
	r := Default()
	if a := r.LookAlpha(); math.Abs(a-0.01/3) > 1e-15 {
		t.Errorf("alpha of a look is %v", a)
	}
	if p := r.FalsePass(); math.Abs(p-0.03) > 1e-12 {
		t.Errorf("false pass is %v", p)
	}
	// The table of 95 % power, with t for few blocks: at 24 blocks 4 % of scatter
	// show 5 %.
	if d := r.Detectable(r.Metrics[0], 0.04, 24); d < 0.04 || d > 0.05 {
		t.Errorf("detectable at 24 blocks: %v", d)
	}
	// The effect of the tail metric is what limits it when it hardly scatters.
	if d := r.Detectable(r.Metrics[3], 0.001, 24); d < 0.1 || d > 0.101 {
		t.Errorf("detectable below the effect: %v", d)
	}
}

func TestCoinIsFairAndRepeats(t *testing.T) {
	heads, same := 0, 0
	const throws = 2000
	for n := range throws {
		thrown, next := Coin(3, n), Coin(3, n+1)
		if thrown == ABBA {
			heads++
		}
		if thrown == next {
			same++
		}
		if again := Coin(3, n); again != thrown {
			t.Fatal("the coin does not repeat")
		}
	}
	first, agree := 0, 0
	for seed := range uint64(throws) {
		if Coin(seed, 0) == ABBA {
			first++
		}
		if Coin(seed, 5) == Coin(seed+1, 5) {
			agree++
		}
	}
	for name, n := range map[string]int{"ABBA": heads, "same as the next": same, "first of a seed": first, "neighbouring seeds": agree} {
		if math.Abs(float64(n)-throws/2) > 4*math.Sqrt(throws)/2 {
			t.Errorf("%s: %d of %d", name, n, throws)
		}
	}
}

func TestSlotsHoldTheNullBlocks(t *testing.T) {
	r := Default()
	at := make([]int, r.Slots(12))
	const seeds = 1500
	for seed := range uint64(seeds) {
		nulls := 0
		for n := range r.Slots(24) {
			s := r.Slot(seed, n)
			if s.Order != Coin(seed, n) {
				t.Fatal("an order is not the coin's")
			}
			if s.Null {
				nulls++
				at[n]++ // out of range if it is after the first look
			}
		}
		if nulls != r.Nulls {
			t.Fatalf("%d null blocks", nulls)
		}
	}
	for n, count := range at {
		if math.Abs(float64(count)-seeds*0.2) > 4*math.Sqrt(seeds*0.2*0.8) {
			t.Errorf("number %d is a null block in %d of %d", n, count, seeds)
		}
	}
}
