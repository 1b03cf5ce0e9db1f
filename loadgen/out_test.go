package loadgen

import (
	"bufio"
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	hdr "github.com/HdrHistogram/hdrhistogram-go"
)

var rewrite = flag.Bool("rewrite", false, "rewrite the golden files")

// readLog sums a log's counts and maxima by tag.
func readLog(t *testing.T, raw []byte) map[string]*hdr.Histogram {
	t.Helper()
	sum := map[string]*hdr.Histogram{}
	r := hdr.NewHistogramLogReader(bytes.NewReader(raw))
	for {
		h, err := r.NextIntervalHistogram()
		if err != nil {
			t.Fatal(err)
		}
		if h == nil {
			return sum
		}
		if h.EndTimeMs() <= h.StartTimeMs() {
			t.Errorf("interval %d..%d ms", h.StartTimeMs(), h.EndTimeMs())
		}
		if sum[h.Tag()] == nil {
			sum[h.Tag()] = newHist()
		}
		if dropped := sum[h.Tag()].Merge(h); dropped != 0 {
			t.Fatalf("%d values dropped", dropped)
		}
	}
}

// TestWriteDir: what a run writes reads back as what it measured.
func TestWriteDir(t *testing.T) {
	t.Parallel()
	cfg := small(fake(t))
	cfg.Rate, cfg.Consumers, cfg.Duration = 3_000, 1, 1200*time.Millisecond
	r := mustRun(t, cfg)
	dir := filepath.Join(t.TempDir(), "a", "run")
	if err := r.WriteDir(dir); err != nil {
		t.Fatal(err)
	}
	read := func(name string) []byte {
		raw, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		return raw
	}
	log := readLog(t, read("latency.hlog"))
	for _, name := range seriesNames {
		h := r.Histogram(name)
		if h == nil || log[name] == nil || !log[name].Equals(h) {
			t.Errorf("%s: the log does not add up to the run's histogram", name)
			continue
		}
		if total := fmt.Sprintf("Total count    = %12d]", h.TotalCount()); !strings.Contains(string(read(name+".hgrm")), total) {
			t.Errorf("%s.hgrm does not hold %q", name, total)
		}
	}
	if raw, _ := r.JSON(); !bytes.Equal(raw, read("load.json")) {
		t.Error("load.json is not the report")
	}
	var sum seriesLine
	sc := bufio.NewScanner(bytes.NewReader(read("series.jsonl")))
	lines := 0
	for ; sc.Scan(); lines++ {
		var l seriesLine
		if err := json.Unmarshal(sc.Bytes(), &l); err != nil {
			t.Fatal(err)
		}
		sum.Sent, sum.Acked, sum.Consumed = sum.Sent+l.Sent, sum.Acked+l.Acked, sum.Consumed+l.Consumed
	}
	if lines < 2 || sum.Sent != r.Sent || sum.Acked != r.Acked || sum.Consumed != *r.Detail.Live {
		t.Errorf("%d lines sum to %+v", lines, sum)
	}
	if n := bytes.Count(read("series.csv"), []byte("\n")); n != lines+1 {
		t.Errorf("series.csv has %d lines, want %d", n, lines+1)
	}
	var d Detail
	if err := json.Unmarshal(read("detail.json"), &d); err != nil || d.Confirmed != r.Detail.Confirmed {
		t.Errorf("detail.json: %v, %+v", err, d)
	}
	var text bytes.Buffer
	if err := r.WriteText(&text); err != nil || !strings.Contains(text.String(), "p99.9") {
		t.Errorf("text %v: %s", err, text.String())
	}
}

// fixed is a result of two known seconds.
func fixed(t *testing.T) *Result {
	t.Helper()
	rec := newRecorder(seriesResponse, seriesDelay, seriesService)
	tl := newTally([]*recorder{rec})
	for sec := range int64(2) {
		for i := range int64(100) {
			rec.active.record(seriesResponse, (sec+1)*(i+1)*1_000_000)
			rec.active.record(seriesService, (i+1)*500_000)
			rec.active.record(seriesDelay, i*1_000)
		}
		if _, err := tl.collect(sec*1e9, (sec+1)*1e9, false); err != nil {
			t.Fatal(err)
		}
	}
	r := &Result{intervals: tl.intervals, begun: time.UnixMilli(1_441_812_279_474)}
	for s := range seriesE2E {
		r.hists[s] = tl.total[s]
	}
	return r
}

// officialLine is a data line of the HdrHistogram log format 1.2 and later, as jHiccup and HistogramLogWriter write it.
var officialLine = regexp.MustCompile(`^(Tag=[^, \r\n]+,)?\d+\.\d{3,6},\d+\.\d{3,6},\d+\.\d{3,6},HIST[A-Za-z0-9+/]+=*$`)

// TestLogFormat compares the log and the percentile table of a known result with golden files, the log's lines with the official
// grammar, and decodes a line that the Java implementation wrote (from HdrHistogram's own test data) with the same reader.
func TestLogFormat(t *testing.T) {
	var log, table bytes.Buffer
	r := fixed(t)
	if err := r.WriteLog(&log); err != nil {
		t.Fatal(err)
	}
	if err := WritePercentiles(&table, r.Histogram("response")); err != nil {
		t.Fatal(err)
	}
	for name, got := range map[string][]byte{"latency.hlog": log.Bytes(), "response.hgrm": table.Bytes()} {
		path := filepath.Join("testdata", name)
		if *rewrite {
			if err := os.WriteFile(path, got, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		// Payloads are compared by content below: their compression may change with the toolchain.
		if payload := regexp.MustCompile("HIST.*"); !bytes.Equal(payload.ReplaceAll(got, nil), payload.ReplaceAll(want, nil)) {
			t.Errorf("%s differs from its golden file:\n%s", name, got)
		}
	}
	data := 0
	for i, line := range strings.Split(strings.TrimSpace(log.String()), "\n") {
		switch {
		case strings.HasPrefix(line, "#"):
		case line == `"StartTimestamp","Interval_Length","Interval_Max","Interval_Compressed_Histogram"`:
		case officialLine.MatchString(line):
			data++
		default:
			t.Errorf("line %d is not of the format: %s", i+1, line)
		}
	}
	if data != 6 {
		t.Errorf("%d data lines, want 2 s of 3 series", data)
	}
	java := "#[Histogram log format version 1.2]\n" +
		"#[StartTime: 1441812279.474 (seconds since epoch), Wed Sep 09 08:24:39 PDT 2015]\n" +
		"Tag=A,0.127,1.007,2.769,HISTFAAAAEV42pNpmSzMwMCgyAABTBDKT4GBgdnNYMcCBvsPEBEJISEuATEZMQ4uASkhIR4nrxg9v2lMaxhvMekILGZkKmcCAEf2CsI=\n"
	h, err := hdr.NewHistogramLogReader(strings.NewReader(java)).NextIntervalHistogram()
	if err != nil || h.Tag() != "A" || (h.Max()+500)/1000 != 2769 {
		t.Errorf("Java's line: %v, %v", h.Max(), err)
	}
	golden, err := os.ReadFile(filepath.Join("testdata", "latency.hlog"))
	if err != nil {
		t.Fatal(err)
	}
	for _, raw := range [][]byte{log.Bytes(), golden} {
		if got := readLog(t, raw); !got["response"].Equals(r.Histogram("response")) || !got["delay"].Equals(r.Histogram("delay")) {
			t.Error("the log does not read back")
		}
	}
}
