package record

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/perf/benchfmt"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func sample(t *testing.T) *Run {
	t.Helper()
	env, err := Capture(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	return &Run{
		Schema: Schema, ID: "20260102.03-produce", Kind: KindSuite,
		Question: "How fast?", Expectation: "Fast enough.",
		Started: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC), Seconds: 12.5,
		Commit: Commit{Hash: "unknown"}, Config: map[string]any{"nodes": 1.0, "acks": "all"},
		Seeds: []uint64{1, 1<<64 - 1}, Environment: env,
		Units: []Unit{
			{Name: "throughput", Unit: "records/s", Better: "higher"},
			{Name: "response_p99", Unit: "ns", Better: "lower"},
			{Name: "lost", Unit: "lost", Exact: true},
		},
		Arms: []Arm{{
			Name: "saturate", Params: map[string]string{"size": "1024"},
			Repetitions: []Repetition{
				{Number: 1, Order: 2, Seed: 1, Status: OK, Values: map[string]float64{"throughput": 300123.5, "response_p99": 4.25e6, "lost": 0}},
				{Number: 2, Order: 1, Seed: 2, Status: OK, Values: map[string]float64{"throughput": 299000, "lost": 0}},
				{Number: 3, Order: 3, Seed: 3, Status: Invalid, Problem: "the generator was the bottleneck"},
			},
		}},
		Verdict: Verdict{Result: OK, Text: "fine", Factors: []Factor{{Name: "itself", Measure: "lost", Arm: "saturate", Against: "saturate",
			Ratio: 1, Low: 1, High: 1, Coverage: 0.5, Repetitions: 2, Claimed: 270}}},
	}
}

func TestRoundTrip(t *testing.T) {
	run := sample(t)
	var b bytes.Buffer
	if err := run.Encode(&b); err != nil {
		t.Fatal(err)
	}
	got, err := Decode(&b)
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(got, run) {
		t.Errorf("decoded %+v\nwant %+v", got, run)
	}
	if vs := got.Arm("saturate").Values("throughput"); len(vs) != 2 || vs[0] != 300123.5 {
		t.Errorf("values %v: an invalid repetition must not count", vs)
	}
}

func TestDecodeRefuses(t *testing.T) {
	var b bytes.Buffer
	if err := sample(t).Encode(&b); err != nil {
		t.Fatal(err)
	}
	good := b.String()
	for _, c := range []struct {
		name, old, new string
		want           error
		word           string
	}{
		{"another version", `"dyno.run/1"`, `"dyno.run/2"`, ErrSchema, "dyno.run/2"},
		{"no schema", `"schema"`, `"shema"`, ErrSchema, ""},
		{"unknown field", `"question"`, `"qestion"`, ErrInvalid, "qestion"},
		{"bad id", `20260102.03-produce`, `produce`, ErrInvalid, "id"},
		{"undeclared value", `"throughput": 300123.5`, `"speed": 1`, ErrInvalid, "speed"},
		{"status", `"status": "invalid"`, `"status": "good"`, ErrInvalid, "status"},
		{"ok with a problem", `"status": "invalid"`, `"status": "ok"`, ErrInvalid, "problem"},
		{"absolute path", `"acks": "all"`, `"acks": "/somewhere"`, ErrInvalid, "absolute path"},
		{"forged facts", `"cores": `, `"cores": 1`, ErrInvalid, "fingerprint"},
		{"verdict", `"result": "ok"`, `"result": "great"`, ErrInvalid, "verdict"},
		{"factor of no arm", `"against": "saturate"`, `"against": "other"`, ErrInvalid, "factor itself"},
		{"factor of no unit", `"measure": "lost"`, `"measure": "found"`, ErrInvalid, "factor"},
		{"two objects", "}\n", "}\n{}", ErrInvalid, "after top-level value"},
		{"cut off", "}\n", "", ErrInvalid, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			at := strings.LastIndex(good, c.old)
			if at < 0 {
				t.Fatalf("%q is not in the sample", c.old)
			}
			bad := good[:at] + c.new + good[at+len(c.old):]
			_, err := Decode(strings.NewReader(bad))
			if !errors.Is(err, c.want) || !strings.Contains(err.Error(), c.word) {
				t.Errorf("got %v, want %v with %q", err, c.want, c.word)
			}
		})
	}
}

func TestBenchTextIsReadByBenchfmt(t *testing.T) {
	run := sample(t)
	var b bytes.Buffer
	if err := WriteBench(&b, run); err != nil {
		t.Fatal(err)
	}
	r := benchfmt.NewReader(&b, "bench.txt")
	var throughput []float64
	var names []string
	for r.Scan() {
		switch rec := r.Result().(type) {
		case *benchfmt.Result:
			names = append(names, string(rec.Name))
			v, ok := rec.Value("throughput-records/s")
			if !ok {
				t.Errorf("%s has no throughput: %v", rec.Name, rec.Values)
			}
			throughput = append(throughput, v)
			if got := rec.GetConfig("commit"); got != "unknown" {
				t.Errorf("commit %q", got)
			}
		case *benchfmt.SyntaxError:
			t.Errorf("syntax: %v", rec)
		}
	}
	if err := r.Err(); err != nil {
		t.Fatal(err)
	}
	if want := []float64{299000, 300123.5}; !reflect.DeepEqual(throughput, want) {
		t.Errorf("throughput %v, want %v in order of measurement", throughput, want)
	}
	if len(names) == 0 || names[0] != "Produce/arm=saturate/size=1024" {
		t.Errorf("names %q", names)
	}
	units := r.Units()
	if better := units.GetBetter("throughput-records/s"); better != 1 {
		t.Errorf("better = %d, want higher", better)
	}
	if a := units.GetAssumption("lost"); reflect.TypeOf(a).Name() != "assumeExact" {
		t.Errorf("lost is not exact: %T", a)
	}
}

func TestNumbersAreTakenOnce(t *testing.T) {
	root := t.TempDir()
	now := time.Date(2026, 3, 4, 23, 0, 0, 0, time.UTC)
	const writers = 24
	ids := make([]string, writers)
	var wg sync.WaitGroup
	for i := range writers {
		wg.Go(func() {
			d, err := Create(root, []string{"a", "b"}[i%2], now)
			if err != nil {
				t.Error(err)
				return
			}
			ids[i] = d.ID()
		})
	}
	wg.Wait()
	seen := map[string]bool{}
	for _, id := range ids {
		if number := id[:min(11, len(id))]; seen[number] {
			t.Errorf("number %s was given twice", number)
		} else {
			seen[number] = true
		}
	}
	left, _ := filepath.Glob(filepath.Join(root, ".*"))
	if len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

func TestNumbersRunOut(t *testing.T) {
	root := t.TempDir()
	now := time.Date(2026, 3, 4, 0, 0, 0, 0, time.UTC)
	var ids []string
	for n := 1; n <= numbersMax; n++ {
		if n > 12 && n < 98 || n > 101 && n < numbersMax-1 {
			ids = append(ids, fmt.Sprintf("20260304.%02d-x", n))
			if err := os.Mkdir(filepath.Join(root, ids[n-1]), 0o755); err != nil {
				t.Fatal(err)
			}
			continue
		}
		d, err := Create(root, "x", now)
		if err != nil {
			t.Fatal(err)
		}
		ids = append(ids, d.ID())
	}
	if !slices.IsSortedFunc(ids, CompareIDs) {
		t.Error("the order of the ids is not that in which they were made")
	}
	for n, want := range map[int]string{9: "20260304.09-x", 10: "20260304.10-x", 99: "20260304.99-x", 100: "20260304.100-x", 999: "20260304.999-x"} {
		if id := ids[n-1]; id != want || !idForm.MatchString(id) {
			t.Errorf("number %d is %s, want %s", n, id, want)
		}
	}
	if _, err := Create(root, "y", now); !errors.Is(err, ErrFull) {
		t.Errorf("got %v, want ErrFull", err)
	}
	if _, err := Create(root, "Not A Name", now); err == nil {
		t.Error("a name with spaces was accepted")
	}
}

func TestDirIsAppendOnly(t *testing.T) {
	root := t.TempDir()
	d, err := Create(root, "produce", time.Now())
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"series.jsonl", ReportFile} {
		f, err := d.Create(name)
		if err != nil {
			t.Fatal(err)
		}
		f.Close()
	}
	if _, err := d.Create("series.jsonl"); !errors.Is(err, os.ErrExist) {
		t.Errorf("second write of one name: %v", err)
	}
	run := sample(t)
	if err := d.Seal(run); err != nil {
		t.Fatal(err)
	}
	if _, err := d.Create("late.txt"); !errors.Is(err, ErrSealed) {
		t.Errorf("write after Seal: %v", err)
	}
	if err := d.Seal(run); !errors.Is(err, ErrSealed) {
		t.Errorf("second Seal: %v", err)
	}
	if err := d.Abandon(); err != nil {
		t.Fatal(err)
	}
	got, err := Open(d.Path())
	if err != nil || got.ID != d.ID() {
		t.Fatalf("Open after Abandon: %v, %v", got, err)
	}
}

func TestUnsealedIsNoResult(t *testing.T) {
	root := t.TempDir()
	d, err := Create(root, "produce", time.Now())
	if err != nil {
		t.Fatal(err)
	}
	bad := sample(t)
	bad.Question = ""
	if err := d.Seal(bad); !errors.Is(err, ErrInvalid) {
		t.Errorf("Seal of an invalid run: %v", err)
	}
	if _, err := Open(d.Path()); !errors.Is(err, ErrNotResult) {
		t.Errorf("Open: %v", err)
	}
	if err := d.Abandon(); err != nil {
		t.Fatal(err)
	}
	if left, _ := os.ReadDir(root); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

// The committed index is that of the committed results.
func TestCommittedIndex(t *testing.T) {
	root := filepath.Join("..", "..", "results")
	want, err := IndexText(root)
	if err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(filepath.Join(root, IndexFile))
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s is not that of the results below it: run `dyno report`", IndexFile)
	}
	if lines := bytes.Count(want, []byte{'\n'}); lines < 10 {
		t.Errorf("an index of %d lines: want one for each recorded result", lines)
	}
}

func TestIndexListsAndFindsLatest(t *testing.T) {
	root := t.TempDir()
	now := time.Date(2026, 3, 4, 0, 0, 0, 0, time.UTC)
	var last string
	for _, result := range []string{OK, OK, Invalid} {
		d, err := Create(root, "produce", now)
		if err != nil {
			t.Fatal(err)
		}
		run := sample(t)
		run.Verdict.Result = result
		if err := d.Seal(run); err != nil {
			t.Fatal(err)
		}
		if result == OK {
			last = d.ID()
		}
	}
	old := filepath.Join(root, "20260304.177-produce") // the newest: 177 comes after 77
	if err := os.Mkdir(old, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(old, RunFile), []byte(`{"schema":"dyno.run/0"}`), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"20260304.077-no-number-of-ours", "20260305.100-unsealed"} {
		if err := os.Mkdir(filepath.Join(root, name), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := Create(root, "unsealed", now); err != nil {
		t.Fatal(err)
	}
	entries, err := List(root)
	if err != nil || len(entries) != 4 {
		t.Fatalf("%d entries, %v; want 4", len(entries), err)
	}
	if e := entries[3]; !errors.Is(e.Err, ErrSchema) {
		t.Errorf("old schema: %v", e.Err)
	}
	if err := Sweep(root); err != nil {
		t.Fatal(err)
	}
	left, err := os.ReadDir(root)
	if err != nil || len(left) != 5 {
		t.Errorf("%d directories after the sweep, want the 4 with a run.json and the one of another form (%v)", len(left), err)
	}
	fp := entries[0].Run.Environment.Fingerprint
	got, err := Latest(root, "produce", fp)
	if err != nil || got == nil || got.ID != last {
		t.Errorf("latest %+v, %v; want %s", got, err, last)
	}
	if got, _ := Latest(root, "produce", "another"); got != nil {
		t.Errorf("a result of another machine was found: %s", got.ID)
	}
	if got, err := Latest(filepath.Join(root, "none"), "produce", fp); got != nil || err != nil {
		t.Errorf("missing root: %v, %v", got, err)
	}
}

// TestPlace: a path is found wherever a configuration may hold one, and nothing else is
// taken for one.
func TestPlace(t *testing.T) {
	for text, want := range map[string]string{
		"/": "/", "/some where/x": "/some where/x", "//host/x": "//host/x", "/~x": "/~x", "/\u00fcbung": "/\u00fcbung",
		"peer_tls: {cert: /somewhere/cert.pem, key: k}": "/somewhere/cert.pem", "a=/x": "/x", "see `/x.y` there": "/x.y`",
		"list: [/x]": "/x", "from file:///place/x on": "/place/x", `cert: "/x y"`: "/x", "cert:/x": "/x",
		"": "", "all": "", "records/s": "", "1 / 2": "", "http://host/x": "", "three/produce/fsyncs": "", "../x": "", "-ldflags='-w -buildid='": "",
	} {
		if got := Place(text); got != want {
			t.Errorf("%q: got %q, want %q", text, got, want)
		}
	}
}
