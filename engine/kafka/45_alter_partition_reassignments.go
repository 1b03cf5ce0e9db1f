package kafka

import (
	"context"
	"fmt"
	"slices"

	"github.com/twmb/franz-go/pkg/kmsg"

	"dyno/engine/ids"
)

// AlterPartitionReassignments (45): versions 0-1.
//
// Behaviour, after ReplicationControlManager.alterPartitionReassignments of
// Kafka 4.1: gives each partition named a new list of replicas, the preferred
// leader first, instead of what was asked for before; a null list cancels what
// is under way, NO_REASSIGNMENT_IN_PROGRESS where nothing is. The answer comes
// when the change is recorded. An empty list, a broker twice or one that is not
// registered: INVALID_REPLICA_ASSIGNMENT. Version 1 may forbid to change the
// number of replicas: INVALID_REPLICATION_FACTOR (KIP-860).
var shapeAlterReassignments = []field{
	is(kindI32), is(kindI8).from(1),
	array(is(kindString), array(is(kindI32), nullList(kindI32))),
}

func handleAlterReassignments(c *conn, r kmsg.Request) kmsg.Response {
	req := r.(*kmsg.AlterPartitionAssignmentsRequest)
	resp := req.ResponseKind().(*kmsg.AlterPartitionAssignmentsResponse)
	ctx, cancel := c.deadline(req.TimeoutMillis)
	defer cancel()
	b := c.srv.cfg.Backend
	known := b.Cluster().Brokers
	resp.AllowReplicationFactorChange = req.AllowReplicationFactorChange
	keep := req.Version >= 1 && !req.AllowReplicationFactorChange
	for i := range req.Topics {
		t := &req.Topics[i]
		rt := kmsg.NewAlterPartitionAssignmentsResponseTopic()
		rt.Topic = t.Topic
		for j := range t.Partitions {
			p := &t.Partitions[j]
			rp := kmsg.NewAlterPartitionAssignmentsResponseTopicPartition()
			rp.Partition = p.Partition
			err := reassign(ctx, b, known, t.Topic, p, keep)
			rp.ErrorCode, rp.ErrorMessage = c.fail(codeOf(err)), message(err)
			rt.Partitions = append(rt.Partitions, rp)
		}
		resp.Topics = append(resp.Topics, rt)
	}
	return resp
}

// reassign changes or cancels one reassignment; keep forbids another number of
// replicas.
func reassign(ctx context.Context, b Backend, known []Broker, topic string,
	p *kmsg.AlterPartitionAssignmentsRequestTopicPartition, keep bool,
) error {
	if err := ctx.Err(); err != nil {
		return err // no time is left: the rest is answered without a call
	}
	if p.Replicas == nil {
		return b.Reassign(ctx, topic, ids.Partition(p.Partition), nil)
	}
	to, err := replicaList(known, p.Replicas)
	if err != nil {
		return err
	}
	if keep {
		if err := sameFactor(b, topic, p.Partition, len(to)); err != nil {
			return err
		}
	}
	return b.Reassign(ctx, topic, ids.Partition(p.Partition), to)
}

// replicaList checks a list of replicas against the brokers there are.
func replicaList(known []Broker, in []int32) ([]ids.NodeID, error) {
	if len(in) == 0 {
		return nil, fmt.Errorf("%w: no replicas", ErrInvalidReplicas)
	}
	// Before the search for duplicates, which is quadratic: no more than there
	// are brokers can be right.
	if len(in) > len(known) {
		return nil, fmt.Errorf("%w: %d replicas, there are %d brokers", ErrInvalidReplicas, len(in), len(known))
	}
	out := make([]ids.NodeID, 0, len(in))
	for _, r := range in {
		n := ids.NodeID(r)
		switch {
		case slices.Contains(out, n):
			return nil, fmt.Errorf("%w: broker %d twice", ErrInvalidReplicas, r)
		case !slices.ContainsFunc(known, func(br Broker) bool { return br.ID == n }):
			return nil, fmt.Errorf("%w: broker %d is not registered", ErrInvalidReplicas, r)
		}
		out = append(out, n)
	}
	return out, nil
}

// sameFactor refuses another number of replicas than the partition has, or will
// have after the reassignment that is under way.
func sameFactor(b Backend, topic string, p int32, want int) error {
	t, ok := b.Topic(topic)
	switch {
	case !ok:
		return ErrUnknownTopic
	case p < 0 || int(p) >= len(t.Partitions):
		return ErrUnknownPartition
	}
	if have := factor(&t.Partitions[p]); have != want {
		return fmt.Errorf("%w: changed from %d to %d", ErrInvalidRF, have, want)
	}
	return nil
}

// factor is how many replicas stay.
func factor(v *PartitionView) int {
	n := 0
	for _, r := range v.Replicas {
		if !slices.Contains(v.Removing, r) {
			n++
		}
	}
	return n
}
