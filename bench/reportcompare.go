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
	"dyno/bench/record"
	"dyno/bench/stats"
)

// verdictView is what the report draws of a written verdict, of a comparison in blocks
// or of the counters of a replay. It is read tolerantly: a report draws what it knows.
type verdictView struct {
	Schema   string          `json:"schema"`
	Verdict  string          `json:"verdict"`
	Text     string          `json:"text"`
	Base     json.RawMessage `json:"base"` // a commit, or an object that names one
	Head     json.RawMessage `json:"head"`
	Blocks   int             `json:"blocks"`
	Redone   int             `json:"redone"`
	Metrics  []metricView    `json:"metrics"`
	Decision *decisionView   `json:"decision"`
	Rows     []counterView   `json:"rows"`
	Notes    []string        `json:"notes"`
}

type metricView struct {
	Name, Unit string
	Base, Head float64
}

type decisionView struct {
	Look      int     `json:"look"`
	FalsePass float64 `json:"false_pass"`
	Findings  []struct {
		Metric        string  `json:"metric"`
		Change        float64 `json:"change"` // fraction by which head is worse
		Low           float64 `json:"low"`
		High          float64 `json:"high"`
		Detectable    float64 `json:"detectable"`
		Bounded       bool    `json:"bounded"`
		Candidate     bool    `json:"candidate"`
		Improved      bool    `json:"improved"`
		ConfirmChange float64 `json:"confirm_change"`
	} `json:"findings"`
	Rule struct {
		Metrics []struct {
			Name   string  `json:"name"`
			Effect float64 `json:"effect"`
			Bound  float64 `json:"bound"`
		} `json:"metrics"`
		PassConfidence float64 `json:"pass_confidence"`
	} `json:"rule"`
}

type counterView struct {
	Name, Unit, Verdict, Note string
	Base, Head, Change        *float64
}

// countersSchema is that of the counters of a replay.
const countersSchema = "dyno.gate/1"

// comparisonSection shows the written verdicts of a result: for each metric the change
// with every block's value, and the table of counters. Empty where there is none.
func comparisonSection(run *record.Run, dir string) (section, error) {
	s := section{ID: "comparison", Title: "Base against head"}
	paths, err := filepath.Glob(filepath.Join(dir, "verdict*.json"))
	if err != nil {
		return section{}, err
	}
	slices.Reverse(paths) // verdict.json before those with a longer name
	for _, path := range paths {
		raw, err := os.ReadFile(path)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return section{}, fmt.Errorf("read verdict: %w", err)
		}
		var v verdictView
		if err := json.Unmarshal(raw, &v); err != nil {
			return section{}, fmt.Errorf("read verdict %s: %w", filepath.Base(path), err)
		}
		s.Words = append(s.Words, fmt.Sprintf("%s: %s. Base %s, head %s.", v.Verdict, strings.TrimSuffix(v.Text, "."), commitOf(v.Base), commitOf(v.Head)))
		if v.Schema == countersSchema {
			s.Tables = append(s.Tables, counterTables(v.Rows)...)
			s.Words = append(s.Words, v.Notes...)
			continue
		}
		s.Words = append(s.Words, fmt.Sprintf("%d blocks of four runs count, %d were set aside for the machine's sake.", v.Blocks, v.Redone))
		s.compared(run, &v)
	}
	return s, nil
}

// compared adds the metrics of a comparison in blocks.
func (s *section) compared(run *record.Run, v *verdictView) {
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
func findingFigure(run *record.Run, d *decisionView, i int) (draw.Figure, bool) {
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
	case f.Candidate:
		word = "worse"
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
func counterTables(rows []counterView) []draw.Table {
	head := []string{"counter", "base", "head", "change", "verdict"}
	moved, still := draw.Table{Title: "Counters that moved", Head: head}, draw.Table{Title: "Counters as they were", Head: head}
	for _, r := range rows {
		change := "-"
		if r.Change != nil {
			change = fmt.Sprintf("%+.2f %%", 100**r.Change)
		}
		verdict := r.Verdict
		if r.Note != "" {
			verdict += ": " + r.Note
		}
		row := []string{r.Name, counterText(r.Base, r.Unit), counterText(r.Head, r.Unit), change, verdict}
		if r.Verdict == "PASS" && r.Note == "" && (r.Change == nil || math.Abs(*r.Change) < 0.0005) {
			still.Rows = append(still.Rows, row)
		} else {
			moved.Rows = append(moved.Rows, row)
		}
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

// commitOf names a side, short.
func commitOf(raw json.RawMessage) string {
	var text string
	if json.Unmarshal(raw, &text) != nil {
		var side struct{ Name, Commit string }
		if json.Unmarshal(raw, &side) != nil {
			return record.Unknown
		}
		text = side.Commit
		if side.Name != "" {
			return fmt.Sprintf("%s (%.12s)", side.Name, text)
		}
	}
	return fmt.Sprintf("%.12s", text)
}
