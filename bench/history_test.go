package bench

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"dyno/bench/gate"
)

// reference pins a commit.
func reference(t *testing.T, repo, root, rev string) {
	t.Helper()
	hash := strings.TrimSpace(toyGit(t, repo, "rev-parse", rev))
	toyWrite(t, root, ReferenceFile, hash+"\nthe first release\n")
}

// TestHistoryGrows adds a line for a commit that costs more and one for the reference
// itself, and leaves the history alone where nothing was measured.
func TestHistoryGrows(t *testing.T) {
	if testing.Short() {
		t.Skip("links some programs")
	}
	repo, root := toyRepo(t), t.TempDir()
	opt, cfg, _ := toyCompare(t, repo, "slower")
	if _, err := RecordHistory(t.Context(), opt, cfg, root); !errors.Is(err, ErrHistory) {
		t.Fatalf("without a reference: %v", err)
	}
	reference(t, repo, root, "base")
	cfg.Base = "nobody" // the reference counts
	line, err := RecordHistory(t.Context(), opt, cfg, root)
	if err != nil || line.Ratios["cost"] != 1.1 || line.Fingerprint == "" {
		t.Fatalf("%+v, %v", line, err)
	}
	opt, cfg, _ = toyCompare(t, repo, "comments")
	if line, err := RecordHistory(t.Context(), opt, cfg, root); err != nil || line.Ratios["cost"] != 1 {
		t.Errorf("an identical program: %+v, %v", line, err)
	}
	opt, cfg, _ = toyCompare(t, repo, "broken")
	if _, err := RecordHistory(t.Context(), opt, cfg, root); err == nil {
		t.Error("a commit that does not build has a place in the history")
	}
	lines, err := ReadHistory(root)
	if err != nil || len(lines) != 2 || lines[0].Ratios["cost"] != 1.1 || lines[0].Verdict != gate.Inconclusive || lines[1].Commit == lines[0].Commit {
		t.Errorf("%+v, %v", lines, err)
	}
}

func TestBadHistoryIsRefused(t *testing.T) {
	for name, text := range map[string]string{
		"torn": `{"schema":"dyno.history/1","commit":"ab`, "another schema": `{"schema":"dyno.history/9"}`,
		"unknown field": `{"schema":"dyno.history/1","sneezes":3}`, "a ratio of nothing": `{"schema":"dyno.history/1","ratios":{"cost":0}}`,
	} {
		root := t.TempDir()
		toyWrite(t, root, HistoryFile, text+"\n")
		if _, err := ReadHistory(root); !errors.Is(err, ErrHistory) || !strings.Contains(err.Error(), "line 1") {
			t.Errorf("%s: %v", name, err)
		}
	}
	if lines, err := ReadHistory(t.TempDir()); err != nil || lines != nil {
		t.Errorf("no file: %v, %v", lines, err)
	}
	root := t.TempDir()
	toyWrite(t, root, ReferenceFile, "main\n")
	if _, err := readReference(root); !errors.Is(err, ErrHistory) {
		t.Errorf("a reference by a name that moves: %v", err)
	}
}

// TestTrends plants a step of 4 % in one metric, and a new reference.
func TestTrends(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	var lines []HistoryLine
	for n := range 40 {
		l := HistoryLine{Lane: "t", Reference: "r1", Commit: fmt.Sprintf("%07d", n), Ratios: map[string]float64{}}
		step := 1.0
		if n >= 15 {
			step = 1.04
		}
		if n >= 30 {
			l.Reference, step = "r2", 1
		}
		l.Ratios["cost"], l.Ratios["rate"] = step*math.Exp(0.005*r.NormFloat64()), math.Exp(0.005*r.NormFloat64())
		lines = append(lines, l)
	}
	trends := Trends(lines)
	if len(trends) != 4 || trends[0].Metric != "cost" || len(trends[0].Ratios) != 30 || len(trends[2].Ratios) != 10 {
		t.Fatalf("%d trends", len(trends))
	}
	if c := trends[0].Changes; len(c) != 1 || c[0].At != 15 || math.Abs(c[0].Size()-0.04) > 0.01 {
		t.Errorf("changes %+v, planted +4 %% at 15", c)
	}
	for _, other := range trends[1:] {
		if len(other.Changes) > 0 {
			t.Errorf("%s against %s changed: %+v", other.Metric, other.Reference, other.Changes)
		}
	}
	var out bytes.Buffer
	root := t.TempDir()
	path, err := WriteHistoryPage(root, trends)
	if err := errors.Join(err, WriteTrends(&out, trends)); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(out.String(), "% at 0000015 (p 0.0005)") {
		t.Errorf("printed:\n%s", out.String())
	}
	page, err := os.ReadFile(path)
	if err != nil || filepath.Dir(path) != root || bytes.Count(page, []byte(`class="mark line`)) != 8 || bytes.Contains(page, []byte("://")) || bytes.Contains(page, []byte("<script")) {
		t.Errorf("page of %d lines: %v", bytes.Count(page, []byte(`class="mark line`)), err)
	}
}
