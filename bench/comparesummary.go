package bench

import (
	"bytes"
	"slices"

	"dyno/bench/gate"
)

// SummaryFile is the name of a verdict as Markdown, for a pull request: beside each
// VerdictFile.
const SummaryFile = "summary.md"

// JUnitFile is the name of a verdict as JUnit XML, for a CI system, beside it.
const JUnitFile = "junit.xml"

// Report is the verdict in the form that every lane of the gate writes.
func (v *Verdict) Report() *gate.Report {
	r := &gate.Report{Schema: gate.ReportSchema, Lane: v.Lane, Verdict: v.Verdict, Text: v.Text,
		Base: gate.Side{Name: "base", Commit: v.Base}, Head: gate.Side{Name: "head", Commit: v.Head}, Notes: v.Notes}
	for i := range v.Metrics {
		r.Rows = append(r.Rows, v.row(&v.Metrics[i]))
	}
	return r
}

// row is one metric's. Findings count how much worse head is; a row tells by how much
// it is larger.
func (v *Verdict) row(m *MetricResult) gate.Row {
	row := gate.Row{Name: m.Name, Unit: m.Unit, Base: &m.Base, Head: &m.Head, Verdict: gate.Advisory, Note: "only printed"}
	if m.Base > 0 {
		change := m.Head/m.Base - 1
		row.Change = &change
	}
	if v.Decision == nil || v.Decision.Look == 0 {
		row.Note = "not judged"
		return row
	}
	at := slices.IndexFunc(v.Decision.Findings, func(f gate.Finding) bool { return f.Metric == m.Name })
	if at < 0 {
		return row
	}
	f := v.Decision.Findings[at]
	change, low, high := f.Change, f.Low, f.High
	if slices.ContainsFunc(v.Decision.Rule.Metrics, func(m gate.Metric) bool { return m.Name == f.Metric && m.Higher }) {
		change, low, high = 1/(1+f.Change)-1, 1/(1+f.High)-1, 1/(1+f.Low)-1
	}
	row.Change, row.Interval, row.Note, row.Verdict = &change, &[2]float64{low, high}, "", gate.Inconclusive
	switch {
	case f.Confirmed:
		row.Verdict = gate.Fail
	case f.Candidate: // looked worse, was not confirmed
	case f.Improved:
		row.Verdict = gate.Improved
	case f.Bounded:
		row.Verdict = gate.Pass
	}
	return row
}

// markdown is the report with the functions that were named.
func (v *Verdict) markdown() ([]byte, error) {
	b := bytes.NewBuffer(v.Report().Markdown())
	if v.Attribution == nil {
		return b.Bytes(), nil
	}
	b.WriteByte('\n')
	err := v.Attribution.WriteMarkdown(b)
	return b.Bytes(), err
}
