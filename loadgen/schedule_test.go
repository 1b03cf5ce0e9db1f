package loadgen

import (
	"math"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// written returns the schedule of one sender up to end.
func written(a *arrivals, end time.Duration) []int64 {
	var out []int64
	var block [100]int64
	for {
		a.fill(block[:])
		for _, at := range block {
			if at >= int64(end) {
				return out
			}
			out = append(out, at)
		}
	}
}

// merged returns all senders' schedules up to end, in order.
func merged(p Profile, rate float64, n int, seed uint64, end time.Duration) []int64 {
	p.setDefaults()
	var all []int64
	for i := range n {
		all = append(all, written(newArrivals(p, rate, i, n, seed, end), end)...)
	}
	slices.Sort(all)
	return all
}

func TestScheduleUniformInterleaves(t *testing.T) {
	all := merged(Profile{}, 10_000, 3, 1, time.Second)
	if len(all) != 10_000 {
		t.Fatalf("%d arrivals in a second at 10,000/s", len(all))
	}
	for k, at := range all {
		if want := int64(k) * 100_000; at < want-1 || at > want+1 {
			t.Fatalf("arrival %d at %d ns, want %d", k, at, want)
		}
	}
}

func TestScheduleUniformDoesNotDrift(t *testing.T) {
	p := Profile{}
	p.setDefaults()
	a := newArrivals(p, 300_007, 0, 1, 1, time.Second)
	a.count = 600 * 300_007 // ten minutes in
	var at [1]int64
	a.fill(at[:])
	if d := at[0] - 600e9; d < -1000 || d > 1000 {
		t.Fatalf("off by %d ns after ten minutes", d)
	}
}

// TestSchedulePoisson: gaps of merged senders are exponential: mean and standard deviation equal, and the count per 10 ms has a
// variance equal to its mean. Bounds are about six standard errors at 40,000 arrivals.
func TestSchedulePoisson(t *testing.T) {
	all := merged(Profile{Arrivals: Poisson}, 20_000, 4, 42, 2*time.Second)
	if n := float64(len(all)); math.Abs(n-40_000) > 6*math.Sqrt(40_000) {
		t.Fatalf("%v arrivals, want about 40,000", n)
	}
	var sum, squares float64
	for i := 1; i < len(all); i++ {
		g := float64(all[i] - all[i-1])
		sum, squares = sum+g, squares+g*g
	}
	n := float64(len(all) - 1)
	mean := sum / n
	dev := math.Sqrt(squares/n - mean*mean)
	if r := dev / mean; math.Abs(r-1) > 0.04 {
		t.Fatalf("gap deviation is %.3f of its mean, want 1", r)
	}
	bins := make([]float64, 200)
	for _, at := range all {
		bins[at/10_000_000]++
	}
	var m, v float64
	for _, b := range bins {
		m += b / 200
	}
	for _, b := range bins {
		v += (b - m) * (b - m) / 199
	}
	if r := v / m; r < 0.5 || r > 1.7 {
		t.Fatalf("count variance is %.2f of its mean, want about 1", r)
	}
}

func TestScheduleBurst(t *testing.T) {
	p := Profile{Arrivals: Burst, BurstPeriod: 100 * time.Millisecond, BurstDuty: 0.25}
	all := merged(p, 10_000, 2, 1, time.Second)
	if n := len(all); n < 9_990 || n > 10_001 { // one on a boundary may round to either side
		t.Fatalf("%d arrivals, want the average rate 10,000", n)
	}
	for _, at := range all {
		if in := at % int64(100*time.Millisecond); in > int64(25*time.Millisecond) {
			t.Fatalf("arrival at %v lies in the off phase", time.Duration(at))
		}
	}
}

func TestScheduleStep(t *testing.T) {
	all := merged(Profile{Arrivals: Step, Steps: 5}, 10_000, 2, 1, 5*time.Second)
	per := make([]int, 5)
	for _, at := range all {
		per[at/int64(time.Second)]++
	}
	for k, n := range per {
		if want := 2_000 * (k + 1); n < want-2 || n > want+2 {
			t.Errorf("second %d holds %d arrivals, want %d", k, n, want)
		}
	}
}

func TestScheduleProperties(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		p := Profile{
			Arrivals:    rapid.SampledFrom([]Arrivals{Uniform, Poisson, Burst, Step}).Draw(rt, "arrivals"),
			BurstPeriod: time.Duration(rapid.IntRange(1e6, 2e9).Draw(rt, "period")),
			BurstDuty:   rapid.Float64Range(0.01, 1).Draw(rt, "duty"),
			Steps:       rapid.IntRange(1, 20).Draw(rt, "steps"),
		}
		rate := rapid.Float64Range(1, 1e6).Draw(rt, "rate")
		n := rapid.IntRange(1, 8).Draw(rt, "senders")
		i := rapid.IntRange(0, n-1).Draw(rt, "sender")
		seed := rapid.Uint64().Draw(rt, "seed")
		a, b := newArrivals(p, rate, i, n, seed, time.Second), newArrivals(p, rate, i, n, seed, time.Second)
		var x, y [500]int64
		a.fill(x[:])
		b.fill(y[:250])
		b.fill(y[250:])
		if x != y {
			rt.Fatal("the schedule depends on how it is read")
		}
		if !slices.IsSorted(x[:]) || x[0] < 0 {
			rt.Fatal("the schedule goes back in time")
		}
	})
}
