package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"dyno/bench/build"
	"dyno/bench/gate"
	"dyno/bench/replay"
)

// readWaivers reads the waivers; where nobody named a file there may be none.
func (f *gateFlags) readWaivers(base, head *replay.Set) ([]gate.Waiver, error) {
	raw, err := os.ReadFile(f.waivers)
	if errors.Is(err, os.ErrNotExist) && f.waivers == waiversFile {
		return nil, nil
	} else if err != nil {
		return nil, err
	}
	known := func(name string) bool { return base.Find(name) != nil || head.Find(name) != nil }
	w, err := gate.ReadWaivers(raw, known, time.Now())
	if err != nil {
		return nil, fmt.Errorf("%s: %w", f.waivers, err)
	}
	return w, nil
}

// writeBaseline writes head as the baseline and says what that changes.
func (f *gateFlags) writeBaseline(out io.Writer, head *replay.Set) error {
	was, err := readSet(f.baseline)
	if err != nil && !errors.Is(err, os.ErrNotExist) && !errors.Is(err, replay.ErrSet) { // one of another form is replaced
		return err
	}
	if err := writeFile(f.baseline, head.Write); err != nil {
		return err
	}
	if was != nil {
		for _, line := range gate.Moved(was, head) {
			fmt.Fprintln(out, line)
		}
	}
	_, err = fmt.Fprintf(out, "%d counters written to %s: commit it, and say why they changed\n", len(head.Counters), f.baseline)
	return err
}

// moved says what the baseline has otherwise than that of the commit to compare with,
// where there is one.
func (f *gateFlags) moved(ctx context.Context, now *replay.Set) ([]string, error) {
	if f.time.cfg.Base == "" {
		return nil, nil
	}
	repo, err := build.Open(ctx, ".")
	if err != nil {
		return nil, err
	}
	base, err := repo.Resolve(ctx, f.time.cfg.Base)
	if err != nil {
		return nil, err
	}
	raw, err := repo.File(ctx, base, baselineFile)
	if errors.Is(err, fs.ErrNotExist) {
		return []string{"the baseline is new since " + base.Short()}, nil
	} else if err != nil {
		return nil, err
	}
	was, err := replay.Read(bytes.NewReader(raw))
	if err != nil {
		return []string{fmt.Sprintf("the baseline of %s cannot be read: %v", base.Short(), err)}, nil
	}
	lines := gate.Moved(was, now)
	for i, line := range lines {
		lines[i] = fmt.Sprintf("the baseline is another than in %s: %s", base.Short(), line)
	}
	return lines, nil
}

// tell prints and writes the report, and makes its verdict the exit code.
func (f *gateFlags) tell(out io.Writer, r *gate.Report, head *replay.Set) error {
	if err := os.MkdirAll(f.out, 0o755); err != nil {
		return err
	}
	verdict, err := r.JSON()
	if err != nil {
		return err
	}
	junit, err := r.JUnit()
	if err != nil {
		return err
	}
	for name, b := range map[string][]byte{"verdict.json": verdict, "summary.md": r.Markdown(), "junit.xml": junit} {
		if err := os.WriteFile(filepath.Join(f.out, name), b, 0o644); err != nil {
			return err
		}
	}
	if err := writeFile(filepath.Join(f.out, "counters.json"), head.Write); err != nil {
		return err
	}
	if _, err := out.Write(r.Table(f.all)); err != nil {
		return err
	}
	if r.Verdict == gate.Pass {
		return nil
	}
	return &exitError{r.Verdict.Exit(), fmt.Errorf("gate: %s; see %s", r.Verdict, f.out)}
}

// readSet reads a file of counters.
func readSet(path string) (*replay.Set, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	s, err := replay.Read(f)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return s, nil
}

// writeFile writes a file by what write writes.
func writeFile(path string, write func(io.Writer) error) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	if err := write(f); err != nil {
		_ = f.Close() // the first error counts
		return fmt.Errorf("write %s: %w", path, err)
	}
	return f.Close()
}
