package bench

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"dyno/bench/record"
	"dyno/engine/variants"
)

const (
	rwlockQuestion = "What does a lock on the produce path cost, and what of the claimed 15.7x (1,174 to about 18,500 records/s: one node, 128 clients, 256 B) " +
		"is the lock: with none, an RWMutex read-locked for each request, the same with a writer every 10 ms, a Mutex, a lock held across the durable write, " +
		"and the origin's whole change, a read lock with each request waiting out a 100 ms commit window?"
	rwlockExpectation = "A lock that is let go before the disk is asked costs less than the noise: at most 5 %, shared or not, with a writer or without, for it is held for " +
		"a microsecond and a request waits for a sync. Held across the durable write it allows one request for each sync, whatever the number of clients. A 100 ms window " +
		"answers 128 clients at most 1,280 times a second, which is the origin's 1,174. So the 15.7x is the wait, and the lock is none of it; the arm that reproduces it is " +
		"the last. The map that replicas are found in is read without a lock at a few tens of ns; a read lock costs several times that when cores share it."

	rwlockClaim = 15.7 // 18,500 / 1,174
	// rwlockCheap is how much of the throughput without a lock one must keep that is
	// let go before the disk is asked.
	rwlockCheap   = 0.95
	rwlockClients = 128
	rwlockSize    = 256
)

// rwlockArms; the first is what the others are compared with.
var rwlockArms = []slowArm{
	{"none", variants.Config{}},
	{"read", variants.Config{Lock: variants.LockRead}},
	{"read-writer", variants.Config{Lock: variants.LockReadWriter}},
	{"mutex", variants.Config{Lock: variants.LockMutex}},
	{"exclusive", variants.Config{Lock: variants.LockExclusive}},
	{"origin", variants.Config{Lock: variants.LockRead, Batch: variants.BatchWindow}},
}

// rwlockLadder leads from the origin's path to the shipped one, one setting a step.
var rwlockLadder = []slowArm{rwlockArms[5], rwlockArms[1], rwlockArms[0]}

var (
	rwlockProducers = []int{1, 16, 64, 128, 512}
	rwlockSizes     = []int{256, kib}
)

func rwlockExperiment(cfg ExperimentConfig) Experiment {
	p := newSlowPlan(cfg, "rwlock", rwlockQuestion, rwlockExpectation)
	p.e.Config["nodes"], p.e.Config["rf"] = "1 and 3", "1 and 3"
	p.e.Config["claimed"] = "15.7x: from 1174 to about 18500 records/s"
	p.e.Units = slices.Concat(loadUnits, []record.Unit{lookupUnit, writesUnit})
	one := shape{sizeBytes: rwlockSize, partitions: 1, clients: rwlockClients, nodes: 1}
	for _, a := range rwlockArms {
		p.slow(familyHeadline, familyHeadline, a, one, p.headline())
	}
	for _, n := range []struct {
		family string
		nodes  int
	}{{"one", 1}, {"three", clusterNodes}} {
		for _, size := range rwlockSizes {
			for _, clients := range rwlockProducers {
				s := shape{sizeBytes: size, partitions: 1, clients: clients, nodes: n.nodes}
				if s != one {
					p.slowBlock(n.family, rwlockArms, s)
				}
			}
		}
	}
	p.lookups()
	for _, a := range []string{"read", "read-writer", "mutex"} {
		p.atLeast("throughput with lock "+a+" against none", "throughput", familyHeadline+"/"+a, familyHeadline+"/none", rwlockCheap)
	}
	p.atLeast("the claim: throughput without a lock against the origin's path", "throughput", familyHeadline+"/none", familyHeadline+"/origin", rwlockClaim)
	p.e.Answer = rwlockAnswer
	return p.e
}

// slowBlock adds all arms with one load, next to each other. A quick run leaves it out:
// the headline shows that every arm runs.
func (p *clusterPlan) slowBlock(family string, arms []slowArm, s shape) {
	if p.cfg.Quick {
		return
	}
	block := fmt.Sprintf("%s-%d-%s-%d", family, s.clients, sizeName(s.sizeBytes), s.partitions)
	for _, a := range arms {
		p.slow(family, block, a, s, p.cfg.plain())
	}
}

// rwlockAnswer says which ingredient explains how much, from the headline cells.
func rwlockAnswer(run *record.Run) (string, []record.Factor) {
	steps := ladder(run, rwlockLadder, rwlockClaim)
	factors := steps
	var cost []string
	nearest, off := "", math.Inf(1)
	for _, a := range rwlockArms[1:] {
		f, ok := factor(run, "none against "+a.name, "throughput", familyHeadline+"/none", familyHeadline+"/"+a.name, 0)
		if !ok {
			continue
		}
		if a.name != "origin" { // the ladder has it
			factors = append(factors, f)
		}
		cost = append(cost, a.name+" "+times(f.Ratio))
		if d := math.Abs(share(f.Ratio, rwlockClaim) - 100); d < off {
			nearest, off = a.name, d
		}
	}
	if len(steps) != len(rwlockLadder) || nearest == "" {
		return lookupAnswer(run), factors
	}
	wait, lock, all := steps[0].Ratio, steps[1].Ratio, steps[2].Ratio
	text := fmt.Sprintf("throughput with no lock over that with one: %s. Of the claimed 15.7x the wait for the window explains %.0f %% (%s) and the read lock %.0f %% (%s); both together are %s. "+
		"The arm nearest to 15.7x is %s. With it %.0f records/s (the origin measured 1174), without a lock %.0f (the origin about 18500)",
		strings.Join(cost, ", "), share(wait, rwlockClaim), times(wait), share(lock, rwlockClaim), times(lock), times(all),
		nearest, median(run, familyHeadline+"/origin", "throughput"), median(run, familyHeadline+"/none", "throughput"))
	return join(text, lookupAnswer(run)), factors
}

// join puts sentences together that may be empty.
func join(texts ...string) string {
	var out []string
	for _, t := range texts {
		if t != "" {
			out = append(out, t)
		}
	}
	return strings.Join(out, "; ")
}
