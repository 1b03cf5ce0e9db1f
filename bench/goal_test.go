package bench

import (
	"strings"
	"testing"

	"dyno/bench/record"
)

// boundRun has one arm with the given values of "away".
func boundRun(values ...float64) *record.Run {
	run := &record.Run{Units: []record.Unit{{Name: "away", Unit: "ns", Better: "lower"}}, Arms: []record.Arm{{Name: "kill"}}}
	for i, v := range values {
		run.Arms[0].Repetitions = append(run.Arms[0].Repetitions, record.Repetition{
			Number: i + 1, Status: record.OK, Values: map[string]float64{"away": v}})
	}
	return run
}

func TestSettleBounds(t *testing.T) {
	six := []float64{4e8, 5e8, 6e8, 7e8, 8e8, 9e8}
	for _, c := range []struct {
		name   string
		values []float64
		most   float64
		worst  bool
		result string
		value  float64
	}{
		{"the whole interval keeps it", six, 1e9, false, record.OK, 6.5e8},
		{"at the bound itself", six, 9e8, false, record.OK, 6.5e8},
		{"the interval spans it", six, 7e8, false, record.Unclear, 6.5e8},
		{"the whole interval is above", six, 3e8, false, record.Failed, 6.5e8},
		{"too few for an interval", six[:3], 1e9, false, record.Unclear, 5e8},
		{"too few, and above", six[:3], 1, false, record.Unclear, 5e8},
		{"the worst keeps it", six, 9e8, true, record.OK, 9e8},
		{"the worst alone is above", six, 8.9e8, true, record.Failed, 9e8},
		{"three are enough to keep it", six[:3], 6e8, true, record.OK, 6e8},
		{"two are not", six[:2], 6e8, true, record.Unclear, 5e8},
		{"one is enough to miss it", six[:1], 1e8, true, record.Failed, 4e8},
		{"none is bad enough to count", nil, 1e9, true, record.Invalid, 0},
		{"nothing may be, and nothing is", []float64{0, 0, 0}, 0, true, record.OK, 0},
	} {
		got := settle(boundRun(c.values...), Goal{Arm: "kill", Measure: "away", AtMost: c.most, Worst: c.worst})
		if got.Result != c.result || got.Value != c.value || got.Repetitions != len(c.values) || got.Ratio != 0 {
			t.Errorf("%s: %+v", c.name, got)
		}
	}
	bad := boundRun(six...)
	bad.Arms[0].Repetitions[5].Status = record.Invalid
	if got := settle(bad, Goal{Arm: "kill", Measure: "away", AtMost: 8e8, Worst: true}); got.Result != record.OK || got.Repetitions != 5 {
		t.Errorf("a repetition that says nothing was judged: %+v", got)
	}
	bad.Arms[0].Repetitions[5].Status = record.Failed // what it measured counts, and its promise is broken
	for _, most := range []float64{8e8, 9e8} {
		if got := settle(bad, Goal{Arm: "kill", Measure: "away", AtMost: most, Worst: true}); got.Result != record.Failed || got.Repetitions != 6 || got.Value != 9e8 {
			t.Errorf("a broken promise, at most %v: %+v", most, got)
		}
	}
	bad.Arms[0].Repetitions[5].Values = nil
	if got := settle(bad, Goal{Arm: "kill", Measure: "away", AtMost: 9e8, Worst: true}); got.Result != record.Failed || got.Repetitions != 5 {
		t.Errorf("a broken promise without a value: %+v", got)
	}
	if got := settle(bad, Goal{Arm: "kill", Measure: "away", AtMost: 8e8}); got.Result != record.Unclear || got.Repetitions != 5 {
		t.Errorf("a median with a broken promise beside it: %+v", got)
	}
	bad.Arms[0].Repetitions = bad.Arms[0].Repetitions[5:]
	if got := settle(bad, Goal{Arm: "kill", Measure: "away", AtMost: 8e8, Worst: true}); got.Result != record.Failed || got.Repetitions != 0 {
		t.Errorf("nothing but a broken promise: %+v", got)
	}
	if got := settle(bad, Goal{Arm: "none", Measure: "away", AtMost: 8e8}); got.Result != record.Invalid {
		t.Errorf("an arm that is not there: %+v", got)
	}
}

// A run without goals answers nothing where most repetitions of an arm say nothing.
func TestConcludeWithoutGoals(t *testing.T) {
	for name, c := range map[string]struct {
		status []string
		result string
	}{
		"all good":       {[]string{record.OK, record.OK, record.OK}, record.OK},
		"one invalid":    {[]string{record.OK, record.Invalid, record.OK}, record.OK},
		"half invalid":   {[]string{record.OK, record.Invalid}, record.Unclear},
		"all invalid":    {[]string{record.Invalid, record.Invalid}, record.Unclear},
		"none":           {nil, record.Unclear},
		"broken promise": {[]string{record.OK, record.OK, record.Failed}, record.Failed},
	} {
		run := &record.Run{Arms: []record.Arm{{Name: "good", Repetitions: []record.Repetition{{Number: 1, Status: record.OK}}}, {Name: "a"}}}
		for i, status := range c.status {
			run.Arms[1].Repetitions = append(run.Arms[1].Repetitions, record.Repetition{Number: i + 1, Status: status})
		}
		if v := conclude(run, nil); v.Result != c.result || !strings.Contains(v.Text, "no target") {
			t.Errorf("%s: %+v", name, v)
		}
	}
}

// Repetitions that do not count are told from those that do.
func TestRepetitionsWord(t *testing.T) {
	run := boundRun(1, 2, 3)
	if got := repetitionsWord(&run.Arms[0]); got != "3" {
		t.Errorf("all good: %q", got)
	}
	run.Arms[0].Repetitions[1].Status = record.Invalid
	if got := repetitionsWord(&run.Arms[0]); got != "2/3" {
		t.Errorf("one of three does not count: %q", got)
	}
	var b strings.Builder
	if err := writeExperiment(&b, run, []column{{"away", "away", 1, "%.0f"}}); err != nil || !strings.Contains(b.String(), "kill  2/3     2") {
		t.Errorf("%v\n%s", err, b.String())
	}
}

// A bound is printed with its unit, by the words it is judged by, and its run is
// one that can be read again.
func TestBoundsInWords(t *testing.T) {
	run := boundRun(4e8, 1.5e9, 6e8)
	goals := []Goal{{Name: "away at worst", Arm: "kill", Measure: "away", AtMost: 2.5e9, Worst: true},
		{Name: "away", Arm: "kill", Measure: "away", AtMost: 1e9}}
	run.Verdict = conclude(run, goals)
	if run.Verdict.Text != "1 of 2 targets met, 0 missed, 1 unclear" {
		t.Errorf("verdict %+v", run.Verdict)
	}
	var b strings.Builder
	if err := writeExperiment(&b, run, nil); err != nil {
		t.Fatal(err)
	}
	for _, line := range []string{
		"OK       away at worst: 1.50 s, the worst of 3, best 400 ms, wanted ≤ 2.50 s",
		"UNCLEAR  away: 600 ms, 400 ms to 1.50 s (75 %, n=3), wanted ≤ 1.00 s",
	} {
		if !strings.Contains(b.String(), line+"\n") {
			t.Errorf("%q is not in\n%s", line, b.String())
		}
	}
	p, err := newPage(run, t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	want := targetRow{"away at worst", "≤ 2.50 s", "1.50 s", "the worst of 3, best 400 ms", record.OK, p.Targets[0].Plot}
	if len(p.Targets) != 2 || p.Targets[0] != want || !strings.Contains(string(want.Plot), "<title>away at worst: 1.50 s") {
		t.Errorf("the report's rows: %+v", p.Targets)
	}
	run.Arms[0].Repetitions[1].Status = record.Failed
	if text := textOf(run, &record.Target{Arm: "kill", Measure: "away", AtMost: 2.5e9, Worst: true, Value: 1.5e9, Low: 4e8, Repetitions: 3, Result: record.Failed}); text.span !=
		"the worst of 3, best 400 ms, and a promise was broken" {
		t.Errorf("a broken promise: %+v", text)
	}
	for _, c := range []struct {
		v    float64
		unit string
		want string
	}{{16384, "B", "16.0 KiB"}, {3, "errors", "3 errors"}, {0, "1/s", "0 1/s"}, {1.25, "%", "1.25 %"}, {0.5, "1/s", "0.500 1/s"}} {
		if got := amount(c.v, c.unit); got != c.want {
			t.Errorf("%v of %s: %q, want %q", c.v, c.unit, got, c.want)
		}
	}
}
