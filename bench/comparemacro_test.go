package bench

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"dyno/bench/paired"
	"dyno/bench/record"
)

// TestSettingsReachEveryCluster: what --config names is read once, is part of what the
// runs are, and stands in the directory of each cluster.
func TestSettingsReachEveryCluster(t *testing.T) {
	const settings = "experiment: {only_to_measure: true, sync_wait: 5ms}\n"
	name, dir := filepath.Join(t.TempDir(), "slow.yaml"), t.TempDir()
	if err := os.WriteFile(name, []byte(settings), 0o600); err != nil {
		t.Fatal(err)
	}
	cfg := CompareConfig{Base: "HEAD", Config: name}
	cfg.setDefaults()
	if err := errors.Join(cfg.validate(), os.Remove(name)); err != nil {
		t.Fatal(err)
	}
	m := cfg.chooseLane(nil).(*macro)
	args, err := m.up(dir)
	if err != nil || len(args) != 2 || args[0] != "--config" || filepath.Dir(args[1]) != dir {
		t.Fatalf("arguments %q, %v", args, err)
	}
	if raw, err := os.ReadFile(args[1]); string(raw) != settings || err != nil {
		t.Errorf("the cluster gets %q, %v", raw, err)
	}
	if m.described()["settings"] != settings {
		t.Errorf("described as %v", m.described())
	}
	plain := newMacro(nil, 1, 1, "")
	if args, err := plain.up(dir); len(args) > 0 || err != nil {
		t.Errorf("without settings: %q, %v", args, err)
	}
	if _, there := plain.described()["settings"]; there {
		t.Error("a comparison without settings is described with some: ledgers of before are lost")
	}
}

// TestMacroRun: the parts of a run with brokers: all four metrics, from one cluster.
func TestMacroRun(t *testing.T) {
	if testing.Short() {
		t.Skip("runs a window of 2.5 s")
	}
	opt, _, strays := fakeLab(t, fakeGood)
	l, err := openLab(t.Context(), &opt, 0, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer l.close()
	m := newMacro(l, 100*time.Millisecond, windowMin, "")
	p := &program{side: paired.Base, path: os.Args[0]}
	if err := m.check(t.Context(), p, ""); err != nil {
		t.Error(err)
	}
	turn := paired.Turn{Slot: paired.Slot{Stage: paired.Main}, Place: 1, Side: paired.Base, Load: map[string]float64{loadRate: 100, loadRecords: 300, loadCapacity: 1e6}}
	var out paired.Outcome
	asked := 0
	for range 3 { // a machine that is busy with other tests makes the generator late
		asked = 0
		outs, runErr := m.run(t.Context(), []laneRun{{p, t.TempDir(), turn}}, func(int) (string, error) { asked++; return "this", nil })
		if out, err = outs[0], runErr; err != nil || out.Status != paired.Invalid {
			break
		}
	}
	if err != nil || out.Status != paired.OK || out.Program != "this" || asked != clusterNodes {
		t.Fatalf("%+v, %v, asked for %d nodes", out, err, asked)
	}
	for _, metric := range m.metrics() {
		if out.Values[metric.Name] <= 0 {
			t.Errorf("%s is %v", metric.Name, out.Values[metric.Name])
		}
	}
	for name := range out.Values {
		if _, ok := (&record.Run{Units: m.units()}).Unit(name); !ok {
			t.Errorf("%s has no unit", name)
		}
	}
	if pids := strays(); len(pids) > 0 {
		t.Errorf("processes left: %v", pids)
	}
}
