package bench

import (
	"strings"
	"testing"

	"dyno/bench/record"
)

func TestAcksAsksWhatWasPromised(t *testing.T) {
	e := acksExperiment(ExperimentConfig{Seed: 7})
	if len(e.Cells) != len(acksModes)*(2+len(acksLosses)) {
		t.Errorf("%d cells", len(e.Cells))
	}
	var ratios Experiment
	ratios.Cells = e.Cells
	lost := 0
	for _, g := range e.Targets {
		if g.bound() {
			// Nothing that acks=all acknowledged may be gone, in any repetition.
			if !strings.HasSuffix(g.Arm, "/acks-all") || g.Measure != "lost" || g.AtMost != 0 || !g.Worst || e.Cells[armAt(t, e, g.Arm)].Repetitions < worstReps {
				t.Errorf("%+v", g)
			}
			lost++
			continue
		}
		ratios.Targets = append(ratios.Targets, g)
	}
	if lost != len(acksLosses) || len(ratios.Targets) != 2 {
		t.Errorf("%d losses are promised not to be, %d ratios", lost, len(ratios.Targets))
	}
	comparableArms(t, ratios, clusterReps)
	for _, c := range e.Cells {
		if mode := c.Params["acks"]; mode == "" || !strings.HasSuffix(c.Arm, "/acks-"+mode) {
			t.Errorf("%s says acks=%s", c.Arm, mode)
		}
		if (c.Params["event"] == "power") == c.NeedsDyno {
			t.Errorf("%s: %v", c.Arm, c.NeedsDyno)
		}
	}
	families := map[string]bool{}
	for _, c := range acksExperiment(ExperimentConfig{Quick: true}).Cells {
		family, _, _ := strings.Cut(c.Arm, "/")
		families[family] = true
	}
	if len(families) != 2+len(acksLosses) {
		t.Errorf("a quick run shows %v", families)
	}
}

func TestAcksAnswerCountsWhatIsGone(t *testing.T) {
	rep := func(lost, acked float64) record.Repetition {
		return record.Repetition{Status: record.OK, Values: map[string]float64{"lost": lost, "acked": acked}}
	}
	run := &record.Run{Arms: []record.Arm{
		{Name: "power/acks-1", Repetitions: []record.Repetition{rep(2, 100), rep(3, 100)}},
		{Name: "power/acks-all", Repetitions: []record.Repetition{rep(0, 100)}},
	}}
	if text, _ := acksAnswer(run); text != "acks=1 lost: power 5 of 200; acks=all lost: power 0 of 100" {
		t.Errorf("%q", text)
	}
}

// Real processes are killed under a load that nobody answers.
func TestLongAcksLossesOnRealNodes(t *testing.T) {
	long(t)
	opt, _, strays := fakeLab(t, fakeGood)
	run, err := RunExperiment(t.Context(), "acks", opt, ExperimentConfig{Quick: true, Only: []string{"kill-leader"}, Dyno: []string{buildDyno(t)}})
	if err != nil {
		t.Fatalf("%v\n%s", err, opt.Err)
	}
	for _, arm := range []string{"kill-leader/acks-0", "kill-leader/acks-all"} {
		v := run.Arm(arm).Repetitions[0].Values
		if _, ok := v["resume_median"]; ok || v["acked"] < 1000 {
			t.Errorf("%s: %v", arm, v)
		}
	}
	if v := run.Arm("kill-leader/acks-all").Repetitions[0].Values; v["lost"] != 0 || v["duplicated"] != 0 {
		t.Errorf("acks=all: %v", v)
	}
	if pids := strays(); len(pids) > 0 {
		t.Errorf("processes left: %v", pids)
	}
}
