package bench

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"time"

	"dyno/bench/gate"
)

// The files of lane H below the root of recorded results. The reference moves by a
// commit of ReferenceFile and by nothing else: least of all by an improvement.
const (
	ReferenceFile = "REFERENCE"     // begins with the hash of the commit that all are compared with
	HistoryFile   = "history.jsonl" // one line a comparison, oldest first
)

const historySchema = "dyno.history/1"

// HistoryLine is one commit against the reference, both measured at the same time on
// the same machine: a slower machine does not break the series.
type HistoryLine struct {
	Schema      string       `json:"schema"`
	At          time.Time    `json:"at"`
	Lane        string       `json:"lane"`
	Reference   string       `json:"reference"` // commits
	Commit      string       `json:"commit"`
	Fingerprint string       `json:"fingerprint"`
	Blocks      int          `json:"blocks"`
	Verdict     gate.Verdict `json:"verdict"` // against the reference; for reading, it stops nobody
	// Ratios are, by metric, how many times as bad as the reference the commit is: 1.02
	// costs 2 % more or does 2 % less.
	Ratios map[string]float64 `json:"ratios"`
	Result string             `json:"result,omitempty"` // id of the result directory
}

// ErrHistory means that a file of lane H cannot be used.
var ErrHistory = errors.New("history")

var hashForm = regexp.MustCompile(`^[0-9a-f]{40}$`)

// readReference is the pinned commit. Error: ErrHistory.
func readReference(root string) (string, error) {
	path := filepath.Join(root, ReferenceFile)
	raw, err := os.ReadFile(path)
	if err != nil {
		return "", fmt.Errorf("%w: %w: it names the commit that all others are compared with", ErrHistory, err)
	}
	first, _, _ := bytes.Cut(bytes.TrimSpace(raw), []byte{'\n'})
	hash := string(bytes.TrimSpace(first))
	if !hashForm.MatchString(hash) {
		return "", fmt.Errorf("%w: the first line of %s is %q, not the 40 digits of a commit", ErrHistory, path, hash)
	}
	return hash, nil
}

// RecordHistory compares a commit with the reference that root names and adds a line to
// its history, whatever the verdict; only an unfit machine and a broken promise add
// none. cfg.Base is filled in. It blocks like Compare. Errors: ErrHistory, those of
// Compare.
func RecordHistory(ctx context.Context, opt Options, cfg CompareConfig, root string) (*HistoryLine, error) {
	var err error
	if cfg.Base, err = readReference(root); err != nil {
		return nil, err
	}
	if _, err := ReadHistory(root); err != nil {
		return nil, err // before anything is measured for it
	}
	cfg.Attribute = AttributeNever
	v, err := Compare(ctx, opt, cfg)
	if err != nil {
		return nil, err
	}
	line := &HistoryLine{Schema: historySchema, At: time.Now().UTC().Truncate(time.Second), Lane: v.Lane, Reference: v.Base, Commit: v.Head,
		Fingerprint: v.Fingerprint, Blocks: v.Blocks, Verdict: v.Verdict, Result: v.Result, Ratios: map[string]float64{}}
	switch {
	case v.Identical:
		cfg.setDefaults()
		for _, m := range cfg.lane(nil).metrics() {
			line.Ratios[m.Name] = 1
		}
	case v.Decision == nil || v.Decision.Look == 0: // nothing was judged
		return nil, fmt.Errorf("%w: nothing to add: %s: %s", ErrHistory, v.Verdict, v.Text)
	default:
		for _, f := range v.Decision.Findings {
			line.Ratios[f.Metric] = 1 + f.Change
		}
	}
	if err := appendJSON(filepath.Join(root, HistoryFile), line); err != nil {
		return nil, fmt.Errorf("%w: add a line: %w", ErrHistory, err)
	}
	return line, nil
}

// ReadHistory reads all lines below root; none where there is no file. Error:
// ErrHistory, with the line.
func ReadHistory(root string) ([]HistoryLine, error) {
	lines, err := readJSONL(filepath.Join(root, HistoryFile), (*HistoryLine).check)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrHistory, err)
	}
	return lines, nil
}

func (l *HistoryLine) check() error {
	for name, r := range l.Ratios {
		if !(r > 0) {
			return fmt.Errorf("%s is %v", name, r)
		}
	}
	return wantSchema(l.Schema, historySchema)
}
