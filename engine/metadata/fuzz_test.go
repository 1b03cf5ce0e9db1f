package metadata

import (
	"bytes"
	"errors"
	"testing"

	"dyno/engine/ids"
	"dyno/engine/replica"
)

// FuzzDecode: whatever stands in the log is refused with one of two errors, or
// survives a round trip and applies without a panic; and the snapshot after it
// reads back to the same bytes.
func FuzzDecode(f *testing.F) {
	records := []Record{
		&ClusterCreated{ClusterID: "lab", Format: 1, Replicas: []Replica{{1, 1}}},
		&RegisterBroker{Node: 1, Kafka: "k:1", Raft: "r:2", Admin: "a:3", Rack: "r", Incarnation: 1},
		&FenceBroker{Node: 1, Incarnation: 1},
		&CreateTopic{Name: "t", ID: ids.TopicID{1}, Partitions: [][]ids.NodeID{{1}}, Configs: map[string]string{"retention.ms": "1"}},
		&DeleteTopic{ID: ids.TopicID{1}},
		&AddPartitions{ID: ids.TopicID{2}, From: 1, Partitions: [][]ids.NodeID{{1}}},
		&SetTopicConfigs{ID: ids.TopicID{2}, Set: map[string]string{"a": "b"}, Delete: []string{"c"}},
		&SetBrokerConfigs{Node: 0, Set: map[string]string{"a": "b"}},
		&AllocateProducerIDs{Node: 1, Count: 1},
		&SetISR{Node: 1, Partitions: []PartitionISR{{Topic: ids.TopicID{1}, Term: 1, ISR: []ids.NodeID{1, 2}}}},
		&Reassign{Partitions: []PartitionNodes{{Topic: ids.TopicID{1}, Nodes: []ids.NodeID{1}}}},
		&Reassigned{Move: 1, PartitionNodes: PartitionNodes{Topic: ids.TopicID{1}, Nodes: []ids.NodeID{1}}},
		&Readmit{Node: 1, Directory: "d", Old: "c"},
	}
	for i, r := range records {
		b, err := Encode(requestID(i+1), 1, r)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		id, atMS, r, err := Decode(b)
		if err != nil {
			if !errors.Is(err, ErrCorrupt) && !errors.Is(err, ErrNewer) && !errors.Is(err, ErrTooLarge) {
				t.Fatalf("refused with %v", err)
			}
			return
		}
		again, err := Encode(id, atMS, r)
		if err != nil && !errors.Is(err, ErrTooLarge) { // escapes may make it longer
			t.Fatal(err)
		}
		if err == nil {
			_, _, r2, err := Decode(again)
			if err != nil {
				t.Fatalf("%s does not read back: %v", again, err)
			}
			if third, err := Encode(id, atMS, r2); err != nil || !bytes.Equal(third, again) {
				t.Fatalf("%s became %s: %v", again, third, err)
			}
		}
		applyFuzzed(t, b)
	})
}

func applyFuzzed(t *testing.T, b []byte) {
	s := newStage()
	for i, r := range []Record{
		&ClusterCreated{ClusterID: "lab", Format: 1, Replicas: []Replica{{1, 1}}},
		&RegisterBroker{Node: 1, Kafka: "k:1", Raft: "r:2", Admin: "a:3", Incarnation: 1},
		&CreateTopic{Name: "u", ID: ids.TopicID{2}, Partitions: [][]ids.NodeID{{1}}},
	} {
		if _, err := s.propose(1000+i, 1, r); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.state.Apply([]replica.Entry{{Index: 4, Data: b}}); err != nil {
		t.Fatalf("decoded, but not applied: %v", err)
	}
	want := snapshotOf(t, s.state)
	restored := New(Config{})
	if err := restored.Restore(want); err != nil {
		t.Fatalf("restore %s: %v", want, err)
	}
	if got := snapshotOf(t, restored); !bytes.Equal(got, want) {
		t.Fatalf("%s became %s", want, got)
	}
}

// FuzzRestore: a damaged snapshot is refused or gives a state that can be
// written again.
func FuzzRestore(f *testing.F) {
	s := newStage()
	for i, r := range []Record{
		&ClusterCreated{ClusterID: "lab", Format: 1, Replicas: []Replica{{1, 1}}},
		&RegisterBroker{Node: 1, Kafka: "k:1", Raft: "r:2", Admin: "a:3", Incarnation: 1},
		&CreateTopic{Name: "u", ID: ids.TopicID{2}, Partitions: [][]ids.NodeID{{1}}},
		&SetBrokerConfigs{Node: 0, Set: map[string]string{"num.partitions": "2"}},
	} {
		if _, err := s.propose(i+1, 1, r); err != nil {
			f.Fatal(err)
		}
	}
	b, err := s.state.Snapshot()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Add(bytes.Replace(b, []byte(`"v":1`), []byte(`"v":2`), 1))
	f.Fuzz(func(t *testing.T, b []byte) {
		s := New(Config{})
		if err := s.Restore(b); err != nil {
			if !errors.Is(err, ErrCorrupt) && !errors.Is(err, ErrNewer) {
				t.Fatalf("refused with %v", err)
			}
			if s.Applied() != 0 {
				t.Fatal("a refused snapshot left a trace")
			}
			return
		}
		for _, topic := range s.Image().Topics() {
			View{Image: s.Image(), Node: 1}.TopicSettings(topic)
		}
		if err := New(Config{}).Restore(snapshotOf(t, s)); err != nil {
			t.Fatalf("written, but not read: %v", err)
		}
	})
}
