package stats

import (
	"math"
	"slices"
)

// Median is the middle value, or the mean of the two middle values.
func Median(xs []float64) float64 { return Quantile(xs, 0.5) }

// Quantile interpolates linearly between order statistics, q in [0, 1]
// (Hyndman and Fan's type 7, the default of R and NumPy).
func Quantile(xs []float64, q float64) float64 {
	s := sorted(xs)
	at := q * float64(len(s)-1)
	below := int(at)
	if below >= len(s)-1 {
		return s[len(s)-1]
	}
	return s[below] + (at-float64(below))*(s[below+1]-s[below])
}

// Interval is a two-sided interval of a median and the chance that it covers it.
type Interval struct {
	Low, High float64
	Coverage  float64 // exact for independent values, 0..1
}

// MedianInterval is the narrowest symmetric pair of order statistics that covers
// the population median with at least the wanted chance. With too few values the
// whole range is returned; Coverage then says what it really covers (3 values:
// 0.75; 6 values: 0.969). Source: Hollander and Wolfe, Nonparametric
// Statistical Methods, section 3.6.
func MedianInterval(xs []float64, want float64) Interval {
	s := sorted(xs)
	n := len(s)
	best := Interval{s[0], s[n-1], coverage(n, 1)}
	for k := 2; 2*k <= n; k++ {
		c := coverage(n, k)
		if c < want {
			break
		}
		best = Interval{s[k-1], s[n-k], c}
	}
	return best
}

// coverage is P(x(k) <= median <= x(n+1-k)) = 1 - 2 P(Binomial(n, 1/2) < k).
func coverage(n, k int) float64 {
	tail, term := 0.0, math.Pow(0.5, float64(n))
	for i := range k {
		tail += term
		term *= float64(n-i) / float64(i+1)
	}
	return max(0, 1-2*tail)
}

// Ratios divides pair by pair: a[i]/b[i] for the repetitions that both have.
// Repetitions of one number ran next to each other, so drift of the machine
// cancels in the ratio. Pairs with a zero divisor are left out.
func Ratios(a, b []float64) []float64 {
	out := make([]float64, 0, min(len(a), len(b)))
	for i := range min(len(a), len(b)) {
		if b[i] != 0 {
			out = append(out, a[i]/b[i])
		}
	}
	return out
}

func mustHave(xs []float64) {
	if len(xs) == 0 {
		panic("BUG: statistics of no values")
	}
}

func sorted(xs []float64) []float64 {
	mustHave(xs)
	s := slices.Clone(xs)
	slices.Sort(s)
	return s
}
