package gate

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

func number(v float64) *float64 { return &v }

// everyRow is a report with a row of each kind.
func everyRow() *Report {
	return &Report{
		Schema: ReportSchema, Lane: "x", Verdict: Fail, Text: "1 of 8 counters rose: three/produce/fsyncs +0.10 %",
		Base: Side{Name: "baseline.json", Commit: "0123456789abcdef", Go: "go1.26.8 amd64"},
		Head: Side{Name: "this program", Commit: "fedcba9876543210", Dirty: true, Go: "go1.26.8 amd64"},
		Rows: []Row{
			{Name: "three/produce/fsyncs", Unit: "/1k records", Base: number(100), Head: number(100.1), Change: number(0.001), Verdict: Fail, Note: "It does not see | how long <one> takes."},
			{Name: "three/produce/wal-bytes", Unit: "B/record", Base: number(1733.5), Head: number(1700), Change: number(-0.0193), Verdict: Improved, Note: "write it down"},
			{Name: "one/produce/wal-bytes", Unit: "B/record", Base: number(573), Head: number(600), Change: number(0.047), Verdict: Waived, Note: "until 2027-01-31: a checksum"},
			{Name: "one/produce/allocs", Unit: "allocs/record", Base: number(0.33), Head: number(0.34), Change: number(0.03), Verdict: Advisory},
			{Name: "one/fetch/read-calls", Unit: "/1k records", Verdict: Quarantined, Note: "repeats do not agree: [3 4 3]"},
			{Name: "one/move/read-calls", Unit: "/1k records", Base: number(0), Head: number(2), Verdict: Fail},
			{Name: "t/throughput", Unit: "records/s", Base: number(100000), Head: number(101000), Change: number(0.01), Interval: &[2]float64{-0.01, 0.03}, Verdict: Inconclusive},
			{Name: "three/fetch/round-trips", Unit: "/1k records", Base: number(5), Head: number(5), Change: number(0), Verdict: Pass},
		},
		Notes: []string{"the machine was loud"},
	}
}

var rewriteReports = flag.Bool("rewrite", false, "write the stored reports anew")

// TestWriters holds what each form looks like: go test ./bench/gate -run Writers -rewrite
// writes it anew.
func TestWriters(t *testing.T) {
	r := everyRow()
	verdict, err := r.JSON()
	junit, jerr := r.JUnit()
	if err != nil || jerr != nil {
		t.Fatal(err, jerr)
	}
	for name, got := range map[string][]byte{
		"report.txt": r.Table(false), "report-all.txt": r.Table(true), "report.json": verdict, "report.md": r.Markdown(), "report.xml": junit,
	} {
		path := filepath.Join("testdata", name)
		if *rewriteReports {
			if err := os.WriteFile(path, got, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		if want, err := os.ReadFile(path); err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s: %v\n%s", name, err, got)
		}
	}
}

// TestReportIsRead: what machines read says the same as what was written.
func TestReportIsRead(t *testing.T) {
	r := everyRow()
	b, err := r.JSON()
	if err != nil {
		t.Fatal(err)
	}
	var back Report
	if err := json.Unmarshal(b, &back); err != nil || !reflect.DeepEqual(&back, r) {
		t.Errorf("%v: %+v", err, back)
	}
	if b, err = r.JUnit(); err != nil {
		t.Fatal(err)
	}
	var s junitSuite
	if err := xml.Unmarshal(b, &s); err != nil {
		t.Fatal(err)
	}
	if s.Tests != len(r.Rows)+1 || s.Failures != 3 || s.Skipped != 3 || s.Errors != 0 {
		t.Errorf("%d tests, %d failures, %d skipped, %d errors", s.Tests, s.Failures, s.Skipped, s.Errors)
	}
	if got := s.Cases[1]; got.Name != r.Rows[0].Name || got.Failure == nil || !strings.Contains(got.Failure.Message, "how long <one> takes") {
		t.Errorf("%+v", got)
	}
}

// TestDigits: figures are read by people, so there are no exponents.
func TestDigits(t *testing.T) {
	for v, want := range map[float64]string{0: "0", 101_000: "101000", 100: "100", 1733.54: "1733.5", 0.333333333: "0.33333", 0.0000123: "0.000012", 2.5: "2.5", -12.25: "-12.25"} {
		if got := digits(v); got != want {
			t.Errorf("%v: %s, want %s", v, got, want)
		}
	}
}

// TestExitCodes: scripts and CI depend on them.
func TestExitCodes(t *testing.T) {
	got := ""
	for _, v := range []Verdict{Pass, Fail, Inconclusive, Unmeasurable} {
		got += fmt.Sprintf("%s %d ", v, v.Exit())
	}
	if want := "PASS 0 FAIL 1 INCONCLUSIVE 2 UNMEASURABLE 3 "; got != want {
		t.Errorf("%s, want %s", got, want)
	}
}
