package kafka

import (
	"context"
	"fmt"
	"slices"

	"dyno/engine/ids"
)

// settle puts this node into a rack and adds brokers.
func (n *fakeNode) settle(rack string, others ...Broker) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.rack, n.others = rack, others
}

// place gives a partition its replicas, all in sync.
func (p *fakePart) place(replicas ...ids.NodeID) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.replicas, p.isr = replicas, replicas
}

// with changes a partition that is served already.
func (p *fakePart) with(f func(*fakePart)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	f(p)
}

// lead makes a node the leader in the next epoch and tells who waits.
func (p *fakePart) lead(n ids.NodeID) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.leader, p.epoch = n, p.epoch+1
	p.wake()
}

// lookup finds a partition for an administrative call.
func (n *fakeNode) lookup(topic string, i ids.Partition) (*fakePart, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	t := n.topics[topic]
	switch {
	case t == nil:
		return nil, fmt.Errorf("%w: %q", ErrUnknownTopic, topic)
	case i < 0 || int(i) >= len(t.parts):
		return nil, fmt.Errorf("%w: %d", ErrUnknownPartition, i)
	}
	return t.parts[i], nil
}

func (n *fakeNode) Reassign(ctx context.Context, topic string, i ids.Partition, to []ids.NodeID) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	p, err := n.lookup(topic, i)
	if err != nil {
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	cancel := to == nil
	if cancel && len(p.adding)+len(p.removing) == 0 {
		return ErrNoReassignment
	}
	was := slices.DeleteFunc(slices.Clone(p.replicas), func(r ids.NodeID) bool { return slices.Contains(p.adding, r) })
	p.replicas, p.adding, p.removing = was, nil, nil
	if cancel {
		return nil
	}
	p.replicas = slices.Clone(to)
	for _, r := range was {
		if !slices.Contains(to, r) {
			p.replicas, p.removing = append(p.replicas, r), append(p.removing, r)
		}
	}
	for _, r := range to {
		if !slices.Contains(was, r) {
			p.adding = append(p.adding, r)
		}
	}
	return nil
}

func (n *fakeNode) ElectLeader(ctx context.Context, topic string, i ids.Partition) error {
	p, err := n.lookup(topic, i)
	if err != nil {
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case p.stuck:
		<-ctx.Done()
		return fmt.Errorf("elect: %w", ctx.Err())
	case p.leader == p.replicas[0]:
		return ErrElectionNotNeeded
	case len(p.isr) == 0:
		return ErrEligibleNotAvailable
	case !slices.Contains(p.isr, p.replicas[0]):
		return fmt.Errorf("%w: node %d", ErrPreferredNotAvailable, p.replicas[0])
	}
	p.leader, p.epoch = p.replicas[0], p.epoch+1
	return nil
}
