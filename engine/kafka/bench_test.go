package kafka

import (
	"bytes"
	"net"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"

	"dyno/engine/ids"
	"dyno/engine/partition"
)

// instant is a Backend with one partition that answers every append at once
// and keeps nothing: what is left to measure is the front.
type instant struct {
	*fakeNode
	part instantPart
}

type instantPart struct {
	Partition
	set partition.Settings
}

func (i *instant) Partition([]byte, ids.Partition) (Partition, error)          { return &i.part, nil }
func (i *instant) PartitionByID(ids.TopicID, ids.Partition) (Partition, error) { return &i.part, nil }
func (i *instant) DiskFull() bool                                              { return false }

func (p *instantPart) Settings() *partition.Settings { return &p.set }
func (p *instantPart) Append(a *partition.Append) error {
	a.Base++
	a.Reply.Appended(a)
	return nil
}

// producePath is the whole way of a Produce through the front but the
// socket: frame out of the slab, header, decode, checksum, append, answer,
// reply.
func producePath(t testing.TB, version int16, parts, records, payload int) (run func(), bytesEach int) {
	node := &instant{fakeNode: newFakeNode(t)}
	node.part.set = partition.Settings{MaxMessageBytes: 1 << 20, CompressionType: "producer"}
	topic := node.add("benchmark", 1)
	req := produceTo(version, topic, 0, -1, batch(records, payload, 7, 0, 0))
	for range parts - 1 {
		req.Topics[0].Partitions = append(req.Topics[0].Partitions, req.Topics[0].Partitions[0])
	}
	f := frame(req, 1)[4:]
	c := fuzzConn(node.fakeNode)
	c.srv.cfg.Backend = node
	return func() {
		if !c.request(f) {
			t.Fatal("refused")
		}
		e, _, _ := c.ring.first()
		if !e.prod.done() || !c.replyProduce(e.prod) {
			t.Fatal("not answered")
		}
		c.ring.pop()
		c.wr.close()
		c.wr.reset(c.wr.bufs)
	}, len(f)
}

// TestProduceAllocs holds the front to its bound: at most two allocations for
// a record batch (the slab is not counted), and one for each further one.
func TestProduceAllocs(t *testing.T) {
	if testing.CoverMode() != "" || raceEnabled {
		t.Skip("instrumentation allocates")
	}
	for _, version := range []int16{3, 7, 9, 12, 13} {
		for _, x := range []struct {
			parts int
			most  float64
		}{{1, 1}, {2, 2}, {10, 2}} {
			run, _ := producePath(t, version, x.parts, 16, 1024)
			if got := testing.AllocsPerRun(200, run); got > x.most {
				t.Errorf("version %d, %d batches: %.1f allocations a request, at most %.0f", version, x.parts, got, x.most)
			}
		}
	}
}

func BenchmarkProduce(b *testing.B) {
	for _, x := range []struct {
		name                    string
		parts, records, payload int
	}{
		{"1x1KiB", 1, 1, 1 << 10}, {"16x1KiB", 1, 16, 1 << 10}, {"1000x1KiB", 1, 1000, 1 << 10},
		{"8parts/16x1KiB", 8, 16, 1 << 10},
	} {
		b.Run(x.name, func(b *testing.B) {
			run, n := producePath(b, 9, x.parts, x.records, x.payload)
			b.SetBytes(int64(n))
			b.ReportAllocs()
			for b.Loop() {
				run()
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*x.parts), "ns/batch")
		})
	}
}

// BenchmarkProduceDecode is the decoder alone, without the checksum.
func BenchmarkProduceDecode(b *testing.B) {
	topic := &fakeTopic{name: "benchmark"}
	body := produceTo(9, topic, 0, -1, batch(16, 1024, 7, 0, 0)).AppendTo(nil)
	h := header{version: 9, flexible: true}
	parts := make([]produced, 1)
	b.ReportAllocs()
	for b.Loop() {
		if _, ok := walkProduce(h, body, nil); !ok {
			b.Fatal("refused")
		}
		walkProduce(h, body, parts)
	}
}

// BenchmarkFetch is a Fetch of ten small batches from memory to the reply's
// pieces.
func BenchmarkFetch(b *testing.B) {
	n := newFakeNode(b)
	topic := n.add("benchmark", 1)
	fill(topic.parts[0], 10)
	c := fuzzConn(n)
	f := bytes.Clone(frame(fetchFrom(12, topic, 0, 0), 1)[4:])
	b.ReportAllocs()
	for b.Loop() {
		if !c.request(f) {
			b.Fatal("refused")
		}
		e, _, _ := c.ring.first()
		c.run(e.call)
		c.srv.budget.release(int64(e.bytes))
		c.ring.pop()
		c.wr.close()
		c.wr.reset(c.wr.bufs)
	}
}

// BenchmarkLoopback has a franz-go client produce records of 1 KiB over
// loopback to a node that answers at once: client and front share the cores.
func BenchmarkLoopback(b *testing.B) {
	node := &instant{fakeNode: newFakeNode(b)}
	node.part.set = partition.Settings{MaxMessageBytes: 1 << 20, CompressionType: "producer"}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	node.addr = l.Addr().(*net.TCPAddr)
	node.add("benchmark", 8)
	s, err := Serve(Config{Listener: l, Backend: node})
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	cl := client(b, l.Addr().String(), kgo.DefaultProduceTopic("benchmark"), kgo.ProducerBatchCompression(kgo.NoCompression()),
		kgo.ProducerLinger(0), kgo.MaxBufferedRecords(10_000))
	value := make([]byte, 1<<10)
	b.SetBytes(1 << 10)
	b.ReportAllocs()
	for b.Loop() {
		cl.Produce(b.Context(), &kgo.Record{Value: value}, func(_ *kgo.Record, err error) {
			if err != nil {
				b.Error(err)
			}
		})
	}
	if err := cl.Flush(b.Context()); err != nil {
		b.Fatal(err)
	}
	st := s.Snapshot()
	b.ReportMetric(float64(b.N)/float64(max(st.Batches, 1)), "records/batch")
	b.ReportMetric(float64(st.Reads)/float64(max(st.Requests["Produce"], 1)), "reads/request")
	b.ReportMetric(float64(st.Writes)/float64(max(st.Requests["Produce"], 1)), "writes/request")
	b.ReportMetric(100*float64(st.BytesMoved)/float64(max(st.BytesIn, 1)), "%moved")
}
