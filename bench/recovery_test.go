package bench

import (
	"context"
	"errors"
	"net/http"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"dyno/bench/record"
	"dyno/loadgen"
)

func TestRecoveryAsksWhatWasPromised(t *testing.T) {
	e := recoveryExperiment(ExperimentConfig{Seed: 7})
	want := map[string]Goal{
		"resume_median of kill": {AtMost: 1e9}, "resume_worst of kill": {AtMost: 2.5e9, Worst: true},
		"stall_max of roll": {AtMost: 500e6, Worst: true}, "errors of roll": {AtMost: 0, Worst: true},
		"full of full": {AtMost: 10e9, Worst: true}, "full of full-kill": {AtMost: 10e9, Worst: true},
	}
	for _, g := range e.Targets {
		key := g.Measure + " of " + g.Arm
		if w, ok := want[key]; !ok || !g.bound() || w.AtMost != g.AtMost || w.Worst != g.Worst {
			t.Errorf("%s: %+v, want %+v", key, g, w)
		}
		delete(want, key)
		reps := e.Cells[armAt(t, e, g.Arm)].Repetitions
		if iv := 1 << (reps - 1); !g.Worst && float64(iv)*(1-confidence) < 1 || g.Worst && reps < worstReps {
			t.Errorf("%s: %d repetitions decide nothing", key, reps)
		}
	}
	if len(want) > 0 {
		t.Errorf("not promised: %v", want)
	}
	if reps := e.Cells[armAt(t, e, "kill")].Repetitions; reps*recoveryKills < 50 {
		t.Errorf("%d kills, 50 were promised", reps*recoveryKills)
	}
	for _, arm := range []string{"full", "full-kill"} {
		if p := e.Cells[armAt(t, e, arm)].Params; p["partitions"] != "1000" {
			t.Errorf("%s: %v", arm, p)
		}
	}
}

// Real processes are killed and come back, under a load that is read back.
func TestLongRecoveryOnRealNodes(t *testing.T) {
	long(t)
	opt, _, strays := fakeLab(t, fakeGood)
	run, err := RunExperiment(t.Context(), "recovery", opt,
		ExperimentConfig{Quick: true, Only: []string{"kill", "full"}, Dyno: []string{buildDyno(t)}})
	if err != nil {
		t.Fatalf("%v\n%s", err, opt.Err)
	}
	for arm, values := range map[string][]string{
		"kill": {"resume_median", "resume_worst", "rejoin", "errors", "lost", "duplicated", "reordered", "corrupted", "acked", "kills"},
		"full": {"full", "full_ready", "full_acked", "stop", "errors", "lost"},
	} {
		for _, value := range values {
			if vs := run.Arm(arm).Values(value); len(vs) != 1 {
				t.Errorf("%s has %d values of %s", arm, len(vs), value)
			}
		}
	}
	values := func(arm string) map[string]float64 { return run.Arm(arm).Repetitions[0].Values }
	// A node cannot be back sooner than its process has started, nor a partition led
	// by another before anybody has asked for votes.
	if v := values("kill"); v["kills"] != 2 || v["resume_median"] < 1e6 || v["resume_worst"] < v["resume_median"] || v["rejoin"] < 10e6 ||
		v["lost"] != 0 || v["acked"] < 1000 {
		t.Errorf("kill: %v", v)
	}
	if v := values("full"); v["full"] < 10e6 || v["full"] != max(v["full_ready"], v["full_acked"]) || v["lost"] != 0 {
		t.Errorf("full: %v", v)
	}
	if len(run.Verdict.Targets) != 3 || run.Verdict.Result == record.OK {
		t.Errorf("a quick run concludes: %+v", run.Verdict)
	}
	if pids := strays(); len(pids) > 0 {
		t.Errorf("processes left: %v", pids)
	}
}

// Single nodes end and start again, the first time as children of up, then as the
// lab's own; up's end with its last child is no death of the cluster, but the end
// of a node that nobody asked is.
func TestLongNodesEndAndStart(t *testing.T) {
	long(t)
	_, _, strays := fakeLab(t, fakeGood)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	transport := &http.Transport{}
	defer transport.CloseIdleConnections()
	client := &http.Client{Transport: transport}
	c, err := startCluster(ctx, []string{buildDyno(t)}, clusterNodes, filepath.Join(t.TempDir(), "cluster"))
	if err != nil {
		t.Fatal(err)
	}
	cycle := func(i int, sig syscall.Signal) {
		t.Helper()
		pid := c.Nodes[i].PID
		before := monotonic()
		at, err := c.end(i, sig)
		if err != nil || at < before || at > monotonic() {
			t.Fatalf("end node %d at %d: %v", i, at, err)
		}
		if _, err := fetchPage(ctx, client, c.Nodes[i].Admin, "/readyz"); err == nil {
			t.Errorf("node %d still serves", i)
		}
		if err := c.start(i); err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(c.awaitReady(ctx, client, i), c.awaitCaughtUp(ctx, client, i)); err != nil || c.Nodes[i].PID == pid {
			t.Fatalf("node %d, process %d after %d: %v", i, c.Nodes[i].PID, pid, err)
		}
	}
	err = c.whileUp(ctx, func(ctx context.Context) error {
		cycle(0, syscall.SIGKILL)
		cycle(0, syscall.SIGTERM) // now the lab's own
		for i := 1; i < clusterNodes; i++ {
			cycle(i, syscall.SIGTERM)
		}
		<-c.up.exited // it has no child any more
		return errors.Join(ctx.Err(), c.died())
	})
	if err != nil {
		t.Errorf("the end of up was taken for that of the cluster: %v", err)
	}
	if err := syscall.Kill(c.Nodes[1].PID, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	<-c.again[1].exited
	if err := c.died(); err == nil || !strings.Contains(err.Error(), "node 2 ended during the run") {
		t.Errorf("a node that ended by itself: %v", err)
	}
	if _, err := c.end(1, syscall.SIGKILL); err == nil {
		t.Error("a node that had ended by itself was ended")
	}
	if err := c.stop(); err == nil || !strings.Contains(err.Error(), "killed") {
		t.Errorf("a node that ended by itself did not show: %v", err)
	}
	if pids := strays(); len(pids) > 0 {
		t.Errorf("processes left: %v", pids)
	}
}

// What a repetition says of itself: an error that the producer saw is a value,
// a record that was lost is a broken promise, and so is a partition that stood still.
func TestJudgeOfAnOutage(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*loadResult)
		before string // status of the repetition
		status string
		errors float64
	}{
		"good":       {func(*loadResult) {}, record.OK, record.OK, 0},
		"errors":     {func(r *loadResult) { r.Report.Failed, r.Report.Unknown = 2, 3 }, record.OK, record.OK, 5},
		"violation":  {func(r *loadResult) { r.Violation = "3 lost" }, record.OK, record.Failed, 0},
		"unread":     {func(r *loadResult) { r.Report.Lost = nil }, record.OK, record.Invalid, 0},
		"standstill": {func(*loadResult) {}, record.Failed, record.Failed, 0},
		"foreign":    {func(r *loadResult) { r.Detail.Verification.Foreign = 1 }, record.OK, record.Invalid, 0},
		"saturated":  {func(r *loadResult) { r.Report.Saturated = loadgen.BottleneckGenerator }, record.OK, record.OK, 0},
	} {
		zero := int64(0)
		res := &loadResult{Detail: loadgen.Detail{Verification: &loadgen.Verification{}}}
		res.Report.Lost, res.Report.MsgsPerS = &zero, 5000
		c.change(res)
		o, rep := &outage{found: map[string]float64{"resume_median": 1}}, &record.Repetition{Status: c.before}
		o.judge(rep, res)
		if rep.Status != c.status || rep.Values["errors"] != c.errors || rep.Values["resume_median"] != 1 {
			t.Errorf("%s: %+v", name, rep)
		}
		for value := range rep.Values {
			if e := recoveryExperiment(ExperimentConfig{}); !declared(e.Units, value) {
				t.Errorf("%s has no unit", value)
			}
		}
	}
}

func declared(units []record.Unit, name string) bool {
	_, ok := (&record.Run{Units: units}).Unit(name)
	return ok
}
