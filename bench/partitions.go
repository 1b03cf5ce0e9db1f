package bench

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"dyno/bench/record"
)

const (
	partitionsQuestion = "How does cost grow with the number of partitions: 1 to 4,096 that share one byte rate, and 0 to 10,000 that nobody uses, on three brokers?"
	partitionsExpected = "The log is one, so at one rate the syncs stay within 1.2x from 8 to 512 partitions; batches get smaller as records spread, so each record costs more CPU, and at 4,096 " +
		"partitions the rate is still kept. Partitions that nobody uses go quiet: CPU, wire and syncs do not grow with them, memory does, by at most 16 KiB a replica. " +
		"10,000 are as quiet as 1,000 and take at most 10 % of a core in all brokers."

	partitionsRate    = 20_000 // records/s of 1 KiB
	partitionsConnect = 3 * time.Minute
	partitionsMany    = 10_000
	// partitionsLimit bounds a repetition with partitionsMany: made, written to once,
	// quiet and looked at.
	partitionsLimit = 20 * time.Minute
	idleFamily      = "idle"
)

var (
	partitionsCounts      = []int{1, 8, 64, 512, 4096}
	partitionsCountsQuick = []int{8, 512}
	partitionsIdle        = []int{0, 100, 1000, partitionsMany}
	partitionsIdleQuick   = []int{0, 100}
)

var partitionsUnits = withUnits(loadUnits, idleUnits)

var partitionsColumns = slices.Concat([]column{
	{"throughput", "records/s", 1, "%.0f"}, {"response_p50", "p50 ms", 1e-6, "%.2f"}, {"response_p99", "p99 ms", 1e-6, "%.2f"}, {"response_p999", "p99.9 ms", 1e-6, "%.2f"},
	{"fsyncs", "fsyncs/s", 1, "%.0f"}, {"entries_per_sync", "entries/sync", 1, "%.1f"}, {"broker_cpu", "broker cpu-s/M", 1, "%.2f"}, {"client_cpu", "client cpu-s/M", 1, "%.2f"},
	{"broker_rss", "RSS MiB", 1.0 / mib, "%.0f"}, {"lost", "lost", 1, "%.0f"},
}, idleColumns)

// withUnits joins lists of units that share some.
func withUnits(lists ...[]record.Unit) (out []record.Unit) {
	for _, u := range slices.Concat(lists...) {
		if !slices.ContainsFunc(out, func(o record.Unit) bool { return o.Name == u.Name }) {
			out = append(out, u)
		}
	}
	return out
}

func partitionsExperiment(cfg ExperimentConfig) Experiment {
	p := newClusterPlan(cfg, "partitions", partitionsQuestion, partitionsExpected)
	p.e.Units, p.e.Columns, p.connect = partitionsUnits, partitionsColumns, partitionsConnect
	delete(p.e.Config, "closed_loop_clients")
	p.e.Config["rate"] = partitionsRate
	counts, idle := partitionsCounts, partitionsIdle
	if cfg.Quick {
		counts, idle = partitionsCountsQuick, partitionsIdleQuick
	}
	for _, n := range counts {
		reps := cfg.plain()
		if n != 1 && n != 64 {
			reps = p.headline()
		}
		p.dyno(loadArm(n), "load", shape{sizeBytes: kib, partitions: n, rate: partitionsRate}, reps, nil)
	}
	p.idle(idle)
	p.atMost("syncs/s at one rate, 8 partitions against 512", "fsyncs", loadArm(512), loadArm(8), 1.2)
	if !cfg.Quick {
		p.atLeast("throughput at one rate, 4,096 partitions against 8", "throughput", loadArm(4096), loadArm(8), 0.95)
	}
	p.e.Answer = partitionsAnswer
	return p.e
}

func loadArm(n int) string { return "load/" + strconv.Itoa(n) }
func idleArm(n int) string { return idleFamily + "/" + strconv.Itoa(n) }

// idle adds the cells of the experiment idle, with more partitions.
func (p *clusterPlan) idle(counts []int) {
	window, quiet, reps := idleWindow, idleQuiet, p.cfg.once(plainReps)
	if p.cfg.Quick {
		window, quiet = 2*time.Second, idleQuickQuiet
	}
	p.e.Config["idle_window_s"], p.e.Config["idle_quiet_s"] = window.Seconds(), quiet.Seconds()
	p.e.Config["idle_limit_s"] = partitionsLimit.Seconds()
	replicas := map[string]int{}
	for _, n := range counts {
		arm := idleArm(n)
		p.e.Cells = append(p.e.Cells, Cell{Arm: arm, Block: idleFamily, Repetitions: reps, NeedsDyno: true,
			Params: map[string]string{paramBlock: idleFamily, "partitions": strconv.Itoa(n)},
			Measure: func(ctx context.Context, b *bed) error {
				return b.within(ctx, partitionsLimit, func(ctx context.Context) error { return b.idle(ctx, n, false, quiet, window) })
			}})
		if n < manyPartitions {
			continue
		}
		replicas[arm] = n
		cpu := idleMost
		if n > manyPartitions {
			cpu = 2 * idleMost
		}
		word := fmt.Sprintf(", %d partitions that nobody uses", n)
		p.e.Targets = append(p.e.Targets, Goal{Name: "CPU of three brokers" + word, Arm: arm, Measure: "cpu", AtMost: cpu, Worst: true},
			Goal{Name: "resident memory of a replica" + word, Arm: arm, Measure: "rss_per_replica", AtMost: idlePerReplica, Worst: true})
	}
	p.e.Derive = func(run *record.Run) { perReplicaOf(run, idleArm(0), replicas) }
}

// within gives the work of a repetition a limit. One that does not end by then says
// nothing but that.
func (b *bed) within(ctx context.Context, limit time.Duration, work func(context.Context) error) error {
	limited, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	err := work(limited)
	if err != nil && ctx.Err() == nil && errors.Is(limited.Err(), context.DeadlineExceeded) {
		b.rep.Status, b.rep.Problem = record.Invalid, fmt.Sprintf("it took longer than %v", limit)
		return nil
	}
	return err
}

// partitionsAnswer says how costs grow.
func partitionsAnswer(run *record.Run) (string, []record.Factor) {
	var busy, quiet []string
	for _, n := range partitionsCounts {
		if cpu := median(run, loadArm(n), "broker_cpu"); cpu > 0 {
			busy = append(busy, fmt.Sprintf("%d: %.1f, p99 %.1f ms, %.0f syncs/s", n, cpu, median(run, loadArm(n), "response_p99")/1e6, median(run, loadArm(n), "fsyncs")))
		}
	}
	for _, n := range partitionsIdle {
		if rss := median(run, idleArm(n), "rss"); rss > 0 {
			quiet = append(quiet, fmt.Sprintf("%d: %.2f %% and %s", n, median(run, idleArm(n), "cpu"), byteWord(int64(rss))))
		}
	}
	var words []string
	if len(busy) > 0 {
		words = append(words, fmt.Sprintf("CPU s of the brokers for a million records at %d/s by partitions, %s", partitionsRate, strings.Join(busy, "; ")))
	}
	if len(quiet) > 0 {
		words = append(words, "CPU of all brokers and memory of each with partitions that nobody uses, "+strings.Join(quiet, "; "))
	}
	return join(words...), nil
}
