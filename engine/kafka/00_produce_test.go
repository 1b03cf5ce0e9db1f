package kafka

import (
	"bytes"
	"encoding/binary"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"

	"dyno/engine/ids"
	"dyno/engine/partition"
	"dyno/engine/replica"
)

func code1(t testing.TB, r kmsg.Response) (code, *kmsg.ProduceResponseTopicPartition) {
	t.Helper()
	resp := r.(*kmsg.ProduceResponse)
	if len(resp.Topics) != 1 || len(resp.Topics[0].Partitions) != 1 {
		t.Fatalf("reply for %d topics", len(resp.Topics))
	}
	p := &resp.Topics[0].Partitions[0]
	return code(p.ErrorCode), p
}

func TestProduceEveryVersion(t *testing.T) {
	_, n, addr := start(t)
	topic := n.add("t", 1)
	c := dial(t, addr)
	next := int64(0)
	for v := int16(3); v <= 13; v++ {
		b := batch(3, 10, -1, -1, -1)
		req := produceTo(v, topic, 0, -1, b)
		e, p := code1(t, c.ask(req))
		if e != 0 || p.BaseOffset != next || p.LogAppendTime != -1 || v >= 8 && p.ErrorMessage != nil {
			t.Fatalf("version %d: %+v, want offset %d", v, p, next)
		}
		if v >= 5 && p.LogStartOffset != 0 {
			t.Fatalf("version %d: log start %d", v, p.LogStartOffset)
		}
		got := topic.parts[0].last()
		if !bytes.Equal(got[21:], b[21:]) {
			t.Fatalf("version %d: the log holds other bytes", v)
		}
		next += 3
	}
}

// TestProduceErrors gives each kind of bad batch and checks the code, and that
// the next good one is still served.
func TestProduceErrors(t *testing.T) {
	s, n, addr := start(t)
	topic := n.add("t", 1)
	topic.parts[0].change(func(s *partition.Settings) { s.MaxMessageBytes = 5000 })
	good := batch(2, 10, -1, -1, -1)
	edit := func(f func(b []byte) []byte) []byte { return f(bytes.Clone(good)) }
	attr := func(a byte) []byte {
		return edit(func(b []byte) []byte { b[22] |= a; return recrc(b) })
	}
	magic := func(m byte) []byte { return edit(func(b []byte) []byte { b[16] = m; return b }) }
	tests := []struct {
		name    string
		version int16
		acks    int16
		records []byte
		want    code
	}{
		{"good", 9, -1, good, codeNone},
		{"bad crc", 9, -1, edit(func(b []byte) []byte { b[70] ^= 1; return b }), codeCorruptMessage},
		{"cut short", 9, -1, good[:len(good)-1], codeCorruptMessage},
		{"header cut", 9, -1, good[:40], codeCorruptMessage},
		{"length below header", 9, -1, edit(func(b []byte) []byte { b[11] = 3; return b }), codeCorruptMessage},
		{"magic 0", 3, -1, magic(0), codeInvalidRecord},
		{"magic 1", 7, -1, magic(1), codeInvalidRecord},
		{"magic 1, flexible", 12, 1, magic(1), codeInvalidRecord},
		{"magic 3", 9, -1, magic(3), codeCorruptMessage},
		{"two batches", 9, -1, append(bytes.Clone(good), good...), codeInvalidRecord},
		{"no batch", 9, -1, []byte{}, codeInvalidRecord},
		{"null", 9, -1, nil, codeInvalidRecord},
		{"too large", 9, -1, batch(1, 5000, -1, -1, -1), codeMessageTooLarge},
		{"zstd before version 7", 6, -1, attr(4), codeUnsupportedCodec},
		{"control batch", 9, -1, attr(0x20), codeInvalidRecord},
		{"transactional", 9, -1, attr(0x10), codeInvalidTxnState},
		{"codec 7", 9, -1, attr(7), codeInvalidRecord},
		{"base offset", 9, -1, edit(func(b []byte) []byte { b[7] = 1; return b }), codeInvalidRecord},
		{"acks 2", 9, 2, good, codeInvalidRequiredAcks},
		{"acks -2", 3, -2, good, codeInvalidRequiredAcks},
		{"sequence starts", 9, -1, batch(2, 10, 7, 1, 5), codeNone},
		{"sequence gap", 9, -1, batch(2, 10, 7, 1, 9), codeOutOfOrderSequence},
		{"sequence goes on", 9, -1, batch(2, 10, 7, 1, 7), codeNone},
		{"sequence again", 9, -1, batch(2, 10, 7, 1, 7), codeNone},
		{"old epoch", 9, -1, batch(2, 10, 7, 0, 0), codeInvalidProdEpoch},
		{"good at the end", 3, 1, good, codeNone},
	}
	c := dial(t, addr)
	for _, x := range tests {
		req := produceTo(x.version, topic, 0, x.acks, bytes.Clone(x.records))
		e, p := code1(t, c.ask(req))
		if e != x.want {
			t.Errorf("%s: code %d, want %d", x.name, e, x.want)
		}
		if e != 0 && (p.BaseOffset != -1 || p.LogAppendTime != -1) {
			t.Errorf("%s: an error with offset %d", x.name, p.BaseOffset)
		}
	}
	if got := s.Snapshot().Errors[int16(codeCorruptMessage)]; got != 5 {
		t.Errorf("counted %d corrupt batches, want 5", got)
	}
}

// TestProduceRefusals covers what the node or partition says, before and after
// the append.
func TestProduceRefusals(t *testing.T) {
	_, n, addr := start(t)
	topic := n.add("t", 2)
	p := topic.parts[0]
	good := batch(1, 10, -1, -1, -1)
	c := dial(t, addr)
	set := func(refuse, answer error) {
		p.mu.Lock()
		p.refuse, p.answerErr = refuse, answer
		p.mu.Unlock()
	}
	for err, want := range map[error]code{
		replica.ErrOverloaded:          codeNotEnoughReplicas,
		replica.ErrDropped:             codeNotLeader,
		replica.ErrStopped:             codeNotLeader,
		replica.ErrDamaged:             codeKafkaStorage,
		partition.ErrNotEnoughReplicas: codeNotEnoughReplicas,
		errFake:                        codeUnknownServer,
	} {
		set(err, nil)
		if e, _ := code1(t, c.ask(produceTo(9, topic, 0, -1, bytes.Clone(good)))); e != want {
			t.Errorf("refused with %v: code %d, want %d", err, e, want)
		}
		set(nil, err)
		e, r := code1(t, c.ask(produceTo(9, topic, 0, 1, bytes.Clone(good))))
		if e != want || r.ErrorMessage == nil || *r.ErrorMessage != err.Error() {
			t.Errorf("answered with %v: %+v, want code %d", err, r, want)
		}
	}
	set(nil, nil)
	n.mu.Lock()
	n.full = true
	n.mu.Unlock()
	if e, _ := code1(t, c.ask(produceTo(9, topic, 0, -1, bytes.Clone(good)))); e != codeKafkaStorage {
		t.Errorf("disk full: code %d", e)
	}
	if e, _ := code1(t, c.ask(produceTo(9, topic, 7, -1, bytes.Clone(good)))); e != codeUnknownPartition {
		t.Errorf("partition 7 of 2: code %d", e)
	}
	gone := &fakeTopic{name: "gone", id: ids.TopicID{9}}
	if e, _ := code1(t, c.ask(produceTo(12, gone, 0, -1, bytes.Clone(good)))); e != codeUnknownPartition {
		t.Errorf("unknown topic by name: code %d", e)
	}
	if e, _ := code1(t, c.ask(produceTo(13, gone, 0, -1, bytes.Clone(good)))); e != codeUnknownTopicID {
		t.Errorf("unknown topic by id: code %d", e)
	}
}

// TestProduceLeaderHint checks that from version 10 on a client learns where
// the leader is.
func TestProduceLeaderHint(t *testing.T) {
	_, n, addr := start(t)
	topic := n.add("t", 1)
	p := topic.parts[0]
	p.leader, p.epoch = 2, 5
	c := dial(t, addr)
	for _, v := range []int16{9, 10, 13} {
		r := c.ask(produceTo(v, topic, 0, -1, batch(1, 1, -1, -1, -1))).(*kmsg.ProduceResponse)
		e, rp := code1(t, r)
		if e != codeNotLeader {
			t.Fatalf("version %d: code %d", v, e)
		}
		if v == 9 {
			if len(r.Brokers) != 0 {
				t.Error("version 9 has no brokers")
			}
			continue
		}
		if rp.CurrentLeader.LeaderID != 2 || rp.CurrentLeader.LeaderEpoch != 5 {
			t.Errorf("version %d: leader %+v", v, rp.CurrentLeader)
		}
		if len(r.Brokers) != 1 || r.Brokers[0].NodeID != 2 || r.Brokers[0].Host != "elsewhere" || *r.Brokers[0].Rack != "r" {
			t.Errorf("version %d: brokers %+v", v, r.Brokers)
		}
	}
}

// TestProduceSeveral sends one request for partitions of several topics, some
// of them bad, and checks that each gets its own answer in order.
func TestProduceSeveral(t *testing.T) {
	_, n, addr := start(t)
	a, b := n.add("a", 3), n.add("b", 1)
	for _, v := range []int16{3, 8, 12, 13} {
		req := produceTo(v, a, 2, -1, batch(1, 5, -1, -1, -1))
		bad := batch(1, 5, -1, -1, -1)
		bad[len(bad)-1] ^= 1
		for _, rec := range [][]byte{bad, batch(4, 5, -1, -1, -1)} {
			rp := kmsg.NewProduceRequestTopicPartition()
			rp.Partition, rp.Records = 0, rec
			req.Topics[0].Partitions = append(req.Topics[0].Partitions, rp)
		}
		req.Topics = append(req.Topics, produceTo(v, b, 9, -1, batch(1, 5, -1, -1, -1)).Topics...)
		empty := kmsg.NewProduceRequestTopic()
		empty.Topic = "empty"
		req.Topics = append(req.Topics, empty)
		resp := dial(t, addr).ask(req).(*kmsg.ProduceResponse)
		if len(resp.Topics) != 2 || len(resp.Topics[0].Partitions) != 3 || len(resp.Topics[1].Partitions) != 1 {
			t.Fatalf("version %d: %+v", v, resp.Topics)
		}
		var got []code
		for _, rt := range resp.Topics {
			for _, rp := range rt.Partitions {
				got = append(got, code(rp.ErrorCode))
			}
		}
		want := []code{codeNone, codeCorruptMessage, codeNone, codeUnknownPartition}
		for i := range want {
			if got[i] != want[i] {
				t.Errorf("version %d: codes %v, want %v", v, got, want)
				break
			}
		}
	}
}

// TestProduceOrder pipelines requests whose answers come out of order: replies
// leave in order, and none before its turn.
func TestProduceOrder(t *testing.T) {
	_, n, addr := start(t)
	topic := n.add("t", 2)
	slow := topic.parts[0]
	slow.hold = true
	c := dial(t, addr)
	reqs := []*kmsg.ProduceRequest{
		produceTo(9, topic, 0, -1, batch(1, 1, -1, -1, -1)),
		produceTo(9, topic, 1, -1, batch(1, 1, -1, -1, -1)),
		produceTo(9, topic, 1, 0, batch(1, 1, -1, -1, -1)), // acks=0: no reply
		produceTo(9, topic, 1, 1, batch(1, 1, -1, -1, -1)),
	}
	arrived := make(chan struct{}, 8)
	topic.parts[1].hook = func(*partition.Append) { arrived <- struct{}{} }
	for _, r := range reqs {
		c.send(r)
	}
	for range 3 {
		<-arrived // they were read although the first is not answered
	}
	slow.let()
	for i, r := range reqs {
		if r.Acks == 0 {
			continue
		}
		if e, _ := code1(t, c.recv(r, int32(i+1))); e != 0 {
			t.Errorf("request %d: code %d", i, e)
		}
	}
}

// TestProduceUnacked checks that acks=0 is silent, and that an error closes the
// connection: at once, and when the log says so later.
func TestProduceUnacked(t *testing.T) {
	s, n, addr := start(t)
	topic := n.add("t", 1)
	c := dial(t, addr)
	c.send(produceTo(9, topic, 0, 0, batch(1, 1, -1, -1, -1)))
	if e, p := code1(t, c.ask(produceTo(9, topic, 0, 1, batch(1, 1, -1, -1, -1)))); e != 0 || p.BaseOffset != 1 {
		t.Fatalf("after acks=0: %+v", p)
	}
	c.send(produceTo(9, topic, 3, 0, batch(1, 1, -1, -1, -1)))
	c.closed()

	topic.parts[0].mu.Lock()
	topic.parts[0].answerErr = replica.ErrNotLeader
	topic.parts[0].mu.Unlock()
	c = dial(t, addr)
	c.send(produceTo(9, topic, 0, 0, batch(1, 1, -1, -1, -1)))
	c.closed()
	if got := s.Snapshot().Closed["acks0_error"]; got < 1 {
		t.Errorf("counted %d connections closed for acks=0", got)
	}
}

// TestProduceAdapts checks compression.type and log append time: the log holds
// the batch as the topic wants it, and the client hears the time.
func TestProduceAdapts(t *testing.T) {
	_, n, addr := start(t)
	topic := n.add("t", 1)
	p := topic.parts[0]
	c := dial(t, addr)
	last := func() (partition.BatchInfo, []byte) {
		b := p.last()
		clear(b[:8]) // as the producer sent it
		in, err := partition.ParseBatch(b)
		if err != nil {
			t.Fatal(err)
		}
		return in, b
	}
	p.change(func(s *partition.Settings) { s.CompressionType = "zstd" })
	plain := batch(50, 100, -1, -1, -1)
	if e, _ := code1(t, c.ask(produceTo(9, topic, 0, -1, plain))); e != 0 {
		t.Fatalf("recompress: code %d", e)
	}
	in, b := last()
	if in.Attributes&7 != int16(partition.CodecZstd) || len(b) >= len(plain)/4 || in.Records != 50 {
		t.Errorf("the log holds %d bytes, attributes %#x", len(b), in.Attributes)
	}
	back, _, err := partition.Recompress(b, partition.CodecNone)
	if err != nil || !bytes.Equal(back[61:], plain[61:]) {
		t.Errorf("records changed by recompression: %v", err)
	}
	p.change(func(s *partition.Settings) { s.CompressionType, s.MaxMessageBytes = "uncompressed", 2000 })
	if e, _ := code1(t, c.ask(produceTo(9, topic, 0, -1, b))); e != codeMessageTooLarge {
		t.Errorf("too large once decompressed: code %d", e)
	}

	p.change(func(s *partition.Settings) { s.CompressionType, s.AppendTime = "producer", true })
	e, r := code1(t, c.ask(produceTo(9, topic, 0, -1, batch(2, 10, -1, -1, -1))))
	if e != 0 || r.LogAppendTime < 1_700_000_000_000 {
		t.Errorf("log append time %d, code %d", r.LogAppendTime, e)
	}
	stored := p.last()
	if stored[22]&8 == 0 || int64(binary.BigEndian.Uint64(stored[35:])) != r.LogAppendTime {
		t.Error("the log's batch does not carry the append time")
	}
}
