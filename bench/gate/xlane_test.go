package gate

import (
	"slices"
	"strings"
	"testing"
	"time"

	"dyno/bench/record"
	"dyno/bench/replay"
)

// counted is a set with a counter of each kind; change changes it.
func counted(change func(s *replay.Set)) *replay.Set {
	s := &replay.Set{
		Schema: replay.Schema, Workload: "w", Commit: record.Commit{Hash: "abc"}, Go: "go1.26.8", Arch: "amd64",
		Counters: []replay.Counter{
			{Name: "three/produce/allocs", Count: 34_000, Records: 10_000},
			{Name: "three/produce/alloc-bytes", Count: 26_000_000, Records: 10_000},
			{Name: "three/produce/fsyncs", Count: 920, Records: 10_000},
			{Name: "three/produce/wal-bytes", Count: 17_000_000, Records: 10_000},
			{Name: "one/move/allocs", Count: 20, Records: 10_000},
			{Name: "one/move/read-calls", Count: 0, Records: 10_000},
		},
	}
	if change != nil {
		change(s)
	}
	return s
}

func set(name string, count int64) func(*replay.Set) {
	return func(s *replay.Set) { s.Find(name).Count = count }
}

// TestRules: each rule on both sides of its tolerance.
func TestRules(t *testing.T) {
	for _, x := range []struct {
		what    string
		head    func(*replay.Set)
		verdict Verdict
		row     string // which one, and what it comes to
		state   Verdict
	}{
		{"nothing changed", nil, Pass, "three/produce/fsyncs", Pass},
		{"one sync more", set("three/produce/fsyncs", 921), Fail, "three/produce/fsyncs", Fail},
		{"one sync less", set("three/produce/fsyncs", 919), Pass, "three/produce/fsyncs", Improved},
		{"a read where there was none", set("one/move/read-calls", 1), Fail, "one/move/read-calls", Fail},
		{"bytes within 0.1 %", set("three/produce/wal-bytes", 17_016_000), Pass, "three/produce/wal-bytes", Pass},
		{"bytes above 0.1 %", set("three/produce/wal-bytes", 17_018_000), Fail, "three/produce/wal-bytes", Fail},
		{"bytes below 0.1 %", set("three/produce/wal-bytes", 16_900_000), Pass, "three/produce/wal-bytes", Improved},
		{"allocations within 1 %", set("three/produce/allocs", 34_330), Pass, "three/produce/allocs", Pass},
		{"allocations above 1 %", set("three/produce/allocs", 34_350), Fail, "three/produce/allocs", Fail},
		{"allocations that fell", set("three/produce/allocs", 33_000), Pass, "three/produce/allocs", Improved},
		{"bytes allocated above 1 %", set("three/produce/alloc-bytes", 26_300_000), Fail, "three/produce/alloc-bytes", Fail},
		{"next to no allocations: above 1 %, below the floor", set("one/move/allocs", 60), Pass, "one/move/allocs", Pass},
		{"next to no allocations: above the floor", set("one/move/allocs", 80), Fail, "one/move/allocs", Fail},
		{"one better does not pay for another", func(s *replay.Set) {
			set("three/produce/fsyncs", 1)(s)
			set("three/produce/wal-bytes", 18_000_000)(s)
		}, Fail, "three/produce/wal-bytes", Fail},
		{"a counter is gone", func(s *replay.Set) { s.Counters = s.Counters[:5] }, Unmeasurable, "one/move/read-calls", Unmeasurable},
		{"a counter is new", func(s *replay.Set) {
			s.Counters = append(s.Counters, replay.Counter{Name: "one/move/fsyncs", Count: 1, Records: 1})
		}, Pass, "one/move/fsyncs", Advisory},
		{"another Go", func(s *replay.Set) {
			s.Go = "go1.27"
			set("three/produce/allocs", 50_000)(s)
		}, Pass, "three/produce/allocs", Advisory},
		{"another Go and one sync more", func(s *replay.Set) {
			s.Go = "go1.27"
			set("three/produce/fsyncs", 921)(s)
		}, Fail, "three/produce/fsyncs", Fail},
	} {
		r := JudgeCounters(Counters{BaseName: "base", HeadName: "head", Base: counted(nil), Head: counted(x.head)})
		i := slices.IndexFunc(r.Rows, func(row Row) bool { return row.Name == x.row })
		if i < 0 || r.Verdict != x.verdict || r.Rows[i].Verdict != x.state {
			t.Errorf("%s: %s (%s), %+v", x.what, r.Verdict, r.Text, r.Rows)
		}
		if x.verdict == Fail && !strings.Contains(r.Text, x.row) {
			t.Errorf("%s: the verdict does not name %s: %s", x.what, x.row, r.Text)
		}
		if other := strings.HasPrefix(x.what, "another Go"); other != (len(r.Notes) == 1 && strings.Contains(r.Notes[0], "allocations are not judged")) {
			t.Errorf("%s: notes %q", x.what, r.Notes)
		}
	}
}

// TestOtherWorkload: nothing is compared.
func TestOtherWorkload(t *testing.T) {
	r := JudgeCounters(Counters{Base: counted(nil), Head: counted(func(s *replay.Set) { s.Workload = "v" })})
	if r.Verdict != Unmeasurable || len(r.Rows) > 0 || !strings.Contains(r.Text, writeAnew) {
		t.Errorf("%+v", r)
	}
}

// TestQuarantine: what does not repeat is named and not judged; the four that the
// lane stands on make it unmeasurable, whatever else there is.
func TestQuarantine(t *testing.T) {
	without := func(name string) *replay.Set {
		return counted(func(s *replay.Set) {
			s.Counters = slices.DeleteFunc(s.Counters, func(c replay.Counter) bool { return c.Name == name })
		})
	}
	for _, m := range replay.Metrics() {
		name := "three/produce/" + m.Name
		r := JudgeCounters(Counters{Base: counted(nil), Head: without(name), Unequal: []replay.Unequal{{Name: name, Counts: []int64{1, 2, 1}, Core: m.Core}}})
		want := Pass
		if slices.Contains([]string{"fsyncs", "wal-bytes", "raft-messages", "raft-bytes"}, m.Name) {
			want = Unmeasurable
		}
		if last := r.Rows[len(r.Rows)-1]; r.Verdict != want || last.Name != name || last.Verdict != Quarantined {
			t.Errorf("%s: %s, %+v", name, r.Verdict, last)
		}
	}
}

// TestWaiver: it excuses as much as it says, of that metric, and is named.
func TestWaiver(t *testing.T) {
	day := time.Date(2027, 1, 31, 0, 0, 0, 0, time.UTC)
	for _, x := range []struct {
		what    string
		waiver  Waiver
		syncs   int64
		verdict Verdict
		state   Verdict
	}{
		{"within its share", Waiver{Metric: "three/produce/fsyncs", Share: 0.05}, 960, Pass, Waived},
		{"above its share", Waiver{Metric: "three/produce/fsyncs", Share: 0.05}, 970, Fail, Fail},
		{"within its value", Waiver{Metric: "three/produce/fsyncs", Value: 5}, 965, Pass, Waived},
		{"above its value", Waiver{Metric: "three/produce/fsyncs", Value: 5}, 975, Fail, Fail},
		{"of another metric", Waiver{Metric: "three/produce/allocs", Share: 0.05}, 960, Fail, Fail},
		{"not needed", Waiver{Metric: "three/produce/fsyncs", Share: 0.05}, 920, Pass, Pass},
	} {
		x.waiver.Reason, x.waiver.Expires = "a checksum", day
		r := JudgeCounters(Counters{Base: counted(nil), Head: counted(set("three/produce/fsyncs", x.syncs)), Waivers: []Waiver{x.waiver}})
		if row := r.Rows[2]; r.Verdict != x.verdict || row.Verdict != x.state || x.state == Waived && row.Note != "until 2027-01-31: a checksum" {
			t.Errorf("%s: %s, %+v", x.what, r.Verdict, row)
		}
	}
}

// TestReadWaivers: a good one is read, and every other is an error that names it.
func TestReadWaivers(t *testing.T) {
	now := time.Date(2026, 12, 1, 12, 0, 0, 0, time.UTC)
	known := func(m string) bool { return m == "three/produce/fsyncs" || m == "one/fetch/allocs" }
	good := "waivers:\n  - metric: three/produce/fsyncs\n    allow: 3%\n    reason: it must\n    expires: 2027-01-31\n" +
		"  - metric: one/fetch/allocs\n    allow: 0.5\n    reason: it must\n    expires: 2026-12-02\n"
	got, err := ReadWaivers([]byte(good), known, now)
	if err != nil || len(got) != 2 || got[0].Share != 0.03 || got[0].Value != 0 || got[1].Value != 0.5 || got[0].Reason != "it must" {
		t.Fatalf("%v: %+v", err, got)
	}
	for _, none := range []string{"", "# nothing\n", "waivers: []\n"} {
		if got, err := ReadWaivers([]byte(none), known, now); err != nil || len(got) > 0 {
			t.Errorf("%q: %v, %+v", none, err, got)
		}
	}
	for _, x := range []struct{ old, new, want string }{
		{"2027-01-31", "2026-12-01", "expired on 2026-12-01"}, {"2027-01-31", "2027-06-01", "90 days at most"},
		{"2027-01-31", "soon", "want a day"}, {"2027-01-31", "", "want a day"},
		{"three/produce/fsyncs", "three/produce/fsync", `"three/produce/fsync": there is no such metric`},
		{"one/fetch/allocs", "three/produce/fsyncs", "waived twice"}, {"reason: it must", "reason: ''", "no reason"},
		{"allow: 3%", "allow: -3%", "how much more is allowed"}, {"allow: 3%", "allow: much", "how much more is allowed"},
		{"allow: 3%", "allow: 3%\n    because: no", "unknown field"}, {"waivers:", "waver:", "unknown field"},
	} {
		_, err := ReadWaivers([]byte(strings.Replace(good, x.old, x.new, 1)), known, now)
		if err == nil || !strings.Contains(err.Error(), x.want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s for %s: %v, want %q", x.new, x.old, err, x.want)
		}
	}
}
