package bench

import (
	"fmt"
	"math"
	"strings"

	"dyno/bench/record"
	"dyno/engine/variants"
)

const (
	batchingQuestion = "What does proposing batches gain, and is the claimed 270x (37 to 10,000 records/s, never measured: three nodes, 64 clients, 1 KiB) reachable: " +
		"from one proposal for each request under a lock held until its commit, in a loop polled every 10 ms, with a sync and a nested metadata commit for each entry, " +
		"step by step to what is shipped, acks=all and fsync throughout?"
	batchingExpectation = "A: one request at a time through about six looks of 10 ms and four syncs, so 20 to 40 records/s, the origin's 37. B, without the lock, about 10x: all 64 are under way, " +
		"and every entry's syncs queue up. C, without polling, at most 2x: the syncs decide, six for each record on one disk. D, group commit, about 20x. D2, without the nested commit, " +
		"about 2x. E, a timer, is a step back for 64 clients, who are fewer than its 100 entries: 64 / 0.1 s = 640 records/s. F, natural batching, is as fast as D2 or faster, for one proposal costs " +
		"less CPU than many. In all 270x is reached, and by group commit and by letting requests go at once; batching proposals itself is the least of it."

	batchingClaim   = 270 // 10,000 / 37
	batchingClients = clusterClients
)

// batchingArms are the ladder: neighbours differ by one setting. D2 stands between D
// and E because the nested commit is a setting of its own.
var batchingArms = []slowArm{
	{"A-origin", variants.Config{Lock: variants.LockPartition, Batch: variants.BatchSingle, Poll: variants.Poll10ms, Sync: variants.SyncEach, Nested: true}},
	{"B-unlocked", variants.Config{Batch: variants.BatchSingle, Poll: variants.Poll10ms, Sync: variants.SyncEach, Nested: true}},
	{"C-events", variants.Config{Batch: variants.BatchSingle, Sync: variants.SyncEach, Nested: true}},
	{"D-group-commit", variants.Config{Batch: variants.BatchSingle, Nested: true}},
	{"D2-not-nested", variants.Config{Batch: variants.BatchSingle}},
	{"E-timer", variants.Config{Batch: variants.BatchTimer}},
	{"F-natural", variants.Config{}},
}

var (
	batchingProducers  = []int{1, 16, 64, 256, 1024}
	batchingPartitions = []struct {
		family string
		n      int
	}{{"one", 1}, {"three", 3}, {"sixteen", 16}}
)

// lockedMost is how many clients one partition may have in the arm that answers one at
// a time: more would wait longer than a client does (10 s), and try again.
const lockedMost = 64

func batchingExperiment(cfg ExperimentConfig) Experiment {
	p := newSlowPlan(cfg, "batching", batchingQuestion, batchingExpectation)
	p.e.Config["claimed"] = "270x: from 37 to 10000 records/s"
	p.e.Config["locked_clients_max"] = fmt.Sprintf("%d a partition in A: more wait longer than a client does", lockedMost)
	main := shape{sizeBytes: kib, partitions: 1, clients: batchingClients}
	for _, a := range batchingArms {
		p.slow(familyHeadline, familyHeadline, a, main, p.headline())
	}
	for _, parts := range batchingPartitions {
		for _, size := range []int{256, kib} {
			for _, clients := range batchingProducers {
				s := shape{sizeBytes: size, partitions: parts.n, clients: clients}
				if s == main {
					continue
				}
				arms := batchingArms
				if clients > lockedMost*parts.n {
					arms = arms[1:]
				}
				p.slowBlock(parts.family, arms, s)
			}
		}
	}
	at := func(i int) string { return familyHeadline + "/" + batchingArms[i].name }
	first, unbatched, timer, last := at(0), at(4), at(5), at(6)
	p.atLeast("the claim: throughput of F against A", "throughput", last, first, batchingClaim)
	p.atLeast("throughput, natural batching against one proposal for each request", "throughput", last, unbatched, 1)
	p.atLeast("throughput, natural batching against a timer", "throughput", last, timer, 1)
	p.e.Answer = batchingAnswer
	return p.e
}

// batchingAnswer says from which ingredients the factor comes.
func batchingAnswer(run *record.Run) (string, []record.Factor) {
	steps := ladder(run, batchingArms, batchingClaim)
	n := len(batchingArms) - 1
	if len(steps) != n+1 {
		return "", steps
	}
	var words []string
	for i, f := range steps[:n] {
		words = append(words, fmt.Sprintf("%s %s", batchingArms[i+1].name, times(f.Ratio)))
	}
	own, ok := factor(run, "batching alone: "+batchingArms[4].name+" -> "+batchingArms[n].name, "throughput",
		familyHeadline+"/"+batchingArms[n].name, familyHeadline+"/"+batchingArms[4].name, 0)
	if !ok {
		return "", steps
	}
	all := steps[n]
	word := "is reached"
	switch {
	case all.High < batchingClaim:
		word = "is not reached"
	case all.Low < batchingClaim:
		word = "may be reached or not"
	}
	last := median(run, familyHeadline+"/"+batchingArms[n].name, "throughput")
	text := fmt.Sprintf("270x %s: from %.0f records/s (the origin measured 37) to %.0f (it hoped for 10000, of which this is %s) is %s; the steps, each against the one before: %s; their product %s. "+
		"Proposing batches by itself (F against D2) gains %s", word, median(run, familyHeadline+"/"+batchingArms[0].name, "throughput"), last, times(last/10000), times(all.Ratio),
		strings.Join(words, ", "), times(product(steps[:n])), times(own.Ratio))
	if math.Abs(product(steps[:n])/all.Ratio-1) > 0.2 {
		text += "; product and whole differ by more than a fifth, so the repetitions scatter"
	}
	return text, append(steps, own)
}
