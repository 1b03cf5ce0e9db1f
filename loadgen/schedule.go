package loadgen

import (
	"fmt"
	"math"
	"math/rand/v2"
	"time"
)

// Arrivals names how an open loop spaces its records.
type Arrivals string

const (
	Uniform Arrivals = "uniform" // evenly, senders interleaved
	Poisson Arrivals = "poisson" // independent arrivals
	Burst   Arrivals = "burst"   // on/off, evenly while on, the average being the rate
	Step    Arrivals = "step"    // the rate climbs in equal steps to its full value
)

// Profile is the shape of an open loop; the rate itself is Config.Rate.
type Profile struct {
	Arrivals    Arrivals      `json:"arrivals"`        // default uniform
	BurstPeriod time.Duration `json:"burst_period_ns"` // one on and one off phase; default 1 s
	BurstDuty   float64       `json:"burst_duty"`      // share of the period that is on, in (0, 1]; default 0.2
	Steps       int           `json:"steps"`           // of a step profile, over warm-up and window; default 5
}

func (p *Profile) setDefaults() {
	if p.Arrivals == "" {
		p.Arrivals = Uniform
	}
	if p.BurstPeriod == 0 {
		p.BurstPeriod = time.Second
	}
	if p.BurstDuty == 0 {
		p.BurstDuty = 0.2
	}
	if p.Steps == 0 {
		p.Steps = 5
	}
}

func (p *Profile) validate() error {
	switch p.Arrivals {
	case Uniform, Poisson, Burst, Step:
	default:
		return fmt.Errorf("%w: arrivals %q: want uniform, poisson, burst or step", ErrUsage, p.Arrivals)
	}
	if p.BurstPeriod < 0 || !(p.BurstDuty > 0 && p.BurstDuty <= 1) {
		return fmt.Errorf("%w: burst period %v, duty %v: want a positive period and a duty in (0, 1]", ErrUsage, p.BurstPeriod, p.BurstDuty)
	}
	if p.Steps < 1 || p.Steps > 1000 {
		return fmt.Errorf("%w: steps %d: want 1 to 1000", ErrUsage, p.Steps)
	}
	return nil
}

// arrivals is one sender's schedule: a pure function of its arguments, so it is fixed before the run although it is written out
// only as needed. Times are ns from the start of the run, non-decreasing. Owner: its sender.
//
// Every shape is a spacing in operational time (the expected number of arrivals so far) and a map from there to time:
// evenly spaced or exponential, and constant, on/off or stepped. Counting operational time, not adding intervals, keeps rounding
// from piling up: record k of a uniform schedule is at k/rate to within a float's precision however large k is.
type arrivals struct {
	profile Profile
	rate    float64 // records per ns of this sender
	rng     *rand.Rand
	count   float64 // operational time of the next arrival
	span    float64 // ns a step profile climbs over
}

// newArrivals is the schedule of sender i of n, at rate records/s over all of them. A step profile climbs over span.
func newArrivals(p Profile, rate float64, i, n int, seed uint64, span time.Duration) *arrivals {
	a := &arrivals{
		profile: p,
		rate:    rate / float64(n) / 1e9,
		rng:     rand.New(rand.NewPCG(seed, 0x9e3779b97f4a7c15+uint64(i))),
		span:    float64(max(span, time.Second)),
	}
	a.count = float64(i) / float64(n)
	if p.Arrivals == Poisson {
		a.count = a.rng.ExpFloat64()
	}
	return a
}

// fill writes the next len(dst) intended times.
func (a *arrivals) fill(dst []int64) {
	for i := range dst {
		dst[i] = int64(a.timeOf(a.count) + 0.5)
		if a.profile.Arrivals == Poisson {
			a.count += a.rng.ExpFloat64()
		} else {
			a.count++
		}
	}
}

// timeOf maps operational time to ns.
func (a *arrivals) timeOf(count float64) float64 {
	switch a.profile.Arrivals {
	case Burst:
		period := float64(a.profile.BurstPeriod)
		perPeriod := a.rate * period
		whole := math.Floor(count / perPeriod)
		return whole*period + (count/perPeriod-whole)*period*a.profile.BurstDuty
	case Step:
		return a.stepTime(count)
	}
	return count / a.rate
}

// stepTime: step k of n lasts span/n at rate·(k+1)/n; after the last the full rate stays.
func (a *arrivals) stepTime(count float64) float64 {
	n := float64(a.profile.Steps)
	width := a.span / n
	for k := 0.0; k < n; k++ {
		in := a.rate * (k + 1) / n * width
		if count < in {
			return k*width + count/in*width
		}
		count -= in
	}
	return a.span + count/a.rate
}
