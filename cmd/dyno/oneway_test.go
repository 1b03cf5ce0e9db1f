package main

import (
	"context"
	"encoding/binary"
	"fmt"
	"net"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/twmb/franz-go/pkg/kversion"
)

// TestLongOneWayLoss loses packets in one direction only, between three processes in
// network namespaces of their own: from the leader of a partition to a follower,
// from the follower to the leader, and from both followers to the leader, which
// then speaks and hears nobody. At last the leader is cut off both ways. An idempotent producer goes on all the while and
// meets no error, nobody is told an end that is behind what was acknowledged, and
// afterwards everything is there once and in order.
func TestLongOneWayLoss(t *testing.T) {
	long(t)
	lab := inNetLab(t, 3)
	if lab == nil {
		return
	}
	c := newLabCluster(t, lab)
	ctx, cancel := context.WithTimeout(context.Background(), 100*time.Second)
	defer cancel()
	w := newKillWriter(t, ctx, 3, c.brokers()...)
	r := newStaleReaders(w, c)
	w.awaitAcks(ctx, 500)
	leader := int(c.leader(ctx, kadm.NewClient(w.client)))
	a := leader%3 + 1
	term := c.nodes[leader-1].role(ctx, 0).Term

	c.oneWay(ctx, w, a, [][2]int{{leader, a}})
	c.oneWay(ctx, w, leader, [][2]int{{a, leader}})
	now := c.nodes[leader-1].role(ctx, 0).Term
	t.Logf("one direction of one link was lost twice: term %d became %d", term, now)
	if now > term+2 {
		t.Errorf("a storm of elections: term %d became %d", term, now)
	}

	// By now somebody else may lead.
	leader = int(c.leader(ctx, kadm.NewClient(w.client)))
	a = leader%3 + 1
	b := (leader+1)%3 + 1
	old := c.nodes[leader-1]
	lost := [][2]int{{a, leader}, {b, leader}}
	c.lose(w, lost)
	old.await(ctx, "it leads partition 0 no more", func() bool { return old.role(ctx, 0).Role != "leader" })
	r.deposed.Store(int32(leader))
	w.awaitAll(ctx)
	t.Logf("node %d hears nobody: every partition took records again after %v", leader, w.sinceMark().Round(time.Millisecond))
	old.await(ctx, "it hears neither of the others", func() bool {
		return old.metric(ctx, silentOf(a)) == 1 && old.metric(ctx, silentOf(b)) == 1
	})
	r.looks(ctx, leader) // what it says then is what this is about
	r.deposed.Store(0)
	c.mend(ctx, lost)
	if old.metric(ctx, "dyno_raft_abandoned_total") < 1 {
		t.Error("no leadership was given up for want of a majority")
	}
	old.awaitLine(ctx, `msg="gave up leading: no majority of the replicas answers" node=`+strconv.Itoa(leader)+" ")

	c.cutOff(ctx, w)

	w.awaitAcks(ctx, 500)
	r.stop()
	w.finish()
	w.verify(ctx, c.brokers()...)
	r.compare()
	t.Logf("%d records acknowledged; %d ends and %d records were read meanwhile, %d asks were refused", w.acked, r.ends.Load(), len(r.read), r.refused.Load())
}

// labCluster is a cluster of processes in a lab.
type labCluster struct {
	killedCluster
	lab *netLab
}

func newLabCluster(t *testing.T, lab *netLab) *labCluster {
	dir := t.TempDir()
	bin, err := exec.LookPath("dyno") // this binary, see TestMain
	if err != nil {
		t.Fatal(err)
	}
	c := &labCluster{lab: lab}
	var peers []string
	for i := 1; i <= 3; i++ {
		at := func(port int) string { return fmt.Sprint(lab.host(i), ":", port) }
		b := &killedBroker{t: t, bin: bin, data: filepath.Join(dir, fmt.Sprint("data-", i)), via: lab.exec(i), kafka: at(9092), raft: at(9192), http: at(9292)}
		b.format(i)
		b.keepLog(filepath.Join(dir, fmt.Sprint("log-", i)))
		c.nodes = append(c.nodes, b)
		peers = append(peers, fmt.Sprintf("%d@%s", i, b.raft))
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

// oneWay loses packets until node hears the sender no more, while every
// partition goes on, and mends the network.
func (c *labCluster) oneWay(ctx context.Context, w *killWriter, node int, lost [][2]int) {
	w.t.Helper()
	b, from := c.nodes[node-1], lost[0][0]
	c.lose(w, lost)
	b.await(ctx, fmt.Sprint("it does not hear node ", from), func() bool { return b.metric(ctx, silentOf(from)) == 1 })
	w.mark()
	w.awaitAll(ctx)
	w.t.Logf("node %d does not hear node %d: every partition took records after %v", node, from, w.sinceMark().Round(time.Millisecond))
	c.mend(ctx, lost)
	if b.metric(ctx, fmt.Sprintf(`dyno_peer_silences_total{peer="%d"}`, from)) < 1 {
		w.t.Errorf("node %d has not counted that node %d was silent", node, from)
	}
	b.awaitLine(ctx, fmt.Sprintf(`msg="a node is not heard" node=%d peer=%d `, node, from))
	b.awaitLine(ctx, fmt.Sprintf(`msg="a node is heard again" node=%d peer=%d`, node, from))
}

// cutOff cuts the leader of another topic off while it has not noticed yet: the
// others elect one of them and acknowledge a record there, and the old one must
// not tell its own end as if it was the last.
func (c *labCluster) cutOff(ctx context.Context, w *killWriter) {
	w.t.Helper()
	adm := kadm.NewClient(w.client)
	if _, err := adm.CreateTopic(ctx, 1, 3, nil, "stale"); err != nil {
		w.t.Fatal(err)
	}
	for range 2 {
		if err := w.client.ProduceSync(ctx, &kgo.Record{Topic: "stale"}).FirstErr(); err != nil {
			w.t.Fatal(err)
		}
		leader := 0
		awaitThat(ctx, w.t, "somebody leads", func() bool {
			md, err := adm.Metadata(ctx, "stale")
			if err == nil && len(md.Topics["stale"].Partitions) == 1 {
				leader = int(md.Topics["stale"].Partitions[0].Leader)
			}
			return leader > 0
		})
		a, b := leader%3+1, (leader+1)%3+1
		old, err := kgo.NewClient(kgo.SeedBrokers(c.nodes[leader-1].kafka))
		if err != nil {
			w.t.Fatal(err)
		}
		lost := [][2]int{{leader, a}, {leader, b}, {a, leader}, {b, leader}}
		c.lose(w, lost)
		end := c.produceBehind(ctx, w.t, a, b) + 1
		for range 5 {
			if got, e := listEnd(ctx, old.SeedBrokers()[0], "stale", 0); e == nil && got < end {
				w.t.Errorf("STALE: node %d, which is cut off, says that its partition ends at %d, but %d was acknowledged elsewhere", leader, got, end)
			}
		}
		old.Close()
		w.awaitAll(ctx)
		w.t.Logf("node %d is cut off: every partition took records again after %v", leader, w.sinceMark().Round(time.Millisecond))
		c.mend(ctx, lost)
	}
}

// produceBehind writes a record to whichever of two nodes comes to lead, though
// the metadata may still name another leader, and gives its offset.
func (c *labCluster) produceBehind(ctx context.Context, t *testing.T, nodes ...int) int64 {
	t.Helper()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	offsets := make(chan int64, len(nodes))
	for _, node := range nodes {
		cl, err := kgo.NewClient(kgo.SeedBrokers(c.nodes[node-1].kafka), kgo.DefaultProduceTopic("stale"),
			kgo.MetadataMinAge(20*time.Millisecond), kgo.RetryBackoffFn(func(int) time.Duration { return 10 * time.Millisecond }),
			kgo.RecordRetries(1000), kgo.DisableIdempotentWrite(),
			kgo.Dialer(func(ctx context.Context, network, _ string) (net.Conn, error) { // whoever it means
				return new(net.Dialer).DialContext(ctx, network, c.nodes[node-1].kafka)
			}))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(cl.Close)
		cl.Produce(ctx, &kgo.Record{}, func(r *kgo.Record, err error) {
			if err == nil {
				offsets <- r.Offset
			}
		})
	}
	select {
	case at := <-offsets:
		return at
	case <-ctx.Done():
		t.Fatal("nobody took over")
		return 0
	}
}

func (c *labCluster) lose(w *killWriter, lost [][2]int) {
	w.mark()
	for _, l := range lost {
		c.lab.lose(l[0], l[1])
	}
}

// mend heals the network and returns when every node hears every other one.
func (c *labCluster) mend(ctx context.Context, lost [][2]int) {
	for _, l := range lost {
		c.lab.heal(l[0], l[1])
	}
	for i, b := range c.nodes {
		b.await(ctx, "it hears all others", func() bool {
			for j := range c.nodes {
				if j != i && b.metric(ctx, silentOf(j+1)) != 0 {
					return false
				}
			}
			return true
		})
	}
}

func silentOf(node int) string { return fmt.Sprintf(`dyno_peer_silent{peer="%d"}`, node) }

// staleReaders ask every node, as long as they run, where each partition ends and
// what it holds there, as a leader. An end must not be behind what had been
// acknowledged when it was asked for.
type staleReaders struct {
	w       *killWriter
	cancel  context.CancelFunc
	running sync.WaitGroup
	deposed atomic.Int32 // the node that knows that it does not lead partition 0
	ends    atomic.Int64 // ends told
	refused atomic.Int64
	rounds  [3]atomic.Int64 // times a node was asked for everything

	mu   sync.Mutex // guards what follows
	read map[killPlace]uint64
}

func newStaleReaders(w *killWriter, c *labCluster) *staleReaders {
	ctx, cancel := context.WithCancel(context.Background())
	r := &staleReaders{w: w, cancel: cancel, read: map[killPlace]uint64{}}
	w.t.Cleanup(r.stop)
	versions := kversion.Stable()
	versions.SetMaxKeyVersion(1, 10) // from 11 on followers serve, too
	for i, b := range c.nodes {
		cl, err := kgo.NewClient(kgo.SeedBrokers(b.kafka), kgo.MaxVersions(versions))
		if err != nil {
			w.t.Fatal(err)
		}
		r.running.Go(func() {
			defer cl.Close()
			for ctx.Err() == nil {
				for p := range int32(killPartitions) {
					r.end(ctx, cl.SeedBrokers()[0], i+1, p)
					r.fetch(ctx, cl.SeedBrokers()[0], i+1, p)
				}
				r.rounds[i].Add(1)
			}
		})
	}
	return r
}

func (r *staleReaders) stop() {
	r.cancel()
	r.running.Wait()
}

// looks returns when a node was asked for everything, twice, from now on.
func (r *staleReaders) looks(ctx context.Context, node int) {
	r.w.t.Helper()
	goal := r.rounds[node-1].Load() + 3
	awaitThat(ctx, r.w.t, fmt.Sprintf("node %d is asked", node), func() bool { return r.rounds[node-1].Load() >= goal })
}

// floor is where a partition ends at least.
func (w *killWriter) floor(p int32) int64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.ends[p]
}

func (r *staleReaders) end(ctx context.Context, at *kgo.Broker, node int, p int32) {
	floor, deposed := r.w.floor(p), r.deposed.Load()
	got, err := listEnd(ctx, at, "kill", p)
	if err != nil {
		r.refused.Add(1)
		return
	}
	r.ends.Add(1)
	if got < floor {
		r.w.t.Errorf("STALE: node %d says that partition %d ends at %d, but %d was acknowledged", node, p, got, floor)
	}
	if p == 0 && deposed == int32(node) {
		r.w.t.Errorf("node %d leads partition 0 no more and says that it ends at %d", node, got)
	}
}

// listEnd asks one broker where a partition ends.
func listEnd(ctx context.Context, at *kgo.Broker, topic string, p int32) (int64, error) {
	req := kmsg.NewPtrListOffsetsRequest()
	req.ReplicaID, req.TimeoutMillis = -1, 300
	rt, rp := kmsg.NewListOffsetsRequestTopic(), kmsg.NewListOffsetsRequestTopicPartition()
	rt.Topic, rp.Partition, rp.Timestamp = topic, p, -1
	rt.Partitions = append(rt.Partitions, rp)
	req.Topics = append(req.Topics, rt)
	resp, err := at.Request(ctx, req)
	if err != nil {
		return 0, err
	}
	got := &resp.(*kmsg.ListOffsetsResponse).Topics[0].Partitions[0]
	return got.Offset, kerr.ErrorForCode(got.ErrorCode)
}

func (r *staleReaders) fetch(ctx context.Context, at *kgo.Broker, node int, p int32) {
	req := kmsg.NewPtrFetchRequest()
	req.ReplicaID, req.MaxBytes = -1, 1<<20
	rt, rp := kmsg.NewFetchRequestTopic(), kmsg.NewFetchRequestTopicPartition()
	rt.Topic, rp.Partition, rp.PartitionMaxBytes = "kill", p, 1<<20
	rp.FetchOffset = max(0, r.w.floor(p)-10)
	rt.Partitions = append(rt.Partitions, rp)
	req.Topics = append(req.Topics, rt)
	deposed := r.deposed.Load()
	resp, err := at.Request(ctx, req)
	if err != nil {
		return
	}
	got := &resp.(*kmsg.FetchResponse).Topics[0].Partitions[0]
	switch {
	case got.ErrorCode != 0:
		r.refused.Add(1)
	case p == 0 && deposed == int32(node):
		r.w.t.Errorf("node %d leads partition 0 no more and serves it from %d", node, rp.FetchOffset)
	}
	o := kgo.ProcessFetchPartitionOpts{Topic: "kill", Partition: p, Offset: rp.FetchOffset}
	list, _ := kgo.ProcessFetchPartition(o, got, kgo.DefaultDecompressor(), nil)
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, rec := range list.Records {
		place, n := killPlace{p, rec.Offset}, binary.BigEndian.Uint64(rec.Value)
		if was, ok := r.read[place]; ok && was != n {
			r.w.t.Errorf("partition %d at %d: node %d serves record %d, another one served %d", p, rec.Offset, node, n, was)
		}
		r.read[place] = n
	}
}

// compare wants that what was read meanwhile is what verify found in the end.
func (r *staleReaders) compare() {
	for place, n := range r.read {
		if got, ok := r.w.found[place]; !ok || got != n {
			r.w.t.Errorf("partition %d at %d: record %d was served, and %d is there (%v)", place.part, place.offset, n, got, ok)
		}
	}
	if len(r.read) == 0 || r.ends.Load() == 0 {
		r.w.t.Error("nothing was read")
	}
}
