package engine

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"testing"
	"time"

	"dyno/engine/ids"
	"dyno/wal/vfs"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/twmb/franz-go/pkg/kversion"
)

// bed is one node under test on a memory disk, seen from outside: through
// franz-go clients, the admin address, and its disk.
type bed struct {
	t    *testing.T
	mem  *vfs.Mem
	cfg  Config
	node *Node
}

const bedDir = "d/n"

// newBed formats a memory disk and starts a node on it. Each set may change the
// configuration first; FS, where set, wraps the disk that was formatted.
func newBed(t *testing.T, set ...func(*Config)) *bed {
	t.Helper()
	b := &bed{t: t, mem: vfs.NewMem(1)}
	b.cfg = Config{
		DataDir: bedDir, KafkaAddr: "127.0.0.1:0", AdminAddr: "127.0.0.1:0", FS: b.mem,
		WAL: bedLog(),
		Log: slog.New(slog.DiscardHandler),
	}
	for _, f := range set {
		f(&b.cfg)
	}
	if err := Format(b.mem, bedDir, "bed", 1); err != nil {
		t.Fatal(err)
	}
	b.open()
	t.Cleanup(func() { b.close() })
	return b
}

// bedLog is the log of every node under test that does not ask for another one.
// With DYNO_SMALL_LOG=1 it is so small that moves to files, deletions and
// snapshots happen all the time: the whole suite runs once more like that in
// make test-long.
func bedLog() WALConfig {
	if os.Getenv("DYNO_SMALL_LOG") == "1" {
		return WALConfig{SegmentBytes: 64 << 10, BudgetBytes: 1 << 20, SpareSegments: 1, MoveEvery: time.Millisecond, TailBytes: 64 << 10}
	}
	return WALConfig{SegmentBytes: 2 << 20, BudgetBytes: 1 << 30}
}

// smallLog makes the log move its segments to partition files all the time.
func smallLog(c *Config) {
	c.WAL = WALConfig{SegmentBytes: 64 << 10, BudgetBytes: 128 << 10, SpareSegments: 1, MoveEvery: time.Millisecond, TailBytes: 32 << 10}
}

// faulty puts a plan of faults between the node and its disk.
func faulty(plan vfs.Plan, at **vfs.Faulty) func(*Config) {
	return func(c *Config) {
		f := vfs.NewFaulty(c.FS, plan)
		c.FS = f
		if at != nil {
			*at = f
		}
	}
}

func (b *bed) open() {
	b.t.Helper()
	n, err := Open(b.cfg)
	if err != nil {
		b.t.Fatalf("open: %v", err)
	}
	b.node = n
}

// close ends the node; one that failed or lost its disk may end with an error.
func (b *bed) close() {
	b.t.Helper()
	if b.node == nil {
		return
	}
	err := b.node.Close()
	if err != nil && b.node.Err() == nil {
		b.t.Errorf("close: %v", err)
	}
	b.node = nil
}

// restart ends the node cleanly and starts it again.
func (b *bed) restart() {
	b.t.Helper()
	b.close()
	b.open()
}

// powerCut takes the disk away in the instant, and starts a node on what it kept.
func (b *bed) powerCut(seed uint64) {
	b.t.Helper()
	kept := b.mem.PowerCut(seed)
	_ = b.node.Close() // its disk is frozen: the error is the point
	b.mem, b.cfg.FS = kept, kept
	b.open()
}

// client makes a franz-go client of the node, quick to try again.
func (b *bed) client(opts ...kgo.Opt) *kgo.Client {
	b.t.Helper()
	cl, err := kgo.NewClient(append([]kgo.Opt{
		kgo.SeedBrokers(b.node.KafkaAddr()),
		kgo.MetadataMinAge(10 * time.Millisecond),
		kgo.AlwaysRetryEOF(), // a node that closes hangs up on who has just come
		kgo.RetryBackoffFn(func(int) time.Duration { return 5 * time.Millisecond }),
		kgo.RecordPartitioner(kgo.ManualPartitioner()),
		kgo.FetchMaxWait(time.Second),
		kgo.ProducerBatchCompression(kgo.NoCompression()), // so that a test knows its sizes
	}, opts...)...)
	if err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(cl.Close)
	return cl
}

func (b *bed) admin() *kadm.Client { return kadm.NewClient(b.client()) }

// topic makes a topic and fails the test if it cannot.
func (b *bed) topic(name string, partitions int32, configs ...string) kadm.CreateTopicResponse {
	b.t.Helper()
	res, err := b.admin().CreateTopic(soon(b.t), partitions, 1, pairs(configs), name)
	if err != nil {
		b.t.Fatalf("create %s: %v", name, err)
	}
	return res
}

func pairs(kv []string) map[string]*string {
	m := map[string]*string{}
	for i := 0; i+1 < len(kv); i += 2 {
		m[kv[i]] = &kv[i+1]
	}
	return m
}

// soon is a context for one step of a test.
func soon(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	t.Cleanup(cancel)
	return ctx
}

// ask sends one raw request.
func ask[T kmsg.Response](b *bed, cl *kgo.Client, req kmsg.Request) T {
	b.t.Helper()
	resp, err := cl.Request(soon(b.t), req)
	if err != nil {
		b.t.Fatalf("%T: %v", req, err)
	}
	return resp.(T)
}

// produce writes values to one partition and gives the offset of the first.
func (b *bed) produce(topic string, part int32, values ...string) int64 {
	b.t.Helper()
	recs := make([]*kgo.Record, len(values))
	for i, v := range values {
		recs[i] = &kgo.Record{Topic: topic, Partition: part, Value: []byte(v)}
	}
	cl := b.client()
	defer cl.Close()
	if err := cl.ProduceSync(soon(b.t), recs...).FirstErr(); err != nil {
		b.t.Fatalf("produce to %s-%d: %v", topic, part, err)
	}
	return recs[0].Offset
}

// consume reads n records of one partition from an offset on, in order.
func (b *bed) consume(topic string, part int32, from int64, n int, opts ...kgo.Opt) []*kgo.Record {
	b.t.Helper()
	cl := b.client(append(opts, kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{
		topic: {part: kgo.NewOffset().At(from)},
	}))...)
	defer cl.Close()
	var out []*kgo.Record
	ctx := soon(b.t)
	for len(out) < n {
		fs := cl.PollFetches(ctx)
		if err := fs.Err(); err != nil {
			b.t.Fatalf("consume %s-%d: %d of %d records: %v", topic, part, len(out), n, err)
		}
		out = append(out, fs.Records()...)
	}
	for i, r := range out {
		if r.Offset != from+int64(i) {
			b.t.Fatalf("consume %s-%d: offset %d follows %d", topic, part, r.Offset, from+int64(i)-1)
		}
	}
	return out
}

// wantValues consumes from an offset on and compares values.
func (b *bed) wantValues(topic string, part int32, from int64, want ...string) {
	b.t.Helper()
	for i, r := range b.consume(topic, part, from, len(want)) {
		if i < len(want) && string(r.Value) != want[i] {
			b.t.Fatalf("%s-%d at %d: %.40q, want %.40q", topic, part, r.Offset, r.Value, want[i])
		}
	}
}

// offsets are the borders of one partition as ListOffsets tells them.
func (b *bed) offsets(topic string, part int32) (start, end int64) {
	b.t.Helper()
	adm := b.admin()
	s, err := adm.ListStartOffsets(soon(b.t), topic)
	if err != nil {
		b.t.Fatal(err)
	}
	e, err := adm.ListEndOffsets(soon(b.t), topic)
	if err != nil {
		b.t.Fatal(err)
	}
	so, _ := s.Lookup(topic, part)
	eo, ok := e.Lookup(topic, part)
	if !ok || so.Err != nil || eo.Err != nil {
		b.t.Fatalf("list offsets of %s-%d: %v %v", topic, part, so.Err, eo.Err)
	}
	return so.Offset, eo.Offset
}

// rawProduce sends one batch by hand, so that a test sees the answer as it is:
// no retries, no client in between. cl must be made with byName.
func (b *bed) rawProduce(cl *kgo.Client, topic string, part int32, batch []byte) *kmsg.ProduceResponseTopicPartition {
	b.t.Helper()
	resp, err := cl.Broker(1).Request(soon(b.t), produceRequest(topic, part, batch))
	if err != nil {
		b.t.Fatalf("produce to %s-%d: %v", topic, part, err)
	}
	return &resp.(*kmsg.ProduceResponse).Topics[0].Partitions[0]
}

// byName keeps a client to the last version of Produce that names topics.
func byName() kgo.Opt {
	v := kversion.Stable()
	v.SetMaxKeyVersion(0, 12)
	return kgo.MaxVersions(v)
}

func produceRequest(topic string, part int32, batch []byte) *kmsg.ProduceRequest {
	req := kmsg.NewPtrProduceRequest()
	req.TimeoutMillis = 15_000 // acks are the client's, see kgo.RequiredAcks
	rt := kmsg.NewProduceRequestTopic()
	rt.Topic = topic
	rp := kmsg.NewProduceRequestTopicPartition()
	rp.Partition, rp.Records = part, batch
	rt.Partitions = append(rt.Partitions, rp)
	req.Topics = append(req.Topics, rt)
	return req
}

// fetchRequest asks for one partition by topic id or, before version 13, name.
func fetchRequest(topic string, id [16]byte, part int32, from int64, set ...func(*kmsg.FetchRequest)) *kmsg.FetchRequest {
	req := kmsg.NewPtrFetchRequest()
	req.MaxWaitMillis, req.MinBytes, req.MaxBytes = 0, 1, 1<<20
	rt := kmsg.NewFetchRequestTopic()
	rt.Topic, rt.TopicID = topic, id
	rp := kmsg.NewFetchRequestTopicPartition()
	rp.Partition, rp.FetchOffset, rp.PartitionMaxBytes = part, from, 1<<20
	rt.Partitions = append(rt.Partitions, rp)
	req.Topics = append(req.Topics, rt)
	for _, f := range set {
		f(req)
	}
	return req
}

// partition is a partition as the Kafka front sees it.
func (b *bed) partition(topic string, p ids.Partition) *hosted {
	b.t.Helper()
	part, err := backend{b.node}.Partition([]byte(topic), p)
	if err != nil {
		b.t.Fatal(err)
	}
	return part.(*hosted)
}

// until polls a condition that another goroutine of the node makes true.
func until(t testing.TB, what string, cond func() bool) {
	t.Helper()
	ctx := soon(t)
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for !cond() {
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("never happened: %s", what)
		}
	}
}

// await receives what must come soon.
func await[T any](t testing.TB, what string, ch <-chan T) (v T) {
	t.Helper()
	select {
	case v = <-ch:
	case <-soon(t).Done():
		t.Fatalf("never came: %s", what)
	}
	return v
}

func wantErr(t testing.TB, what string, got, want error) {
	t.Helper()
	if !errors.Is(got, want) {
		t.Errorf("%s: %v, want %v", what, got, want)
	}
}

func wantCode(t testing.TB, what string, got int16, want *kerr.Error) {
	t.Helper()
	if want == nil && got == 0 || want != nil && got == want.Code {
		return
	}
	t.Errorf("%s: %v, want %v", what, kerr.ErrorForCode(got), want)
}

// numbered are n distinct values of about size bytes.
func numbered(n, size int) []string {
	out := make([]string, n)
	for i := range out {
		out[i] = fmt.Sprintf("%06d-%0*d", i, size, i*7919)
	}
	return out
}
