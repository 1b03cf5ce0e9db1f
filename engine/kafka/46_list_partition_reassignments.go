package kafka

import "github.com/twmb/franz-go/pkg/kmsg"

// ListPartitionReassignments (46): version 0.
//
// Behaviour, after ReplicationControlManager.listPartitionReassignments of
// Kafka 4.0: tells, of the partitions named or with null topics of all, those
// whose replicas are being changed. All others, also those that do not exist,
// are left out; no code says so.
var shapeListReassignments = []field{
	is(kindI32), nullArray(is(kindString), list(kindI32)),
}

func handleListReassignments(c *conn, r kmsg.Request) kmsg.Response {
	req := r.(*kmsg.ListPartitionReassignmentsRequest)
	resp := req.ResponseKind().(*kmsg.ListPartitionReassignmentsResponse)
	b := c.srv.cfg.Backend
	if req.Topics == nil {
		for _, t := range b.Topics() {
			rt := kmsg.NewListPartitionReassignmentsResponseTopic()
			rt.Topic = t.Name
			for p := range t.Partitions {
				rt.Partitions = appendReassignment(rt.Partitions, t.Partitions, int32(p))
			}
			if len(rt.Partitions) > 0 {
				resp.Topics = append(resp.Topics, rt)
			}
		}
		return resp
	}
	for i := range req.Topics {
		t, _ := b.Topic(req.Topics[i].Topic)
		rt := kmsg.NewListPartitionReassignmentsResponseTopic()
		rt.Topic = req.Topics[i].Topic
		for _, p := range req.Topics[i].Partitions {
			rt.Partitions = appendReassignment(rt.Partitions, t.Partitions, p)
		}
		if len(rt.Partitions) > 0 {
			resp.Topics = append(resp.Topics, rt)
		}
	}
	return resp
}

// appendReassignment adds partition p of views, if it is there and its replicas
// are being changed.
func appendReassignment(to []kmsg.ListPartitionReassignmentsResponseTopicPartition, views []PartitionView, p int32,
) []kmsg.ListPartitionReassignmentsResponseTopicPartition {
	if p < 0 || int(p) >= len(views) {
		return to
	}
	v := &views[p]
	if len(v.Adding) == 0 && len(v.Removing) == 0 {
		return to
	}
	rp := kmsg.NewListPartitionReassignmentsResponseTopicPartition()
	rp.Partition = p
	rp.Replicas, rp.AddingReplicas, rp.RemovingReplicas = nodes(v.Replicas), nodes(v.Adding), nodes(v.Removing)
	return append(to, rp)
}
