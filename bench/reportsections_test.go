package bench

import (
	"errors"
	"html"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"dyno/bench/cell"
	"dyno/bench/record"
)

// drawnReport draws a report and returns its text.
func drawnReport(t *testing.T, dir, other string) string {
	t.Helper()
	path, err := WriteReportAgainst(dir, other)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}

// A section is there where the result has what it shows, and only there; every link of
// the page leads to one.
func TestSectionsFollowTheResult(t *testing.T) {
	root := t.TempDir()
	for _, c := range []struct{ name, dir, want string }{
		{"load", recordedLoad(t, root), "load arms price profile measured"},
		{"experiment", madeExperiment(t, root), "arms scaling price factors measured"},
		{"comparison", madeComparison(t, root), "comparison where measured"},
	} {
		text := drawnReport(t, c.dir, "")
		var ids []string
		for _, m := range regexp.MustCompile(`<section aria-labelledby="(\w+)">`).FindAllStringSubmatch(text, -1) {
			ids = append(ids, m[1])
		}
		if got := strings.Join(ids, " "); got != c.want {
			t.Errorf("%s has the sections %q, want %q", c.name, got, c.want)
		}
		for _, m := range regexp.MustCompile(`href="#(\w+)"`).FindAllStringSubmatch(text, -1) {
			if !strings.Contains(text, `id="`+m[1]+`"`) {
				t.Errorf("%s: a link to %q leads nowhere", c.name, m[1])
			}
		}
		if strings.Contains(text, "<b>") {
			t.Errorf("%s: words of the result were taken for markup", c.name)
		}
	}
}

func TestFitsSayWhatThePathsAre(t *testing.T) {
	run, err := record.Open(madeExperiment(t, t.TempDir()))
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]record.Fit{}
	for _, f := range run.Verdict.Fits {
		if strings.HasPrefix(f.Where, "1 node(s), 256 B") {
			found[f.Path] = f
		}
	}
	if len(found) != len(rwlockArms) || len(run.Verdict.Fits) != 4*len(rwlockArms) {
		t.Fatalf("%d fits of one load, %d in all", len(found), len(run.Verdict.Fits))
	}
	for path, sigma := range map[string]float64{"none": 0.03, "exclusive": 0.95} { // as madeExperiment has them
		f := found[path]
		if r := f.SigmaRange; r == nil || math.Abs(f.Sigma/sigma-1) > 0.15 || r[0] > f.Sigma || r[1] < f.Sigma {
			t.Errorf("%s: sigma %v in %v, made with %v", path, f.Sigma, f.SigmaRange, sigma)
		}
		if len(f.Residuals) != 4*3+10 { // four loads three times, the headline ten times
			t.Errorf("%s: %d residuals", path, len(f.Residuals))
		}
	}
	table := fitTable("here", []record.Fit{found["none"], found["exclusive"]})
	if r := table.Rows[1]; !strings.HasPrefix(r[4], "9") || table.Rows[0][4] != "-" {
		t.Errorf("the difference of sigma: %v", table.Rows)
	}
	var b strings.Builder
	writeFits(&b, run.Verdict.Fits[:1])
	if !regexp.MustCompile(`fit      none, 1 node\(s\), 256 B, 1 partition\(s\): sigma [23]\.?\d* \([\d.]+ to [\d.]+\) %, kappa `).MatchString(b.String()) {
		t.Errorf("printed %q", b.String())
	}
}

// An experiment whose arms say how many producers they had records its fits.
func TestFitsAreRecorded(t *testing.T) {
	experiments["grows"] = known{"to test with", func(cfg ExperimentConfig) Experiment {
		p := &fsyncPlan{cfg: cfg, e: Experiment{Name: "grows", Question: "q", Expectation: "e", Units: cellUnits, Config: map[string]any{}}}
		p.cfg.Quick = true
		for _, n := range []string{"1", "2", "4"} {
			p.raw("a/written-"+n, "a", cell.Zero, 4096, 1, 1)
			params := p.e.Cells[len(p.e.Cells)-1].Params
			params[paramPath], params[paramProducers] = "written", n
		}
		for i := range p.e.Cells {
			jobs := p.e.Cells[i].Jobs
			p.e.Cells[i].Jobs = func(dir string, seed uint64) []Task {
				tasks := jobs(dir, seed)
				for i := range tasks {
					spec := tasks[i].Spec.(cell.RawSpec)
					spec.TotalBytes = 64 << 10
					tasks[i].Spec = spec
				}
				return tasks
			}
		}
		return p.e
	}}
	t.Cleanup(func() { delete(experiments, "grows") })
	opt, _, _ := fakeLab(t, fakeGood)
	run, err := RunExperiment(t.Context(), "grows", opt, ExperimentConfig{})
	if err != nil {
		t.Fatal(err)
	}
	got, err := record.Open(filepath.Join(opt.Results, run.ID))
	if err != nil {
		t.Fatal(err)
	}
	if fits := got.Verdict.Fits; len(fits) != 1 || fits[0].Path != "written" || len(fits[0].Residuals) != 3 || fits[0].SigmaRange != nil {
		t.Errorf("recorded %+v", fits)
	}
	if !strings.Contains(opt.Out.(*strings.Builder).String(), "fit      written, ") {
		t.Errorf("printed\n%s", opt.Out)
	}
}

func TestDifferenceOfTwoEstimates(t *testing.T) {
	d, r := difference(5, 3, &[2]float64{2, 9}, &[2]float64{-1, 6})
	if want := [2]float64{2 - math.Hypot(3, 3), 2 + math.Hypot(4, 4)}; d != 2 || r == nil || *r != want {
		t.Errorf("%v in %v, want %v", d, r, want)
	}
	if d, r := difference(5, 3, nil, &[2]float64{1, 2}); d != 2 || r != nil {
		t.Errorf("%v in %v", d, r)
	}
}

func TestBlockChanges(t *testing.T) {
	rep := func(number int, v float64, status string) record.Repetition {
		return record.Repetition{Number: number, Status: status, Values: map[string]float64{"rate": v}}
	}
	run := &record.Run{Arms: []record.Arm{
		{Name: "base", Repetitions: []record.Repetition{rep(1, 100, record.OK), rep(4, 100, record.OK), rep(37, 100, record.OK), rep(40, 400, record.OK), rep(41, 1, record.OK)}},
		{Name: "head", Repetitions: []record.Repetition{rep(2, 80, record.OK), rep(3, 80, record.OK), rep(38, 200, record.OK), rep(39, 200, record.OK), rep(42, 5, record.Invalid)}},
	}}
	for better, want := range map[string][]float64{"higher": {25, 0}, "lower": {-20, 0}} {
		got := blockChanges(run, "", record.Unit{Name: "rate", Better: better})
		if !slices.EqualFunc(got, want, func(a, b float64) bool { return math.Abs(a-b) < 1e-9 }) {
			t.Errorf("%s is better: %v, want %v", better, got, want)
		}
	}
	if got := blockChanges(run, "confirm-", record.Unit{Name: "rate"}); got != nil {
		t.Errorf("no confirmation: %v", got)
	}
}

func TestComparisonSection(t *testing.T) {
	dir := madeComparison(t, t.TempDir())
	text := html.UnescapeString(drawnReport(t, dir, ""))
	for _, word := range []string{
		"FAIL: records_per_s by +4.1 %", "+4.1 % (+3.4 to +4.7): worse", "-4.9 % (-5.5 to -4.2): better", ": bounded", "fails from 2 %, if sure", "passes below 25 %",
		"Counters that moved", "WAIVED: waiver until", "1 were set aside", "base against base", "bin/dyno compare --base aaaaaaaaaa --head bbbbbbbbbb --seed 7",
	} {
		if !strings.Contains(text, word) {
			t.Errorf("the report lacks %q", word)
		}
	}
	if n := strings.Count(text, `class="mark ring c0"`); n != 3*12 {
		t.Errorf("%d blocks drawn, want 12 of each metric", n)
	}
	if err := os.WriteFile(filepath.Join(dir, "verdict.json"), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := WriteReport(dir); err == nil || !strings.Contains(err.Error(), "verdict.json") {
		t.Errorf("a torn verdict: %v", err)
	}
}

func TestAgainst(t *testing.T) {
	root := t.TempDir()
	dir := recordedLoad(t, root)
	const id = "20261126.02-produce"
	other := filepath.Join(root, "results", id)
	copyFile(t, filepath.Join(dir, record.RunFile), filepath.Join(other, record.RunFile))
	rewriteRun(t, other, func(run *record.Run) {
		run.ID, run.Config["window_s"], run.Environment.Go.Version = id, 7, "go1.25.0"
	})
	text := drawnReport(t, dir, other)
	for _, word := range []string{"Against " + id, "Go settings differ", "go1.25.0", "window_s", "Configuration: 12 alike, 1 not"} {
		if !strings.Contains(text, word) {
			t.Errorf("the report lacks %q", word)
		}
	}
	if strings.Contains(text, "What a record costs") {
		t.Error("a difference of profiles without one of them")
	}
	storeProfile(t, filepath.Join(root, "profiles", id, cpuProfile), map[string]int64{"runtime.goexit;dyno/wal.(*Log).flush;syscall.Syscall6": 9})
	if text := drawnReport(t, dir, other); !strings.Contains(text, "What a record costs, "+id+" against 20261126.01-produce") || !strings.Contains(text, "more3") {
		t.Error("no difference of two profiles")
	}
	if _, err := WriteReportAgainst(dir, t.TempDir()); !errors.Is(err, record.ErrNotResult) {
		t.Errorf("against nothing: %v", err)
	}
}

func TestIndex(t *testing.T) {
	root := filepath.Join(t.TempDir(), "results")
	dir := recordedLoad(t, filepath.Dir(root))
	broken := filepath.Join(root, "20261128.01-broken")
	copyFile(t, filepath.Join(dir, "detail.json"), filepath.Join(broken, record.RunFile))
	entries, err := record.List(root)
	if err != nil {
		t.Fatal(err)
	}
	path, err := WriteIndex(filepath.Join(root, "local"), entries, madeTrends())
	if err != nil {
		t.Fatal(err)
	}
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	text := string(raw)
	link := `<a href="../20261126.01-produce/report.html">20261126.01-produce</a>`
	if !strings.Contains(text, link) || !strings.Contains(text, "produce_cpu, lane micro") || !strings.Contains(text, "unreadable") || strings.Index(text, "20261128.01") > strings.Index(text, link) {
		t.Errorf("index\n%s", text[strings.Index(text, "<body>"):])
	}
	for _, form := range []string{`(?i)<script`, `https?://`, `ZgotmplZ`} {
		if found := regexp.MustCompile(form).FindString(text); found != "" {
			t.Errorf("the index holds %q", found)
		}
	}
}

func TestRepeat(t *testing.T) {
	commit := record.Commit{Hash: "abc"}
	for want, run := range map[string]*record.Run{
		"git checkout abc; make build; bin/dyno bench produce --nodes 3 --size 1024 --window 5s --warmup 0.5s --seed 5": { // with as many producers as a suite has anyway
			ID: "20260101.01-produce", Kind: record.KindSuite, Commit: commit,
			Seeds: []uint64{5, 6}, Config: map[string]any{"nodes": 3, "record_bytes": 1024, "window_s": 5.0, "warmup_s": 0.5, "producers": 2.0}},
		"git checkout abc; make build; make build-peers; bin/dyno experiment fsync --only a,b --repetitions 10 --seed 1": {ID: "20260101.01-fsync-part", Kind: record.KindExperiment, Commit: commit,
			Config: map[string]any{"only": "a,b", "repetitions_headline": 10.0, "repetitions_asked": 10.0, "seed": 1.0, "version_x": "1"}},
		"make build; bin/dyno experiment rwlock --seed 2": {ID: "20260101.01-rwlock", Kind: record.KindExperiment, Commit: record.Commit{Hash: record.Unknown},
			Config: map[string]any{"repetitions_headline": 10.0, "seed": 2.0}}, // as often as the experiment does
		"make build; bin/dyno maxrate --slo p99=10ms --slo p999=50ms --nodes 1 --acks all --bad 0.05 --start 10000 --highest 100000000 --trial 3s --confirm 15s --trials-max 300": {
			ID: "20260101.01-maxrate", Kind: record.KindExperiment, Commit: record.Commit{Hash: record.Unknown},
			Config: map[string]any{"slo": "p99<=10ms,p999<=50ms", "nodes": 1.0, "acks": "all", "bad": 0.05, "start": 1e4, "highest": 1e8, "trial_s": 3.0, "confirm_s": 15.0,
				"trials_max": 300.0, "producers": 0.0}},
		"make build; bin/dyno maxrate --slo max=1s --brokers HOST:PORT,... --topic TOPIC --create --producers 4 --rf 1": {
			ID: "20260101.02-maxrate", Kind: record.KindExperiment, Commit: record.Commit{Hash: record.Unknown},
			Config: map[string]any{"slo": "max<=1s", "brokers": 2.0, "topic": "01234567", "create": true, "rf": 1.0, "producers": 4.0}},
		"make build; bin/dyno bench produce --nodes 1 --producers 4": {ID: "20260101.01-produce", Kind: record.KindSuite, Commit: record.Commit{Hash: record.Unknown},
			Config: map[string]any{"nodes": 1.0, "producers": 4.0}},
		"make build; bin/dyno compare --base a --head b --micro --blocks 12 --metric m --mutant spin-record:9 --steal-max 0.3 --foreign-max 0.1 --memory-max 0.05 --seed 5": {
			ID: "20260101.01-compare-micro", Kind: record.KindComparison, Commit: record.Commit{Hash: record.Unknown},
			Config: map[string]any{"base": "a", "head": "b", "lane": "micro", "mutant": "spin-record:9", "seed": "5",
				"rule":   map[string]any{"looks": []any{12.0}, "metrics": []any{map[string]any{"name": "m", "bound": 0.1}}},
				"limits": map[string]any{"steal": 0.3, "foreign": 0.1, "psi_memory": 0.05, "psi_io": 1.0}}},
		"make build; cat > settings.yaml <<'END'\nwal: {}\nEND; bin/dyno compare --base a --head b --window 4s --warmup 1s --config settings.yaml": {
			ID: "20260101.01-compare-t", Kind: record.KindComparison, Commit: record.Commit{Hash: record.Unknown},
			Config: map[string]any{"base": "a", "head": "b", "lane": "t", "window_s": 4.0, "warmup_s": 1.0, "settings": "wal: {}\n"}},
		"make build; bin/dyno gate --lane t --base a --head b": { // what several looks, or blocks of base alone, tell
			ID: "20260101.02-compare-t", Kind: record.KindComparison, Commit: record.Commit{Hash: record.Unknown},
			Config: map[string]any{"base": "a", "head": "b", "lane": "t", "rule": map[string]any{"looks": []any{6.0, 12.0}, "nulls": 4.0}}},
		"make build; bin/dyno compare --base a --head a --anyway": {ID: "20260101.03-compare-t", Kind: record.KindComparison,
			Commit: record.Commit{Hash: record.Unknown}, Config: map[string]any{"base": "a", "head": "a", "lane": "t"}},
		"make build; bin/dyno experiment idle --quick": {ID: "20260101.01-idle-quick", Kind: record.KindExperiment, Commit: record.Commit{Hash: record.Unknown}},
	} {
		if got := strings.Join(repeat(run), "; "); got != want {
			t.Errorf("%s: %q, want %q", run.ID, got, want)
		}
	}
}

// What was offered stands beside what was answered, and backpressure is told whether
// there was any or not.
func TestLoadSection(t *testing.T) {
	dir := t.TempDir()
	if s, err := loadSection(new(record.Run), dir); err != nil || !s.empty() {
		t.Errorf("no load: %v, %v", s, err)
	}
	writeLog(t, filepath.Join(dir, "latency.hlog"), 4)
	write := func(name, text string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	second := `{"start_ns":0,"end_ns":1000000000,"warmup":true,"sent":110,"acked":100,"backpressure":0}` + "\n"
	write("series.jsonl", second)
	write("detail.json", `{"config":{"mode":"open","rate":120,"profile":{"arrivals":"uniform"}}}`)
	titles := func() (out string) {
		s, err := loadSection(new(record.Run), dir)
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range s.Figures {
			out += f.Title + "; "
		}
		return out + s.Words[len(s.Words)-1]
	}
	if got := titles(); got != "Latency by percentile; Response over time; Offered, sent and answered over time; Backpressure: none. Whenever a record was due there was room to send it." {
		t.Errorf("charts %q", got)
	}
	write("series.jsonl", second+`{"start_ns":1000000000,"end_ns":2000000000,"sent":10,"acked":100,"backpressure":7}`+"\n")
	write("detail.json", `{"config":{"mode":"open","rate":120,"profile":{"arrivals":"burst"}}}`) // it has no one rate
	if got := titles(); !strings.Contains(got, "Response over time; Sent and answered over time; Backpressure over time; ") {
		t.Errorf("charts %q", got)
	}
	write("series.jsonl", second+`{"start_ns":1000000000,"end_ns":2000000000,"response_ns":null}`+"\n"+`{"start_ns":2500000000,"end_ns":3000000000,"response_ns":{"p50":1}}`)
	s, err := loadSection(new(record.Run), dir)
	if err != nil {
		t.Fatal(err)
	}
	// The log begins with the second that is measured: all axes begin with the load.
	if rows := s.Figures[1].Data.Rows; s.Figures[1].Title != "Response over time" || len(rows) == 0 || !slices.Contains(rows[0], "3") {
		t.Errorf("%s begins at %v, want the middle of the first interval from 2.5 s on", s.Figures[1].Title, rows)
	}
	write("series.jsonl", second+"{")
	if _, err := loadSection(new(record.Run), dir); err == nil || !strings.Contains(err.Error(), "line 2") {
		t.Errorf("a torn series: %v", err)
	}
}
