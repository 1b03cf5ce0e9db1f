package kafka

import (
	"errors"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"dyno/engine/partition"
)

// TestFetchBudget has a client that takes its reply late: the bytes of it stay
// taken, another waits for them as long as its request may wait, is answered
// without batches then, and with them once there is room.
func TestFetchBudget(t *testing.T) {
	cfg := Config{FetchBrokerBytesMax: 4000}
	inTime(t, cfg, func(t *testing.T, s *Server, n *fakeNode, dial func() net.Conn) {
		topic := n.add("t", 1)
		fill(topic.parts[0], 20) // some 170 bytes each
		ask := func(wait int32) *kmsg.FetchRequest {
			req := fetchFrom(12, topic, 0, 0)
			req.MaxWaitMillis, req.MaxBytes = wait, 3000
			return req
		}
		a, b := dialled(t, dial()), dialled(t, dial())
		a.send(ask(0))
		synctest.Wait() // a pipe has no buffer: the reply is not written
		held := s.Snapshot().FetchBytesInFlight
		if held < 2000 || held > 3000 {
			t.Fatalf("%d bytes are taken for a reply of at most 3000", held)
		}
		from := time.Now()
		if p := part1(t, b.ask(ask(700))); p.ErrorCode != 0 || p.HighWatermark != 20 || len(p.RecordBatches) != 0 {
			t.Errorf("without room: %+v", p)
		}
		if took := time.Since(from); took != 700*time.Millisecond || s.Snapshot().FetchBytesLimitWaits != 1 {
			t.Errorf("answered after %v, %d waits", took, s.Snapshot().FetchBytesLimitWaits)
		}
		b.send(ask(5000))
		synctest.Wait()
		if p := part1(t, a.recv(ask(0), 1)); len(p.RecordBatches) != int(held) {
			t.Errorf("%d bytes came, %d were taken", len(p.RecordBatches), held)
		}
		if p := part1(t, b.recv(ask(5000), 2)); len(p.RecordBatches) != int(held) {
			t.Errorf("with room: %d bytes", len(p.RecordBatches))
		}
		synctest.Wait()
		if left := s.Snapshot().FetchBytesInFlight; left != 0 {
			t.Errorf("%d bytes are still taken", left)
		}
	})
}

// TestFetchBudgetPolls checks that long polls without data hold nothing, so
// that there can be more of them than replies, and that a batch beyond every
// limit is counted with its true size and given back when its client goes.
func TestFetchBudgetPolls(t *testing.T) {
	inTime(t, Config{FetchBrokerBytesMax: 1000}, func(t *testing.T, s *Server, n *fakeNode, dial func() net.Conn) {
		topic := n.add("t", 1)
		var all []*raw
		req := fetchFrom(12, topic, 0, 0)
		req.MaxWaitMillis, req.MaxBytes = 10_000, 900
		for range 5 {
			c := dialled(t, dial())
			c.send(req)
			all = append(all, c)
		}
		synctest.Wait()
		if got := s.Snapshot(); got.FetchBytesInFlight != 0 {
			t.Fatalf("%d bytes are taken by polls", got.FetchBytesInFlight)
		}
		p := topic.parts[0]
		p.mu.Lock()
		a := &partition.Append{Batch: partition.BatchInfo{ProducerID: -1, Records: 1}}
		a.Data = batch(1, 5000, -1, -1, -1)
		_ = p.admit(a)
		p.commit()
		p.mu.Unlock()
		synctest.Wait()
		if got := s.Snapshot().FetchBytesInFlight; got != int64(len(a.Data)) {
			t.Errorf("%d bytes are taken for a batch of %d", got, len(a.Data))
		}
		for _, c := range all {
			_ = c.nc.Close()
			synctest.Wait()
		}
		if got := s.Snapshot().FetchBytesInFlight; got != 0 {
			t.Errorf("%d bytes are taken for clients that went", got)
		}
	})
}

// TestRecompressTurns checks that a Produce waits for a turn to recompress,
// that one which need not does not, and that a connection that ends stops
// waiting.
func TestRecompressTurns(t *testing.T) {
	inTime(t, Config{DrainTimeout: time.Second}, func(t *testing.T, s *Server, n *fakeNode, dial func() net.Conn) {
		topic := n.add("t", 2)
		topic.parts[0].change(func(s *partition.Settings) { s.CompressionType = "zstd" })
		topic.parts[1].change(func(s *partition.Settings) { s.CompressionType = "uncompressed" })
		for range cap(s.recompressing) {
			s.recompressing <- struct{}{}
		}
		a, b, c := dialled(t, dial()), dialled(t, dial()), dialled(t, dial())
		to := func(p int32) *kmsg.ProduceRequest {
			return produceTo(9, topic, p, -1, batch(1, 100, -1, -1, -1))
		}
		a.send(to(0))
		synctest.Wait()
		if got := s.Snapshot(); got.RecompressWaits != 1 || got.Batches != 0 {
			t.Fatalf("%d wait, %d were handed over", got.RecompressWaits, got.Batches)
		}
		if e, _ := code1(t, b.ask(to(1))); e != codeNone {
			t.Errorf("nothing to recompress: code %d", e)
		}
		<-s.recompressing
		if e, _ := code1(t, a.recv(to(0), 1)); e != codeNone {
			t.Errorf("recompressed: code %d", e)
		}
		s.recompressing <- struct{}{}
		c.send(to(0))
		synctest.Wait()
		if err := s.Close(); err != nil { // hangs if the wait does not end with the connection
			t.Error(err)
		}
	})
}

// TestReadErrors checks that what a read of the log fails with is told as the
// storage's, unless it has a code of its own.
func TestReadErrors(t *testing.T) {
	_, n, addr := start(t)
	topic := n.add("t", 1)
	fill(topic.parts[0], 1)
	c := dial(t, addr)
	for err, want := range map[error]code{
		errFake:                       codeKafkaStorage,
		partition.ErrDamaged:          codeKafkaStorage,
		partition.ErrOffsetOutOfRange: codeOffsetOutOfRange,
		errors.Join(ErrUnknownTopic):  codeUnknownPartition,
	} {
		topic.parts[0].mu.Lock()
		topic.parts[0].readErr = err
		topic.parts[0].mu.Unlock()
		if p := part1(t, c.ask(fetchFrom(12, topic, 0, 0))); code(p.ErrorCode) != want && err != partition.ErrOffsetOutOfRange {
			t.Errorf("fetch, %v: code %d, want %d", err, p.ErrorCode, want)
		}
		for _, ts := range []int64{1, timeMax} {
			req := kmsg.NewPtrListOffsetsRequest()
			req.Version, req.ReplicaID = 7, -1
			rt := kmsg.NewListOffsetsRequestTopic()
			rt.Topic = topic.name
			rp := kmsg.NewListOffsetsRequestTopicPartition()
			rp.Timestamp, rp.CurrentLeaderEpoch = ts, -1
			rt.Partitions = append(rt.Partitions, rp)
			req.Topics = append(req.Topics, rt)
			got := c.ask(req).(*kmsg.ListOffsetsResponse).Topics[0].Partitions[0].ErrorCode
			if code(got) != want {
				t.Errorf("list offsets at %d, %v: code %d, want %d", ts, err, got, want)
			}
		}
	}
}
