package bench

import (
	"context"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"dyno/bench/maxrate"
	"dyno/bench/record"
)

const (
	latencyQuestion = "How does the response grow with the rate, three brokers, every record synced by a majority: dyno and NATS JetStream that syncs always, each from 10 to 110 % " +
		"of its own maximum; and up to which rate does dyno's p99 stay at 50 ms?"
	latencyExpected = "Group commit makes the response nearly flat: a record waits for the sync under way and its own, whatever the rate, so dyno's p99 at half of the maximum is at most " +
		"10 ms. It bends where the two cores are full, between 80 and 100 %; above, the backlog grows and p99 is the length of the window. The largest rate with a p99 of 50 ms " +
		"is more than half of the maximum. NATS bends in the same place of its own range, at a lower rate: each stream syncs by itself."

	latencyP99 = 10 * time.Millisecond
	// kneeP99 is for the search. The p99 of three synced nodes on a shared machine may be
	// 10 ms at a few hundred records/s, and what a search for that finds is the disk.
	kneeP99    = 50 * time.Millisecond
	kneeWidth  = 0.05
	kneeBad    = 0.1
	kneeLong   = 12 * time.Second
	kneeTrials = 120 // at most, of some 6 s
	kneeQuick  = 1   // trials of a quick run: to see that it runs
)

var (
	sweepShares      = []int{10, 20, 30, 40, 50, 60, 70, 80, 90, 100, 110} // percent of the maximum
	sweepSharesQuick = []int{30, 110}
)

// The values of a search as one repetition.
const (
	valueRateLow  = "rate_low"
	valueRateHigh = "rate_high"
	valueTrials   = "trials"
)

var latencyUnits = slices.Concat(loadUnits, []record.Unit{
	{Name: valueRateLow, Unit: "records/s", Better: "higher"}, {Name: valueRateHigh, Unit: "records/s", Better: "higher"}, {Name: valueTrials, Unit: "trials"}})

var latencyColumns = []column{
	{"offered", "offered/s", 1, "%.0f"}, {"throughput", "achieved/s", 1, "%.0f"}, {"response_p50", "p50 ms", 1e-6, "%.2f"}, {"response_p99", "p99 ms", 1e-6, "%.2f"},
	{"response_p999", "p99.9 ms", 1e-6, "%.2f"}, {valueRateLow, "held/s", 1, "%.0f"}, {valueRateHigh, "failed/s", 1, "%.0f"}, {valueTrials, "trials", 1, "%.0f"},
	{"fsyncs", "fsyncs/s", 1, "%.0f"}, {"broker_cpu", "broker cpu-s/M", 1, "%.2f"}, {"client_cpu", "client cpu-s/M", 1, "%.2f"}, {"lost", "lost", 1, "%.0f"},
}

func latencyExperiment(cfg ExperimentConfig) Experiment {
	p := newClusterPlan(cfg, "latency-throughput", latencyQuestion, latencyExpected)
	p.e.Units, p.e.Columns = latencyUnits, latencyColumns
	delete(p.e.Config, "closed_loop_clients")
	shares := sweepShares
	if cfg.Quick {
		shares = sweepSharesQuick
	}
	p.e.Config["shares_percent"] = fmt.Sprint(shares)
	p.e.Config["maximum_is"] = "the median of the arm probe of the same system, which runs before all others"
	p.e.Config["slo"], p.e.Config["slo_width"], p.e.Config["slo_bad"] = sloText(kneeSLO), kneeWidth, kneeBad
	s := shape{sizeBytes: kib, partitions: clusterParts}
	p.dyno(probeArm("dyno"), "probe", s, cfg.plain(), nil).First = true
	p.nats(probeArm("nats"), "probe", natsAlways, s, cfg.plain()).First = true
	for _, share := range shares {
		p.sweep("dyno", share, s)
		p.sweep("nats", share, s)
	}
	p.knee(s)
	if !cfg.Quick {
		p.e.Targets = append(p.e.Targets, Goal{Name: "p99 of dyno at half of its maximum", Arm: "dyno/50", Measure: "response_p99", AtMost: float64(latencyP99)})
	}
	p.e.Answer = latencyAnswer
	return p.e
}

var kneeSLO = []Bound{{"p99", kneeP99}}

func probeArm(system string) string { return system + "/probe" }

// sweep adds the arm that is offered a share of what the system's probe reached. What
// the system does not take is an answer there.
func (p *clusterPlan) sweep(system string, share int, s shape) {
	arm, block := fmt.Sprintf("%s/%d", system, share), "sweep-"+strconv.Itoa(share)
	reps := p.cfg.plain()
	if share == 50 {
		reps = p.headline()
	}
	offer := func(b *bed) (float64, bool) {
		most, ok := b.earlier(probeArm(system), "throughput")
		if !ok {
			b.rep.Status, b.rep.Problem = record.Invalid, "no repetition of "+probeArm(system)+" was good, so its maximum is not known"
		}
		b.overload = true
		return math.Round(most * float64(share) / 100), ok
	}
	var c *Cell
	if system == "nats" {
		c = p.nats(arm, block, natsAlways, s, reps)
		c.Measure = func(ctx context.Context, b *bed) error {
			rate, ok := offer(b)
			if !ok {
				return nil
			}
			return b.loadNATS(ctx, natsSpec{Sync: natsAlways, Streams: s.partitions, SizeBytes: s.sizeBytes, Rate: rate, Warmup: p.warmup, Window: p.window, Verify: natsRead})
		}
	} else {
		c = p.dyno(arm, block, s, reps, nil)
		c.Measure = func(ctx context.Context, b *bed) error {
			rate, ok := offer(b)
			if !ok {
				return nil
			}
			spec := p.spec(s)
			spec.Rate = rate
			return b.load(ctx, s.brokers(), spec)
		}
	}
	c.Params[paramShare], c.Params["load"] = strconv.Itoa(share), "share-of-maximum"
}

// knee adds the search for the largest rate that keeps the SLO: one search is a
// repetition.
func (p *clusterPlan) knee(s shape) {
	params := p.params("knee", "dyno", "all-read-back", s)
	params["load"] = "search"
	spec := p.spec(s)
	spec.Warmup, spec.Window = min(p.warmup, slowWarmup), windowMin
	p.e.Cells = append(p.e.Cells, Cell{Arm: "knee/dyno", Block: "knee", Repetitions: p.cfg.once(1), Params: params, NeedsDyno: true,
		Measure: func(ctx context.Context, b *bed) error { return b.knee(ctx, s.brokers(), spec, p.cfg.Quick) }})
}

// knee makes one search on fresh brokers.
func (b *bed) knee(ctx context.Context, nodes int, spec loadSpec, quick bool) error {
	cfg := maxrate.Config{Width: kneeWidth, Bad: kneeBad, Seed: b.seed, TrialsMax: kneeTrials}
	if most, ok := b.earlier(probeArm("dyno"), "throughput"); ok {
		cfg.Start = max(most/2, 10)
	}
	if quick {
		cfg.TrialsMax = kneeQuick
	}
	plan, err := maxrate.New(cfg)
	if err != nil {
		return err
	}
	spec.Seed = b.seed
	s := &rateSearch{plan: plan, slo: kneeSLO, spec: spec, long: kneeLong, load: b.embedded(nodes)}
	for {
		t, more := plan.Next()
		if !more {
			break
		}
		made, err := s.try(ctx, t)
		if err != nil {
			return fmt.Errorf("%s: %w", made.arm(), err)
		}
		s.take(made)
		if made.rep.Status == record.Failed {
			break
		}
	}
	a, v := plan.Answer(), s.verdict()
	b.rep.Values = map[string]float64{valueTrials: float64(a.Trials), valueRateLow: a.Low, valueRateHigh: a.High}
	if v.Result != record.OK {
		b.rep.Status, b.rep.Problem = v.Result, v.Text
	}
	return nil
}

// latencyAnswer says where the curves bend.
func latencyAnswer(run *record.Run) (string, []record.Factor) {
	var words []string
	for _, system := range []string{"dyno", "nats"} {
		most := median(run, probeArm(system), "throughput")
		var curve []string
		for _, share := range sweepShares {
			arm := fmt.Sprintf("%s/%d", system, share)
			if p99 := median(run, arm, "response_p99"); p99 > 0 {
				curve = append(curve, fmt.Sprintf("%d %% %.1f", share, p99/1e6))
			}
		}
		if len(curve) > 0 {
			words = append(words, fmt.Sprintf("%s takes %.0f records/s at most; p99 in ms at %s", system, most, strings.Join(curve, ", ")))
		}
	}
	if low := median(run, "knee/dyno", valueRateLow); low > 0 {
		words = append(words, fmt.Sprintf("dyno keeps %s at %.0f records/s and no more at %.0f", sloText(kneeSLO), low, median(run, "knee/dyno", valueRateHigh)))
	}
	return join(words...), nil
}
