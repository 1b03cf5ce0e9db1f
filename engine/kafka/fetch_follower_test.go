package kafka

import (
	"bytes"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"

	"dyno/engine/ids"
)

// racks puts this node into rack a, live brokers into b (3, 4) and c (5, 6),
// and one that is fenced, 7, into d; broker 2 is fenced in r.
func racks(t testing.TB) (*fakeNode, *fakeTopic, *raw) {
	_, n, addr := start(t)
	n.settle("a", Broker{ID: 3, Rack: "b"}, Broker{ID: 4, Rack: "b"}, Broker{ID: 5, Rack: "c"}, Broker{ID: 6, Rack: "c"},
		Broker{ID: 7, Rack: "d", Fenced: true})
	topic := n.add("t", 1)
	p := topic.parts[0]
	fill(p, 5)
	p.place(1, 4, 3, 5, 6, 7)
	p.with(func(p *fakePart) { p.isr = []ids.NodeID{1, 4, 3, 6, 7} })
	return n, topic, dial(t, addr)
}

// ownedBy says in a Fetch that a replica sends it.
func ownedBy(req *kmsg.FetchRequest, replica int32) *kmsg.FetchRequest {
	req.ReplicaID = replica
	req.ReplicaState.ID, req.ReplicaState.Epoch = replica, -1
	if replica >= 0 {
		req.ReplicaState.Epoch = 9
	}
	return req
}

// TestFetchPrefers checks which replica a leader shows to a consumer.
func TestFetchPrefers(t *testing.T) {
	_, topic, c := racks(t)
	p := topic.parts[0]
	p.with(func(p *fakePart) { p.start, p.high = 1, 4 })
	for _, x := range []struct {
		name, rack string
		offset     int64
		replica    int32
		want       int32
	}{
		{"no rack", "", 2, -1, -1},
		{"unknown rack", "z", 2, -1, -1},
		{"the leader's rack", "a", 2, -1, -1},
		{"two there", "b", 2, -1, 4},
		{"only one in sync", "c", 2, -1, 6},
		{"fenced, in sync", "d", 2, -1, -1},
		{"fenced, not a replica", "r", 2, -1, -1},
		{"a replica asks", "b", 2, 5, -1},
		{"the log start", "b", 1, -1, 4},
		{"the high watermark", "b", 4, -1, 4},
		{"beyond the high watermark", "b", 5, -1, -1},
		{"out of range", "b", 0, -1, -1},
		{"out of range above", "b", 9, -1, -1},
	} {
		for v := int16(4); v <= 18; v++ {
			req := ownedBy(fetchFrom(v, topic, 0, x.offset), x.replica)
			req.Rack, req.MaxWaitMillis = x.rack, 0
			got := part1(t, c.ask(req))
			want := x.want
			if v < 11 {
				want = -1
			}
			if got.PreferredReadReplica != want {
				t.Errorf("%s, version %d: replica %d, want %d", x.name, v, got.PreferredReadReplica, want)
			}
			in := x.offset >= 1 && x.offset <= 4
			if records := len(got.RecordBatches) > 0; records != (want < 0 && in && x.offset < 4) {
				t.Errorf("%s, version %d: records: %v", x.name, v, records)
			}
			if in && (got.ErrorCode != 0 || got.HighWatermark != 4 || got.LogStartOffset != 1 && v >= 5) {
				t.Errorf("%s, version %d: %+v", x.name, v, got)
			}
		}
	}
}

// TestFetchPrefersChanges follows the in-sync set, a reassignment and the
// leader; an answer that points elsewhere does not wait.
func TestFetchPrefersChanges(t *testing.T) {
	_, topic, c := racks(t)
	for _, x := range []struct {
		name            string
		leader          ids.NodeID
		isr             []ids.NodeID
		coming, leaving []ids.NodeID
		wait            int32
		want            int32
	}{
		{"both in sync", 1, []ids.NodeID{1, 4, 3}, nil, nil, 1 << 30, 4},
		{"one leaves", 1, []ids.NodeID{1, 4, 3}, nil, []ids.NodeID{4}, 1 << 30, 3},
		{"one comes", 1, []ids.NodeID{1, 4, 3}, []ids.NodeID{4}, nil, 1 << 30, 3},
		{"one in sync", 1, []ids.NodeID{1, 3}, nil, nil, 1 << 30, 3},
		{"nobody has looked", 1, nil, nil, nil, 0, -1},
		{"led elsewhere", 3, []ids.NodeID{1, 3}, nil, nil, 0, -1},
	} {
		topic.parts[0].with(func(p *fakePart) { p.leader, p.isr, p.adding, p.removing = x.leader, x.isr, x.coming, x.leaving })
		req := fetchFrom(13, topic, 0, 5)
		req.Rack, req.MaxWaitMillis = "b", x.wait
		if got := part1(t, c.ask(req)); got.PreferredReadReplica != x.want || got.ErrorCode != 0 {
			t.Errorf("%s: %+v, want replica %d", x.name, got, x.want)
		}
	}
}

// TestFetchFromFollower checks whom a follower serves, and with what.
func TestFetchFromFollower(t *testing.T) {
	n, topic, c := racks(t)
	p := topic.parts[0]
	p.lead(3) // epoch 2
	p.with(func(p *fakePart) { p.start, p.high = 1, 3 })
	want := bytes.Join(p.batches[2:3], nil)
	ask := func(v int16, offset int64, edit func(*kmsg.FetchRequest)) *kmsg.FetchResponseTopicPartition {
		req := fetchFrom(v, topic, 0, offset)
		req.Topics[0].Partitions[0].LastFetchedEpoch = -1
		edit(req)
		return part1(t, c.ask(req))
	}
	none := func(*kmsg.FetchRequest) {}
	for v := int16(4); v <= 18; v++ {
		for _, rack := range []string{"", "a", "b", "z"} {
			got := ask(v, 2, func(r *kmsg.FetchRequest) { r.Rack = rack })
			if v < 11 {
				if code(got.ErrorCode) != codeNotLeader {
					t.Errorf("version %d: %+v", v, got)
				}
				continue
			}
			if got.ErrorCode != 0 || got.HighWatermark != 3 || got.PreferredReadReplica != -1 || !bytes.Equal(got.RecordBatches, want) {
				t.Errorf("version %d, rack %q: %+v", v, rack, got)
			}
		}
		if got := ask(v, 2, func(r *kmsg.FetchRequest) { ownedBy(r, 5) }); code(got.ErrorCode) != codeNotLeader {
			t.Errorf("version %d, a replica asks: %+v", v, got)
		}
	}
	epoch := func(now, last int32) func(*kmsg.FetchRequest) {
		return func(r *kmsg.FetchRequest) {
			q := &r.Topics[0].Partitions[0]
			q.CurrentLeaderEpoch, q.LastFetchedEpoch = now, last
		}
	}
	p.with(func(p *fakePart) { p.next = 3 }) // a follower's log ends at its high watermark
	for i, x := range []struct {
		offset int64
		edit   func(*kmsg.FetchRequest)
		want   code
	}{
		{3, none, codeNone}, {4, none, codeOffsetNotAvailable}, {1 << 40, none, codeOffsetNotAvailable},
		{0, none, codeOffsetOutOfRange}, {-1, none, codeOffsetOutOfRange},
		{2, epoch(2, -1), codeNone}, {2, epoch(1, -1), codeFencedEpoch}, {2, epoch(3, -1), codeUnknownEpoch},
		{4, epoch(2, 2), codeOffsetNotAvailable}, {4, epoch(1, 2), codeFencedEpoch},
	} {
		if got := ask(12, x.offset, x.edit); code(got.ErrorCode) != x.want || got.DivergingEpoch.Epoch != -1 {
			t.Errorf("%d, offset %d: %+v, want code %d", i, x.offset, got, x.want)
		}
	}
	lo := request[*kmsg.ListOffsetsRequest](topic)
	lo.Version = 5
	if got := c.ask(lo).(*kmsg.ListOffsetsResponse).Topics[0].Partitions[0]; code(got.ErrorCode) != codeNotLeader {
		t.Errorf("offsets of a follower: %+v", got)
	}
	p.lead(0)
	if got := ask(12, 2, none); got.ErrorCode != 0 || len(got.RecordBatches) == 0 {
		t.Errorf("without a leader: %+v", got)
	}
	if got, _ := n.Topic("t"); got.Partitions[0].Leader != 0 {
		t.Error("there is a leader")
	}
}

// TestFetchNewLeader checks that a leader which has not applied an entry of its
// own epoch calls no offset out of range.
func TestFetchNewLeader(t *testing.T) {
	_, topic, c := racks(t)
	p := topic.parts[0]
	for _, x := range []struct {
		known ids.LeaderEpoch
		last  int32
		want  code
	}{{0, -1, codeOffsetNotAvailable}, {0, 1, codeOffsetNotAvailable}, {1, -1, codeOffsetOutOfRange}} {
		p.with(func(p *fakePart) { p.known = x.known })
		req := fetchFrom(12, topic, 0, 7)
		req.Topics[0].Partitions[0].LastFetchedEpoch = x.last
		if got := part1(t, c.ask(req)); code(got.ErrorCode) != x.want || got.DivergingEpoch.Epoch != -1 {
			t.Errorf("epoch %d known: %+v, want code %d", x.known, got, x.want)
		}
	}
}

// TestFetchWaitsOnFollower checks that a long poll outlives the leadership and
// ends with what the follower applies, also where it lacked the offset at first.
func TestFetchWaitsOnFollower(t *testing.T) {
	_, topic, c := racks(t)
	p := topic.parts[0]
	req := fetchFrom(12, topic, 0, 5)
	req.MaxWaitMillis, req.Topics[0].Partitions[0].LastFetchedEpoch = 1<<30, -1
	c.send(req)
	watched(t, p, 1)
	p.lead(3)
	fill(p, 1)
	if got := part1(t, c.recv(req, 1)); got.ErrorCode != 0 || got.HighWatermark != 6 || len(got.RecordBatches) == 0 {
		t.Errorf("at the end: %+v", got)
	}

	req.Topics[0].Partitions[0].FetchOffset = 8
	c.send(req)
	watched(t, p, 1)
	fill(p, 1)
	fill(p, 2)
	if got := part1(t, c.recv(req, 2)); got.ErrorCode != 0 || got.HighWatermark != 9 || len(got.RecordBatches) == 0 {
		t.Errorf("beyond the end: %+v", got)
	}

	req.Topics[0].Partitions[0].FetchOffset, req.Topics[0].Partitions[0].CurrentLeaderEpoch = 9, 2
	c.send(req)
	watched(t, p, 1)
	p.lead(4)
	if got := part1(t, c.recv(req, 3)); code(got.ErrorCode) != codeFencedEpoch {
		t.Errorf("an epoch that ended: %+v", got)
	}
	req.MaxWaitMillis, req.Topics[0].Partitions[0].FetchOffset, req.Topics[0].Partitions[0].CurrentLeaderEpoch = 10, 99, -1
	if got := part1(t, c.ask(req)); code(got.ErrorCode) != codeOffsetNotAvailable {
		t.Errorf("after the wait: %+v", got)
	}
}

// TestFetchRackAllocs holds a Fetch without a rack to what it took before there
// were racks: nothing is looked up for it.
func TestFetchRackAllocs(t *testing.T) {
	if testing.CoverMode() != "" || raceEnabled {
		t.Skip("instrumentation allocates")
	}
	n := newFakeNode(t)
	topic := n.add("t", 1)
	fill(topic.parts[0], 1)
	f := &fetch{anyReplica: true, topics: []fetchTopic{{name: []byte("t"), parts: 1}}}
	f.parts = []fetchPart{{topic: &f.topics[0], epoch: -1, lastEpoch: -1, preferred: -1}}
	for _, leader := range []ids.NodeID{1, 2} {
		topic.parts[0].lead(leader)
		if got := testing.AllocsPerRun(100, func() { f.find(n, 1, 12) }); got != 0 {
			t.Errorf("led by %d: %.0f allocations", leader, got)
		}
	}
}
