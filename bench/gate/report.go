package gate

import "math"

// What a row may come to besides the verdicts of a whole lane.
const (
	Improved    Verdict = "IMPROVED"    // better; the baseline does not know it yet
	Waived      Verdict = "WAIVED"      // worse, within what a waiver allows
	Advisory    Verdict = "ADVISORY"    // told and not judged, Row.Note says why
	Quarantined Verdict = "QUARANTINED" // its repeats do not agree, so it is not judged
)

// ReportSchema names the form of verdict.json.
const ReportSchema = "dyno.gate/1"

// Report is what a lane found, in the form that every lane writes: as a table, as
// verdict.json, as Markdown for a pull request and as JUnit XML (summary.go).
type Report struct {
	Schema  string   `json:"schema"`
	Lane    string   `json:"lane"`
	Verdict Verdict  `json:"verdict"`
	Text    string   `json:"text"` // the verdict's reason, in a sentence
	Base    Side     `json:"base"`
	Head    Side     `json:"head"`
	Rows    []Row    `json:"rows"`
	Notes   []string `json:"notes,omitempty"` // what a reader must know, each a sentence
}

// Side is one of the two that were compared.
type Side struct {
	Name   string `json:"name"`   // as the caller asked for it: a file, a revision, "this program"
	Commit string `json:"commit"` // "unknown" where it is not
	Dirty  bool   `json:"dirty"`
	Go     string `json:"go,omitempty"`
}

// Row is one metric of a lane. A pointer is nil where there is no such value.
type Row struct {
	Name string   `json:"name"`
	Unit string   `json:"unit"`
	Base *float64 `json:"base"`
	Head *float64 `json:"head"`
	// Change is the fraction by which head is larger: 0.02 is 2 % more.
	Change *float64 `json:"change"`
	// Interval is where the change lies, for lanes that estimate it.
	Interval *[2]float64 `json:"interval,omitempty"`
	Verdict  Verdict     `json:"verdict"`
	Note     string      `json:"note,omitempty"`
}

// stillMax is the change below which a row that passed is as it was: allocations of
// the same code differ by a few.
const stillMax = 0.0005

// Still says that a row passed and that nothing about it is new.
func (r *Row) Still() bool {
	return r.Verdict == Pass && r.Note == "" && (r.Change == nil || math.Abs(*r.Change) < stillMax)
}

// count is how many rows came to v.
func (r *Report) count(v Verdict) (n int) {
	for i := range r.Rows {
		if r.Rows[i].Verdict == v {
			n++
		}
	}
	return n
}
