package kafka

import (
	"fmt"
	"slices"
	"strconv"

	"github.com/twmb/franz-go/pkg/kmsg"

	"dyno/engine/ids"
)

// DescribeConfigs (32): versions 1-4.
//
// Behaviour, after ConfigHelper.describeConfigs of Kafka 4.0: every key of a
// topic or of this broker with its effective value, source, type and, on
// demand, documentation; a list of names picks from it, an unknown name is left
// out. Unknown topic: UNKNOWN_TOPIC_OR_PARTITION; other resource types and a
// broker name that is no number: INVALID_REQUEST. Secret values are null.
//
// Differs from Kafka: the one synonym told is the value in force itself.
var shapeDescribeConfigs = []field{
	array(is(kindI8), is(kindString), nullList(kindString)),
	is(kindI8), is(kindI8).from(3),
}

// Resource types that have configs. Source: Kafka's ConfigResource.Type.
const (
	resourceTopic  = 2
	resourceBroker = 4
)

func handleDescribeConfigs(c *conn, r kmsg.Request) kmsg.Response {
	req := r.(*kmsg.DescribeConfigsRequest)
	resp := req.ResponseKind().(*kmsg.DescribeConfigsResponse)
	for i := range req.Resources {
		q := &req.Resources[i]
		rr := kmsg.NewDescribeConfigsResponseResource()
		rr.ResourceType, rr.ResourceName = q.ResourceType, q.ResourceName
		entries, err := configsOf(c.srv.cfg.Backend, int8(q.ResourceType), q.ResourceName)
		rr.ErrorCode, rr.ErrorMessage = c.fail(codeOf(err)), message(err)
		for j := range entries {
			if q.ConfigNames == nil || slices.Contains(q.ConfigNames, entries[j].Name) {
				rr.Configs = append(rr.Configs, describe(&entries[j], req))
			}
		}
		resp.Resources = append(resp.Resources, rr)
	}
	return resp
}

func configsOf(b Backend, kind int8, name string) ([]ConfigEntry, error) {
	switch kind {
	case resourceTopic:
		return b.TopicConfigs(name)
	case resourceBroker:
		node, err := brokerName(name)
		if err != nil {
			return nil, err
		}
		return b.BrokerConfigs(node)
	}
	return nil, fmt.Errorf("%w: resource type %d has no configs", ErrInvalidRequest, kind)
}

// brokerName reads a broker resource's name: its id; empty means the defaults
// of all brokers, node 0.
func brokerName(s string) (ids.NodeID, error) {
	if s == "" {
		return 0, nil
	}
	n, err := strconv.ParseInt(s, 10, 32)
	if err != nil || n <= 0 {
		return 0, fmt.Errorf("%w: broker %q is not a node id", ErrInvalidRequest, s)
	}
	return ids.NodeID(n), nil
}

func describe(e *ConfigEntry, req *kmsg.DescribeConfigsRequest) kmsg.DescribeConfigsResponseResourceConfig {
	rc := kmsg.NewDescribeConfigsResponseResourceConfig()
	rc.Name, rc.Value, rc.ReadOnly = e.Name, e.shown(), e.ReadOnly
	rc.Source, rc.IsSensitive = kmsg.ConfigSource(e.Source), e.Secret
	rc.IsDefault = e.Source == SourceDefault
	rc.ConfigType = kmsg.ConfigType(e.Type)
	if req.IncludeDocumentation {
		rc.Documentation = orNull(e.Doc)
	}
	if req.IncludeSynonyms {
		s := kmsg.NewDescribeConfigsResponseResourceConfigConfigSynonym()
		s.Name, s.Value, s.Source = e.Name, e.shown(), kmsg.ConfigSource(e.Source)
		rc.ConfigSynonyms = append(rc.ConfigSynonyms, s)
	}
	return rc
}
