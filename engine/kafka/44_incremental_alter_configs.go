package kafka

import (
	"context"
	"fmt"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// IncrementalAlterConfigs (44): versions 0-1.
//
// Behaviour, after ConfigurationControlManager.incrementalAlterConfigs of Kafka
// 4.0: set, delete, append and subtract on single keys of a topic or broker; a
// resource changes whole or not at all. Unknown keys and values out of range:
// INVALID_CONFIG; a key twice, an unknown operation, a set without value or
// another resource type: INVALID_REQUEST.
var shapeAlterConfigs = []field{
	array(is(kindI8), is(kindString), array(is(kindString), is(kindI8), is(kindNullString))),
	is(kindI8),
}

func handleAlterConfigs(c *conn, r kmsg.Request) kmsg.Response {
	req := r.(*kmsg.IncrementalAlterConfigsRequest)
	resp := req.ResponseKind().(*kmsg.IncrementalAlterConfigsResponse)
	ctx, cancel := c.deadline(-1)
	defer cancel()
	for i := range req.Resources {
		q := &req.Resources[i]
		rr := kmsg.NewIncrementalAlterConfigsResponseResource()
		rr.ResourceType, rr.ResourceName = q.ResourceType, q.ResourceName
		err := alterConfigs(ctx, c.srv.cfg.Backend, q, req.ValidateOnly)
		rr.ErrorCode, rr.ErrorMessage = c.fail(codeOf(err)), message(err)
		resp.Resources = append(resp.Resources, rr)
	}
	return resp
}

func alterConfigs(ctx context.Context, b Backend, q *kmsg.IncrementalAlterConfigsRequestResource, validate bool) error {
	ops := make([]ConfigOp, len(q.Configs))
	names := make(map[string]struct{}, len(q.Configs))
	for i := range q.Configs {
		k := &q.Configs[i]
		ops[i] = ConfigOp{Name: k.Name, Op: int8(k.Op), Value: k.Value}
		names[k.Name] = struct{}{}
		switch {
		case ops[i].Op < 0 || ops[i].Op > 3:
			return fmt.Errorf("%w: unknown operation %d on %q", ErrInvalidRequest, k.Op, k.Name)
		case ops[i].Op != 1 && k.Value == nil:
			return fmt.Errorf("%w: no value for %q", ErrInvalidRequest, k.Name)
		}
	}
	if len(names) < len(ops) {
		return fmt.Errorf("%w: a config is named twice", ErrInvalidRequest)
	}
	switch int8(q.ResourceType) {
	case resourceTopic:
		return b.AlterTopicConfigs(ctx, q.ResourceName, ops, validate)
	case resourceBroker:
		node, err := brokerName(q.ResourceName)
		if err != nil {
			return err
		}
		return b.AlterBrokerConfigs(ctx, node, ops, validate)
	}
	return fmt.Errorf("%w: resource type %d has no configs", ErrInvalidRequest, q.ResourceType)
}
