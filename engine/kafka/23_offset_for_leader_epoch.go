package kafka

import (
	"github.com/twmb/franz-go/pkg/kmsg"

	"dyno/engine/ids"
)

// OffsetForLeaderEpoch (23): versions 2-4.
//
// Behaviour, after ReplicaManager.lastOffsetForLeaderEpoch of Kafka 4.0: the
// largest epoch at or below the one asked for and the first offset after it,
// both -1 where nothing is known. Leader and current epoch are checked as in
// Fetch.
var shapeEpochEnd = []field{
	is(kindI32).from(3),
	array(is(kindString), array(is(kindI32), is(kindI32), is(kindI32))),
}

func handleEpochEnd(c *conn, r kmsg.Request) kmsg.Response {
	req := r.(*kmsg.OffsetForLeaderEpochRequest)
	resp := req.ResponseKind().(*kmsg.OffsetForLeaderEpochResponse)
	for i := range req.Topics {
		t := &req.Topics[i]
		rt := kmsg.NewOffsetForLeaderEpochResponseTopic()
		rt.Topic = t.Topic
		for j := range t.Partitions {
			p := &t.Partitions[j]
			rp := kmsg.NewOffsetForLeaderEpochResponseTopicPartition()
			rp.Partition, rp.LeaderEpoch, rp.EndOffset = p.Partition, -1, -1
			part, e := c.led(t.Topic, p.Partition, p.CurrentLeaderEpoch)
			if e == codeNone && p.LeaderEpoch >= 0 {
				end := part.EpochEnd(ids.LeaderEpoch(p.LeaderEpoch))
				rp.LeaderEpoch, rp.EndOffset = int32(end.Epoch), int64(end.End)
			}
			rp.ErrorCode = c.fail(e)
			rt.Partitions = append(rt.Partitions, rp)
		}
		resp.Topics = append(resp.Topics, rt)
	}
	return resp
}
