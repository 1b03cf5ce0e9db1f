package bench

import (
	"bytes"
	"errors"
	"io"
	"math"
	"strings"
	"testing"

	"dyno/bench/gate"
)

// TestLongTrialsAreKept runs trials of the toy against itself and adds to those that are
// there.
func TestLongTrialsAreKept(t *testing.T) {
	long(t)
	repo, root := toyRepo(t), t.TempDir()
	opt, cfg, l := toyCompare(t, repo, "slower")
	var said bytes.Buffer
	opt.Out = &said
	cfg.Base = "nobody" // a trial has one commit
	for range 2 {
		if err := RunTrials(t.Context(), opt, cfg, root, 2); err != nil {
			t.Fatal(err)
		}
	}
	lines, err := ReadTrials(root)
	if err != nil || len(lines) != 4 {
		t.Fatalf("%+v, %v", lines, err)
	}
	head := strings.TrimSpace(toyGit(t, repo, "rev-parse", "slower"))
	seeds := map[uint64]bool{}
	for _, line := range lines {
		seeds[line.Seed] = true
		if line.Commit != head || line.Mutant != "" || line.Verdict != gate.Inconclusive || line.Blocks != 2 || line.Work != `{"toy":true}` || line.Changes["cost"] != 0.1 {
			t.Errorf("%+v", line)
		}
	}
	if len(seeds) != 4 || len(l.runs) != 4*2*4 {
		t.Errorf("%d seeds, %d runs, want 4 of 2 blocks each", len(seeds), len(l.runs))
	}
	if got := strings.Count(said.String(), "INCONCLUSIVE: seen enough"); got != 4 {
		t.Errorf("%d lines tell of a trial:\n%s", got, said.String())
	}
	builtNothing(t, repo, &opt)
	toyWrite(t, root, TrialsFile, "{\"schema\":\"dyno.trial/9\"}\n")
	if err := RunTrials(t.Context(), opt, cfg, root, 1); !errors.Is(err, ErrTrials) || len(l.runs) != 32 {
		t.Errorf("with an unreadable file: %v, %d runs", err, len(l.runs))
	}
}

func TestBadTrialsAreRefused(t *testing.T) {
	for name, text := range map[string]string{
		"torn": `{"schema":"dyno.trial/1","commit":"ab`, "another schema": `{"schema":"dyno.trial/9"}`, "unknown field": `{"schema":"dyno.trial/1","sneezes":3}`,
	} {
		root := t.TempDir()
		toyWrite(t, root, TrialsFile, text+"\n")
		if _, err := ReadTrials(root); !errors.Is(err, ErrTrials) || !strings.Contains(err.Error(), "line 1") {
			t.Errorf("%s: %v", name, err)
		}
	}
	if lines, err := ReadTrials(t.TempDir()); err != nil || lines != nil {
		t.Errorf("no file: %v, %v", lines, err)
	}
}

// TestTrialsAreCounted holds the intervals against published ones: no alarm in 200
// trials bounds the rate at 1.83 % (two-sided), 59 of 59 are 93.9 % or more.
func TestTrialsAreCounted(t *testing.T) {
	var lines []TrialLine
	add := func(n int, l TrialLine) {
		for range n {
			lines = append(lines, l)
		}
	}
	add(200, TrialLine{Lane: "micro", Verdict: gate.Pass, Changes: map[string]float64{"cpu": 0.001}})
	add(59, TrialLine{Lane: "micro", Mutant: "spin:9", Verdict: gate.Fail, Changes: map[string]float64{"cpu": 0.05}})
	add(3, TrialLine{Lane: "micro", Mutant: "spin:9", Verdict: gate.Unmeasurable})
	add(1, TrialLine{Lane: "t", Verdict: gate.Unmeasurable})
	add(1, TrialLine{Lane: "micro", Verdict: gate.Fail, StealMax: 0.3}) // another kind, as is another machine
	add(1, TrialLine{Lane: "micro", Verdict: gate.Fail, Fingerprint: "elsewhere"})
	add(1, TrialLine{Lane: "micro", Verdict: gate.Fail, Work: "longer rounds"})
	counts := CountTrials(lines)
	if len(counts) != 6 {
		t.Fatalf("%d kinds, want 6", len(counts))
	}
	aa, detect, unfit := counts[0], counts[1], counts[2]
	if aa.Trials != 200 || aa.Verdicts[gate.Pass] != 200 || aa.FailLow != 0 || math.Abs(aa.FailHigh-0.0183) > 1e-4 || aa.Changes["cpu"] != 0.001 {
		t.Errorf("A/A: %+v", aa)
	}
	if detect.Trials != 62 || detect.FailHigh != 1 || math.Abs(detect.FailLow-0.9394) > 1e-4 || detect.Changes["cpu"] != 0.05 {
		t.Errorf("detection: %+v", detect)
	}
	if unfit.FailLow != 0 || unfit.FailHigh != 1 {
		t.Errorf("of no fit trial: %+v", unfit)
	}
	var b bytes.Buffer
	if err := WriteTrials(&b, counts); err != nil || !strings.Contains(b.String(), "none (A/A)") || !strings.Contains(b.String(), "93.9 to 100.0 %") {
		t.Errorf("%v\n%s", err, b.String())
	}
	if err := WriteTrials(io.Discard, nil); err != nil {
		t.Error(err)
	}
}
