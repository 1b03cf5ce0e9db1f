package gate

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

// noise gives the logarithms of what disturbs one run after the other.
type noise func(r *rand.Rand) func() float64

func normal(sigma float64) noise {
	return func(r *rand.Rand) func() float64 {
		return func() float64 { return sigma * r.NormFloat64() }
	}
}

// heavy is Student's t with 3 degrees of freedom, scaled to sigma.
func heavy(sigma float64) noise {
	return func(r *rand.Rand) func() float64 {
		return func() float64 {
			chi := 0.0
			for range 3 {
				z := r.NormFloat64()
				chi += z * z
			}
			return sigma / math.Sqrt(3) * r.NormFloat64() / math.Sqrt(chi/3)
		}
	}
}

// drifting gets slower by 0.5 % a run, and finds its caches cold in the first run
// of each block. A block cancels the first, and only the coin the second.
func drifting(sigma float64) noise {
	return func(r *rand.Rand) func() float64 {
		run := 0
		return func() float64 {
			level := 0.005*float64(run) + sigma*r.NormFloat64()
			if run%4 == 0 {
				level += 0.03
			}
			run++
			return level
		}
	}
}

// correlated is AR(1) with coefficient 0.8.
func correlated(sigma float64) noise {
	return func(r *rand.Rand) func() float64 {
		level := sigma * r.NormFloat64()
		return func() float64 {
			level = 0.8*level + 0.6*sigma*r.NormFloat64()
			return level
		}
	}
}

// stepping moves to another level for good before one run in ten.
func stepping(sigma float64) noise {
	return func(r *rand.Rand) func() float64 {
		level := 0.0
		return func() float64 {
			if r.IntN(10) == 0 {
				level += 3 * sigma * r.NormFloat64()
			}
			return level + sigma/3*r.NormFloat64()
		}
	}
}

// bench is a harness that does what it should, on a machine made of noise.
type bench struct {
	rule    Rule
	noise   noise
	worse   []float64 // by metric, how much worse head really is; nil is not at all
	rand    *rand.Rand
	streams []func() float64
	runs    int64
}

func newBench(rule Rule, n noise, worse []float64, seed uint64) *bench {
	b := &bench{rule: rule, noise: n, worse: worse, rand: rand.New(rand.NewPCG(seed, 7))}
	for range rule.Metrics {
		b.streams = append(b.streams, n(b.rand))
	}
	return b
}

func (b *bench) block(number int, s Slot) Block {
	block := Block{Number: number, Null: s.Null, Order: s.Order}
	first := b.runs
	for i := range s.Order {
		b.runs++
		side := block.side(i)
		r := Run{Commit: "base", Layout: 2*first + int64(side) + 1, At: b.runs, Values: make(map[string]float64)}
		if side == 1 && !s.Null {
			r.Commit = "head"
		}
		for m, metric := range b.rule.Metrics {
			log := b.streams[m]()
			if r.Commit == "head" && b.worse != nil {
				if change := math.Log1p(b.worse[m]); metric.Higher {
					log -= change
				} else {
					log += change
				}
			}
			r.Values[metric.Name] = 100 * math.Exp(log)
		}
		block.Runs = append(block.Runs, r)
	}
	return block
}

// evidence is everything up to the last look, and a confirmation, which Judge
// takes notice of only if there is a candidate.
func (b *bench) evidence() *Evidence {
	e := &Evidence{Base: "base", Head: "head", Seed: b.rand.Uint64(), ConfirmSeed: b.rand.Uint64()}
	for n := range b.rule.Slots(b.rule.Looks[len(b.rule.Looks)-1]) {
		e.Blocks = append(e.Blocks, b.block(n, b.rule.Slot(e.Seed, n)))
	}
	for n := range b.rule.Confirm {
		e.Confirm = append(e.Confirm, b.block(n, Slot{Order: Coin(e.ConfirmSeed, n)}))
	}
	return e
}

func judged(t *testing.T, r Rule, e *Evidence) *Decision {
	t.Helper()
	d, err := Judge(r, e)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// tally counts outcomes of trials.
type tally struct {
	trials     int
	candidates map[int]int // by look
	verdicts   map[Verdict]int
	passes     map[int]int // by look
}

func simulate(t *testing.T, trials int, rule Rule, n noise, worse []float64, seed uint64) tally {
	t.Helper()
	c := tally{trials: trials, candidates: make(map[int]int), verdicts: make(map[Verdict]int), passes: make(map[int]int)}
	for i := range trials {
		d := judged(t, rule, newBench(rule, n, worse, seed+uint64(i)).evidence())
		switch {
		case slices.ContainsFunc(d.Findings, func(f Finding) bool { return f.Candidate }):
			c.candidates[d.Look]++
		case d.Verdict == Pass:
			c.passes[d.Look]++
		}
		c.verdicts[d.Verdict]++
	}
	return c
}

func total(byLook map[int]int) int {
	sum := 0
	for _, n := range byLook {
		sum += n
	}
	return sum
}

// upTo is the share of trials that were counted at a look or before.
func (c tally) upTo(byLook map[int]int, look int) float64 {
	sum := 0
	for n, count := range byLook {
		if n <= look {
			sum += count
		}
	}
	return float64(sum) / float64(c.trials)
}
