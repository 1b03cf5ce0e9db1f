package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

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
