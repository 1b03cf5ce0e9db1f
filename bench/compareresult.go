package bench

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"text/tabwriter"
	"time"

	"dyno/bench/attribute"
	"dyno/bench/gate"
	"dyno/bench/paired"
	"dyno/bench/record"
	"dyno/bench/stats"
)

// VerdictFile is the name of a written Verdict: in the result, and in the root of
// the results for whoever only wants the last one.
const VerdictFile = "verdict.json"

// CountersFile is the name of the verdict on exact counters that a comparison was asked
// to keep in its result.
const CountersFile = "verdict-x.json"

// verdictSchema is the version of its form.
const verdictSchema = "dyno.verdict/1"

// Verdict is what a comparison says.
type Verdict struct {
	Schema  string       `json:"schema"`
	Verdict gate.Verdict `json:"verdict"`
	Text    string       `json:"text"` // one sentence
	Lane    string       `json:"lane"`
	Base    string       `json:"base"` // commits
	Head    string       `json:"head"`
	// Fingerprint is the machine's.
	Fingerprint string         `json:"fingerprint"`
	Identical   bool           `json:"identical"`        // both are one program; nothing was run
	Behind      bool           `json:"behind,omitempty"` // head cannot take the load that base takes
	Blocks      int            `json:"blocks"`           // that count, null blocks and confirmation included
	Redone      int            `json:"redone"`           // that were set aside and run again
	Work        string         `json:"work,omitempty"`   // what a run does, as the lane describes it
	Seed        uint64         `json:"seed,omitempty"`
	Metrics     []MetricResult `json:"metrics,omitempty"`
	Decision    *gate.Decision `json:"decision,omitempty"` // what the rule made of the blocks, where it came to that
	Result      string         `json:"result,omitempty"`   // id of the result directory
	Notes       []string       `json:"notes,omitempty"`
	// Attribution names the functions that got slower, where that was asked of the
	// profiles.
	Attribution *attribute.Attribution `json:"attribution,omitempty"`
}

// MetricResult is one quantity of both sides: medians of all runs that count, but
// not of null blocks. What it means is in the decision's findings.
type MetricResult struct {
	Name string  `json:"name"`
	Unit string  `json:"unit"`
	Base float64 `json:"base"`
	Head float64 `json:"head"`
}

// write writes the verdict as indented JSON, whole or not at all, and as Markdown and
// JUnit XML beside it.
func (v *Verdict) write(path string) error {
	raw, err := json.MarshalIndent(v, "", "\t")
	var text, junit []byte
	if err == nil {
		text, err = v.markdown()
	}
	if err == nil {
		junit, err = v.Report().JUnit()
	}
	if err == nil {
		err = os.MkdirAll(filepath.Dir(path), 0o755)
	}
	if err == nil {
		err = writeWhole(path, append(raw, '\n'))
	}
	if err == nil {
		err = writeWhole(filepath.Join(filepath.Dir(path), SummaryFile), text)
	}
	if err == nil {
		err = writeWhole(filepath.Join(filepath.Dir(path), JUnitFile), junit)
	}
	if err != nil {
		return fmt.Errorf("write the verdict: %w", err)
	}
	return nil
}

func writeWhole(path string, raw []byte) error {
	draft := path + ".new"
	if err := os.WriteFile(draft, raw, 0o644); err != nil {
		return err
	}
	return os.Rename(draft, path)
}

// verdict is one without a verdict.
func (c *compare) verdict() *Verdict {
	return &Verdict{Schema: verdictSchema, Lane: c.lane.name(), Base: c.base.Hash, Head: c.head.Hash, Fingerprint: c.lab.env.Fingerprint, Work: c.loadText()}
}

// publish writes the result directory with everything that was measured, prints
// what it says, and removes the ledger whose copy it holds.
func (c *compare) publish(led *paired.Ledger, end paired.End, found *attributed) (_ *Verdict, err error) {
	v := c.verdict()
	v.Decision, v.Blocks, v.Seed = end.Decision, led.Kept(), led.Header.Seed
	v.Redone = led.Redone(paired.Main) + led.Redone(paired.Confirm)
	switch {
	case end.Broken != "":
		v.Verdict, v.Text = gate.Fail, "head broke a promise: "+end.Broken
	case end.Behind != "":
		v.Verdict, v.Behind, v.Text = gate.Fail, true, "head cannot take the load that base takes, in two blocks: "+end.Behind
	case end.Unfit != "":
		v.Verdict, v.Text = gate.Unmeasurable, end.Unfit
	default:
		v.Verdict, v.Text = end.Decision.Verdict, end.Decision.Reason
	}
	if base, head := led.Mute(&c.cfg.plan); base+head > 0 {
		c.lab.cautionLast(fmt.Sprintf("%d runs of base and %d of head said nothing, and their blocks were run again: had head's been bad for their cost, what is bounded would be less than it is", base, head))
	}
	if led.Resumed > 0 {
		c.lab.cautionLast(fmt.Sprintf("%d blocks come from an interrupted invocation", led.Resumed))
	}
	if c.cfg.settings != "" {
		c.lab.cautionLast("the brokers of both sides had settings of their own: " + strings.Join(strings.Fields(c.cfg.settings), " "))
	}
	run := c.record(led, v)
	c.lab.finish(run)
	v.Notes = run.Notes
	dir, report, err := c.lab.seal(run, "compare-"+c.lane.name(), func(dir *record.Dir) error { return c.beside(dir, led, v, found) })
	if err != nil {
		return nil, errors.Join(err, found.drop())
	}
	if err := v.write(filepath.Join(c.lab.opt.Results, VerdictFile)); err != nil {
		return nil, err
	}
	if err := c.addNulls(v); err != nil { // once the result stands: what follows does not run again
		return nil, err
	}
	if err := errors.Join(led.Done(), os.RemoveAll(unfinished(led))); err != nil {
		return nil, err
	}
	c.lab.progress.clear()
	return v, c.print(run, v, dir.Path(), report)
}

// beside writes what a comparison keeps beside its run: the ledger, the profiles of an
// attribution, the verdict, and the one on exact counters that it was given.
func (c *compare) beside(dir *record.Dir, led *paired.Ledger, v *Verdict, found *attributed) error {
	v.Result = dir.ID()
	text, err := led.Text()
	if err == nil {
		var keepErr error
		if v.Attribution, keepErr = found.keep(c.lab.opt.Profiles, dir.ID()); keepErr != nil { // it takes no verdict away
			fmt.Fprintln(c.lab.opt.Err, "caution: no function is named:", keepErr)
		}
	}
	if err == nil {
		err = os.WriteFile(filepath.Join(dir.Path(), "ledger.jsonl"), text, 0o644)
	}
	if err == nil {
		err = v.write(filepath.Join(dir.Path(), VerdictFile))
	}
	if err == nil && len(c.cfg.Counters) > 0 {
		err = os.WriteFile(filepath.Join(dir.Path(), CountersFile), c.cfg.Counters, 0o644)
	}
	return err
}

// record is the run as the schema of results has it: an arm for each side of each
// kind of block. Runs that were not good stand beside those that count.
func (c *compare) record(led *paired.Ledger, v *Verdict) *record.Run {
	run := &record.Run{Kind: record.KindComparison, Seeds: []uint64{led.Header.Seed}, Units: c.lane.units(), Config: c.described(),
		Question:    fmt.Sprintf("Is %.10s slower than %.10s?", c.head.Hash, c.base.Hash),
		Expectation: "No metric is worse by its bound or more.",
		Verdict:     record.Verdict{Result: resultOf(v.Verdict), Text: string(v.Verdict) + ": " + v.Text}}
	run.Config["seed"] = fmt.Sprint(led.Header.Seed) // a number of JSON cannot hold it
	run.Config["toolchain"], run.Config["lab"] = led.Header.Toolchain, led.Header.Lab
	for _, line := range led.Lines {
		if line.Load != nil {
			run.Config["load"] = line.Load
		}
	}
	arms := []string{string(paired.Base), string(paired.Head)}
	reps := map[string][]record.Repetition{}
	for i, r := range led.Stored() {
		arm := string(r.Side)
		switch {
		case c.cfg.plan.Toss(led.Header.Seed, r.Slot).Null:
			arm = "null-" + arm
		case r.Stage == paired.Confirm:
			arm = "confirm-" + arm
		}
		if reps[arm] == nil && arm != arms[0] && arm != arms[1] {
			arms = append(arms, arm)
		}
		reps[arm] = append(reps[arm], record.Repetition{Number: r.Number*4 + r.Place, Order: i + 1, Seed: uint64(r.Number) + 1,
			Seconds: r.Seconds, Status: r.Status, Problem: r.Problem, Values: r.Values})
	}
	for _, name := range arms {
		run.Arms = append(run.Arms, record.Arm{Name: name, Params: map[string]string{"lane": c.lane.name()}, Repetitions: reps[name]})
	}
	base, head := run.Arm(arms[0]), run.Arm(arms[1])
	for _, u := range run.Units {
		if b, h := base.Values(u.Name), head.Values(u.Name); len(b) > 0 && len(h) > 0 {
			v.Metrics = append(v.Metrics, MetricResult{u.Name, u.Unit, stats.Median(b), stats.Median(h)})
		}
	}
	return run
}

func resultOf(v gate.Verdict) string {
	switch v {
	case gate.Pass:
		return record.OK
	case gate.Fail:
		return record.Failed
	case gate.Inconclusive:
		return record.Unclear
	}
	return record.Invalid
}

// print is the comparison for people; its last line is the verdict.
func (c *compare) print(run *record.Run, v *Verdict, dir, report string) error {
	w := c.lab.opt.Out
	fmt.Fprintf(w, "\n%s\nbase %s\nhead %s\n%d blocks of four runs, %d set aside; seed %d\n\n", run.ID, c.base.Short(), c.head.Short(), v.Blocks, v.Redone, v.Seed)
	findings := map[string]gate.Finding{}
	if v.Decision != nil && v.Decision.Look > 0 {
		for _, f := range v.Decision.Findings {
			findings[f.Metric] = f
		}
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintf(t, "metric\tbase\thead\tworse by\tinterval\twould see\t\t\n")
	for _, col := range c.lane.columns() {
		base, head := col.middle(run.Arm("base")), col.middle(run.Arm("head"))
		if base == "-" && head == "-" {
			continue
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t\n", col.label, base, head, findingText(findings, col.name, c.cfg.plan.Rule))
	}
	if err := t.Flush(); err != nil {
		return err
	}
	c.explain(w, v)
	if v.Attribution != nil {
		if err := v.Attribution.WriteText(w); err != nil {
			return err
		}
	}
	for _, note := range run.Notes {
		fmt.Fprintf(w, "note: %s\n", note)
	}
	_, err := fmt.Fprintf(w, "result: %s (benchstat -col /arm %s)\nreport: %s\n%s: %s\n", dir, filepath.Join(dir, record.BenchFile), report, v.Verdict, v.Text)
	return err
}

// findingText is the right part of a metric's row; what does not decide has none.
func findingText(findings map[string]gate.Finding, name string, rule gate.Rule) string {
	f, ok := findings[name]
	if !ok {
		return "\t\t\t"
	}
	word := "open"
	for _, m := range rule.Metrics {
		if m.Name == name && f.Bounded {
			word = fmt.Sprintf("below %.0f %%", 100*m.Bound)
		}
	}
	switch {
	case f.Confirmed:
		word = "WORSE"
	case f.Candidate:
		word = "worse, not confirmed"
	case f.Improved:
		word = "better"
	}
	return fmt.Sprintf("%+.1f %%\t%+.1f to %+.1f %%\t%.1f %%\t%s", 100*f.Change, 100*f.Low, 100*f.High, 100*f.Detectable, word)
}

// explain says what the columns are, and what the verdict may be wrong about.
func (c *compare) explain(w io.Writer, v *Verdict) {
	if v.Decision == nil || v.Decision.Look == 0 {
		return
	}
	rule := v.Decision.Rule
	fmt.Fprintf(w, "\nmedians; worse by: the middle of the blocks, negative is better, with its %.0f %% interval after %d blocks;\n"+
		"would see: the least change that such blocks show in 95 of 100 comparisons. Rows without a change are only printed.\n"+
		"A change that is none fails at most %.1f %% of comparisons before the confirmation, and one that reaches its bound passes at most %.1f %%.\n",
		100*rule.PassConfidence, v.Decision.Look, 100*rule.Alpha, 100*v.Decision.FalsePass)
	if rule.Confirm > 0 && len(v.Decision.Findings) > 0 {
		fmt.Fprintf(w, "A finding is confirmed on this machine, with programs linked anew: noise that both share is not ruled out.\n")
	}
}

// nullLine is one comparison's null blocks in the file that collects them.
type nullLine struct {
	At          time.Time            `json:"at"`
	Fingerprint string               `json:"fingerprint"`
	Load        string               `json:"load"` // what a run of the lane did
	Base        string               `json:"base"`
	Verdict     gate.Verdict         `json:"verdict"`
	Values      map[string][]float64 `json:"values"` // by metric, in logarithms
}

// nullsPath is where the null blocks of a lane are collected: hidden, beside the
// results.
func (c *compare) nullsPath() string {
	return filepath.Join(c.lab.opt.Results, ".nulls-"+c.lane.name()+".jsonl")
}

// loadText names what a run of the lane does. Null blocks of another one are
// another distribution.
func (c *compare) loadText() string {
	raw, err := json.Marshal(c.lane.described())
	if err != nil {
		panic(fmt.Sprintf("BUG: a lane's description does not encode: %v", err))
	}
	return string(raw)
}

// readNulls collects the values of earlier null blocks on this machine.
func (c *compare) readNulls() (map[string][]float64, error) {
	raw, err := os.ReadFile(c.nullsPath())
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("read null blocks: %w", err)
	}
	out := map[string][]float64{}
	for line := range bytes.Lines(raw) {
		var n nullLine
		if json.Unmarshal(line, &n) != nil || n.Fingerprint != c.lab.env.Fingerprint || n.Load != c.loadText() {
			continue // of another machine, or torn by a crash
		}
		for name, vs := range n.Values {
			out[name] = append(out[name], vs...)
		}
	}
	return out, nil
}

// addNulls adds this comparison's, whatever its verdict, once there was evidence for
// one: leaving out those of a bad day would make the next one look worse than it is.
func (c *compare) addNulls(v *Verdict) error {
	if v.Decision == nil {
		return nil
	}
	n := nullLine{At: time.Now().UTC().Truncate(time.Second), Fingerprint: c.lab.env.Fingerprint, Load: c.loadText(), Base: v.Base,
		Verdict: v.Verdict, Values: map[string][]float64{}}
	for _, f := range v.Decision.Findings {
		if len(f.Nulls) > 0 {
			n.Values[f.Metric] = f.Nulls
		}
	}
	if len(n.Values) == 0 {
		return nil
	}
	if err := appendJSON(c.nullsPath(), n); err != nil {
		return fmt.Errorf("keep null blocks: %w", err)
	}
	return nil
}
