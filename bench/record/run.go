package record

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"time"
)

// Schema names the version of run.json that this package reads and writes.
const Schema = "dyno.run/1"

// Run is one result: everything that is needed to repeat it and to judge it.
type Run struct {
	Schema string `json:"schema"`
	ID     string `json:"id"`   // YYYYMMDD.NN-name, the directory's name; from 100 on NNN
	Kind   string `json:"kind"` // KindSuite, KindExperiment or KindComparison
	// Question and Expectation were written before the run started.
	Question    string         `json:"question"`
	Expectation string         `json:"expectation"`
	Started     time.Time      `json:"started"`
	Seconds     float64        `json:"seconds"`
	Commit      Commit         `json:"commit"`
	Config      map[string]any `json:"config"` // the effective configuration
	Seeds       []uint64       `json:"seeds"`
	Environment Environment    `json:"environment"`
	Units       []Unit         `json:"units"`
	Arms        []Arm          `json:"arms"`
	Verdict     Verdict        `json:"verdict"`
	Notes       []string       `json:"notes,omitempty"`
}

// The kinds of run.
const (
	KindSuite      = "suite"
	KindExperiment = "experiment"
	KindComparison = "comparison" // of two commits, in paired blocks
)

// Commit is the source the measured program was built from.
type Commit struct {
	Hash  string `json:"hash"`
	Dirty bool   `json:"dirty"` // built from a tree with uncommitted changes
}

// Unit declares one measured quantity.
type Unit struct {
	Name   string `json:"name"`             // the key in Repetition.Values
	Unit   string `json:"unit"`             // "records/s", "ns", …; no spaces
	Better string `json:"better,omitempty"` // "higher", "lower" or "" for neither
	Exact  bool   `json:"exact,omitempty"`  // a count that repeats exactly
}

// Arm is one configuration under test.
type Arm struct {
	Name   string            `json:"name"` // unique within the run
	Params map[string]string `json:"params"`
	// Observed is what came of it in words, such as the state of the disk space
	// written into: not part of what the arm is, so of no name.
	Observed    map[string]string `json:"observed,omitempty"`
	Repetitions []Repetition      `json:"repetitions"`
}

// Repetition is one measurement in fresh processes and a fresh directory.
type Repetition struct {
	Number  int                `json:"number"` // from 1
	Order   int                `json:"order"`  // place among all repetitions of the run, from 1
	Seed    uint64             `json:"seed"`
	Seconds float64            `json:"seconds"`
	Status  string             `json:"status"`            // OK, Failed or Invalid
	Problem string             `json:"problem,omitempty"` // why not OK
	Values  map[string]float64 `json:"values"`
}

// The states of a repetition and of a verdict. Failed means the system under
// test broke a promise; Invalid means the run says nothing about it, because
// the generator or the machine was at fault.
const (
	OK      = "ok"
	Failed  = "failed"
	Invalid = "invalid"
	Unclear = "unclear" // verdicts and targets only: the interval spans the target
)

// Verdict is what the run says, in words and per target.
type Verdict struct {
	Result  string   `json:"result"`
	Text    string   `json:"text"`
	Targets []Target `json:"targets,omitempty"`
	Factors []Factor `json:"factors,omitempty"`
	Fits    []Fit    `json:"fits,omitempty"`
}

// Fit is the Universal Scalability Law of one path, fitted to the throughput of all its
// good repetitions over the number of producers (bench/stats.FitUSL has the formula and
// its source). A range is left out where the repetitions are too few to know it.
type Fit struct {
	Path       string      `json:"path"`
	Where      string      `json:"where"`  // the load that all numbers of producers share
	Lambda     float64     `json:"lambda"` // throughput of one producer
	Sigma      float64     `json:"sigma"`  // contention
	Kappa      float64     `json:"kappa"`  // coherence
	SigmaRange *[2]float64 `json:"sigma_range,omitempty"`
	KappaRange *[2]float64 `json:"kappa_range,omitempty"`
	Confidence float64     `json:"confidence"`     // of the ranges
	Peak       float64     `json:"peak,omitempty"` // producers of the most throughput, where it is shown that there is a peak
	Residuals  []Residual  `json:"residuals"`
}

// Residual is by what fraction one repetition was above the fit.
type Residual struct {
	Producers float64 `json:"producers"`
	Value     float64 `json:"value"`
}

// Factor is how many times what one arm has another one has: a finding, no promise.
type Factor struct {
	Name        string  `json:"name"`
	Measure     string  `json:"measure"` // a Unit.Name
	Arm         string  `json:"arm"`
	Against     string  `json:"against"`
	Ratio       float64 `json:"ratio"` // median of the per-repetition ratios
	Low         float64 `json:"low"`   // interval of that median
	High        float64 `json:"high"`  //
	Coverage    float64 `json:"coverage"`
	Repetitions int     `json:"repetitions"`
	Claimed     float64 `json:"claimed,omitempty"` // what somebody else said it is
}

// Target is one thing that was promised, and what was found: a ratio between two
// arms, or, without Against, a bound on what one arm measures.
type Target struct {
	Name        string  `json:"name"`
	Measure     string  `json:"measure"` // a Unit.Name
	Arm         string  `json:"arm"`
	Against     string  `json:"against,omitempty"`
	AtLeast     float64 `json:"at_least,omitempty"` // of a ratio
	AtMost      float64 `json:"at_most,omitempty"`  // of a bound, in the measure's unit; absent is 0
	Worst       bool    `json:"worst,omitempty"`    // the bound is judged by the worst repetition, one that Failed among them
	Ratio       float64 `json:"ratio,omitempty"`    // median of the per-repetition ratios
	Value       float64 `json:"value,omitempty"`    // of a bound: median of the repetitions, or the worst
	Low         float64 `json:"low"`                // interval of that median; range of the repetitions where Worst
	High        float64 `json:"high"`               //
	Coverage    float64 `json:"coverage"`           // of the interval, 0..1
	Repetitions int     `json:"repetitions"`
	Result      string  `json:"result"`
}

// Arm returns the arm of that name, nil where there is none.
func (r *Run) Arm(name string) *Arm {
	for i := range r.Arms {
		if r.Arms[i].Name == name {
			return &r.Arms[i]
		}
	}
	return nil
}

// Unit returns the declaration of a measured quantity.
func (r *Run) Unit(name string) (Unit, bool) {
	for _, u := range r.Units {
		if u.Name == name {
			return u, true
		}
	}
	return Unit{}, false
}

// Values collects one quantity over the arm's good repetitions, in order of
// repetition. The slice is the caller's.
func (a *Arm) Values(name string) []float64 {
	var vs []float64
	for _, rep := range a.Repetitions {
		if v, ok := rep.Values[name]; ok && rep.Status == OK {
			vs = append(vs, v)
		}
	}
	return vs
}

// Decode reads one run.json. Errors: ErrSchema, ErrInvalid.
func Decode(r io.Reader) (*Run, error) {
	raw, err := io.ReadAll(io.LimitReader(r, runBytesMax+1))
	if err != nil {
		return nil, fmt.Errorf("read run: %w", err)
	}
	if len(raw) > runBytesMax {
		return nil, fmt.Errorf("%w: larger than %d bytes", ErrInvalid, runBytesMax)
	}
	var head struct {
		Schema string `json:"schema"`
	}
	if err := json.Unmarshal(raw, &head); err != nil {
		return nil, fmt.Errorf("%w: %v", ErrInvalid, err)
	}
	if head.Schema != Schema {
		return nil, fmt.Errorf("%w: it says %q, this dyno reads %q; use the dyno that wrote it",
			ErrSchema, head.Schema, Schema)
	}
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.DisallowUnknownFields()
	run := new(Run)
	if err := dec.Decode(run); err != nil {
		return nil, fmt.Errorf("%w: %v", ErrInvalid, err)
	}
	if err := run.Validate(); err != nil {
		return nil, err
	}
	return run, nil
}

// runBytesMax bounds what a reader takes in; a full experiment is below 1 MiB.
const runBytesMax = 16 << 20

// Encode validates r and writes it as indented JSON. Error: ErrInvalid.
func (r *Run) Encode(w io.Writer) error {
	if err := r.Validate(); err != nil {
		return err
	}
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "\t")
	if err := enc.Encode(r); err != nil {
		return fmt.Errorf("encode run: %w", err)
	}
	return nil
}
