package bench

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"dyno/bench/record"
	"dyno/bench/stats"
	"dyno/loadgen"
)

// The arms of the suite `produce`.
const (
	armSaturate = "saturate" // as fast as the cluster takes it
	armHalf     = "half"     // an open loop at half of what saturate reached
)

// SuiteConfig is one run of a suite. The zero value of a field is its default.
type SuiteConfig struct {
	Dyno        []string      // program and leading arguments of dyno; required
	Nodes       int           // brokers: 3
	Partitions  int           // 8
	RecordBytes int           // 1024
	Producers   int           // 2
	Acks        string        // all
	Repetitions int           // of each arm: 3
	Warmup      time.Duration // 2 s
	Window      time.Duration // timed: 5 s
	Seed        uint64        // of the first repetition: 1
	Profile     bool          // add a profiled repetition that is never quoted
}

func (c *SuiteConfig) setDefaults() {
	c.Nodes = cmp.Or(c.Nodes, 3)
	c.Partitions = cmp.Or(c.Partitions, 8)
	c.RecordBytes = cmp.Or(c.RecordBytes, 1024)
	c.Producers = cmp.Or(c.Producers, 2)
	c.Acks = cmp.Or(c.Acks, "all")
	c.Repetitions = cmp.Or(c.Repetitions, 3)
	c.Warmup = cmp.Or(c.Warmup, 2*time.Second)
	c.Window = cmp.Or(c.Window, 5*time.Second)
	c.Seed = cmp.Or(c.Seed, 1)
}

func (c *SuiteConfig) validate() error {
	if _, err := loadgen.ParseAcks(c.Acks); err != nil {
		return fmt.Errorf("%w: %v", ErrUsage, err)
	}
	switch {
	case len(c.Dyno) == 0:
		return fmt.Errorf("%w: no dyno program to measure", ErrUsage)
	case c.Nodes < 1 || c.Nodes > portStep:
		return fmt.Errorf("%w: %d nodes: want 1 to %d", ErrUsage, c.Nodes, portStep)
	case c.Repetitions < 1 || c.Repetitions > 100:
		return fmt.Errorf("%w: %d repetitions: want 1 to 100", ErrUsage, c.Repetitions)
	case c.Window < windowMin:
		return fmt.Errorf("%w: a window of %v: want at least %v", ErrUsage, c.Window, windowMin)
	case c.RecordBytes < 64 || c.RecordBytes > 1<<20:
		return fmt.Errorf("%w: records of %d bytes: want 64 to 1048576", ErrUsage, c.RecordBytes)
	}
	if info, err := os.Stat(c.Dyno[0]); err != nil || info.Mode()&0o111 == 0 {
		return fmt.Errorf("%w: %s is missing or not a program: run `make build`", ErrUsage, c.Dyno[0])
	}
	return nil
}

// windowMin lets at least two progress reports, a second apart, fall into a window.
const windowMin = 2500 * time.Millisecond

// described is the effective configuration as results print it.
func (c *SuiteConfig) described() map[string]any {
	return map[string]any{
		"nodes": c.Nodes, "partitions": c.Partitions, "rf": c.rf(), "record_bytes": c.RecordBytes,
		"producers": c.Producers, "acks": c.Acks, "repetitions": c.Repetitions,
		"warmup_s": c.Warmup.Seconds(), "window_s": c.Window.Seconds(),
		"linger_ms": 0, "compression": "none", "inflight": 5, "fsync": true,
	}
}

func (c *SuiteConfig) rf() int { return min(c.Nodes, 3) }

// diskNeed bounds what one repetition may leave on the disk: every replica writes
// the WAL, may move it once to its partition files and keeps spare segments.
func (c *SuiteConfig) diskNeed() int64 {
	const (
		fastest = 900 << 20 // payload bytes/s; two cores with client and broker were seen at 800 MB/s
		copies  = 2
		spare   = 1 << 30
	)
	return int64((c.Warmup+c.Window).Seconds()*fastest)*copies*int64(c.rf()) + spare
}

// suiteUnits declares what a suite measures, in the order of the table.
var suiteUnits = append([]record.Unit{
	{Name: "throughput", Unit: "records/s", Better: "higher"},
	{Name: "bandwidth", Unit: "MB/s", Better: "higher"},
	{Name: "response_p50", Unit: "ns", Better: "lower"},
	{Name: "response_p99", Unit: "ns", Better: "lower"},
	{Name: "response_p999", Unit: "ns", Better: "lower"},
	{Name: "offered", Unit: "records/s"},
	{Name: "acked", Unit: "acked"},
	{Name: "lost", Unit: "lost", Better: "lower", Exact: true},
	{Name: "duplicated", Unit: "duplicated", Better: "lower", Exact: true},
	{Name: "reordered", Unit: "reordered", Better: "lower", Exact: true},
	{Name: "corrupted", Unit: "corrupted", Better: "lower", Exact: true},
}, windowUnits...)

// suite is a run of SuiteConfig in progress. One goroutine owns it.
type suite struct {
	cfg     *SuiteConfig
	lab     *lab
	http    *http.Client
	reached []float64 // records/s of the good saturating repetitions
	power   float64   // the generator's own capacity, from its last probe
	phase   string    // of the WAL in the last repetition; "" where the broker does not tell
}

// plan lists the repetitions in the order they run: all saturating ones first,
// because every repetition of half offers half of their median, one rate. The
// arms are not compared with each other, so drift between them does no harm.
func (c *SuiteConfig) plan() []step {
	var steps []step
	for _, arm := range []string{armSaturate, armHalf} {
		for n := 1; n <= c.Repetitions; n++ {
			steps = append(steps, step{arm: arm, number: n, seed: c.Seed + uint64(n-1)})
		}
	}
	return steps
}

// measure runs one repetition with fresh brokers, a fresh generator and a fresh
// directory. files is where the generator leaves its histograms.
func (s *suite) measure(ctx context.Context, st step, files string) (record.Repetition, error) {
	rep := record.Repetition{Number: st.number, Seed: st.seed, Status: record.OK, Values: map[string]float64{}}
	rate := 0.0
	if st.arm == armHalf {
		if len(s.reached) == 0 {
			rep.Status, rep.Problem = record.Invalid, "no saturating repetition was good, so half of it is not known"
			return rep, nil
		}
		rate = stats.Median(s.reached) / 2
	}
	dir, err := s.lab.work.fresh()
	if err != nil {
		return rep, err
	}
	s.lab.progress.say(st.name(), "start", "")
	c, err := startCluster(ctx, s.cfg.Dyno, s.cfg.Nodes, dir)
	if err != nil {
		return rep, err
	}
	var res *loadResult
	w := &watch{client: s.http, cluster: c, dataDir: dir, tell: s.live(st)}
	err = c.whileUp(ctx, func(ctx context.Context) (err error) {
		res, err = s.load(ctx, w, st, rate, files)
		return err
	})
	if stopErr := c.stop(); err == nil {
		err = stopErr
	}
	if err != nil {
		return rep, blameDisk(dir, err)
	}
	if err := s.judge(&rep, res, w, rate); err != nil {
		return rep, err
	}
	return rep, s.lab.work.settle(dir)
}

// load runs the generator against the watched cluster. What the watch could not
// see ends the load: a repetition without its figures is worth nothing.
func (s *suite) load(ctx context.Context, w *watch, st step, rate float64, files string) (*loadResult, error) {
	ctx, w.giveUp = context.WithCancel(ctx)
	defer w.giveUp()
	w.ctx = ctx
	spec := loadSpec{
		Brokers: strings.Split(w.cluster.Bootstrap, ","), Topic: "bench", Partitions: s.cfg.Partitions, RF: s.cfg.rf(), Acks: s.cfg.Acks,
		SizeBytes: s.cfg.RecordBytes, Rate: rate, Producers: s.cfg.Producers,
		Warmup: s.cfg.Warmup, Window: s.cfg.Window, Seed: st.seed, Out: files,
	}
	if rate > 0 {
		spec.Capacity = s.power // same shape, probed a minute ago
	}
	raw, err := runJobs(ctx, []job{{
		name: "the load generator", argv: s.lab.child, work: workLoad, spec: spec, progress: w.observe,
	}}, nil)
	if w.err != nil {
		return nil, w.err
	}
	if err != nil {
		return nil, err
	}
	res := new(loadResult)
	if err := json.Unmarshal(raw[0], res); err != nil {
		return nil, fmt.Errorf("result of the load generator: %w", err)
	}
	return res, nil
}

// judge fills in the repetition from what was measured, and names what makes it
// failed or invalid. Values are kept in either case: a failing run is stored too.
func (s *suite) judge(rep *record.Repetition, res *loadResult, w *watch, rate float64) error {
	values, err := w.values(s.cfg.RecordBytes)
	if err != nil {
		return err
	}
	rep.Values = values
	s.phase = w.phase()
	for _, name := range w.missing() {
		s.lab.cautionOnce("the broker does not serve " + name + ": figures that need it are left out")
	}
	values["throughput"], values["bandwidth"] = res.Report.MsgsPerS, res.Report.BytesPerS/1e6
	values["acked"] = float64(res.Report.Acked)
	if q := res.Report.Response; q != nil {
		values["response_p50"], values["response_p99"], values["response_p999"] = float64(q.P50), float64(q.P99), float64(q.P999)
	}
	for name, v := range map[string]*int64{"lost": res.Report.Lost, "duplicated": res.Report.Duplicated,
		"reordered": res.Report.Reordered, "corrupted": res.Report.Corrupted} {
		if v != nil {
			values[name] = float64(*v)
		}
	}
	if res.Detail.Capacity > 0 {
		s.power = res.Detail.Capacity
	}
	switch {
	case res.Violation != "":
		rep.Status, rep.Problem = record.Failed, res.Violation
	case res.Report.Lost == nil:
		rep.Status, rep.Problem = record.Invalid, "the records were not verified"
	case unanswered(res) != "":
		rep.Status, rep.Problem = record.Invalid, unanswered(res)
	case res.Report.Saturated == loadgen.BottleneckGenerator:
		rep.Status, rep.Problem = record.Invalid, "the generator was the bottleneck: "+res.Detail.Why
	case rate > 0 && res.Report.Saturated != loadgen.BottleneckNone:
		// A true answer, if a bad one: the response counts from the schedule.
		s.lab.caution(fmt.Sprintf("%s, repetition %d: the %s fell behind the schedule, so its response grows with the window: %s",
			armHalf, rep.Number, res.Report.Saturated, res.Detail.Why))
	case rate == 0:
		s.reached = append(s.reached, res.Report.MsgsPerS)
	}
	if rate > 0 {
		values["offered"] = rate
	}
	return nil
}

// unanswered says what makes a load another one than was asked for: records that
// were refused, whose fate is unknown, that were never sent, or that somebody
// else wrote into the topic.
func unanswered(r *loadResult) string {
	foreign := int64(0)
	if v := r.Detail.Verification; v != nil {
		foreign = v.Foreign
	}
	var words []string
	for _, c := range []struct {
		n    int64
		what string
	}{{r.Report.Failed, "failed"}, {r.Report.Unknown, "of unknown fate"}, {r.Detail.Unsent, "not sent"}, {foreign, "written by somebody else"}} {
		if c.n > 0 {
			words = append(words, fmt.Sprintf("%d %s", c.n, c.what))
		}
	}
	if len(words) == 0 {
		return ""
	}
	return "records " + strings.Join(words, ", ") + ": the figures are of another load than was asked for"
}

// live turns the generator's progress into a line.
func (s *suite) live(st step) func(loadgen.Progress) {
	return func(p loadgen.Progress) {
		text := ""
		switch {
		case p.Phase == "verify":
			text = fmt.Sprintf("%d of %d records read back", p.Acked, p.Sent)
		case p.Rate > 0:
			text = fmt.Sprintf("%.0f records/s, p99 %.1f ms", p.Rate, float64(p.P99)/1e6)
		}
		s.lab.progress.say(st.name(), p.Phase, text)
	}
}

// step is one planned repetition.
type step struct {
	arm    string
	number int
	seed   uint64
}

func (st step) name() string { return fmt.Sprintf("%s %d", st.arm, st.number) }

func (st step) dir(root string) string {
	return filepath.Join(root, fmt.Sprintf("%s-%d", st.arm, st.number))
}
