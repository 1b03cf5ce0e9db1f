package stats

import (
	"math"
	"math/rand/v2"
)

// bootstrapDraws is how often the runs are drawn again. The limits of a 99 %
// interval then have about ten draws beyond them.
const bootstrapDraws = 1_999

// Bootstrap is the BCa interval (bias-corrected, accelerated) of a statistic of
// runs. A run is the unit that is drawn: what happened inside one run stays
// together, so the runs may be whole histograms. confidence is in (0, 1);
// statistic must not keep or change the slice it is given, and gives a finite
// number. With fewer than three runs the interval is everything. It is an
// approximation that covers too little with few runs; ShiftInterval is exact where
// it applies.
//
// Of B draws it takes the quantiles Phi(z0 + (z0+z)/(1-a(z0+z))), z = the normal
// quantile of either limit, z0 = that of the share of draws below the statistic, a
// = skewness of the jackknife values over 6. Source: Efron, Better Bootstrap
// Confidence Intervals, 1987; Efron and Tibshirani, An Introduction to the
// Bootstrap, section 14.3.
func Bootstrap[T any](runs []T, statistic func([]T) float64, confidence float64, seed uint64) (low, high float64) {
	if len(runs) < 3 {
		return math.Inf(-1), math.Inf(1)
	}
	r := rand.New(rand.NewPCG(seed, uint64(len(runs))))
	drawn, values := make([]T, len(runs)), make([]float64, bootstrapDraws)
	for i := range values {
		for j := range drawn {
			drawn[j] = runs[r.IntN(len(runs))]
		}
		values[i] = statistic(drawn)
	}
	z0 := bias(values, statistic(runs))
	a := acceleration(runs, statistic)
	limit := func(p float64) float64 {
		z := z0 + NormalQuantile(p)
		return Quantile(values, normalShare(z0+z/(1-a*z)))
	}
	return limit((1 - confidence) / 2), limit((1 + confidence) / 2)
}

// bias is the normal quantile of the share of values below the statistic, ties
// counting half. A share of 0 or 1 is taken as half a draw away from it.
func bias(values []float64, of float64) float64 {
	below := 0.0
	for _, v := range values {
		switch {
		case v < of:
			below++
		case v == of:
			below += 0.5
		}
	}
	n := float64(len(values))
	return NormalQuantile(min(max(below, 0.5), n-0.5) / n)
}

// acceleration is the skewness of the statistic with each run left out, over 6.
func acceleration[T any](runs []T, statistic func([]T) float64) float64 {
	left, values := make([]T, 0, len(runs)), make([]float64, len(runs))
	for i := range runs {
		left = append(append(left[:0], runs[:i]...), runs[i+1:]...)
		values[i] = statistic(left)
	}
	mean, _ := MeanDeviation(values)
	squares, cubes := 0.0, 0.0
	for _, v := range values {
		d := mean - v
		squares += d * d
		cubes += d * d * d
	}
	if squares == 0 {
		return 0
	}
	return cubes / (6 * math.Pow(squares, 1.5))
}
