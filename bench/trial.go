package bench

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"time"

	"dyno/bench/record"
	"dyno/engine"
	"dyno/loadgen"
)

// trial is one load on one cluster of fresh brokers: started, loaded, watched,
// stopped and judged. The suite and the experiments measure a cluster of dyno
// this way and no other.
type trial struct {
	lab   *lab
	http  *http.Client
	dyno  []string // program and leading arguments
	name  string   // of the repetition, for people
	nodes int
	up    []string // arguments of `dyno up` beside those that every cluster gets
	dir   string   // of the brokers' data; empty or missing
	spec  loadSpec // what to send; the brokers' addresses are filled in
	// compare asks all replicas for what they hold, once the load is verified.
	compare bool
	// overload takes records that were not sent in time for an answer: the response
	// has each at a lower bound.
	overload bool

	// beside, if set, runs on a goroutine of its own from the first report of the
	// timed window on. The brokers are not stopped before it has returned.
	beside func(ctx context.Context, c *cluster) error
}

// measured is what became of a trial.
type measured struct {
	load  *loadResult
	watch *watch
	apart string // how replicas differ; "" where they do not, or were not compared
}

// kept says whether the cluster gave back what it took. Error: ErrViolation.
func (m *measured) kept() error {
	if m.load.Violation != "" {
		return fmt.Errorf("%w: %s", ErrViolation, m.load.Violation)
	}
	return nil
}

// start starts the brokers.
func (t *trial) start(ctx context.Context) (*cluster, error) {
	t.lab.progress.say(t.name, "start", "")
	return startCluster(ctx, t.dyno, t.nodes, t.dir, t.up...)
}

// run starts the brokers, loads them and stops them. It returns when all of them
// have ended.
func (t *trial) run(ctx context.Context) (measured, error) {
	c, err := t.start(ctx)
	if err != nil {
		return measured{}, err
	}
	var m measured
	err = c.whileUp(ctx, func(ctx context.Context) (err error) {
		if m, err = t.load(ctx, c); err == nil && t.compare {
			m.apart, err = t.replicas(ctx, c)
		}
		return err
	})
	if stopErr := c.stop(); err == nil {
		err = stopErr
	}
	return m, err
}

// load runs the generator against the watched cluster. What the watch could not
// see ends the load: a repetition without its figures is worth nothing.
func (t *trial) load(ctx context.Context, c *cluster) (m measured, err error) {
	ctx, giveUp := context.WithCancel(ctx)
	defer giveUp()
	w := &watch{ctx: ctx, giveUp: giveUp, client: readUsage, dataDir: t.dir, tell: t.lab.live(t.name)}
	w.brokers = func(ctx context.Context) (total, error) { return c.sample(ctx, t.http) }
	if t.beside != nil {
		var begin sync.Once
		var beside sync.WaitGroup
		var besideErr error
		w.measuring = func() { begin.Do(func() { beside.Go(func() { besideErr = t.beside(ctx, c) }) }) }
		defer func() {
			begin.Do(func() { besideErr = fmt.Errorf("the load ended before its timed window") })
			if beside.Wait(); err == nil {
				err = besideErr
			}
		}()
	}
	spec := t.spec
	spec.Brokers = strings.Split(c.Bootstrap, ",")
	raw, err := runJobs(ctx, []job{{
		name: "the load generator", argv: t.lab.child, work: workLoad, spec: spec, progress: w.observe, ready: t.lab.urgent(spec.Rate),
	}}, nil)
	if w.err != nil {
		return m, w.err
	}
	if err != nil {
		return m, err
	}
	m = measured{load: new(loadResult), watch: w}
	if err := json.Unmarshal(raw[0], m.load); err != nil {
		return m, fmt.Errorf("result of the load generator: %w", err)
	}
	return m, nil
}

// compareWait bounds the comparison of all replicas.
const compareWait = 2 * time.Minute

// replicas has every node read what it holds of each partition, and says how they
// differ.
func (t *trial) replicas(ctx context.Context, c *cluster) (string, error) {
	t.lab.progress.say(t.name, "compare replicas", "")
	ctx, cancel := context.WithTimeout(ctx, compareWait)
	defer cancel()
	list, err := engine.CompareReplicas(ctx, t.http, c.Nodes[0].Admin, loadTopic)
	if err != nil {
		return "", fmt.Errorf("compare the replicas: %w", err)
	}
	if len(list) != t.spec.Partitions {
		return "", fmt.Errorf("compare the replicas: %d partitions answered of %d", len(list), t.spec.Partitions)
	}
	for _, p := range list {
		if !p.Same || len(p.Replicas) != t.spec.RF {
			return cmp.Or(p.Problem, fmt.Sprintf("%d replicas of partition %d answered of %d", len(p.Replicas), p.Partition, t.spec.RF)), nil
		}
	}
	return "", nil
}

// judge fills in a repetition from what was measured, and names what makes it
// failed or invalid. Values are kept in either case: a failing run is stored too.
func (t *trial) judge(rep *record.Repetition, m measured) error {
	res := m.load
	values, err := m.watch.values(t.spec.SizeBytes)
	if err != nil {
		return err
	}
	rep.Values = values
	for _, name := range m.watch.missing() {
		t.lab.cautionOnce("the broker does not serve " + name + ": figures that need it are left out")
	}
	reportValues(values, &res.Report)
	if t.spec.Rate > 0 {
		values["offered"] = t.spec.Rate
	}
	t.condemn(rep, m)
	return nil
}

// condemn sets the status of a repetition whose load broke a promise or says
// nothing.
func (t *trial) condemn(rep *record.Repetition, m measured) {
	res := m.load
	switch {
	case res.Violation != "":
		rep.Status, rep.Problem = record.Failed, res.Violation
	case m.apart != "":
		rep.Status, rep.Problem = record.Failed, "the replicas differ: "+m.apart
	case res.Report.Lost == nil:
		rep.Status, rep.Problem = record.Invalid, "the records were not verified"
	case t.odd(res) != "":
		rep.Status, rep.Problem = record.Invalid, t.odd(res)
	case res.Report.Saturated == loadgen.BottleneckGenerator:
		rep.Status, rep.Problem = record.Invalid, "the generator was the bottleneck: "+res.Detail.Why
	case t.spec.Rate > 0 && res.Report.Saturated != loadgen.BottleneckNone:
		// A true answer, if a bad one: the response counts from the schedule.
		t.lab.caution(fmt.Sprintf("%s: the %s fell behind the schedule, so its response grows with the window: %s",
			t.name, res.Report.Saturated, res.Detail.Why))
	}
}

// odd says what makes the load another one than was asked for; "" where nothing does.
func (t *trial) odd(res *loadResult) string {
	if !t.overload {
		return unanswered(res)
	}
	taken := *res
	taken.Detail.Unsent = 0
	return unanswered(&taken)
}

// reportValues takes over what a load measured by itself.
func reportValues(values map[string]float64, r *loadgen.Report) {
	values["throughput"], values["bandwidth"] = r.MsgsPerS, r.BytesPerS/1e6
	values["acked"] = float64(r.Acked)
	if q := r.Response; q != nil {
		values["response_p50"], values["response_p99"], values["response_p999"] = float64(q.P50), float64(q.P99), float64(q.P999)
	}
	for name, v := range map[string]*int64{"lost": r.Lost, "duplicated": r.Duplicated, "reordered": r.Reordered, "corrupted": r.Corrupted} {
		if v != nil {
			values[name] = float64(*v)
		}
	}
}

// unanswered says what makes a load another one than was asked for: records that
// were refused, whose fate is unknown, that were never sent, or that somebody
// else wrote into the topic.
func unanswered(r *loadResult) string {
	foreign := int64(0)
	if v := r.Detail.Verification; v != nil {
		foreign = v.Foreign
	}
	return unansweredOf(r.Report.Failed, r.Report.Unknown, r.Detail.Unsent, foreign)
}

func unansweredOf(failed, unknown, unsent, foreign int64) string {
	var words []string
	for _, c := range []struct {
		n    int64
		what string
	}{{failed, "failed"}, {unknown, "of unknown fate"}, {unsent, "not sent"}, {foreign, "written by somebody else"}} {
		if c.n > 0 {
			words = append(words, fmt.Sprintf("%d %s", c.n, c.what))
		}
	}
	if len(words) == 0 {
		return ""
	}
	return "records " + strings.Join(words, ", ") + otherLoad
}

// otherLoad ends what unansweredOf says.
const otherLoad = ": the figures are of another load than was asked for"

// tellProgress hands a report of a load on; one that cannot be read tells nothing.
func tellProgress(tell func(loadgen.Progress), report json.RawMessage) {
	var p loadgen.Progress
	if json.Unmarshal(report, &p) == nil {
		tell(p)
	}
}

// live turns a generator's progress into a line.
func (l *lab) live(name string) func(loadgen.Progress) {
	return func(p loadgen.Progress) {
		text := ""
		switch {
		case p.Phase == "verify":
			text = fmt.Sprintf("%d of %d records read back", p.Acked, p.Sent)
		case p.Rate > 0:
			text = fmt.Sprintf("%.0f records/s, p99 %.1f ms", p.Rate, float64(p.P99)/1e6)
		}
		l.progress.say(name, p.Phase, text)
	}
}
