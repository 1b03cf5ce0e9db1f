package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
)

// TestLongCrashKillLeader kills the leader of a partition with SIGKILL in mid-stream,
// again and again, in a cluster of three processes, and starts it again: the
// idempotent producer meets no error, and everything acknowledged is there once
// and in order. It logs how long produce stood still. DYNO_KILLS sets how often
// (3; make crash: 50).
func TestLongCrashKillLeader(t *testing.T) {
	long(t)
	kills := killsWanted(t)
	c := newKilledCluster(t, 3)
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute+time.Duration(kills)*10*time.Second)
	defer cancel()
	w := newKillWriter(t, ctx, 3, c.brokers()...)
	adm := kadm.NewClient(w.client)
	rng := rand.New(rand.NewPCG(3, 4))
	var pauses []time.Duration
	for range kills {
		w.awaitAcks(ctx, 50+rng.IntN(2000))
		b := c.nodes[c.leader(ctx, adm)-1]
		w.mark()
		b.kill()
		w.awaitAll(ctx)
		pauses = append(pauses, w.sinceMark())
		b.start()
		b.awaitReady()
	}
	w.awaitAcks(ctx, 100)
	w.finish()
	w.verify(ctx, c.brokers()...)
	slices.Sort(pauses)
	t.Logf("%d kills, %d records acknowledged; every partition took records again after %v (median), %v (worst)",
		kills, w.acked, pauses[len(pauses)/2].Round(time.Millisecond), pauses[len(pauses)-1].Round(time.Millisecond))
}

// TestLongPausedLeader stops the leader's process without ending it (SIGSTOP): its
// connections stay open and say nothing. The others go on without it, and when it
// goes on, too, it finds that it leads nothing any more.
func TestLongPausedLeader(t *testing.T) {
	long(t)
	c := newKilledCluster(t, 3)
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	w := newKillWriter(t, ctx, 3, c.brokers()...)
	adm := kadm.NewClient(w.client)
	for range 2 {
		w.awaitAcks(ctx, 500)
		b := c.nodes[c.leader(ctx, adm)-1]
		w.mark()
		if err := b.cmd.Process.Signal(syscall.SIGSTOP); err != nil {
			t.Fatal(err)
		}
		w.awaitAll(ctx)
		t.Logf("every partition took records again after %v", w.sinceMark().Round(time.Millisecond))
		if err := b.cmd.Process.Signal(syscall.SIGCONT); err != nil {
			t.Fatal(err)
		}
		w.awaitAcks(ctx, 500)
		b.awaitReady()
	}
	w.finish()
	w.verify(ctx, c.brokers()...)
}

// killedCluster is a cluster of dyno serve processes.
type killedCluster struct{ nodes []*killedBroker }

func newKilledCluster(t *testing.T, n int) *killedCluster {
	dir := t.TempDir()
	bin := buildDyno(t, dir)
	c := &killedCluster{}
	var peers []string
	for i := range n {
		b := newKilledBroker(t, bin, dir, i+1)
		b.keepLog(filepath.Join(dir, fmt.Sprint("log-", i+1)))
		c.nodes = append(c.nodes, b)
		peers = append(peers, fmt.Sprintf("%d@%s", i+1, b.raft))
	}
	for _, b := range c.nodes {
		b.peers = strings.Join(peers, ",")
		b.start()
	}
	for _, b := range c.nodes {
		b.awaitReady()
	}
	return c
}

func (c *killedCluster) brokers() []string {
	var out []string
	for _, b := range c.nodes {
		out = append(out, b.kafka)
	}
	return out
}

// leader is the node that leads partition 0.
func (c *killedCluster) leader(ctx context.Context, adm *kadm.Client) int32 {
	for {
		md, err := adm.Metadata(ctx, "kill")
		if err == nil && len(md.Topics["kill"].Partitions) == killPartitions {
			if l := md.Topics["kill"].Partitions[0].Leader; l > 0 {
				return l
			}
		}
		if ctx.Err() != nil {
			return 1
		}
	}
}

// mark notes the time; from now on awaitAll waits for records of every partition.
func (w *killWriter) mark() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.marked, w.heard = time.Now(), [killPartitions]bool{}
}

func (w *killWriter) sinceMark() time.Duration { return time.Since(w.marked) }

// awaitAll returns when every partition has acknowledged a record that was
// produced after the mark.
func (w *killWriter) awaitAll(ctx context.Context) {
	w.t.Helper()
	for {
		w.mu.Lock()
		all, more := !slices.Contains(w.heard[:], false), w.more
		w.mu.Unlock()
		if all {
			return
		}
		select {
		case <-more:
		case <-ctx.Done():
			w.t.Fatalf("partitions that took records again: %v", w.heard)
		}
	}
}
