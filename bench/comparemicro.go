package bench

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"dyno/bench/gate"
	"dyno/bench/micro"
	"dyno/bench/paired"
	"dyno/bench/record"
)

// microLane runs package bench/micro of each side's own commit, in a measuring
// child of that side's program: what is measured is not the broker from outside but
// its parts from inside, so the driver belongs to the commit.
//
// The four runs of a block are alive at the same time and work in short rounds, one
// at a time in the order of the block, again and again. So what a shared machine
// does for a second or more meets both sides alike.
type microLane struct {
	lab   *lab
	scale int    // of a run's work, see micro.Spec; 0 but in tests
	work  string // what a run does, in the words of the program that was checked first
}

func (m *microLane) name() string              { return "micro" }
func (m *microLane) described() map[string]any { return map[string]any{"work": m.work} }

// microParts are the parts of a run, and their names for people.
var microParts = []struct{ name, label string }{
	{"produce", "one node, produce"}, {"fetch", "one node, fetch"}, {"append", "append to the log"}, {"decode", "decode a batch"},
}

func (m *microLane) metrics() (metrics []gate.Metric) {
	for _, part := range microParts {
		metrics = append(metrics, gate.Metric{Name: part.name + "_cpu", Effect: 0.02, Bound: 0.05})
	}
	return metrics
}

func (m *microLane) columns() (columns []column) {
	for _, part := range microParts {
		columns = append(columns, column{part.name + "_cpu", part.label + ", CPU-s/M", 1, "%.4f"})
	}
	for _, part := range microParts {
		columns = append(columns, column{part.name + "_rate", part.label + ", records/s", 1, "%.0f"})
	}
	return columns
}

func (m *microLane) units() (units []record.Unit) {
	for _, part := range microParts {
		units = append(units, record.Unit{Name: part.name + "_cpu", Unit: "cpu-s/Mrecord", Better: "lower"},
			record.Unit{Name: part.name + "_rate", Unit: "records/s", Better: "higher"})
	}
	return units
}

// check runs a round, and demands that both programs do the same in it.
func (m *microLane) check(ctx context.Context, p *program, dir string) error {
	outs, err := m.ask(ctx, []laneRun{{program: p, dir: dir}}, 100, func(int) (string, error) { return "", nil })
	if err != nil && strings.Contains(err.Error(), fmt.Sprintf("unknown work %q", workMicro)) {
		return fmt.Errorf("%w: it is older than the micro lane: choose a later commit, or leave out --micro", ErrUsage)
	}
	if err == nil && outs[0].Status != paired.OK {
		err = fmt.Errorf("%w: %s", ErrViolation, outs[0].Problem)
	}
	if err != nil {
		return err
	}
	if did := outs[0].work; m.work == "" {
		m.work = did
	} else if did != m.work {
		return fmt.Errorf("%w: its micro lane does other work (%s) than base's (%s): choose commits that do the same, or leave out --micro", ErrUsage, did, m.work)
	}
	return nil
}

func (m *microLane) probe(context.Context, *program, string, uint64) (map[string]float64, error) {
	return nil, nil // the amount of work is fixed
}

func (m *microLane) abreast() int { return runsPerBlock }

func (m *microLane) run(ctx context.Context, runs []laneRun, which func(int) (string, error)) ([]paired.Outcome, error) {
	m.lab.progress.say(runs[0].turn.Slot.String(), "measure", "")
	did, err := m.ask(ctx, runs, m.scale, which)
	outs := make([]paired.Outcome, len(did))
	for i, d := range did {
		outs[i] = d.Outcome
	}
	return outs, err
}

// microOutcome is an outcome, and what was done for it.
type microOutcome struct {
	paired.Outcome
	work string
}

// ask runs the work in a child of each run's program.
func (m *microLane) ask(ctx context.Context, runs []laneRun, scale int, which func(int) (string, error)) ([]microOutcome, error) {
	outs, errs := make([]microOutcome, len(runs)), make([]error, len(runs))
	jobs, turns := make([]job, len(runs)), newRelay(len(runs))
	for i, r := range runs {
		outs[i].Status = paired.OK
		jobs[i] = job{name: "the measuring process", argv: []string{r.program.path, "bench", "child"}, work: workMicro,
			spec: micro.Spec{Dir: r.dir, Seed: uint64(r.turn.Number) + 1, Scale: scale}, relay: turns, place: i,
			progress: func(pid int, _ json.RawMessage) { outs[i].Program, errs[i] = which(pid) }}
	}
	raw, err := runJobs(ctx, jobs, nil)
	var failed *jobError
	if errors.Is(err, ErrViolation) && errors.As(err, &failed) {
		return broken(outs[:failed.index+1], err), nil
	}
	if err = errors.Join(err, errors.Join(errs...)); err != nil {
		return nil, err
	}
	for i := range outs {
		var res micro.Result
		if err := json.Unmarshal(raw[i], &res); err != nil {
			return nil, fmt.Errorf("result of the measuring process: %w", err)
		}
		outs[i].Values, outs[i].Began, outs[i].Seconds, outs[i].work = res.Values, res.Began, res.Seconds, res.Work
	}
	return outs, nil
}

// broken are the outcomes up to the one that broke a promise.
func broken(outs []microOutcome, err error) []microOutcome {
	for i := range outs {
		outs[i].Began, outs[i].Status, outs[i].Problem = time.Now(), paired.Invalid, "a later run of the block broke a promise"
	}
	last := &outs[len(outs)-1]
	last.Status, last.Problem = paired.Failed, err.Error()
	return outs
}

// chooseLane is the lane that was asked for.
func (c *CompareConfig) chooseLane(l *lab) lane {
	if c.Micro {
		return &microLane{lab: l}
	}
	return newMacro(l, c.Warmup, c.Window, c.settings)
}

// diskNeed is the most that the runs of one moment and their programs may write.
func (c *CompareConfig) diskNeed() int64 {
	const programs, microRun = 512 << 20, 256 << 20
	if c.Micro {
		return programs + runsPerBlock*microRun
	}
	return programs + loadDiskNeed(c.Warmup+max(c.Window, macroProbe)+2*macroSaturated)
}
