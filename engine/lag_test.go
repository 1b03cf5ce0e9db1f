package engine

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"dyno/engine/ids"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// TestClusterLag stops a follower, writes more than one in sync may lack, deletes
// that, and starts it again: its leader drops it from the in-sync set because of
// its lag, sends it a snapshot, and takes it back.
func TestClusterLag(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("writes more than 10,000 batches")
	}
	said := &saidLines{}
	c := newClusterBed(t, 3, smallLog, func(cfg *Config) {
		cfg.Limits.RetentionEvery = 20 * time.Millisecond
		cfg.Broker = map[string]string{"log.segment.bytes": "1048576"}
		cfg.Log = said.logger()
	})
	c.topic("t", 1, 3)
	c.produce("t", 0, 100)
	leader := c.leader("t", 0)
	gone := leader%3 + 1
	metric := func(name string) float64 {
		return (&bed{t: t, node: c.nodes[leader-1]}).metrics()[strings.ReplaceAll(name, "GONE", fmt.Sprint(gone))]
	}
	until(t, "the leader has looked", func() bool { _, ok := c.lagOf(leader, gone); return ok })
	if metric(`dyno_replica_lag_entries_max{peer="GONE"}`) > 100 || metric(`dyno_replicas_out_of_sync{peer="GONE",reason="lag"}`) != 0 {
		t.Error("a replica lags from the start")
	}
	c.stop(gone)
	c.batches("t", isrLag+500)
	until(t, "the leader drops the follower", func() bool {
		return metric(`dyno_replicas_out_of_sync{peer="GONE",reason="lag"}`)+metric(`dyno_replicas_out_of_sync{peer="GONE",reason="silence"}`) == 1
	})
	// For its lag: that takes a second at most, and silence ten.
	if lag := metric(`dyno_replica_lag_entries_max{peer="GONE"}`); lag <= isrLag || metric(`dyno_isr_shrinks_total{reason="lag"}`) != 1 {
		t.Errorf("lag %v, %v fell out of sync for it", lag, metric(`dyno_isr_shrinks_total{reason="lag"}`))
	}
	said.has(t, fmt.Sprintf(`level=WARN msg="replicas fell out of sync" node=%d peer=%d reason=lag partitions=1 one=t-0 lag_entries_max=1`, leader, gone))
	until(t, "the metadata knows", func() bool { return !c.inSync("t", gone) })

	c.deleteAll("t", leader, (gone)%3+1)
	c.start(gone)
	until(t, "the follower is in sync again", func() bool {
		return metric(`dyno_isr_expands_total`) == 1 && metric(`dyno_replicas_out_of_sync{peer="GONE",reason="lag"}`) == 0
	})
	if metric(`dyno_raft_snapshots_sent_total`) < 1 || metric(`dyno_replica_lag_entries_max{peer="GONE"}`) > isrBack {
		t.Error("no snapshot was sent, or it lags still")
	}
	said.has(t, fmt.Sprintf(`level=INFO msg="a replica lacks what is deleted here, and is sent a snapshot" node=%d group=`, leader))
	said.has(t, fmt.Sprintf(`level=INFO msg="replicas are in sync again" node=%d peer=%d partitions=1 one=t-0`, leader, gone))
	until(t, "the metadata knows", func() bool { return c.inSync("t", gone) })
	if want, got := c.sum("t", leader), c.sum("t", gone); want != got {
		t.Errorf("node %d: %s, node %d: %s", leader, want, gone, got)
	}
}

// Who was in sync is what this leader saw last, so that a metadata group that takes
// no word meanwhile does not make one loss many.
func TestWasInSync(t *testing.T) {
	h := &hosted{}
	h.members.Store(&map[ids.ReplicaID]ids.NodeID{11: 1, 12: 2, 13: 3})
	h.setInSync([]ids.NodeID{1, 2})
	h.led = led{term: 5, rounds: 1}
	for _, c := range []struct {
		term       ids.Term
		said, want []ids.NodeID
	}{{5, []ids.NodeID{1, 2, 3}, []ids.NodeID{1, 2}}, {6, []ids.NodeID{1, 3}, []ids.NodeID{1, 3}}, {7, nil, []ids.NodeID{1, 2, 3}}} {
		h.led.count(c.term)
		got := h.wasInSync(c.said)
		slices.Sort(got)
		if !slices.Equal(got, c.want) {
			t.Errorf("term %d, the metadata says %v: %v, want %v", c.term, c.said, got, c.want)
		}
	}
}

// lagOf is what a leader knows of the replicas on a node.
func (c *clusterBed) lagOf(leader, peer ids.NodeID) (*lagOf, bool) {
	last := c.nodes[leader-1].isr.lags.last.Load()
	if last == nil {
		return nil, false
	}
	of, ok := (*last)[peer]
	return of, ok
}

// inSync says whether the metadata has a node among those in sync for partition 0.
func (c *clusterBed) inSync(topic string, id ids.NodeID) bool {
	cl := c.client()
	defer cl.Close()
	md, err := kadm.NewClient(cl).Metadata(c.ctx(), topic)
	if err != nil {
		c.t.Fatal(err)
	}
	for _, n := range md.Topics[topic].Partitions[0].ISR {
		if ids.NodeID(n) == id {
			return true
		}
	}
	return false
}

// batches writes n batches of one record to partition 0.
func (c *clusterBed) batches(topic string, n int) {
	c.t.Helper()
	cl := c.client(kgo.DefaultProduceTopic(topic), kgo.ProducerBatchMaxBytes(1<<10), kgo.ProducerBatchCompression(kgo.NoCompression()),
		kgo.DisableIdempotentWrite(), kgo.MaxProduceRequestsInflightPerBroker(64), kgo.ProducerLinger(0))
	defer cl.Close()
	pad := bytes.Repeat([]byte("x"), 600)
	ctx := c.ctx()
	for range n {
		cl.Produce(ctx, &kgo.Record{Value: pad}, func(_ *kgo.Record, err error) {
			if err != nil {
				c.t.Errorf("produce: %v", err)
			}
		})
	}
	if err := cl.Flush(ctx); err != nil {
		c.t.Fatal(err)
	}
}

// deleteAll deletes a partition's records but for the last few, and writes until
// the logs of nodes begin behind what was there.
func (c *clusterBed) deleteAll(topic string, nodes ...ids.NodeID) {
	c.t.Helper()
	_, end := c.borders(topic, 0)
	cut := kadm.Offsets{}
	cut.AddOffset(topic, 0, end-5, -1)
	if _, err := kadm.NewClient(c.client()).DeleteRecords(c.ctx(), cut); err != nil {
		c.t.Fatal(err)
	}
	cl := c.client(kgo.DefaultProduceTopic(topic), kgo.ProducerBatchCompression(kgo.NoCompression()))
	defer cl.Close()
	big := strings.Repeat("x", 20<<10)
	for _, id := range nodes {
		for !c.cutOn(id) {
			if err := cl.ProduceSync(c.ctx(), kgo.StringRecord(big)).FirstErr(); err != nil { // files roll and are moved to
				c.t.Fatal(err)
			}
		}
	}
}
