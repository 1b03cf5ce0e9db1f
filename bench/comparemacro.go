package bench

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"net/http"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"dyno/bench/gate"
	"dyno/bench/paired"
	"dyno/bench/record"
)

// macro is the lane T: three brokers of one side, every record on three of them and
// answered when a majority has synced it. In one run: an open loop at a fixed rate,
// everything read back and then read again, and a fixed number of records as fast
// as the cluster takes them.
type macro struct {
	lab            *lab
	http           *http.Client
	warmup, window time.Duration
	settings       string // of all brokers, as `dyno up --config` reads them; "" none
}

func newMacro(l *lab, warmup, window time.Duration, settings string) *macro {
	return &macro{lab: l, http: &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}, warmup: warmup, window: window, settings: settings}
}

const (
	macroRecordBytes = 1024
	macroPasses      = 2               // of the reader, beside the verification
	macroSaturated   = 2 * time.Second // about how long the saturated part lasts for base
	macroProbe       = 4 * time.Second
	// macroLoad is the share of what base reaches that every run is offered. At half of
	// it the generator, which shares the cores with three brokers, came late.
	macroLoad = 0.3
)

// The names of what decides, those of gate.Default, and of the load that all runs
// offer.
const (
	valueProduceCPU = "produce_cpu_s_per_million"
	valueConsumeCPU = "consume_cpu_s_per_million"
	valueSaturated  = "records_per_s"
	valueP99        = "response_p99_ms"

	loadRate     = "rate"     // records/s of the open loop
	loadRecords  = "records"  // of the saturated part
	loadCapacity = "capacity" // of the generator, records/s
)

func (m *macro) name() string { return "t" }

func (m *macro) described() map[string]any {
	d := map[string]any{"nodes": clusterNodes, "rf": clusterNodes, "partitions": clusterParts, "acks": "all", "record_bytes": macroRecordBytes,
		"warmup_s": m.warmup.Seconds(), "window_s": m.window.Seconds(), "read_passes": macroPasses, "saturated_s": macroSaturated.Seconds(),
		"rate": fmt.Sprintf("%v of what base reaches in a probe", macroLoad), "fsync": true}
	if m.settings != "" {
		d["settings"] = m.settings
	}
	return d
}

func (m *macro) metrics() []gate.Metric { return gate.Default().Metrics }

func (m *macro) columns() []column {
	return []column{
		{valueProduceCPU, "produce, broker CPU-s/M", 1, "%.3f"}, {valueConsumeCPU, "consume, broker CPU-s/M", 1, "%.3f"},
		{valueSaturated, "saturated, records/s", 1, "%.0f"}, {valueP99, "response p99, ms", 1, "%.2f"},
		{"response_p50", "response p50, ms", 1e-6, "%.2f"}, {"response_p999", "response p99.9, ms", 1e-6, "%.2f"},
		{"response_max", "response max, ms", 1e-6, "%.2f"}, {"fsync_mean", "fsync mean, ms", 1e-6, "%.3f"},
		{"entries_per_sync", "log entries per sync", 1, "%.1f"}, {"objects_per_batch", "heap objects per batch", 1, "%.2f"},
		{"broker_rss", "RSS of the brokers, MiB", 1.0 / mib, "%.0f"}, {"client_cpu", "client CPU-s/M", 1, "%.3f"},
	}
}

func (m *macro) units() []record.Unit {
	return []record.Unit{
		{Name: valueProduceCPU, Unit: "cpu-s/Mrecord", Better: "lower"},
		{Name: valueConsumeCPU, Unit: "cpu-s/Mrecord", Better: "lower"},
		{Name: valueSaturated, Unit: "records/s", Better: "higher"},
		{Name: valueP99, Unit: "ms", Better: "lower"},
		{Name: "response_p50", Unit: "ns", Better: "lower"},
		{Name: "response_p999", Unit: "ns", Better: "lower"},
		{Name: "response_max", Unit: "ns", Better: "lower"},
		{Name: "fsync_mean", Unit: "ns", Better: "lower"},
		{Name: "entries_per_sync", Unit: "entries"},
		{Name: "objects_per_batch", Unit: "objects", Better: "lower"},
		{Name: "broker_rss", Unit: "B", Better: "lower"},
		{Name: "client_cpu", Unit: "cpu-s/Mrecord", Better: "lower"},
	}
}

// upFlags are those of `dyno up` that startCluster uses.
var upFlags = []string{"--nodes", "--data", "--kafka-port", "--json"}

func (m *macro) check(ctx context.Context, p *program, _ string) error {
	out, err := exec.CommandContext(ctx, p.path, "up", "--help").CombinedOutput()
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if err != nil {
		return fmt.Errorf("%w: it does not know `dyno up` (%v): choose a later commit", ErrUsage, err)
	}
	need := upFlags
	if m.settings != "" {
		need = append(need[:len(need):len(need)], "--config")
	}
	for _, flag := range need {
		if !strings.Contains(string(out), flag) {
			return fmt.Errorf("%w: its `dyno up` does not know %s, which this lab uses: choose a later commit", ErrUsage, flag)
		}
	}
	return nil
}

// probe saturates the base program once. A share of what it reaches, macroLoad, is
// what every run of both sides is offered.
func (m *macro) probe(ctx context.Context, p *program, dir string, seed uint64) (map[string]float64, error) {
	t, err := m.trial(p, dir, "probe", loadSpec{Warmup: m.warmup, Window: macroProbe, Seed: seed%math.MaxInt32 + 1})
	if err != nil {
		return nil, err
	}
	got, err := t.run(ctx)
	if err != nil {
		return nil, err
	}
	rep := record.Repetition{Status: record.OK}
	if err := t.judge(&rep, got); err != nil {
		return nil, err
	}
	switch rep.Status {
	case record.Failed:
		return nil, fmt.Errorf("%w: %s", ErrViolation, rep.Problem)
	case record.Invalid:
		return nil, fmt.Errorf("%w: %s", ErrInvalid, rep.Problem)
	}
	reached := got.load.Report.MsgsPerS
	return map[string]float64{loadRate: threeDigits(reached * macroLoad), loadRecords: threeDigits(reached * macroSaturated.Seconds()),
		loadCapacity: got.load.Detail.Capacity}, nil
}

// threeDigits rounds to three significant digits.
func threeDigits(v float64) float64 {
	out, err := strconv.ParseFloat(strconv.FormatFloat(v, 'e', 2, 64), 64)
	if err != nil {
		panic("BUG: " + err.Error())
	}
	return out
}

// trial is a load on a cluster of a program in dir, which exists: the settings of all
// brokers, if there are any, are written into it.
func (m *macro) trial(p *program, dir, name string, spec loadSpec) (*trial, error) {
	spec.Partitions, spec.RF, spec.Acks, spec.SizeBytes = clusterParts, clusterNodes, "all", macroRecordBytes
	t := &trial{lab: m.lab, http: m.http, dyno: []string{p.path}, name: name, nodes: clusterNodes, dir: filepath.Join(dir, "cluster"), spec: spec, overload: true}
	if m.settings == "" {
		return t, nil
	}
	var err error
	if t.up, err = settingsArgs(dir, m.settings); err != nil {
		return nil, err
	}
	return t, nil
}

func (m *macro) abreast() int { return 1 }

func (m *macro) run(ctx context.Context, runs []laneRun, which func(int) (string, error)) ([]paired.Outcome, error) {
	return single(runs, func(r laneRun) (paired.Outcome, error) {
		return m.with(ctx, r, which, func(ctx context.Context, c *cluster, tr *trial, rep *record.Repetition) error {
			return m.stages(ctx, c, tr, int64(r.turn.Load[loadRecords]), rep)
		})
	})
}

// with runs stages on fresh brokers of a program.
func (m *macro) with(ctx context.Context, r laneRun, which func(int) (string, error),
	stages func(context.Context, *cluster, *trial, *record.Repetition) error) (paired.Outcome, error) {
	t := r.turn
	tr, err := m.trial(r.program, r.dir, turnName(t), loadSpec{Rate: t.Load[loadRate], Capacity: t.Load[loadCapacity],
		Warmup: m.warmup, Window: m.window, Seed: uint64(t.Number) + 1})
	if err != nil {
		return paired.Outcome{}, err
	}
	c, err := tr.start(ctx)
	if err != nil {
		return paired.Outcome{}, err
	}
	rep := &record.Repetition{Status: record.OK}
	out := paired.Outcome{}
	err = c.whileUp(ctx, func(ctx context.Context) (err error) {
		if out.Program, err = oneProgram(c, which); err != nil {
			return err
		}
		return stages(ctx, c, tr, rep)
	})
	if stopErr := c.stop(); err == nil {
		err = stopErr
	}
	out.Status, out.Problem, out.Values = rep.Status, rep.Problem, m.chosen(rep.Values)
	return out, err
}

// oneProgram is the program that all brokers run.
func oneProgram(c *cluster, which func(int) (string, error)) (string, error) {
	first := ""
	for i, n := range c.Nodes {
		hash, err := which(n.PID)
		if err != nil {
			return "", err
		}
		if i == 0 {
			first = hash
		}
		if hash != first {
			return "several", nil
		}
	}
	return first, nil
}

// stages are the parts of a run. Each begins only where the one before was good.
func (m *macro) stages(ctx context.Context, c *cluster, t *trial, records int64, rep *record.Repetition) error {
	got, err := t.load(ctx, c)
	if err != nil {
		return err
	}
	if err := t.judge(rep, got); err != nil || rep.Status != record.OK {
		return err
	}
	rep.Values[valueProduceCPU] = rep.Values["broker_cpu"]
	if q := got.load.Report.Response; q != nil {
		rep.Values[valueP99], rep.Values["response_max"] = float64(q.P99)/1e6, float64(q.Max)
	}
	if err := m.consume(ctx, c, t, got.load.Detail.Verification.Read, macroPasses, nil, rep); err != nil || rep.Status != record.OK {
		return err
	}
	return m.saturate(ctx, c, t, records, rep)
}

// consume reads the topic again, passes times, and books what that cost the brokers.
// begun, if set, is called when the reader begins.
func (m *macro) consume(ctx context.Context, c *cluster, t *trial, holds int64, passes int, begun func(), rep *record.Repetition) error {
	m.lab.progress.say(t.name, "consume", "")
	spec := readSpec{Load: t.spec, Passes: passes}
	spec.Load.Brokers = strings.Split(c.Bootstrap, ",")
	var before total
	var sampleErr error
	raw, err := runJobs(ctx, []job{{name: "the reader", argv: m.lab.child, work: workRead, spec: spec}},
		func() {
			if before, sampleErr = c.sample(ctx, m.http); begun != nil {
				begun()
			}
		})
	if sampleErr != nil {
		return sampleErr
	}
	if err != nil {
		return err
	}
	after, err := c.sample(ctx, m.http)
	if err != nil {
		return err
	}
	var res readResult
	if err := json.Unmarshal(raw[0], &res); err != nil {
		return fmt.Errorf("result of the reader: %w", err)
	}
	if want := holds * int64(passes); res.Records != want || want == 0 {
		rep.Status, rep.Problem = record.Failed, fmt.Sprintf("%d records were read in %d passes, the topic holds %d", res.Records, passes, holds)
		return nil
	}
	rep.Values[valueConsumeCPU] = 1e6 * (after.use.cpu - before.use.cpu) / float64(res.Records)
	return nil
}

// saturate writes a fixed number of records as fast as the cluster takes them; the
// time until its end offsets show them is the measure.
func (m *macro) saturate(ctx context.Context, c *cluster, t *trial, records int64, rep *record.Repetition) error {
	full := *t
	full.spec.Rate, full.spec.Warmup, full.spec.Window, full.spec.Records = 0, 0, 0, records
	full.spec.Brokers = strings.Split(c.Bootstrap, ",")
	m.lab.progress.say(t.name, "saturate", "")
	raw, err := runJobs(ctx, []job{{name: "the load generator", argv: m.lab.child, work: workLoad, spec: full.spec}}, nil)
	if err != nil {
		return err
	}
	var res loadResult
	if err := json.Unmarshal(raw[0], &res); err != nil {
		return fmt.Errorf("result of the load generator: %w", err)
	}
	if full.condemn(rep, measured{load: &res}); rep.Status == record.OK {
		rep.Values[valueSaturated] = res.Report.MsgsPerS
	}
	return nil
}

// chosen are the values that have a unit here.
func (m *macro) chosen(values map[string]float64) map[string]float64 {
	out := map[string]float64{}
	for _, u := range m.units() {
		if v, ok := values[u.Name]; ok {
			out[u.Name] = v
		}
	}
	return out
}
