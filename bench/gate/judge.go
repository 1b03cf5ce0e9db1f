package gate

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"dyno/bench/stats"
)

// Judge decides by a rule on all evidence so far. The looks are gone through in
// order and the first that decides does, on the blocks it names: more blocks never
// change an earlier look, so it does not matter how often or when Judge is called.
//
//	any null value out of range, too many redone  UNMEASURABLE
//	at a look, with the blocks up to it:
//	  a metric is worse (p <= alpha/looks) and its estimate reaches its effect:
//	    the confirmation agrees                   FAIL
//	    it does not                               INCONCLUSIVE
//	  every upper bound is below its bound        PASS
//	after the last look                           INCONCLUSIVE
//
// A candidate comes before a bound, so a sure 3 % fails though it is below 5 %.
// One that the confirmation does not bear out ends the run: the machine or chance
// gave an alarm, and neither is a pass. Errors: ErrRule, ErrEvidence.
func Judge(r Rule, e *Evidence) (*Decision, error) {
	if err := r.Reachable(); err != nil {
		return nil, err
	}
	s, err := sound(r, e)
	if err != nil {
		return nil, err
	}
	j := judge{Rule: r, Evidence: e, sample: s}
	d := &Decision{Version: DecisionVersion, Rule: r, FalsePass: r.FalsePass(), Redone: s.redone + s.redoneConfirm}
	j.checkMachine(d)
	if d.Verdict != Unmeasurable {
		j.looks(d)
	}
	return d, nil
}

// judge is what the steps of one decision share.
type judge struct {
	Rule
	*Evidence
	*sample
}

// checkMachine fills in what the null blocks say, and UNMEASURABLE if that or the
// number of redone blocks is out of bounds.
func (j *judge) checkMachine(d *Decision) {
	for i, m := range j.Metrics {
		f := Finding{Metric: m.Name, Nulls: j.nulls[i]}
		low, high := stats.Predict(j.Ledger[m.Name], j.NullChance)
		if !math.IsInf(low, 0) {
			f.NullRange = &[2]float64{low, high}
		}
		for _, y := range f.Nulls {
			if (y < low || y > high) && d.Verdict == "" {
				d.Verdict = Unmeasurable
				d.Reason = fmt.Sprintf("base against itself: %s moved by %s, outside of what this machine does (%s to %s)", m.Name, percent(y), percent(low), percent(high))
			}
		}
		d.Findings = append(d.Findings, f)
	}
	if most := j.RedoMost(j.Slots(j.NextLook(j.slots))); j.redone > most {
		d.Verdict, d.Reason = Unmeasurable, fmt.Sprintf("%d blocks had to be set aside, at most %d may be", j.redone, most)
	}
	if most := j.RedoMost(j.Rule.Confirm); j.redoneConfirm > most {
		d.Verdict, d.Reason = Unmeasurable, fmt.Sprintf("%d blocks of the confirmation had to be set aside, at most %d may be", j.redoneConfirm, most)
	}
}

// looks goes through the looks until one decides or blocks are missing. Only the
// last one it could make is told.
func (j *judge) looks(d *Decision) {
	var last *look
	for _, n := range j.Looks {
		if j.slots < j.Slots(n) {
			d.Verdict, d.Need.Blocks = Continue, j.Slots(n)-j.slots
			d.Reason = fmt.Sprintf("%d more blocks until the look at %d", d.Need.Blocks, n)
			break
		}
		last = j.look(n)
		if len(last.candidates) > 0 {
			j.confirmed(d, last)
			break
		}
		if len(last.open) == 0 {
			d.Verdict = Pass
			d.Reason = fmt.Sprintf("every metric is bounded after %d blocks, with a chance of at most %.2g %% for each that is worse by its bound", n, 100*d.FalsePass)
			break
		}
	}
	if d.Verdict == "" {
		d.Verdict = Inconclusive
		d.Reason = fmt.Sprintf("neither worse nor bounded after %d blocks: %s", last.blocks, j.names(last.open))
	}
	if last != nil {
		j.tell(d, last)
	}
}

// look is what decides at one look, by metric.
type look struct {
	blocks     int
	y          [][]float64
	estimate   []float64 // logarithms, as are the bounds
	upper      []float64
	p          []float64
	candidates []int // metrics that would fail
	open       []int // metrics that are not bounded
}

func (j *judge) look(blocks int) *look {
	l := &look{blocks: blocks}
	for _, y := range j.compared {
		l.y = append(l.y, y[:blocks])
	}
	l.p = stats.MaxT(l.y, j.Seed)
	for i, m := range j.Metrics {
		l.estimate = append(l.estimate, stats.HodgesLehmann(l.y[i]))
		l.upper = append(l.upper, stats.UpperBound(l.y[i], j.PassConfidence, j.Seed))
		if l.p[i] <= j.LookAlpha() && l.estimate[i] >= math.Log1p(m.Effect) {
			l.candidates = append(l.candidates, i)
		}
		if !(l.upper[i] < math.Log1p(m.Bound)) {
			l.open = append(l.open, i)
		}
	}
	return l
}

// confirmed decides on candidates: their repetition is judged as a family of its
// own, in the one direction.
func (j *judge) confirmed(d *Decision, l *look) {
	have := len(j.confirm[0])
	if have < j.Rule.Confirm {
		d.Verdict, d.Need.Confirm = Continue, j.Rule.Confirm-have
		d.Reason = fmt.Sprintf("%s looks worse after %d blocks: %d more blocks must confirm it", j.names(l.candidates), l.blocks, d.Need.Confirm)
		return
	}
	var again [][]float64
	for _, i := range l.candidates {
		again = append(again, j.confirm[i][:j.Rule.Confirm])
	}
	var agreed []int
	for k, p := range stats.MaxT(again, j.ConfirmSeed) {
		f := &d.Findings[l.candidates[k]]
		f.ConfirmP, f.ConfirmChange = p, math.Expm1(stats.HodgesLehmann(again[k]))
		if f.Confirmed = p <= j.ConfirmAlpha; f.Confirmed {
			agreed = append(agreed, l.candidates[k])
		}
	}
	if len(agreed) == 0 {
		d.Verdict, d.Reason = Inconclusive, fmt.Sprintf("%s looked worse after %d blocks, but %d more do not confirm it", j.names(l.candidates), l.blocks, j.Rule.Confirm)
		return
	}
	d.Verdict, d.Reason = Fail, fmt.Sprintf("worse: %s, confirmed by %d more blocks", j.sizes(agreed, l), j.Rule.Confirm)
}

// tell fills in the findings of a look, those included that do not decide.
func (j *judge) tell(d *Decision, l *look) {
	d.Look = l.blocks
	mirrored := make([][]float64, len(l.y))
	for i, y := range l.y {
		for _, v := range y {
			mirrored[i] = append(mirrored[i], -v)
		}
	}
	better := stats.MaxT(mirrored, j.Seed)
	for i, m := range j.Metrics {
		f := &d.Findings[i]
		low, high := stats.ShiftInterval(l.y[i], j.PassConfidence, j.Seed)
		_, f.Sigma = stats.MeanDeviation(l.y[i])
		f.Change, f.Low, f.High, f.Upper = math.Expm1(l.estimate[i]), math.Expm1(low), math.Expm1(high), math.Expm1(l.upper[i])
		f.P, f.PBetter = l.p[i], better[i]
		f.Detectable = j.Detectable(m, f.Sigma, l.blocks)
		f.Bounded, f.Candidate = !slices.Contains(l.open, i), slices.Contains(l.candidates, i)
		f.Improved = f.PBetter <= j.LookAlpha() && l.estimate[i] <= -math.Log1p(m.Effect)
	}
}

func (j *judge) names(metrics []int) string {
	var names []string
	for _, i := range metrics {
		names = append(names, j.Metrics[i].Name)
	}
	return strings.Join(names, ", ")
}

func (j *judge) sizes(metrics []int, l *look) string {
	var sizes []string
	for _, i := range metrics {
		sizes = append(sizes, fmt.Sprintf("%s by %s", j.Metrics[i].Name, percent(l.estimate[i])))
	}
	return strings.Join(sizes, ", ")
}

// percent is a logarithm of a ratio as people read it.
func percent(log float64) string { return fmt.Sprintf("%+.2f %%", 100*math.Expm1(log)) }
