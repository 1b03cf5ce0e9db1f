package bench

import "fmt"

const (
	replicationQuestion = "What does a record cost that three brokers keep and a majority has synced: against NATS JetStream with the same promise, and " +
		"from 8 to 1,000 partitions?"
	replicationExpectation = "dyno takes 3x the records of 1 KiB of NATS that syncs always: a batch is one Raft entry and all partitions of a broker share a sync, " +
		"where each stream of NATS syncs by itself. With 64 clients of one record each the syncs decide alone: 2x, and half the p99. " +
		"NATS as shipped syncs every two minutes, so a power cut of all servers loses what it acknowledged; it is there for context. " +
		"1,000 partitions take at least 0.8x of what 8 take, at one rate and saturated, and at one rate sync at most 1.2x as often: the log is one."

	// fixedRate is offered to 8 and to 1,000 partitions, records/s of 1 KiB. Two
	// busy cores were seen to carry 150,000 in 8 and 60,000 in 1,000.
	fixedRate      = 40_000
	manyPartitions = 1000
)

func replicationExperiment(cfg ExperimentConfig) Experiment {
	p := newClusterPlan(cfg, "replication", replicationQuestion, replicationExpectation)
	p.e.Config["fixed_rate"] = fixedRate
	p.pipelined()
	p.closed()
	p.partitions()
	return p.e
}

// pipelined: as fast as it goes, against the peer.
func (p *clusterPlan) pipelined() {
	for _, size := range []int{kib, 256} {
		reps := p.cfg.plain()
		if size == kib {
			reps = p.headline()
		}
		name := sizeName(size)
		block, s := "pipelined-"+name, shape{sizeBytes: size, partitions: clusterParts}
		dyno, always := "pipelined/dyno-"+name, "pipelined/nats-always-"+name
		p.dyno(dyno, block, s, reps, nil)
		p.nats(always, block, natsAlways, s, reps)
		if size == kib {
			p.nats("pipelined/nats-default-"+name, block, natsDefault, s, p.cfg.plain())
			p.atLeast("throughput, pipelined 1 KiB, dyno against NATS that syncs always", "throughput", dyno, always, 3)
		}
	}
}

// closed: clients that wait for each answer.
func (p *clusterPlan) closed() {
	const block = "closed"
	s := shape{sizeBytes: kib, partitions: clusterParts, clients: clusterClients}
	dyno, always := "closed/dyno", "closed/nats-always"
	p.dyno(dyno, block, s, p.headline(), nil)
	p.nats(always, block, natsAlways, s, p.headline())
	p.nats("closed/nats-default", block, natsDefault, s, p.cfg.plain())
	clients := fmt.Sprintf("%d clients with one record each", clusterClients)
	p.atLeast("throughput, "+clients+", dyno against NATS that syncs always", "throughput", dyno, always, 2)
	p.atMost("p99, "+clients+", NATS that syncs always against dyno", "response_p99", dyno, always, 0.5)
}

// partitions: the same bytes over more partitions.
func (p *clusterPlan) partitions() {
	for _, load := range []struct {
		name string
		rate float64
	}{{"rate", fixedRate}, {"saturate", 0}} {
		few, many := fmt.Sprintf("partitions/%s-%d", load.name, clusterParts), fmt.Sprintf("partitions/%s-%d", load.name, manyPartitions)
		s := shape{sizeBytes: kib, partitions: clusterParts, rate: load.rate}
		p.dyno(few, "partitions-"+load.name, s, p.headline(), nil)
		s.partitions = manyPartitions
		p.dyno(many, "partitions-"+load.name, s, p.headline(), nil)
		what := "saturated"
		if load.rate > 0 {
			what = "at one rate"
			p.atMost("syncs/s at one rate, 8 partitions against 1,000", "fsyncs", many, few, 1.2)
		}
		p.atLeast("throughput "+what+", 1,000 partitions against 8", "throughput", many, few, 0.8)
	}
}
