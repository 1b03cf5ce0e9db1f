package stats

import (
	"math"
	"math/rand/v2"
	"testing"

	"gonum.org/v1/gonum/stat"
)

// darwin is the difference in height, in eighths of an inch, of crossed and
// self-fertilised plants in fifteen pots.
var darwin = []float64{49, -67, 8, 16, 6, 23, 28, 41, 14, 29, 56, 24, 75, 60, -48}

// Fisher counted by hand that 863 of the 32,768 sign vectors give a sum of at
// least 314: The Design of Experiments, section 21.
func TestSignFlipCountsWhatFisherCounted(t *testing.T) {
	near(t, "one-sided", SignFlip(darwin, 1), 863.0/32768)
	worse := make([]float64, len(darwin))
	for i, v := range darwin {
		worse[i] = -v
	}
	if p := SignFlip(worse, 1); p < 0.97 {
		t.Errorf("the other direction has p = %v", p)
	}
}

func TestSignFlipReachesItsLeastValue(t *testing.T) {
	for n := 1; n <= 24; n++ {
		y := make([]float64, n)
		for i := range y {
			y[i] = 1 + float64(i)/10
		}
		if n <= 16 {
			near(t, "least", LeastP(n), math.Pow(2, -float64(n)))
			near(t, "one-sided", SignFlip(y, 3), LeastP(n))
			continue
		}
		// Some draws may be the observed signs: with 17 values 0.8 are expected.
		near(t, "least", LeastP(n), 1e-5)
		if p := SignFlip(y, 3); p < 1e-5 || p > 6e-5 {
			t.Errorf("%d values: p = %v", n, p)
		}
	}
	near(t, "all zero", SignFlip([]float64{0, 0, 0, 0}, 1), 1)
}

// studentised is the textbook statistic, the twin of comparing sums.
func studentised(y []float64) float64 {
	mean, sd := stat.MeanStdDev(y, nil)
	return mean / (sd / math.Sqrt(float64(len(y))))
}

func flipped(y []float64, v int) []float64 {
	out := make([]float64, len(y))
	for i := range y {
		out[i] = y[i]
		if v>>i&1 != 0 {
			out[i] = -y[i]
		}
	}
	return out
}

func TestSignFlipRanksLikeTheStudentisedMean(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	for range 50 {
		y := make([]float64, 9)
		for i := range y {
			y[i] = r.NormFloat64() + 0.3
		}
		one := 0
		for v := range 1 << len(y) {
			if studentised(flipped(y, v)) >= studentised(y)-1e-9 {
				one++
			}
		}
		near(t, "one-sided", SignFlip(y, 1), float64(one)/512)
	}
}

// Draws stand for the enumeration within their standard error, repeat with their
// seed, and differ without it.
func TestDrawnFlipsApproachTheExactValue(t *testing.T) {
	y := append([]float64(nil), darwin...)
	y = append(y, -20, 31, -9) // 18 values
	s, total, exact := newSubsets(y), 0.0, 0
	for _, v := range y {
		total += v
	}
	for v := range 1 << 18 {
		if s.sum(uint64(v)) <= 1e-9 {
			exact++
		}
	}
	want := float64(exact) / (1 << 18)
	got := SignFlip(y, 7)
	if se := math.Sqrt(want * (1 - want) / flipsDrawn); math.Abs(got-want) > 4*se {
		t.Errorf("drawn %v, exact %v, standard error %v", got, want, se)
	}
	if again := SignFlip(y, 7); again != got {
		t.Errorf("the same seed gave %v and %v", got, again)
	}
	if other := SignFlip(y, 8); other == got {
		t.Error("another seed gave the very same draws")
	}
}

// Under the null the p-value is at most alpha in at most alpha of all trials,
// whatever the values are, as long as the coin is thrown. With 10 values and
// alpha 0.05 the test is exact but for the steps of 1/1024.
func TestSignFlipKeepsItsLevel(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 5))
	const trials, alpha = 4000, 0.05
	alarms := 0
	for range trials {
		y := make([]float64, 10)
		for i := range y {
			y[i] = math.Exp(2 * r.NormFloat64()) // wildly skewed before the coin
			if r.IntN(2) == 0 {
				y[i] = -y[i]
			}
		}
		if SignFlip(y, 1) <= alpha {
			alarms++
		}
	}
	if sd := math.Sqrt(alpha * (1 - alpha) * trials); math.Abs(float64(alarms)-alpha*trials) > 4*sd {
		t.Errorf("%d alarms in %d trials at level %v", alarms, trials, alpha)
	}
}
