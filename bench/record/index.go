package record

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// Entry is one line of the index of results.
type Entry struct {
	ID   string
	Path string
	Run  *Run  // nil when Err is set
	Err  error // the result cannot be read: another schema version, damage
}

// Name is the part of the id after the number.
func (e Entry) Name() string {
	_, name, _ := strings.Cut(e.ID, "-")
	return name
}

// List reads every result below root, oldest first. A root that does not exist
// has no results. Unreadable results are listed with their error; directories
// without run.json (being written) are left out.
func List(root string) ([]Entry, error) {
	names, err := os.ReadDir(root)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("list results: %w", err)
	}
	var entries []Entry
	for _, n := range names {
		if !n.IsDir() || !idForm.MatchString(n.Name()) {
			continue
		}
		e := Entry{ID: n.Name(), Path: filepath.Join(root, n.Name())}
		e.Run, e.Err = Open(e.Path)
		if errors.Is(e.Err, ErrNotResult) {
			continue
		}
		entries = append(entries, e)
	}
	slices.SortFunc(entries, func(a, b Entry) int { return CompareIDs(a.ID, b.ID) })
	return entries, nil
}

// IndexFile is the index of a root of results: one line of JSON for each, oldest
// first, made from the results alone.
const IndexFile = "INDEX.jsonl"

const indexSchema = "dyno.index/1"

// indexLine is one of its lines. Targets counts the experiment's targets by how they
// were judged.
type indexLine struct {
	Schema      string         `json:"schema"`
	ID          string         `json:"id"`
	Kind        string         `json:"kind,omitempty"`
	Started     *time.Time     `json:"started,omitempty"`
	Seconds     float64        `json:"seconds,omitempty"`
	Commit      string         `json:"commit,omitempty"`
	Fingerprint string         `json:"fingerprint,omitempty"`
	Verdict     string         `json:"verdict,omitempty"`
	Targets     map[string]int `json:"targets,omitempty"`
	Text        string         `json:"text,omitempty"`
	Problem     string         `json:"problem,omitempty"` // why the result cannot be read
}

func newIndexLine(e Entry) indexLine {
	l := indexLine{Schema: indexSchema, ID: e.ID}
	if e.Err != nil {
		l.Problem = e.Err.Error()
		return l
	}
	r := e.Run
	l.Kind, l.Started, l.Seconds, l.Commit = r.Kind, &r.Started, r.Seconds, r.Commit.Hash
	l.Fingerprint, l.Verdict, l.Text = r.Environment.Fingerprint, r.Verdict.Result, r.Verdict.Text
	for _, t := range r.Verdict.Targets {
		if l.Targets == nil {
			l.Targets = map[string]int{}
		}
		l.Targets[t.Result]++
	}
	return l
}

// IndexText is what IndexFile of that root holds; nothing where there are no results.
func IndexText(root string) ([]byte, error) {
	entries, err := List(root)
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	for _, e := range entries {
		if err := enc.Encode(newIndexLine(e)); err != nil {
			return nil, fmt.Errorf("index of results: %w", err)
		}
	}
	return b.Bytes(), nil
}

// WriteIndex writes IndexFile anew, whole or not at all. A root without results gets
// none.
func WriteIndex(root string) error {
	text, err := IndexText(root)
	if err != nil || len(text) == 0 {
		return err
	}
	path := filepath.Join(root, IndexFile)
	draft := path + ".new"
	if err := os.WriteFile(draft, text, 0o644); err != nil {
		return fmt.Errorf("index of results: %w", err)
	}
	if err := os.Rename(draft, path); err != nil {
		return fmt.Errorf("index of results: %w", err)
	}
	return nil
}

// Sweep removes directories of results that were never sealed: of runs that were
// killed. The caller holds the lab lock, so nobody is writing one.
func Sweep(root string) error {
	dirs, err := filepath.Glob(filepath.Join(root, "[0-9]*.[0-9][0-9]*-*"))
	if err != nil {
		return fmt.Errorf("sweep results: %w", err)
	}
	var errs []error
	for _, dir := range dirs {
		if !idForm.MatchString(filepath.Base(dir)) {
			continue
		}
		if _, err := os.Stat(filepath.Join(dir, RunFile)); errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, os.RemoveAll(dir))
		}
	}
	return errors.Join(errs...)
}

// Latest returns the newest readable result of that name that was taken on the
// machine with that fingerprint and judged OK; nil where there is none.
func Latest(root, name, fingerprint string) (*Entry, error) {
	entries, err := List(root)
	if err != nil {
		return nil, err
	}
	for i := len(entries) - 1; i >= 0; i-- {
		e := entries[i]
		if e.Err == nil && e.Name() == name && e.Run.Verdict.Result == OK &&
			e.Run.Environment.Fingerprint == fingerprint {
			return &e, nil
		}
	}
	return nil, nil
}
