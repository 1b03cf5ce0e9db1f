package bench

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"path/filepath"
	"time"

	"dyno/bench/maxrate"
	"dyno/bench/record"
)

// rateSearch makes the trials of a plan: each one load on a schedule, of a cluster
// that runs or of fresh brokers. One goroutine owns it.
type rateSearch struct {
	plan   *maxrate.Plan
	slo    []Bound
	spec   loadSpec      // of a trial; rate, window and seed are filled in
	long   time.Duration // window of the confirming trial
	load   rateLoad
	trials []rateTrial
	// power is the generator's own capacity, from the probe before the first trial.
	power float64
}

// rateLoad runs one load, and gives what its brokers counted where that is known.
type rateLoad func(ctx context.Context, name string, spec loadSpec) (*loadResult, map[string]float64, error)

// rateTrial is one trial and what came of it.
type rateTrial struct {
	maxrate.Trial
	outcome
	rep record.Repetition
}

// arm is the name under which trials of one purpose and rate are kept.
func (t *rateTrial) arm() string {
	return fmt.Sprintf("%s/%s", t.Phase, rateWord(t.Rate))
}

// rateWord writes a rate without an exponent.
func rateWord(rate float64) string {
	if rate == math.Trunc(rate) {
		return fmt.Sprintf("%.0f", rate)
	}
	return fmt.Sprintf("%.1f", rate)
}

// The values of a trial beside those of a load.
const (
	valueHeld      = "held"      // 1 or 0
	valueGenerator = "generator" // 1: the generator was the bottleneck
)

var trialUnits = []record.Unit{
	{Name: valueHeld, Unit: "trials", Better: "higher"},
	{Name: valueGenerator, Unit: "trials"},
	{Name: "response_p90", Unit: "ns", Better: "lower"},
	{Name: "response_max", Unit: "ns", Better: "lower"},
}

// try makes one trial. A broken promise is in the repetition; an error means that
// the trial could not be made. It does not tell the plan.
func (s *rateSearch) try(ctx context.Context, t maxrate.Trial) (rateTrial, error) {
	spec := s.spec
	spec.Rate, spec.Capacity = t.Rate, s.power
	spec.Seed += uint64(len(s.trials))
	if t.Phase == maxrate.Confirm {
		spec.Window = s.long
	}
	out := rateTrial{Trial: t, rep: record.Repetition{Order: len(s.trials) + 1, Seed: spec.Seed, Status: record.OK}}
	begun := time.Now()
	res, values, err := s.load(ctx, fmt.Sprintf("%s %s records/s", t.Phase, rateWord(t.Rate)), spec)
	if err != nil {
		return out, err
	}
	if values == nil {
		values = map[string]float64{}
	}
	out.rep.Seconds, out.rep.Values = time.Since(begun).Seconds(), values
	reportValues(values, &res.Report)
	values["offered"] = t.Rate
	if q := res.Report.Response; q != nil {
		values["response_p90"], values["response_max"] = float64(q.P90), float64(q.Max)
	}
	switch v := res.Detail.Verification; {
	case res.Violation != "":
		out.rep.Status, out.rep.Problem = record.Failed, res.Violation
		return out, nil
	case v == nil || res.Report.Response == nil:
		return out, fmt.Errorf("%w: the records were not verified", ErrInvalid)
	case v.Foreign > 0:
		return out, fmt.Errorf("%w: somebody else wrote %d records into the topic: give the search one of its own", ErrInvalid, v.Foreign)
	}
	if res.Detail.Capacity > 0 {
		s.power = res.Detail.Capacity
	}
	out.outcome = judgeRate(s.slo, t.Rate, res)
	values[valueHeld], values[valueGenerator] = number(out.good), number(out.generator)
	return out, nil
}

func number(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

// take notes a trial, made now or by an interrupted search, and tells the plan.
func (s *rateSearch) take(t rateTrial) {
	for _, old := range s.trials {
		if old.Trial == t.Trial {
			t.rep.Number = old.rep.Number
		}
	}
	t.rep.Number++
	s.trials = append(s.trials, t)
	s.plan.Take(t.good)
}

// limited says that the rate which failed is the generator's, not the cluster's.
func (s *rateSearch) limited(rate float64) bool {
	for _, t := range s.trials {
		if t.Rate == rate && t.generator {
			return true
		}
	}
	return false
}

// external loads a cluster that runs already.
func (l *lab) external(ctx context.Context, name string, spec loadSpec) (*loadResult, map[string]float64, error) {
	tell := l.live(name)
	raw, err := runJobs(ctx, []job{{name: "the load generator", argv: l.child, work: workLoad, spec: spec,
		progress: func(_ int, report json.RawMessage) { tellProgress(tell, report) }}}, nil)
	if err != nil {
		return nil, nil, err
	}
	res := new(loadResult)
	if err := json.Unmarshal(raw[0], res); err != nil {
		return nil, nil, fmt.Errorf("result of the load generator: %w", err)
	}
	return res, nil, nil
}

// embedded loads brokers that it starts for this trial alone. Figures of theirs are
// given where the window was long enough to see any.
func (b *bed) embedded(nodes int) rateLoad {
	return func(ctx context.Context, name string, spec loadSpec) (*loadResult, map[string]float64, error) {
		dir, err := b.lab.work.fresh()
		if err != nil {
			return nil, nil, err
		}
		t := &trial{lab: b.lab, http: b.http, dyno: b.dyno, name: name, nodes: nodes, dir: filepath.Join(dir, "cluster"), spec: spec}
		m, err := t.run(ctx)
		if err != nil {
			return nil, nil, blameDisk(dir, err)
		}
		values, err := m.watch.values(spec.SizeBytes)
		if err != nil {
			values = nil // a window that nobody could look into twice
		}
		return m.load, values, b.lab.work.settle(dir)
	}
}
