package maxrate

import (
	"fmt"
	"math"
	"slices"
)

const (
	measureMin = 5    // trials of a rate that held
	failChance = 0.01 // of so many bad trials at a rate that has the tolerated share: below it the rate failed
	failTrials = 3    // that a rate needs, about, which nothing holds at
	refutedMax = 2    // rates whose longer trial was bad, before the interval may stay wide
	lowPart    = 2.0 / 3
	highPart   = 1.0 / 6
)

// trials is how many a rate must have had to hold: as many as one bad one of may be
// the tolerated share.
func (c *Config) trials() int {
	if c.Bad == 0 {
		return measureMin
	}
	return max(measureMin, int(math.Ceil(1/c.Bad-1e-9)))
}

// verdict is what the trials of a rate say.
type verdict int

const (
	open    verdict = iota // more trials are needed
	held                   // with no more bad ones than are tolerated
	failed                 // with more than chance explains
	unclear                // neither
)

func (t *tally) judge(cfg *Config) verdict {
	switch n := t.made(); {
	case t.bad > 0 && binomialTail(n, t.bad, cfg.Bad) <= failChance:
		return failed
	case n < cfg.trials():
		return open
	case float64(t.bad) <= cfg.Bad*float64(n)+1e-9:
		return held
	}
	return unclear
}

// binomialTail is the chance of at least k of n where each has the chance p.
func binomialTail(n, k int, p float64) float64 {
	sum, term := 0.0, math.Pow(1-p, float64(n)) // of exactly 0
	for i := range n + 1 {
		if i >= k {
			sum += term
		}
		if p < 1 {
			term *= float64(n-i) / float64(i+1) * p / (1 - p)
		}
	}
	return sum
}

// measureState tries the ends of the interval.
type measureState struct {
	cfg       *Config
	rates     map[float64]*tally
	refuted   map[float64]bool // by the longer trial
	confirmed bool
	// The rates under trial; 0: none is left to try on that side.
	lowEnd, highEnd, middle float64
	// steps by which the next one lies further out, in Widths.
	down, up float64
}

func (m *measureState) begin(cfg *Config, lo, hi float64) {
	m.cfg, m.rates, m.refuted, m.down, m.up = cfg, map[float64]*tally{}, map[float64]bool{}, lowPart, highPart
	if lo > 0 {
		m.lowEnd = lo
		if hi > 0 { // else the highest rate held, and that is the question
			m.lowEnd = max(rounded(lo*(1-lowPart*cfg.Width)), cfg.Lowest)
		}
	}
	if hi > 0 {
		m.highEnd = hi
		if lo > 0 { // else the lowest rate failed, and that is the question
			m.highEnd = min(rounded(hi*(1+highPart*cfg.Width)), cfg.Highest)
		}
	}
}

func (m *measureState) at(rate float64) *tally {
	t := m.rates[rate]
	if t == nil {
		t = &tally{}
		m.rates[rate] = t
	}
	return t
}

// judge says what is known of a rate.
func (m *measureState) judge(rate float64) verdict {
	if m.refuted[rate] {
		return failed
	}
	t := m.rates[rate]
	if t == nil {
		return open
	}
	return t.judge(m.cfg)
}

// high is the smallest rate that failed, 0 where none did.
func (m *measureState) high() float64 {
	high := 0.0
	for r := range m.rates {
		if m.judge(r) == failed && (high == 0 || r < high) {
			high = r
		}
	}
	return high
}

// low is the largest rate that held below all that failed, 0 where none did.
func (m *measureState) low() float64 {
	low, high := 0.0, m.high()
	for r := range m.rates {
		if m.judge(r) == held && r > low && (high == 0 || r < high) {
			low = r
		}
	}
	return low
}

// confirm takes the outcome of the longer trial.
func (m *measureState) confirm(rate float64, good bool) {
	m.confirmed = good
	m.refuted[rate] = !good
}

// round gives the rates that need another trial; none when the interval is as good
// as it gets, until a confirmation fails.
func (m *measureState) round(cfg *Config) []float64 {
	for {
		m.move(cfg)
		var rates []float64
		for _, r := range []float64{m.lowEnd, m.middle, m.highEnd} {
			if r > 0 && m.judge(r) == open && !slices.Contains(rates, r) {
				rates = append(rates, r)
			}
		}
		if len(rates) > 0 || !m.narrow(cfg) {
			return rates
		}
	}
}

// move takes an end that turned out to be something else further out.
func (m *measureState) move(cfg *Config) {
	for m.lowEnd > 0 && m.low() == 0 && m.judge(m.lowEnd) != open {
		if m.lowEnd <= cfg.Lowest {
			m.lowEnd = 0
			break
		}
		m.lowEnd = max(rounded(m.lowEnd*max(1-m.down*cfg.Width, 0.5)), cfg.Lowest)
		m.down *= 2
	}
	for m.highEnd > 0 && m.high() == 0 && m.judge(m.highEnd) != open {
		if m.highEnd >= cfg.Highest {
			m.highEnd = 0
			break
		}
		m.highEnd = min(rounded(m.highEnd*(1+min(m.up*cfg.Width, 1))), cfg.Highest)
		m.up *= 2
	}
	// What lies above a rate that failed is no question any more.
	if high := m.high(); high > 0 && m.highEnd >= high {
		m.highEnd = 0
	}
}

// narrow takes a rate between the ends where they lie too far apart, unless one
// between them could not be decided, or the longer trial keeps saying something else:
// then more short trials decide nothing either.
func (m *measureState) narrow(cfg *Config) bool {
	low, high := m.low(), m.high()
	if low == 0 || high == 0 || (high-low)/high <= cfg.Width || m.doubtful(low, high) > 0 || m.refutations() > refutedMax {
		return false
	}
	m.middle = rounded(math.Sqrt(low * high))
	return m.middle > low && m.middle < high
}

// doubtful counts the unclear rates between two others.
func (m *measureState) doubtful(low, high float64) (n int) {
	for r := range m.rates {
		if r > low && r < high && m.judge(r) == unclear {
			n++
		}
	}
	return n
}

// refutations counts the rates that the longer trial was bad at.
func (m *measureState) refutations() (n int) {
	for _, no := range m.refuted {
		if no {
			n++
		}
	}
	return n
}

// reservation says why the answer is not an interval of the width asked for.
func (m *measureState) reservation(cfg *Config) string {
	low, high := m.low(), m.high()
	switch {
	case low == 0:
		return fmt.Sprintf("no rate from %.6g on held", cfg.Lowest)
	case high == 0:
		return fmt.Sprintf("no rate up to %.6g failed", cfg.Highest)
	case (high-low)/high > cfg.Width && m.refutations() > refutedMax:
		return fmt.Sprintf("the longer trial refuted %d rates that had held", m.refutations())
	case (high-low)/high > cfg.Width:
		return fmt.Sprintf("%d rates between the two could not be decided: the trials vary too much", m.doubtful(low, high))
	}
	return ""
}

// left estimates the short trials to come.
func (m *measureState) left(cfg *Config) (n int) {
	for _, r := range []float64{m.lowEnd, m.middle} {
		if t := m.rates[r]; r > 0 && m.judge(r) == open {
			n += cfg.trials()
			if t != nil {
				n -= t.made()
			}
		}
	}
	if m.highEnd > 0 && m.judge(m.highEnd) == open {
		n += failTrials
	}
	return n
}
