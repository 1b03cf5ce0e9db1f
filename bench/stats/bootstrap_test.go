package stats

import (
	"math"
	"math/rand/v2"
	"testing"
)

func newSource(seed uint64) rand.Source { return rand.NewPCG(seed, 0) }

// spatial is the spatial perception test of 26 children, Efron and Tibshirani,
// table 14.1.
var spatial = []float64{48, 36, 20, 29, 42, 42, 20, 42, 22, 41, 45, 14, 6, 0, 33, 28, 34, 4, 32, 24, 47, 41, 24, 26, 30, 41}

func variance(xs []float64) float64 {
	_, sd := MeanDeviation(xs)
	n := float64(len(xs))
	return sd * sd * (n - 1) / n
}

// The book has 171.5 for the variance and a 90 % BCa interval of 115.8 to 259.6,
// where plain percentiles give 100.8 to 233.9 (table 14.2).
func TestBootstrapOfTheSpatialTest(t *testing.T) {
	if v := variance(spatial); math.Abs(v-171.5) > 0.1 {
		t.Fatalf("the variance is %v, the book has 171.5: the data are wrong", v)
	}
	low, high := Bootstrap(spatial, variance, 0.9, 1)
	if math.Abs(low-115.8) > 5 || math.Abs(high-259.6) > 8 {
		t.Errorf("%.1f to %.1f, the book has 115.8 to 259.6", low, high)
	}
	if a, b := Bootstrap(spatial, variance, 0.9, 1); a != low || b != high {
		t.Error("the same seed gave another interval")
	}
}

func TestBootstrapOfDegenerateRuns(t *testing.T) {
	if low, high := Bootstrap([]float64{1, 2}, Median, 0.9, 1); !math.IsInf(low, -1) || !math.IsInf(high, 1) {
		t.Error("two runs bound something")
	}
	low, high := Bootstrap([]float64{4, 4, 4, 4}, Median, 0.9, 1)
	near(t, "low", low, 4)
	near(t, "high", high, 4)
}

// A run is drawn whole: the share of late requests among all of those in a run,
// where requests of one run are late together, must not look more certain than the
// runs are.
func TestBootstrapDrawsWholeRuns(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 1))
	type run struct{ late, all float64 }
	share := func(runs []run) float64 {
		var late, all float64
		for _, x := range runs {
			late, all = late+x.late, all+x.all
		}
		return late / all
	}
	const trials = 300
	covered := 0
	for range trials {
		runs := make([]run, 30)
		for i := range runs {
			runs[i] = run{1000 * r.Float64(), 1000} // mean 0.5
		}
		low, high := Bootstrap(runs, share, 0.9, r.Uint64())
		if low <= 0.5 && 0.5 <= high {
			covered++
		}
	}
	if sd := math.Sqrt(trials * 0.9 * 0.1); math.Abs(float64(covered)-0.9*trials) > 4*sd {
		t.Errorf("covered %d of %d, promised 90 %%", covered, trials)
	}
}
