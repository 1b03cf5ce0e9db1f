package engine

import (
	"testing"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// setTopic changes one config of a topic; "" deletes it.
func (b *bed) setTopic(topic, key, value string) error {
	b.t.Helper()
	res, err := b.admin().AlterTopicConfigs(soon(b.t), []kadm.AlterConfig{change(key, value)}, topic)
	if err != nil {
		b.t.Fatal(err)
	}
	return res[0].Err
}

func change(key, value string) kadm.AlterConfig {
	if value == "" {
		return kadm.AlterConfig{Op: kadm.DeleteConfig, Name: key}
	}
	return kadm.AlterConfig{Op: kadm.SetConfig, Name: key, Value: &value}
}

// setBroker changes one config of the node, or of all nodes.
func (b *bed) setBroker(all bool, key, value string) error {
	b.t.Helper()
	var nodes []int32
	if !all {
		nodes = []int32{1}
	}
	res, err := b.admin().AlterBrokerConfigs(soon(b.t), []kadm.AlterConfig{change(key, value)}, nodes...)
	if err != nil {
		b.t.Fatal(err)
	}
	return res[0].Err
}

// topicConfig reads one effective config of a topic.
func (b *bed) topicConfig(topic, key string) (value string, source kmsg.ConfigSource) {
	b.t.Helper()
	res, err := b.admin().DescribeTopicConfigs(soon(b.t), topic)
	if err != nil || res[0].Err != nil {
		b.t.Fatalf("describe %s: %v %v", topic, err, res)
	}
	return findConfig(b.t, res[0].Configs, key)
}

func findConfig(t *testing.T, list []kadm.Config, key string) (string, kmsg.ConfigSource) {
	t.Helper()
	for _, c := range list {
		if c.Key == key {
			return c.MaybeValue(), c.Source
		}
	}
	t.Fatalf("no config %s", key)
	return "", 0
}

// A topic's value beats the node's, that one the cluster's, that one the file,
// that one the default; each change is in force when its request is answered.
func TestConfigLayers(t *testing.T) {
	b := newBed(t, func(c *Config) { c.Broker = map[string]string{"log.retention.ms": "1000"} })
	b.topic("layers", 1)
	const key = "retention.ms"
	want := func(value string, source kmsg.ConfigSource) {
		t.Helper()
		if v, s := b.topicConfig("layers", key); v != value || s != source {
			t.Errorf("%s = %s from %v, want %s from %v", key, v, s, value, source)
		}
		if ms := b.partition("layers", 0).Settings().RetentionMS; value != "" && ms != atoi(t, value) {
			t.Errorf("the partition obeys %d, want %s", ms, value)
		}
	}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	want("1000", kmsg.ConfigSourceStaticBrokerConfig)
	must(b.setBroker(true, "log.retention.ms", "2000"))
	want("2000", kmsg.ConfigSourceDynamicDefaultBrokerConfig)
	must(b.setBroker(false, "log.retention.ms", "3000"))
	want("3000", kmsg.ConfigSourceDynamicBrokerConfig)
	must(b.setTopic("layers", key, "4000"))
	want("4000", kmsg.ConfigSourceDynamicTopicConfig)
	b.restart()
	want("4000", kmsg.ConfigSourceDynamicTopicConfig)
	must(b.setTopic("layers", key, ""))
	want("3000", kmsg.ConfigSourceDynamicBrokerConfig)
	must(b.setBroker(false, "log.retention.ms", ""))
	want("2000", kmsg.ConfigSourceDynamicDefaultBrokerConfig)
	must(b.setBroker(true, "log.retention.ms", ""))
	want("1000", kmsg.ConfigSourceStaticBrokerConfig)
}

func atoi(t *testing.T, s string) (n int64) {
	t.Helper()
	for _, c := range s {
		n = n*10 + int64(c-'0')
	}
	return n
}

func TestConfigBroker(t *testing.T) {
	b := newBed(t, func(c *Config) { c.Rack = "r9" })
	res, err := b.admin().DescribeBrokerConfigs(soon(t), 1)
	if err != nil || res[0].Err != nil {
		t.Fatalf("describe: %v %+v", err, res)
	}
	if v, _ := findConfig(t, res[0].Configs, "broker.id"); v != "1" {
		t.Errorf("broker.id %q, want 1", v)
	}
	if v, _ := findConfig(t, res[0].Configs, "broker.rack"); v != "r9" {
		t.Errorf("broker.rack %q, want r9", v)
	}
	if err := b.setBroker(true, "num.partitions", "5"); err != nil {
		t.Fatal(err)
	}
	all, err := b.admin().DescribeBrokerConfigs(soon(t))
	if err != nil || all[0].Err != nil {
		t.Fatalf("describe the defaults of all nodes: %v %+v", err, all)
	}
	if len(all[0].Configs) != 1 || all[0].Configs[0].Key != "num.partitions" {
		t.Errorf("defaults of all nodes: %+v, want num.partitions alone", all[0].Configs)
	}
	made, err := b.admin().CreateTopic(soon(t), -1, -1, nil, "defaults")
	if err != nil || made.NumPartitions != 5 || made.ReplicationFactor != 1 {
		t.Errorf("topic by defaults: %+v, %v", made, err)
	}
	_, err = b.admin().DescribeBrokerConfigs(soon(t), 9)
	if err == nil {
		t.Error("configs of a node that is not there")
	}
}

func TestConfigMaxMessageBytes(t *testing.T) {
	b := newBed(t)
	b.topic("max", 1)
	cl := b.client(byName())
	send := func(size int) int16 { return b.rawProduce(cl, "max", 0, testBatch(1, size)).ErrorCode }
	wantCode(t, "below the default", send(10_000), nil)
	if err := b.setTopic("max", "max.message.bytes", "5000"); err != nil {
		t.Fatal(err)
	}
	wantCode(t, "above the new limit", send(10_000), kerr.MessageTooLarge)
	wantCode(t, "below the new limit", send(4_000), nil)
	if err := b.setTopic("max", "max.message.bytes", ""); err != nil {
		t.Fatal(err)
	}
	if err := b.setBroker(false, "message.max.bytes", "20000"); err != nil {
		t.Fatal(err)
	}
	wantCode(t, "below the broker's limit", send(10_000), nil)
	wantCode(t, "above the broker's limit", send(30_000), kerr.MessageTooLarge)
}

// With fewer replicas in sync than min.insync.replicas asks for, acks=all is
// refused before the append; acks=1 does not ask for them.
func TestConfigMinInsync(t *testing.T) {
	b := newBed(t)
	b.topic("insync", 1, "min.insync.replicas", "2")
	wantCode(t, "acks=all", b.rawProduce(b.client(byName()), "insync", 0, testBatch(1, 10)).ErrorCode, kerr.NotEnoughReplicas)
	if _, end := b.offsets("insync", 0); end != 0 {
		t.Errorf("the refused batch was appended: end %d", end)
	}
	wantCode(t, "acks=1", b.rawProduce(b.client(byName(), kgo.DisableIdempotentWrite(), kgo.RequiredAcks(kgo.LeaderAck())), "insync", 0, testBatch(1, 10)).ErrorCode, nil)
	if err := b.setTopic("insync", "min.insync.replicas", "1"); err != nil {
		t.Fatal(err)
	}
	wantCode(t, "acks=all with 1", b.rawProduce(b.client(byName()), "insync", 0, testBatch(2, 10)).ErrorCode, nil)
}

func TestConfigBad(t *testing.T) {
	b := newBed(t)
	b.topic("cfg", 1)
	for name, c := range map[string]struct {
		key, value string
		want       *kerr.Error
	}{
		"unknown key":  {"no.such.key", "1", kerr.InvalidConfig},
		"not a number": {"retention.bytes", "many", kerr.InvalidConfig},
		"below least":  {"segment.bytes", "10", kerr.InvalidConfig},
		"codec":        {"compression.type", "rar", kerr.InvalidConfig},
		"policy":       {"cleanup.policy", "compact", kerr.InvalidConfig},
	} {
		wantErr(t, name, b.setTopic("cfg", c.key, c.value), c.want)
	}
	wantErr(t, "unknown topic", b.setTopic("none", "retention.ms", "1"), kerr.UnknownTopicOrPartition)
	wantErr(t, "unknown broker key", b.setBroker(false, "no.such.key", "1"), kerr.InvalidConfig)
	wantErr(t, "read-only key", b.setBroker(false, "broker.id", "7"), kerr.InvalidConfig)
	twice := kmsg.NewPtrIncrementalAlterConfigsRequest()
	rr := kmsg.NewIncrementalAlterConfigsRequestResource()
	rr.ResourceType, rr.ResourceName = kmsg.ConfigResourceTypeTopic, "cfg"
	for range 2 {
		rc := kmsg.NewIncrementalAlterConfigsRequestResourceConfig()
		rc.Name, rc.Value = "retention.ms", kmsg.StringPtr("1")
		rr.Configs = append(rr.Configs, rc)
	}
	twice.Resources = append(twice.Resources, rr)
	resp := ask[*kmsg.IncrementalAlterConfigsResponse](b, b.client(), twice)
	wantCode(t, "a key twice", resp.Resources[0].ErrorCode, kerr.InvalidRequest)
	// Of two changes one is bad: none is made.
	res, err := b.admin().AlterTopicConfigs(soon(t), []kadm.AlterConfig{change("retention.ms", "5"), change("segment.bytes", "1")}, "cfg")
	if err != nil {
		t.Fatal(err)
	}
	wantErr(t, "one of two", res[0].Err, kerr.InvalidConfig)
	if v, _ := b.topicConfig("cfg", "retention.ms"); v == "5" {
		t.Error("half of a bad change was made")
	}
	valid, err := b.admin().ValidateAlterTopicConfigs(soon(t), []kadm.AlterConfig{change("retention.ms", "5")}, "cfg")
	if err != nil || valid[0].Err != nil {
		t.Errorf("validate: %v %v", err, valid)
	}
	if v, _ := b.topicConfig("cfg", "retention.ms"); v == "5" {
		t.Error("a change that was only checked was made")
	}
}

// segment.bytes is the size of the files that are made from then on.
func TestConfigSegmentBytes(t *testing.T) {
	b := newBed(t, smallLog)
	b.topic("seg", 1)
	b.fill("seg", 0, 10)
	if err := b.setTopic("seg", "segment.bytes", "1048576"); err != nil {
		t.Fatal(err)
	}
	b.fill("seg", 0, 3000)
	b.moved()
	if n := len(b.partition("seg", 0).files.Files()); n < 2 {
		t.Errorf("%d file for 3 MB, want several of 1 MiB", n)
	}
}
