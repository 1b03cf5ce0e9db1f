package stats

import (
	"math"
	"math/rand/v2"
	"testing"
)

func TestHodgesLehmannOfKnownValues(t *testing.T) {
	near(t, "one", HodgesLehmann([]float64{3}), 3)
	near(t, "two", HodgesLehmann([]float64{1, 4}), 2.5)
	// Walsh averages of 1, 2, 10: 1 1.5 2 5.5 6 10, whose median is 3.75.
	near(t, "three", HodgesLehmann([]float64{10, 1, 2}), 3.75)
	// 120 Walsh averages; R: wilcox.test(darwin, conf.int = TRUE) says 24.5.
	if hl := HodgesLehmann(darwin); hl < 24 || hl > 25.5 {
		t.Errorf("Darwin's plants: %v", hl)
	}
}

func minus(y []float64, shift, sign float64) []float64 {
	out := make([]float64, len(y))
	for i, v := range y {
		out[i] = sign * (v - shift)
	}
	return out
}

// The bound is where the test turns: a shift just inside is not rejected, one just
// outside is. Inverting by bisection is the slow twin.
func TestBoundsInvertTheTest(t *testing.T) {
	r := rand.New(rand.NewPCG(6, 6))
	for _, n := range []int{5, 8, 12} {
		y := make([]float64, n)
		for i := range y {
			y[i] = 0.05 + 0.03*r.NormFloat64()
		}
		for _, confidence := range []float64{0.9, 0.99} {
			high := UpperBound(y, confidence, 1)
			low, _ := ShiftInterval(y, 2*confidence-1, 1)
			if math.Pow(0.5, float64(n)) > 1-confidence {
				if !math.IsInf(high, 1) || !math.IsInf(low, -1) {
					t.Errorf("%d values cannot reach %v, got %v to %v", n, confidence, low, high)
				}
				continue
			}
			alpha := 1 - confidence + 1e-9
			above := bisect(-1, 1, func(d float64) bool { return SignFlip(minus(y, d, -1), 1) > alpha })
			below := bisect(-1, 1, func(d float64) bool { return SignFlip(minus(y, d, 1), 1) <= alpha })
			if math.Abs(high-above) > 1e-9 || math.Abs(low-below) > 1e-9 {
				t.Errorf("n=%d at %v: %v to %v, by bisection %v to %v", n, confidence, low, high, below, above)
			}
		}
	}
}

// 1-confidence that is a whole number of sixteenths, and rounding in the way.
func TestBoundReachesWithTheLeastBlocks(t *testing.T) {
	y := []float64{1, 2, 3, 4}
	near(t, "1/16", UpperBound(y, 1-1.0/16, 1), 4)
	near(t, "2/16", UpperBound(y, 1-2.0/16, 1), 3.5)
	if !math.IsInf(UpperBound(y, 0.94, 1), 1) {
		t.Error("94 % was reached with sixteen sign vectors")
	}
}

// The interval covers the true shift as often as it says when values are symmetric
// about it, heavy tails or not, enumerated or drawn.
func TestShiftIntervalCovers(t *testing.T) {
	r := rand.New(rand.NewPCG(8, 8))
	for _, c := range []struct{ n, trials int }{{10, 3000}, {20, 100}} {
		covered, above := 0, 0
		for range c.trials {
			y := make([]float64, c.n)
			for i := range y {
				y[i] = 0.05 + math.Tan(math.Pi*(r.Float64()-0.5)) // Cauchy
			}
			low, high := ShiftInterval(y, 0.9, r.Uint64())
			if low <= 0.05 && 0.05 <= high {
				covered++
			}
			if UpperBound(y, 0.9, r.Uint64()) >= 0.05 {
				above++
			}
		}
		sd := math.Sqrt(0.9 * 0.1 * float64(c.trials))
		for what, got := range map[string]int{"interval": covered, "upper bound": above} {
			if math.Abs(float64(got)-0.9*float64(c.trials)) > 4*sd {
				t.Errorf("n=%d: the %s covered %d of %d, promised 90 %%", c.n, what, got, c.trials)
			}
		}
	}
}

// The bound of one metric at the last look of a gate, the dearest of what it does.
func BenchmarkUpperBound24(b *testing.B) {
	y := append(append([]float64(nil), darwin...), darwin[:9]...)
	for b.Loop() {
		UpperBound(y, 0.99, 1)
	}
}
