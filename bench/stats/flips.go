package stats

import (
	"iter"
	"math"
	"math/rand/v2"
)

// FlipsMax is the most paired values that a sign vector has room for.
const FlipsMax = 64

const (
	// flipsEnumerated is the most values whose sign vectors are all looked at.
	flipsEnumerated = 16
	// flipsDrawn is how many sign vectors stand for all of them above that.
	flipsDrawn = 99_999
	// tie is how far two sums of the same values may be apart by rounding alone,
	// relative to the sum of their magnitudes.
	tie = 1e-12
)

// flips gives the sign vectors that n values are compared under, without the one
// that was observed: all 2^n - 1 up to 16 values, else 99,999 seeded draws. A set
// bit i says that value i is flipped; there are no others.
func flips(n int, seed uint64) iter.Seq[uint64] {
	if n > FlipsMax {
		panic("BUG: more paired values than a sign vector holds")
	}
	if n <= flipsEnumerated {
		return func(yield func(uint64) bool) {
			for v := uint64(1); v < 1<<n; v++ {
				if !yield(v) {
					return
				}
			}
		}
	}
	return func(yield func(uint64) bool) {
		r := rand.NewPCG(seed, uint64(n))
		for range flipsDrawn {
			if !yield(r.Uint64() >> (64 - n)) {
				return
			}
		}
	}
}

// flipCount is the number of vectors that flips gives for n values.
func flipCount(n int) int {
	if n <= flipsEnumerated {
		return 1<<n - 1
	}
	return flipsDrawn
}

// share turns a count of vectors that were at least as extreme into a p-value,
// (r+1)/(m+1): the observed vector is one of those that the coin could have
// thrown. It is never zero, and exact whether the m others are all there are or a
// sample of them. Source: Phipson and Smyth, Permutation P-values Should Never Be
// Zero, 2010.
func share(extreme, n int) float64 {
	return float64(extreme+1) / float64(flipCount(n)+1)
}

// subsets holds the sums of all subsets of eight values at a time, so that the sum
// over any subset is one look-up for each eight.
type subsets [][256]float64

func newSubsets(y []float64) subsets {
	s := make(subsets, (len(y)+7)/8)
	for i, v := range y {
		t, bit := &s[i/8], 1<<(i%8)
		for b := range 256 {
			if b&bit != 0 {
				t[b] += v
			}
		}
	}
	return s
}

// sum adds the values whose bit is set in j.
func (s subsets) sum(j uint64) float64 {
	total := 0.0
	for c := range s {
		total += s[c][byte(j)]
		j >>= 8
	}
	return total
}

func sum(y []float64) (total, magnitude float64) {
	for _, v := range y {
		total += v
		magnitude += math.Abs(v)
	}
	return total, magnitude
}

// LeastP is the least one-sided p-value that n paired values can reach: 2^-n up to
// 16 values, 1e-5 above, where the draws may happen not to reach it. Two-sided, up
// to 16 values, it is twice that.
func LeastP(n int) float64 { return share(0, n) }
