package kafka

import (
	"fmt"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// CreatePartitions (37): versions 0-3.
//
// Behaviour, after ReplicationControlManager.createPartitions of Kafka 4.0:
// the total count must be above the present one, else INVALID_PARTITIONS; a
// topic twice is INVALID_REQUEST; validate_only checks and makes nothing.
//
// Differs from Kafka: the placement of the new partitions cannot be given:
// INVALID_REPLICA_ASSIGNMENT.
var shapeCreatePartitions = []field{
	array(is(kindString), is(kindI32), nullArray(list(kindI32))),
	is(kindI32), is(kindI8),
}

func handleCreatePartitions(c *conn, r kmsg.Request) kmsg.Response {
	req := r.(*kmsg.CreatePartitionsRequest)
	resp := req.ResponseKind().(*kmsg.CreatePartitionsResponse)
	ctx, cancel := c.deadline(req.TimeoutMillis)
	defer cancel()
	times := map[string]int{}
	for i := range req.Topics {
		times[req.Topics[i].Topic]++
	}
	for i := range req.Topics {
		t := &req.Topics[i]
		rt := kmsg.NewCreatePartitionsResponseTopic()
		rt.Topic = t.Topic
		var err error
		switch {
		case times[t.Topic] > 1:
			err = fmt.Errorf("%w: topic %q is named twice", ErrInvalidRequest, t.Topic)
		case t.Count <= 0:
			err = fmt.Errorf("%w: %d", ErrInvalidCount, t.Count)
		case t.Assignment != nil:
			err = fmt.Errorf("%w: new partitions are placed by the cluster", ErrInvalidReplicas)
		default:
			err = c.srv.cfg.Backend.CreatePartitions(ctx, t.Topic, t.Count, req.ValidateOnly)
		}
		rt.ErrorCode, rt.ErrorMessage = c.fail(codeOf(err)), message(err)
		resp.Topics = append(resp.Topics, rt)
	}
	return resp
}
