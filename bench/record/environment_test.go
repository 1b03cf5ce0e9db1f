package record

import (
	"encoding/json"
	"os"
	"strings"
	"testing"
)

func TestCaptureTellsTheMachineAndNotItsName(t *testing.T) {
	dir := t.TempDir()
	env, err := Capture(dir)
	if err != nil {
		t.Fatal(err)
	}
	f := env.Facts
	if f.Kernel == "" || f.CPU == "" || f.Cores < 1 || f.MemoryMiB < 64 || f.Filesystem == "" || f.ClockSource == "" {
		t.Errorf("facts are missing: %+v", f)
	}
	if env.After.TotalTicks == 0 || env.Go.GOMAXPROCS < 1 {
		t.Errorf("environment is missing parts: %+v", env)
	}
	raw, err := json.Marshal(env)
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(raw), dir) || strings.Contains(string(raw), `"/`) {
		t.Errorf("the environment holds a path: %s", raw)
	}
	again, err := Capture(dir)
	if err != nil || again.Fingerprint != env.Fingerprint {
		t.Errorf("fingerprint %s, then %s (%v)", env.Fingerprint, again.Fingerprint, err)
	}
}

func TestProbeMeasuresAndCleansUp(t *testing.T) {
	dir := t.TempDir()
	p, err := Probe(dir)
	if err != nil {
		t.Fatal(err)
	}
	for name, v := range map[string]float64{
		"grow": p.SyncGrowNs, "fallocate": p.SyncFallocateNs, "written": p.SyncWrittenNs,
		"loopback": p.LoopbackNs, "cpu": p.CPULoopNs,
	} {
		if v <= 0 {
			t.Errorf("probe %s = %v", name, v)
		}
	}
	if left, _ := os.ReadDir(dir); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

func TestMountLine(t *testing.T) {
	const overlay = "40 30 0:42 / / rw,relatime shared:1 - overlay overlay rw,lowerdir=/a:/b,upperdir=/c,xino=off"
	kind, options, ok := mountLine(overlay, "0:42")
	if !ok || kind != "overlay" || options != "rw,relatime,lowerdir=…,upperdir=…,xino=off" {
		t.Errorf("%q %q %v", kind, options, ok)
	}
	if _, _, ok := mountLine(overlay, "8:1"); ok {
		t.Error("a mount of another device matched")
	}
	if _, _, ok := mountLine("garbage", "0:42"); ok {
		t.Error("garbage matched")
	}
}

func TestStealAndCautions(t *testing.T) {
	var then, now Environment
	now.Before = Pressures{StealTicks: 10, TotalTicks: 1000}
	now.After = Pressures{StealTicks: 30, TotalTicks: 2000}
	if s := now.StealShare(); s != 0.02 {
		t.Errorf("steal %v, want 0.02", s)
	}
	if s := then.StealShare(); s != 0 {
		t.Errorf("steal of nothing: %v", s)
	}
	then.Probes = Probes{SyncWrittenNs: 100, LoopbackNs: 100, CPULoopNs: 100}
	now.Probes = Probes{SyncWrittenNs: 160, LoopbackNs: 140, CPULoopNs: 60}
	now.Go.Version = "go9"
	if c := now.Cautions(&then); len(c) != 3 {
		t.Errorf("cautions %q, want toolchain, disk and CPU", c)
	}
}
