package metadata

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Type is a config's type, in Kafka's codes (ConfigDef.Type, DescribeConfigs).
type Type int8

// The types dyno's configs have.
const (
	TypeBool   Type = 1
	TypeString Type = 2
	TypeInt    Type = 3
	TypeLong   Type = 5
	TypeList   Type = 7
)

// Key is one config key, named as in Kafka. Every key here is obeyed; a key of
// Kafka's that dyno would ignore is unknown instead.
type Key struct {
	Name    string
	Type    Type
	Default string
	Doc     string
	// Broker is the broker key that gives a topic key's value where the topic
	// has none; empty for broker keys.
	Broker string
	// ReadOnly keys come from the node's configuration file alone.
	ReadOnly bool

	min   int64    // numbers: the least value
	oneOf []string // texts and lists: what is allowed
}

var (
	codecs     = []string{"producer", "uncompressed", "gzip", "snappy", "lz4", "zstd"}
	timeKinds  = []string{"CreateTime", "LogAppendTime"}
	deleteOnly = []string{"delete"}
	falseOnly  = []string{"false"}
)

// MinInsyncKey is the one key whose default depends on the topic: the majority
// of its replicas.
const MinInsyncKey = "min.insync.replicas"

// topicKeys is sorted by name. Defaults are Kafka 4.0's (TopicConfig, LogConfig)
// where the text does not say otherwise.
var topicKeys = []Key{
	{Name: "cleanup.policy", Broker: "log.cleanup.policy", Type: TypeList, Default: "delete", oneOf: deleteOnly,
		Doc: "What happens to records past retention. Differs from Kafka: only delete."},
	{Name: "compression.type", Broker: "compression.type", Type: TypeString, Default: "producer", oneOf: codecs,
		Doc: "Codec of stored batches; producer keeps what the producer chose."},
	{Name: "max.message.bytes", Broker: "message.max.bytes", Type: TypeInt, Default: "1048588",
		Doc: "Largest record batch accepted, in bytes."},
	{Name: "message.timestamp.type", Broker: "log.message.timestamp.type", Type: TypeString, Default: "CreateTime", oneOf: timeKinds,
		Doc: "Whether records keep the producer's time or get that of the append."},
	{Name: MinInsyncKey, Broker: MinInsyncKey, Type: TypeInt, Default: "0", min: 1,
		Doc: "Replicas that must hold a record before acks=all is answered. Differs from Kafka: the default is the majority of the replicas."},
	{Name: "retention.bytes", Broker: "log.retention.bytes", Type: TypeLong, Default: "-1", min: -1,
		Doc: "Bytes a partition may hold before its oldest records go; -1 for no limit."},
	{Name: "retention.ms", Broker: "log.retention.ms", Type: TypeLong, Default: "604800000", min: -1,
		Doc: "Milliseconds a record is kept at least; -1 for ever."},
	{Name: "segment.bytes", Broker: "log.segment.bytes", Type: TypeInt, Default: "1073741824", min: 1 << 20,
		Doc: "Bytes of one file of a partition: what retention deletes at a time."},
	{Name: "unclean.leader.election.enable", Broker: "unclean.leader.election.enable", Type: TypeBool, Default: "false", oneOf: falseOnly,
		Doc: "Differs from Kafka: only false; a replica that lacks committed records is never elected."},
}

// brokerKeys is sorted by name. Differs from Kafka: auto.create.topics.enable,
// num.partitions and default.replication.factor may change at run time.
var brokerKeys = []Key{
	{Name: "auto.create.topics.enable", Type: TypeBool, Default: "true", Doc: "Whether asking for a topic's metadata may create it."},
	{Name: "broker.id", Type: TypeInt, Default: "-1", ReadOnly: true, Doc: "The node's id."},
	{Name: "broker.rack", Type: TypeString, ReadOnly: true, Doc: "The node's rack."},
	{Name: "compression.type", Type: TypeString, Default: "producer", oneOf: codecs, Doc: "Default of the topic config of that name."},
	{Name: "default.replication.factor", Type: TypeInt, Default: "1", min: 1, Doc: "Replicas of topics that do not say."},
	{Name: "log.cleanup.policy", Type: TypeList, Default: "delete", oneOf: deleteOnly, Doc: "Default of cleanup.policy."},
	{Name: "log.message.timestamp.type", Type: TypeString, Default: "CreateTime", oneOf: timeKinds, Doc: "Default of message.timestamp.type."},
	{Name: "log.retention.bytes", Type: TypeLong, Default: "-1", min: -1, Doc: "Default of retention.bytes."},
	{Name: "log.retention.ms", Type: TypeLong, Default: "604800000", min: -1, Doc: "Default of retention.ms."},
	{Name: "log.segment.bytes", Type: TypeInt, Default: "1073741824", min: 1 << 20, Doc: "Default of segment.bytes."},
	{Name: "message.max.bytes", Type: TypeInt, Default: "1048588", Doc: "Default of max.message.bytes."},
	{Name: MinInsyncKey, Type: TypeInt, Default: "0", Doc: "Default of the topic config of that name; 0 is the majority of the replicas."},
	{Name: "num.partitions", Type: TypeInt, Default: "1", min: 1, Doc: "Partitions of topics that do not say."},
	{Name: "unclean.leader.election.enable", Type: TypeBool, Default: "false", oneOf: falseOnly, Doc: "Only false, see the topic config."},
}

// TopicKeys and BrokerKeys are the tables, by name. They are shared: read only.
func TopicKeys() []Key  { return topicKeys }
func BrokerKeys() []Key { return brokerKeys }

func find(table []Key, name string) *Key {
	i, ok := slices.BinarySearchFunc(table, name, func(k Key, n string) int { return strings.Compare(k.Name, n) })
	if !ok {
		return nil
	}
	return &table[i]
}

// checkValue judges one value. ErrInvalidConfig.
func checkValue(table []Key, name, value string) error {
	k := find(table, name)
	if k == nil {
		return fmt.Errorf("%w: unknown key %q", ErrInvalidConfig, name)
	}
	if len(value) > textBytesMax {
		return fmt.Errorf("%w: %s: value of %d bytes", ErrInvalidConfig, name, len(value))
	}
	v := strings.TrimSpace(value)
	switch k.Type {
	case TypeBool:
		if b := strings.ToLower(v); b != "true" && b != "false" || !k.allows(b) {
			return k.bad(value)
		}
	case TypeInt, TypeLong:
		bits := 32
		if k.Type == TypeLong {
			bits = 64
		}
		if n, err := strconv.ParseInt(v, 10, bits); err != nil || n < k.min {
			return k.bad(value)
		}
	case TypeList:
		for _, part := range splitList(v) {
			if !k.allows(part) {
				return k.bad(value)
			}
		}
		if v == "" {
			return k.bad(value)
		}
	case TypeString:
		if !k.allows(v) {
			return k.bad(value)
		}
	}
	return nil
}

func (k *Key) allows(v string) bool { return len(k.oneOf) == 0 || slices.Contains(k.oneOf, v) }

func (k *Key) bad(value string) error {
	want := fmt.Sprintf("a number of at least %d", k.min)
	switch {
	case len(k.oneOf) > 0:
		want = strings.Join(k.oneOf, ", ")
	case k.Type == TypeBool:
		want = "true or false"
	}
	return fmt.Errorf("%w: %s: %q, want %s", ErrInvalidConfig, k.Name, value, want)
}

func splitList(v string) []string {
	parts := strings.Split(v, ",")
	for i := range parts {
		parts[i] = strings.TrimSpace(parts[i])
	}
	return parts
}

// OpKind is what an incremental change does, in Kafka's codes (AlterConfigOp).
type OpKind int8

// The kinds of incremental change (KIP-339). Append and Subtract are for lists.
const (
	OpSet OpKind = iota
	OpDelete
	OpAppend
	OpSubtract
)

// Op is one incremental change of one key.
type Op struct {
	Name  string
	Kind  OpKind
	Value *string // nil only with OpDelete
}

// ResolveOps turns incremental changes of topic or broker configs (table) into
// what a record sets and deletes, given the values set now. Two racing appends
// to one list may lose one: the one list there is has one possible member.
// ErrInvalidOps for a key named twice, a missing value or an unknown kind;
// ErrInvalidConfig for the rest.
func ResolveOps(table []Key, now map[string]string, ops []Op) (set map[string]string, del []string, err error) {
	set = make(map[string]string)
	seen := make(map[string]bool)
	for _, op := range ops {
		k := find(table, op.Name)
		switch {
		case k == nil:
			return nil, nil, fmt.Errorf("%w: unknown key %q", ErrInvalidConfig, op.Name)
		case seen[op.Name]:
			return nil, nil, fmt.Errorf("%w: %q is named twice", ErrInvalidOps, op.Name)
		case op.Kind != OpDelete && op.Value == nil:
			return nil, nil, fmt.Errorf("%w: %q has no value", ErrInvalidOps, op.Name)
		case op.Kind < OpSet || op.Kind > OpSubtract:
			return nil, nil, fmt.Errorf("%w: operation %d on %q", ErrInvalidOps, op.Kind, op.Name)
		case op.Kind >= OpAppend && k.Type != TypeList:
			return nil, nil, fmt.Errorf("%w: %q is not a list", ErrInvalidConfig, op.Name)
		case k.ReadOnly:
			return nil, nil, fmt.Errorf("%w: %q can only be set in the node's configuration file", ErrInvalidConfig, op.Name)
		}
		seen[op.Name] = true
		switch op.Kind {
		case OpSet:
			set[op.Name] = *op.Value
		case OpDelete:
			del = append(del, op.Name)
		case OpAppend, OpSubtract:
			old, ok := now[op.Name]
			if !ok {
				old = k.Default
			}
			set[op.Name] = editList(old, *op.Value, op.Kind == OpAppend)
		}
	}
	return set, del, checkChange(table, set, del)
}

// editList adds or removes the members named in change, keeping order.
func editList(old, change string, add bool) string {
	parts := splitList(old)
	for _, c := range splitList(change) {
		i := slices.Index(parts, c)
		switch {
		case add && i < 0:
			parts = append(parts, c)
		case !add && i >= 0:
			parts = slices.Delete(parts, i, i+1)
		}
	}
	return strings.Join(parts, ",")
}
