package kafka

import (
	"context"
	"fmt"

	"github.com/twmb/franz-go/pkg/kmsg"

	"dyno/engine/ids"
)

// ElectLeaders (43): versions 0-2.
//
// Behaviour, after ReplicationControlManager.electLeaders of Kafka 4.0: makes
// the preferred replica of each partition named its leader. Null topics name
// all partitions; then those that it leads already are left out of the answer,
// which for a partition named is ELECTION_NOT_NEEDED. The election goes on
// where the time is over first: REQUEST_TIMED_OUT.
//
// Differs from Kafka: an unclean election (type 1) is refused for each
// partition by INVALID_REQUEST: a replica that may lack acknowledged records
// never leads. The elections are made one after the other, each in the time
// that is left.
var shapeElectLeaders = []field{
	is(kindI8).from(1), nullArray(is(kindString), list(kindI32)), is(kindI32),
}

// Election types. Source: Kafka's ElectionType.
const (
	electPreferred = 0
	electUnclean   = 1
)

func handleElectLeaders(c *conn, r kmsg.Request) kmsg.Response {
	req := r.(*kmsg.ElectLeadersRequest)
	resp := req.ResponseKind().(*kmsg.ElectLeadersResponse)
	ctx, cancel := c.deadline(req.TimeoutMillis)
	defer cancel()
	all := req.Topics == nil
	topics := req.Topics
	if all {
		topics = everyPartition(c.srv.cfg.Backend)
	}
	for i := range topics {
		t := &topics[i]
		rt := kmsg.NewElectLeadersResponseTopic()
		rt.Topic = t.Topic
		for _, p := range t.Partitions {
			err := c.elect(ctx, req.ElectionType, t.Topic, ids.Partition(p))
			e := codeOf(err)
			if all && e == codeElectionNotNeeded {
				continue
			}
			rp := kmsg.NewElectLeadersResponseTopicPartition()
			rp.Partition, rp.ErrorCode, rp.ErrorMessage = p, c.fail(e), message(err)
			rt.Partitions = append(rt.Partitions, rp)
		}
		if !all || len(rt.Partitions) > 0 {
			resp.Topics = append(resp.Topics, rt)
		}
	}
	return resp
}

// elect has one leader elected. The refusals stand with each partition because
// the answer as a whole has no room for words.
func (c *conn) elect(ctx context.Context, how int8, topic string, p ids.Partition) error {
	switch how {
	case electPreferred:
	case electUnclean:
		return fmt.Errorf("%w: unclean elections would lose acknowledged records and are never made", ErrInvalidRequest)
	default:
		return fmt.Errorf("%w: unknown election type %d", ErrInvalidRequest, how)
	}
	if err := ctx.Err(); err != nil {
		return err // no time is left: the rest is answered without a call
	}
	return c.srv.cfg.Backend.ElectLeader(ctx, topic, p)
}

// everyPartition names all there are.
func everyPartition(b Backend) []kmsg.ElectLeadersRequestTopic {
	topics := b.Topics()
	out := make([]kmsg.ElectLeadersRequestTopic, len(topics))
	for i := range topics {
		out[i].Topic = topics[i].Name
		for p := range topics[i].Partitions {
			out[i].Partitions = append(out[i].Partitions, int32(p))
		}
	}
	return out
}
