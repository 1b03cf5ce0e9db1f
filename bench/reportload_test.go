package bench

import (
	"fmt"
	"math"
	"path/filepath"
	"strings"
	"testing"

	hdr "github.com/HdrHistogram/hdrhistogram-go"

	"dyno/bench/record"
)

// The second in which the warm-up ends is none of the measured ones, whatever the
// generator calls it: the latency log begins after it, and both charts say so.
func TestWarmupEndsWhereTheLogBegins(t *testing.T) {
	measured := new(struct{})
	seconds := []second{
		{StartNs: 0, EndNs: 1e9, Sent: 100, Acked: 100},
		{StartNs: 1e9, EndNs: 2e9, Sent: 100, Acked: 100},
		{StartNs: 2e9, EndNs: 3e9, Sent: 110, Acked: 100, Response: measured},
	}
	if from := measuredFrom(seconds); from != 2 {
		t.Errorf("measured from %v s on, want 2", from)
	}
	if f := rateFigure(seconds, 0); !strings.Contains(f.Text, "the first 2 s are warm-up") {
		t.Errorf("%q", f.Text)
	}
}

// All repetitions as one have the percentiles of their merged histogram, and the band
// lies within the percentiles of the repetitions: whole runs are drawn, not records.
func TestPooledResponse(t *testing.T) {
	dir := filepath.Join("..", "results", "20261126.01-produce")
	run, err := record.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	arm := run.Arm(armHalf)
	p, err := readPool(dir, arm)
	if err != nil || len(p.runs) != len(arm.Repetitions) || len(p.runs) < pooledLeast {
		t.Fatalf("%d runs of %d: %v", len(p.runs), len(arm.Repetitions), err)
	}
	var each []*hdr.Histogram
	merged := new(hdr.Histogram)
	for _, rep := range arm.Repetitions {
		log, err := readLog(filepath.Join(dir, "reps", fmt.Sprintf("half-%d", rep.Number), "latency.hlog"))
		if err != nil {
			t.Fatal(err)
		}
		h := log.total["response"]
		if each = append(each, h); len(each) == 1 {
			merged = hdr.Import(h.Export())
		} else if lost := merged.Merge(h); lost > 0 {
			t.Fatalf("%d records do not fit", lost)
		}
	}
	if p.records() != merged.TotalCount() {
		t.Errorf("%d records, want %d", p.records(), merged.TotalCount())
	}
	for d := 0.0; d <= 5; d += pooledBand {
		if got, want := p.at(p.runs, d), percentile(merged, d); math.Abs(got/want-1) > 2e-3 {
			t.Errorf("%v decades: %v ms, want %v", d, got, want)
		}
		least, most := math.Inf(1), 0.0
		for _, h := range each {
			least, most = min(least, percentile(h, d)), max(most, percentile(h, d))
		}
		if low, high := p.interval(d); low > p.at(p.runs, d) || high < p.at(p.runs, d) || low < least*0.998 || high > most*1.002 || low == high && d > 1 {
			t.Errorf("%v decades: %v to %v, the repetitions have %v to %v", d, low, high, least, most)
		}
	}
}

// A result of too few repetitions, or without their logs, has no such chart.
func TestPooledNeedsRepetitions(t *testing.T) {
	dir := filepath.Join("..", "results", "20261126.01-produce")
	run, err := record.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	if f, ok, err := pooledFigure(run, dir); err != nil || !ok || len(f.Data.Rows) != 2 || len(f.Data.Rows[0]) != len(f.Data.Head) {
		t.Fatalf("%v %v: %v", f.Data, ok, err)
	}
	if _, ok, err := pooledFigure(run, t.TempDir()); ok || err != nil {
		t.Errorf("without logs: %v %v", ok, err)
	}
	run.Arm(armHalf).Repetitions[0].Status, run.Arm(armSaturate).Repetitions[2].Status = record.Invalid, record.Failed
	if _, ok, err := pooledFigure(run, dir); ok || err != nil {
		t.Errorf("of two good repetitions: %v %v", ok, err)
	}
}
