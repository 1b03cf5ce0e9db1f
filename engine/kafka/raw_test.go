package kafka

import (
	"bufio"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"io"
	"net"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// raw is a client that sends exactly what a test says.
type raw struct {
	t    testing.TB
	nc   net.Conn
	r    *bufio.Reader
	corr int32
}

func dial(t testing.TB, addr string) *raw {
	t.Helper()
	nc, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = nc.Close() })
	_ = nc.SetDeadline(time.Now().Add(20 * time.Second))
	return dialled(t, nc)
}

// dialled makes a client of a connection.
func dialled(t testing.TB, nc net.Conn) *raw { return &raw{t: t, nc: nc, r: bufio.NewReader(nc)} }

// frame encodes a request with its header and length.
func frame(req kmsg.Request, corr int32) []byte {
	return kmsg.NewRequestFormatter(kmsg.FormatterClientID("test")).AppendRequest(nil, req, corr)
}

func (c *raw) write(b []byte) {
	c.t.Helper()
	if _, err := c.nc.Write(b); err != nil {
		c.t.Fatal(err)
	}
}

func (c *raw) send(req kmsg.Request) {
	c.t.Helper()
	c.corr++
	c.write(frame(req, c.corr))
}

// next reads one reply frame and checks its correlation id.
func (c *raw) next(corr int32) ([]byte, error) {
	var size [4]byte
	if _, err := io.ReadFull(c.r, size[:]); err != nil {
		return nil, err
	}
	b := make([]byte, binary.BigEndian.Uint32(size[:]))
	if _, err := io.ReadFull(c.r, b); err != nil {
		return nil, err
	}
	if got := int32(binary.BigEndian.Uint32(b)); got != corr {
		c.t.Fatalf("reply to %d, want one to %d", got, corr)
	}
	return b[4:], nil
}

// recv reads the reply to req, the corr-th request; every byte of it must be
// accounted for.
func (c *raw) recv(req kmsg.Request, corr int32) kmsg.Response {
	c.t.Helper()
	b, err := c.next(corr)
	if err != nil {
		c.t.Fatalf("no reply to %d: %v", corr, err)
	}
	return parse(c.t, req, b)
}

func parse(t testing.TB, req kmsg.Request, b []byte) kmsg.Response {
	t.Helper()
	resp := req.ResponseKind()
	if resp.IsFlexible() && resp.Key() != keyApiVersions {
		if len(b) == 0 || b[0] != 0 {
			t.Fatal("no tag count in a flexible reply header")
		}
		b = b[1:]
	}
	if err := resp.ReadFrom(b); err != nil {
		t.Fatalf("reply to key %d version %d: %v", req.Key(), req.GetVersion(), err)
	}
	if again := resp.AppendTo(nil); len(again) != len(b) {
		t.Fatalf("reply to key %d version %d has %d bytes, kmsg writes %d for it", req.Key(), req.GetVersion(), len(b), len(again))
	}
	return resp
}

func (c *raw) ask(req kmsg.Request) kmsg.Response {
	c.t.Helper()
	c.send(req)
	return c.recv(req, c.corr)
}

// closed checks that the server closes the connection without a further reply.
func (c *raw) closed() {
	c.t.Helper()
	if b, err := c.r.ReadByte(); err == nil {
		c.t.Fatalf("the server sent %#x instead of closing", b)
	} else if t, ok := errors.AsType[net.Error](err); ok && t.Timeout() {
		c.t.Fatal("the server did not close")
	}
}

// batch makes a v2 batch of records records, for producer pid (-1 none).
func batch(records int, payload int, pid int64, epoch int16, seq int32) []byte {
	b := kmsg.RecordBatch{
		PartitionLeaderEpoch: -1, Magic: 2, LastOffsetDelta: int32(records - 1),
		FirstTimestamp: 1000, MaxTimestamp: 1000 + int64(records) - 1,
		ProducerID: pid, ProducerEpoch: epoch, FirstSequence: seq, NumRecords: int32(records),
	}
	for i := range records {
		r := kmsg.Record{OffsetDelta: int32(i), TimestampDelta64: int64(i), Value: make([]byte, payload)}
		body := r.AppendTo(nil)
		r.Length = int32(len(body)) - 1 // the length of 0 took one byte
		b.Records = r.AppendTo(b.Records)
	}
	return seal(&b)
}

// seal encodes b with its right length and checksum.
func seal(b *kmsg.RecordBatch) []byte {
	out := b.AppendTo(nil)
	binary.BigEndian.PutUint32(out[8:], uint32(len(out)-12))
	return recrc(out)
}

func recrc(b []byte) []byte {
	binary.BigEndian.PutUint32(b[17:], crc32.Checksum(b[21:], crc32.MakeTable(crc32.Castagnoli)))
	return b
}

// produceTo makes a Produce of one batch.
func produceTo(version int16, topic *fakeTopic, p int32, acks int16, records []byte) *kmsg.ProduceRequest {
	req := kmsg.NewPtrProduceRequest()
	req.Version, req.Acks, req.TimeoutMillis = version, acks, 10_000
	rt := kmsg.NewProduceRequestTopic()
	rt.Topic, rt.TopicID = topic.name, topic.id
	rp := kmsg.NewProduceRequestTopicPartition()
	rp.Partition, rp.Records = p, records
	rt.Partitions = append(rt.Partitions, rp)
	req.Topics = append(req.Topics, rt)
	return req
}

// fetchFrom makes a Fetch of one partition.
func fetchFrom(version int16, topic *fakeTopic, p int32, offset int64) *kmsg.FetchRequest {
	req := kmsg.NewPtrFetchRequest()
	req.Version, req.MaxWaitMillis, req.MinBytes, req.MaxBytes = version, 0, 1, 1<<20
	rt := kmsg.NewFetchRequestTopic()
	rt.Topic, rt.TopicID = topic.name, topic.id
	rp := kmsg.NewFetchRequestTopicPartition()
	rp.Partition, rp.FetchOffset, rp.PartitionMaxBytes, rp.CurrentLeaderEpoch = p, offset, 1<<20, -1
	rt.Partitions = append(rt.Partitions, rp)
	req.Topics = append(req.Topics, rt)
	return req
}
