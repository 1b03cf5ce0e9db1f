package bench

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"dyno/bench/cell"
	"dyno/bench/record"
	"dyno/loadgen"
)

const fakePeersName = "dyno-peers"

// fakePeers is dyno-peers without servers: a load of NATS ends after a few reports
// with a fixed result.
func fakePeers(how string) int {
	if how == "versions" {
		fmt.Println(`{"nats":"v0.0.0-fake"}`)
		return 0
	}
	in, err := cell.Stdin()
	if err == nil {
		err = cell.Serve(context.Background(), in, os.Stdout, map[string]cell.Work{workNATS: fakeNATS})
	}
	if err != nil {
		return 69
	}
	return 0
}

func fakeNATS(ctx context.Context, raw json.RawMessage, s *cell.Session) (any, error) {
	var spec natsSpec
	if err := json.Unmarshal(raw, &spec); err != nil {
		return nil, err
	}
	if err := s.Await(ctx); err != nil {
		return nil, err
	}
	for i, phase := range []string{"warmup", "measure", "measure", "drain"} {
		if err := s.Report(loadgen.Progress{Phase: phase, Acked: int64(1000 * i), Rate: 1000}); err != nil {
			return nil, err
		}
	}
	if spec.Streams == fakeMute {
		return nil, fmt.Errorf("%w for 10s", cell.ErrSilent)
	}
	return fakeNATSResult(spec.Verify), nil
}

// fakeMute streams are those of servers that stop to answer.
const fakeMute = 99

// fakeNATSResult is of 1,000 messages/s for 2 s.
func fakeNATSResult(verify string) *natsResult {
	zero := int64(0)
	r := &natsResult{Window: 2 * time.Second}
	r.MsgsPerS, r.Acked, r.ClientCPUS, r.Saturated = 1000, 3000, 0.2, loadgen.BottleneckCluster
	r.Response = &loadgen.Quantiles{P50: 1e6, P99: 4e6, P999: 9e6}
	if verify == natsRead {
		r.Lost, r.Duplicated, r.Reordered, r.Corrupted = &zero, &zero, &zero, &zero
	}
	for range clusterNodes {
		r.Servers = append(r.Servers, struct {
			CPUSeconds float64 `json:"cpu_s"`
			RSSBytes   int64   `json:"rss_bytes"`
		}{1, 100 << 20})
	}
	return r
}

// peersLink makes the test binary play dyno-peers.
func peersLink(t *testing.T) string {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	link := filepath.Join(t.TempDir(), fakePeersName)
	if err := os.Symlink(exe, link); err != nil {
		t.Fatal(err)
	}
	return link
}

// One family of arms, dyno and the peer, from the command to the printed result.
func TestReplicationOnFakes(t *testing.T) {
	if testing.Short() {
		t.Skip("runs a window of 2.5 s")
	}
	opt, suite, strays := fakeLab(t, fakeGood)
	run, err := RunExperiment(t.Context(), "replication", opt,
		ExperimentConfig{Quick: true, Only: []string{"closed"}, Dyno: suite.Dyno, Peers: peersLink(t)})
	if err != nil {
		t.Fatalf("%v\n%s", err, opt.Err)
	}
	for arm, values := range map[string][]string{
		"closed/dyno": {"throughput", "response_p50", "response_p99", "response_p999", "fsyncs", "entries_per_sync", "broker_cpu",
			"client_cpu", "broker_rss", "lost", "duplicated", "reordered"},
		"closed/nats-always":  {"throughput", "response_p50", "response_p99", "response_p999", "broker_cpu", "client_cpu", "broker_rss", "lost"},
		"closed/nats-default": {"throughput"},
	} {
		for _, value := range values {
			if vs := run.Arm(arm).Values(value); len(vs) != 1 {
				t.Errorf("%s has %d values of %s", arm, len(vs), value)
			}
		}
	}
	nats := run.Arm("closed/nats-always")
	for value, want := range map[string]float64{"broker_cpu": 1500, "client_cpu": 100, "broker_rss": 300 << 20, "response_p99": 4e6} {
		if got := nats.Values(value); len(got) != 1 || got[0] != want {
			t.Errorf("%s of the peer is %v, want %v", value, got, want)
		}
	}
	if got := run.Arm("closed/dyno").Params; got["verified"] != "all-read-back" || got["load"] != "closed-64" || got["partitions"] != "8" {
		t.Errorf("parameters %v", got)
	}
	if run.Config["version_nats"] != "v0.0.0-fake" || len(run.Verdict.Targets) != 2 || run.Verdict.Result != record.Unclear {
		t.Errorf("configuration %v, verdict %+v", run.Config, run.Verdict)
	}
	if out := opt.Out.(*strings.Builder).String(); !strings.Contains(out, "p99.9 ms") || strings.Contains(out, "appends/s") {
		t.Errorf("the table:\n%s", out)
	}
	for _, arm := range []string{"closed/dyno", "closed/nats-always"} {
		if told := opt.Err.(*strings.Builder).String(); !strings.Contains(told, arm+`, repetition 1","phase":"drain","text":"`) {
			t.Errorf("the progress of %s is not told:\n%s", arm, told)
		}
	}
	if pids := strays(); len(pids) > 0 {
		t.Errorf("processes left: %v", pids)
	}
}

func TestReplicationAsksWhatWasPromised(t *testing.T) {
	e := replicationExperiment(ExperimentConfig{Seed: 7})
	want := map[string]float64{ // promise of arm against arm: ratio
		"throughput of pipelined/dyno-1KiB against pipelined/nats-always-1KiB": 3,
		"throughput of closed/dyno against closed/nats-always":                 2,
		"response_p99 of closed/nats-always against closed/dyno":               2, // half of it
		"throughput of partitions/rate-1000 against partitions/rate-8":         0.8,
		"throughput of partitions/saturate-1000 against partitions/saturate-8": 0.8,
		"fsyncs of partitions/rate-8 against partitions/rate-1000":             1 / 1.2, // at most 1.2 of it
	}
	for _, g := range e.Targets {
		key := g.Measure + " of " + g.Arm + " against " + g.Against
		if want[key] != g.AtLeast {
			t.Errorf("%s: %v, want %v", key, g.AtLeast, want[key])
		}
		delete(want, key)
	}
	if len(want) > 0 {
		t.Errorf("not promised: %v", want)
	}
	comparableArms(t, e, clusterReps)
	more := replicationExperiment(ExperimentConfig{Repetitions: 9})
	comparableArms(t, more, 9)
	if e.Config["repetitions_headline"] != clusterReps || more.Config["repetitions_headline"] != 9 {
		t.Errorf("configurations %v and %v", e.Config, more.Config)
	}
}

// comparableArms demands that the arms of every target ran next to each other often
// enough for an interval that decides, and that they differ by what they say.
func comparableArms(t *testing.T, e Experiment, reps int) {
	t.Helper()
	for _, g := range e.Targets {
		a, b := e.Cells[armAt(t, e, g.Arm)], e.Cells[armAt(t, e, g.Against)]
		if a.Block != b.Block || a.Repetitions != reps || b.Repetitions != reps {
			t.Errorf("%s: its arms are not interleaved or have too few repetitions", g.Name)
		}
		if reflect.DeepEqual(a.Params, b.Params) {
			t.Errorf("%s: %s and %s say the same of themselves", g.Name, a.Arm, b.Arm)
		}
	}
}

func TestJudgeOfThePeer(t *testing.T) {
	w := &watch{first: &point{}, last: &point{acked: 100}}
	w.last.brokers.at = w.first.brokers.at.Add(time.Second)
	for name, c := range map[string]struct {
		change func(*natsResult)
		status string
		word   string
	}{
		"good":      {func(*natsResult) {}, record.OK, ""},
		"violation": {func(r *natsResult) { r.Violation = "3 missing" }, record.Failed, "3 missing"},
		"unread":    {func(r *natsResult) { r.Lost = nil }, record.Invalid, "not read back"},
		"failed":    {func(r *natsResult) { r.Failed = 4 }, record.Invalid, "4 failed"},
		"unsent":    {func(r *natsResult) { r.Unsent = 5 }, record.Invalid, "5 not sent"},
		"foreign":   {func(r *natsResult) { r.Verification.Foreign = 6 }, record.Invalid, "6 written by somebody else"},
		"generator": {func(r *natsResult) { r.Saturated = loadgen.BottleneckGenerator }, record.Invalid, "generator was the bottleneck"},
	} {
		res, rep := fakeNATSResult(natsRead), &record.Repetition{Status: record.OK}
		c.change(res)
		if err := res.judge(rep, w, kib); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if rep.Status != c.status || !strings.Contains(rep.Problem, c.word) {
			t.Errorf("%s: %s, %q", name, rep.Status, rep.Problem)
		}
	}
}

// A peer that falls silent costs one repetition, not the experiment.
func TestSilentPeerIsAnInvalidRepetition(t *testing.T) {
	t.Setenv(fakeEnv, fakeGood)
	b := &bed{lab: &lab{progress: newReporter(io.Discard, false, 1)}, peers: peersLink(t), dir: t.TempDir(),
		rep: &record.Repetition{Status: record.OK}}
	if err := b.loadNATS(t.Context(), natsSpec{Streams: fakeMute}); err != nil {
		t.Fatal(err)
	}
	if b.rep.Status != record.Invalid || !strings.Contains(b.rep.Problem, "no answer for 10s") {
		t.Errorf("%s, %q", b.rep.Status, b.rep.Problem)
	}
}

// The peer's package belongs to another module, so what is said to it and read
// from it is compared with its source.
func TestNATSSpecIsThePeers(t *testing.T) {
	tags := map[string][]string{}
	for _, file := range []string{"config.go", "result.go"} {
		f, err := parser.ParseFile(token.NewFileSet(), filepath.Join("peers", "natspeer", file), nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(f, func(n ast.Node) bool {
			if spec, ok := n.(*ast.TypeSpec); ok {
				if s, ok := spec.Type.(*ast.StructType); ok {
					for _, field := range s.Fields.List {
						if field.Tag != nil {
							tags[spec.Name.Name] = append(tags[spec.Name.Name], jsonName(reflect.StructTag(strings.Trim(field.Tag.Value, "`"))))
						}
					}
				}
			}
			return true
		})
	}
	result := reflect.TypeOf(natsResult{})
	field := func(name string) reflect.Type { f, _ := result.FieldByName(name); return f.Type }
	for _, c := range []struct {
		ours   reflect.Type
		theirs string
	}{
		{reflect.TypeOf(natsSpec{}), "Config"}, {result, "Result"}, {field("Servers").Elem(), "ServerUse"}, {field("Verification"), "Verification"},
	} {
		for i := range c.ours.NumField() {
			f := c.ours.Field(i)
			if !f.Anonymous && !slices.Contains(tags[c.theirs], jsonName(f.Tag)) {
				t.Errorf("%s.%s is %q, of which %s has none: %v", c.ours.Name(), f.Name, jsonName(f.Tag), c.theirs, tags[c.theirs])
			}
		}
	}
}

func jsonName(tag reflect.StructTag) string {
	name, _, _ := strings.Cut(tag.Get("json"), ",")
	return name
}

// A cell's programs are looked for before the machine is taken.
func TestClusterExperimentsNeedTheirPrograms(t *testing.T) {
	opt, suite, _ := fakeLab(t, fakeGood)
	missing := filepath.Join(t.TempDir(), "dyno")
	for _, c := range []struct {
		cfg  ExperimentConfig
		word string
	}{
		{ExperimentConfig{Dyno: suite.Dyno, Peers: missing}, "make build-peers"},
		{ExperimentConfig{Peers: peersLink(t)}, "no dyno program"},
		{ExperimentConfig{Dyno: []string{missing}, Peers: peersLink(t)}, "make build"},
	} {
		if _, err := RunExperiment(t.Context(), "replication", opt, c.cfg); !errors.Is(err, ErrUsage) || !strings.Contains(err.Error(), c.word) {
			t.Errorf("%+v: %v", c.cfg, err)
		}
	}
	emptyOrGone(t, opt.Results)
}
