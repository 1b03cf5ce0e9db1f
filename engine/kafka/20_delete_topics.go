package kafka

import (
	"fmt"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// DeleteTopics (20): versions 1-6.
//
// Behaviour, after ControllerApis.deleteTopics of Kafka 4.0: by name, from
// version 6 by name or id. Unknown: UNKNOWN_TOPIC_OR_PARTITION or
// UNKNOWN_TOPIC_ID; both name and id, neither, or one twice: INVALID_REQUEST.
// The answer waits until the deletion is committed.
var shapeDeleteTopics = []field{
	array(is(kindNullString), is(kindUUID)).from(6),
	list(kindString).until(6),
	is(kindI32),
}

func handleDeleteTopics(c *conn, r kmsg.Request) kmsg.Response {
	req := r.(*kmsg.DeleteTopicsRequest)
	resp := req.ResponseKind().(*kmsg.DeleteTopicsResponse)
	for i := range req.TopicNames {
		t := kmsg.NewDeleteTopicsRequestTopic()
		t.Topic = &req.TopicNames[i]
		req.Topics = append(req.Topics, t)
	}
	ctx, cancel := c.deadline(req.TimeoutMillis)
	defer cancel()
	type key struct {
		name string
		id   [16]byte
	}
	times := map[key]int{}
	keyOf := func(t *kmsg.DeleteTopicsRequestTopic) key {
		if t.Topic == nil {
			return key{id: t.TopicID}
		}
		return key{*t.Topic, t.TopicID}
	}
	for i := range req.Topics {
		times[keyOf(&req.Topics[i])]++
	}
	for i := range req.Topics {
		t := &req.Topics[i]
		rt := kmsg.NewDeleteTopicsResponseTopic()
		rt.Topic, rt.TopicID = t.Topic, t.TopicID
		k, withID := keyOf(t), t.TopicID != [16]byte{}
		var res TopicResult
		switch {
		case (t.Topic == nil) != withID || times[k] > 1:
			res.Err = fmt.Errorf("%w: a topic needs a name or an id, once", ErrInvalidRequest)
		default:
			res = c.srv.cfg.Backend.DeleteTopic(ctx, k.name, t.TopicID)
		}
		if res.Err == nil {
			rt.Topic, rt.TopicID = &res.Name, res.ID
		}
		rt.ErrorCode = c.fail(codeOfTopic(res.Err, withID))
		rt.ErrorMessage = message(res.Err)
		if rt.Topic == nil && req.Version < 6 {
			rt.Topic = kmsg.StringPtr("")
		}
		resp.Topics = append(resp.Topics, rt)
	}
	return resp
}
