package engine

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// TestClusterDiskFull fills the disk of one of three nodes under a producer: the
// node hands over what it leads and gets nothing back while it is full, the other
// two go on with acks=all, and it serves reads. With room it catches up and leads
// its share again. The producer meets no error, and nothing is lost.
func TestClusterDiskFull(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("waits for leaders to come back")
	}
	said := &saidLines{}
	c := newClusterBed(t, 3, func(cfg *Config) {
		smallLog(cfg)
		cfg.WAL.BudgetBytes = 1 << 30
		cfg.Log = said.logger()
	})
	c.topic("t", 6, 3)
	full := c.leader("t", 0)
	node := c.nodes[full-1]
	p := c.producing("t", 0)
	p.awaitMore(200)
	c.mem[full-1].SetRoom(1)
	until(t, "the disk is full", func() bool { return node.Status().DiskFull })
	until(t, "the full node leads nothing", func() bool { return node.raft.Health().Leaders == 0 })
	until(t, "the others know that it is to get no leaders", func() bool {
		b, ok := c.nodes[full%3].meta.Image().Broker(full)
		return ok && !b.Taking()
	})
	p.awaitMore(500)
	topic, _ := node.meta.Image().Topic("t")
	cl := c.client(byName())
	resp, err := cl.Broker(int(full)).Request(c.ctx(), produceRequest("t", 0, testBatch(1, 100)))
	if err != nil {
		t.Fatal(err)
	}
	if code := resp.(*kmsg.ProduceResponse).Topics[0].Partitions[0].ErrorCode; code != kerr.NotLeaderForPartition.Code && code != kerr.KafkaStorageError.Code {
		t.Errorf("produce at the full node: %v", kerr.ErrorForCode(code))
	}
	fetched, err := c.client().Broker(int(full)).Request(c.ctx(), fetchRequest("t", topic.ID, 0, 0))
	if err != nil {
		t.Fatal(err)
	}
	if part := fetched.(*kmsg.FetchResponse).Topics[0].Partitions[0]; part.ErrorCode != 0 || len(part.RecordBatches) == 0 {
		t.Errorf("fetch from the full node: %v, %d bytes", kerr.ErrorForCode(part.ErrorCode), len(part.RecordBatches))
	}
	if s := node.Status(); !s.DiskFull || !s.Ready || node.raft.Health().Leaders > 0 {
		t.Errorf("the full node: full %v, ready %v, leads %d groups", s.DiskFull, s.Ready, node.raft.Health().Leaders)
	}
	if got := node.mover.pause(); got != node.cfg.WAL.MoveEvery {
		t.Errorf("the mover of the full node looks after %v", got)
	}
	m := (&bed{t: t, node: node}).metrics()
	if m["dyno_wal_full"] != 1 || m["dyno_raft_no_room_total"] == 0 || m["dyno_disk_handovers_total"] == 0 {
		t.Errorf("metrics of the full node: full %v, appends dropped %v, handed over %v", m["dyno_wal_full"], m["dyno_raft_no_room_total"], m["dyno_disk_handovers_total"])
	}
	said.has(t, fmt.Sprintf(`level=WARN msg="the disk is full: leaderships are handed over" node=%d `, full))

	c.mem[full-1].SetRoom(1 << 40)
	until(t, "the node leads its share again", func() bool { return node.raft.Health().Leaders >= 2 })
	said.has(t, fmt.Sprintf(`level=INFO msg="the disk has room: leaderships are taken again" node=%d`, full))
	n := p.stop()
	c.consume("t", n)
	c.stop(full%3 + 1) // now the one that was full is needed
	c.consume("t", n)
}

// producing writes numbered records to a topic as long as it runs.
type producing struct {
	c     *clusterBed
	acked atomic.Int64
	quit  chan struct{}
	ended chan int // capacity 1: how many records there are
}

func (c *clusterBed) producing(topic string, from int) *producing {
	c.t.Helper()
	p := &producing{c: c, quit: make(chan struct{}), ended: make(chan int, 1)}
	cl := c.client(kgo.DefaultProduceTopic(topic), kgo.RecordPartitioner(kgo.RoundRobinPartitioner()), kgo.MaxBufferedRecords(64), kgo.ProducerLinger(0))
	ctx, pad := c.ctx(), bytes.Repeat([]byte("x"), 1000)
	go func() {
		n := from
		for ; ; n++ {
			select {
			case <-p.quit:
				if err := cl.Flush(context.Background()); err != nil {
					c.t.Errorf("flush: %v", err)
				}
				p.ended <- n
				return
			default:
			}
			cl.Produce(ctx, &kgo.Record{Key: pad, Value: fmt.Append(nil, n)}, func(r *kgo.Record, err error) {
				if err != nil && ctx.Err() == nil {
					c.t.Errorf("record %s: %v", r.Value, err)
				}
				p.acked.Add(1)
			})
		}
	}()
	return p
}

// awaitMore returns when n more records were acknowledged.
func (p *producing) awaitMore(n int64) {
	p.c.t.Helper()
	goal := p.acked.Load() + n
	until(p.c.t, "records are acknowledged", func() bool { return p.acked.Load() >= goal })
}

// stop gives how many records were written, all of them acknowledged.
func (p *producing) stop() int {
	close(p.quit)
	return <-p.ended
}

// saidLines is what nodes wrote to their log.
type saidLines struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (s *saidLines) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.buf.Write(b)
}

func (s *saidLines) logger() *slog.Logger { return slog.New(slog.NewTextHandler(s, nil)) }

func (s *saidLines) contains(text string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return strings.Contains(s.buf.String(), text)
}

// has wants a line with text, at once or soon.
func (s *saidLines) has(t *testing.T, text string) {
	t.Helper()
	until(t, "the log says "+text, func() bool { return s.contains(text) })
}
