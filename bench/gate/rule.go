package gate

import (
	"fmt"
	"math"

	"dyno/bench/stats"
)

// Metric is one quantity that is judged. Changes are told as how much worse head
// is, as a fraction: 0.05 is 5 % more time, or for a throughput base/head - 1.
type Metric struct {
	Name   string  `json:"name"`
	Higher bool    `json:"higher,omitempty"` // larger is better
	Effect float64 `json:"effect"`           // FAIL needs an estimate of at least this
	Bound  float64 `json:"bound"`            // PASS needs an upper bound below this
}

// Rule is the whole procedure in numbers, fixed before the first run.
type Rule struct {
	Metrics []Metric `json:"metrics"`
	// Looks are the counts of compared blocks at which a decision may fall.
	Looks []int `json:"looks"`
	// Alpha is the chance of a candidate for FAIL among all metrics and looks when
	// nothing changed; each look has an equal part.
	Alpha float64 `json:"alpha"`
	// PassConfidence is the one-sided confidence of the upper bounds.
	PassConfidence float64 `json:"pass_confidence"`
	// Confirm is how many more blocks repeat a candidate, ConfirmAlpha the level at
	// which they must agree.
	Confirm      int     `json:"confirm"`
	ConfirmAlpha float64 `json:"confirm_alpha"`
	// Nulls is how many blocks compare base with itself; each of their values must
	// lie where NullChance of the machine's earlier ones do.
	Nulls      int     `json:"nulls"`
	NullChance float64 `json:"null_chance"`
	// RedoShare of the blocks of a look may be redone; more, and the machine is
	// not fit.
	RedoShare float64 `json:"redo_share"`
}

// Default is the rule that dyno is gated with. The figures are those of which the
// simulations in this package tell the error rates.
func Default() Rule {
	return Rule{
		Metrics: []Metric{
			{Name: "produce_cpu_s_per_million", Effect: 0.02, Bound: 0.05},
			{Name: "consume_cpu_s_per_million", Effect: 0.02, Bound: 0.05},
			{Name: "records_per_s", Higher: true, Effect: 0.02, Bound: 0.05},
			{Name: "response_p99_ms", Effect: 0.10, Bound: 0.25},
		},
		Looks:          []int{12, 18, 24},
		Alpha:          0.01,
		PassConfidence: 0.99,
		Confirm:        12,
		ConfirmAlpha:   0.05,
		Nulls:          3,
		NullChance:     0.999,
		RedoShare:      0.30,
	}
}

// LookAlpha is the part of Alpha that each look may spend.
func (r Rule) LookAlpha() float64 { return r.Alpha / float64(len(r.Looks)) }

// FalsePass is the most that the chance of a PASS can be when a metric is worse by
// its bound: every look has one chance of 1-PassConfidence. It holds for each
// metric, and all have to pass.
func (r Rule) FalsePass() float64 {
	return min(1, float64(len(r.Looks))*(1-r.PassConfidence))
}

// Reachable is nil if the rule can give each verdict. n blocks have 2^n sign
// vectors, and each metric may top one of them, so nothing below metrics/2^n can
// be told from chance: 11 blocks for four metrics at 1 % over three looks.
// Error: ErrRule.
func (r Rule) Reachable() error {
	if err := r.sensible(); err != nil {
		return err
	}
	metrics := float64(len(r.Metrics))
	for _, c := range []struct {
		what   string
		blocks int
		chance float64
	}{
		{"a change at alpha/looks", r.Looks[0], r.LookAlpha() / metrics},
		{"a bound at pass_confidence", r.Looks[0], 1 - r.PassConfidence},
		{"an interval at pass_confidence", r.Looks[0], (1 - r.PassConfidence) / 2},
		{"a confirmation at confirm_alpha", r.Confirm, r.ConfirmAlpha / metrics},
	} {
		if least := stats.LeastP(c.blocks); least > c.chance {
			return fmt.Errorf("%w: %d blocks cannot show %s: the least chance is %.2g, wanted %.2g", ErrRule, c.blocks, c.what, least, c.chance)
		}
	}
	return nil
}

// sensible checks what does not need statistics.
func (r Rule) sensible() error {
	if len(r.Metrics) == 0 || len(r.Looks) == 0 {
		return fmt.Errorf("%w: no metric or no look", ErrRule)
	}
	named := make(map[string]bool)
	for _, m := range r.Metrics {
		if m.Name == "" || named[m.Name] {
			return fmt.Errorf("%w: metric %q has no name or is there twice", ErrRule, m.Name)
		}
		named[m.Name] = true
		if !positive(m.Effect) || !positive(m.Bound) {
			return fmt.Errorf("%w: metric %s: effect %v, bound %v", ErrRule, m.Name, m.Effect, m.Bound)
		}
	}
	for i, n := range r.Looks {
		if n < 2 || i > 0 && n <= r.Looks[i-1] {
			return fmt.Errorf("%w: looks at %v", ErrRule, r.Looks)
		}
	}
	for name, v := range map[string]float64{
		"alpha": r.Alpha, "pass_confidence": r.PassConfidence, "confirm_alpha": r.ConfirmAlpha,
		"null_chance": r.NullChance, "redo_share": r.RedoShare,
	} {
		if !(v > 0 && v < 1) {
			return fmt.Errorf("%w: %s is %v, not between 0 and 1", ErrRule, name, v)
		}
	}
	if last := r.Looks[len(r.Looks)-1]; max(last, r.Confirm) > stats.FlipsMax {
		return fmt.Errorf("%w: %d blocks, and %d to confirm: the test takes at most %d", ErrRule, last, r.Confirm, stats.FlipsMax)
	}
	if r.Confirm < 2 || r.Nulls < 0 {
		return fmt.Errorf("%w: %d blocks to confirm, %d null blocks", ErrRule, r.Confirm, r.Nulls)
	}
	return nil
}

// detectPower is the power that Detectable speaks of.
const detectPower = 0.95

// Detectable is the least change of a metric that a look at so many blocks (2 or
// more) makes a candidate with 95 % power, when block values scatter with the
// standard deviation sigma, in logarithms; as a fraction that head is worse. It
// takes a t test with n-1 degrees of freedom at the level of the look divided by
// the metrics: with t its critical value, the shift has to be
//
//	(t (1 - 1/(4(n-1))) + z(0.95) sqrt(1 + t^2/(2(n-1)))) sigma/sqrt(n),
//
// and it must not be less than what brings the estimate over the effect as surely.
// With heavier tails than normal it is somewhat optimistic. Source: Abramowitz and
// Stegun 26.7.10, the normal approximation to the noncentral t.
func (r Rule) Detectable(m Metric, sigma float64, blocks int) float64 {
	df := float64(blocks - 1)
	se := sigma / math.Sqrt(float64(blocks))
	t := stats.StudentQuantile(1-r.LookAlpha()/float64(len(r.Metrics)), df)
	z := stats.NormalQuantile(detectPower)
	significant := (t*(1-1/(4*df)) + z*math.Sqrt(1+t*t/(2*df))) * se
	return math.Expm1(max(significant, math.Log1p(m.Effect)+stats.StudentQuantile(detectPower, df)*se))
}

func positive(v float64) bool { return v > 0 && !math.IsInf(v, 1) }
