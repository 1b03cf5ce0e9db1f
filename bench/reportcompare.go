package bench

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"dyno/bench/draw"
	"dyno/bench/gate"
	"dyno/bench/record"
	"dyno/bench/stats"
)

// comparisonSection shows the written verdicts of a result: for each metric the change
// with every block's value, and the counters of a replay. v is nil where there was no
// comparison. Empty where there is neither.
func comparisonSection(run *record.Run, v *Verdict, dir string) (section, error) {
	s := section{ID: "comparison", Title: "Base against head"}
	if v != nil {
		s.Words = append(s.Words, fmt.Sprintf("%s: %s. Base %.12s, head %.12s.", v.Verdict, strings.TrimSuffix(v.Text, "."), v.Base, v.Head),
			fmt.Sprintf("%d blocks of four runs count, %d were set aside and run again.", v.Blocks, v.Redone))
		s.compared(run, v)
	}
	var counters gate.Report
	found, err := readJSON(filepath.Join(dir, CountersFile), &counters)
	if err == nil && found && counters.Schema != gate.ReportSchema {
		err = fmt.Errorf("%w: %s has the form %q, this program reads %s", record.ErrSchema, CountersFile, counters.Schema, gate.ReportSchema)
	}
	if err != nil {
		return section{}, err
	}
	if found {
		s.Words = append(s.Words, fmt.Sprintf("Exact counters: %s: %s. Base %s; head %s.", counters.Verdict, strings.TrimSuffix(counters.Text, "."), &counters.Base, &counters.Head))
		s.Words = append(s.Words, counters.Notes...)
		s.Tables = append(s.Tables, counterTables(counters.Rows)...)
	}
	return s, nil
}

// readJSON reads a file of a result; found is false where there is none.
func readJSON(path string, into any) (found bool, _ error) {
	raw, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err == nil {
		err = json.Unmarshal(raw, into)
	}
	if err != nil {
		return false, fmt.Errorf("read %s: %w", filepath.Base(path), err)
	}
	return true, nil
}

// compared adds the metrics of a comparison in blocks.
func (s *section) compared(run *record.Run, v *Verdict) {
	if d := v.Decision; d != nil {
		if d.Look > 0 {
			s.Words = append(s.Words, fmt.Sprintf("Decided after %d blocks. A change as large as its bound passes in at most %.1f %% of comparisons. To the right is worse.", d.Look, 100*d.FalsePass))
		}
		for i := range d.Findings {
			if f, ok := findingFigure(run, d, i); ok {
				s.Figures = append(s.Figures, f)
			}
		}
	}
	t := draw.Table{Title: "All quantities, medians of the runs that count", Head: []string{"metric", "base", "head", "head against base"}}
	for _, m := range v.Metrics {
		unit, _ := run.Unit(m.Name)
		scale := scaleOf(unit)
		change := "-"
		if m.Base != 0 {
			change = fmt.Sprintf("%+.1f %%", 100*(m.Head/m.Base-1))
		}
		t.Rows = append(t.Rows, []string{columnName(record.Unit{Name: m.Name, Unit: m.Unit}), plain(scale * m.Base), plain(scale * m.Head), change})
	}
	if len(t.Rows) > 0 {
		s.Tables = append(s.Tables, t)
	}
}

// findingFigure is one metric: every block's change, the estimate with its interval,
// and what it is judged by. All are percents by which head is worse.
func findingFigure(run *record.Run, d *gate.Decision, i int) (draw.Figure, bool) {
	f := d.Findings[i]
	unit, ok := run.Unit(f.Metric)
	blocks := blockChanges(run, "", unit)
	if !ok || len(blocks) == 0 {
		return draw.Figure{}, false
	}
	st := draw.Strip{Title: strings.ReplaceAll(f.Metric, "_", " "), Rules: []draw.Rule{{At: 0, Label: "no change"}}}
	var held span
	held.hold(0)
	for _, m := range d.Rule.Metrics {
		if m.Name == f.Metric {
			st.Rules = append(st.Rules, draw.Rule{At: 100 * m.Effect, Label: fmt.Sprintf("fails from %.0f %%, if sure", 100*m.Effect)},
				draw.Rule{At: 100 * m.Bound, Label: fmt.Sprintf("passes below %.0f %%", 100*m.Bound)})
			held.hold(100 * m.Effect)
			held.hold(100 * m.Bound)
		}
	}
	rows := []draw.Row{{Name: "blocks", Low: 100 * f.Low, Mid: 100 * f.Change, High: 100 * f.High, Dots: blocks}}
	if d.Look == 0 { // not judged: no estimate either
		rows[0].Low, rows[0].Mid, rows[0].High = middleOf(blocks)
	}
	word := "open"
	switch {
	case f.Confirmed:
		word = "worse"
	case f.Candidate:
		word = "worse, not confirmed"
	case f.Improved:
		word = "better"
	case f.Bounded:
		word = "bounded"
	}
	rows[0].Note = fmt.Sprintf("%+.1f %% (%+.1f to %+.1f): %s", rows[0].Mid, rows[0].Low, rows[0].High, word)
	for _, more := range []struct{ prefix, name string }{{"confirm-", "confirmation"}, {"null-", "base against base"}} {
		if vs := blockChanges(run, more.prefix, unit); len(vs) > 0 {
			r := draw.Row{Name: more.name, Hue: len(rows), Dots: vs}
			r.Low, r.Mid, r.High = middleOf(vs)
			r.Note = fmt.Sprintf("%+.1f %%", r.Mid)
			rows = append(rows, r)
		}
	}
	for _, r := range rows {
		for _, v := range append([]float64{r.Low, r.Mid, r.High}, r.Dots...) {
			held.hold(v)
		}
	}
	st.Rows, st.X = rows, draw.Linear("% worse", held.low, held.high)
	st.Text = fmt.Sprintf("%s; %d blocks. Such blocks show a change of %.1f %% in 95 of 100 comparisons.", rows[0].Note, len(blocks), 100*f.Detectable)
	fig := st.Figure()
	fig.Keys[0].Name, fig.Keys[1].Name = "one block", "estimate and its interval"
	return fig, true
}

// middleOf is the range and the median.
func middleOf(vs []float64) (low, mid, high float64) {
	return slices.Min(vs), stats.Median(vs), slices.Max(vs)
}

// blockChanges is by how many percent head was worse in each block, from the runs of a
// result: repetition 4k+1 to 4k+4 of both sides are those of block k, and those that
// do not count have a status of their own.
func blockChanges(run *record.Run, prefix string, unit record.Unit) []float64 {
	var logs [2]map[int][]float64
	for side, name := range []string{"base", "head"} {
		logs[side] = map[int][]float64{}
		arm := run.Arm(prefix + name)
		if arm == nil {
			return nil
		}
		for _, rep := range arm.Repetitions {
			if v := rep.Values[unit.Name]; rep.Status == record.OK && v > 0 {
				k := (rep.Number - 1) / 4
				logs[side][k] = append(logs[side][k], math.Log(v))
			}
		}
	}
	var out []float64
	for _, k := range slices.Sorted(maps.Keys(logs[0])) {
		base, head := logs[0][k], logs[1][k]
		if len(base) == 0 || len(head) == 0 {
			continue
		}
		worse := mean(head) - mean(base)
		if unit.Better == "higher" {
			worse = -worse
		}
		out = append(out, 100*math.Expm1(worse))
	}
	return out
}

func mean(vs []float64) float64 {
	sum := 0.0
	for _, v := range vs {
		sum += v
	}
	return sum / float64(len(vs))
}

// counterTables are the counters of a replay: those that moved or that something is
// said of, and the rest.
func counterTables(rows []gate.Row) []draw.Table {
	head := []string{"counter", "base", "head", "change", "verdict"}
	moved, still := draw.Table{Title: "Counters that moved", Head: head}, draw.Table{Title: "Counters as they were", Head: head}
	for i := range rows {
		r := &rows[i]
		change := "-"
		if r.Change != nil {
			change = fmt.Sprintf("%+.2f %%", 100**r.Change)
		}
		verdict := string(r.Verdict)
		if r.Note != "" {
			verdict += ": " + r.Note
		}
		into := &moved
		if r.Still() {
			into = &still
		}
		into.Rows = append(into.Rows, []string{r.Name, counterText(r.Base, r.Unit), counterText(r.Head, r.Unit), change, verdict})
	}
	return slices.DeleteFunc([]draw.Table{moved, still}, func(t draw.Table) bool { return len(t.Rows) == 0 })
}

func counterText(v *float64, unit string) string {
	if v == nil {
		return "-"
	}
	return strings.TrimSpace(plain(*v) + " " + unit)
}

func plain(v float64) string { return fmt.Sprintf(plainForm(v), v) }
