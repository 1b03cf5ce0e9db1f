package engine

import (
	"bytes"
	"crypto/rand"
	"fmt"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// Every kind of acknowledgement with every codec: what comes back is what was
// sent, keys, headers and timestamps included.
func TestClientRoundTrip(t *testing.T) {
	b := newBed(t)
	acks := map[string][]kgo.Opt{
		"idempotent": nil,
		"all":        {kgo.DisableIdempotentWrite()},
		"leader":     {kgo.DisableIdempotentWrite(), kgo.RequiredAcks(kgo.LeaderAck())},
		"none":       {kgo.DisableIdempotentWrite(), kgo.RequiredAcks(kgo.NoAck())},
	}
	codecs := []struct {
		name  string
		codec kgo.CompressionCodec
		attr  int16
	}{
		{"plain", kgo.NoCompression(), 0}, {"gzip", kgo.GzipCompression(), 1}, {"snappy", kgo.SnappyCompression(), 2},
		{"lz4", kgo.Lz4Compression(), 3}, {"zstd", kgo.ZstdCompression(), 4},
	}
	for ack, opts := range acks {
		for _, c := range codecs {
			t.Run(ack+"/"+c.name, func(t *testing.T) {
				topic := ack + "-" + c.name
				res := b.topic(topic, 1)
				sent := fancyRecords(topic, 200)
				cl := b.client(append([]kgo.Opt{kgo.ProducerBatchCompression(c.codec)}, opts...)...)
				if err := cl.ProduceSync(soon(t), sent...).FirstErr(); err != nil {
					t.Fatal(err)
				}
				for i, r := range b.consume(topic, 0, 0, len(sent)) {
					sameRecord(t, r, sent[i])
				}
				if got := firstBatchCodec(b, topic, res.ID); got != c.attr {
					t.Errorf("stored codec %d, want %d: the batch passes as it is", got, c.attr)
				}
			})
		}
	}
}

func fancyRecords(topic string, n int) []*kgo.Record {
	out := make([]*kgo.Record, n)
	for i := range out {
		out[i] = &kgo.Record{
			Topic: topic, Key: fmt.Appendf(nil, "key %d", i), Value: bytes.Repeat([]byte{byte(i), 'v'}, 100),
			Headers:   []kgo.RecordHeader{{Key: "h", Value: []byte{byte(i)}}, {Key: "empty"}, {Key: "h", Value: []byte("twice")}},
			Timestamp: time.UnixMilli(1_600_000_000_000 + int64(i)),
		}
	}
	out[0].Key, out[1].Value = nil, nil
	return out
}

func sameRecord(t *testing.T, got, want *kgo.Record) {
	t.Helper()
	same := bytes.Equal(got.Key, want.Key) && (got.Key == nil) == (want.Key == nil) &&
		bytes.Equal(got.Value, want.Value) && (got.Value == nil) == (want.Value == nil) &&
		got.Timestamp.Equal(want.Timestamp) && len(got.Headers) == len(want.Headers)
	for i := range got.Headers {
		same = same && got.Headers[i].Key == want.Headers[i].Key && bytes.Equal(got.Headers[i].Value, want.Headers[i].Value)
	}
	if !same {
		t.Fatalf("offset %d: got %v, sent %v", got.Offset, got, want)
	}
}

// firstBatchCodec reads the codec of the first stored batch as it is on the wire.
func firstBatchCodec(b *bed, topic string, id kadm.TopicID) int16 {
	b.t.Helper()
	resp := ask[*kmsg.FetchResponse](b, b.client(), fetchRequest(topic, id, 0, 0))
	p := &resp.Topics[0].Partitions[0]
	if p.ErrorCode != 0 || len(p.RecordBatches) < 61 {
		b.t.Fatalf("fetch %s: code %d, %d bytes", topic, p.ErrorCode, len(p.RecordBatches))
	}
	return int16(p.RecordBatches[22] & 7)
}

func TestClientBigRecords(t *testing.T) {
	b := newBed(t, func(c *Config) { c.WAL.SegmentBytes, c.WAL.BudgetBytes = 8<<20, 1<<30 })
	b.topic("big", 1, "max.message.bytes", "4194304")
	var sent []*kgo.Record
	for range 6 {
		v := make([]byte, 1<<20)
		_, _ = rand.Read(v)
		sent = append(sent, &kgo.Record{Topic: "big", Value: v})
	}
	cl := b.client(kgo.ProducerBatchMaxBytes(4 << 20))
	if err := cl.ProduceSync(soon(t), sent...).FirstErr(); err != nil {
		t.Fatal(err)
	}
	for i, r := range b.consume("big", 0, 0, len(sent)) {
		if !bytes.Equal(r.Value, sent[i].Value) {
			t.Fatalf("record %d came back changed", i)
		}
	}
}

func TestClientManyPartitions(t *testing.T) {
	b := newBed(t)
	const parts, each = 64, 20
	b.topic("wide", parts)
	var sent []*kgo.Record
	for i := range parts * each {
		sent = append(sent, &kgo.Record{Topic: "wide", Partition: int32(i % parts), Value: fmt.Appendf(nil, "%d", i)})
	}
	if err := b.client().ProduceSync(soon(t), sent...).FirstErr(); err != nil {
		t.Fatal(err)
	}
	cl := b.client(kgo.ConsumeTopics("wide"))
	next := [parts]int{}
	for read := 0; read < len(sent); {
		fs := cl.PollFetches(soon(t))
		if err := fs.Err(); err != nil {
			t.Fatal(err)
		}
		fs.EachRecord(func(r *kgo.Record) {
			if want := fmt.Sprint(next[r.Partition]*parts + int(r.Partition)); string(r.Value) != want {
				t.Fatalf("partition %d offset %d: %s, want %s", r.Partition, r.Offset, r.Value, want)
			}
			next[r.Partition]++
			read++
		})
	}
}

// A fetch at the end of the log waits, and answers when a batch is committed,
// long before its time is over.
func TestClientLongPoll(t *testing.T) {
	b := newBed(t)
	id := b.topic("poll", 1).ID
	b.produce("poll", 0, "a")
	got := make(chan *kmsg.FetchResponse, 1)
	cl, ctx := b.client(), soon(t)
	part := b.partition("poll", 0)
	seen := make(chan struct{}, 1)
	part.Watch(seen)
	defer part.Unwatch(seen)
	go func() {
		resp, _ := fetchRequest("poll", id, 0, 1, func(r *kmsg.FetchRequest) { r.MaxWaitMillis = 60_000 }).RequestWith(ctx, cl)
		got <- resp
	}()
	// The fetch counts as a request before it is answered.
	until(t, "the fetch arrives", func() bool { return b.node.front.Snapshot().Requests["Fetch"] == 1 })
	select {
	case <-got:
		t.Fatal("a fetch at the end of the log was answered with nothing new")
	default:
	}
	b.produce("poll", 0, "b")
	await(t, "the commit", seen)
	resp := await(t, "the woken fetch", got)
	if resp == nil || len(resp.Topics) == 0 || len(resp.Topics[0].Partitions[0].RecordBatches) == 0 {
		t.Fatalf("woken fetch: %+v", resp)
	}
}

func TestClientFetchBytes(t *testing.T) {
	b := newBed(t)
	id := b.topic("bytes", 1).ID
	for _, v := range numbered(10, 1000) {
		b.produce("bytes", 0, v)
	}
	cl := b.client()
	size := func(set func(*kmsg.FetchRequest)) int {
		resp := ask[*kmsg.FetchResponse](b, cl, fetchRequest("bytes", id, 0, 0, set))
		return len(resp.Topics[0].Partitions[0].RecordBatches)
	}
	all := size(func(*kmsg.FetchRequest) {})
	one := size(func(r *kmsg.FetchRequest) { r.MaxBytes = 1 })
	if one == 0 || one > all/5 {
		t.Errorf("max bytes 1 gives %d bytes of %d: want one whole batch", one, all)
	}
	some := size(func(r *kmsg.FetchRequest) { r.Topics[0].Partitions[0].PartitionMaxBytes = int32(3 * one) })
	if some < one || some > 3*one+8 {
		t.Errorf("partition max bytes %d gives %d", 3*one, some)
	}
	// More than there is: the wait ends with its time, and gives what there is.
	late := size(func(r *kmsg.FetchRequest) { r.MinBytes, r.MaxWaitMillis = int32(all)+1, 50 })
	if late != all {
		t.Errorf("min bytes above all gives %d bytes, want %d", late, all)
	}
}

func TestClientReadCommitted(t *testing.T) {
	b := newBed(t)
	b.topic("rc", 1)
	b.produce("rc", 0, "a", "b")
	recs := b.consume("rc", 0, 0, 2, kgo.FetchIsolationLevel(kgo.ReadCommitted()))
	if string(recs[1].Value) != "b" {
		t.Errorf("got %q", recs[1].Value)
	}
	ends, err := b.admin().ListCommittedOffsets(soon(t), "rc")
	if err != nil {
		t.Fatal(err)
	}
	if o, _ := ends.Lookup("rc", 0); o.Offset != 2 {
		t.Errorf("last stable offset %d, want 2", o.Offset)
	}
}

func TestClientListOffsets(t *testing.T) {
	b := newBed(t)
	b.topic("times", 1)
	base := int64(1_700_000_000_000)
	for i, delta := range []int64{0, 100, 50, 300, 200} {
		r := &kgo.Record{Topic: "times", Value: fmt.Appendf(nil, "%d", i), Timestamp: time.UnixMilli(base + delta)}
		if err := b.client().ProduceSync(soon(t), r).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
	adm := b.admin()
	byTime := func(ms int64) kadm.ListedOffset {
		list, err := adm.ListOffsetsAfterMilli(soon(t), ms, "times")
		if err != nil {
			t.Fatal(err)
		}
		o, _ := list.Lookup("times", 0)
		return o
	}
	for _, c := range []struct{ ms, offset, at int64 }{
		{base - 1, 0, base}, {base, 0, base}, {base + 1, 1, base + 100}, {base + 100, 1, base + 100},
		{base + 101, 3, base + 300}, {base + 300, 3, base + 300},
	} {
		if o := byTime(c.ms); o.Offset != c.offset || o.Timestamp != c.at {
			t.Errorf("by time +%d: offset %d time +%d, want %d +%d", c.ms-base, o.Offset, o.Timestamp-base, c.offset, c.at-base)
		}
	}
	if o := byTime(base + 301); o.Offset != 5 { // kadm turns "none" into the end
		t.Errorf("after the last: %d", o.Offset)
	}
	most, err := adm.ListMaxTimestampOffsets(soon(t), "times")
	if err != nil {
		t.Fatal(err)
	}
	if o, _ := most.Lookup("times", 0); o.Offset != 3 || o.Timestamp != base+300 {
		t.Errorf("max timestamp: offset %d time +%d, want 3 +300", o.Offset, o.Timestamp-base)
	}
	if start, end := b.offsets("times", 0); start != 0 || end != 5 {
		t.Errorf("offsets %d to %d, want 0 to 5", start, end)
	}
}

func TestClientEpochs(t *testing.T) {
	b := newBed(t)
	id := b.topic("epochs", 1).ID
	b.produce("epochs", 0, "a", "b")
	_, first := b.partition("epochs", 0).Leader()
	b.restart()
	b.produce("epochs", 0, "c")
	_, second := b.partition("epochs", 0).Leader()
	if second <= first {
		t.Fatalf("leader epoch %d after %d: it must grow over a restart", second, first)
	}
	cl := b.client()
	end := func(epoch, now int32) kmsg.OffsetForLeaderEpochResponseTopicPartition {
		req := kmsg.NewPtrOffsetForLeaderEpochRequest()
		rt := kmsg.NewOffsetForLeaderEpochRequestTopic()
		rt.Topic = "epochs"
		rp := kmsg.NewOffsetForLeaderEpochRequestTopicPartition()
		rp.LeaderEpoch, rp.CurrentLeaderEpoch = epoch, now
		rt.Partitions = append(rt.Partitions, rp)
		req.Topics = append(req.Topics, rt)
		return ask[*kmsg.OffsetForLeaderEpochResponse](b, cl, req).Topics[0].Partitions[0]
	}
	if p := end(int32(first), -1); p.LeaderEpoch != int32(first) || p.EndOffset != 2 {
		t.Errorf("end of epoch %d: %+v, want offset 2", first, p)
	}
	if p := end(int32(second), int32(second)); p.LeaderEpoch != int32(second) || p.EndOffset != 3 {
		t.Errorf("end of epoch %d: %+v, want offset 3", second, p)
	}
	wantCode(t, "stale current epoch", end(int32(first), int32(first)).ErrorCode, kerr.FencedLeaderEpoch)
	wantCode(t, "future current epoch", end(int32(first), int32(second)+1).ErrorCode, kerr.UnknownLeaderEpoch)
	// A fetch that goes on from an old epoch beyond its end is told where it diverged.
	resp := ask[*kmsg.FetchResponse](b, cl, fetchRequest("epochs", id, 0, 3, func(r *kmsg.FetchRequest) {
		r.Topics[0].Partitions[0].LastFetchedEpoch = int32(first)
	}))
	if p := resp.Topics[0].Partitions[0]; p.DivergingEpoch.EndOffset != 2 || p.DivergingEpoch.Epoch != int32(first) {
		t.Errorf("diverging epoch %+v, want epoch %d end 2", p.DivergingEpoch, first)
	}
}

func TestClientDeleteRecords(t *testing.T) {
	b := newBed(t)
	b.topic("del", 1)
	b.produce("del", 0, numbered(10, 10)...)
	adm := b.admin()
	cut := func(at int64) kadm.DeleteRecordsResponse {
		o := kadm.Offsets{}
		o.Add(kadm.Offset{Topic: "del", At: at})
		res, err := adm.DeleteRecords(soon(t), o)
		if err != nil {
			t.Fatal(err)
		}
		r, _ := res.Lookup("del", 0)
		return r
	}
	if r := cut(4); r.Err != nil || r.LowWatermark != 4 {
		t.Fatalf("delete to 4: %+v", r)
	}
	wantErr(t, "delete beyond the end", cut(11).Err, kerr.OffsetOutOfRange)
	if r := cut(2); r.Err != nil || r.LowWatermark != 4 {
		t.Errorf("delete below the start: %+v, want it to stay at 4", r)
	}
	for range 2 { // and after a restart
		if start, end := b.offsets("del", 0); start != 4 || end != 10 {
			t.Errorf("log is [%d, %d), want [4, 10)", start, end)
		}
		cl := b.client()
		meta, err := kadm.NewClient(cl).ListTopics(soon(t), "del")
		if err != nil {
			t.Fatal(err)
		}
		resp := ask[*kmsg.FetchResponse](b, cl, fetchRequest("del", meta["del"].ID, 0, 3))
		wantCode(t, "fetch below the start", resp.Topics[0].Partitions[0].ErrorCode, kerr.OffsetOutOfRange)
		b.wantValues("del", 0, 4, numbered(10, 10)[4:]...)
		b.restart()
	}
	adm = b.admin()
	if r := cut(-1); r.Err != nil || r.LowWatermark != 10 {
		t.Errorf("delete everything: %+v", r)
	}
}

func TestClientAutoCreate(t *testing.T) {
	b := newBed(t, func(c *Config) { c.Broker = map[string]string{"num.partitions": "3"} })
	ctx := soon(t)
	r := &kgo.Record{Topic: "auto", Value: []byte("x")}
	if err := b.client(kgo.AllowAutoTopicCreation()).ProduceSync(ctx, r).FirstErr(); err != nil {
		t.Fatal(err)
	}
	list, err := b.admin().ListTopics(ctx, "auto")
	if err != nil || len(list["auto"].Partitions) != 3 {
		t.Errorf("auto-created topic: %+v, %v, want 3 partitions", list, err)
	}
	_, err = b.admin().AlterBrokerConfigs(ctx, []kadm.AlterConfig{{Name: "auto.create.topics.enable", Value: kadm.StringPtr("false")}}, 1)
	if err != nil {
		t.Fatal(err)
	}
	req := kmsg.NewPtrMetadataRequest()
	req.AllowAutoTopicCreation = true
	rt := kmsg.NewMetadataRequestTopic()
	rt.Topic = kmsg.StringPtr("never")
	req.Topics = append(req.Topics, rt)
	resp := ask[*kmsg.MetadataResponse](b, b.client(), req)
	wantCode(t, "metadata of a topic that may not be made", resp.Topics[0].ErrorCode, kerr.UnknownTopicOrPartition)
}

// Requests of the newest versions name topics by id; an id of a deleted topic
// is unknown even when a topic of its name exists again.
func TestClientTopicIDs(t *testing.T) {
	b := newBed(t)
	old := b.topic("ids", 1)
	b.produce("ids", 0, "old")
	cl := b.client()
	resp := ask[*kmsg.FetchResponse](b, cl, fetchRequest("ids", old.ID, 0, 0))
	if resp.Version < 13 || len(resp.Topics[0].Partitions[0].RecordBatches) == 0 {
		t.Fatalf("fetch by id, version %d: %+v", resp.Version, resp)
	}
	if _, err := b.admin().DeleteTopic(soon(t), "ids"); err != nil {
		t.Fatal(err)
	}
	fresh := b.topic("ids", 1)
	if fresh.ID == old.ID {
		t.Fatal("a topic made again has its old id")
	}
	resp = ask[*kmsg.FetchResponse](b, cl, fetchRequest("ids", old.ID, 0, 0))
	code := resp.ErrorCode
	if code == 0 {
		code = resp.Topics[0].Partitions[0].ErrorCode
	}
	wantCode(t, "fetch by the deleted topic's id", code, kerr.UnknownTopicID)
	if start, end := b.offsets("ids", 0); start != 0 || end != 0 {
		t.Errorf("a topic made again holds [%d, %d)", start, end)
	}
}

// Offsets and bad input of the hot path: each has its own code and nothing is
// appended.
func TestClientBadProduce(t *testing.T) {
	b := newBed(t)
	b.topic("bad", 1, "max.message.bytes", "1000")
	cl := b.client(byName())
	flipped := testBatch(1, 100)
	flipped[70] ^= 1
	old := testBatch(1, 100)
	old[16] = 1
	for name, c := range map[string]struct {
		topic string
		part  int32
		batch []byte
		want  *kerr.Error
	}{
		"checksum":  {"bad", 0, flipped, kerr.CorruptMessage},
		"magic 1":   {"bad", 0, old, kerr.InvalidRecord},
		"too large": {"bad", 0, testBatch(1, 2000), kerr.MessageTooLarge},
		"partition": {"bad", 9, testBatch(1, 10), kerr.UnknownTopicOrPartition},
		"topic":     {"none", 0, testBatch(1, 10), kerr.UnknownTopicOrPartition},
		"empty":     {"bad", 0, nil, kerr.InvalidRecord},
	} {
		wantCode(t, name, b.rawProduce(cl, c.topic, c.part, c.batch).ErrorCode, c.want)
	}
	if _, end := b.offsets("bad", 0); end != 0 {
		t.Errorf("refused batches moved the end to %d", end)
	}
}

// A batch that no segment of the log can hold is refused; it must not end the
// log.
func TestClientBatchAboveSegment(t *testing.T) {
	b := newBed(t, smallLog)
	b.topic("above", 1)
	cl := b.client(byName())
	wantCode(t, "a batch above the log's segments", b.rawProduce(cl, "above", 0, testBatch(1, 100_000)).ErrorCode, kerr.MessageTooLarge)
	wantCode(t, "a batch that fits", b.rawProduce(cl, "above", 0, testBatch(2, 50_000)).ErrorCode, nil)
	if err := b.node.Err(); err != nil {
		t.Error(err)
	}
}
