package stats

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
)

// ErrUSL says that the points cannot carry a fit: fewer than three loads, or a
// value that is not positive.
var ErrUSL = errors.New("no scalability fit")

// USLPoint is the throughput X, in anything per second, that one run reached under
// load N, which counts clients, partitions or requests in flight, from 1 up.
type USLPoint struct{ N, X float64 }

// USL is a fit of the Universal Scalability Law,
//
//	X(N) = lambda N / (1 + sigma (N-1) + kappa N (N-1)).
type USL struct {
	Lambda float64 // throughput at N = 1
	Sigma  float64 // contention: the share that is done one after the other
	Kappa  float64 // coherence: the cost of every pair talking to each other
	// SigmaRange and KappaRange are percentile bootstrap intervals over runs, low
	// and high. They are 0 and +Inf with less than four runs more than loads.
	SigmaRange, KappaRange [2]float64
	// Peak is the load of the highest throughput, sqrt((1-sigma)/kappa), or 0 when
	// KappaRange reaches 0: then the runs do not show that there is a peak.
	Peak float64
	// Residuals are (X - fit)/fit of the points, in their order. A pattern in them
	// says that the law does not describe the system, whatever the intervals say.
	Residuals []float64
}

// At is the fitted throughput under load n >= 1.
func (u USL) At(n float64) float64 {
	return u.Lambda * n / (1 + u.Sigma*(n-1) + u.Kappa*n*(n-1))
}

const (
	uslDraws = 999
	// uslSpare is how many runs there must be beyond one for each load before the
	// noise is known well enough for an interval.
	uslSpare = 4
)

// FitUSL fits the law to runs at three loads or more. N/X = a + b(N-1) + c N(N-1)
// is linear, so a, b, c >= 0 come from least squares with the active sets
// enumerated, and lambda = 1/a, sigma = b/a, kappa = c/a are never negative. The
// residuals are relative, because the noise of a throughput grows with it. For the
// same reason the bootstrap gives every run the mean of its load and the deviation
// of any run, in logarithms: the few runs of one load would know too little of
// their own noise, and the largest load decides kappa nearly alone. confidence is
// in (0, 1). Error: ErrUSL.
//
// Source: Gunther, Guerrilla Capacity Planning, 2007; for the bootstrap Davison
// and Hinkley, Bootstrap Methods and their Application, section 6.2.3, with the
// deviations of n runs from their own mean widened by sqrt(n/(n-1)).
func FitUSL(points []USLPoint, confidence float64, seed uint64) (USL, error) {
	levels := make(map[float64][]int)
	for i, p := range points {
		if !(p.N >= 1 && p.X > 0) || math.IsInf(p.N, 0) || math.IsInf(p.X, 0) {
			return USL{}, fmt.Errorf("%w: throughput %v under load %v", ErrUSL, p.X, p.N)
		}
		levels[p.N] = append(levels[p.N], i)
	}
	if len(levels) < 3 {
		return USL{}, fmt.Errorf("%w: %d loads, at least 3", ErrUSL, len(levels))
	}
	u := solveUSL(points)
	for _, p := range points {
		u.Residuals = append(u.Residuals, p.X/u.At(p.N)-1)
	}
	u.SigmaRange, u.KappaRange = rangesUSL(points, levels, confidence, seed)
	if u.KappaRange[0] > 0 {
		u.Peak = max(1, math.Sqrt(max(0, 1-u.Sigma)/u.Kappa))
	}
	return u, nil
}

// rangesUSL bootstraps sigma and kappa; levels lists the points of each load.
func rangesUSL(points []USLPoint, levels map[float64][]int, confidence float64, seed uint64) (sigma, kappa [2]float64) {
	if len(points) < len(levels)+uslSpare {
		return [2]float64{0, math.Inf(1)}, [2]float64{0, math.Inf(1)}
	}
	centre, deviations := deviationsUSL(points, levels)
	r := rand.New(rand.NewPCG(seed, uint64(len(points))))
	drawn := slices.Clone(points)
	sigmas, kappas := make([]float64, uslDraws), make([]float64, uslDraws)
	for d := range uslDraws {
		for i := range drawn {
			drawn[i].X = math.Exp(centre[i] + deviations[r.IntN(len(deviations))])
		}
		u := solveUSL(drawn)
		sigmas[d], kappas[d] = u.Sigma, u.Kappa
	}
	low, high := (1-confidence)/2, (1+confidence)/2
	return [2]float64{Quantile(sigmas, low), Quantile(sigmas, high)},
		[2]float64{Quantile(kappas, low), Quantile(kappas, high)}
}

// deviationsUSL is, in logarithms, the mean throughput under the load of each
// point, and how far the runs of loads that have several are from it.
func deviationsUSL(points []USLPoint, levels map[float64][]int) (centre, deviations []float64) {
	centre = make([]float64, len(points))
	for _, p := range points {
		at, mean := levels[p.N], 0.0
		for _, i := range at {
			mean += math.Log(points[i].X) / float64(len(at))
		}
		for _, i := range at {
			centre[i] = mean
		}
	}
	for i, p := range points { // in the order of the points, not of the map
		if n := float64(len(levels[p.N])); n > 1 {
			deviations = append(deviations, math.Sqrt(n/(n-1))*(math.Log(p.X)-centre[i]))
		}
	}
	return centre, deviations
}

// solveUSL is the non-negative least-squares solution. The problem is convex, so
// the best among the unconstrained solutions on each set of columns that are not
// negative is the solution; a is always there, or nothing would cost anything.
func solveUSL(points []USLPoint) USL {
	one, all := make([]float64, len(points)), [3][]float64{}
	for i, p := range points {
		one[i] = 1
		for c, v := range [3]float64{1, p.N - 1, p.N * (p.N - 1)} {
			all[c] = append(all[c], v*p.X/p.N)
		}
	}
	least, best := math.Inf(1), [3]float64{}
	for _, set := range [][]int{{0}, {0, 1}, {0, 2}, {0, 1, 2}} {
		columns := make([][]float64, len(set))
		for k, c := range set {
			columns[k] = all[c]
		}
		x, left := leastSquares(columns, one)
		if left >= least || slices.Min(x) < 0 {
			continue
		}
		least, best = left, [3]float64{}
		for k, c := range set {
			best[c] = x[k]
		}
	}
	return USL{Lambda: 1 / best[0], Sigma: best[1] / best[0], Kappa: best[2] / best[0]}
}
