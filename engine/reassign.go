package engine

import (
	"context"
	"errors"
	"fmt"
	"time"

	"dyno/engine/admin"
	"dyno/engine/ids"
	"dyno/engine/kafka"
	"dyno/engine/metadata"
	"dyno/engine/multiraft"
	"dyno/engine/partition"
	"dyno/engine/replica"
)

// Replicas move in steps, each of which the partition's leader takes when it sees
// that the one before is done. What is to be stands in the metadata, what is in
// the group's own membership: so any leader goes on where another one stopped, and
// no step is lost or done twice.
//
//	metadata.Reassign     the replicas that join get ids, their nodes open them
//	the steps of multiraft.Move
//	metadata.Reassigned   the nodes that hold a replica no more delete it

// move takes the next step of every move of a partition that this node leads;
// false where there is none. meta is the view of the metadata group, nil where
// another node leads it.
func (i *isr) move(ctx context.Context, meta *isrView) (moving bool) {
	n := i.node
	if meta != nil {
		var err error
		if moving, err = n.metaStep(ctx, meta); err != nil && !errors.Is(err, replica.ErrNotLeader) {
			n.cfg.Log.Warn("the metadata group's members stand; it will be tried again", "node", n.identity.NodeID, "err", err)
		}
	}
	for _, h := range i.leading {
		if n.moveOf(h.hosted) == nil {
			continue
		}
		moving = true
		if err := n.moveStep(ctx, h.hosted, h.view); err != nil && !errors.Is(err, replica.ErrNotLeader) {
			n.cfg.Log.Warn("a move of replicas stands; it will be tried again", "node", n.identity.NodeID, "topic", h.name, "partition", h.part, "err", err)
		}
	}
	return moving
}

// moveOf gives what the metadata says of a partition whose replicas move; nil where
// they do not, as far as this node knows.
func (n *Node) moveOf(h *hosted) *metadata.Partition {
	t, ok := n.meta.Image().TopicByID(h.topic)
	if !ok || int(h.part) >= len(t.Partitions) || t.Partitions[h.part].Target == nil {
		return nil
	}
	return &t.Partitions[h.part]
}

// moveStep takes one step, or none where one is under way. It asks the metadata group
// first what is to be: a leader that has not heard of a newer plan would go on with the
// old one, and remove replicas on which others count by now.
func (n *Node) moveStep(ctx context.Context, h *hosted, v *isrView) error {
	if _, err := n.metaGroup.ReadIndex(ctx); err != nil {
		return err
	}
	p := n.moveOf(h)
	if p == nil {
		return nil
	}
	move := v.moveTo(h.group, nil)
	for _, node := range p.Target {
		move.Want = append(move.Want, p.On(node))
	}
	step := move.Next()
	if step.Change != nil || step.Transfer != 0 {
		return takeStep(h.group, step)
	}
	if !step.Barrier && !step.Done {
		return nil
	}
	if err := h.command(ctx, partition.LogStartCommand(h.Offsets().LogStart)); err != nil || step.Barrier {
		return err
	}
	same := false
	if err := h.group.Call(ctx, func() { same = h.group.Members().At == move.Have.At }); err != nil || !same {
		return err
	}
	_, err := n.change(ctx, &metadata.Reassigned{Move: p.Move, PartitionNodes: metadata.PartitionNodes{Topic: h.topic, Partition: h.part, Nodes: p.Target}})
	return err
}

// moveTo is the move of a group that this node leads to the voters want.
func (v *isrView) moveTo(g *multiraft.Group, want []ids.ReplicaID) multiraft.Move {
	return multiraft.Move{
		Self: g.Replica(), Have: g.Members(), Want: want, Progress: v.members, Commit: v.commit, Lag: isrBack, Silence: drainSilence,
	}
}

// takeStep does what a step asks of the group itself.
func takeStep(g *multiraft.Group, step multiraft.Step) error {
	if step.Change != nil {
		return g.ChangeMembers(*step.Change)
	}
	return g.Transfer(step.Transfer)
}

// metaStep takes one step of the metadata group to the members that the metadata
// names; moving says that there are more to take.
func (n *Node) metaStep(ctx context.Context, v *isrView) (moving bool, err error) {
	want := func() (list []ids.ReplicaID) {
		for _, m := range n.meta.Image().Cluster.Replicas {
			list = append(list, m.ID)
		}
		return list
	}
	if move := v.moveTo(n.metaGroup, want()); move.Next().Done {
		return false, nil
	}
	if _, err := n.metaGroup.ReadIndex(ctx); err != nil { // see moveStep
		return true, err
	}
	move := v.moveTo(n.metaGroup, want())
	switch step := move.Next(); {
	case step.Barrier: // creating the cluster again changes nothing
		c := n.meta.Image().Cluster
		_, err = n.change(ctx, &metadata.ClusterCreated{ClusterID: c.ID, Format: c.Format, Replicas: c.Replicas})
	case step.Change != nil, step.Transfer != 0:
		err = takeStep(n.metaGroup, step)
	}
	return true, err
}

// Reassign implements kafka.Backend.
func (b backend) Reassign(ctx context.Context, topic string, p ids.Partition, nodes []ids.NodeID) error {
	t, ok := b.meta.Image().Topic(topic)
	if !ok {
		return kafka.ErrUnknownTopic
	}
	if p < 0 || int(p) >= len(t.Partitions) {
		return kafka.ErrUnknownPartition
	}
	if nodes != nil && len(nodes) == 0 {
		return fmt.Errorf("%w: no replicas", kafka.ErrInvalidReplicas)
	}
	_, err := b.change(ctx, &metadata.Reassign{Partitions: []metadata.PartitionNodes{{Topic: t.ID, Partition: p, Nodes: nodes}}})
	switch {
	case errors.Is(err, metadata.ErrNoReassignment):
		return fmt.Errorf("%w: %w", kafka.ErrNoReassignment, err)
	case errors.Is(err, metadata.ErrNoPartition):
		return fmt.Errorf("%w: %w", kafka.ErrUnknownPartition, err)
	case errors.Is(err, metadata.ErrUnknownBroker), errors.Is(err, metadata.ErrInvalidReplicas):
		return fmt.Errorf("%w: %w", kafka.ErrInvalidReplicas, err)
	}
	return err
}

// electThere asks the node that leads the partition, once it is known.
func (b backend) electThere(ctx context.Context, topic ids.TopicID, p ids.Partition) error {
	tick := time.NewTicker(electEvery)
	defer tick.Stop()
	for b.peers != nil {
		t, ok := b.meta.Image().TopicByID(topic)
		if !ok {
			return kafka.ErrUnknownTopic
		}
		if leader := t.Partitions[p].Leader; leader != 0 && leader != b.identity.NodeID {
			return fromAdmin(b.peers.client.Elect(ctx, leader, admin.Elect{Topic: t.Name, Partition: p}))
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return &replica.NotLeaderError{}
		}
	}
	return &replica.NotLeaderError{}
}

const electEvery = 20 * time.Millisecond

// Elect implements admin.Node.
func (a adminNode) Elect(ctx context.Context, e admin.Elect) error {
	if !a.ready.Load() {
		return &admin.Error{Kind: admin.NotLeader, Text: fmt.Sprintf("node %d is starting", a.identity.NodeID)}
	}
	if err := backend(a).ElectLeader(ctx, e.Topic, e.Partition); err != nil {
		return a.toAdmin(err)
	}
	return nil
}

// ElectLeader implements kafka.Backend. A node that holds a replica passes the
// wish on to the leader; any other one asks the leader's node.
func (b backend) ElectLeader(ctx context.Context, topic string, p ids.Partition) error {
	img := b.meta.Image()
	t, ok := img.Topic(topic)
	if !ok {
		return kafka.ErrUnknownTopic
	}
	if p < 0 || int(p) >= len(t.Partitions) {
		return kafka.ErrUnknownPartition
	}
	first := t.Partitions[p].Replicas[0]
	if br, ok := img.Broker(first.Node); !ok || !br.Taking() {
		return fmt.Errorf("%w: node %d is down or stopping", kafka.ErrPreferredNotAvailable, first.Node)
	}
	h := b.directory.ByID(t.ID, p)
	if h == nil {
		return b.electThere(ctx, t.ID, p)
	}
	if leader, _ := h.Leader(); leader == first.Node {
		return kafka.ErrElectionNotNeeded
	}
	tick := time.NewTicker(electEvery)
	defer tick.Stop()
	for {
		if err := h.group.RequestTransfer(first.ID); err != nil && !errors.Is(err, replica.ErrNotLeader) {
			return err // without a leader there is an election under way
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("%w: node %d does not lead %s-%d yet", replica.ErrTimeout, first.Node, topic, p)
		}
		if leader, _ := h.Leader(); leader == first.Node {
			return nil
		}
	}
}
