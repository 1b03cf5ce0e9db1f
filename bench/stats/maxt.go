package stats

import (
	"cmp"
	"math"
	"slices"
)

// MaxT is one p-value for each metric, one-sided and adjusted so that the chance
// of any false alarm among all of them is at most the level they are compared
// with. metrics[i][b] is metric i in block b, positive is worse; every metric has
// the same blocks. All metrics are flipped together, so what they have in common
// is used: four copies of one metric cost nothing.
//
// It is the step-down maxT of Westfall and Young, Resampling-Based Multiple
// Testing, 1993, algorithm 4.1: the largest statistic is compared with the largest
// of all metrics under each sign vector, the next with the largest of the rest,
// and no p-value is less than that of a larger statistic. Statistics are compared
// as u = sum/sqrt(n Q), which orders metrics as the studentised mean does, see
// SignFlip. A metric that is zero in every block has p = 1.
func MaxT(metrics [][]float64, seed uint64) []float64 {
	if len(metrics) == 0 {
		return nil
	}
	n := len(metrics[0])
	observed, tables := make([]float64, len(metrics)), make([]subsets, len(metrics))
	for i, y := range metrics {
		mustHave(y)
		if len(y) != n {
			panic("BUG: metrics with different numbers of blocks")
		}
		unit := scaled(y)
		observed[i], _ = sum(unit)
		tables[i] = newSubsets(unit)
	}
	order := descending(observed)
	extreme := make([]int, len(metrics))
	// Unit vectors have magnitudes up to sqrt(n), which bounds the rounding.
	slack := tie * math.Sqrt(float64(n))
	for j := range flips(n, seed) {
		largest := math.Inf(-1)
		for k := len(order) - 1; k >= 0; k-- {
			i := order[k]
			largest = max(largest, observed[i]-2*tables[i].sum(j))
			if largest >= observed[i]-slack {
				extreme[i]++
			}
		}
	}
	p, floor := make([]float64, len(metrics)), 0.0
	for _, i := range order {
		floor = max(floor, share(extreme[i], n))
		p[i] = floor
	}
	return p
}

// scaled is y divided by its length as a vector, or all zero if it has none.
func scaled(y []float64) []float64 {
	q := 0.0
	for _, v := range y {
		q = math.Hypot(q, v)
	}
	unit := make([]float64, len(y))
	if q > 0 {
		for i, v := range y {
			unit[i] = v / q
		}
	}
	return unit
}

// descending is the order of indexes that goes from the largest value down.
func descending(xs []float64) []int {
	order := make([]int, len(xs))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(xs[b], xs[a]) })
	return order
}
