package metadata

import (
	"fmt"
	"maps"
	"slices"

	"dyno/engine/ids"
)

// Limits of the whole cluster, judged by apply and part of the record version.
const (
	ClusterPartitionsMax = 100_000
	BrokersMax           = 1_000
)

// ChangeKind says what a Change is about.
type ChangeKind uint8

// The kinds of change.
const (
	ClusterMade      ChangeKind = iota + 1
	BrokerChanged               // registered or fenced: Node, Broker
	BrokerConfigsSet            // Node, 0 for all
	TopicMade                   // Topic
	TopicGone                   // Topic as it was
	PartitionsAdded             // Topic, From: the first new one
	TopicConfigsSet             // Topic
	ImageRestored               // a snapshot took the place of everything
	ISRSet                      // Topic: leaders or in-sync replicas of its partitions
	ReplicasSet                 // Topic: replicas of its partitions move, or have moved
	MetaReplicasSet             // Node: it gets another replica of the metadata group
)

var changeNames = [...]string{"", "cluster made", "broker changed", "broker configs set", "topic made", "topic gone", "partitions added", "topic configs set", "image restored", "isr set", "replicas set", "metadata replicas set"}

func (k ChangeKind) String() string { return changeNames[k] }

// Change is one applied delta. Topic and Broker are part of an image: immutable.
type Change struct {
	Kind   ChangeKind
	Index  ids.LogIndex
	Topic  *Topic
	From   ids.Partition
	Node   ids.NodeID
	Broker *Broker
}

// outcome is what apply answers to one record.
type outcome struct {
	code  Code
	first ids.ProducerID
	// detail is for the proposer's error text. It is not replicated, so that
	// its wording may change from build to build.
	detail string
}

func refuse(err error, format string, args ...any) outcome {
	return outcome{code: codeOf(err), detail: fmt.Sprintf(format, args...)}
}

// draft is the next image while entries are applied to it. It starts as a
// shallow copy of the last one; a map is copied before its first change, so a
// run of n entries copies each map once.
type draft struct {
	*Image
	ownTopics, ownBrokers, ownConfigs bool
	changes                           []Change
}

func newDraft(m *Image) *draft {
	next := *m
	return &draft{Image: &next}
}

func own[K comparable, V any](m *map[K]V, owned *bool) {
	if *owned {
		return
	}
	*owned = true
	c := make(map[K]V, len(*m)+1)
	maps.Copy(c, *m)
	*m = c
}

func (d *draft) tell(c Change) {
	c.Index = d.Index
	d.changes = append(d.changes, c)
}

// ownTopicMaps makes both maps of topics ours to change.
func (d *draft) ownTopicMaps() {
	owned := d.ownTopics
	own(&d.topics, &owned)
	own(&d.names, &d.ownTopics)
}

func (d *draft) putTopic(t *Topic) {
	d.ownTopicMaps()
	d.topics[t.ID], d.names[collisionKey(t.Name)] = t, t
}

func (d *draft) putBroker(b *Broker) {
	own(&d.brokers, &d.ownBrokers)
	d.brokers[b.Node] = b
	d.tell(Change{Kind: BrokerChanged, Node: b.Node, Broker: b})
}

func (r *ClusterCreated) apply(d *draft, atMS int64) outcome {
	if d.Cluster.ID == r.ClusterID {
		return outcome{}
	}
	if d.Cluster.ID != "" {
		return refuse(ErrForeignCluster, "%q, not %q", d.Cluster.ID, r.ClusterID)
	}
	d.Cluster = Cluster{ID: r.ClusterID, Format: r.Format, CreatedMS: atMS, Replicas: slices.Clone(r.Replicas)}
	for _, p := range r.Replicas {
		d.nextReplica = max(d.nextReplica, p.ID+1)
	}
	d.tell(Change{Kind: ClusterMade})
	return outcome{}
}

func (r *RegisterBroker) apply(d *draft, atMS int64) outcome {
	if d.brokers[r.Node] == nil && len(d.brokers) >= BrokersMax {
		return refuse(ErrTooMany, "%d brokers", BrokersMax)
	}
	if old := d.brokers[r.Node]; old != nil && old.Directory != "" && old.Directory != r.Directory {
		return refuse(ErrOtherDirectory, "node %d was registered with directory %s, not %s", r.Node, old.Directory, r.Directory)
	}
	d.putBroker(&Broker{
		Node: r.Node, Kafka: r.Kafka, Raft: r.Raft, Admin: r.Admin, Rack: r.Rack,
		Incarnation: r.Incarnation, Directory: r.Directory, RegisteredMS: atMS,
	})
	return outcome{}
}

func (r *FenceBroker) apply(d *draft, _ int64) outcome {
	old := d.brokers[r.Node]
	switch {
	case old == nil:
		return refuse(ErrUnknownBroker, "node %d", r.Node)
	case old.Incarnation != r.Incarnation:
		return refuse(ErrStaleBroker, "node %d", r.Node)
	case old.Fenced, r.Drain && old.Draining:
		return outcome{}
	}
	b := *old
	b.Fenced, b.Draining = !r.Drain, true
	d.putBroker(&b)
	return outcome{}
}

// number gives groups and replica ids to new partitions, in order. It changes
// nothing when it refuses.
func (d *draft) number(assignment [][]ids.NodeID) ([]Partition, outcome) {
	if d.partitions+len(assignment) > ClusterPartitionsMax {
		return nil, refuse(ErrTooMany, "%d partitions", ClusterPartitionsMax)
	}
	for p, nodes := range assignment {
		for _, n := range nodes {
			if d.brokers[n] == nil {
				return nil, refuse(ErrUnknownBroker, "partition %d: node %d", p, n)
			}
		}
	}
	parts := make([]Partition, len(assignment))
	for p, nodes := range assignment {
		parts[p].Group = d.nextGroup
		d.nextGroup++
		for _, n := range nodes {
			parts[p].Replicas = append(parts[p].Replicas, Replica{Node: n, ID: d.nextReplica})
			d.nextReplica++
		}
	}
	d.partitions += len(parts)
	return parts, outcome{}
}

func (r *CreateTopic) apply(d *draft, atMS int64) outcome {
	if old := d.names[collisionKey(r.Name)]; old != nil && old.Name == r.Name {
		return refuse(ErrTopicExists, "%q", r.Name)
	} else if old != nil {
		return refuse(ErrNameCollision, "%q and %q", r.Name, old.Name)
	}
	if d.topics[r.ID] != nil {
		return refuse(ErrIDTaken, "%s", r.ID)
	}
	parts, out := d.number(r.Partitions)
	if out.code != 0 {
		return out
	}
	t := &Topic{Name: r.Name, ID: r.ID, CreatedMS: atMS, Partitions: parts, Configs: r.Configs}
	d.putTopic(t)
	d.tell(Change{Kind: TopicMade, Topic: t})
	return outcome{}
}

func (r *DeleteTopic) apply(d *draft, _ int64) outcome {
	t := d.topics[r.ID]
	if t == nil {
		return refuse(ErrUnknownTopic, "%s", r.ID)
	}
	d.ownTopicMaps()
	delete(d.topics, t.ID)
	delete(d.names, collisionKey(t.Name))
	d.partitions -= len(t.Partitions)
	d.tell(Change{Kind: TopicGone, Topic: t})
	return outcome{}
}

func (r *AddPartitions) apply(d *draft, _ int64) outcome {
	old := d.topics[r.ID]
	if old == nil {
		return refuse(ErrUnknownTopic, "%s", r.ID)
	}
	if len(old.Partitions) != int(r.From) {
		return refuse(ErrStalePartitions, "%q has %d, not %d", old.Name, len(old.Partitions), r.From)
	}
	parts, out := d.number(r.Partitions)
	if out.code != 0 {
		return out
	}
	t := *old
	t.Partitions = append(slices.Clip(slices.Clone(old.Partitions)), parts...)
	d.putTopic(&t)
	d.tell(Change{Kind: PartitionsAdded, Topic: &t, From: r.From})
	return outcome{}
}

func (r *SetTopicConfigs) apply(d *draft, _ int64) outcome {
	old := d.topics[r.ID]
	if old == nil {
		return refuse(ErrUnknownTopic, "%s", r.ID)
	}
	t := *old
	t.Configs = changed(old.Configs, r.Set, r.Delete)
	d.putTopic(&t)
	d.tell(Change{Kind: TopicConfigsSet, Topic: &t})
	return outcome{}
}

func (r *SetBrokerConfigs) apply(d *draft, _ int64) outcome {
	if r.Node != 0 && d.brokers[r.Node] == nil {
		return refuse(ErrUnknownBroker, "node %d", r.Node)
	}
	own(&d.configs, &d.ownConfigs)
	if next := changed(d.configs[r.Node], r.Set, r.Delete); len(next) > 0 {
		d.configs[r.Node] = next
	} else {
		delete(d.configs, r.Node)
	}
	d.tell(Change{Kind: BrokerConfigsSet, Node: r.Node})
	return outcome{}
}

func (r *AllocateProducerIDs) apply(d *draft, _ int64) outcome {
	if d.brokers[r.Node] == nil {
		return refuse(ErrUnknownBroker, "node %d", r.Node)
	}
	first := d.nextProducer
	d.nextProducer += ids.ProducerID(r.Count)
	return outcome{first: first}
}

func (r *SetISR) apply(d *draft, _ int64) outcome {
	if d.brokers[r.Node] == nil {
		return refuse(ErrUnknownBroker, "node %d", r.Node)
	}
	fresh := map[ids.TopicID]*Topic{}
	var order []*Topic
	for i := range r.Partitions {
		c := &r.Partitions[i]
		t := fresh[c.Topic]
		if t == nil {
			t = d.topics[c.Topic]
		}
		if t == nil || int(c.Partition) >= len(t.Partitions) {
			continue // deleted meanwhile
		}
		next, news := c.over(&t.Partitions[c.Partition], r.Node)
		if !news {
			continue
		}
		if fresh[c.Topic] == nil {
			own := *t
			own.Partitions = slices.Clone(t.Partitions)
			t = &own
			fresh[c.Topic] = t
			order = append(order, t)
		}
		t.Partitions[c.Partition] = next
	}
	for _, t := range order {
		d.putTopic(t)
		d.tell(Change{Kind: ISRSet, Topic: t})
	}
	return outcome{}
}

// over gives old with the leader's word worked in; false where it says nothing
// new.
func (c *PartitionISR) over(old *Partition, leader ids.NodeID) (Partition, bool) {
	next := *old
	if c.Term < old.Term || c.Term == old.Term && old.Leader != leader {
		return next, false
	}
	next.Leader, next.Term = leader, c.Term
	next.ISR = slices.DeleteFunc(slices.Clone(c.ISR), func(n ids.NodeID) bool { return old.On(n) == 0 })
	same := slices.Equal(next.ISR, old.ISR)
	if !same {
		next.ISREpoch++
	}
	return next, !same || old.Leader != leader || old.Term != c.Term
}

// changed gives a copy of old with set and del worked in; nil when nothing is
// left, as a decoded snapshot has it.
func changed(old, set map[string]string, del []string) map[string]string {
	next := make(map[string]string, len(old)+len(set))
	maps.Copy(next, old)
	maps.Copy(next, set)
	for _, k := range del {
		delete(next, k)
	}
	if len(next) == 0 {
		return nil
	}
	return next
}
