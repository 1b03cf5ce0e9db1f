package replay

import (
	"bytes"
	"errors"
	"os"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"

	"go.uber.org/goleak"
)

// childEnv makes this test's binary a replaying process, procsEnv one on several
// processors.
const (
	childEnv = "DYNO_REPLAY_CHILD"
	procsEnv = "DYNO_REPLAY_PROCS"
)

func TestMain(m *testing.M) {
	if name, ok := os.LookupEnv(childEnv); ok {
		if err := mutate(name); err != nil {
			panic(err)
		}
		if n, err := strconv.Atoi(os.Getenv(procsEnv)); err == nil {
			playOn(n, os.Stdout)
		}
		Main(os.Stdout)
	}
	goleak.VerifyTestMain(m)
}

// play replays in a process of its own.
func play(t *testing.T, mutant string) *Set {
	t.Helper()
	t.Setenv(childEnv, mutant)
	s, err := Run(t.Context(), []string{os.Args[0], "-test.run=none"})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// TestRepeats: three processes count the same, and what must move does. The race
// detector runs what is ready in an order of chance and allocates by itself: with it
// all but the allocations agree, and so the counts are not the scheduler's.
func TestRepeats(t *testing.T) {
	times := 3
	if raceEnabled && testing.Short() {
		times = 2
	}
	var sets []*Set
	for range times {
		s := play(t, "")
		if raceEnabled || testing.CoverMode() != "" {
			s.Counters = slices.DeleteFunc(s.Counters, func(c Counter) bool { m, _ := c.Metric(); return m.Kind == Alloc })
		}
		sets = append(sets, s)
	}
	merged, bad, err := Merge(sets)
	if err != nil || len(bad) > 0 {
		t.Fatalf("%v: %v", err, bad)
	}
	for _, name := range []string{"three/produce/allocs", "three/produce/fsyncs", "three/produce/raft-bytes", "one/produce/wal-bytes",
		"three/fetch/read-calls", "three/fetch-moved/read-calls", "three/move/fsyncs", "one/fetch/allocs"} {
		if c := sets[0].Find(name); c == nil && raceEnabled && strings.HasSuffix(name, "allocs") {
			continue
		}
		if c := merged.Find(name); c == nil || c.Count == 0 {
			t.Errorf("%s: %+v", name, c)
		}
	}
	if merged.Find("one/produce/raft-messages") != nil {
		t.Error("a node that is alone counts messages")
	}
}

// TestScheduler: with goroutines that really run at once, and none in a fixed order,
// all but the allocations are counted as on one processor.
func TestScheduler(t *testing.T) {
	sets := []*Set{play(t, "")}
	t.Setenv(procsEnv, "4")
	for range 3 {
		sets = append(sets, play(t, ""))
	}
	for _, s := range sets {
		s.Counters = slices.DeleteFunc(s.Counters, func(c Counter) bool { m, _ := c.Metric(); return m.Kind == Alloc })
	}
	if _, bad, err := Merge(sets); err != nil || len(bad) > 0 {
		t.Fatalf("%v: %v", err, bad)
	}
}

// TestSetFile: a set is read as it was written, with one counter a line; what is none
// is refused.
func TestSetFile(t *testing.T) {
	s := &Set{Schema: Schema, Workload: "w", Go: "go1.26", Arch: "amd64", Counters: []Counter{{"three/produce/fsyncs", 5, 1000}, {"one/fetch/allocs", 7, 2}}}
	var b bytes.Buffer
	if err := s.Write(&b); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(b.String(), "\n    {\"name\": \"three/produce/fsyncs\", \"count\": 5, \"records\": 1000, \"is\": \"5 /1k records\"},\n") {
		t.Errorf("not a line each:\n%s", b.String())
	}
	if got, err := Read(strings.NewReader(b.String() + "PASS\n")); err != nil || !reflect.DeepEqual(got, s) {
		t.Errorf("%v: %+v", err, got)
	}
	for what, text := range map[string]string{
		"another schema": strings.Replace(b.String(), Schema, "dyno.replay/2", 1), "no JSON": "PASS",
		"no such metric": strings.Replace(b.String(), "fsyncs", "sneezes", 1), "no records": strings.Replace(b.String(), `"records": 2`, `"records": 0`, 1),
		"the same twice": strings.Replace(b.String(), "one/fetch/allocs", "three/produce/fsyncs", 1),
	} {
		if _, err := Read(strings.NewReader(text)); !errors.Is(err, ErrSet) {
			t.Errorf("%s: %v", what, err)
		}
	}
}

// TestMerge: what differs by one is named, whatever it is; allocations may differ a
// little, and the lowest counts.
func TestMerge(t *testing.T) {
	set := func(syncs, allocs int64) *Set {
		return &Set{Schema: Schema, Counters: []Counter{{"three/produce/fsyncs", syncs, 1000}, {"three/produce/allocs", allocs, 1000}, {"three/fetch/read-calls", 3, 10}}}
	}
	got, bad, err := Merge([]*Set{set(50_000, 10_040), set(50_000, 10_000), set(50_000, 10_099)})
	if err != nil || len(bad) > 0 || got.Find("three/produce/allocs").Count != 10_000 {
		t.Errorf("%v, %v: %+v", err, bad, got)
	}
	got, bad, err = Merge([]*Set{set(50_000, 10_000), set(50_001, 10_200), set(50_000, 10_000)})
	if err != nil || len(bad) != 2 || !bad[0].Core || bad[1].Core || len(got.Counters) != 1 {
		t.Errorf("%v, %v: %+v", err, bad, got)
	}
	other := set(5, 10_000)
	other.Workload = "another"
	if _, _, err := Merge([]*Set{set(5, 10_000), other}); !errors.Is(err, ErrSet) {
		t.Errorf("another workload: %v", err)
	}
}

// TestEveryMetricIsDescribed: each says its unit and what it does not see.
func TestEveryMetricIsDescribed(t *testing.T) {
	for i, m := range Metrics() {
		if m.Name == "" || m.Unit == "" || m.Per == 0 || !strings.HasSuffix(m.Blind, ".") {
			t.Errorf("metric %d: %+v", i, m)
		}
	}
}

// A partition of which nothing comes is missed, not passed over.
func TestSilentPartitionIsMissed(t *testing.T) {
	w := &workload{}
	w.sent[1], w.sent[2] = 11, 22
	end := func(int) int64 { return 5 }
	for name, c := range map[string]struct {
		next map[int]int64
		sums map[int]uint32
		bad  bool
	}{
		"whole":       {map[int]int64{1: 5, 2: 5}, map[int]uint32{1: 11, 2: 22}, false},
		"other bytes": {map[int]int64{1: 5, 2: 5}, map[int]uint32{1: 11, 2: 23}, true},
		"cut short":   {map[int]int64{1: 5, 2: 4}, map[int]uint32{1: 11, 2: 22}, true},
		"nothing":     {map[int]int64{1: 5, 2: 0}, map[int]uint32{1: 11}, true},
	} {
		err := readBack(c.next, c.sums, w, end)
		if (err != nil) != c.bad || err != nil && !strings.Contains(err.Error(), "partition 2") {
			t.Errorf("%s: %v", name, err)
		}
	}
}
