package bench

import (
	"fmt"
	"io"
	"math"
	"os"
	"strings"
	"testing"
	"time"

	"dyno/bench/record"
)

func TestIdleAsksWhatWasPromised(t *testing.T) {
	e := idleExperiment(ExperimentConfig{Seed: 7})
	want := map[string]float64{}
	for _, arm := range []string{"1000", "1000-restarted"} {
		want["cpu of "+arm], want["rss_per_replica of "+arm], want["syncs of "+arm] = 5, 16384, 0
	}
	for _, g := range e.Targets {
		key := g.Measure + " of " + g.Arm
		if most, ok := want[key]; !ok || !g.bound() || g.AtMost != most || !g.Worst {
			t.Errorf("%s: %+v", key, g)
		}
		delete(want, key)
		if c := e.Cells[armAt(t, e, g.Arm)]; c.Repetitions < worstReps || c.Params["partitions"] != "1000" || c.Block != e.Cells[0].Block {
			t.Errorf("%s: %+v", key, c.Params)
		}
	}
	if len(want) > 0 {
		t.Errorf("not promised: %v", want)
	}
	if idleQuiet <= 30*time.Second {
		t.Error("the window begins before the brokers have given memory back")
	}
}

// A replica's memory is what its repetition's brokers hold above those without
// partitions, not above those of any other repetition.
func TestMemoryOfAReplica(t *testing.T) {
	run := &record.Run{Arms: []record.Arm{{Name: "0"}, {Name: "8"}, {Name: "1000"}}}
	for i, v := range [][3]float64{{30e6, 30e6, 40e6}, {20e6, 20e6, 40e6}, {10e6, 10e6, 40e6}} {
		for j := range run.Arms {
			run.Arms[j].Repetitions = append(run.Arms[j].Repetitions, record.Repetition{Number: i + 1, Status: record.OK, Values: map[string]float64{"rss": v[j]}})
		}
	}
	run.Arms[0].Repetitions[2].Status = record.Invalid
	perReplica(run)
	if got := run.Arm("1000").Values("rss_per_replica"); len(got) != 2 || got[0] != 10e3 || got[1] != 20e3 {
		t.Errorf("bytes of a replica: %v", got)
	}
	if got := run.Arm("8").Values("rss_per_replica"); len(got) > 0 {
		t.Errorf("eight partitions are too few to divide by: %v", got)
	}
}

func metricsPage(appends, messages int) string {
	return fmt.Sprintf("%s %d\n%s %d\n", metricAppends, appends, metricMessages, messages)
}

// The window waits for groups that still talk, and an arm whose groups never stop
// says nothing.
func TestQuietIsWaitedFor(t *testing.T) {
	const quiet = 70 * time.Millisecond
	bed := func() *bed {
		return &bed{lab: &lab{progress: newReporter(io.Discard, false, 1)}, rep: &record.Repetition{Status: record.OK, Values: map[string]float64{}}}
	}
	c, _, client := scripted(t, map[string][]string{"/metrics": {metricAppends + " 1\n"}})
	c.Nodes[0].PID = os.Getpid()
	deaf := bed()
	deaf.http = client
	if _, err := deaf.awaitQuiet(t.Context(), c, quiet); err == nil || !strings.Contains(err.Error(), metricMessages) {
		t.Errorf("silence of a counter that is not there: %v", err)
	}
	if err := deaf.watchIdle(t.Context(), c, time.Millisecond); err != nil {
		t.Error(err)
	}
	for _, name := range []string{"heap", "goroutines", "messages"} {
		if v, ok := deaf.rep.Values[name]; ok {
			t.Errorf("%s is %v, and nobody counts it", name, v)
		}
	}
	c, scripts, client := scripted(t, map[string][]string{"/metrics": {
		metricsPage(1, 1), metricsPage(1, 2), metricsPage(2, 2), metricsPage(2, 2), metricsPage(2, 3)}})
	c.Nodes[0].PID = os.Getpid()
	b := bed()
	b.http = client
	if ok, err := b.awaitQuiet(t.Context(), c, quiet); err != nil || !ok || b.rep.Status != record.OK {
		t.Fatalf("%v, %v, %+v", ok, err, b.rep)
	}
	// The fifth look saw the last change, and the silence after it took several more.
	if asked, after := scripts[0].asked["/metrics"], b.rep.Values["quiet_after"]; asked < 6 || after <= 0 {
		t.Errorf("believed after %d looks, quiet after %v ns", asked, after)
	}
	var endless []string
	for i := range 1000 {
		endless = append(endless, metricsPage(5, i))
	}
	c, _, client = scripted(t, map[string][]string{"/metrics": endless})
	c.Nodes[0].PID = os.Getpid()
	b = bed()
	b.http = client
	if ok, err := b.awaitQuiet(t.Context(), c, quiet); err != nil || ok || b.rep.Status != record.Invalid || !strings.Contains(b.rep.Problem, "did not fall silent") {
		t.Errorf("%v, %v, %+v", ok, err, b.rep)
	}
}

func TestLongIdleOnRealNodes(t *testing.T) {
	long(t)
	opt, _, strays := fakeLab(t, fakeGood)
	run, err := RunExperiment(t.Context(), "idle", opt,
		ExperimentConfig{Quick: true, Only: []string{"0", "1000-restarted"}, Dyno: []string{buildDyno(t)}})
	if err != nil {
		t.Fatalf("%v\n%s", err, opt.Err)
	}
	for _, arm := range []string{"0", "1000-restarted"} {
		for _, value := range []string{"cpu", "rss", "heap", "wire", "messages", "syncs", "goroutines", "quiet_after"} {
			if vs := run.Arm(arm).Values(value); len(vs) != 1 {
				t.Errorf("%s has %d values of %s", arm, len(vs), value)
			}
		}
	}
	v := run.Arm("1000-restarted").Repetitions[0].Values
	// On a busy machine a pulse may be missed, and groups wake for it: that there are
	// no messages is for the experiment to find.
	if v["rss"] < mib || v["wire"] <= 0 || v["goroutines"] < 1 {
		t.Errorf("an idle cluster: %v", v)
	}
	bare := run.Arm("0").Repetitions[0].Values["rss"]
	if got, want := v["rss_per_replica"], (v["rss"]-bare)/1000; math.Abs(got-want) > 1 {
		t.Errorf("%v bytes a replica, want %v", got, want)
	}
	if pids := strays(); len(pids) > 0 {
		t.Errorf("processes left: %v", pids)
	}
}
