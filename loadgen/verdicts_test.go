package loadgen

import (
	"math/rand/v2"
	"strings"
	"testing"
)

func TestSteadyState(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	noisy := func(n int, at func(i int) float64) []float64 {
		x := make([]float64, n)
		for i := range x {
			x[i] = at(i) * (1 + 0.02*rng.NormFloat64())
		}
		return x
	}
	flat := func(int) float64 { return 1000 }
	for _, c := range []struct {
		name    string
		x       []float64
		checked bool
		stable  bool
		cut     [2]int
	}{
		{"too short", noisy(9, flat), false, false, [2]int{0, 0}},
		{"flat", noisy(30, flat), true, true, [2]int{0, 10}},
		{"flat, long", noisy(300, flat), true, true, [2]int{0, 100}},
		{"warms up for 5 s", noisy(30, func(i int) float64 { return 1000 - 150*float64(max(0, 5-i)) }), true, true, [2]int{3, 12}},
		{"warms up for 20 s", noisy(200, func(i int) float64 { return 1000 - 40*float64(max(0, 20-i)) }), true, true, [2]int{15, 60}},
		{"never settles", noisy(40, func(i int) float64 { return 100 + 50*float64(i) }), true, false, [2]int{21, 40}},
	} {
		s := steadyState(c.x)
		if s.Checked != c.checked || s.Stable != c.stable || s.TransientS < c.cut[0] || s.TransientS > c.cut[1] {
			t.Errorf("%s: %+v, want checked %v, stable %v, transient %v s", c.name, s, c.checked, c.stable, c.cut)
		}
	}
}

func TestBottleneck(t *testing.T) {
	onTime := lag{}
	blocked := lag{late: 900, lateFor: 10e9, blocked: 8e9, unsent: 5}
	lazy := lag{late: 900, lateFor: 10e9, blocked: 1e9, final: 200e6}
	for _, c := range []struct {
		name string
		e    evidence
		want Bottleneck
		why  string
	}{
		{"open, on time", evidence{openLoop: true, rate: 100, capacity: 1000, sent: 1000, lag: onTime, ioShare: -1}, BottleneckNone, ""},
		{"open, above half of the capacity", evidence{openLoop: true, rate: 501, capacity: 1000, sent: 1000, ioShare: -1}, BottleneckGenerator, "null sink"},
		{"open, waiting for answers", evidence{openLoop: true, rate: 100, sent: 1000, lag: blocked, ioShare: -1}, BottleneckCluster, "never sent"},
		{"open, late with free slots", evidence{openLoop: true, rate: 100, sent: 1000, lag: lazy, ioShare: -1}, BottleneckGenerator, "free slots"},
		{"open, few late", evidence{openLoop: true, rate: 100, sent: 1000, lag: lag{late: 40}, ioShare: -1}, BottleneckNone, ""},
		{"open, disk busy", evidence{openLoop: true, rate: 100, sent: 1000, lag: blocked, ioShare: 0.9}, BottleneckDisk, "disk"},
		{"open, on time with a busy disk", evidence{openLoop: true, rate: 100, sent: 1000, ioShare: 0.9}, BottleneckNone, ""},
		{"closed", evidence{closedLoop: true, rate: 100, capacity: 1000, ioShare: 0.9}, BottleneckNone, ""},
		{"closed, half of it the client's", evidence{closedLoop: true, rate: 600, capacity: 1000, ioShare: -1}, BottleneckNone, ""},
		{"closed, all of it the client's", evidence{closedLoop: true, rate: 901, capacity: 1000, ioShare: -1}, BottleneckGenerator, "null sink"},
		{"saturating", evidence{rate: 100, capacity: 1000, ioShare: 0.1}, BottleneckCluster, "saturating"},
		{"saturating, disk full", evidence{rate: 100, capacity: 1000, storageErrors: true, ioShare: -1}, BottleneckDisk, "storage"},
	} {
		got, why := c.e.bottleneck()
		if got != c.want || !strings.Contains(why, c.why) {
			t.Errorf("%s: %s (%s), want %s (%s)", c.name, got, why, c.want, c.why)
		}
	}
}

// TestPerSecondIsTheWindows: neither the interval that began in the warm-up nor the drain's belongs to the steady state.
func TestPerSecondIsTheWindows(t *testing.T) {
	tl := &tally{}
	for s := range int64(5) {
		tl.intervals = append(tl.intervals, interval{start: s * 1e9, end: (s + 1) * 1e9, count: epoch{acked: s}})
	}
	if got := tl.perSecond(window{warmEnd: 1e9, end: 4e9}); len(got) != 3 || got[0] != 1 || got[2] != 3 {
		t.Fatalf("%v, want 1, 2, 3", got)
	}
}
