package kafka

import "github.com/twmb/franz-go/pkg/kmsg"

// DescribeCluster (60): versions 0-2.
//
// Behaviour, after KafkaApis.handleDescribeCluster of Kafka 4.0: cluster id,
// controller and brokers; fenced ones only where version 2 asks for them. Asked
// for controllers: MISMATCHED_ENDPOINT_TYPE, another endpoint type:
// UNSUPPORTED_ENDPOINT_TYPE.
var shapeDescribeCluster = []field{is(kindI8), is(kindI8).from(1), is(kindI8).from(2)}

// Endpoint types. Source: KIP-919.
const (
	endpointBrokers     = 1
	endpointControllers = 2
)

func handleDescribeCluster(c *conn, r kmsg.Request) kmsg.Response {
	req := r.(*kmsg.DescribeClusterRequest)
	resp := req.ResponseKind().(*kmsg.DescribeClusterResponse)
	resp.ClusterAuthorizedOperations = noOperations
	switch {
	case req.Version == 0 || req.EndpointType == endpointBrokers:
	case req.EndpointType == endpointControllers:
		resp.ErrorCode = c.fail(codeEndpointMismatch)
		return resp
	default:
		resp.ErrorCode = c.fail(codeEndpointUnsupported)
		return resp
	}
	cl := c.srv.cfg.Backend.Cluster()
	resp.EndpointType = endpointBrokers
	resp.ClusterID, resp.ControllerID = cl.ID, orNone(cl.Controller)
	for _, b := range cl.Brokers {
		if b.Fenced && !req.IncludeFencedBrokers {
			continue
		}
		rb := kmsg.NewDescribeClusterResponseBroker()
		rb.NodeID, rb.Host, rb.Port, rb.Rack, rb.IsFenced = int32(b.ID), b.Host, b.Port, orNull(b.Rack), b.Fenced
		resp.Brokers = append(resp.Brokers, rb)
	}
	return resp
}
