package bench

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
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
	p := &program{path: "dyno"}
	tr, err := m.trial(p, dir, "probe", loadSpec{})
	if err != nil || len(tr.up) != 2 || tr.up[0] != "--config" || filepath.Dir(tr.up[1]) != dir {
		t.Fatalf("%+v, %v", tr, err)
	}
	if raw, err := os.ReadFile(tr.up[1]); string(raw) != settings || err != nil {
		t.Errorf("the cluster gets %q, %v", raw, err)
	}
	if m.described()["settings"] != settings {
		t.Errorf("described as %v", m.described())
	}
	plain := newMacro(nil, 1, 1, "")
	if tr, err := plain.trial(p, dir, "probe", loadSpec{}); err != nil || len(tr.up) > 0 {
		t.Errorf("without settings: %+v, %v", tr, err)
	}
	if _, there := plain.described()["settings"]; there {
		t.Error("a comparison without settings is described with some: ledgers of before are lost")
	}
}

// TestSettingsRefused: results state the settings and hold no absolute path, and an empty
// file is no comparison without settings.
func TestSettingsRefused(t *testing.T) {
	for settings, word := range map[string]string{"kafka_tls: {cert: /somewhere/cert.pem}\n": "/somewhere/cert.pem", "\n": "is empty"} {
		name := filepath.Join(t.TempDir(), "settings.yaml")
		if err := os.WriteFile(name, []byte(settings), 0o600); err != nil {
			t.Fatal(err)
		}
		cfg := CompareConfig{Base: "HEAD", Config: name}
		cfg.setDefaults()
		if err := cfg.validate(); !errors.Is(err, ErrUsage) || !strings.Contains(err.Error(), word) {
			t.Errorf("%q: got %v", settings, err)
		}
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
	m := newMacro(l, 100*time.Millisecond, windowMin, fakeArm)
	p := &program{side: paired.Base, path: os.Args[0]}
	if err := m.check(t.Context(), p, ""); err != nil {
		t.Error(err)
	}
	turn := paired.Turn{Slot: paired.Slot{Stage: paired.Main}, Place: 1, Side: paired.Base, Load: map[string]float64{loadRate: 100, loadRecords: 300, loadCapacity: 1e6}}
	var out paired.Outcome
	asked, dir := 0, ""
	which := func(int) (string, error) {
		asked++
		_, err := os.Stat(filepath.Join(dir, "cluster", fakeHadSettings))
		return "this", err
	}
	for range 3 { // a machine that is busy with other tests makes the generator late
		asked, dir = 0, t.TempDir()
		outs, runErr := m.run(t.Context(), []laneRun{{p, dir, turn}}, which)
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
