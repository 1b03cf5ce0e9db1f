package bench

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"dyno/bench/gate"
	"dyno/bench/micro"
	"dyno/bench/paired"
	"dyno/bench/record"
)

// microLane runs package bench/micro of each side's own commit, in a measuring
// child of that side's program: what is measured is not the broker from outside but
// its parts from inside, so the driver belongs to the commit.
type microLane struct {
	lab   *lab
	scale int // of a run's work, see micro.Spec; 0 but in tests
}

func (m *microLane) name() string              { return "micro" }
func (m *microLane) described() map[string]any { return map[string]any{} }

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

// check runs a hundredth of a run.
func (m *microLane) check(ctx context.Context, p *program, dir string) error {
	_, _, err := m.ask(ctx, p, micro.Spec{Dir: dir, Seed: 1, Scale: 100}, func(int) (string, error) { return "", nil })
	if err != nil && strings.Contains(err.Error(), fmt.Sprintf("unknown work %q", workMicro)) {
		return fmt.Errorf("%w: it is older than the micro lane: choose a later commit, or leave out --micro", ErrUsage)
	}
	return err
}

func (m *microLane) probe(context.Context, *program, string, uint64) (map[string]float64, error) {
	return nil, nil // the amount of work is fixed
}

func (m *microLane) run(ctx context.Context, p *program, dir string, t paired.Turn, which func(int) (string, error)) (paired.Outcome, error) {
	m.lab.progress.say(turnName(t), "measure", "")
	values, hash, err := m.ask(ctx, p, micro.Spec{Dir: dir, Seed: uint64(t.Number) + 1, Scale: m.scale}, which)
	out := paired.Outcome{Program: hash, Status: paired.OK, Values: values}
	if errors.Is(err, ErrViolation) {
		out.Status, out.Problem, err = paired.Failed, err.Error(), nil
	}
	return out, err
}

// ask runs the work in a child of the side's program.
func (m *microLane) ask(ctx context.Context, p *program, spec micro.Spec, which func(int) (string, error)) (map[string]float64, string, error) {
	hash := ""
	var whichErr error
	raw, err := runJobs(ctx, []job{{name: "the measuring process", argv: []string{p.path, "bench", "child"}, work: workMicro, spec: spec,
		progress: func(pid int, _ json.RawMessage) { hash, whichErr = which(pid) }}}, nil)
	if err != nil {
		return nil, hash, err
	}
	var res micro.Result
	if err := json.Unmarshal(raw[0], &res); err != nil {
		return nil, hash, fmt.Errorf("result of the measuring process: %w", err)
	}
	return res.Values, hash, whichErr
}

// chooseLane is the lane that was asked for.
func (c *CompareConfig) chooseLane(l *lab) lane {
	if c.Micro {
		return &microLane{lab: l}
	}
	return newMacro(l, c.Warmup, c.Window)
}

// diskNeed is the most that one run and its two programs may write.
func (c *CompareConfig) diskNeed() int64 {
	const programs, microRun = 512 << 20, 1 << 30
	if c.Micro {
		return programs + microRun
	}
	return programs + loadDiskNeed(c.Warmup+max(c.Window, macroProbe)+2*macroSaturated)
}
