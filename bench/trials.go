package bench

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"text/tabwriter"
	"time"

	"dyno/bench/gate"
	"dyno/bench/stats"
)

// TrialsFile lists every trial of the gate itself, oldest first, below the root of
// recorded results.
const TrialsFile = "trials.jsonl"

const trialsSchema = "dyno.trial/1"

// TrialLine is one comparison of a commit with itself, linked anew for each block: as
// it is, where every FAIL is a false alarm, or with a mutant in head, where every PASS
// is a miss. Lines are added as the verdicts fell, none is taken out.
type TrialLine struct {
	Schema      string       `json:"schema"`
	At          time.Time    `json:"at"` // when it ended
	Seconds     float64      `json:"seconds"`
	Lane        string       `json:"lane"`
	Metric      string       `json:"metric,omitempty"` // that decided alone; all of the lane
	Commit      string       `json:"commit"`
	Mutant      string       `json:"mutant,omitempty"` // name:size; none: an A/A trial
	Fingerprint string       `json:"fingerprint"`
	Seed        uint64       `json:"seed"`
	StealMax    float64      `json:"steal_max,omitempty"` // the limit for a block; 0: not noted
	Work        string       `json:"work,omitempty"`      // what a run does, as its lane describes it; not noted at first
	Verdict     gate.Verdict `json:"verdict"`
	Text        string       `json:"text"`
	Blocks      int          `json:"blocks"`
	Redone      int          `json:"redone"`
	// Changes are, by metric, how much worse head was found to be, as a fraction.
	Changes map[string]float64 `json:"changes,omitempty"`
}

// ErrTrials means that the file of trials cannot be used.
var ErrTrials = errors.New("trials")

// RunTrials judges cfg.Head against itself count times, with the mutant of cfg where
// there is one and a fresh seed for each, and adds a line for each verdict to
// TrialsFile below root. It blocks for minutes a trial. After an interruption the trial that was
// cut off goes on where it stopped. Errors: ErrTrials, those of Compare.
func RunTrials(ctx context.Context, opt Options, cfg CompareConfig, root string, count int) error {
	if _, err := ReadTrials(root); err != nil {
		return err // before anything is measured for it
	}
	cfg.Base, cfg.Seed, cfg.Attribute, cfg.Anyway = cmp.Or(cfg.Head, "HEAD"), 0, AttributeNever, true
	cfg.Limits.SetDefaults()
	out := opt.Out
	opt.Out = io.Discard // its table; a line is enough here
	for n := 1; n <= count; n++ {
		began := time.Now()
		v, err := Compare(ctx, opt, cfg)
		if err != nil {
			return err
		}
		line := newTrialLine(v, &cfg, time.Since(began))
		if err := appendJSON(filepath.Join(root, TrialsFile), line); err != nil {
			return fmt.Errorf("%w: %w", ErrTrials, err)
		}
		fmt.Fprintf(out, "trial %d of %d, %.0f s: %s: %s\n", n, count, line.Seconds, line.Verdict, line.Text)
	}
	return nil
}

func newTrialLine(v *Verdict, cfg *CompareConfig, took time.Duration) *TrialLine {
	l := &TrialLine{Schema: trialsSchema, At: time.Now().UTC().Truncate(time.Second), Seconds: took.Round(time.Second).Seconds(), Lane: v.Lane,
		Metric: cfg.Metric, Commit: v.Head, Mutant: cfg.Mutant, Fingerprint: v.Fingerprint, Seed: v.Seed, StealMax: cfg.Limits.Steal, Work: v.Work, Verdict: v.Verdict, Text: v.Text,
		Blocks: v.Blocks, Redone: v.Redone}
	if v.Decision == nil || v.Decision.Look == 0 {
		return l
	}
	l.Changes = map[string]float64{}
	for _, f := range v.Decision.Findings {
		l.Changes[f.Metric] = f.Change
	}
	return l
}

// ReadTrials reads all lines below root; none where there is no file. Error: ErrTrials,
// with the line.
func ReadTrials(root string) ([]TrialLine, error) {
	lines, err := readJSONL(filepath.Join(root, TrialsFile), func(l *TrialLine) error { return wantSchema(l.Schema, trialsSchema) })
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrTrials, err)
	}
	return lines, nil
}

// TrialCount sums up the trials of one kind.
type TrialCount struct {
	Lane, Metric, Mutant string
	Work                 string
	StealMax             float64
	Fingerprint          string
	Trials               int
	Verdicts             map[gate.Verdict]int
	// FailLow and FailHigh hold the chance of FAIL with 95 % confidence (Clopper and
	// Pearson), among the trials that the machine was fit for; 0 and 1 of none.
	FailLow, FailHigh float64
	// Changes are, by metric, the medians of what was found.
	Changes map[string]float64
}

// of says whether a trial is of this kind. What another machine did, or one that took
// more CPU away, is another kind, and so are runs that do other work.
func (c *TrialCount) of(l *TrialLine) bool {
	return c.Lane == l.Lane && c.Metric == l.Metric && c.Mutant == l.Mutant && c.Work == l.Work && c.StealMax == l.StealMax && c.Fingerprint == l.Fingerprint
}

// CountTrials sums up by lane, deciding metric, mutant, work, limit of steal and machine, in
// the order in which the kinds first appear.
func CountTrials(lines []TrialLine) (counts []*TrialCount) {
	changes := map[*TrialCount]map[string][]float64{}
	for _, l := range lines {
		at := slices.IndexFunc(counts, func(c *TrialCount) bool { return c.of(&l) })
		if at < 0 {
			c := &TrialCount{Lane: l.Lane, Metric: l.Metric, Mutant: l.Mutant, Work: l.Work, StealMax: l.StealMax, Fingerprint: l.Fingerprint, Verdicts: map[gate.Verdict]int{}, Changes: map[string]float64{}}
			at, counts = len(counts), append(counts, c)
			changes[c] = map[string][]float64{}
		}
		c := counts[at]
		c.Trials++
		c.Verdicts[l.Verdict]++
		for name, change := range l.Changes {
			changes[c][name] = append(changes[c][name], change)
		}
	}
	for _, c := range counts {
		c.FailHigh = 1
		if fit := c.Trials - c.Verdicts[gate.Unmeasurable]; fit > 0 {
			c.FailLow, c.FailHigh = stats.ClopperPearson(c.Verdicts[gate.Fail], fit, 0.95)
		}
		for name, found := range changes[c] {
			c.Changes[name] = stats.Median(found)
		}
	}
	return counts
}

// WriteTrials prints the counts as they fell.
func WriteTrials(w io.Writer, counts []*TrialCount) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "lane\tdecided by\tmutant\twork\tsteal below\tmachine\ttrials\tPASS\tFAIL\tINCONCLUSIVE\tUNMEASURABLE\tchance of FAIL, 95 %\tfound, median")
	for _, c := range counts {
		v := c.Verdicts
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\t%d\t%d\t%d\t%d\t%d\t%.1f to %.1f %%\t%s\n", c.Lane, cmp.Or(c.Metric, "all"), cmp.Or(c.Mutant, "none (A/A)"), workText(c.Work), stealText(c.StealMax), c.Fingerprint, c.Trials,
			v[gate.Pass], v[gate.Fail], v[gate.Inconclusive], v[gate.Unmeasurable], 100*c.FailLow, 100*c.FailHigh, changesText(c.Changes))
	}
	return t.Flush()
}

// workText names a kind of work; the lines of the file have it in words.
func workText(work string) string {
	if work == "" {
		return "not noted"
	}
	return fmt.Sprintf("%.6x", sha256.Sum256([]byte(work)))
}

func stealText(limit float64) string {
	if limit == 0 {
		return "not noted"
	}
	return fmt.Sprintf("%g %%", 100*limit)
}

func changesText(changes map[string]float64) string {
	var names []string
	for name := range changes {
		names = append(names, name)
	}
	slices.Sort(names)
	var b bytes.Buffer
	for i, name := range names {
		if i > 0 {
			b.WriteString(", ")
		}
		fmt.Fprintf(&b, "%s %+.1f %%", name, 100*changes[name])
	}
	return b.String()
}
