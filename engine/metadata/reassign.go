package metadata

import (
	"slices"

	"dyno/engine/ids"
)

// apply refuses all of r or takes all of it.
func (r *Reassign) apply(d *draft, _ int64) outcome {
	for i := range r.Partitions {
		if out := r.Partitions[i].mayMove(d); out.code != 0 {
			return out
		}
	}
	fresh := map[ids.TopicID]*Topic{}
	var order []*Topic
	for i := range r.Partitions {
		c := &r.Partitions[i]
		t := fresh[c.Topic]
		if t == nil {
			own := *d.topics[c.Topic]
			own.Partitions = slices.Clone(own.Partitions)
			t = &own
			fresh[c.Topic] = t
			order = append(order, t)
		}
		t.Partitions[c.Partition] = d.retarget(t.Partitions[c.Partition], c.Nodes)
	}
	for _, t := range order {
		d.putTopic(t)
		d.tell(Change{Kind: ReplicasSet, Topic: t})
	}
	return outcome{}
}

func (c *PartitionNodes) mayMove(d *draft) outcome {
	t := d.topics[c.Topic]
	switch {
	case t == nil:
		return refuse(ErrUnknownTopic, "%s", c.Topic)
	case int(c.Partition) >= len(t.Partitions):
		return refuse(ErrNoPartition, "%q has %d partitions", t.Name, len(t.Partitions))
	case len(c.Nodes) == 0 && t.Partitions[c.Partition].Target == nil:
		return refuse(ErrNoReassignment, "%s-%d", t.Name, c.Partition)
	}
	for _, n := range c.Nodes {
		if d.brokers[n] == nil {
			return refuse(ErrUnknownBroker, "node %d", n)
		}
	}
	return outcome{}
}

// retarget gives p on its way to nodes, or back to where it was before.
func (d *draft) retarget(p Partition, nodes []ids.NodeID) Partition {
	begins, base := p.Target == nil, p.Base
	if base == nil {
		for _, r := range p.Replicas {
			base = append(base, r.Node)
		}
	}
	if len(nodes) == 0 {
		nodes = base
	}
	if p.Initial == nil {
		p.Initial = p.Replicas
	}
	var adding, removing []ids.NodeID
	all := slices.Clone(p.Replicas)
	for _, n := range nodes {
		if p.On(n) == 0 {
			all = append(all, Replica{Node: n, ID: d.nextReplica})
			d.nextReplica++
		}
		if !slices.Contains(base, n) {
			adding = append(adding, n)
		}
	}
	for _, r := range p.Replicas {
		if !slices.Contains(nodes, r.Node) {
			removing = append(removing, r.Node)
		}
	}
	p.Replicas, p.Adding, p.Removing, p.Target = all, adding, removing, slices.Clone(nodes)
	p.Move = d.Index
	if len(adding) > 0 || len(removing) > 0 {
		p.Base = base
	} else if begins {
		return p.settle() // another order, that is all
	}
	return p // what the group has become since the move began, its leader knows
}

// settle ends a move: the replicas are the target's.
func (p Partition) settle() Partition {
	var list []Replica
	for _, n := range p.Target {
		list = append(list, Replica{Node: n, ID: p.On(n)})
	}
	if slices.Equal(list, p.Initial) {
		p.Initial = nil
	}
	p.Replicas, p.Target, p.Base, p.Adding, p.Removing, p.Lost, p.Move = list, nil, nil, nil, nil, nil, 0
	p.ISR = slices.DeleteFunc(slices.Clone(p.ISR), func(n ids.NodeID) bool { return p.On(n) == 0 })
	return p
}

func (r *Reassigned) apply(d *draft, _ int64) outcome {
	old := d.topics[r.Topic]
	if old == nil || int(r.Partition) >= len(old.Partitions) || !slices.Equal(old.Partitions[r.Partition].Target, r.Nodes) ||
		old.Partitions[r.Partition].Move != r.Move {
		return outcome{} // deleted, or on its way elsewhere by now
	}
	t := *old
	t.Partitions = slices.Clone(old.Partitions)
	t.Partitions[r.Partition] = t.Partitions[r.Partition].settle()
	d.putTopic(&t)
	d.tell(Change{Kind: ReplicasSet, Topic: &t})
	return outcome{}
}
