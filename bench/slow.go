package bench

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"dyno/bench/record"
	"dyno/bench/stats"
	"dyno/engine/variants"
)

// What the experiments rwlock and batching share: arms that are slow on purpose
// (engine/variants), many short cells, and an answer in factors.

// slowArm is one produce path.
type slowArm struct {
	name   string
	config variants.Config
}

const (
	// slowReps is how often a headline cell runs: ten cover the median with 97.9 %.
	slowReps   = 10
	slowWarmup = 500 * time.Millisecond
	// slowProbe is how long the generator's own capacity is probed, in each cell.
	slowProbe = 300 * time.Millisecond
)

// newSlowPlan is newClusterPlan with short windows, for many cells, and with the
// replicas compared after each.
func newSlowPlan(cfg ExperimentConfig, name, question, expectation string) *clusterPlan {
	p := newClusterPlan(cfg, name, question, expectation)
	p.window, p.warmup, p.compare = windowMin, slowWarmup, true
	p.probe = slowProbe
	if cfg.Quick {
		p.warmup, p.probe = 200*time.Millisecond, 200*time.Millisecond
	}
	p.reps = slowReps
	p.e.Columns = slowColumns
	p.e.DiskNeed = loadDiskNeed(p.warmup + p.window)
	for key, v := range map[string]any{"warmup_s": p.warmup.Seconds(), "window_s": p.window.Seconds(), "repetitions_headline": p.headline(),
		"replicas": "compared byte for byte after each window"} {
		p.e.Config[key] = v
	}
	delete(p.e.Config, "closed_loop_clients") // an arm's own
	return p
}

// slow adds an arm: its settings go to every node.
func (p *clusterPlan) slow(family, block string, a slowArm, s shape, reps int) string {
	arm := family + "/" + a.name
	if family != familyHeadline {
		arm = fmt.Sprintf("%s-%d-%s", arm, s.clients, sizeName(s.sizeBytes))
	}
	params := p.dyno(arm, block, s, reps, func(b *bed) ([]string, error) { return slowArgs(b.dir, a.config) }).Params
	params[paramPath], params[paramProducers] = a.name, strconv.Itoa(s.clients)
	for name, value := range map[string]string{"lock": string(a.config.Lock), "batch": string(a.config.Batch), "poll": string(a.config.Poll),
		"sync": string(a.config.Sync), "nested": fmt.Sprint(a.config.Nested)} {
		if value != "" && value != "false" {
			params[name] = value
		}
	}
	return arm
}

// familyHeadline is the family of the cells that the answer rests on.
const familyHeadline = "headline"

// slowArgs are the arguments of `dyno up` for one arm; nothing for the path as
// shipped. The settings are written into dir.
func slowArgs(dir string, c variants.Config) ([]string, error) {
	if c.Shipped() {
		return nil, nil
	}
	var b strings.Builder
	b.WriteString("experiment:\n  only_to_measure: true\n")
	for _, s := range []struct{ key, value string }{
		{"lock", string(c.Lock)}, {"batch", string(c.Batch)}, {"poll", string(c.Poll)}, {"sync", string(c.Sync)},
	} {
		if s.value != "" {
			fmt.Fprintf(&b, "  %s: %s\n", s.key, s.value)
		}
	}
	if c.Nested {
		b.WriteString("  nested: true\n")
	}
	if c.SyncWait > 0 {
		fmt.Fprintf(&b, "  sync_wait: %v\n", c.SyncWait)
	}
	return settingsArgs(dir, b.String())
}

// slowColumns is the table of an experiment about slow arms.
var slowColumns = []column{
	{"throughput", "records/s", 1, "%.0f"}, {"response_p50", "p50 ms", 1e-6, "%.2f"}, {"response_p99", "p99 ms", 1e-6, "%.2f"},
	{"response_p999", "p99.9 ms", 1e-6, "%.2f"}, {"fsyncs", "fsyncs/s", 1, "%.0f"}, {"entries_per_proposal", "entries/proposal", 1, "%.1f"},
	{"proposals_per_batch", "proposals/request", 1, "%.2f"}, {"polls", "polls/s", 1, "%.0f"}, {"mutex_wait", "mutex wait s/s", 1, "%.2f"},
	{"broker_cpu", "broker cpu-s/M", 1, "%.1f"}, {"broker_cpu_1", "node 1", 1, "%.1f"}, {"broker_cpu_2", "node 2", 1, "%.1f"},
	{"broker_cpu_3", "node 3", 1, "%.1f"}, {"client_cpu", "client cpu-s/M", 1, "%.1f"}, {"lost", "lost", 1, "%.0f"},
	{"lookup", "ns/lookup", 1, "%.1f"}, {"lookup_writes", "writes/s", 1, "%.0f"},
}

// factor is how many times what against has arm has, of the repetitions that ran next
// to each other. ok is false where there are none.
func factor(run *record.Run, name, measure, arm, against string, claimed float64) (_ record.Factor, ok bool) {
	found := stats.Ratios(pairs(run.Arm(arm), run.Arm(against), measure))
	if len(found) == 0 {
		return record.Factor{}, false
	}
	iv := stats.MedianInterval(found, confidence)
	return record.Factor{Name: name, Measure: measure, Arm: arm, Against: against, Ratio: stats.Median(found), Low: iv.Low, High: iv.High,
		Coverage: iv.Coverage, Repetitions: len(found), Claimed: claimed}, true
}

// ladder is the factor of each arm against the one before it, and then of the last
// against the first. arms are names in the family headline.
func ladder(run *record.Run, arms []slowArm, claimed float64) []record.Factor {
	var out []record.Factor
	step := func(name string, from, to slowArm, claimed float64) {
		if f, ok := factor(run, name, "throughput", familyHeadline+"/"+to.name, familyHeadline+"/"+from.name, claimed); ok {
			out = append(out, f)
		}
	}
	for i := 1; i < len(arms); i++ {
		step(arms[i-1].name+" -> "+arms[i].name, arms[i-1], arms[i], 0)
	}
	first, last := arms[0], arms[len(arms)-1]
	step("in all: "+first.name+" -> "+last.name, first, last, claimed)
	return out
}

// product multiplies the steps of a ladder.
func product(steps []record.Factor) float64 {
	p := 1.0
	for _, f := range steps {
		p *= f.Ratio
	}
	return p
}

// share is how much of a claimed factor one factor explains: factors multiply, so
// their logarithms add up.
func share(f, claimed float64) float64 { return 100 * math.Log(f) / math.Log(claimed) }

// times writes a factor for people.
func times(f float64) string { return fmt.Sprintf(plainForm(f)+"x", f) }

// factorText is a factor in words, as the printed result has it.
func factorText(f *record.Factor) string {
	text := fmt.Sprintf("%s, %s to %s (%.0f %%, n=%d)", times(f.Ratio), times(f.Low), times(f.High), 100*f.Coverage, f.Repetitions)
	if f.Claimed > 0 {
		text += fmt.Sprintf("; the origin claimed %s", times(f.Claimed))
	}
	return text
}

// median is an arm's middle value, 0 where it has none.
func median(run *record.Run, arm, measure string) float64 {
	a := run.Arm(arm)
	if a == nil {
		return 0
	}
	vs := a.Values(measure)
	if len(vs) == 0 {
		return 0
	}
	return stats.Median(vs)
}
