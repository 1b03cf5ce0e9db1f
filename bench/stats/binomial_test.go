package stats

import (
	"math"
	"testing"

	"gonum.org/v1/gonum/stat/distuv"
)

func closeTo(t *testing.T, what string, got, want, relative float64) {
	t.Helper()
	if math.Abs(got-want) > relative*max(math.Abs(want), 1e-300) {
		t.Errorf("%s = %.12g, want %.12g", what, got, want)
	}
}

// What the lab publishes about its own gate rests on these few.
func TestBinomialBoundsOfTheGate(t *testing.T) {
	for _, c := range []struct {
		k, n  int
		upper float64 // per cent, one-sided 95 %
	}{{0, 200, 1.49}, {1, 200, 2.35}, {2, 200, 3.11}} {
		if got := 100 * BinomialUpper(c.k, c.n, 0.95); math.Abs(got-c.upper) > 0.005 {
			t.Errorf("%d of %d: at most %.4f %%, want %v %%", c.k, c.n, got, c.upper)
		}
	}
	// The least numbers of trials that prove 1 % of alarms and 95 % of detections.
	for _, c := range []struct{ k, n int }{{0, 299}, {1, 473}, {2, 628}} {
		if BinomialUpper(c.k, c.n, 0.95) > 0.01 || BinomialUpper(c.k, c.n-1, 0.95) <= 0.01 {
			t.Errorf("%d of %d is not the least that proves 1 %%", c.k, c.n)
		}
	}
	for _, c := range []struct{ misses, n int }{{0, 59}, {1, 93}, {2, 124}} {
		if BinomialLower(c.n-c.misses, c.n, 0.95) < 0.95 || BinomialLower(c.n-1-c.misses, c.n-1, 0.95) >= 0.95 {
			t.Errorf("%d misses in %d is not the least that proves 95 %%", c.misses, c.n)
		}
	}
}

func TestClopperPearsonAgainstGonum(t *testing.T) {
	for _, n := range []int{1, 2, 10, 59, 200, 5000} {
		for _, k := range []int{0, 1, n / 3, n / 2, n - 1, n} {
			low, high := ClopperPearson(k, n, 0.99)
			wantLow, wantHigh := 0.0, 1.0
			if k > 0 {
				wantLow = distuv.Beta{Alpha: float64(k), Beta: float64(n - k + 1)}.Quantile(0.005)
			}
			if k < n {
				wantHigh = distuv.Beta{Alpha: float64(k + 1), Beta: float64(n - k)}.Quantile(0.995)
			}
			closeTo(t, "low", low, wantLow, 1e-8)
			closeTo(t, "high", high, wantHigh, 1e-8)
		}
	}
}

// The definition itself: at the upper bound, k or fewer have the chance that is left.
func TestBinomialUpperIsWhereTheTailIsLeft(t *testing.T) {
	for _, c := range []struct{ k, n int }{{0, 5}, {3, 40}, {17, 30}} {
		u := BinomialUpper(c.k, c.n, 0.95)
		closeTo(t, "tail", distuv.Binomial{N: float64(c.n), P: u}.CDF(float64(c.k)), 0.05, 1e-9)
	}
}

func TestStudentAndNormalQuantilesAgainstGonum(t *testing.T) {
	for _, df := range []float64{1, 2, 3, 11, 23, 400, 100_000} {
		for _, p := range []float64{1e-6, 0.0005, 0.05, 0.3, 0.5, 0.6, 0.74, 0.76, 0.95, 0.9995, 1 - 1e-6} {
			// Through gonum's distribution function, which is more precise than its
			// quantile.
			got := distuv.StudentsT{Mu: 0, Sigma: 1, Nu: df}.CDF(StudentQuantile(p, df))
			closeTo(t, "share", got, p, 1e-8)
			closeTo(t, "normal", NormalQuantile(p), distuv.UnitNormal.Quantile(p), 1e-8)
		}
	}
}

// The prediction interval of a machine's null blocks: 99.9 % of the next values
// fall in it, with few values behind it and with many.
func TestPredictHoldsTheNextValue(t *testing.T) {
	r := distuv.Normal{Mu: 0.01, Sigma: 0.03, Src: newSource(3)}
	for _, c := range []struct {
		n, trials int
		chance    float64
	}{{3, 4000, 0.95}, {20, 4000, 0.99}, {199, 4000, 0.99}} {
		inside := 0
		for range c.trials {
			past := make([]float64, c.n)
			for i := range past {
				past[i] = r.Rand()
			}
			low, high := Predict(past, c.chance)
			if next := r.Rand(); low <= next && next <= high {
				inside++
			}
		}
		want := c.chance * float64(c.trials)
		if sd := math.Sqrt(want * (1 - c.chance)); math.Abs(float64(inside)-want) > 4*sd {
			t.Errorf("%d values: %d of %d inside, promised %v", c.n, inside, c.trials, c.chance)
		}
	}
	if low, high := Predict([]float64{1}, 0.9); !math.IsInf(low, -1) || !math.IsInf(high, 1) {
		t.Error("one value predicts something")
	}
}

// The range of the past has the chance by itself from 199 values on at 99 %.
func TestPredictTakesTheRangeOnceItIsEnough(t *testing.T) {
	past := make([]float64, 199)
	for i := range past {
		past[i] = float64(i)
	}
	if low, high := Predict(past, 0.99); low != 0 || high != 198 {
		t.Errorf("%v to %v of 199 values", low, high)
	}
	if low, high := Predict(past[1:], 0.99); low >= 0 || high <= 199 {
		t.Errorf("%v to %v of 198 values", low, high)
	}
}
