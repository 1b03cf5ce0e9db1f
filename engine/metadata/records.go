package metadata

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"dyno/engine/ids"
)

// recordVersion is the newest version of the envelope and of every body in it.
const recordVersion = 1

// Limits on what one record may hold.
const (
	RecordBytesMax   = 1 << 20 // one encoded record
	PartitionsMax    = 10_000  // of one topic
	ReplicasMax      = 15      // of one partition
	ISRChangesMax    = 5_000   // partitions in one SetISR
	ProducerBlockMax = 1 << 20 // producer ids handed out at once
	textBytesMax     = 1024    // an address, rack, cluster id or config value
)

// RequestID names one request of one proposer, so that it can be repeated
// safely. The zero value is invalid.
type RequestID [16]byte

// String gives the id as 32 hex digits.
func (id RequestID) String() string { return hex.EncodeToString(id[:]) }

// MarshalText implements encoding.TextMarshaler.
func (id RequestID) MarshalText() ([]byte, error) { return []byte(id.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (id *RequestID) UnmarshalText(b []byte) error {
	if len(b) != 2*len(id) {
		return fmt.Errorf("%w: request id must be 32 hex digits", ErrInvalidRecord)
	}
	_, err := hex.Decode(id[:], b)
	return err
}

// Record is one change of the metadata: one of the types below.
type Record interface {
	kind() string
	// check judges the form alone. Its rules are part of the record version:
	// an entry that fails them cannot be decoded.
	check() error
	// apply changes d, or answers with one of the codes and changes nothing.
	apply(d *draft, atMS int64) outcome
}

// tabled is a record whose form also depends on the tables of this build, which
// are asked before a record enters the log and never after.
type tabled interface{ checkTable() error }

func checkForm(r Record) error {
	if err := r.check(); err != nil {
		return err
	}
	if t, ok := r.(tabled); ok {
		return t.checkTable()
	}
	return nil
}

// Replica is one member of a group on a node.
type Replica struct {
	Node ids.NodeID    `json:"node"`
	ID   ids.ReplicaID `json:"replica"`
}

// ClusterCreated is the first record: whose log this is, and the members of the
// metadata group itself. A repeat for the same cluster changes nothing.
type ClusterCreated struct {
	ClusterID string    `json:"cluster_id"`
	Format    int       `json:"format"`
	Replicas  []Replica `json:"replicas"`
}

// RegisterBroker says that a node is up at these addresses (host:port). It
// replaces an older registration and lifts a fence. Incarnation is new at each
// start of the node.
type RegisterBroker struct {
	Node        ids.NodeID `json:"node"`
	Kafka       string     `json:"kafka"`
	Raft        string     `json:"raft"`
	Admin       string     `json:"admin"`
	Rack        string     `json:"rack,omitempty"`
	Incarnation uint64     `json:"incarnation"`
	// Directory was drawn when the node's data directory was formatted. A node
	// that registers with another one than before has lost its votes and log.
	Directory string `json:"directory,omitempty"`
}

// FenceBroker says that a node is to get no new replicas or leaders, and that
// clients are not told of it, unless it has registered anew since that
// incarnation.
type FenceBroker struct {
	Node        ids.NodeID `json:"node"`
	Incarnation uint64     `json:"incarnation"`
	// Drain is said by a node that is going to stop: it gets nothing new, but
	// clients still find what it leads.
	Drain bool `json:"drain,omitempty"`
}

// CreateTopic makes a topic. Partitions lists the nodes of each partition, the
// preferred leader first; apply numbers their groups and replicas.
type CreateTopic struct {
	Name       string            `json:"name"`
	ID         ids.TopicID       `json:"id"`
	Partitions [][]ids.NodeID    `json:"partitions"`
	Configs    map[string]string `json:"configs,omitempty"`
}

// DeleteTopic removes a topic with its partitions and configs.
type DeleteTopic struct {
	ID ids.TopicID `json:"id"`
}

// AddPartitions appends partitions to a topic that has exactly From of them.
type AddPartitions struct {
	ID         ids.TopicID    `json:"id"`
	From       ids.Partition  `json:"from"`
	Partitions [][]ids.NodeID `json:"partitions"`
}

// SetTopicConfigs sets and deletes configs of a topic; see ResolveOps.
type SetTopicConfigs struct {
	ID     ids.TopicID       `json:"id"`
	Set    map[string]string `json:"set,omitempty"`
	Delete []string          `json:"delete,omitempty"`
}

// SetBrokerConfigs sets and deletes dynamic configs of one node, or of all
// nodes with Node 0.
type SetBrokerConfigs struct {
	Node   ids.NodeID        `json:"node"`
	Set    map[string]string `json:"set,omitempty"`
	Delete []string          `json:"delete,omitempty"`
}

// AllocateProducerIDs takes a block of producer ids for a node to hand out;
// Result.FirstProducer is the first. A block is never given twice.
type AllocateProducerIDs struct {
	Node  ids.NodeID `json:"node"`
	Count int64      `json:"count"`
}

// SetISR is what a leader says of its partitions: that it leads, and which
// replicas are in sync. Word of an older term than is known is passed over.
type SetISR struct {
	Node       ids.NodeID     `json:"node"` // the leader of all of them
	Partitions []PartitionISR `json:"partitions"`
}

// PartitionISR is one partition of SetISR.
type PartitionISR struct {
	Topic     ids.TopicID   `json:"topic"`
	Partition ids.Partition `json:"partition"`
	Term      ids.Term      `json:"term"`
	ISR       []ids.NodeID  `json:"isr"` // ascending, the leader among them
}

// Reassign makes nodes, in order, the replicas of partitions, the preferred leader
// first. The replicas that join get their ids; the move itself is the leader's
// work, which ends with Reassigned. Without nodes a move under way is taken back.
type Reassign struct {
	Partitions []PartitionNodes `json:"partitions"`
}

// PartitionNodes is one partition of Reassign and Reassigned.
type PartitionNodes struct {
	Topic     ids.TopicID   `json:"topic"`
	Partition ids.Partition `json:"partition"`
	Nodes     []ids.NodeID  `json:"nodes,omitempty"`
}

// Reassigned says that the members of a partition's group are by now those on
// Nodes. It changes nothing unless that is the target still, of the move that
// began at the entry Move.
type Reassigned struct {
	Move ids.LogIndex `json:"move"`
	PartitionNodes
}

func (*ClusterCreated) kind() string      { return "cluster_created" }
func (*RegisterBroker) kind() string      { return "register_broker" }
func (*FenceBroker) kind() string         { return "fence_broker" }
func (*CreateTopic) kind() string         { return "create_topic" }
func (*DeleteTopic) kind() string         { return "delete_topic" }
func (*AddPartitions) kind() string       { return "add_partitions" }
func (*SetTopicConfigs) kind() string     { return "set_topic_configs" }
func (*SetBrokerConfigs) kind() string    { return "set_broker_configs" }
func (*AllocateProducerIDs) kind() string { return "allocate_producer_ids" }
func (*SetISR) kind() string              { return "set_isr" }
func (*Reassign) kind() string            { return "reassign" }
func (*Reassigned) kind() string          { return "reassigned" }
func (*Readmit) kind() string             { return "readmit" }

// newRecord gives an empty record of a kind, nil if the kind is unknown.
func newRecord(kind string) Record {
	switch kind {
	case "cluster_created":
		return new(ClusterCreated)
	case "register_broker":
		return new(RegisterBroker)
	case "fence_broker":
		return new(FenceBroker)
	case "create_topic":
		return new(CreateTopic)
	case "delete_topic":
		return new(DeleteTopic)
	case "add_partitions":
		return new(AddPartitions)
	case "set_topic_configs":
		return new(SetTopicConfigs)
	case "set_broker_configs":
		return new(SetBrokerConfigs)
	case "allocate_producer_ids":
		return new(AllocateProducerIDs)
	case "set_isr":
		return new(SetISR)
	case "reassign":
		return new(Reassign)
	case "reassigned":
		return new(Reassigned)
	case "readmit":
		return new(Readmit)
	}
	return nil
}

// envelope is a record as the log holds it: JSON, so that a dump of the log can
// be read without this package.
type envelope struct {
	V    int             `json:"v"`
	ID   RequestID       `json:"id"`
	AtMS int64           `json:"at_ms"`
	Type string          `json:"type"`
	Body json.RawMessage `json:"body"`
}

// Encode gives the log entry of a record. atMS is the proposer's wall clock in
// milliseconds. ErrTooLarge, ErrInvalidRecord.
func Encode(id RequestID, atMS int64, r Record) ([]byte, error) {
	if id == (RequestID{}) {
		return nil, fmt.Errorf("%w: no request id", ErrInvalidRecord)
	}
	body, err := json.Marshal(r)
	if err != nil {
		return nil, fmt.Errorf("encode %s: %w", r.kind(), err)
	}
	b, err := json.Marshal(envelope{V: recordVersion, ID: id, AtMS: atMS, Type: r.kind(), Body: body})
	if err != nil {
		return nil, fmt.Errorf("encode %s: %w", r.kind(), err)
	}
	if len(b) > RecordBytesMax {
		return nil, fmt.Errorf("%w: %s has %d bytes, the limit is %d", ErrTooLarge, r.kind(), len(b), RecordBytesMax)
	}
	return b, nil
}

// Decode reads what Encode wrote; it does not retain b. ErrNewer for a version
// or type that this build does not know, ErrCorrupt for anything else.
func Decode(b []byte) (id RequestID, atMS int64, r Record, err error) {
	var e envelope
	if len(b) > RecordBytesMax {
		return id, 0, nil, fmt.Errorf("%w: %d bytes", ErrTooLarge, len(b))
	}
	// The version first and alone: a newer envelope may have other fields.
	var v struct {
		V int `json:"v"`
	}
	if err := json.Unmarshal(b, &v); err != nil {
		return id, 0, nil, fmt.Errorf("%w: %w", ErrCorrupt, err)
	}
	if v.V > recordVersion {
		return id, 0, nil, fmt.Errorf("%w: record version %d, this dyno knows %d", ErrNewer, v.V, recordVersion)
	}
	if err := strict(b, &e); err != nil {
		return id, 0, nil, fmt.Errorf("%w: %w", ErrCorrupt, err)
	}
	if e.V < 1 || e.ID == (RequestID{}) {
		return id, 0, nil, fmt.Errorf("%w: no version or request id", ErrCorrupt)
	}
	if r = newRecord(e.Type); r == nil {
		return id, 0, nil, fmt.Errorf("%w: record type %q is unknown", ErrNewer, e.Type)
	}
	if err := strict(e.Body, r); err != nil {
		return id, 0, nil, fmt.Errorf("%w: %s: %w", ErrCorrupt, e.Type, err)
	}
	if err := r.check(); err != nil {
		return id, 0, nil, fmt.Errorf("%w: %s: %w", ErrCorrupt, e.Type, err)
	}
	return e.ID, e.AtMS, r, nil
}

var errTrailing = errors.New("more than one JSON value")

// strict decodes one JSON value with no unknown fields and nothing behind it: a
// field that this build would drop is a difference between replicas.
func strict(b []byte, into any) error {
	dec := json.NewDecoder(bytes.NewReader(b))
	dec.DisallowUnknownFields()
	if err := dec.Decode(into); err != nil {
		return err
	}
	if _, err := dec.Token(); err != io.EOF {
		return errTrailing
	}
	return nil
}
