package bench

import (
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	hdr "github.com/HdrHistogram/hdrhistogram-go"

	"dyno/bench/record"
)

// writeLog makes a latency.hlog of n seconds with known values.
func writeLog(t *testing.T, path string, seconds int) {
	t.Helper()
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	w := hdr.NewHistogramLogWriter(f)
	for _, err := range []error{w.OutputLogFormatVersion(), w.OutputStartTime(1_000_000), w.OutputLegend()} {
		if err != nil {
			t.Fatal(err)
		}
	}
	for s := range seconds {
		for _, tag := range []string{"response", "service"} {
			h := hdr.New(1000, 600_000_000_000, 3)
			for i := int64(1); i <= 1000; i++ {
				if err := h.RecordValue(i * 10_000); err != nil {
					t.Fatal(err)
				}
			}
			h.SetTag(tag)
			h.SetStartTimeMs(1_000_000 + int64(s)*1000)
			h.SetEndTimeMs(1_000_000 + int64(s+1)*1000)
			if err := w.OutputIntervalHistogram(h); err != nil {
				t.Fatal(err)
			}
		}
	}
}

func TestLogIsReadAsWritten(t *testing.T) {
	path := filepath.Join(t.TempDir(), "latency.hlog")
	writeLog(t, path, 4)
	l, err := readLog(path)
	if err != nil {
		t.Fatal(err)
	}
	h := l.total["response"]
	if h.TotalCount() != 4000 || len(l.over["service"]) != 4 {
		t.Fatalf("%d values, %d intervals", h.TotalCount(), len(l.over["service"]))
	}
	if p := float64(h.ValueAtPercentile(50)); p < 4.99e6 || p > 5.02e6 {
		t.Errorf("p50 %v, want 5 ms", p)
	}
	last := l.over["response"][3]
	if last.from != 3 || last.to != 4 || last.count != 1000 {
		t.Errorf("last interval %+v", last)
	}
	if l, err := readLog(filepath.Join(t.TempDir(), "none")); l != nil || err != nil {
		t.Errorf("missing log: %v, %v", l, err)
	}
}

func TestPercentLabels(t *testing.T) {
	for d, want := range []string{"0", "90", "99", "99.9", "99.99"} {
		if got := percentLabel(float64(d)); got != want {
			t.Errorf("decade %d: %q, want %q", d, got, want)
		}
	}
}

func TestReportIsWholeByItself(t *testing.T) {
	withTiny(t)
	opt, _, _ := fakeLab(t, fakeGood)
	run, err := RunExperiment(t.Context(), "tiny", opt, ExperimentConfig{})
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(opt.Results, run.ID)
	writeLog(t, filepath.Join(dir, "latency.hlog"), 3)
	path, err := WriteReport(dir)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	text := string(raw)
	for _, word := range []string{run.ID, "Expected beforehand", "Latency by percentile", "Response over time", `role="img"`,
		"written against grow", "prefers-color-scheme:dark", "fdatasync", run.Environment.Fingerprint} {
		if !strings.Contains(text, word) {
			t.Errorf("the report lacks %q", word)
		}
	}
	for _, form := range []string{`(?i)<script`, `(?i)\bsrc\s*=`, `(?i)\bhref\s*=\s*"?[^#"]`, `https?://`, `@import`, `url\(`, `ZgotmplZ`, `NaN`, `%!`} {
		if found := regexp.MustCompile(form).FindString(text); found != "" {
			t.Errorf("the report holds %q", found)
		}
	}
	if left, _ := filepath.Glob(filepath.Join(dir, ".report-*")); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

func TestReportOfWhatIsNoResult(t *testing.T) {
	dir := t.TempDir()
	if _, err := WriteReport(dir); !errors.Is(err, record.ErrNotResult) {
		t.Errorf("empty directory: %v", err)
	}
	if err := os.WriteFile(filepath.Join(dir, record.RunFile), []byte(`{"schema":"dyno.run/9"}`), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := WriteReport(dir); !errors.Is(err, record.ErrSchema) || !strings.Contains(err.Error(), "dyno.run/9") {
		t.Errorf("another version: %v", err)
	}
}

func TestChangeIsToldWithCaution(t *testing.T) {
	arm := func(v float64) record.Arm {
		return record.Arm{Name: armSaturate, Params: map[string]string{"size": "1"}, Repetitions: []record.Repetition{
			{Number: 1, Status: record.OK, Values: map[string]float64{"throughput": v, "broker_cpu": 1}}}}
	}
	now := &record.Run{Units: loadUnits, Arms: []record.Arm{arm(110)}}
	then := &record.Run{ID: "20260101.01-produce", Arms: []record.Arm{arm(100)}}
	var b strings.Builder
	if err := writeChange(&b, now, then); err != nil {
		t.Fatal(err)
	}
	for _, word := range []string{"x1.100", "better", "no difference", "Caution", then.ID} {
		if !strings.Contains(b.String(), word) {
			t.Errorf("lacks %q:\n%s", word, b.String())
		}
	}
	then.Arms[0].Params["size"] = "2"
	b.Reset()
	if err := writeChange(&b, now, then); err != nil || strings.Contains(b.String(), "x1.100") {
		t.Errorf("arms of another size were compared: %v\n%s", err, b.String())
	}
}
