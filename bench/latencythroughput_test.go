package bench

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"testing"

	"dyno/bench/draw"
	"dyno/bench/record"
)

func TestLatencyAsksWhatWasPromised(t *testing.T) {
	e := latencyExperiment(ExperimentConfig{Seed: 7})
	if want := 2*(1+len(sweepShares)) + 1; len(e.Cells) != want {
		t.Errorf("%d cells, want %d", len(e.Cells), want)
	}
	for _, share := range sweepShares {
		a, b := e.Cells[armAt(t, e, fmt.Sprintf("dyno/%d", share))], e.Cells[armAt(t, e, fmt.Sprintf("nats/%d", share))]
		if a.Block != b.Block || a.First || b.First || !a.NeedsDyno || !b.NeedsPeers || a.Params["share"] != fmt.Sprint(share) {
			t.Errorf("%d %%: %+v and %+v", share, a.Params, b.Params)
		}
	}
	if len(e.Targets) != 1 || e.Targets[0].Arm != "dyno/50" || e.Targets[0].AtMost != 10e6 || e.Cells[armAt(t, e, "dyno/50")].Repetitions != clusterReps {
		t.Errorf("%+v", e.Targets)
	}
	turns := e.order(7)
	for i, turn := range turns {
		if first := e.Cells[turn.cell].First; first != (i < 2*plainReps) {
			t.Errorf("turn %d is of %s", i, e.Cells[turn.cell].Arm)
		}
	}
	rising, last := 0, 0.0
	for _, turn := range turns[2*plainReps:] {
		var share float64
		if _, err := fmt.Sscan(e.Cells[turn.cell].Params["share"], &share); err == nil {
			if share > last {
				rising++
			}
			last = share
		}
	}
	if rising > 2*len(turns)/3 {
		t.Errorf("%d of %d rates came after a lower one: they are not shuffled", rising, len(turns))
	}
}

// What a cluster could not take whole is an answer where it was asked for, and other
// faults of a load are none.
func TestOverloadIsAnAnswer(t *testing.T) {
	late, refused := &loadResult{}, &loadResult{}
	late.Detail.Unsent, refused.Report.Failed = 9, 9
	for _, c := range []struct {
		overload bool
		res      *loadResult
		odd      bool
	}{{false, late, true}, {true, late, false}, {true, refused, true}} {
		if got := (&trial{overload: c.overload}).odd(c.res); (got != "") != c.odd {
			t.Errorf("%v: %q", c, got)
		}
	}
	if late.Detail.Unsent != 9 {
		t.Error("the result was changed")
	}
}

// From the command to the printed result, dyno and the peer: each rate is a share of
// what the probe of the same system reached.
func TestLongLatencyOnFakes(t *testing.T) {
	long(t)
	opt, suite, strays := fakeLab(t, fakeGood)
	run, err := RunExperiment(t.Context(), "latency-throughput", opt,
		ExperimentConfig{Quick: true, Only: []string{"dyno", "nats"}, Dyno: suite.Dyno, Peers: peersLink(t)})
	if err != nil {
		t.Fatalf("%v\n%s", err, opt.Err)
	}
	for _, system := range []string{"dyno", "nats"} {
		probe := run.Arm(probeArm(system)).Repetitions[0]
		for _, share := range sweepSharesQuick {
			rep := run.Arm(fmt.Sprintf("%s/%d", system, share)).Repetitions[0]
			// A busy machine may make the generator the bottleneck; the values are there anyway.
			if want := math.Round(probe.Values["throughput"] * float64(share) / 100); probe.Status == record.OK && rep.Values["offered"] != want {
				t.Errorf("%s at %d %%: offered %v, want %v", system, share, rep.Values["offered"], want)
			}
			if probe.Status == record.OK && (rep.Values["throughput"] <= 0 || rep.Values["response_p50"] <= 0 || rep.Values["response_p99"] <= 0) {
				t.Errorf("%s at %d %%: %v", system, share, rep.Values)
			}
			if rep.Order <= probe.Order {
				t.Errorf("%s at %d %% ran before its probe", system, share)
			}
		}
	}
	if pids := strays(); len(pids) > 0 {
		t.Errorf("processes left: %v", pids)
	}
}

// A system whose maximum is not known is offered nothing.
func TestNoShareOfAnUnknownMaximum(t *testing.T) {
	e := latencyExperiment(ExperimentConfig{})
	for _, arm := range []string{"dyno/50", "nats/50"} {
		b := &bed{rep: &record.Repetition{Status: record.OK}, earlier: func(string, string) (float64, bool) { return 0, false }}
		if err := e.Cells[armAt(t, e, arm)].Measure(t.Context(), b); err != nil || b.rep.Status != record.Invalid || !strings.Contains(b.rep.Problem, "maximum is not known") {
			t.Errorf("%s: %v, %+v", arm, err, b.rep)
		}
	}
}

func TestLatencyAnswer(t *testing.T) {
	run := &record.Run{}
	add := func(arm, measure string, v float64) {
		run.Arms = append(run.Arms, record.Arm{Name: arm, Repetitions: []record.Repetition{{Number: 1, Status: record.OK, Values: map[string]float64{measure: v}}}})
	}
	add("dyno/probe", "throughput", 150_000)
	add("dyno/50", "response_p99", 7e6)
	add("dyno/110", "response_p99", 900e6)
	add("knee/dyno", valueRateLow, 120_000)
	if text, _ := latencyAnswer(run); text != "dyno takes 150000 records/s at most; p99 in ms at 50 % 7.0, 110 % 900.0; dyno keeps p99<=50ms at 120000 records/s and no more at 0" {
		t.Errorf("%q", text)
	}
}

// The report draws a line for each system over the rates that it was offered, and names
// each arm with its system where two stand on one axis.
func TestRatesAreDrawnBySystem(t *testing.T) {
	e := latencyExperiment(ExperimentConfig{})
	run := &record.Run{Units: e.Units}
	most := map[string]float64{"dyno": 100_000, "nats": 20_000}
	for _, c := range e.Cells {
		arm := record.Arm{Name: c.Arm, Params: c.Params}
		values := map[string]float64{"throughput": most[c.Params[paramSystem]]}
		if share, err := strconv.ParseFloat(c.Params[paramShare], 64); err == nil {
			values["offered"] = most[c.Params[paramSystem]] * share / 100
			for i, r := range responses {
				values[r.measure] = float64(i+1) * 1e6 * share
			}
		}
		arm.Repetitions = []record.Repetition{{Number: 1, Status: record.OK, Values: values}}
		run.Arms = append(run.Arms, arm)
	}
	p := &page{Run: run, hues: map[string]int{}}
	s := p.ratesSection()
	if len(s.Figures) != len(responses) {
		t.Fatalf("%d charts", len(s.Figures))
	}
	for i, f := range s.Figures {
		if rows := f.Data.Rows; len(f.Keys) != 2 || len(rows) != 2*len(sweepShares) || !slices.Equal(rows[0], []string{"dyno", "10", "10k", draw.Short(10 * float64(i+1))}) {
			t.Errorf("%s: %d lines, %v", f.Title, len(f.Keys), rows)
		}
	}
	for _, b := range blocksOf(run) {
		want := map[string]string{"sweep-10": "dyno/10 nats/10", "probe": "dyno/probe nats/probe", "knee": "dyno"}[b.name]
		var names []string
		for _, arm := range b.arms {
			names = append(names, b.short(arm))
		}
		if got := strings.Join(names, " "); want != "" && got != want {
			t.Errorf("%s: %q, want %q", b.name, got, want)
		}
	}
	run.Arms = nil
	if s := p.ratesSection(); !s.empty() {
		t.Errorf("charts of nothing: %v", s)
	}
}
