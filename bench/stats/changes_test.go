package stats

import (
	"math"
	"math/rand/v2"
	"testing"
)

// history is a series around the given levels, each held for so many points.
func history(r *rand.Rand, noise float64, held int, levels ...float64) []float64 {
	var h []float64
	for _, l := range levels {
		for range held {
			h = append(h, l*math.Exp(noise*r.NormFloat64()))
		}
	}
	return h
}

func TestChangesFindsSteps(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	found := Changes(history(r, 0.01, 30, 1, 1.05, 0.98), 1)
	if len(found) != 2 {
		t.Fatalf("found %+v", found)
	}
	for i, want := range []Change{{At: 30, Before: 1, After: 1.05}, {At: 60, Before: 1.05, After: 0.98}} {
		c := found[i]
		if abs(c.At-want.At) > 2 || math.Abs(c.Before/want.Before-1) > 0.01 || math.Abs(c.After/want.After-1) > 0.01 || c.P > 0.001 {
			t.Errorf("found %+v, want %+v", c, want)
		}
	}
	near(t, "size", Change{Before: 2, After: 3}.Size(), 0.5)
}

func abs(v int) int { return max(v, -v) }

// Five steps of 1 % pass every comparison of neighbours; the history tells of them.
func TestChangesSeesADrip(t *testing.T) {
	r := rand.New(rand.NewPCG(2, 2))
	found := Changes(history(r, 0.008, 20, 1, 1.01, 1.02, 1.03, 1.04, 1.05), 1)
	grown := 1.0
	for _, c := range found {
		if c.Size() < 0.02 {
			t.Errorf("a change of %v was told", c.Size())
		}
		grown *= 1 + c.Size()
	}
	if len(found) == 0 || grown < 1.025 || grown > 1.055 {
		t.Errorf("found %+v, grown %v", found, grown)
	}
}

// A certain step that nobody would act on is not told, and a larger one next to it
// keeps its place.
func TestChangesIgnoresSmallSteps(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 3))
	if found := Changes(history(r, 0.002, 40, 1, 1.012), 1); len(found) != 0 {
		t.Errorf("found %+v", found)
	}
	found := Changes(history(r, 0.002, 40, 1, 1.008, 1.06), 1)
	if len(found) != 1 || found[0].At != 80 || math.Abs(found[0].Before-1.004) > 0.006 {
		t.Errorf("found %+v", found)
	}
}

// One history in a thousand may be split by chance; outliers do not help.
func TestChangesOfNothing(t *testing.T) {
	r := rand.New(rand.NewPCG(4, 4))
	const histories = 300
	alarms := 0
	for i := range histories {
		h := history(r, 0.02, 60, 1)
		h[r.IntN(60)] *= 3
		if len(Changes(h, uint64(i))) > 0 {
			alarms++
		}
	}
	// Poisson with mean 0.3: more than 3 has a chance of 0.0003.
	if alarms > 3 {
		t.Errorf("%d of %d histories without a change have one", alarms, histories)
	}
	if found := Changes(make9(), 1); found != nil {
		t.Errorf("nine points hold a change: %+v", found)
	}
}

func make9() []float64 { return []float64{1, 1, 1, 1, 9, 9, 9, 9, 9} }

// split moves sums along; the twin computes each distance anew.
func TestSplitIsTheEnergyDistance(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 5))
	x := history(r, 0.3, 10, 1, 1.4)
	mean := func(a, b []float64, pairs float64) float64 {
		total := 0.0
		for _, v := range a {
			for _, w := range b {
				total += math.Abs(v - w)
			}
		}
		return total / pairs
	}
	best, at := math.Inf(-1), 0
	for s := 5; s <= 15; s++ {
		a, b := float64(s), float64(20-s)
		q := a * b / (a + b) * (2*mean(x[:s], x[s:], a*b) - mean(x[:s], x[:s], a*(a-1)) - mean(x[s:], x[s:], b*(b-1)))
		if q > best {
			best, at = q, s
		}
	}
	gotAt, got := split(x)
	if gotAt != at {
		t.Errorf("split at %d, want %d", gotAt, at)
	}
	near(t, "energy", got, best)
}
