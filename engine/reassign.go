package engine

import (
	"context"
	"errors"
	"fmt"
	"slices"
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
//	learner               they are sent the log and do not vote
//	caught up             they lack at most isrBack entries
//	joint change          they vote, those that leave do not (thesis section 4.3)
//	metadata.Reassigned   the nodes that hold a replica no more delete it

// move takes the next step of every move of a partition that this node leads;
// false where there is none.
func (i *isr) move(ctx context.Context, views map[ids.GroupID]isrView) (moving bool) {
	n := i.node
	img := n.meta.Image()
	if v, leads := views[ids.MetadataGroup]; leads {
		var err error
		if moving, err = n.metaStep(ctx, &v); err != nil && !errors.Is(err, replica.ErrNotLeader) {
			n.cfg.Log.Warn("the metadata group's members stand; it will be tried again", "node", n.identity.NodeID, "err", err)
		}
	}
	for _, h := range n.hosts.list() {
		v, leads := views[h.group.ID()]
		t, ok := img.TopicByID(h.topic)
		if !leads || !ok || int(h.part) >= len(t.Partitions) || t.Partitions[h.part].Target == nil {
			continue
		}
		moving = true
		if err := n.moveStep(ctx, h, &t.Partitions[h.part], &v); err != nil && !errors.Is(err, replica.ErrNotLeader) {
			n.cfg.Log.Warn("a move of replicas stands; it will be tried again", "node", n.identity.NodeID, "topic", h.name, "partition", h.part, "err", err)
		}
	}
	return moving
}

// moveStep takes one step, or none where one is under way.
func (n *Node) moveStep(ctx context.Context, h *hosted, p *metadata.Partition, v *isrView) error {
	if len(h.group.Members().Outgoing) > 0 {
		return n.barrier(ctx, h) // leaves by itself, with the next entry that is applied
	}
	var want []ids.ReplicaID
	for _, node := range p.Target {
		want = append(want, p.On(node))
	}
	there, err := stepTo(h.group, want, v)
	if err != nil || !there {
		return err
	}
	if err := n.barrier(ctx, h); err != nil {
		return err
	}
	_, err = n.change(ctx, &metadata.Reassigned{Move: p.Move, PartitionNodes: metadata.PartitionNodes{Topic: h.topic, Partition: h.part, Nodes: p.Target}})
	return err
}

// metaStep takes one step of the metadata group to the members that the metadata
// names; moving says that there are more to take.
func (n *Node) metaStep(ctx context.Context, v *isrView) (moving bool, err error) {
	if len(n.metaGroup.Members().Outgoing) > 0 {
		return true, n.metaBarrier(ctx)
	}
	var want []ids.ReplicaID
	for _, m := range n.meta.Image().Cluster.Replicas {
		want = append(want, m.ID)
	}
	there, err := stepTo(n.metaGroup, want, v)
	return !there, err
}

// stepTo takes one step to a membership of want; there says that it is reached.
// It is not called while a joint change is under way.
func stepTo(g *multiraft.Group, want []ids.ReplicaID, v *isrView) (there bool, err error) {
	have := g.Members()
	var learn, vote, remove []ids.ReplicaID
	for _, id := range want {
		switch {
		case slices.Contains(have.Voters, id):
		case !slices.Contains(have.Learners, id):
			learn = append(learn, id)
		case v.caughtUp(id):
			vote = append(vote, id)
		default:
			return false, nil // it is being sent the log
		}
	}
	if len(learn) > 0 {
		return false, g.ChangeMembers(multiraft.Change{Learn: learn})
	}
	for _, id := range slices.Concat(have.Voters, have.Learners) {
		if !slices.Contains(want, id) {
			remove = append(remove, id)
		}
	}
	if len(vote) == 0 && len(remove) == 0 {
		return true, nil
	}
	if slices.Contains(remove, g.Replica()) {
		for _, id := range want { // a leader that leaves hands over first, where somebody can take over
			if slices.Contains(have.Voters, id) && v.caughtUp(id) {
				return false, g.Transfer(id)
			}
		}
	}
	return false, g.ChangeMembers(multiraft.Change{Vote: vote, Remove: remove})
}

// metaBarrier is barrier for the metadata group: creating the cluster again
// changes nothing.
func (n *Node) metaBarrier(ctx context.Context) error {
	c := n.meta.Image().Cluster
	_, err := n.change(ctx, &metadata.ClusterCreated{ClusterID: c.ID, Format: c.Format, Replicas: c.Replicas})
	return err
}

// barrier returns when an entry that changes nothing is committed. With it a
// majority stores that everything before it is: the membership that was applied
// last holds for whoever starts again, before a member that left is deleted.
func (n *Node) barrier(ctx context.Context, h *hosted) error {
	return h.command(ctx, partition.LogStartCommand(h.Offsets().LogStart))
}

// caughtUp says whether a member lacks little and has answered lately.
func (v *isrView) caughtUp(id ids.ReplicaID) bool {
	for _, m := range v.members {
		if m.ID == id {
			return m.Match+isrBack >= v.commit && m.Silent <= drainSilence
		}
	}
	return false
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
