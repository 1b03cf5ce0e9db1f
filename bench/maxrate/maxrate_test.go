package maxrate

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"
)

// system is a broker as a search sees it: its p99 climbs as a queue's does towards a
// capacity, no trial measures it exactly, and now and then something else on the
// machine spoils a trial at any rate.
type system struct {
	capacity float64
	noise    float64 // of the p99: sigma of its logarithm
	stray    float64 // share of trials that are bad for no reason of the rate
}

const (
	unloaded = 1e6 // ns
	limit    = 10e6
)

// bad is the share of bad trials at a rate.
func (s system) bad(rate float64) float64 {
	if rate >= s.capacity {
		return 1
	}
	z := math.Log(limit/unloaded*(1-rate/s.capacity)) / s.noise
	return s.stray + (1-s.stray)*0.5*math.Erfc(z/math.Sqrt2)
}

// knee is the largest rate with no more than that share of bad trials.
func (s system) knee(share float64) float64 {
	lo, hi := 0.0, s.capacity
	for range 100 {
		if mid := (lo + hi) / 2; s.bad(mid) <= share {
			lo = mid
		} else {
			hi = mid
		}
	}
	return lo
}

// try makes one trial; a long one varies less and is not spoiled as a whole.
func (s system) try(t Trial, r *rand.Rand) bool {
	if t.Phase == Confirm {
		s.noise, s.stray = s.noise/3, 0
	}
	return r.Float64() >= s.bad(t.Rate)
}

// play runs a search to its end.
func play(t *testing.T, cfg Config, try func(Trial) bool) (Answer, []Trial) {
	t.Helper()
	p, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	var made []Trial
	for {
		next, ok := p.Next()
		if !ok {
			return p.Answer(), made
		}
		made = append(made, next)
		p.Take(try(next))
	}
}

// The rate that is looked for lies in the interval, whatever it is and whatever the
// order of the trials, in at least 95 of 100 searches, for trials as noisy as these.
func TestKneeLiesInTheInterval(t *testing.T) {
	const runs = 600
	for _, c := range []struct {
		name          string
		noise, stray  float64
		cfg           Config
		trials, wider float64 // most, in the mean; and the share of intervals wider than asked for
	}{
		{"quiet", 0.01, 0, Config{}, 60, 0.02},
		{"noisy", 0.05, 0.005, Config{}, 70, 0.10},
		{"noisier", 0.10, 0.005, Config{Width: 0.06}, 70, 0.10},
		{"narrow", 0.02, 0.005, Config{Width: 0.01}, 80, 0.10},
		{"wide", 0.20, 0.02, Config{Width: 0.10, Bad: 0.10}, 60, 0.15},
	} {
		inside, wide, trials := 0, 0, 0
		share := c.cfg.Bad
		if share == 0 {
			share = 0.05
		}
		for seed := range uint64(runs) {
			r := rand.New(rand.NewPCG(seed, 7))
			s := system{capacity: math.Exp(r.Float64()*9 + 6), noise: c.noise, stray: c.stray}
			c.cfg.Seed = seed + 1
			a, _ := play(t, c.cfg, func(tr Trial) bool { return s.try(tr, r) })
			if knee := s.knee(share); a.Low <= knee && (a.High == 0 || knee < a.High) && a.Confirmed {
				inside++
			}
			trials += a.Trials
			if width := c.cfg.Width; a.High == 0 || (a.High-a.Low)/a.High > max(width, 0.03*b2f(width == 0))+1e-9 {
				wide++
				if a.Why == "" {
					t.Errorf("%s: [%v, %v] is wider than asked for and says nothing of it", c.name, a.Low, a.High)
				}
			}
		}
		t.Logf("%s: %.1f %% inside, %.1f %% wider than asked for, %.1f trials", c.name, 100*float64(inside)/runs, 100*float64(wide)/runs, float64(trials)/runs)
		if float64(inside) < 0.95*runs {
			t.Errorf("%s: the knee lay in %d of %d intervals", c.name, inside, runs)
		}
		if float64(wide) > c.wider*runs || float64(trials) > c.trials*runs {
			t.Errorf("%s: %d of %d wider than asked for, %.1f trials in the mean", c.name, wide, runs, float64(trials)/runs)
		}
	}
}

func b2f(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

// Whatever the trials say, a search ends, its answer rests on its own evidence and
// nothing above the smallest rate that failed is claimed.
func TestSearchEndsAndClaimsNothingTwice(t *testing.T) {
	for name, outcome := range map[string]func(i int, r *rand.Rand, tr Trial) bool{
		"always good":    func(int, *rand.Rand, Trial) bool { return true },
		"always bad":     func(int, *rand.Rand, Trial) bool { return false },
		"in turn":        func(i int, _ *rand.Rand, _ Trial) bool { return i%2 == 0 },
		"a coin":         func(_ int, r *rand.Rand, _ Trial) bool { return r.IntN(2) == 0 },
		"mostly good":    func(_ int, r *rand.Rand, _ Trial) bool { return r.IntN(10) > 0 },
		"upside down":    func(_ int, _ *rand.Rand, tr Trial) bool { return tr.Rate > 50_000 },
		"never confirms": func(_ int, _ *rand.Rand, tr Trial) bool { return tr.Phase != Confirm && tr.Rate < 50_000 },
		"bad measures":   func(_ int, _ *rand.Rand, tr Trial) bool { return tr.Phase == Search && tr.Rate < 50_000 },
		"good measures":  func(_ int, _ *rand.Rand, tr Trial) bool { return tr.Phase != Search || tr.Rate < 50_000 },
	} {
		for seed := range uint64(40) {
			r := rand.New(rand.NewPCG(seed, 9))
			i := 0
			cfg := Config{Seed: seed + 1, Highest: 1e6, Lowest: 100, TrialsMax: 2000, Bad: []float64{-1, 0, 0.2}[seed%3]}
			type key struct {
				phase Phase
				rate  float64
			}
			evidence := map[key]*tally{}
			a, made := play(t, cfg, func(tr Trial) bool {
				i++
				good := outcome(i, r, tr)
				k := key{tr.Phase, tr.Rate}
				if evidence[k] == nil {
					evidence[k] = &tally{}
				}
				evidence[k].take(good)
				return good
			})
			if len(made) >= cfg.TrialsMax {
				t.Fatalf("%s, seed %d: it went on for %d trials", name, seed, len(made))
			}
			if a.High > 0 && a.Low >= a.High {
				t.Errorf("%s, seed %d: [%v, %v]", name, seed, a.Low, a.High)
			}
			for _, tr := range made {
				if tr.Rate < cfg.Lowest || tr.Rate > cfg.Highest {
					t.Errorf("%s, seed %d: %v was tried", name, seed, tr)
				}
			}
			cfg.setDefaults()
			if e := evidence[key{Measure, a.Low}]; a.Low > 0 && (e == nil || e.judge(&cfg) != held) {
				t.Errorf("%s, seed %d: %v is said to hold with %+v", name, seed, a.Low, e)
			}
			if e := evidence[key{Confirm, a.Low}]; a.Low > 0 && a.Confirmed && (e == nil || *e != tally{good: 1}) {
				t.Errorf("%s, seed %d: %v is said to be confirmed with %+v", name, seed, a.Low, e)
			}
			if e := evidence[key{Measure, a.High}]; a.High > 0 && (e == nil || e.judge(&cfg) != failed) && evidence[key{Confirm, a.High}].bad == 0 {
				t.Errorf("%s, seed %d: %v is said to fail with %+v", name, seed, a.High, e)
			}
			for k, e := range evidence { // nothing that failed lies below what is claimed
				if (k.phase == Measure && e.judge(&cfg) == failed || k.phase == Confirm && e.bad > 0) && k.rate <= a.Low {
					t.Errorf("%s, seed %d: %v is claimed, %v failed", name, seed, a.Low, k)
				}
			}
		}
	}
}

// A rate that the longer trial refutes is the new upper end.
func TestConfirmationSendsTheSearchBelow(t *testing.T) {
	s := system{capacity: 100_000, noise: 0.01}
	r := rand.New(rand.NewPCG(1, 1))
	var refuted float64
	a, made := play(t, Config{}, func(tr Trial) bool {
		if tr.Phase == Confirm && refuted == 0 {
			refuted = tr.Rate
			return false
		}
		return s.try(tr, r)
	})
	if refuted == 0 || a.High != refuted || a.Low >= refuted || !a.Confirmed {
		t.Errorf("%v was refuted, the answer is %+v", refuted, a)
	}
	confirms := 0
	for _, tr := range made {
		if tr.Phase == Confirm {
			confirms++
		}
	}
	if confirms != 2 || made[len(made)-1] != (Trial{Confirm, a.Low}) {
		t.Errorf("%d confirmations, the last trial %v", confirms, made[len(made)-1])
	}
}

func TestJudgeToleratesTheShareAndNoMore(t *testing.T) {
	cfg := Config{}
	cfg.setDefaults()
	none := Config{Bad: -1}
	none.setDefaults()
	for _, c := range []struct {
		cfg  *Config
		t    tally
		want verdict
	}{
		{&cfg, tally{good: 19}, open}, {&cfg, tally{good: 20}, held}, {&cfg, tally{good: 19, bad: 1}, held},
		{&cfg, tally{good: 18, bad: 2}, unclear}, {&cfg, tally{good: 15, bad: 5}, failed},
		{&cfg, tally{bad: 1}, open}, {&cfg, tally{bad: 2}, failed}, {&cfg, tally{good: 1, bad: 2}, failed}, {&cfg, tally{good: 4, bad: 2}, open},
		{&none, tally{good: 4}, open}, {&none, tally{good: 5}, held}, {&none, tally{good: 4, bad: 1}, failed},
	} {
		if got := c.t.judge(c.cfg); got != c.want {
			t.Errorf("%+v at a share of %v: %v, want %v", c.t, c.cfg.Bad, got, c.want)
		}
	}
	for _, c := range []struct{ n, k, of int }{{3, 2, 1000}, {10, 0, 1000}, {20, 20, 1000}} {
		exact := 0.0
		for i := c.k; i <= c.n; i++ {
			exact += choose(c.n, i) * math.Pow(0.05, float64(i)) * math.Pow(0.95, float64(c.n-i))
		}
		if got := binomialTail(c.n, c.k, 0.05); math.Abs(got-exact) > 1e-12 {
			t.Errorf("at least %d of %d: %v, want %v", c.k, c.n, got, exact)
		}
	}
}

func choose(n, k int) float64 {
	c := 1.0
	for i := range k {
		c = c * float64(n-i) / float64(i+1)
	}
	return c
}

// Neighbours are tried in an order that the seed alone decides, and not always from
// below: a machine that gets slower meets all of them alike.
func TestOrderIsTheSeeds(t *testing.T) {
	s := system{capacity: 100_000, noise: 0.05}
	run := func(seed uint64) []Trial {
		r := rand.New(rand.NewPCG(3, 3))
		_, made := play(t, Config{Seed: seed}, func(tr Trial) bool { return s.try(tr, r) })
		return made
	}
	if !reflect.DeepEqual(run(1), run(1)) {
		t.Error("the same seed and outcomes gave other trials")
	}
	rising := 0
	for seed := range uint64(50) {
		made := run(seed + 1)
		i := slices.IndexFunc(made, func(tr Trial) bool { return tr.Rate > 80_000 && tr.Rate < 160_000 })
		if i+2 < len(made) && made[i].Rate < made[i+1].Rate && made[i+1].Rate < made[i+2].Rate {
			rising++
		}
	}
	if rising > 25 {
		t.Errorf("%d of 50 searches tried neighbours from below", rising)
	}
}

// What is left is told in advance, near enough for a progress line.
func TestLeftShrinksToNothing(t *testing.T) {
	s := system{capacity: 100_000, noise: 0.05}
	r := rand.New(rand.NewPCG(3, 3))
	p, err := New(Config{})
	if err != nil {
		t.Fatal(err)
	}
	first, _ := p.Left()
	n := 0
	for tr, ok := p.Next(); ok; tr, ok = p.Next() {
		n++
		p.Take(s.try(tr, r))
	}
	if short, long := p.Left(); short != 0 || long != 0 {
		t.Errorf("%d and %d trials left at the end", short, long)
	}
	if first < n/3 || first > 3*n {
		t.Errorf("%d trials were foretold, %d were made", first, n)
	}
}

func TestConfigIsChecked(t *testing.T) {
	for _, cfg := range []Config{
		{Start: 5}, {Start: 2e9}, {Width: 0.001}, {Width: 1}, {Bad: 0.7}, {Bad: 0.001}, {TrialsMax: -1}, {Start: math.NaN()}, {Highest: math.Inf(1)},
	} {
		if _, err := New(cfg); !errors.Is(err, ErrConfig) {
			t.Errorf("%+v: %v", cfg, err)
		}
	}
	if a, _ := play(t, Config{TrialsMax: 3}, func(Trial) bool { return true }); a.Low != 0 || a.Why == "" || a.Trials != 3 || a.Confirmed {
		t.Errorf("out of trials: %+v", a)
	}
	if got := fmt.Sprint(rounded(123456), rounded(999.96), rounded(43.217), rounded(1234.5)); got != "123500 1000 43.2 1235" && got != "123500 1000 43.2 1234" {
		t.Errorf("rounded: %s", got)
	}
}

// One stray trial sends the search nowhere: a rate is decided by two of three.
func TestOneStrayTrialMisleadsNobody(t *testing.T) {
	for _, stray := range []bool{false, true} { // a bad one at a rate that holds, or a good one at a rate that does not
		n := 0
		_, made := play(t, Config{Start: 1000}, func(tr Trial) bool {
			n++
			good := tr.Rate < 1500
			if stray {
				good = tr.Rate < 500
			}
			return good != (n == 1)
		})
		for _, tr := range made[:4] {
			if tr.Rate != 1000 && tr.Rate > 1000 == stray {
				t.Errorf("the stray trial sent the search to %v", tr.Rate)
			}
		}
	}
}
