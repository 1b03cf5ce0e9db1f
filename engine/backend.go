package engine

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"

	"dyno/engine/ids"
	"dyno/engine/kafka"
	"dyno/engine/metadata"
	"dyno/engine/multiraft"
	"dyno/engine/replica"
)

// backend is the node as the Kafka front sees it.
type backend struct{ *Node }

var _ kafka.Backend = backend{}

// Cluster implements kafka.Backend.
func (b backend) Cluster() kafka.Cluster {
	img := b.meta.Image()
	c := kafka.Cluster{ID: b.identity.ClusterID, Self: b.identity.NodeID, Controller: b.controller()}
	for _, br := range img.Brokers() {
		host, port := splitAddr(br.Kafka)
		c.Brokers = append(c.Brokers, kafka.Broker{ID: br.Node, Host: host, Port: port, Rack: br.Rack, Fenced: br.Fenced})
	}
	return c
}

// splitAddr cuts an address that the metadata checked when it was registered.
func splitAddr(addr string) (host string, port int32) {
	host, p, _ := net.SplitHostPort(addr)
	n, _ := strconv.ParseInt(p, 10, 32)
	return host, int32(n)
}

// Topics implements kafka.Backend.
func (b backend) Topics() []kafka.Topic {
	list := b.meta.Image().Topics()
	out := make([]kafka.Topic, len(list))
	for i, t := range list {
		out[i] = b.view(t)
	}
	return out
}

// Topic implements kafka.Backend.
func (b backend) Topic(name string) (kafka.Topic, bool) {
	t, ok := b.meta.Image().Topic(name)
	if !ok {
		return kafka.Topic{}, false
	}
	return b.view(t), true
}

// TopicByID implements kafka.Backend.
func (b backend) TopicByID(id ids.TopicID) (kafka.Topic, bool) {
	t, ok := b.meta.Image().TopicByID(id)
	if !ok {
		return kafka.Topic{}, false
	}
	return b.view(t), true
}

// view tells of a topic what Metadata answers. Who leads is what the replica of
// this node knows, or what the metadata says, whichever is of the later term; who
// is in sync is the metadata's word. A replica whose node is not registered, or
// fenced, is offline.
func (b backend) view(t *metadata.Topic) kafka.Topic {
	img := b.meta.Image()
	out := kafka.Topic{Name: t.Name, ID: t.ID, Partitions: make([]kafka.PartitionView, len(t.Partitions))}
	for i := range t.Partitions {
		v, p := &out.Partitions[i], &t.Partitions[i]
		for _, r := range p.Replicas {
			v.Replicas = append(v.Replicas, r.Node)
			if br, ok := img.Broker(r.Node); !ok || br.Fenced {
				v.Offline = append(v.Offline, r.Node)
			}
		}
		v.Adding, v.Removing = p.Adding, p.Removing
		v.Leader, v.Epoch, v.ISR = p.Leader, p.Term.Epoch(), p.ISR
		if h := b.directory.ByID(t.ID, ids.Partition(i)); h != nil {
			if leader, epoch := h.Leader(); epoch >= v.Epoch {
				v.Leader, v.Epoch = leader, epoch
			}
		}
		if len(v.ISR) == 0 && v.Leader != 0 {
			v.ISR = v.Replicas // nobody has looked yet
		}
	}
	return out
}

// Partition implements kafka.Backend.
func (b backend) Partition(topic []byte, p ids.Partition) (kafka.Partition, error) {
	if h := b.directory.ByNameBytes(topic, p); h != nil {
		return h, nil
	}
	t, ok := b.meta.Image().Topic(string(topic))
	return nil, whyNot(t, ok, p)
}

// PartitionByID implements kafka.Backend.
func (b backend) PartitionByID(id ids.TopicID, p ids.Partition) (kafka.Partition, error) {
	if h := b.directory.ByID(id, p); h != nil {
		return h, nil
	}
	t, ok := b.meta.Image().TopicByID(id)
	return nil, whyNot(t, ok, p)
}

// whyNot tells why a partition is not hosted here.
func whyNot(t *metadata.Topic, known bool, p ids.Partition) error {
	switch {
	case !known:
		return kafka.ErrUnknownTopic
	case p < 0 || int(p) >= len(t.Partitions):
		return kafka.ErrUnknownPartition
	}
	return &replica.NotLeaderError{}
}

// NewProducerID implements kafka.Backend: ids come from a block that this node
// took from the metadata log; a block is lost with the process, never reused.
func (b backend) NewProducerID(ctx context.Context) (ids.ProducerID, error) {
	p := &b.producers
	select { // one taker of a new block at a time; waiting ends with ctx
	case p.turn <- struct{}{}:
		defer func() { <-p.turn }()
	case <-ctx.Done():
		return 0, fmt.Errorf("%w: allocate producer id: %w", replica.ErrTimeout, context.Cause(ctx))
	}
	if p.next == p.end {
		res, err := b.change(ctx, &metadata.AllocateProducerIDs{Node: b.identity.NodeID, Count: producerBlock})
		if err != nil {
			return 0, fmt.Errorf("allocate producer ids: %w", err)
		}
		p.next, p.end = res.FirstProducer, res.FirstProducer+producerBlock
	}
	p.next++
	return p.next - 1, nil
}

// producerBlock is how many producer ids a node takes at once, as Kafka's
// ProducerIdsBlock does.
const producerBlock = 1000

// producerIDs is the block being handed out.
type producerIDs struct {
	turn      chan struct{} // capacity 1; held while the fields below are used
	next, end ids.ProducerID
}

// reserved says which records a full log takes into its reserve: those that make
// room, those that a node needs to start, and those that take work from one.
func reserved(r metadata.Record) bool {
	switch r.(type) {
	case *metadata.DeleteTopic, *metadata.SetTopicConfigs, *metadata.SetBrokerConfigs, *metadata.ClusterCreated, *metadata.RegisterBroker,
		*metadata.FenceBroker:
		return true
	}
	return false
}

// metaErrors says which answer of the front an error of the metadata is.
var metaErrors = []struct{ from, to error }{
	{metadata.ErrTopicExists, kafka.ErrTopicExists},
	{metadata.ErrNameCollision, kafka.ErrInvalidTopic},
	{metadata.ErrInvalidTopic, kafka.ErrInvalidTopic},
	{metadata.ErrUnknownTopic, kafka.ErrUnknownTopic},
	{metadata.ErrInvalidCount, kafka.ErrInvalidCount},
	{metadata.ErrStalePartitions, kafka.ErrInvalidCount},
	{metadata.ErrInvalidReplicas, kafka.ErrInvalidReplicas},
	{metadata.ErrInvalidConfig, kafka.ErrInvalidConfig},
	{metadata.ErrTooLarge, kafka.ErrInvalidRequest},
	{metadata.ErrInvalidOps, kafka.ErrInvalidRequest},
	{multiraft.ErrTooLarge, kafka.ErrPolicy},
	{metadata.ErrInvalidRecord, kafka.ErrInvalidRequest},
	{metadata.ErrTooMany, kafka.ErrPolicy},
	{metadata.ErrUnknownBroker, kafka.ErrUnknownBroker},
	{metadata.ErrStaleBroker, kafka.ErrUnknownBroker},
}

func mapMeta(err error) error {
	for _, m := range metaErrors {
		if errors.Is(err, m.from) {
			return fmt.Errorf("%w: %w", m.to, err)
		}
	}
	return err
}
