package maxrate

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
)

// ErrConfig means that a search cannot be made of these settings.
var ErrConfig = errors.New("maxrate")

// Config is one search. The zero value of a field is its default; rates are in
// events/s.
type Config struct {
	Start     float64 // first rate tried: 10,000
	Lowest    float64 // no lower rate is tried: 10
	Highest   float64 // no higher one: 1e8
	Width     float64 // of the interval, as a share of its upper end: 0.03
	Bad       float64 // share of bad trials that a rate may have and hold; negative is 0: 0.05
	TrialsMax int     // of the whole search: 300
	Seed      uint64  // of the order of neighbouring rates: 1
}

// Bounds of a Config.
const (
	widthMin, widthMax = 0.01, 0.9
	badMin, badMax     = 0.01, 0.5 // of a share that is not 0
)

func (c *Config) setDefaults() {
	c.Start = cmp.Or(c.Start, 10_000)
	c.Lowest = cmp.Or(c.Lowest, 10)
	c.Highest = cmp.Or(c.Highest, 1e8)
	c.Width = cmp.Or(c.Width, 0.03)
	c.Bad = max(cmp.Or(c.Bad, 0.05), 0)
	c.TrialsMax = cmp.Or(c.TrialsMax, 300)
	c.Seed = cmp.Or(c.Seed, 1)
}

func (c *Config) validate() error {
	switch {
	case !(c.Lowest > 0) || !(c.Lowest <= c.Start) || !(c.Start <= c.Highest) || math.IsInf(c.Highest, 0):
		return fmt.Errorf("%w: rates %v, %v, %v: want lowest <= start <= highest, above 0", ErrConfig, c.Lowest, c.Start, c.Highest)
	case !(c.Width >= widthMin && c.Width <= widthMax):
		return fmt.Errorf("%w: width %v: want %v to %v", ErrConfig, c.Width, widthMin, widthMax)
	case c.Bad != 0 && !(c.Bad >= badMin && c.Bad <= badMax):
		return fmt.Errorf("%w: a share of bad trials of %v: want 0, or %v to %v", ErrConfig, c.Bad, badMin, badMax)
	case c.TrialsMax < 1:
		return fmt.Errorf("%w: %d trials: want at least 1", ErrConfig, c.TrialsMax)
	}
	return nil
}

// Phase says what a trial is for.
type Phase string

const (
	Search  Phase = "search"
	Measure Phase = "measure"
	Confirm Phase = "confirm" // one longer trial
)

// Trial is what to try next.
type Trial struct {
	Phase Phase
	Rate  float64
}

// Answer is what a plan knows.
type Answer struct {
	Low       float64 // largest rate that held; 0: none did
	High      float64 // smallest rate that failed; 0: none did
	Confirmed bool    // the longer trial at Low was good
	Why       string  // why the answer is not an interval of the width asked for; "" where it is
	Trials    int     // made
}

// Plan is a search in progress. One goroutine owns it.
type Plan struct {
	cfg    Config
	rng    *rand.Rand
	queue  []Trial // of the round, in order
	given  bool    // Next's trial waits for its outcome
	trials int
	over   bool
	why    string

	search  searchState
	measure measureState
}

// New makes a plan. Error: ErrConfig.
func New(cfg Config) (*Plan, error) {
	cfg.setDefaults()
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	p := &Plan{cfg: cfg, rng: rand.New(rand.NewPCG(cfg.Seed, 0x6d617872))}
	p.search.begin(&cfg)
	return p, nil
}

// Config is what the plan works with, defaults filled in.
func (p *Plan) Config() Config { return p.cfg }

// Next is the trial to make now; false when the search is over. It gives the same
// trial until Take was told of it.
func (p *Plan) Next() (Trial, bool) {
	for !p.over && len(p.queue) == 0 {
		p.queue = p.round()
		p.rng.Shuffle(len(p.queue), func(i, j int) { p.queue[i], p.queue[j] = p.queue[j], p.queue[i] })
	}
	if p.over {
		return Trial{}, false
	}
	if p.trials >= p.cfg.TrialsMax {
		p.over, p.why = true, fmt.Sprintf("%d trials were not enough", p.cfg.TrialsMax)
		return Trial{}, false
	}
	p.given = true
	return p.queue[0], true
}

// Take notes whether the trial that Next gave was good.
func (p *Plan) Take(good bool) {
	if !p.given {
		panic("BUG: an outcome without a trial")
	}
	t := p.queue[0]
	p.given, p.queue = false, p.queue[1:]
	p.trials++
	switch t.Phase {
	case Search:
		p.search.at(t.Rate).take(good)
	case Measure:
		p.measure.at(t.Rate).take(good)
	case Confirm:
		p.measure.confirm(t.Rate, good)
	}
}

// round lays out what to try next; nothing once the search is over.
func (p *Plan) round() []Trial {
	if !p.search.over {
		if rates := p.search.round(&p.cfg); len(rates) > 0 {
			return trialsOf(Search, rates)
		}
		p.measure.begin(&p.cfg, p.search.lo, p.search.hi)
	}
	if rates := p.measure.round(&p.cfg); len(rates) > 0 {
		return trialsOf(Measure, rates)
	}
	if low := p.measure.low(); low > 0 && !p.measure.confirmed {
		return trialsOf(Confirm, []float64{low})
	}
	p.over = true
	p.why = p.measure.reservation(&p.cfg)
	return nil
}

func trialsOf(phase Phase, rates []float64) []Trial {
	out := make([]Trial, len(rates))
	for i, r := range rates {
		out[i] = Trial{phase, r}
	}
	return out
}

// Answer is what is known now, final once Next has nothing more. A rate that was not
// confirmed is no answer yet.
func (p *Plan) Answer() Answer {
	return Answer{Low: p.measure.low(), High: p.measure.high(), Confirmed: p.measure.confirmed, Why: p.why, Trials: p.trials}
}

// Left estimates how many short and long trials are still to come.
func (p *Plan) Left() (short, long int) {
	if p.over {
		return 0, 0
	}
	if !p.measure.confirmed {
		long = 1
	}
	short = p.measure.left(&p.cfg)
	if !p.search.over {
		short = p.search.left(&p.cfg) + p.cfg.trials() + failTrials
	}
	return min(short, p.cfg.TrialsMax-p.trials), long
}

// tally is what the trials at one rate gave.
type tally struct{ good, bad int }

func (t *tally) take(good bool) {
	if good {
		t.good++
	} else {
		t.bad++
	}
}

func (t *tally) made() int { return t.good + t.bad }

// rounded keeps four digits of a rate: names stay short and neighbours stay apart.
func rounded(rate float64) float64 {
	if rate >= 1000 {
		step := math.Pow(10, math.Floor(math.Log10(rate))-3)
		return math.Round(rate/step) * step
	}
	return math.Round(rate*10) / 10
}
