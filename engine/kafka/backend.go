package kafka

import (
	"context"

	"dyno/engine/ids"
	"dyno/engine/partition"
)

// Backend is what the protocol front needs of the node behind it. All methods
// are safe for concurrent use; those with a context may block, the others must
// not. Errors are mapped to Kafka codes in errors.go by errors.Is.
type Backend interface {
	// Cluster is the broker registry as this node sees it now; Self never changes.
	Cluster() Cluster
	// Topics lists all topics by name; Topic and TopicByID find one.
	Topics() []Topic
	Topic(name string) (Topic, bool)
	TopicByID(id ids.TopicID) (Topic, bool)

	// Partition and PartitionByID find a partition hosted on this node: the
	// hot path, lock-free and without allocation. ErrUnknownTopic,
	// ErrUnknownPartition, or ErrNotLeader for one hosted elsewhere.
	Partition(topic []byte, p ids.Partition) (Partition, error)
	PartitionByID(id ids.TopicID, p ids.Partition) (Partition, error)

	// CreateTopics makes topics, one result a topic in order. With validate
	// true it only checks.
	CreateTopics(ctx context.Context, topics []NewTopic, validate bool) []TopicResult
	DeleteTopic(ctx context.Context, name string, id ids.TopicID) TopicResult
	CreatePartitions(ctx context.Context, topic string, count int32, validate bool) error

	// Reassign makes nodes, in this order, the replicas of a partition, the
	// preferred leader first; nil cancels what is under way. It returns when the
	// change is recorded: the replicas move afterwards, and PartitionView shows
	// it until they have. A list is not empty, names no node twice and only
	// registered ones; it stands for whatever was asked for before, and is the
	// backend's from then on. ErrUnknownTopic, ErrUnknownPartition, ErrInvalidReplicas,
	// and ErrNoReassignment where there is nothing to cancel.
	Reassign(ctx context.Context, topic string, p ids.Partition, nodes []ids.NodeID) error
	// ElectLeader makes a partition's preferred replica its leader and returns
	// when it leads. ErrUnknownTopic, ErrUnknownPartition, ErrElectionNotNeeded
	// where it leads already, ErrPreferredNotAvailable where it cannot lead now,
	// ErrEligibleNotAvailable where nobody can.
	ElectLeader(ctx context.Context, topic string, p ids.Partition) error

	// TopicConfigs and BrokerConfigs list every key with its effective value.
	TopicConfigs(topic string) ([]ConfigEntry, error)
	BrokerConfigs(node ids.NodeID) ([]ConfigEntry, error)
	AlterTopicConfigs(ctx context.Context, topic string, ops []ConfigOp, validate bool) error
	AlterBrokerConfigs(ctx context.Context, node ids.NodeID, ops []ConfigOp, validate bool) error

	// NewProducerID allocates an id that no producer ever had.
	NewProducerID(ctx context.Context) (ids.ProducerID, error)
	// AutoCreate says whether Metadata may make topics, and their shape.
	AutoCreate() (on bool, partitions int32, rf int16)
	// DiskFull says that produce must be refused; reads go on.
	DiskFull() bool
}

// Partition is one replica hosted here.
type Partition interface {
	// Append hands a checked batch to the log. A non-nil error means it was
	// refused and Reply is never called.
	Append(a *partition.Append) error
	// Settings are the topic's configs in force.
	Settings() *partition.Settings
	// Leader is the replica's leader as known here; 0 unknown. This node is a
	// follower where it is another one: it serves reads all the same, up to the
	// high watermark it knows.
	Leader() (node ids.NodeID, epoch ids.LeaderEpoch)
	// Read returns committed batches; it may read the disk.
	Read(args partition.ReadArgs) (partition.ReadResult, error)
	// Offsets are the borders now.
	Offsets() partition.Offsets
	// Watch sends to ch, without blocking, after each advance of the high
	// watermark, until Unwatch. ch needs a capacity of 1.
	Watch(ch chan<- struct{})
	Unwatch(ch chan<- struct{})
	// Latest confirms leadership (ReadIndex) and gives the offsets then.
	Latest(ctx context.Context) (partition.Offsets, error)
	// ByTime finds the first record at or after a timestamp in ms; MaxTime the
	// record with the largest timestamp.
	ByTime(timestampMS int64) (partition.TimedOffset, error)
	MaxTime() (partition.TimedOffset, error)
	// EpochEnd answers OffsetForLeaderEpoch.
	EpochEnd(epoch ids.LeaderEpoch) partition.EpochEnd
	// DeleteRecords moves the log start to offset (-1: the high watermark),
	// and returns the new log start once that is committed.
	DeleteRecords(ctx context.Context, offset ids.Offset) (ids.Offset, error)
}

// Cluster is the broker registry.
type Cluster struct {
	ID         string
	Self       ids.NodeID
	Controller ids.NodeID // 0 unknown
	Brokers    []Broker
}

// Broker is one node's Kafka address.
type Broker struct {
	ID     ids.NodeID
	Host   string
	Port   int32
	Rack   string
	Fenced bool
}

// Topic is a topic with its partitions in order.
type Topic struct {
	Name       string
	ID         ids.TopicID
	Internal   bool
	Partitions []PartitionView
}

// PartitionView is what Metadata tells of a partition.
type PartitionView struct {
	Leader                 ids.NodeID // 0: none
	Epoch                  ids.LeaderEpoch
	Replicas, ISR, Offline []ids.NodeID
	// Adding and Removing are empty unless a reassignment is under way; those in
	// Adding and Removing stand in Replicas, too, as in Kafka.
	Adding, Removing []ids.NodeID
}

// NewTopic asks for a topic. Assignment, where given, lists the replicas of
// each partition and excludes Partitions and RF; -1 means the broker's default.
type NewTopic struct {
	Name       string
	Partitions int32
	RF         int16
	Assignment [][]ids.NodeID
	Configs    map[string]*string
}

// TopicResult is the outcome for one topic.
type TopicResult struct {
	Name       string
	ID         ids.TopicID
	Partitions int32
	RF         int16
	Err        error
}

// ConfigEntry is one key of a topic or broker.
type ConfigEntry struct {
	Name, Value      string
	Source           ConfigSource
	ReadOnly, Secret bool
	Type             int8 // Kafka's config type code
	Doc              string
}

// ConfigSource is Kafka's code for where a value comes from.
type ConfigSource int8

// The sources dyno has.
const (
	SourceTopic   ConfigSource = 1
	SourceBroker  ConfigSource = 2
	SourceStatic  ConfigSource = 4
	SourceDefault ConfigSource = 5
)

// ConfigOp is one incremental change: Kafka's op codes 0 set, 1 delete,
// 2 append, 3 subtract.
type ConfigOp struct {
	Name  string
	Op    int8
	Value *string
}
