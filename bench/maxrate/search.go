package maxrate

import "math"

const (
	searchVotes   = 2 // trials of the same outcome that decide a rate of the search
	between       = 3 // rates tried between two others at a time
	searchPart    = 6 // the search ends at Width / searchPart
	votesExpected = 2.2
)

// searchState looks for the border between rates that hold and rates that do not.
type searchState struct {
	rates map[float64]*tally
	batch []float64 // in question, ascending
	lo    float64   // largest that held below hi; 0: none
	hi    float64   // smallest that failed; 0: none
	over  bool
}

func (s *searchState) begin(cfg *Config) {
	s.rates = map[float64]*tally{}
	s.batch = []float64{min(max(rounded(cfg.Start), cfg.Lowest), cfg.Highest)}
}

func (s *searchState) at(rate float64) *tally {
	t := s.rates[rate]
	if t == nil {
		t = &tally{}
		s.rates[rate] = t
	}
	return t
}

// round gives the rates of the batch that are still in question, or those of the
// next batch; none once the border is known finely enough.
func (s *searchState) round(cfg *Config) []float64 {
	for {
		s.border()
		var open []float64
		for _, r := range s.batch {
			if t := s.at(r); t.good < searchVotes && t.bad < searchVotes && (s.lo == 0 || r > s.lo) && (s.hi == 0 || r < s.hi) {
				open = append(open, r)
			}
		}
		if len(open) > 0 {
			return open
		}
		if s.batch = s.next(cfg); len(s.batch) == 0 {
			s.over = true
			return nil
		}
	}
}

// border brings lo and hi up to date.
func (s *searchState) border() {
	for r, t := range s.rates {
		if t.bad >= searchVotes && (s.hi == 0 || r < s.hi) {
			s.hi = r
		}
	}
	if s.hi > 0 && s.lo >= s.hi {
		s.lo = 0
	}
	for r, t := range s.rates {
		if t.good >= searchVotes && r > s.lo && (s.hi == 0 || r < s.hi) {
			s.lo = r
		}
	}
}

// next gives the rates to ask for once a batch is decided.
func (s *searchState) next(cfg *Config) []float64 {
	switch {
	case s.hi == 0 && s.lo < cfg.Highest:
		return []float64{min(rounded(2*s.lo), cfg.Highest)}
	case s.hi == 0: // the highest of all held
		return nil
	case s.lo == 0 && s.hi > cfg.Lowest:
		return []float64{max(rounded(s.hi/2), cfg.Lowest)}
	case s.lo == 0 || s.hi/s.lo-1 <= cfg.Width/searchPart: // the lowest of all failed, or near enough
		return nil
	}
	var out []float64
	for i := 1; i <= between; i++ {
		r := rounded(s.lo * math.Pow(s.hi/s.lo, float64(i)/(between+1)))
		if r > s.lo && r < s.hi && (len(out) == 0 || r > out[len(out)-1]) {
			out = append(out, r)
		}
	}
	return out
}

// left estimates the trials to come.
func (s *searchState) left(cfg *Config) int {
	ratio := 4.0 // of a border that is not in sight
	if s.lo > 0 && s.hi > 0 {
		ratio = s.hi / s.lo
	}
	rounds := math.Log(math.Log(ratio)/math.Log(1+cfg.Width/searchPart)) / math.Log(between+1)
	return int(math.Ceil(max(rounds, 0) * votesExpected * 2)) // about two of three rates need their trials
}
