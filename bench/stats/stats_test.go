package stats

import (
	"math"
	"math/rand/v2"
	"testing"
)

func near(t *testing.T, what string, got, want float64) {
	t.Helper()
	if math.Abs(got-want) > 1e-9*max(1, math.Abs(want)) {
		t.Errorf("%s = %v, want %v", what, got, want)
	}
}

func TestQuantilesOfKnownValues(t *testing.T) {
	xs := []float64{9, 1, 3, 7, 5}
	near(t, "median", Median(xs), 5)
	near(t, "even median", Median([]float64{4, 1, 3, 2}), 2.5)
	near(t, "q=0", Quantile(xs, 0), 1)
	near(t, "q=1", Quantile(xs, 1), 9)
	near(t, "q=0.9", Quantile(xs, 0.9), 8.2) // R: quantile(c(9,1,3,7,5), .9)
	if xs[0] != 9 {
		t.Error("the argument was sorted in place")
	}
}

// The published table of sign-test intervals (Hollander and Wolfe, table A.2).
func TestMedianIntervalKnownCoverage(t *testing.T) {
	for _, c := range []struct {
		n         int
		low, high float64
		coverage  float64
	}{
		{1, 1, 1, 0},
		{3, 1, 3, 0.75},
		{6, 1, 6, 0.96875},
		{10, 2, 9, 1 - 2*11.0/1024},
		{20, 6, 15, 0.9586105},
	} {
		xs := make([]float64, c.n)
		for i := range xs {
			xs[i] = float64(c.n - i)
		}
		got := MedianInterval(xs, 0.95)
		near(t, "low", got.Low, c.low)
		near(t, "high", got.High, c.high)
		if math.Abs(got.Coverage-c.coverage) > 1e-6 {
			t.Errorf("n=%d: coverage %v, want %v", c.n, got.Coverage, c.coverage)
		}
	}
}

// The interval must cover the true median as often as it says, whatever the
// distribution.
func TestMedianIntervalCoversHeavyTails(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	const trials = 4000
	covered := 0
	want := 0.0
	for range trials {
		xs := make([]float64, 10)
		for i := range xs {
			xs[i] = math.Exp(3 * r.NormFloat64()) // median 1
		}
		iv := MedianInterval(xs, 0.95)
		want = iv.Coverage
		if iv.Low <= 1 && 1 <= iv.High {
			covered++
		}
	}
	share := float64(covered) / trials
	if sd := math.Sqrt(want * (1 - want) / trials); math.Abs(share-want) > 4*sd {
		t.Errorf("covered %.4f of trials, promised %.4f", share, want)
	}
}

func TestRatiosPairsAndSkipsZero(t *testing.T) {
	got := Ratios([]float64{2, 9, 8, 1}, []float64{1, 3, 0})
	if len(got) != 2 || got[0] != 2 || got[1] != 3 {
		t.Errorf("ratios %v, want [2 3]", got)
	}
}
