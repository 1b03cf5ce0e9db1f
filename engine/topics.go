package engine

import (
	"context"
	"crypto/rand"
	"fmt"

	"dyno/engine/ids"
	"dyno/engine/kafka"
	"dyno/engine/metadata"
	"dyno/engine/placement"
)

// CreateTopics implements kafka.Backend. A topic that was made is hosted, and
// so ready for produce, when the call returns.
func (b backend) CreateTopics(ctx context.Context, topics []kafka.NewTopic, validate bool) []kafka.TopicResult {
	out := make([]kafka.TopicResult, len(topics))
	for i, t := range topics {
		out[i] = b.createTopic(ctx, t, validate)
	}
	return out
}

func (b backend) createTopic(ctx context.Context, t kafka.NewTopic, validate bool) kafka.TopicResult {
	res := kafka.TopicResult{Name: t.Name}
	rec, err := b.newTopic(t)
	if err == nil {
		err = mapMeta(b.meta.Image().CheckNewTopic(t.Name))
	}
	if err != nil {
		res.Err = err
		return res
	}
	res.Partitions, res.RF = int32(len(rec.Partitions)), int16(len(rec.Partitions[0]))
	if validate {
		return res
	}
	if _, err := b.change(ctx, rec); err != nil {
		res.Err = err
		return res
	}
	res.ID = rec.ID
	res.Err = b.hosts.settle(ctx, b.meta.Applied(), rec.ID)
	return res
}

// newTopic places the partitions of a topic and checks all that can be checked
// before the record is proposed.
func (b backend) newTopic(t kafka.NewTopic) (*metadata.CreateTopic, error) {
	rec := &metadata.CreateTopic{Name: t.Name, Partitions: t.Assignment, Configs: map[string]string{}}
	for k, v := range t.Configs {
		if v == nil {
			return nil, fmt.Errorf("%w: %q has no value", kafka.ErrInvalidConfig, k)
		}
		rec.Configs[k] = *v
	}
	if err := metadata.CheckTopicName(t.Name); err != nil {
		return nil, mapMeta(err)
	}
	if _, err := rand.Read(rec.ID[:]); err != nil {
		return nil, fmt.Errorf("draw a topic id: %w", err)
	}
	view := b.configView()
	count, rf := t.Partitions, int32(t.RF)
	if count == -1 {
		count = int32(view.Broker("num.partitions").Int())
	}
	if rf == -1 {
		rf = int32(view.Broker("default.replication.factor").Int())
	}
	if len(t.Assignment) == 0 {
		parts, err := b.place(count, rf)
		if err != nil {
			return nil, err
		}
		rec.Partitions = parts
	} else if err := b.checkNodes(t.Assignment); err != nil {
		return nil, err
	}
	var probe metadata.RequestID
	probe[0] = 1
	if _, err := b.meta.Prepare(probe, 0, rec); err != nil { // the form, before anything is proposed
		return nil, mapMeta(err)
	}
	return rec, nil
}

// checkNodes refuses an assignment that names unknown nodes.
func (b backend) checkNodes(assignment [][]ids.NodeID) error {
	img := b.meta.Image()
	for p, nodes := range assignment {
		for _, n := range nodes {
			if _, ok := img.Broker(n); !ok {
				return fmt.Errorf("%w: partition %d names node %d, which is not in the cluster", kafka.ErrInvalidReplicas, p, n)
			}
		}
	}
	return nil
}

// place assigns count new partitions to the live brokers.
func (b backend) place(count, rf int32) ([][]ids.NodeID, error) {
	if count < 1 || count > metadata.PartitionsMax {
		return nil, fmt.Errorf("%w: %d, want 1 to %d", kafka.ErrInvalidCount, count, metadata.PartitionsMax)
	}
	parts, err := placement.Assign(b.placementView(), placement.Request{Partitions: int(count), RF: int(rf)})
	if err != nil {
		return nil, fmt.Errorf("%w: %w", kafka.ErrInvalidRF, err)
	}
	return parts, nil
}

// DeleteTopic implements kafka.Backend; the topic is named by name or by id.
func (b backend) DeleteTopic(ctx context.Context, name string, id ids.TopicID) kafka.TopicResult {
	img := b.meta.Image()
	t, ok := img.Topic(name)
	if name == "" {
		t, ok = img.TopicByID(id)
	}
	if !ok {
		return kafka.TopicResult{Name: name, ID: id, Err: kafka.ErrUnknownTopic}
	}
	res := kafka.TopicResult{Name: t.Name, ID: t.ID}
	if _, err := b.change(ctx, &metadata.DeleteTopic{ID: t.ID}); err != nil {
		res.Err = err
		return res
	}
	res.Err = b.hosts.settle(ctx, b.meta.Applied(), t.ID)
	return res
}

// CreatePartitions implements kafka.Backend: count is the new total.
func (b backend) CreatePartitions(ctx context.Context, topic string, count int32, validate bool) error {
	t, ok := b.meta.Image().Topic(topic)
	if !ok {
		return kafka.ErrUnknownTopic
	}
	have := int32(len(t.Partitions))
	if count <= have {
		return fmt.Errorf("%w: topic %q has %d partitions already, %d asked for", kafka.ErrInvalidCount, topic, have, count)
	}
	if count > metadata.PartitionsMax {
		return fmt.Errorf("%w: %d, the limit is %d", kafka.ErrInvalidCount, count, metadata.PartitionsMax)
	}
	parts, err := b.place(count-have, int32(t.RF()))
	if err != nil || validate {
		return err
	}
	if _, err := b.change(ctx, &metadata.AddPartitions{ID: t.ID, From: ids.Partition(have), Partitions: parts}); err != nil {
		return err
	}
	return b.hosts.settle(ctx, b.meta.Applied(), t.ID)
}

// AutoCreate implements kafka.Backend.
func (b backend) AutoCreate() (on bool, partitions int32, rf int16) {
	v := b.configView()
	return v.Broker("auto.create.topics.enable").Bool(),
		int32(v.Broker("num.partitions").Int()), int16(v.Broker("default.replication.factor").Int())
}

// DiskFull implements kafka.Backend.
func (b backend) DiskFull() bool { return b.log.Full() }

// TopicConfigs implements kafka.Backend.
func (b backend) TopicConfigs(topic string) ([]kafka.ConfigEntry, error) {
	t, ok := b.meta.Image().Topic(topic)
	if !ok {
		return nil, kafka.ErrUnknownTopic
	}
	return entries(b.configView().TopicConfigs(t)), nil
}

// BrokerConfigs implements kafka.Backend. Node 0 stands for all nodes: it has
// only what was set for all of them.
func (b backend) BrokerConfigs(node ids.NodeID) ([]kafka.ConfigEntry, error) {
	if node == 0 {
		return entries(b.setFor(0)), nil
	}
	if err := b.isSelf(node); err != nil {
		return nil, err
	}
	return entries(b.configView().BrokerConfigs()), nil
}

// setFor lists the broker configs that were set at run time for one node, or
// for all nodes (0).
func (b backend) setFor(node ids.NodeID) []metadata.Value {
	var out []metadata.Value
	for _, v := range (metadata.View{Image: b.meta.Image(), Node: node}).BrokerConfigs() {
		if v.Source != metadata.SourceNode {
			continue
		}
		if node == 0 {
			v.Source = metadata.SourceCluster
		}
		out = append(out, v)
	}
	return out
}

// isSelf refuses broker configs of another node: each node answers for itself.
// Those of all nodes (0) any node can change.
func (b backend) isSelf(node ids.NodeID) error {
	if node == b.identity.NodeID || node == 0 {
		return nil
	}
	return fmt.Errorf("%w: %d; ask that node itself", kafka.ErrUnknownBroker, node)
}

// AlterTopicConfigs implements kafka.Backend.
func (b backend) AlterTopicConfigs(ctx context.Context, topic string, ops []kafka.ConfigOp, validate bool) error {
	t, ok := b.meta.Image().Topic(topic)
	if !ok {
		return kafka.ErrUnknownTopic
	}
	set, del, err := metadata.ResolveOps(metadata.TopicKeys(), t.Configs, convert(ops))
	if err != nil || validate {
		return mapMeta(err)
	}
	if _, err := b.change(ctx, &metadata.SetTopicConfigs{ID: t.ID, Set: set, Delete: del}); err != nil {
		return err
	}
	return b.hosts.settle(ctx, b.meta.Applied(), t.ID)
}

// AlterBrokerConfigs implements kafka.Backend.
func (b backend) AlterBrokerConfigs(ctx context.Context, node ids.NodeID, ops []kafka.ConfigOp, validate bool) error {
	if err := b.isSelf(node); err != nil {
		return err
	}
	now := map[string]string{}
	for _, v := range b.setFor(node) {
		now[v.Key.Name] = v.Value
	}
	set, del, err := metadata.ResolveOps(metadata.BrokerKeys(), now, convert(ops))
	if err != nil || validate {
		return mapMeta(err)
	}
	if _, err := b.change(ctx, &metadata.SetBrokerConfigs{Node: node, Set: set, Delete: del}); err != nil {
		return err
	}
	return b.hosts.settle(ctx, b.meta.Applied(), ids.TopicID{})
}

// configView is whose eyes this node sees configs with.
func (n *Node) configView() metadata.View {
	return metadata.View{Image: n.meta.Image(), Node: n.identity.NodeID, Static: n.static}
}

func convert(ops []kafka.ConfigOp) []metadata.Op {
	out := make([]metadata.Op, len(ops))
	for i, op := range ops {
		out[i] = metadata.Op{Name: op.Name, Kind: metadata.OpKind(op.Op), Value: op.Value}
	}
	return out
}

// sourceAllBrokers is Kafka's DYNAMIC_DEFAULT_BROKER_CONFIG.
const sourceAllBrokers kafka.ConfigSource = 3

// sources are Kafka's codes for where a config value comes from.
var sources = map[metadata.Source]kafka.ConfigSource{
	metadata.SourceTopic:   kafka.SourceTopic,
	metadata.SourceNode:    kafka.SourceBroker,
	metadata.SourceCluster: sourceAllBrokers,
	metadata.SourceStatic:  kafka.SourceStatic,
	metadata.SourceDefault: kafka.SourceDefault,
}

func entries(values []metadata.Value) []kafka.ConfigEntry {
	out := make([]kafka.ConfigEntry, len(values))
	for i, v := range values {
		out[i] = kafka.ConfigEntry{
			Name: v.Key.Name, Value: v.Value, Source: sources[v.Source],
			ReadOnly: v.Key.ReadOnly, Type: int8(v.Key.Type), Doc: v.Key.Doc,
		}
	}
	return out
}

// placementView counts what each broker holds.
func (n *Node) placementView() placement.View {
	img := n.meta.Image()
	index := map[ids.NodeID]int{}
	var v placement.View
	for _, b := range img.Brokers() {
		index[b.Node] = len(v.Nodes)
		v.Nodes = append(v.Nodes, placement.Node{ID: b.Node, Rack: b.Rack, Fenced: !b.Taking()})
	}
	for _, t := range img.Topics() {
		for i := range t.Partitions {
			for j, r := range t.Partitions[i].Replicas {
				at, ok := index[r.Node]
				if !ok {
					continue
				}
				v.Nodes[at].Replicas++
				if j == 0 {
					v.Nodes[at].Leaders++
				}
			}
		}
	}
	return v
}
