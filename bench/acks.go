package bench

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"syscall"

	"dyno/bench/record"
)

const (
	acksQuestion = "What do acks 0, 1 and all cost, saturated and at one rate, and how many records that were acknowledged are gone after kill -9 of the leader, of all brokers, " +
		"and after a power cut of all of them that drops every unsynced write?"
	acksExpected = "acks=1 waits for the leader's own sync, acks=all for that of a majority, which goes on at the same time: saturated they differ by less than 30 %, and at one rate the p99 " +
		"of acks=all is at most twice that of acks=1. acks=all loses nothing, whatever is killed or cut. acks=1 loses what a killed leader had synced and no other node had: a few records a " +
		"kill, often none, for peers are sent to before the sync ends; the same where all are gone and others elect first. acks=0 counts a record as acknowledged once the socket took it: " +
		"what was on its way to a killed node, or not synced at a cut, is lost. There are no relaxed modes to compare: no topic can opt out of the sync."

	acksRate     = 20_000 // records/s of 1 KiB, that every mode carries
	acksLossRate = recoveryRate
	acksKills    = 3 // of the leader, in one repetition
)

var acksModes = []string{"0", "1", "all"}

// acksUnits has errors beside what a load measures.
var acksUnits = slices.Concat(loadUnits, []record.Unit{{Name: "errors", Unit: "errors", Better: "lower"}})

var acksColumns = []column{
	{"throughput", "records/s", 1, "%.0f"}, {"response_p50", "p50 ms", 1e-6, "%.2f"}, {"response_p99", "p99 ms", 1e-6, "%.2f"}, {"response_p999", "p99.9 ms", 1e-6, "%.2f"},
	{"fsyncs", "fsyncs/s", 1, "%.0f"}, {"broker_cpu", "broker cpu-s/M", 1, "%.2f"}, {"client_cpu", "client cpu-s/M", 1, "%.2f"}, {"acked", "acknowledged", 1, "%.0f"},
	{"lost", "lost", 1, "%.0f"}, {"duplicated", "dup", 1, "%.0f"}, {"reordered", "reord", 1, "%.0f"}, {"errors", "errors", 1, "%.0f"},
}

func acksExperiment(cfg ExperimentConfig) Experiment {
	p := newClusterPlan(cfg, "acks", acksQuestion, acksExpected)
	p.e.Units, p.e.Columns = acksUnits, acksColumns
	delete(p.e.Config, "closed_loop_clients")
	p.e.Config["acks"], p.e.Config["rate"], p.e.Config["rate_losses"] = strings.Join(acksModes, ","), acksRate, acksLossRate
	p.e.Config["lost_is"] = "records that were acknowledged and are not there when everything is read back; at acks=0 acknowledged means handed to the socket"
	p.e.Config["power_cut_is"] = "three nodes in one process on disks in memory: all disks stop at once and keep what was synced, and a part of the rest that the seed chooses"
	for _, mode := range acksModes {
		s := shape{sizeBytes: kib, partitions: clusterParts, acks: mode}
		p.dyno("saturate/acks-"+mode, "saturate", s, p.headline(), nil)
		s.rate = acksRate
		if !cfg.Quick || mode == "all" {
			p.dyno("rate/acks-"+mode, "rate", s, p.headline(), nil)
		}
		p.losses(mode)
	}
	p.atLeast("throughput, saturated, acks=all against acks=1", "throughput", "saturate/acks-all", "saturate/acks-1", 0.7)
	if !cfg.Quick {
		p.atMost("p99 at one rate, acks=1 against acks=all", "response_p99", "rate/acks-all", "rate/acks-1", 2)
	}
	p.e.Answer = acksAnswer
	return p.e
}

// acksLosses are what happens to the cluster, by family of arms.
var acksLosses = []string{"kill-leader", "kill-all", "power"}

// losses adds the arms of one mode that count what is lost. A quick run has each way
// and each mode once or twice.
func (p *clusterPlan) losses(mode string) {
	reps, kill := p.cfg.once(plainReps), acksKills
	if p.cfg.Quick {
		kill = 1
	}
	quick := map[string][]string{"kill-leader": {"0", "all"}, "kill-all": {"1"}, "power": {"1", "all"}}
	for _, what := range acksLosses {
		if p.cfg.Quick && !slices.Contains(quick[what], mode) {
			continue
		}
		s := shape{sizeBytes: kib, partitions: clusterParts, acks: mode, rate: acksLossRate}
		spec := p.spec(s)
		spec.Producers, spec.Spread, spec.Probe, spec.Warmup = 1, 1, -1, 0
		measure := func(ctx context.Context, b *bed) error { return b.power(ctx, spec, s.brokers()) }
		switch what {
		case "kill-leader":
			measure = func(ctx context.Context, b *bed) error {
				return b.outage(ctx, spec, loadSpec{}, lossesOnly(kills(kill)))
			}
		case "kill-all":
			measure = func(ctx context.Context, b *bed) error {
				return b.outage(ctx, spec, loadSpec{}, lossesOnly(whole(syscall.SIGKILL)))
			}
		}
		arm := what + "/acks-" + mode
		params := p.params(what, "dyno", "all-read-back", s)
		params["event"] = what
		p.e.Cells = append(p.e.Cells, Cell{Arm: arm, Block: what, Repetitions: reps, Params: params, NeedsDyno: what != "power", Measure: measure})
		if mode == "all" {
			p.e.Targets = append(p.e.Targets, Goal{Name: "acknowledged records lost at acks=all, " + what, Arm: arm, Measure: "lost", AtMost: 0, Worst: true})
		}
	}
}

// lossesOnly lets a story happen and keeps none of its times: at acks=0 they mean
// nothing.
func lossesOnly(story func(context.Context, *outage) error) func(context.Context, *outage) error {
	return func(ctx context.Context, o *outage) error {
		err := story(ctx, o)
		clear(o.found)
		return err
	}
}

// acksAnswer counts what each mode lost.
func acksAnswer(run *record.Run) (string, []record.Factor) {
	var words []string
	for _, mode := range acksModes {
		var lost []string
		for _, what := range acksLosses {
			arm := run.Arm(what + "/acks-" + mode)
			if arm == nil || len(arm.Repetitions) == 0 {
				continue
			}
			gone, acked := 0.0, 0.0
			for _, rep := range arm.Repetitions {
				gone, acked = gone+rep.Values["lost"], acked+rep.Values["acked"]
			}
			lost = append(lost, fmt.Sprintf("%s %.0f of %.0f", what, gone, acked))
		}
		if len(lost) > 0 {
			words = append(words, fmt.Sprintf("acks=%s lost: %s", mode, strings.Join(lost, ", ")))
		}
	}
	return join(words...), nil
}
