package engine

import (
	"context"
	"sync"
	"testing"

	"dyno/engine/ids"
	"dyno/engine/partition"
	"dyno/engine/replica"
	"dyno/engine/transport"
	"dyno/wal/vfs"
)

// Every limit that is hit is counted, and the page tells. Each of these tests hits
// one as it is shipped.

// wantCounted has hit called until a counter, which the page must have from the
// start, has moved by so much.
func (b *bed) wantCounted(name string, by float64, hit func()) {
	b.t.Helper()
	before, ok := b.metrics()[name]
	if !ok {
		b.t.Fatalf("%s is not on the page", name)
	}
	until(b.t, name+" moves", func() bool {
		hit()
		return b.metrics()[name] >= before+by
	})
}

func TestMetricsCountStrays(t *testing.T) {
	c := newClusterBed(t, 2)
	b := &bed{t: t, node: c.nodes[0]}
	strays := make([]transport.Envelope, 1000) // a few come by themselves while nodes start
	for i := range strays {
		strays[i].Group = 1 << 40
	}
	b.wantCounted("dyno_raft_stray_messages_total", float64(len(strays)), func() {
		c.nodes[1].transport().Send(1, transport.Control, strays)
	})
}

// Without a majority nobody answers what wants to read, so all of it waits.
func TestMetricsCountReadsRefused(t *testing.T) {
	const waitMax = 10_000 // replica.Config.ReadsMax
	c := newClusterBed(t, 2)
	c.stop(2)
	b := &bed{t: t, node: c.nodes[0]}
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()
	b.wantCounted("dyno_raft_reads_refused_total", 1, sync.OnceFunc(func() {
		for range waitMax + 1 {
			wg.Go(func() { _, _ = b.node.metaGroup.ReadIndex(ctx) }) // ends with ctx
		}
	}))
}

// parkedReply counts the answers to one batch that was sent often.
type parkedReply struct{ *sync.WaitGroup }

// Appended implements partition.Reply.
func (r parkedReply) Appended(*partition.Append) { r.Done() }

// While a sync hangs, the repeats of its batch wait for it, but not any number.
func TestMetricsCountDuplicatesRefused(t *testing.T) {
	const name = "dyno_partition_duplicates_refused_total"
	gate := vfs.NewGate(vfs.OpDatasync)
	b := newBed(t, faulty(gate.Plan, nil))
	t.Cleanup(gate.Open) // before the node is closed
	b.topic("t", 1)
	part := b.partition("t", 0)
	var open sync.WaitGroup
	gate.Shut()
	b.wantCounted(name, 1, func() {
		for range 100 { // the worker looks at what waits behind a sync by the 256 KiB
			a := &partition.Append{Reply: parkedReply{&open}}
			a.Data, a.Wait = sequenced(1, 7, 0, 0), replica.WaitCommit
			info, err := partition.ParseBatch(a.Data)
			if err != nil {
				t.Fatal(err)
			}
			a.Batch = info
			open.Add(1)
			if err := part.Append(a); err != nil {
				t.Fatal(err)
			}
		}
	})
	gate.Open()
	open.Wait()
	refused := b.metrics()[name]
	if _, err := b.admin().DeleteTopic(soon(t), "t"); err != nil {
		t.Fatal(err)
	}
	until(t, "the partition is gone", func() bool { return b.metrics()["dyno_partitions"] == 0 })
	if got := b.metrics()[name]; got != refused {
		t.Errorf("%s went from %v to %v with its partition", name, refused, got)
	}
}

// On a full disk a connection remembers whom it refused, but not all the world.
func TestMetricsCountRefusalsForgotten(t *testing.T) {
	b := newBed(t, func(c *Config) { smallLog(c); c.WAL.BudgetBytes = 1 << 30 })
	b.topic("t", 1)
	b.produceUntilFull("t")
	cl, producer := b.client(byName()), ids.ProducerID(0)
	b.wantCounted("dyno_kafka_refusals_forgotten_total", 1, func() {
		for range 1000 {
			producer++
			b.rawProduce(cl, "t", 0, sequenced(uint64(producer), int64(producer), 0, 0))
		}
	})
}
