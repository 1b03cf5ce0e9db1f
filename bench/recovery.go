package bench

import (
	"context"
	"fmt"
	"strconv"
	"syscall"

	"dyno/bench/record"
)

const (
	recoveryQuestion = "How long do writes stand still when the node that leads them is killed, when nodes are restarted in turn, and when all of them " +
		"are gone at once; and does the producer see an error, or lose a record?"
	recoveryExpectation = "The connections of a killed process end with it, so the others ask for votes at once: writes resume after a quarter of a second in the " +
		"median. Where that hint is missed it takes an election timeout (600 ms) and a retry of the client, so 2.5 s are never reached. A node that is asked to stop hands over " +
		"first: no partition stands still for more than half a second, and no error reaches the producer. 1,000 partitions that start together elect their leaders in " +
		"parallel and share the log's syncs: 10 s are enough. Nothing acknowledged is lost, twice there or out of order."

	recoveryRate     = 5_000 // records/s of 1 KiB, one after the other to each partition
	recoveryFullRate = 2_000 // of the arms with 1,000 partitions: each has two a second, or one waiting
	recoveryKills    = 9     // of one repetition: 54 in six
	recoveryFill     = 128 * kib
)

// recoveryUnits declares what an outage measures.
var recoveryUnits = []record.Unit{
	{Name: "resume_median", Unit: "ns", Better: "lower"},
	{Name: "resume_worst", Unit: "ns", Better: "lower"},
	{Name: "rejoin", Unit: "ns", Better: "lower"},
	{Name: "stall_max", Unit: "ns", Better: "lower"},
	{Name: "restart", Unit: "ns", Better: "lower"},
	{Name: "full", Unit: "ns", Better: "lower"},
	{Name: "full_ready", Unit: "ns", Better: "lower"},
	{Name: "full_acked", Unit: "ns", Better: "lower"},
	{Name: "stop", Unit: "ns", Better: "lower"},
	{Name: "errors", Unit: "errors", Better: "lower", Exact: true},
	{Name: "lost", Unit: "lost", Better: "lower", Exact: true},
	{Name: "duplicated", Unit: "duplicated", Better: "lower", Exact: true},
	{Name: "reordered", Unit: "reordered", Better: "lower", Exact: true},
	{Name: "corrupted", Unit: "corrupted", Better: "lower", Exact: true},
	{Name: "acked", Unit: "acked"},
	{Name: "kills", Unit: "kills"},
	{Name: "killed_nodes", Unit: "nodes"},
}

var recoveryColumns = []column{
	{"kills", "kills", 1, "%.0f"}, {"resume_median", "resume ms", 1e-6, "%.0f"}, {"resume_worst", "worst ms", 1e-6, "%.0f"}, {"rejoin", "rejoin s", 1e-9, "%.2f"},
	{"stall_max", "stall ms", 1e-6, "%.0f"}, {"restart", "restart s", 1e-9, "%.2f"}, {"stop", "stop s", 1e-9, "%.2f"},
	{"full_ready", "ready s", 1e-9, "%.2f"}, {"full_acked", "acked s", 1e-9, "%.2f"}, {"errors", "errors", 1, "%.0f"}, {"acked", "records", 1, "%.0f"},
	{"lost", "lost", 1, "%.0f"}, {"duplicated", "dup", 1, "%.0f"}, {"reordered", "reord", 1, "%.0f"},
}

// recoveryMeans says what the values are; the result carries it.
var recoveryMeans = map[string]any{
	"resume_is": "from the kill to the first acknowledgement of a record that the client got after the kill, of each partition that the killed node led; median and worst over kills and partitions of a repetition",
	"rejoin_is": "from the start of a killed node's new process until it is in every in-sync set and has committed what the others had when it served; median",
	"stall_is":  "the longest time in which some partition had no acknowledgement, from the first SIGTERM until all nodes are back and lead what they are to lead",
	"full_is":   "from the start of the processes until every partition has acknowledged a record and every node says that it serves",
}

func recoveryExperiment(cfg ExperimentConfig) Experiment {
	e := Experiment{Name: "recovery", Question: recoveryQuestion, Expectation: recoveryExpectation, Units: recoveryUnits, Columns: recoveryColumns, DiskNeed: 4 << 30}
	p := &recoveryPlan{cfg: cfg, e: &e, kills: recoveryKills, partitions: manyPartitions, fill: recoveryFill}
	if cfg.Quick {
		p.kills, p.partitions, p.fill = 2, manyPartitions/10, 4*kib
	}
	e.Config = map[string]any{"quick": cfg.Quick, "seed": cfg.Seed, "fsync": true, "nodes": clusterNodes, "rf": clusterNodes, "acks": "all", "record_bytes": kib,
		"rate": recoveryRate, "rate_full": recoveryFullRate, "kills": p.kills, "fill_records": p.fill, "linger_ms": 0, "compression": "none",
		"client_retry_ms": steadyRetry.Milliseconds(), "repetitions_headline": cfg.once(clusterReps), "repetitions": cfg.once(plainReps)}
	for name, text := range recoveryMeans {
		e.Config[name] = text
	}
	p.one()
	p.all()
	return e
}

// recoveryPlan builds the cells: a producer that goes on, three brokers that do not.
type recoveryPlan struct {
	cfg        ExperimentConfig
	e          *Experiment
	kills      int
	partitions int   // of the arms in which all nodes go
	fill       int64 // records that those arms have before
}

func (p *recoveryPlan) arm(name, signal string, reps, partitions int, rate float64, fill int64, story func(context.Context, *outage) error) {
	spec := loadSpec{Partitions: partitions, RF: clusterNodes, Acks: "all", SizeBytes: kib, Rate: rate, Producers: 1, Spread: 1, Probe: -1}
	before := loadSpec{Partitions: partitions, RF: clusterNodes, Acks: "all", SizeBytes: kib, Records: fill, Probe: -1}
	p.e.Cells = append(p.e.Cells, Cell{
		Arm: name, Block: name, Repetitions: reps, NeedsDyno: true,
		Params: map[string]string{paramBlock: name, "signal": signal, "partitions": strconv.Itoa(partitions), "load": shape{rate: rate}.word(),
			"records-before": strconv.FormatInt(fill, 10), "verified": "all-read-back"},
		Measure: func(ctx context.Context, b *bed) error { return b.outage(ctx, spec, before, story) },
	})
}

// one: a node at a time.
func (p *recoveryPlan) one() {
	p.arm("kill", "KILL", p.cfg.once(clusterReps), clusterParts, recoveryRate, 0, kills(p.kills))
	p.atMost(fmt.Sprintf("leader killed %d times, writes resume", p.kills*p.cfg.once(clusterReps)), "kill", "resume_median", 1e9, false)
	p.atMost("the same, at worst", "kill", "resume_worst", 2.5e9, true)
	p.arm("roll", "TERM", p.cfg.once(clusterReps), clusterParts, recoveryRate, 0, rolls)
	p.atMost("nodes restarted in turn, longest stall of a partition", "roll", "stall_max", 500e6, true)
	p.atMost("nodes restarted in turn, errors of the producer", "roll", "errors", 0, true)
}

// all: every node at once.
func (p *recoveryPlan) all() {
	for _, a := range []struct {
		name, signal string
		sig          syscall.Signal
	}{{"full", "TERM", syscall.SIGTERM}, {"full-kill", "KILL", syscall.SIGKILL}} {
		p.arm(a.name, a.signal, p.cfg.once(plainReps), p.partitions, recoveryFullRate, p.fill, whole(a.sig))
		p.atMost(fmt.Sprintf("all nodes ended at once with SIG%s, %d partitions back", a.signal, p.partitions), a.name, "full", 10e9, true)
	}
}

func (p *recoveryPlan) atMost(name, arm, measure string, most float64, worst bool) {
	p.e.Targets = append(p.e.Targets, Goal{Name: name, Arm: arm, Measure: measure, AtMost: most, Worst: worst})
}
