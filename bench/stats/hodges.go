package stats

import (
	"math"
	"math/bits"
	"slices"
)

// HodgesLehmann is the median of the n(n+1)/2 Walsh averages (y[i]+y[j])/2, i <= j:
// the centre of a symmetric distribution, nearly as precise as the mean when values
// are normal and much better when some are wild. Source: Hodges and Lehmann,
// Estimates of Location Based on Rank Tests, 1963.
func HodgesLehmann(y []float64) float64 {
	mustHave(y)
	walsh := make([]float64, 0, len(y)*(len(y)+1)/2)
	for i, a := range y {
		for _, b := range y[i:] {
			walsh = append(walsh, (a+b)/2)
		}
	}
	return Median(walsh)
}

// UpperBound is the one-sided upper bound of the shift of y at a confidence in
// (0, 1): the least shift d such that SignFlip of d-y still says that y lies below
// d. It is +Inf when so few values cannot reach the confidence: LeastP must not
// exceed 1-confidence.
func UpperBound(y []float64, confidence float64, seed uint64) float64 {
	_, high := bounds(y, 1-confidence, seed)
	return high
}

// ShiftInterval is the two-sided interval of the shift of y, with half of
// 1-confidence outside on either side.
func ShiftInterval(y []float64, confidence float64, seed uint64) (low, high float64) {
	return bounds(y, (1-confidence)/2, seed)
}

// bounds inverts the sign-flip test on either side, leaving alpha outside. No
// search is needed: flipping the subset J of y-d leaves the sum as large as before
// when mean(J) <= d, so the p-value of d is the share of subsets whose mean is at
// most d, and the bound is the k-th smallest of all subset means, k = alpha (m+1)
// for m vectors. Source: Hartigan, Using Subsample Values as Typical Values, 1969.
func bounds(y []float64, alpha float64, seed uint64) (low, high float64) {
	mustHave(y)
	k := int(alpha*float64(flipCount(len(y))+1) + 1e-6)
	if k < 1 {
		return math.Inf(-1), math.Inf(1)
	}
	s, least, most := newSubsets(y), smallest{k: k}, smallest{k: k}
	for j := range flips(len(y), seed) {
		if j == 0 { // a draw of the observed signs is as extreme as can be on either side
			least.add(math.Inf(-1))
			most.add(math.Inf(-1))
			continue
		}
		mean := s.sum(j) / float64(bits.OnesCount64(j))
		least.add(mean)
		most.add(-mean)
	}
	return least.kth(), -most.kth()
}

// smallest keeps the k smallest values of a stream in room for twice as many.
type smallest struct {
	k       int
	kept    []float64
	ceiling float64 // no value from it on can be among the k; valid once full
	full    bool
}

func (l *smallest) add(v float64) {
	if l.full && v >= l.ceiling {
		return
	}
	if l.kept = append(l.kept, v); len(l.kept) == 2*l.k {
		l.shrink()
	}
}

func (l *smallest) shrink() {
	slices.Sort(l.kept)
	l.kept = l.kept[:l.k]
	l.ceiling, l.full = l.kept[l.k-1], true
}

// kth is the k-th smallest; at least k values were added.
func (l *smallest) kth() float64 {
	l.shrink()
	return l.ceiling
}
