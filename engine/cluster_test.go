package engine

import (
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"log/slog"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"dyno/engine/events"
	"dyno/engine/ids"
	"dyno/engine/partition"
	"dyno/engine/replica"
	"dyno/engine/transport/transporttest"
	"dyno/wal/vfs"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// clusterBed is a cluster of nodes under test, each on a memory disk of its own,
// joined over loopback.
type clusterBed struct {
	t     *testing.T
	mem   []*vfs.Mem
	cfg   []Config
	nodes []*Node // nil while down
}

// newClusterBed formats and starts n nodes. Each set may change a node's
// configuration first.
func newClusterBed(t *testing.T, n int, set ...func(*Config)) *clusterBed {
	t.Helper()
	return formatClusterBed(t, n, nil, set...)
}

// formatClusterBed is newClusterBed on directories formatted with options.
func formatClusterBed(t *testing.T, n int, options []FormatOption, set ...func(*Config)) *clusterBed {
	t.Helper()
	c := &clusterBed{t: t, nodes: make([]*Node, n)}
	var peers []Peer
	for i := range n {
		peers = append(peers, Peer{Node: ids.NodeID(i + 1), Raft: transporttest.FreeAddr(t)})
	}
	for i := range n {
		mem := vfs.NewMem(uint64(i + 1))
		cfg := Config{
			DataDir: bedDir, KafkaAddr: transporttest.FreeAddr(t), AdminAddr: "127.0.0.1:0", RaftAddr: peers[i].Raft, FS: mem, Peers: peers,
			WAL:    bedLog(),
			Gossip: GossipConfig{NewsInterval: 20 * time.Millisecond}, // a node that stops says so in no time
			Log:    slog.New(slog.DiscardHandler),
		}
		for _, f := range set {
			f(&cfg)
		}
		if err := Format(mem, bedDir, "bed", peers[i].Node, options...); err != nil {
			t.Fatal(err)
		}
		c.mem, c.cfg = append(c.mem, mem), append(c.cfg, cfg)
	}
	c.start(c.all()...)
	t.Cleanup(func() { c.stop(c.all()...) })
	return c
}

func (c *clusterBed) all() []ids.NodeID {
	var out []ids.NodeID
	for i := range c.nodes {
		out = append(out, ids.NodeID(i+1))
	}
	return out
}

// start opens nodes at once: none serves before a majority runs.
func (c *clusterBed) start(list ...ids.NodeID) {
	c.t.Helper()
	var wg sync.WaitGroup
	errs := make([]error, len(c.nodes))
	for _, id := range list {
		i := int(id) - 1
		wg.Go(func() { c.nodes[i], errs[i] = Open(c.cfg[i]) })
	}
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		c.t.Fatalf("start: %v", err)
	}
}

// stop closes nodes that run.
func (c *clusterBed) stop(list ...ids.NodeID) {
	c.t.Helper()
	for _, id := range list {
		if n := c.nodes[id-1]; n != nil {
			c.nodes[id-1] = nil
			if err := n.Close(); err != nil {
				c.t.Errorf("close node %d: %v", id, err)
			}
		}
	}
}

// cut takes the power of nodes, all in one moment: what was not synced is lost, or
// partly there.
func (c *clusterBed) cut(list ...ids.NodeID) {
	c.t.Helper()
	for _, id := range list {
		i := id - 1
		c.mem[i] = c.mem[i].PowerCut(uint64(id))
		c.cfg[i].FS = c.mem[i]
	}
	for _, id := range list {
		if n := c.nodes[id-1]; n != nil {
			c.nodes[id-1] = nil
			_ = n.Close() // its disk is gone
		}
	}
}

func (c *clusterBed) bootstrap() []string {
	var out []string
	for _, cfg := range c.cfg {
		out = append(out, cfg.KafkaAddr)
	}
	return out
}

func (c *clusterBed) client(opts ...kgo.Opt) *kgo.Client {
	c.t.Helper()
	cl, err := kgo.NewClient(append([]kgo.Opt{kgo.SeedBrokers(c.bootstrap()...), kgo.MetadataMinAge(50 * time.Millisecond), kgo.AlwaysRetryEOF()}, opts...)...)
	if err != nil {
		c.t.Fatal(err)
	}
	c.t.Cleanup(cl.Close)
	return cl
}

func (c *clusterBed) topic(name string, partitions int32, rf int16) {
	c.t.Helper()
	if _, err := kadm.NewClient(c.client()).CreateTopic(c.ctx(), partitions, rf, nil, name); err != nil {
		c.t.Fatal(err)
	}
}

func (c *clusterBed) ctx() context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	c.t.Cleanup(cancel)
	return ctx
}

// produce writes n records with acks=all and waits for all answers.
func (c *clusterBed) produce(topic string, from, n int) {
	c.t.Helper()
	cl := c.client(kgo.DefaultProduceTopic(topic), kgo.RecordPartitioner(kgo.RoundRobinPartitioner()))
	var records []*kgo.Record
	for i := range n {
		records = append(records, kgo.StringRecord(fmt.Sprint(from+i)))
	}
	if err := cl.ProduceSync(c.ctx(), records...).FirstErr(); err != nil {
		c.t.Fatalf("produce: %v", err)
	}
	cl.Close()
}

// consume reads a topic to its end and wants the values 0 to n-1, each once, in
// order within a partition.
func (c *clusterBed) consume(topic string, n int) {
	c.t.Helper()
	cl := c.client(kgo.ConsumeTopics(topic), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	defer cl.Close()
	seen, last := map[string]bool{}, map[int32]int{}
	for len(seen) < n {
		fs := cl.PollFetches(c.ctx())
		if err := fs.Err(); err != nil {
			c.t.Fatalf("consume: %v; %d of %d were read", err, len(seen), n)
		}
		fs.EachRecord(func(r *kgo.Record) {
			v := string(r.Value)
			if seen[v] {
				c.t.Errorf("%s came twice", v)
			}
			seen[v] = true
			var i int
			if _, err := fmt.Sscan(v, &i); err != nil || i < last[r.Partition] {
				c.t.Errorf("partition %d: %s after %d", r.Partition, v, last[r.Partition])
			}
			last[r.Partition] = i
		})
	}
}

// leader is the node that leads a partition, as the others see it.
func (c *clusterBed) leader(topic string, p int32) ids.NodeID {
	c.t.Helper()
	cl := c.client()
	defer cl.Close()
	adm := kadm.NewClient(cl)
	for {
		md, err := adm.Metadata(c.ctx(), topic)
		if err != nil {
			c.t.Fatal(err)
		}
		if l := md.Topics[topic].Partitions[p].Leader; l > 0 {
			return ids.NodeID(l)
		}
	}
}

func TestCluster(t *testing.T) {
	t.Parallel()
	c := newClusterBed(t, 3)
	c.topic("t", 4, 3)
	c.produce("t", 0, 500)
	c.consume("t", 500)

	gone := c.leader("t", 0)
	c.stop(gone)
	c.produce("t", 500, 500)
	c.consume("t", 1000)

	c.start(gone)
	c.stop(gone%3 + 1) // now the one that came back is needed
	c.produce("t", 1000, 500)
	c.consume("t", 1500)
}

// TestClusterPowerCut takes the power of all nodes at once: what was acknowledged
// is there afterwards, and so are the topics.
func TestClusterPowerCut(t *testing.T) {
	t.Parallel()
	c := newClusterBed(t, 3)
	c.topic("t", 4, 3)
	c.produce("t", 0, 300)
	c.cut(c.all()...)
	c.start(c.all()...)
	c.consume("t", 300)
	c.produce("t", 300, 100)
	c.consume("t", 400)
}

// TestClusterMetadata: any node changes topics and configs, every node tells the
// same.
func TestClusterMetadata(t *testing.T) {
	t.Parallel()
	c := newClusterBed(t, 3)
	for i := range c.nodes {
		adm := kadm.NewClient(c.client(kgo.SeedBrokers(c.cfg[i].KafkaAddr)))
		name := fmt.Sprint("t", i)
		if _, err := adm.CreateTopic(c.ctx(), 3, 3, nil, name); err != nil {
			t.Fatal(err)
		}
		if _, err := adm.UpdatePartitions(c.ctx(), 6, name); err != nil {
			t.Fatal(err)
		}
	}
	leads := map[ids.NodeID]int{}
	for i := range c.nodes {
		for p := range int32(6) {
			leads[c.leader(fmt.Sprint("t", i), p)]++
		}
	}
	for id, n := range leads {
		if n != 6 {
			t.Errorf("node %d leads %d of 18 partitions, want 6", id, n)
		}
	}
	c.stop(c.all()...)
	c.start(c.all()...)
	topics, err := kadm.NewClient(c.client()).ListTopics(c.ctx())
	if err != nil || strings.Join(topics.Names(), " ") != "t0 t1 t2" {
		t.Errorf("after a restart: %v, %v", topics.Names(), err)
	}
}

// TestClusterRefusesWiped: a node that lost its directory does not come back
// under its old id, for it may have voted.
func TestClusterRefusesWiped(t *testing.T) {
	t.Parallel()
	c := newClusterBed(t, 3)
	c.stop(2)
	c.cfg[1].FS = vfs.NewMem(9)
	if err := Format(c.cfg[1].FS, bedDir, "bed", 2); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(c.cfg[1]); !errors.Is(err, ErrWiped) {
		t.Fatalf("got %v, want ErrWiped", err)
	}
}

// TestClusterRefusesForeign: a node of another cluster at a peer's address is
// told, and no part of this one.
func TestClusterRefusesForeign(t *testing.T) {
	t.Parallel()
	c := newClusterBed(t, 3)
	c.stop(3)
	c.cfg[2].FS = vfs.NewMem(9)
	if err := Format(c.cfg[2].FS, bedDir, "other", 3); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(c.cfg[2]); !errors.Is(err, ErrForeign) {
		t.Fatalf("got %v, want ErrForeign", err)
	}
}

// TestClusterSnapshot: a node that was away while the log it needs was deleted
// goes on from a snapshot, is in sync again, and serves what is left.
func TestClusterSnapshot(t *testing.T) {
	t.Parallel()
	applied := make(chan events.Event, 1000)
	c := newClusterBed(t, 3, smallLog, func(cfg *Config) {
		cfg.Limits.RetentionEvery = 20 * time.Millisecond
		cfg.Broker = map[string]string{"log.segment.bytes": "1048576"}
		cfg.Listener = listenerFunc(func(e events.Event) {
			if _, ok := e.(events.SnapshotApplied); ok {
				applied <- e
			}
		})
	})
	c.topic("t", 1, 3)
	c.produce("t", 0, 100)
	gone := c.leader("t", 0)%3 + 1 // a follower
	c.stop(gone)
	adm := kadm.NewClient(c.client())
	big := strings.Repeat("x", 20<<10)
	cl := c.client(kgo.DefaultProduceTopic("t"), kgo.ProducerBatchCompression(kgo.NoCompression()))
	for range 60 {
		if err := cl.ProduceSync(c.ctx(), kgo.StringRecord(big)).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
	ends, err := adm.ListEndOffsets(c.ctx(), "t")
	if err != nil {
		t.Fatal(err)
	}
	cut := kadm.Offsets{}
	cut.AddOffset("t", 0, ends["t"][0].Offset-5, -1)
	if _, err := adm.DeleteRecords(c.ctx(), cut); err != nil {
		t.Fatal(err)
	}
	for !c.cutOn(gone%3+1) || !c.cutOn((gone+1)%3+1) {
		if err := cl.ProduceSync(c.ctx(), kgo.StringRecord(big)).FirstErr(); err != nil { // files roll and are moved to
			t.Fatal(err)
		}
	}
	c.start(gone)
	<-applied
	c.produce("t", 100, 10)
	c.stop(gone%3 + 1) // now the majority needs the one that was away
	c.produce("t", 110, 10)
	want, got := c.sum("t", (gone+1)%3+1), c.sum("t", gone)
	if want != got {
		t.Errorf("node %d: %s, node %d: %s", (gone+1)%3+1, want, gone, got)
	}
}

// cutOn says whether a node's log of partition 0 begins after its first entry.
func (c *clusterBed) cutOn(id ids.NodeID) bool {
	for _, h := range c.nodes[id-1].hosts.list() {
		if first, _ := h.group.Bounds(); first > 1 {
			return true
		}
	}
	return false
}

// sum describes what a node holds of partition 0 once it has everything.
func (c *clusterBed) sum(topic string, id ids.NodeID) string {
	c.t.Helper()
	n := c.nodes[id-1]
	t, _ := n.meta.Image().Topic(topic)
	h := n.directory.ByID(t.ID, 0)
	o, err := h.Latest(c.ctx())
	if err != nil {
		c.t.Fatal(err)
	}
	return fmt.Sprintf("%+v, state %08x", o, crc32.ChecksumIEEE(h.State()))
}

type listenerFunc func(events.Event)

func (f listenerFunc) Event(e events.Event) { f(e) }

// TestClusterDrain: a node that drains leads nothing afterwards, nobody is told
// of it, and a producer that goes on meanwhile meets no error. Once it is back it
// leads again what it is to lead.
func TestClusterDrain(t *testing.T) {
	t.Parallel()
	c := newClusterBed(t, 3)
	c.topic("t", 9, 3)
	c.produce("t", 0, 90)
	cl := c.client(kgo.DefaultProduceTopic("t"), kgo.RecordPartitioner(kgo.RoundRobinPartitioner()))
	stop := make(chan struct{})
	sent := make(chan int)
	ctx := c.ctx()
	go func() {
		n := 90
		defer func() { sent <- n }()
		for ; ; n++ {
			select {
			case <-stop:
				return
			default:
			}
			if err := cl.ProduceSync(ctx, kgo.StringRecord(fmt.Sprint(n))).FirstErr(); err != nil {
				t.Errorf("%d: %v", n, err)
				return
			}
		}
	}()
	for _, id := range c.all() {
		if err := c.nodes[id-1].Drain(c.ctx()); err != nil {
			t.Fatal(err)
		}
		if h := c.nodes[id-1].raft.Health(); h.Leaders > 0 {
			t.Errorf("node %d still leads %d groups", id, h.Leaders)
		}
		c.stop(id)
		c.start(id)
	}
	close(stop)
	n := <-sent
	c.consume("t", n)
	for _, id := range c.all() {
		for c.nodes[id-1].raft.Health().Leaders < 3 { // its share of the partitions comes back
			runtime.Gosched()
		}
	}
}

// TestClusterMinInsync: with min.insync.replicas at three of three an answer waits
// for the third replica, and a topic whose replicas are known to be out of sync
// takes nothing.
func TestClusterMinInsync(t *testing.T) {
	t.Parallel()
	c := newClusterBed(t, 3)
	three := "3"
	adm := kadm.NewClient(c.client())
	if _, err := adm.CreateTopic(c.ctx(), 1, 3, map[string]*string{"min.insync.replicas": &three}, "t"); err != nil {
		t.Fatal(err)
	}
	c.produce("t", 0, 10)
	gone := c.leader("t", 0)%3 + 1
	c.stop(gone)
	cl := c.client(kgo.DefaultProduceTopic("t"))
	answer := make(chan error, 1)
	cl.Produce(c.ctx(), kgo.StringRecord("10"), func(_ *kgo.Record, err error) { answer <- err })
	c.consume("t", 11) // it is committed, and so it is read
	select {
	case err := <-answer:
		t.Fatalf("answered with two of three copies: %v", err)
	default:
	}
	c.start(gone)
	if err := <-answer; err != nil {
		t.Fatal(err)
	}
	topic, _ := c.nodes[0].meta.Image().Topic("t")
	for _, n := range c.nodes {
		if h := n.directory.ByID(topic.ID, 0); h.group.Status().State == replica.Leader {
			h.setInSync([]ids.NodeID{n.identity.NodeID, gone}) // as after ten silent seconds
			err := h.Append(&partition.Append{Proposal: replica.Proposal{Wait: replica.WaitCommit}})
			if !errors.Is(err, partition.ErrNotEnoughReplicas) {
				t.Errorf("with two in sync: %v", err)
			}
		}
	}
}
