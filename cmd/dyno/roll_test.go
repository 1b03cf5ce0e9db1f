package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strconv"
	"syscall"
	"testing"
	"time"

	"dyno/engine"
	"dyno/engine/ids"

	"github.com/twmb/franz-go/pkg/kgo"
)

// stallBound is what no restart may keep a partition waiting; stallGoal is what it
// should not.
const (
	stallBound = 5 * time.Second
	stallGoal  = 500 * time.Millisecond
)

// TestLongRollingRestart stops each of three processes in turn with SIGTERM under an
// idempotent producer, starts it again, and goes on when it is in every in-sync
// set and leads its share: the producer meets no error, everything is there once
// and in order, and no partition stands still for long. DYNO_ROLL sets how many
// rounds (1).
func TestLongRollingRestart(t *testing.T) {
	long(t)
	rounds := 1
	if s := os.Getenv("DYNO_ROLL"); s != "" {
		var err error
		if rounds, err = strconv.Atoi(s); err != nil || rounds < 1 {
			t.Fatalf("DYNO_ROLL=%q: want a number above 0", s)
		}
	}
	c := newKilledCluster(t, 3)
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute+time.Duration(rounds)*90*time.Second)
	defer cancel()
	// A client that nobody has tuned asks for metadata every five seconds at most:
	// who refuses it must tell it where to go.
	w := makeKillWriter(t, ctx, 3, c.brokers(), kgo.MetadataMinAge(5*time.Second))
	w.pace = time.NewTicker(2 * time.Millisecond)
	defer w.pace.Stop()
	go w.run(ctx)
	w.awaitAcks(ctx, 1000)
	var stalls []time.Duration
	for range rounds {
		for i, b := range c.nodes {
			w.takeGap()
			began := time.Now()
			b.terminate()
			b.awaitLine(ctx, fmt.Sprintf(`level=INFO msg="drained: everything is handed over" node=%d groups=`, i+1))
			stopped, leaving := time.Since(began), w.takeGap()
			b.start()
			b.awaitReady()
			b.await(ctx, "it is in every in-sync set", func() bool { return b.inSync(ctx, ids.NodeID(i+1)) })
			starting := w.takeGap()
			b.await(ctx, "it leads its share", func() bool { return b.leadsShare(ctx, ids.NodeID(i+1)) })
			if n := b.metric(ctx, "dyno_raft_elected_total"); n < killPartitions/3 {
				t.Errorf("node %d leads its share and counts %v leaderships", i+1, n)
			}
			w.awaitAcks(ctx, 1000)
			leading := w.takeGap()
			t.Logf("node %d: longest stall %v while it left (%v), %v until it was in sync, %v until it led again",
				i+1, ms(leaving), ms(stopped), ms(starting), ms(leading))
			stall := max(leaving, starting, leading)
			if stall > stallBound {
				t.Errorf("node %d: a partition stood still for %v", i+1, stall)
			}
			stalls = append(stalls, stall)
		}
	}
	w.finish()
	w.verify(ctx, c.brokers()...)
	slices.Sort(stalls)
	t.Logf("%d restarts, %d records acknowledged; longest stall of a restart %v (median), %v (worst), the goal is %v",
		len(stalls), w.acked, ms(stalls[len(stalls)/2]), ms(stalls[len(stalls)-1]), stallGoal)
}

func ms(d time.Duration) time.Duration { return d.Round(time.Millisecond) }

// takeGap gives the longest time that a partition took no record since the last
// call, those that stand still now included.
func (w *killWriter) takeGap() time.Duration {
	w.mu.Lock()
	defer w.mu.Unlock()
	now, longest := time.Now(), time.Duration(0)
	for p, last := range w.lastAck {
		longest = max(longest, w.gap[p], now.Sub(last))
		w.gap[p] = 0
	}
	return longest
}

// terminate asks the broker to stop and waits until it has, in order.
func (b *killedBroker) terminate() {
	b.t.Helper()
	if err := b.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		b.t.Fatal(err)
	}
	if err := b.cmd.Wait(); err != nil {
		b.t.Errorf("it ended with %v", err)
	}
	b.cmd = nil
}

func (b *killedBroker) layout(ctx context.Context) engine.ClusterStatus {
	b.t.Helper()
	var s engine.ClusterStatus
	if err := json.Unmarshal([]byte(b.page(ctx, "/cluster")), &s); err != nil {
		b.t.Fatal(err)
	}
	return s
}

// inSync says whether a node is in the in-sync set of every partition, as the
// broker sees it.
func (b *killedBroker) inSync(ctx context.Context, node ids.NodeID) bool {
	for _, p := range b.layout(ctx).Partitions {
		if !slices.Contains(p.ISR, node) {
			return false
		}
	}
	return true
}

// leadsShare says whether a node leads every partition that it is to lead.
func (b *killedBroker) leadsShare(ctx context.Context, node ids.NodeID) bool {
	for _, p := range b.layout(ctx).Partitions {
		if p.Replicas[0] == node && p.Leader != node {
			return false
		}
	}
	return true
}
