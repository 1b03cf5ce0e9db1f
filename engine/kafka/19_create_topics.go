package kafka

import (
	"fmt"

	"github.com/twmb/franz-go/pkg/kmsg"

	"dyno/engine/ids"
)

// CreateTopics (19): versions 2-7.
//
// Behaviour, after ReplicationControlManager.createTopics of Kafka 4.0: bad
// name INVALID_TOPIC_EXCEPTION, known TOPIC_ALREADY_EXISTS, no partitions or
// below -1 INVALID_PARTITIONS, replication factor 0, below -1 or above the
// brokers INVALID_REPLICATION_FACTOR, an assignment together with counts or
// with gaps INVALID_REQUEST or INVALID_REPLICA_ASSIGNMENT, bad configs
// INVALID_CONFIG; a name twice in a request INVALID_REQUEST. From version 5 the
// reply tells partitions, replication factor and configs. validate_only checks
// and makes nothing. Any broker answers: it forwards to the metadata leader.
var shapeCreateTopics = []field{
	array(is(kindString), is(kindI32), is(kindI16),
		array(is(kindI32), list(kindI32)),
		array(is(kindString), is(kindNullString))),
	is(kindI32), is(kindI8),
}

func handleCreateTopics(c *conn, r kmsg.Request) kmsg.Response {
	req := r.(*kmsg.CreateTopicsRequest)
	resp := req.ResponseKind().(*kmsg.CreateTopicsResponse)
	resp.Topics = make([]kmsg.CreateTopicsResponseTopic, len(req.Topics))
	times := map[string]int{}
	for i := range req.Topics {
		times[req.Topics[i].Topic]++
	}
	var ask []NewTopic
	var slot []int
	results := make([]TopicResult, len(req.Topics))
	for i := range req.Topics {
		t, err := newTopic(&req.Topics[i])
		if times[t.Name] > 1 {
			err = fmt.Errorf("%w: topic %q is named twice", ErrInvalidRequest, t.Name)
		}
		if results[i] = (TopicResult{Name: t.Name, Err: err}); err == nil {
			ask, slot = append(ask, t), append(slot, i)
		}
	}
	if len(ask) > 0 {
		ctx, cancel := c.deadline(req.TimeoutMillis)
		defer cancel()
		for i, res := range c.srv.cfg.Backend.CreateTopics(ctx, ask, req.ValidateOnly) {
			results[slot[i]] = res
		}
	}
	for i := range results {
		c.createdTopic(&resp.Topics[i], &results[i])
	}
	return resp
}

// newTopic reads and checks one topic of a request.
func newTopic(t *kmsg.CreateTopicsRequestTopic) (NewTopic, error) {
	n := NewTopic{Name: t.Topic, Partitions: t.NumPartitions, RF: t.ReplicationFactor}
	n.Configs = make(map[string]*string, len(t.Configs))
	for i := range t.Configs {
		n.Configs[t.Configs[i].Name] = t.Configs[i].Value
	}
	if !validTopicName(n.Name) {
		return n, fmt.Errorf("%w: %q", ErrInvalidTopic, n.Name)
	}
	if len(t.ReplicaAssignment) == 0 {
		return n, checkCounts(n.Partitions, n.RF)
	}
	if n.Partitions != -1 || n.RF != -1 {
		return n, fmt.Errorf("%w: both an assignment and counts", ErrInvalidRequest)
	}
	n.Assignment = make([][]ids.NodeID, len(t.ReplicaAssignment))
	for i := range t.ReplicaAssignment {
		a := &t.ReplicaAssignment[i]
		if a.Partition < 0 || int(a.Partition) >= len(n.Assignment) || n.Assignment[a.Partition] != nil {
			return n, fmt.Errorf("%w: partitions must be 0 to %d, each once", ErrInvalidReplicas, len(n.Assignment)-1)
		}
		if len(a.Replicas) == 0 {
			return n, fmt.Errorf("%w: partition %d has no replica", ErrInvalidReplicas, a.Partition)
		}
		rs := make([]ids.NodeID, len(a.Replicas))
		for j, id := range a.Replicas {
			rs[j] = ids.NodeID(id)
		}
		n.Assignment[a.Partition] = rs
	}
	return n, nil
}

func checkCounts(partitions int32, rf int16) error {
	if partitions == 0 || partitions < -1 {
		return fmt.Errorf("%w: %d", ErrInvalidCount, partitions)
	}
	if rf == 0 || rf < -1 {
		return fmt.Errorf("%w: %d", ErrInvalidRF, rf)
	}
	return nil
}

func (c *conn) createdTopic(rt *kmsg.CreateTopicsResponseTopic, r *TopicResult) {
	rt.Default()
	rt.Topic, rt.TopicID = r.Name, r.ID
	rt.ErrorCode, rt.ErrorMessage = c.fail(codeOf(r.Err)), message(r.Err)
	if r.Err != nil {
		rt.NumPartitions, rt.ReplicationFactor = -1, -1
		return
	}
	rt.NumPartitions, rt.ReplicationFactor = r.Partitions, r.RF
	entries, err := c.srv.cfg.Backend.TopicConfigs(r.Name)
	if err != nil { // only checked, or deleted since
		return
	}
	rt.Configs = make([]kmsg.CreateTopicsResponseTopicConfig, len(entries))
	for i := range entries {
		e, rc := &entries[i], &rt.Configs[i]
		rc.Default()
		rc.Name, rc.Value, rc.ReadOnly = e.Name, e.shown(), e.ReadOnly
		rc.Source, rc.IsSensitive = int8(e.Source), e.Secret
	}
}

// shown is a config's value for a client: nil where it is secret.
func (e *ConfigEntry) shown() *string {
	if e.Secret {
		return nil
	}
	return &e.Value
}
