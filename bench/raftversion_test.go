package bench

import (
	"io"
	"strings"
	"testing"
	"time"

	"dyno/bench/raftcell"
	"dyno/bench/record"
)

func TestRaftVersionComparesLikeWithLike(t *testing.T) {
	e := raftVersionExperiment(ExperimentConfig{Seed: 7})
	if len(e.Cells) != 2*len(raftSizes) || len(e.Targets) != 3 {
		t.Errorf("%d cells, %d targets", len(e.Cells), len(e.Targets))
	}
	comparableArms(t, e, slowReps)
	for _, c := range e.Cells {
		if c.NeedsPeers != (c.Params["version"] == "v3.7") || !strings.HasSuffix(c.Arm, c.Params["version"]) {
			t.Errorf("%s: %v, by dyno-peers: %v", c.Arm, c.Params, c.NeedsPeers)
		}
	}
}

// A child that was built with another version than its arm's says nothing. A test
// binary carries no versions, which is one of its own.
func TestRaftVersionIsLookedAt(t *testing.T) {
	t.Setenv(fakeEnv, fakeGood)
	opt, _, _ := fakeLab(t, fakeGood)
	for version, want := range map[string]string{"unknown": record.OK, "v3.7.": record.Invalid} {
		b := &bed{lab: &lab{progress: newReporter(io.Discard, false, 1), child: opt.Child}, rep: &record.Repetition{Status: record.OK}}
		if err := b.raft(t.Context(), version, false, raftcell.Spec{SizeBytes: 256, Run: 10 * time.Millisecond}); err != nil {
			t.Fatal(err)
		}
		if v := b.rep.Values; b.rep.Status != want || v["propose"] <= 0 || v["proposals"] != 1e9/v["propose"] || v["entries"] < 1 {
			t.Errorf("%s: %+v", version, b.rep)
		}
	}
}

func TestRaftAnswerComparesTheVersions(t *testing.T) {
	run := &record.Run{}
	for arm, ns := range map[string]float64{"64KiB/v3.6": 500, "64KiB/v3.7": 15_000} {
		run.Arms = append(run.Arms, record.Arm{Name: arm, Repetitions: []record.Repetition{{Number: 1, Status: record.OK, Values: map[string]float64{"propose": ns}}}})
	}
	text, factors := raftAnswer(run)
	if len(factors) != 1 || factors[0].Ratio != 30 || !strings.Contains(text, "proposal of 64KiB 30") {
		t.Errorf("%q, %+v", text, factors)
	}
}
