package bench

import (
	"fmt"
	"slices"

	"dyno/bench/record"
	"dyno/bench/stats"
)

// Goal is something promised: a ratio between two arms of one run (Against and
// AtLeast), or, without Against, a bound on what one arm measures (AtMost).
type Goal struct {
	Name         string
	Arm, Against string
	Measure      string
	AtLeast      float64 // times what Against has
	AtMost       float64 // in the unit of Measure
	// Worst judges a bound by the worst repetition instead of the median: of a
	// measure that is itself a worst case, or where every repetition must keep it. A
	// repetition that broke a promise counts, and misses it.
	Worst bool
}

// bound says that the goal is an absolute one.
func (g *Goal) bound() bool { return g.Against == "" }

// confidence is what an interval of a ratio or of a median should cover, where
// there are repetitions enough: ten give 97.9 %, three at most 75 %.
const confidence = 0.95

// worstReps is how many good repetitions must keep a bound that holds for each of
// them before it counts as met. One that does not keep it is enough to miss it.
const worstReps = plainReps

// settle judges a goal: met or missed when the whole interval lies on one side,
// unclear when the interval does not cover what it should.
func settle(run *record.Run, g Goal) record.Target {
	t := record.Target{Name: g.Name, Measure: g.Measure, Arm: g.Arm, Against: g.Against, AtLeast: g.AtLeast, AtMost: g.AtMost,
		Worst: g.Worst, Result: record.Invalid}
	var found []float64
	broken := false
	switch arm := run.Arm(g.Arm); {
	case !g.bound():
		found = stats.Ratios(pairs(arm, run.Arm(g.Against), g.Measure))
	case arm != nil && g.Worst:
		found, broken = said(arm, g.Measure)
	case arm != nil:
		found = arm.Values(g.Measure)
	}
	if broken {
		t.Result = record.Failed
	}
	if t.Repetitions = len(found); t.Repetitions == 0 {
		return t
	}
	iv := stats.MedianInterval(found, confidence)
	t.Low, t.High, t.Coverage = iv.Low, iv.High, iv.Coverage
	middle := stats.Median(found)
	switch {
	case g.Worst:
		t.Value, t.Low, t.High, t.Coverage = slices.Max(found), slices.Min(found), slices.Max(found), 1
		t.Result = oneSided(!broken && t.High <= g.AtMost && len(found) >= worstReps, broken || t.High > g.AtMost)
	case t.Coverage < confidence:
		t.Result = record.Unclear // too few repetitions to say either
	case g.bound():
		t.Result = oneSided(t.High <= g.AtMost, t.Low > g.AtMost)
	default:
		t.Result = oneSided(t.Low >= g.AtLeast, t.High < g.AtLeast)
	}
	switch {
	case !g.bound():
		t.Ratio = middle
	case !g.Worst:
		t.Value = middle
	}
	return t
}

func oneSided(met, missed bool) string {
	switch {
	case met:
		return record.OK
	case missed:
		return record.Failed
	}
	return record.Unclear
}

// said collects a measure over all repetitions that say something, and tells whether
// one of them broke a promise: that one is the worst case itself, whatever it measured.
func said(arm *record.Arm, measure string) (found []float64, broken bool) {
	for _, rep := range arm.Repetitions {
		if rep.Status == record.Invalid {
			continue
		}
		broken = broken || rep.Status == record.Failed
		if v, ok := rep.Values[measure]; ok {
			found = append(found, v)
		}
	}
	return found, broken
}

// pairs lines up the values of the repetitions that are good in both arms: the
// ones of one number ran next to each other.
func pairs(a, b *record.Arm, measure string) (as, bs []float64) {
	if a == nil || b == nil {
		return nil, nil
	}
	other := map[int]float64{}
	for _, rep := range b.Repetitions {
		if v, ok := rep.Values[measure]; ok && rep.Status == record.OK {
			other[rep.Number] = v
		}
	}
	for _, rep := range a.Repetitions {
		v, ok := rep.Values[measure]
		if w, both := other[rep.Number]; ok && both && rep.Status == record.OK {
			as, bs = append(as, v), append(bs, w)
		}
	}
	return as, bs
}

// targetText is a target in words: what was wanted, what was found, and how sure
// that is.
type targetText struct{ want, found, span string }

func textOf(run *record.Run, t *record.Target) targetText {
	if t.Against != "" {
		return targetText{fmt.Sprintf("≥ %.2fx", t.AtLeast), fmt.Sprintf("%.2fx", t.Ratio),
			fmt.Sprintf("%.2f to %.2f (%.0f %%, n=%d)", t.Low, t.High, 100*t.Coverage, t.Repetitions)}
	}
	unit, _ := run.Unit(t.Measure)
	show := func(v float64) string { return amount(v, unit.Unit) }
	x := targetText{"≤ " + show(t.AtMost), show(t.Value), fmt.Sprintf("%s to %s (%.0f %%, n=%d)", show(t.Low), show(t.High), 100*t.Coverage, t.Repetitions)}
	if t.Worst {
		x.span = fmt.Sprintf("the worst of %d, best %s", t.Repetitions, show(t.Low))
	}
	if t.Worst && t.Result == record.Failed && t.Repetitions == 0 {
		x.found, x.span = "not measured", "no repetition came so far"
	}
	if arm := run.Arm(t.Arm); t.Worst && arm != nil {
		if _, broken := said(arm, t.Measure); broken {
			x.span += ", and a promise was broken"
		}
	}
	return x
}

// amount writes a value with its unit for people: times in ms or s, sizes in KiB
// or MiB; a count is its own unit.
func amount(v float64, unit string) string {
	switch {
	case unit == "ns" && v >= 1e9:
		return fmt.Sprintf("%.2f s", v/1e9)
	case unit == "ns":
		return fmt.Sprintf("%.0f ms", v/1e6)
	case unit == "B":
		return byteWord(int64(v))
	case v == float64(int64(v)):
		return fmt.Sprintf("%.0f %s", v, unit)
	}
	return fmt.Sprintf(plainForm(v)+" %s", v, unit)
}
