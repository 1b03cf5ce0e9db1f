package kafka

import (
	"github.com/twmb/franz-go/pkg/kmsg"

	"dyno/engine/ids"
)

// DeleteRecords (21): versions 0-2.
//
// Behaviour, after ReplicaManager.deleteRecords of Kafka 4.0: moves a
// partition's log start to an offset, -1 for the high watermark, and answers
// with the new one once that is committed. Beyond the high watermark, or below
// -1: OFFSET_OUT_OF_RANGE. Only the leader does it.
var shapeDeleteRecords = []field{
	array(is(kindString), array(is(kindI32), is(kindI64))), is(kindI32),
}

func handleDeleteRecords(c *conn, r kmsg.Request) kmsg.Response {
	req := r.(*kmsg.DeleteRecordsRequest)
	resp := req.ResponseKind().(*kmsg.DeleteRecordsResponse)
	ctx, cancel := c.deadline(req.TimeoutMillis)
	defer cancel()
	for i := range req.Topics {
		t := &req.Topics[i]
		rt := kmsg.NewDeleteRecordsResponseTopic()
		rt.Topic = t.Topic
		for j := range t.Partitions {
			p := &t.Partitions[j]
			rp := kmsg.NewDeleteRecordsResponseTopicPartition()
			rp.Partition, rp.LowWatermark = p.Partition, -1
			part, e := c.led(t.Topic, p.Partition, -1)
			if e == codeNone && p.Offset < -1 {
				e = codeOffsetOutOfRange
			}
			if e == codeNone {
				start, err := part.DeleteRecords(ctx, ids.Offset(p.Offset))
				if e = codeOf(err); e == codeNone {
					rp.LowWatermark = int64(start)
				}
			}
			rp.ErrorCode = c.fail(e)
			rt.Partitions = append(rt.Partitions, rp)
		}
		resp.Topics = append(resp.Topics, rt)
	}
	return resp
}
