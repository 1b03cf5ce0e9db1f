package stats

import "math"

// StudentQuantile is the p-quantile of Student's t with df > 0 degrees of freedom,
// p in (0, 1). With x = df/(df+t^2), the chance of |T| > t is I_x(df/2, 1/2).
// Source: DLMF 8.17; Abramowitz and Stegun 26.7.
func StudentQuantile(p, df float64) float64 {
	if p < 0.5 {
		return -StudentQuantile(1-p, df)
	}
	beyond := 2 * (1 - p)
	if beyond > 0.5 { // near the middle, where x is near 1, t^2/(df+t^2) is precise
		y := betaQuantile(0.5, df/2, 1-beyond)
		return math.Sqrt(df * y / (1 - y))
	}
	x := betaQuantile(df/2, 0.5, beyond)
	return math.Sqrt(df * (1 - x) / x)
}

// NormalQuantile is the p-quantile of the standard normal distribution, p in (0, 1).
func NormalQuantile(p float64) float64 { return -math.Sqrt2 * math.Erfcinv(2*p) }

// normalShare is its distribution function.
func normalShare(z float64) float64 { return math.Erfc(-z/math.Sqrt2) / 2 }

// MeanDeviation is the mean of xs and their standard deviation, with n-1 below the
// root; the deviation of one value is NaN.
func MeanDeviation(xs []float64) (mean, deviation float64) {
	mustHave(xs)
	total, _ := sum(xs)
	mean = total / float64(len(xs))
	squares := 0.0
	for _, x := range xs {
		squares += (x - mean) * (x - mean)
	}
	return mean, math.Sqrt(squares / float64(len(xs)-1))
}

// Predict is where one more value like those in past falls with the wanted chance,
// in (0, 1). It is the range of past once so many are known that this range has
// the chance by itself, (n-1)/(n+1), whatever the distribution: 1,999 values for
// 99.9 %. Before, it is mean ± t sd sqrt(1+1/n) with n-1 degrees of freedom, which
// is exact for normal values. With fewer than two it is everything.
// Source: Hahn and Meeker, Statistical Intervals, sections 4.8 and 5.4.
func Predict(past []float64, chance float64) (low, high float64) {
	n := float64(len(past))
	if n < 2 {
		return math.Inf(-1), math.Inf(1)
	}
	if (n-1)/(n+1) >= chance {
		s := sorted(past)
		return s[0], s[len(s)-1]
	}
	mean, deviation := MeanDeviation(past)
	reach := StudentQuantile((1+chance)/2, n-1) * deviation * math.Sqrt(1+1/n)
	return mean - reach, mean + reach
}
