package metadata

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"dyno/engine/ids"
)

// Image is the metadata after one applied entry. It and everything reached from
// it is immutable: keep it as long as you like, change nothing. Safe for any
// goroutine.
type Image struct {
	Index   ids.LogIndex // last entry applied
	Cluster Cluster

	topics  map[ids.TopicID]*Topic
	names   map[string]*Topic // by collisionKey
	brokers map[ids.NodeID]*Broker
	configs map[ids.NodeID]map[string]string // dynamic broker configs; 0 is for all

	partitions   int // of all topics
	nextGroup    ids.GroupID
	nextReplica  ids.ReplicaID
	nextProducer ids.ProducerID
}

// Cluster is what ClusterCreated said; ID is empty before it.
type Cluster struct {
	ID        string    `json:"id"`
	Format    int       `json:"format"`
	CreatedMS int64     `json:"created_ms"`
	Replicas  []Replica `json:"replicas"` // of the metadata group, as they are to be
	// Initial are those that it began with, where they have changed since.
	Initial []Replica `json:"initial,omitempty"`
}

// Broker is a registered node.
type Broker struct {
	Node         ids.NodeID `json:"node"`
	Kafka        string     `json:"kafka"` // host:port, like Raft and Admin
	Raft         string     `json:"raft"`
	Admin        string     `json:"admin"`
	Rack         string     `json:"rack,omitempty"`
	Incarnation  uint64     `json:"incarnation"`
	Directory    string     `json:"directory,omitempty"`
	RegisteredMS int64      `json:"registered_ms"`
	Fenced       bool       `json:"fenced,omitempty"`
	Draining     bool       `json:"draining,omitempty"`
}

// Taking says whether the node may get new replicas and leaders.
func (b *Broker) Taking() bool { return !b.Fenced && !b.Draining }

// Topic is a topic with its partitions in order.
type Topic struct {
	Name       string            `json:"name"`
	ID         ids.TopicID       `json:"id"`
	CreatedMS  int64             `json:"created_ms"`
	Partitions []Partition       `json:"partitions"`
	Configs    map[string]string `json:"configs,omitempty"` // set on the topic itself
}

// RF is the topic's replication factor: that of its first partition.
func (t *Topic) RF() int {
	p := &t.Partitions[0]
	if p.Base != nil {
		return len(p.Base)
	}
	return len(p.Replicas)
}

// Partition is one partition's group and members, the preferred leader first,
// and what its leader last said: who it is and which nodes are in sync. Before
// the first word Leader is 0 and ISR empty.
//
// While replicas are moved, Replicas holds all of them, those that join and those
// that leave; Target is what they will be, in order, Base what they were before the
// first Reassign of the move, and Adding and Removing the difference. Which of them
// vote meanwhile is known to the partition's group alone, until Reassigned.
type Partition struct {
	Group    ids.GroupID `json:"group"`
	Replicas []Replica   `json:"replicas"`
	// Initial are the members that the group began with, where they have changed
	// since: a replica that starts with an empty log begins with them.
	Initial  []Replica    `json:"initial,omitempty"`
	Target   []ids.NodeID `json:"target,omitempty"`
	Base     []ids.NodeID `json:"base,omitempty"`
	Move     ids.LogIndex `json:"move,omitempty"` // the entry that set Target
	Adding   []ids.NodeID `json:"adding,omitempty"`
	Removing []ids.NodeID `json:"removing,omitempty"`
	// Lost are replicas that Readmit replaced and that the group may still count.
	Lost     []Replica    `json:"lost,omitempty"`
	Leader   ids.NodeID   `json:"leader,omitempty"`
	Term     ids.Term     `json:"term,omitempty"`
	ISR      []ids.NodeID `json:"isr,omitempty"` // ascending
	ISREpoch int32        `json:"isr_epoch,omitempty"`
}

// On gives the replica that a node holds, 0 for none.
func (p *Partition) On(n ids.NodeID) ids.ReplicaID {
	for _, r := range p.Replicas {
		if r.Node == n {
			return r.ID
		}
	}
	return 0
}

func emptyImage() *Image {
	return &Image{nextGroup: ids.MetadataGroup + 1, nextReplica: 1}
}

// Topic finds a topic by name.
func (m *Image) Topic(name string) (*Topic, bool) {
	t := m.names[collisionKey(name)]
	if t == nil || t.Name != name {
		return nil, false
	}
	return t, true
}

// TopicByID finds a topic by id.
func (m *Image) TopicByID(id ids.TopicID) (*Topic, bool) {
	t, ok := m.topics[id]
	return t, ok
}

// Topics lists all topics by name. The slice is the caller's.
func (m *Image) Topics() []*Topic {
	return slices.SortedFunc(maps.Values(m.topics), func(a, b *Topic) int { return strings.Compare(a.Name, b.Name) })
}

// Broker finds a registered node.
func (m *Image) Broker(n ids.NodeID) (*Broker, bool) {
	b, ok := m.brokers[n]
	return b, ok
}

// Brokers lists the registered nodes by id. The slice is the caller's.
func (m *Image) Brokers() []*Broker {
	return slices.SortedFunc(maps.Values(m.brokers), func(a, b *Broker) int { return cmp.Compare(a.Node, b.Node) })
}

// PartitionCount is the number of partitions of all topics.
func (m *Image) PartitionCount() int { return m.partitions }

// CheckNewTopic says what apply would answer to a new topic of that name now:
// ErrTopicExists, ErrNameCollision or nil.
func (m *Image) CheckNewTopic(name string) error {
	old := m.names[collisionKey(name)]
	switch {
	case old == nil:
		return nil
	case old.Name == name:
		return fmt.Errorf("%w: %q", ErrTopicExists, name)
	}
	return fmt.Errorf("%w: %q and %q", ErrNameCollision, name, old.Name)
}

// snapshotVersion is the newest form of a snapshot.
const snapshotVersion = 1

// snapshot is an Image and the remembered requests as bytes hold them: every
// list sorted, so that equal states give equal bytes.
type snapshot struct {
	V            int            `json:"v"`
	Index        ids.LogIndex   `json:"index"`
	Cluster      Cluster        `json:"cluster"`
	Brokers      []*Broker      `json:"brokers"`
	Configs      []nodeConfigs  `json:"broker_configs"`
	Topics       []*Topic       `json:"topics"`
	NextGroup    ids.GroupID    `json:"next_group"`
	NextReplica  ids.ReplicaID  `json:"next_replica"`
	NextProducer ids.ProducerID `json:"next_producer"`
	Remembered   []memory       `json:"remembered"` // oldest first
}

type nodeConfigs struct {
	Node ids.NodeID        `json:"node"`
	Set  map[string]string `json:"set"`
}

// encode gives the snapshot of m and the requests remembered with it.
func (m *Image) encode(remembered []memory) ([]byte, error) {
	s := snapshot{
		V: snapshotVersion, Index: m.Index, Cluster: m.Cluster, Brokers: m.Brokers(), Topics: m.Topics(),
		NextGroup: m.nextGroup, NextReplica: m.nextReplica, NextProducer: m.nextProducer, Remembered: remembered,
	}
	for _, n := range slices.Sorted(maps.Keys(m.configs)) {
		s.Configs = append(s.Configs, nodeConfigs{Node: n, Set: m.configs[n]})
	}
	b, err := json.Marshal(s)
	if err != nil {
		return nil, fmt.Errorf("encode metadata snapshot: %w", err)
	}
	return b, nil
}

// decodeImage reads what encode wrote. ErrNewer, ErrCorrupt.
func decodeImage(b []byte) (*Image, []memory, error) {
	var v struct {
		V int `json:"v"`
	}
	if err := json.Unmarshal(b, &v); err != nil {
		return nil, nil, fmt.Errorf("%w: snapshot: %w", ErrCorrupt, err)
	}
	if v.V > snapshotVersion {
		return nil, nil, fmt.Errorf("%w: snapshot version %d, this dyno knows %d", ErrNewer, v.V, snapshotVersion)
	}
	var s snapshot
	if err := strict(b, &s); err != nil {
		return nil, nil, fmt.Errorf("%w: snapshot: %w", ErrCorrupt, err)
	}
	m := emptyImage()
	m.Index, m.Cluster = s.Index, s.Cluster
	m.nextGroup, m.nextReplica, m.nextProducer = s.NextGroup, s.NextReplica, s.NextProducer
	if s.V < 1 || m.nextGroup <= ids.MetadataGroup || m.nextReplica == 0 || m.nextProducer < 0 || len(s.Remembered) > RememberedMax {
		return nil, nil, fmt.Errorf("%w: snapshot: counters out of range", ErrCorrupt)
	}
	m.brokers = make(map[ids.NodeID]*Broker, len(s.Brokers))
	for _, br := range s.Brokers {
		if br == nil || m.brokers[br.Node] != nil {
			return nil, nil, fmt.Errorf("%w: snapshot: broker is empty or named twice", ErrCorrupt)
		}
		m.brokers[br.Node] = br
	}
	m.configs = make(map[ids.NodeID]map[string]string, len(s.Configs))
	for _, c := range s.Configs {
		m.configs[c.Node] = c.Set
	}
	m.topics, m.names = make(map[ids.TopicID]*Topic, len(s.Topics)), make(map[string]*Topic, len(s.Topics))
	for _, t := range s.Topics {
		if t == nil || len(t.Partitions) == 0 || m.topics[t.ID] != nil || m.names[collisionKey(t.Name)] != nil {
			return nil, nil, fmt.Errorf("%w: snapshot: topic is empty or named twice", ErrCorrupt)
		}
		m.topics[t.ID], m.names[collisionKey(t.Name)] = t, t
		m.partitions += len(t.Partitions)
	}
	return m, s.Remembered, nil
}
