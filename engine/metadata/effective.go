package metadata

import (
	"strconv"
	"strings"

	"dyno/engine/ids"
)

// Source says where an effective value comes from, the strongest first.
type Source uint8

// The sources. Kafka's DescribeConfigs codes are the assembly's business.
const (
	SourceTopic   Source = iota + 1 // set on the topic
	SourceNode                      // set at run time for this node
	SourceCluster                   // set at run time for all nodes
	SourceStatic                    // the node's configuration file
	SourceDefault                   // the table
)

// Value is one key with its effective value.
type Value struct {
	Key    *Key
	Value  string
	Source Source
}

// View is whose eyes configs are seen with: those of a node with its static
// configs (broker keys of its configuration file).
type View struct {
	Image  *Image
	Node   ids.NodeID
	Static map[string]string
}

// TopicConfigs lists every topic key with its effective value for t, by name.
func (v View) TopicConfigs(t *Topic) []Value {
	out := make([]Value, len(topicKeys))
	for i := range topicKeys {
		out[i] = v.topicValue(&topicKeys[i], t)
	}
	return out
}

// BrokerConfigs lists every broker key with its effective value, by name.
func (v View) BrokerConfigs() []Value {
	out := make([]Value, len(brokerKeys))
	for i := range brokerKeys {
		out[i] = v.brokerValue(&brokerKeys[i])
	}
	return out
}

// Broker gives the effective value of a broker key; an unknown name is our bug.
func (v View) Broker(name string) Value {
	k := find(brokerKeys, name)
	if k == nil {
		panic("BUG: no broker config " + name)
	}
	return v.brokerValue(k)
}

func (v View) topicValue(k *Key, t *Topic) Value {
	if s, ok := t.Configs[k.Name]; ok && checkValue(topicKeys, k.Name, s) == nil {
		return Value{Key: k, Value: s, Source: SourceTopic}
	}
	b := v.Broker(k.Broker)
	if k.Name == MinInsyncKey && b.Int() == 0 {
		return Value{Key: k, Value: strconv.Itoa(t.RF()/2 + 1), Source: b.Source}
	}
	return Value{Key: k, Value: b.Value, Source: b.Source}
}

// brokerValue asks the layers from the strongest on. A value that this build
// does not accept (a later build's, or a bad file) counts as not set.
func (v View) brokerValue(k *Key) Value {
	for _, layer := range []struct {
		set    map[string]string
		source Source
	}{
		{v.Image.configs[v.Node], SourceNode},
		{v.Image.configs[0], SourceCluster},
		{v.Static, SourceStatic},
	} {
		if s, ok := layer.set[k.Name]; ok && checkValue(brokerKeys, k.Name, s) == nil {
			return Value{Key: k, Value: s, Source: layer.source}
		}
	}
	return Value{Key: k, Value: k.Default, Source: SourceDefault}
}

// Int is the value of a key whose type is a number.
func (v Value) Int() int64 {
	n, err := strconv.ParseInt(strings.TrimSpace(v.Value), 10, 64)
	if err != nil {
		panic("BUG: config " + v.Key.Name + " is no number: " + v.Value)
	}
	return n
}

// Bool is true for "true" in any case.
func (v Value) Bool() bool { return strings.EqualFold(strings.TrimSpace(v.Value), "true") }

// Settings are a topic's effective configs in the form a partition obeys.
type Settings struct {
	RetentionMS       int64 // -1 for ever
	RetentionBytes    int64 // -1 no limit
	SegmentBytes      int64
	MaxMessageBytes   int
	MinInsyncReplicas int
	CompressionType   string
	AppendTime        bool // message.timestamp.type=LogAppendTime
}

// TopicSettings gives the settings of t.
func (v View) TopicSettings(t *Topic) Settings {
	get := func(name string) Value { return v.topicValue(find(topicKeys, name), t) }
	return Settings{
		RetentionMS:       get("retention.ms").Int(),
		RetentionBytes:    get("retention.bytes").Int(),
		SegmentBytes:      get("segment.bytes").Int(),
		MaxMessageBytes:   int(get("max.message.bytes").Int()),
		MinInsyncReplicas: int(get(MinInsyncKey).Int()),
		CompressionType:   strings.TrimSpace(get("compression.type").Value),
		AppendTime:        strings.TrimSpace(get("message.timestamp.type").Value) == "LogAppendTime",
	}
}

// CheckStatic judges the broker configs of a node's configuration file.
// ErrInvalidConfig.
func CheckStatic(static map[string]string) error { return checkChange(brokerKeys, static, nil) }
