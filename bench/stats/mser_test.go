package stats

import (
	"math"
	"math/rand/v2"
	"testing"
)

func series(n int, at func(i int) float64) []float64 {
	r := rand.New(rand.NewPCG(9, 9))
	xs := make([]float64, n)
	for i := range xs {
		xs[i] = at(i) + r.NormFloat64()
	}
	return xs
}

func TestMSERCutsTheWarmUp(t *testing.T) {
	for _, c := range []struct {
		name      string
		n         int
		at        func(i int) float64
		from, to  int // where the cut may be
		wantState bool
	}{
		{"steady from the start", 200, func(int) float64 { return 100 }, 0, 40, true},
		{"slow start of 60", 300, func(i int) float64 { return 100 - 60*math.Exp(-float64(i)/15) }, 35, 90, true},
		{"step at 50", 300, func(i int) float64 { return 100 - 20*float64(max(0, min(1, 50-i))) }, 50, 150, true},
		{"still rising", 200, func(i int) float64 { return float64(i) }, 0, 200, false},
		{"step in the last third", 300, func(i int) float64 { return 100 + 20*float64(max(0, min(1, i-200))) }, 0, 300, false},
		{"too short", 49, func(int) float64 { return 100 }, 0, 0, false},
	} {
		cut, steady := MSER(series(c.n, c.at), 5)
		if steady != c.wantState || cut < c.from || cut > c.to {
			t.Errorf("%s: cut %d, steady %v", c.name, cut, steady)
		}
		if cut%5 != 0 {
			t.Errorf("%s: cut %d is inside a batch", c.name, cut)
		}
	}
}

// The formula on paper: ten batches 0 10 10 ... of which the first goes.
func TestMSEROfOneBadBatch(t *testing.T) {
	xs := make([]float64, 50)
	for i := range xs[5:] {
		xs[i+5] = 10
	}
	if cut, steady := MSER(xs, 5); cut != 5 || !steady {
		t.Errorf("cut %d, steady %v", cut, steady)
	}
}
