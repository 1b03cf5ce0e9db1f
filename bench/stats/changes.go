package stats

import (
	"math"
	"math/rand/v2"
	"slices"
)

const (
	changeDraws = 1_999
	// changeP is the least surprise that counts as a change, changeSize the least
	// step, as a ratio: below it nobody would act.
	changeP    = 0.001
	changeSize = 1.02
	// changeSide is how many points either side of a change must have.
	changeSide = 5
)

// Change is a place where a history moved: from the point At on, counted from 0,
// it is around After, and back to the change before it was around Before; both are
// medians. P is the p-value with which the place was found.
type Change struct {
	At            int
	Before, After float64
	P             float64
}

// Size is After/Before - 1.
func (c Change) Size() float64 { return c.After/c.Before - 1 }

// Changes finds where a history of ratios moved to another level, in order. The
// ratios are positive and taken against one pinned reference. A change is told
// when p <= 0.001 and the medians on both sides differ by at least 2 %; a slow drip
// of small steps shows as one or more changes that are as large together. The last
// five points of a history cannot hold a change yet.
//
// It is hierarchical E-divisive on the logarithms. A segment is split where the
// energy distance between its two parts, n1 n2/(n1+n2) times
//
//	2 mean|x-y| - mean|x-x'| - mean|y-y'|
//
// is largest, if at most one in a thousand shuffles of the segment has a split as
// good; then each part is looked at by itself. Splits that leave less than 2 %
// between neighbours are taken back, smallest first. It was chosen over grouping
// by description length since that presumes normal noise and gives no p-value,
// while distances let an outlier count once and not squared. Shuffling presumes
// that the points of one level are independent of each other. The work is
// quadratic in the length, times 2,000 for each change.
//
// Source: Matteson and James, A Nonparametric Approach for Multiple Change Point
// Analysis, 2014, with alpha = 1.
func Changes(ratios []float64, seed uint64) []Change {
	logs := make([]float64, len(ratios))
	for i, v := range ratios {
		if !(v > 0) || math.IsInf(v, 1) {
			panic("BUG: a ratio that is not positive")
		}
		logs[i] = math.Log(v)
	}
	return large(ratios, divide(logs, 0, seed))
}

// divide finds the changes of a segment whose first point is from.
func divide(logs []float64, from int, seed uint64) []Change {
	at, best := split(logs)
	if at == 0 {
		return nil
	}
	r := rand.New(rand.NewPCG(seed, uint64(from)<<32|uint64(len(logs))))
	shuffled, as := slices.Clone(logs), 0
	for range changeDraws {
		r.Shuffle(len(shuffled), func(i, j int) { shuffled[i], shuffled[j] = shuffled[j], shuffled[i] })
		if _, q := split(shuffled); q >= best*(1-tie) {
			if as++; float64(as+1) > changeP*(changeDraws+1) {
				return nil // it can no longer become significant
			}
		}
	}
	found := divide(logs[:at], from, seed)
	found = append(found, Change{At: from + at, P: float64(as+1) / (changeDraws + 1)})
	return append(found, divide(logs[at:], from+at, seed)...)
}

// split is the place with the largest scaled energy distance, 0 if the segment is
// too short. Each step moves one point from the right to the left.
func split(x []float64) (at int, best float64) {
	n := len(x)
	var left, right, across float64 // sums of distances of pairs
	for i := range x {
		for _, v := range x[:i] {
			right += math.Abs(x[i] - v)
		}
	}
	for i := 0; i < n-changeSide; i++ {
		var toLeft, toRight float64
		for _, v := range x[:i] {
			toLeft += math.Abs(x[i] - v)
		}
		for _, v := range x[i+1:] {
			toRight += math.Abs(x[i] - v)
		}
		left, right, across = left+toLeft, right-toRight, across-toLeft+toRight
		a, b := float64(i+1), float64(n-i-1)
		if i+1 < changeSide {
			continue
		}
		q := a * b / (a + b) * (2*across/(a*b) - 2*left/(a*(a-1)) - 2*right/(b*(b-1)))
		if at == 0 || q > best {
			at, best = i+1, q
		}
	}
	return at, best
}

// large drops the changes below changeSize, smallest first, and fills in levels.
func large(ratios []float64, changes []Change) []Change {
	for {
		smallest, at := math.Inf(1), -1
		for i := range changes {
			from, to := 0, len(ratios)
			if i > 0 {
				from = changes[i-1].At
			}
			if i+1 < len(changes) {
				to = changes[i+1].At
			}
			c := &changes[i]
			c.Before, c.After = Median(ratios[from:c.At]), Median(ratios[c.At:to])
			if step := math.Abs(math.Log(c.After / c.Before)); step < smallest {
				smallest, at = step, i
			}
		}
		if at < 0 || smallest >= math.Log(changeSize) {
			return changes
		}
		changes = slices.Delete(changes, at, at+1)
	}
}
