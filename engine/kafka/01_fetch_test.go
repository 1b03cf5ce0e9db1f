package kafka

import (
	"bytes"
	"net"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"dyno/engine/partition"
)

// fill puts batches of one record into a partition without the network.
func fill(p *fakePart, batches int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for range batches {
		a := &partition.Append{}
		a.Data = batch(1, 100, -1, -1, -1)
		a.Batch = partition.BatchInfo{ProducerID: -1, Records: 1}
		_ = p.admit(a)
	}
	p.commit()
}

func part1(t testing.TB, r kmsg.Response) *kmsg.FetchResponseTopicPartition {
	t.Helper()
	resp := r.(*kmsg.FetchResponse)
	if resp.ErrorCode != 0 || len(resp.Topics) != 1 || len(resp.Topics[0].Partitions) != 1 {
		t.Fatalf("fetch reply %+v", resp)
	}
	return &resp.Topics[0].Partitions[0]
}

func TestFetchEveryVersion(t *testing.T) {
	_, n, addr := start(t)
	topic := n.add("t", 1)
	fill(topic.parts[0], 5)
	want := bytes.Join(topic.parts[0].batches[2:], nil)
	c := dial(t, addr)
	for v := int16(4); v <= 18; v++ {
		for _, committed := range []int8{0, 1} {
			req := fetchFrom(v, topic, 0, 2)
			req.IsolationLevel = committed
			p := part1(t, c.ask(req))
			if p.ErrorCode != 0 || p.HighWatermark != 5 || p.LastStableOffset != 5 || !bytes.Equal(p.RecordBatches, want) {
				t.Fatalf("version %d: %+v", v, p)
			}
			if (p.AbortedTransactions == nil) != (committed == 0) {
				t.Errorf("version %d isolation %d: aborted %v", v, committed, p.AbortedTransactions)
			}
			if v >= 11 && p.PreferredReadReplica != -1 {
				t.Errorf("version %d: preferred replica %d", v, p.PreferredReadReplica)
			}
		}
	}
}

func TestFetchErrors(t *testing.T) {
	_, n, addr := start(t)
	topic := n.add("t", 1)
	p := topic.parts[0]
	fill(p, 4)
	p.epoch, p.known, p.start, p.high = 5, 5, 1, 3 // log end 4
	c := dial(t, addr)
	type edit func(*kmsg.FetchRequest, *kmsg.FetchRequestTopicPartition)
	tests := []struct {
		name    string
		version int16
		edit    edit
		want    code
	}{
		{"below the start", 12, func(_ *kmsg.FetchRequest, p *kmsg.FetchRequestTopicPartition) { p.FetchOffset = 0 }, codeOffsetOutOfRange},
		{"negative", 4, func(_ *kmsg.FetchRequest, p *kmsg.FetchRequestTopicPartition) { p.FetchOffset = -1 }, codeOffsetOutOfRange},
		{"at the high watermark", 12, func(_ *kmsg.FetchRequest, p *kmsg.FetchRequestTopicPartition) { p.FetchOffset = 3 }, codeNone},
		{"at the log end", 12, func(_ *kmsg.FetchRequest, p *kmsg.FetchRequestTopicPartition) { p.FetchOffset = 4 }, codeNone},
		{"beyond the log end", 12, func(_ *kmsg.FetchRequest, p *kmsg.FetchRequestTopicPartition) { p.FetchOffset = 5 }, codeOffsetOutOfRange},
		{"old epoch", 12, func(_ *kmsg.FetchRequest, p *kmsg.FetchRequestTopicPartition) { p.CurrentLeaderEpoch = 4 }, codeFencedEpoch},
		{"right epoch", 9, func(_ *kmsg.FetchRequest, p *kmsg.FetchRequestTopicPartition) { p.CurrentLeaderEpoch = 5 }, codeNone},
		{"new epoch", 9, func(_ *kmsg.FetchRequest, p *kmsg.FetchRequestTopicPartition) { p.CurrentLeaderEpoch = 6 }, codeUnknownEpoch},
		{"no such partition", 4, func(_ *kmsg.FetchRequest, p *kmsg.FetchRequestTopicPartition) { p.Partition = 3 }, codeUnknownPartition},
		{"no such topic", 4, func(r *kmsg.FetchRequest, _ *kmsg.FetchRequestTopicPartition) { r.Topics[0].Topic = "u" }, codeUnknownPartition},
		{"no such id", 13, func(r *kmsg.FetchRequest, _ *kmsg.FetchRequestTopicPartition) { r.Topics[0].TopicID[3] = 77 }, codeUnknownTopicID},
		{"unknown last epoch", 12, func(_ *kmsg.FetchRequest, p *kmsg.FetchRequestTopicPartition) { p.LastFetchedEpoch = 3 }, codeOffsetOutOfRange},
	}
	for _, x := range tests {
		req := fetchFrom(x.version, topic, 0, 2)
		req.Topics[0].Partitions[0].LastFetchedEpoch = -1
		x.edit(req, &req.Topics[0].Partitions[0])
		got := part1(t, c.ask(req))
		if code(got.ErrorCode) != x.want {
			t.Errorf("%s: code %d, want %d", x.name, got.ErrorCode, x.want)
		}
		if got.ErrorCode != 0 && (got.HighWatermark != -1 || len(got.RecordBatches) != 0) {
			t.Errorf("%s: an error with %+v", x.name, got)
		}
	}
	req := fetchFrom(12, topic, 0, 9)
	req.Topics[0].Partitions[0].LastFetchedEpoch = 7
	if got := part1(t, c.ask(req)); got.ErrorCode != 0 || got.DivergingEpoch.Epoch != 5 || got.DivergingEpoch.EndOffset != 4 {
		t.Errorf("diverging: %+v", got)
	}
	req = fetchFrom(12, topic, 0, 2)
	req.SessionID, req.SessionEpoch = 5, 3
	if got := c.ask(req).(*kmsg.FetchResponse); code(got.ErrorCode) != codeSessionNotFound || len(got.Topics) != 0 {
		t.Errorf("within a session: %+v", got)
	}
	p.mu.Lock()
	p.leader, p.away = 2, true
	p.mu.Unlock()
	for _, v := range []int16{12, 16} {
		resp := c.ask(fetchFrom(v, topic, 0, 2)).(*kmsg.FetchResponse)
		got := part1(t, resp)
		if code(got.ErrorCode) != codeNotLeader {
			t.Errorf("led elsewhere: %+v", got)
		}
		if hint := v >= 16; hint != (got.CurrentLeader.LeaderID == 2) || hint != (len(resp.Brokers) == 1) {
			t.Errorf("version %d: leader %+v, brokers %+v", v, got.CurrentLeader, resp.Brokers)
		}
	}
}

// TestFetchLimits checks the byte limits over several partitions and that one
// batch comes whole however small they are.
func TestFetchLimits(t *testing.T) {
	_, n, addr := start(t)
	topic := n.add("t", 3)
	for _, p := range topic.parts {
		fill(p, 10)
	}
	one := len(topic.parts[0].batches[0])
	c := dial(t, addr)
	ask := func(total, each int) (got []int) {
		req := fetchFrom(12, topic, 0, 0)
		req.MaxBytes = int32(total)
		for i := range 3 {
			p := req.Topics[0].Partitions[0]
			p.Partition, p.PartitionMaxBytes, p.LastFetchedEpoch = int32(i), int32(each), -1
			req.Topics[0].Partitions = append(req.Topics[0].Partitions, p)
		}
		req.Topics[0].Partitions = req.Topics[0].Partitions[1:]
		resp := c.ask(req).(*kmsg.FetchResponse)
		for _, p := range resp.Topics[0].Partitions {
			if p.ErrorCode != 0 || p.HighWatermark != 10 {
				t.Fatalf("%+v", p)
			}
			got = append(got, len(p.RecordBatches)/one)
		}
		return got
	}
	for _, x := range []struct {
		total, each int
		want        [3]int
	}{
		{1 << 20, 1 << 20, [3]int{10, 10, 10}},
		{1 << 20, 2*one + 1, [3]int{2, 2, 2}},
		{13 * one, 1 << 20, [3]int{10, 3, 0}},
		{1, 1, [3]int{1, 0, 0}},
		{0, 0, [3]int{1, 0, 0}},
		{1 << 20, 1, [3]int{1, 0, 0}},
	} {
		if got := ask(x.total, x.each); [3]int(got) != x.want {
			t.Errorf("max %d, partition max %d: batches %v, want %v", x.total, x.each, got, x.want)
		}
	}
}

// watched waits until n readers watch p. It needs no clock: Watch tells.
func watched(t testing.TB, p *fakePart, n int) {
	t.Helper()
	for {
		p.mu.Lock()
		have := len(p.watch)
		ch := make(chan struct{})
		p.onWatch = ch
		p.mu.Unlock()
		if have == n {
			return
		}
		select {
		case <-ch:
		case <-time.After(5 * time.Second):
			t.Fatalf("%d watchers, want %d", have, n)
		}
	}
}

// TestFetchAsksForMoreThanItTakes checks that a fetch whose least is above its most
// does not wait for what would never come.
func TestFetchAsksForMoreThanItTakes(t *testing.T) {
	inTime(t, Config{}, func(t *testing.T, s *Server, n *fakeNode, dial func() net.Conn) {
		topic := n.add("t", 1)
		fill(topic.parts[0], 20)
		req := fetchFrom(12, topic, 0, 0)
		req.MaxWaitMillis, req.MinBytes, req.MaxBytes = 60_000, 1<<20, 1000
		from := time.Now()
		if p := part1(t, dialled(t, dial()).ask(req)); len(p.RecordBatches) == 0 || len(p.RecordBatches) > 1000 {
			t.Errorf("%d bytes came", len(p.RecordBatches))
		}
		if took := time.Since(from); took != 0 {
			t.Errorf("it took %v", took)
		}
	})
}

// TestFetchLongPoll checks that a fetch waits, is woken once per commit, and
// does not hold up the work of requests behind it.
func TestFetchLongPoll(t *testing.T) {
	_, n, addr := start(t)
	topic := n.add("t", 1)
	p := topic.parts[0]
	c := dial(t, addr)
	one := len(batch(1, 100, -1, -1, -1))
	req := fetchFrom(12, topic, 0, 0)
	req.MaxWaitMillis, req.MinBytes = 20_000, int32(2*one)
	c.send(req)
	watched(t, p, 1)
	p.mu.Lock()
	before := p.reads
	p.mu.Unlock()

	arrived := make(chan struct{}, 1)
	p.mu.Lock()
	p.hook = func(*partition.Append) { arrived <- struct{}{} }
	p.mu.Unlock()
	prod := produceTo(9, topic, 0, -1, batch(1, 100, -1, -1, -1))
	c.send(prod)
	<-arrived // behind a waiting fetch on the same connection

	p.mu.Lock()
	p.hook = nil
	p.mu.Unlock()
	fill(p, 1)
	if got := part1(t, c.recv(req, 1)); len(got.RecordBatches) != 2*one {
		t.Errorf("fetched %d bytes, want two batches of %d", len(got.RecordBatches), one)
	}
	if e, _ := code1(t, c.recv(prod, 2)); e != 0 {
		t.Errorf("produce behind a fetch: code %d", e)
	}
	watched(t, p, 0)
	p.mu.Lock()
	defer p.mu.Unlock()
	if woken := p.reads - before; woken < 1 || woken > 2 {
		t.Errorf("%d reads for two commits", woken)
	}
}

// TestFetchWaitEnds checks what ends a wait early: lost leadership, a client
// that is gone, and a server that closes.
func TestFetchWaitEnds(t *testing.T) {
	s, n, addr := start(t)
	topic := n.add("t", 1)
	p := topic.parts[0]
	wait := func() (*raw, *kmsg.FetchRequest) {
		c := dial(t, addr)
		req := fetchFrom(10, topic, 0, 0) // which no follower serves
		req.MaxWaitMillis = 1 << 30
		c.send(req)
		watched(t, p, 1)
		return c, req
	}
	c, req := wait()
	p.lead(2) // Watch also tells when leadership ends
	if got := part1(t, c.recv(req, 1)); code(got.ErrorCode) != codeNotLeader {
		t.Errorf("leadership lost: %+v", got)
	}
	p.lead(1)

	c, _ = wait()
	_ = c.nc.Close()
	watched(t, p, 0)

	empty := fetchFrom(12, topic, 0, 0)
	empty.MaxWaitMillis, empty.Topics = 1<<30, nil
	dial(t, addr).ask(empty) // nothing to wait for

	c, req = wait()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if got := part1(t, c.recv(req, 1)); got.ErrorCode != 0 {
		t.Errorf("at shutdown: %+v", got)
	}
	c.closed()
}
