package bench

import (
	"context"
	"fmt"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"dyno/bench/record"
)

const (
	idleQuestion    = "What do partitions cost that nobody uses: CPU, memory of each replica, bytes between the nodes and syncs, with 0, 8 and 1,000 of them on three brokers?"
	idleExpectation = "Groups whose replicas match go quiet: no ticks, no messages, no syncs, whatever their number; what is left is the pulse of each pair of nodes. " +
		"So 1,000 partitions use at most 5 % of one core in all three brokers, as little as none. A replica is its Raft state and a few small structures: at most 16 KiB " +
		"of resident memory once the node has given back what making it took. A restart changes nothing of that."

	idleWindow = 20 * time.Second
	// idleQuiet is how long nothing may have happened before the window begins: the
	// brokers give back memory after 30 s (engine/rest.go).
	idleQuiet      = 35 * time.Second
	idleQuietTries = 6               // times idleQuiet is waited for before the arm says nothing
	idleLooks      = 7               // at the counters while idleQuiet passes: each look costs memory
	idleRecord     = 100             // bytes of the one record in each partition
	idleFillRate   = 2_000           // records/s
	idlePerReplica = 16 << 10        // bytes
	idleQuickQuiet = 2 * time.Second // of a quick run, which gives nothing back
	idleMost       = 5.0             // percent of one core
	// idleConnect is how long every partition may take to get a leader.
	idleConnect = 3 * time.Minute
)

// The brokers' counters of what happens in groups.
const (
	metricAppends  = "dyno_raft_appends_total"
	metricMessages = "dyno_raft_messages_total"
	metricWire     = "dyno_peer_sent_bytes_total"
	metricHeap     = "go_memstats_heap_inuse_bytes"
	metricRoutines = "go_goroutines"
)

var idleUnits = []record.Unit{
	{Name: "cpu", Unit: "%", Better: "lower"},
	{Name: "rss", Unit: "B", Better: "lower"},
	{Name: "rss_per_replica", Unit: "B", Better: "lower"},
	{Name: "heap", Unit: "B", Better: "lower"},
	{Name: "wire", Unit: "B/s", Better: "lower"},
	{Name: "messages", Unit: "1/s", Better: "lower"},
	{Name: "syncs", Unit: "1/s", Better: "lower"},
	{Name: "goroutines", Unit: "goroutines"},
	{Name: "quiet_after", Unit: "ns"},
}

var idleColumns = []column{
	{"cpu", "CPU % of a core", 1, "%.2f"}, {"rss", "RSS MiB/broker", 1.0 / mib, "%.1f"}, {"rss_per_replica", "RSS KiB/replica", 1.0 / kib, "%.1f"},
	{"heap", "heap MiB/broker", 1.0 / mib, "%.1f"}, {"wire", "wire B/s", 1, "%.0f"}, {"messages", "messages/s", 1, "%.1f"}, {"syncs", "syncs/s", 1, "%.2f"},
	{"goroutines", "goroutines/broker", 1, "%.0f"}, {"quiet_after", "quiet after s", 1e-9, "%.1f"},
}

// idleArms; the first is what the others' memory is compared with.
var idleArms = []struct {
	name       string
	partitions int
	restarted  bool
}{{"0", 0, false}, {"8", clusterParts, false}, {"1000", manyPartitions, false}, {"1000-restarted", manyPartitions, true}}

func idleExperiment(cfg ExperimentConfig) Experiment {
	e := Experiment{Name: "idle", Question: idleQuestion, Expectation: idleExpectation, Units: idleUnits, Columns: idleColumns, DiskNeed: 4 << 30, Derive: perReplica}
	window, quiet := idleWindow, idleQuiet
	if cfg.Quick {
		window, quiet = 2*time.Second, idleQuickQuiet
	}
	reps := cfg.once(plainReps)
	e.Config = map[string]any{"quick": cfg.Quick, "seed": cfg.Seed, "fsync": true, "nodes": clusterNodes, "rf": clusterNodes, "record_bytes": idleRecord,
		"window_s": window.Seconds(), "quiet_s": quiet.Seconds(), "repetitions_headline": reps, "repetitions": reps,
		"cpu_is":             "user and system time of the three brokers over the window, of one core",
		"rss_is":             "resident memory of a broker at the end of the window, mean of the three",
		"rss_per_replica_is": "what that is above the arm without partitions of the same repetition, by partitions"}
	for _, a := range idleArms {
		e.Cells = append(e.Cells, Cell{
			Arm: a.name, Block: "idle", Repetitions: reps, NeedsDyno: true,
			Params:  map[string]string{paramBlock: "idle", "partitions": strconv.Itoa(a.partitions), "restarted": fmt.Sprint(a.restarted)},
			Measure: func(ctx context.Context, b *bed) error { return b.idle(ctx, a.partitions, a.restarted, quiet, window) },
		})
		if a.partitions != manyPartitions {
			continue
		}
		for _, g := range []struct {
			what, measure string
			most          float64
		}{{"CPU of three brokers", "cpu", idleMost}, {"resident memory of a replica", "rss_per_replica", idlePerReplica}, {"syncs", "syncs", 0}} {
			e.Targets = append(e.Targets, Goal{Name: g.what + ", " + a.name + " partitions", Arm: a.name, Measure: g.measure, AtMost: g.most, Worst: true})
		}
	}
	return e
}

// perReplica derives what a replica holds, of the arms with many.
func perReplica(run *record.Run) {
	many := map[string]int{}
	for _, a := range idleArms {
		if a.partitions == manyPartitions {
			many[a.name] = a.partitions
		}
	}
	perReplicaOf(run, idleArms[0].name, many)
}

// perReplicaOf compares what brokers with partitions hold with what the ones without
// held in the same repetition.
func perReplicaOf(run *record.Run, without string, partitions map[string]int) {
	if run.Arm(without) == nil {
		return
	}
	bare := map[int]float64{}
	for _, rep := range run.Arm(without).Repetitions {
		if v, ok := rep.Values["rss"]; ok && rep.Status == record.OK {
			bare[rep.Number] = v
		}
	}
	for name, n := range partitions {
		arm := run.Arm(name)
		if arm == nil {
			continue
		}
		for _, rep := range arm.Repetitions {
			v, ok := rep.Values["rss"]
			if base, known := bare[rep.Number]; ok && known {
				rep.Values["rss_per_replica"] = (v - base) / float64(n)
			}
		}
	}
}

// idle makes partitions with one record each, leaves them alone until nothing
// happens any more, and looks at what the brokers use then.
func (b *bed) idle(ctx context.Context, partitions int, restarted bool, quiet, window time.Duration) error {
	b.lab.progress.say(b.name, "start", "")
	c, err := startCluster(ctx, b.dyno, clusterNodes, filepath.Join(b.dir, "cluster"))
	if err != nil {
		return err
	}
	err = c.whileUp(ctx, func(ctx context.Context) error {
		if partitions > 0 {
			spec := loadSpec{Brokers: strings.Split(c.Bootstrap, ","), Partitions: partitions, RF: clusterNodes, Acks: "all", SizeBytes: idleRecord,
				Rate: idleFillRate, Records: int64(partitions), Producers: 1, Spread: 1, Seed: b.seed, Probe: -1, Connect: idleConnect}
			if err := b.write(ctx, spec); err != nil {
				return err
			}
		}
		if restarted {
			if err := b.restart(ctx, c); err != nil {
				return err
			}
		}
		if ok, err := b.awaitQuiet(ctx, c, quiet); err != nil || !ok {
			return err
		}
		return b.watchIdle(ctx, c, window)
	})
	if stopErr := c.stop(); err == nil {
		err = stopErr
	}
	return err
}

// restart ends all nodes in order, and starts them again.
func (b *bed) restart(ctx context.Context, c *cluster) error {
	b.lab.progress.say(b.name, "restart", "")
	if err := c.each(func(i int) error { _, err := c.end(i, syscall.SIGTERM); return err }); err != nil {
		return err
	}
	for i := range c.Nodes {
		if err := c.start(i); err != nil {
			return err
		}
	}
	return c.each(func(i int) error { return c.awaitReady(ctx, b.http, i) })
}

// awaitQuiet returns when no node has appended or sent a Raft message for that
// long. Groups that never fall silent make the repetition one that says nothing;
// brokers that do not count either are an error.
func (b *bed) awaitQuiet(ctx context.Context, c *cluster, quiet time.Duration) (bool, error) {
	b.lab.progress.say(b.name, "fall silent", "")
	begun, since := time.Now(), time.Now()
	var last total
	for time.Since(begun) < idleQuietTries*quiet {
		now, err := c.sample(ctx, b.http)
		if err == nil {
			err = now.seen.need(metricAppends, metricMessages)
		}
		if err != nil {
			return false, err
		}
		if last.seen == nil || now.seen[metricAppends] != last.seen[metricAppends] || now.seen[metricMessages] != last.seen[metricMessages] {
			last, since = now, now.at
		}
		if now.at.Sub(since) >= quiet {
			b.rep.Values["quiet_after"] = float64(since.Sub(begun))
			return true, nil
		}
		if err := pause(ctx, quiet/idleLooks); err != nil {
			return false, err
		}
	}
	b.rep.Status, b.rep.Problem = record.Invalid, fmt.Sprintf("the groups did not fall silent within %v", idleQuietTries*quiet)
	return false, nil
}

// watchIdle measures one window. What a look at the counters costs lies outside of it.
func (b *bed) watchIdle(ctx context.Context, c *cluster, window time.Duration) error {
	b.lab.progress.say(b.name, "measure", "")
	before, err := c.sample(ctx, b.http)
	if err != nil {
		return err
	}
	from, begun, err := c.used()
	if err == nil {
		err = pause(ctx, window)
	}
	if err != nil {
		return err
	}
	to, ended, err := c.used()
	if err != nil {
		return err
	}
	after, err := c.sample(ctx, b.http)
	if err != nil {
		return err
	}
	seconds, nodes := ended.Sub(begun).Seconds(), float64(len(c.Nodes))
	b.rep.Values["cpu"] = 100 * (to.cpu - from.cpu) / seconds
	b.rep.Values["rss"] = float64(to.rssBytes) / nodes
	for name, metric := range map[string]string{"wire": metricWire, "messages": metricMessages, "syncs": metricSyncs} {
		from, had := before.seen[metric]
		if to, has := after.seen[metric]; had && has {
			b.rep.Values[name] = (to - from) / after.at.Sub(before.at).Seconds()
		}
	}
	for name, metric := range map[string]string{"heap": metricHeap, "goroutines": metricRoutines} {
		if v, ok := after.seen[metric]; ok {
			b.rep.Values[name] = v / nodes
		}
	}
	return nil
}

// used is what all nodes have used so far, and when that was read. It asks the
// kernel alone.
func (c *cluster) used() (usage, time.Time, error) {
	var sum usage
	for _, n := range c.Nodes {
		u, err := readUsage(n.PID)
		if err != nil {
			return sum, time.Time{}, fmt.Errorf("read usage of node %d: %w", n.ID, err)
		}
		sum.cpu += u.cpu
		sum.rssBytes += u.rssBytes
	}
	return sum, time.Now(), nil
}
