package bench

import (
	"cmp"
	"context"
	"strconv"
	"time"

	"dyno/loadgen"
)

const (
	clusterReps    = 6 // of cells that carry a target: six cover the median with 96.9 %
	clusterNodes   = 3
	clusterClients = 64 // of a closed loop
	clusterParts   = 8  // partitions, or streams, where their number is not the question
)

// clusterPlan builds the cells of an experiment about clusters: three brokers and
// their client on this machine, every record on three of them, answered when a
// majority has synced it. A window of produce alone, everything read back after it.
type clusterPlan struct {
	cfg            ExperimentConfig
	e              Experiment
	warmup, window time.Duration
	probe          time.Duration // of the generator's own capacity; 0: loadgen's default
	reps           int           // of headline cells
	compare        bool          // the replicas after each window
	connect        time.Duration // most until all partitions have leaders; 0: loadgen's default
}

func newClusterPlan(cfg ExperimentConfig, name, question, expectation string) *clusterPlan {
	p := &clusterPlan{cfg: cfg, reps: clusterReps, warmup: 2 * time.Second, window: 5 * time.Second, e: Experiment{
		Name: name, Question: question, Expectation: expectation, Units: loadUnits, Columns: clusterColumns}}
	if cfg.Quick {
		p.warmup, p.window, p.probe = 200*time.Millisecond, windowMin, 200*time.Millisecond
	}
	p.e.DiskNeed = loadDiskNeed(p.warmup + p.window)
	p.e.Config = map[string]any{"quick": cfg.Quick, "seed": cfg.Seed, "fsync": true, "nodes": clusterNodes, "rf": clusterNodes,
		"acks": "all", "inflight": 5, "sticky_bytes": loadgen.StickyBytes, "warmup_s": p.warmup.Seconds(), "window_s": p.window.Seconds(), "linger_ms": 0, "compression": "none",
		"closed_loop_clients": clusterClients, "repetitions_headline": p.headline(), "repetitions": cfg.plain()}
	return p
}

// headline is how often a cell with a target runs.
func (p *clusterPlan) headline() int { return p.cfg.once(p.reps) }

// clusterColumns is the table of an experiment about clusters.
var clusterColumns = []column{
	{"throughput", "records/s", 1, "%.0f"}, {"response_p50", "p50 ms", 1e-6, "%.2f"}, {"response_p99", "p99 ms", 1e-6, "%.2f"},
	{"response_p999", "p99.9 ms", 1e-6, "%.2f"}, {"fsyncs", "fsyncs/s", 1, "%.0f"}, {"entries_per_sync", "entries/sync", 1, "%.1f"},
	{"broker_cpu", "broker cpu-s/M", 1, "%.2f"}, {"client_cpu", "client cpu-s/M", 1, "%.2f"}, {"disk_bytes", "disk B/B", 1, "%.2f"},
	{"broker_rss", "RSS MiB", 1.0 / mib, "%.0f"}, {"lost", "lost", 1, "%.0f"}, {"duplicated", "dup", 1, "%.0f"}, {"reordered", "reord", 1, "%.0f"},
}

// shape is how a load offers its records: as fast as it can unless it is told otherwise.
type shape struct {
	sizeBytes  int
	partitions int     // 8
	clients    int     // of a closed loop
	rate       float64 // records/s of an open one
	nodes      int     // brokers, each partition on all of them; 0: clusterNodes
	acks       string  // all
}

func (s shape) brokers() int { return cmp.Or(s.nodes, clusterNodes) }

// word names the shape as parameters do.
func (s shape) word() string {
	switch {
	case s.clients > 0:
		return "closed-" + strconv.Itoa(s.clients)
	case s.rate > 0:
		return "rate-" + strconv.FormatFloat(s.rate, 'f', -1, 64)
	}
	return "pipelined"
}

// params are what every cluster's arm says of itself. verified is what was
// compared with what had been acknowledged, after each window.
func (p *clusterPlan) params(block, system, verified string, s shape) map[string]string {
	return map[string]string{paramBlock: block, paramSystem: system, "verified": verified, "load": s.word(),
		"acks": cmp.Or(s.acks, "all"), "size": strconv.Itoa(s.sizeBytes), "partitions": strconv.Itoa(s.partitions), "nodes": strconv.Itoa(s.brokers())}
}

// spec is the load of a shape.
func (p *clusterPlan) spec(s shape) loadSpec {
	return loadSpec{Partitions: s.partitions, RF: s.brokers(), Acks: cmp.Or(s.acks, "all"), SizeBytes: s.sizeBytes, Rate: s.rate, ClosedLoop: s.clients,
		Warmup: p.warmup, Window: p.window, Probe: p.probe, Connect: p.connect}
}

// dyno adds an arm that is a cluster of dyno. up gives the arguments of `dyno up`
// beside the usual ones, and may write files that they name into the bed; nil is none.
func (p *clusterPlan) dyno(arm, block string, s shape, reps int, up func(b *bed) ([]string, error)) *Cell {
	spec := p.spec(s)
	p.e.Cells = append(p.e.Cells, Cell{
		Arm: arm, Block: block, Repetitions: reps, Params: p.params(block, "dyno", "all-read-back", s), NeedsDyno: true,
		Measure: func(ctx context.Context, b *bed) (err error) {
			var more []string
			if up != nil {
				if more, err = up(b); err != nil {
					return err
				}
			}
			b.compare = p.compare
			return b.load(ctx, s.brokers(), spec, more...)
		},
	})
	return &p.e.Cells[len(p.e.Cells)-1]
}

// nats adds an arm that is a cluster of NATS servers with a stream for each
// partition.
func (p *clusterPlan) nats(arm, block, sync string, s shape, reps int) *Cell {
	spec := natsSpec{Sync: sync, Streams: s.partitions, SizeBytes: s.sizeBytes, ClosedLoop: s.clients,
		Warmup: p.warmup, Window: p.window, Verify: natsRead}
	params := p.params(block, "nats", "counts-and-all-read-back", s)
	params["sync"] = sync
	p.e.Cells = append(p.e.Cells, Cell{
		Arm: arm, Block: block, Repetitions: reps, Params: params, NeedsPeers: true,
		Measure: func(ctx context.Context, b *bed) error { return b.loadNATS(ctx, spec) },
	})
	return &p.e.Cells[len(p.e.Cells)-1]
}

// atLeast promises that arm has at least that many times what against has.
func (p *clusterPlan) atLeast(name, measure, arm, against string, times float64) {
	p.e.Targets = append(p.e.Targets, Goal{Name: name, Arm: arm, Against: against, Measure: measure, AtLeast: times})
}

// atMost promises that arm has at most that many times what against has: that
// against has at least one part in times of what arm has.
func (p *clusterPlan) atMost(name, measure, arm, against string, times float64) {
	p.atLeast(name, measure, against, arm, 1/times)
}
