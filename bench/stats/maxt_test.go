package stats

import (
	"math"
	"math/rand/v2"
	"slices"
	"strconv"
	"testing"
)

// slowMaxT is the step-down procedure as the book writes it, with the studentised
// mean of every flipped metric.
func slowMaxT(metrics [][]float64) []float64 {
	k, n := len(metrics), len(metrics[0])
	t0 := make([]float64, k)
	for i, y := range metrics {
		t0[i] = studentised(y)
	}
	p, floor := make([]float64, k), 0.0
	for left := k; left > 0; left-- {
		// The largest that is not done yet, against the largest of those.
		at, done := -1, func(i int) bool { return p[i] > 0 }
		for i := range t0 {
			if !done(i) && (at < 0 || t0[i] > t0[at]) {
				at = i
			}
		}
		hits := 0
		for v := range 1 << n {
			most := math.Inf(-1)
			for i, y := range metrics {
				if !done(i) {
					most = max(most, studentised(flipped(y, v)))
				}
			}
			if most >= t0[at]-1e-9 {
				hits++
			}
		}
		floor = max(floor, float64(hits)/float64(int(1)<<n))
		p[at] = floor
	}
	return p
}

func TestMaxTAgreesWithTheBook(t *testing.T) {
	r := rand.New(rand.NewPCG(2, 3))
	for range 20 {
		metrics := make([][]float64, 4)
		for i := range metrics {
			metrics[i] = make([]float64, 8)
			for b := range metrics[i] {
				metrics[i][b] = (r.NormFloat64() + float64(i)/3) * math.Pow(10, float64(i))
			}
		}
		got, want := MaxT(metrics, 1), slowMaxT(metrics)
		for i := range want {
			near(t, "adjusted p", got[i], want[i])
		}
	}
}

func TestMaxTOfOneMetricIsSignFlip(t *testing.T) {
	near(t, "one metric", MaxT([][]float64{darwin}, 1)[0], SignFlip(darwin, 1))
	near(t, "copies cost nothing", slices.Max(MaxT([][]float64{darwin, darwin, darwin}, 1)), SignFlip(darwin, 1))
	long := append(slices.Clone(darwin), darwin...)
	near(t, "drawn", MaxT([][]float64{long}, 9)[0], SignFlip(long, 9))
	p := MaxT([][]float64{darwin, make([]float64, len(darwin))}, 1)
	near(t, "nothing happened", p[1], 1)
}

// Four null metrics: without the adjustment one in 18 trials would alarm at 1.4 %
// each; with it the family keeps 5 %, and metrics that move together do not make
// it lazy.
func TestMaxTKeepsTheFamilyLevel(t *testing.T) {
	r := rand.New(rand.NewPCG(4, 4))
	const trials, alpha = 3000, 0.05
	for _, common := range []float64{0, 0.9} {
		alarms, raw := 0, 0
		for range trials {
			metrics := make([][]float64, 4)
			for i := range metrics {
				metrics[i] = make([]float64, 8)
			}
			for b := range 8 {
				shared := r.NormFloat64()
				for i := range metrics {
					metrics[i][b] = math.Sqrt(common)*shared + math.Sqrt(1-common)*r.NormFloat64()
				}
			}
			if slices.Min(MaxT(metrics, 1)) <= alpha {
				alarms++
			}
			for _, y := range metrics {
				if SignFlip(y, 1) <= alpha {
					raw++
					break
				}
			}
		}
		sd := math.Sqrt(alpha * (1 - alpha) * trials)
		if math.Abs(float64(alarms)-alpha*trials) > 4*sd {
			t.Errorf("correlation %v: %d family alarms in %d at level %v", common, alarms, trials, alpha)
		}
		if common == 0 && raw < 2*alarms {
			t.Errorf("unadjusted alarms %d against %d: the trial shows nothing", raw, alarms)
		}
	}
}

func BenchmarkMaxT(b *testing.B) {
	for _, n := range []int{12, 16, 24} {
		b.Run(strconv.Itoa(n), func(b *testing.B) {
			y := append(slices.Clone(darwin), darwin...)[:n]
			for b.Loop() {
				MaxT([][]float64{y, y, y, y}, 1)
			}
		})
	}
}
