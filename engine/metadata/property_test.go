package metadata

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"testing"

	"dyno/engine/ids"
	"dyno/engine/replica"

	"pgregory.net/rapid"
)

// genRecord draws from few names, ids and nodes, so that records meet.
func genRecord(t *rapid.T) Record {
	node := ids.NodeID(rapid.IntRange(1, 4).Draw(t, "node"))
	topic := ids.TopicID{15: byte(rapid.IntRange(1, 3).Draw(t, "topic"))}
	assignment := func() [][]ids.NodeID {
		rf := rapid.IntRange(1, 3).Draw(t, "rf")
		parts := make([][]ids.NodeID, rapid.IntRange(1, 4).Draw(t, "partitions"))
		for p := range parts {
			parts[p] = rapid.Permutation([]ids.NodeID{1, 2, 3, 4}).Draw(t, "replicas")[:rf]
		}
		return parts
	}
	value := rapid.SampledFrom([]string{"1048576", "2097152", "4194304"})
	configs := func(keys ...string) map[string]string {
		return rapid.MapOf(rapid.SampledFrom(keys), value).Draw(t, "configs")
	}
	switch rapid.IntRange(0, 9).Draw(t, "kind") {
	case 0:
		return &ClusterCreated{ClusterID: rapid.SampledFrom([]string{"lab", "lab", "other"}).Draw(t, "cluster"), Format: 1, Replicas: []Replica{{1, 1}}}
	case 1:
		return &RegisterBroker{Node: node, Kafka: "k:1", Raft: "r:2", Admin: "a:3", Incarnation: rapid.Uint64Range(1, 2).Draw(t, "incarnation")}
	case 2:
		return &FenceBroker{Node: node, Incarnation: rapid.Uint64Range(1, 2).Draw(t, "incarnation")}
	case 3, 4:
		name := rapid.SampledFrom([]string{"a", "b", "a.b", "a_b", "c"}).Draw(t, "name")
		return &CreateTopic{Name: name, ID: topic, Partitions: assignment(), Configs: configs("retention.ms", "segment.bytes")}
	case 5:
		return &DeleteTopic{ID: topic}
	case 6:
		return &AddPartitions{ID: topic, From: ids.Partition(rapid.IntRange(1, 4).Draw(t, "from")), Partitions: assignment()}
	case 7:
		if rapid.Bool().Draw(t, "broker") {
			return &SetBrokerConfigs{Node: node - 1, Set: configs("num.partitions"), Delete: []string{"log.retention.ms"}}
		}
		return &SetTopicConfigs{ID: topic, Set: configs("retention.ms"), Delete: []string{"segment.bytes"}}
	}
	if rapid.IntRange(0, 4).Draw(t, "lost") == 0 {
		return &Readmit{Node: node, Directory: rapid.SampledFrom([]string{"x", "y", "z"}).Draw(t, "directory")}
	}
	if rapid.Bool().Draw(t, "move") {
		nodes := rapid.Permutation([]ids.NodeID{1, 2, 3, 4}).Draw(t, "nodes")[:rapid.IntRange(0, 3).Draw(t, "rf")]
		p := PartitionNodes{Topic: topic, Partition: ids.Partition(rapid.IntRange(0, 2).Draw(t, "moved")), Nodes: nodes}
		if len(nodes) > 0 && rapid.Bool().Draw(t, "done") {
			return &Reassigned{PartitionNodes: p, Move: ids.LogIndex(rapid.IntRange(0, 60).Draw(t, "at"))}
		}
		return &Reassign{Partitions: []PartitionNodes{p}}
	}
	if rapid.Bool().Draw(t, "block") {
		return &AllocateProducerIDs{Node: node, Count: rapid.Int64Range(1, 1000).Draw(t, "count")}
	}
	isr := slices.Sorted(slices.Values(append(rapid.Permutation([]ids.NodeID{1, 2, 3, 4}).Draw(t, "isr")[:2], node)))
	return &SetISR{Node: node, Partitions: []PartitionISR{{
		Topic: topic, Partition: ids.Partition(rapid.IntRange(0, 4).Draw(t, "partition")),
		Term: ids.Term(rapid.IntRange(1, 3).Draw(t, "term")), ISR: slices.Compact(isr),
	}}}
}

// genLog draws a log with repeated request ids and entries of Raft's own. Half
// of the logs start with a cluster, for the rest to have effect.
func genLog(t *rapid.T) []replica.Entry {
	records := rapid.SliceOfN(rapid.Custom(genRecord), 20, 80).Draw(t, "records")
	if rapid.IntRange(0, 3).Draw(t, "seeded") > 0 {
		head := []Record{&ClusterCreated{ClusterID: "lab", Format: 1, Replicas: []Replica{{1, 1}, {2, 2}, {3, 3}}}}
		for n := range 4 {
			head = append(head, &RegisterBroker{Node: ids.NodeID(n + 1), Kafka: "k:1", Raft: "r:2", Admin: "a:3", Incarnation: 1})
		}
		records = append(head, records...)
	}
	var log []replica.Entry
	for i, r := range records {
		n := i + 1
		if i > 0 && rapid.IntRange(0, 9).Draw(t, "repeat") == 0 {
			n = rapid.IntRange(1, i).Draw(t, "of")
		}
		data, err := Encode(requestID(n), int64(i), r)
		if err != nil {
			t.Fatal(err)
		}
		if rapid.IntRange(0, 19).Draw(t, "empty") == 0 {
			data = nil
		}
		log = append(log, replica.Entry{Index: ids.LogIndex(i + 1), Term: 1, Data: data})
	}
	return log
}

// replay applies log in runs of the given length.
func replay(t *rapid.T, s *State, log []replica.Entry, run int) {
	for part := range slices.Chunk(log, run) {
		if err := s.Apply(part); err != nil {
			t.Fatal(err)
		}
	}
}

func snap(t *rapid.T, s *State) []byte {
	b, err := s.Snapshot()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestSameLogSameBytes: replicas that apply the same entries, cut into runs of
// any length, and one that starts from a snapshot, end with equal bytes.
func TestSameLogSameBytes(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		log := genLog(t)
		one, other := New(Config{}), New(Config{})
		replay(t, one, log, 1)
		replay(t, other, log, rapid.IntRange(1, 8).Draw(t, "run"))
		want := snap(t, one)
		if got := snap(t, other); !bytes.Equal(got, want) {
			t.Fatalf("runs matter:\n%s\n%s", want, got)
		}
		cut := rapid.IntRange(0, len(log)).Draw(t, "cut")
		first, second := New(Config{}), New(Config{})
		replay(t, first, log[:cut], 3)
		if err := second.Restore(snap(t, first)); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(snap(t, second), snap(t, first)) {
			t.Fatal("a snapshot does not survive its own restore")
		}
		replay(t, second, log[cut:], 2)
		if got := snap(t, second); !bytes.Equal(got, want) {
			t.Fatalf("snapshot and tail differ from the whole log:\n%s\n%s", want, got)
		}
	})
}

// TestImagesKeep: an image that somebody holds never changes, and the changes
// told add up to the newest image.
func TestImagesKeep(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		held := make(map[ids.TopicID]*Topic)
		brokers := make(map[ids.NodeID]*Broker)
		s := New(Config{OnChange: func(_ *Image, changes []Change) {
			for _, c := range changes {
				switch c.Kind {
				case TopicMade, PartitionsAdded, TopicConfigsSet, ISRSet, ReplicasSet:
					held[c.Topic.ID] = c.Topic
				case TopicGone:
					delete(held, c.Topic.ID)
				case BrokerChanged:
					brokers[c.Node] = c.Broker
				}
			}
		}})
		type kept struct {
			image *Image
			bytes []byte
		}
		var all []kept
		for _, e := range genLog(t) {
			replay(t, s, []replica.Entry{e}, 1)
			all = append(all, kept{s.Image(), mustEncode(t, s.Image())})
			checkIDs(t, s.Image())
		}
		for _, k := range all {
			if !bytes.Equal(mustEncode(t, k.image), k.bytes) {
				t.Fatalf("image %d changed after it was published", k.image.Index)
			}
		}
		m := s.Image()
		if len(held) != len(m.topics) || len(brokers) != len(m.brokers) {
			t.Fatalf("told of %d topics and %d brokers, there are %d and %d", len(held), len(brokers), len(m.topics), len(m.brokers))
		}
		for id, topic := range held {
			if m.topics[id] != topic {
				t.Fatalf("topic %s is not the one told last", topic.Name)
			}
		}
	})
}

func mustEncode(t *rapid.T, m *Image) []byte {
	b, err := m.encode(nil)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// checkIDs wants every group and replica id once, below the counters.
func checkIDs(t *rapid.T, m *Image) {
	groups, replicas, n := map[ids.GroupID]bool{ids.MetadataGroup: true}, make(map[ids.ReplicaID]bool), 0
	for _, r := range m.Cluster.Replicas {
		replicas[r.ID] = true
	}
	for _, topic := range m.Topics() {
		for _, p := range topic.Partitions {
			n++
			if groups[p.Group] || p.Group >= m.nextGroup {
				t.Fatalf("group %d twice or above %d", p.Group, m.nextGroup)
			}
			groups[p.Group] = true
			for _, r := range p.Replicas {
				if replicas[r.ID] || r.ID >= m.nextReplica {
					t.Fatalf("replica %d twice or above %d", r.ID, m.nextReplica)
				}
				replicas[r.ID] = true
			}
		}
	}
	if n != m.PartitionCount() {
		t.Fatalf("%d partitions, counted %d", n, m.PartitionCount())
	}
}

// TestRememberedIsBounded: the oldest request is pushed out, in memory and in
// the snapshot alike, and the one before stays.
func TestRememberedIsBounded(t *testing.T) {
	s := newStage()
	if _, err := s.propose(1, 1, &ClusterCreated{ClusterID: "lab", Format: 1, Replicas: []Replica{{1, 1}}}); err != nil {
		t.Fatal(err)
	}
	reg := &RegisterBroker{Node: 1, Kafka: "k:1", Raft: "r:2", Admin: "a:3", Incarnation: 1}
	for n := 2; n <= RememberedMax+1; n++ {
		if _, err := s.propose(n, 1, reg); err != nil {
			t.Fatal(err)
		}
	}
	if _, ok := s.state.recall(requestID(1)); ok {
		t.Error("the oldest request is still remembered")
	}
	if _, ok := s.state.recall(requestID(2)); !ok {
		t.Error("the oldest but one is forgotten")
	}
	restored := New(Config{})
	if err := restored.Restore(snapshotOf(t, s.state)); err != nil {
		t.Fatal(err)
	}
	if _, err := s.propose(RememberedMax+2, 1, reg); err != nil {
		t.Fatal(err)
	}
	if err := restored.Apply(s.log[len(s.log)-1:]); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(snapshotOf(t, restored), snapshotOf(t, s.state)) {
		t.Error("a full memory differs after a restore")
	}
	if len(restored.byID) != RememberedMax {
		t.Errorf("%d requests remembered, want %d", len(restored.byID), RememberedMax)
	}
	want := Counts{Applied: RememberedMax + 2}
	if got := s.state.Counts(); got != want {
		t.Errorf("counts %+v, want %+v", got, want)
	}
}

// TestClusterLimits: what apply refuses for size.
func TestClusterLimits(t *testing.T) {
	s := newStage()
	ask := 0
	propose := func(r Record) error {
		ask++
		_, err := s.propose(ask, 1, r)
		return err
	}
	if err := propose(&ClusterCreated{ClusterID: "lab", Format: 1, Replicas: []Replica{{1, 1}}}); err != nil {
		t.Fatal(err)
	}
	for n := range BrokersMax {
		if err := propose(&RegisterBroker{Node: ids.NodeID(n + 1), Kafka: "k:1", Raft: "r:2", Admin: "a:3"}); err != nil {
			t.Fatal(err)
		}
	}
	if err := propose(&RegisterBroker{Node: BrokersMax + 1, Kafka: "k:1", Raft: "r:2", Admin: "a:3"}); !errors.Is(err, ErrTooMany) {
		t.Errorf("broker beyond the limit: %v", err)
	}
	big := slices.Repeat([][]ids.NodeID{{1}}, PartitionsMax)
	for n := range ClusterPartitionsMax / PartitionsMax {
		if err := propose(&CreateTopic{Name: fmt.Sprint("t", n), ID: ids.TopicID{15: byte(n + 1)}, Partitions: big}); err != nil {
			t.Fatal(err)
		}
	}
	before := s.state.Image().nextGroup
	if err := propose(&CreateTopic{Name: "more", ID: ids.TopicID{1}, Partitions: big[:1]}); !errors.Is(err, ErrTooMany) {
		t.Errorf("partition beyond the limit: %v", err)
	}
	if s.state.Image().nextGroup != before {
		t.Error("a refused topic took group ids")
	}
}
