package stats

import "math"

// incompleteBeta is the regularised incomplete beta function I_x(a, b), the
// distribution function of Beta(a, b), by its continued fraction with Lentz's
// method. a and b are positive, x is in [0, 1]. Source: DLMF 8.17.22; Press and
// others, Numerical Recipes, section 6.4.
func incompleteBeta(a, b, x float64) float64 {
	switch {
	case x <= 0:
		return 0
	case x >= 1:
		return 1
	case x > (a+1)/(a+b+2): // the fraction converges fast on one side only
		return 1 - incompleteBeta(b, a, 1-x)
	}
	la, _ := math.Lgamma(a)
	lb, _ := math.Lgamma(b)
	lab, _ := math.Lgamma(a + b)
	front := math.Exp(lab - la - lb + a*math.Log(x) + b*math.Log1p(-x))
	return front * betaFraction(a, b, x) / a
}

func betaFraction(a, b, x float64) float64 {
	const tiny = 1e-300 // stands for a zero divisor
	nonzero := func(v float64) float64 {
		if math.Abs(v) < tiny {
			return tiny
		}
		return v
	}
	c, d := 1.0, 1/nonzero(1-(a+b)*x/(a+1))
	h := d
	for i := 1; i <= 10_000; i++ { // needs about sqrt(max(a, b)) turns
		m := float64(i)
		even := m * (b - m) * x / ((a + 2*m - 1) * (a + 2*m))
		d = 1 / nonzero(1+even*d)
		c = nonzero(1 + even/c)
		h *= c * d
		odd := -(a + m) * (a + b + m) * x / ((a + 2*m) * (a + 2*m + 1))
		d = 1 / nonzero(1+odd*d)
		c = nonzero(1 + odd/c)
		h *= c * d
		if math.Abs(c*d-1) < 1e-15 {
			break
		}
	}
	return h
}

// betaQuantile is the x with I_x(a, b) = p, by bisection.
func betaQuantile(a, b, p float64) float64 {
	return bisect(0, 1, func(x float64) bool { return incompleteBeta(a, b, x) < p })
}

// bisect narrows [low, high] to the place where below turns from true to false,
// down to 2^-80 of the start or to neighbouring numbers.
func bisect(low, high float64, below func(float64) bool) float64 {
	for range 80 {
		middle := low + (high-low)/2
		if below(middle) {
			low = middle
		} else {
			high = middle
		}
	}
	return low + (high-low)/2
}
