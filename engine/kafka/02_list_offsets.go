package kafka

import (
	"context"
	"sync"

	"github.com/twmb/franz-go/pkg/kmsg"

	"dyno/engine/ids"
	"dyno/engine/partition"
)

// ListOffsets (2): versions 1-10.
//
// Behaviour, after ReplicaManager.fetchOffset and UnifiedLog.fetchOffsetByTimestamp
// of Kafka 4.0, by timestamp:
//   - -1 latest: the high watermark, or the last stable offset with
//     read_committed, after this node made sure that it still leads (ReadIndex, or its lease).
//   - -2 earliest, and -4 earliest local (version 8): the log start.
//   - -3 (version 7): offset and timestamp of the record with the largest one.
//   - -5 latest tiered (version 9): -1, there is no tiered storage.
//   - others: the first record at or after it; offset and timestamp -1: none.
//
// To make sure takes a round trip to a majority, so partitions are answered
// together; one after another, a client that asks for 300 waits for 300.
//
// A special timestamp before its version: UNSUPPORTED_VERSION. A partition
// named twice: INVALID_REQUEST. Leader and leader epoch are checked as in Fetch.
var shapeListOffsets = []field{
	is(kindI32), is(kindI8).from(2),
	array(is(kindString), array(is(kindI32), is(kindI32).from(4), is(kindI64))),
	is(kindI32).from(10),
}

// Timestamps with a meaning of their own. Source: Kafka's ListOffsetsRequest.
const (
	timeLatest        = -1
	timeEarliest      = -2
	timeMax           = -3
	timeEarliestLocal = -4
	timeLatestTiered  = -5
)

// listedAtOnce bounds the partitions of one request that are answered together.
const listedAtOnce = 128

func handleListOffsets(c *conn, r kmsg.Request) kmsg.Response {
	req := r.(*kmsg.ListOffsetsRequest)
	resp := req.ResponseKind().(*kmsg.ListOffsetsResponse)
	ms := int32(-1)
	if req.Version >= 10 {
		ms = req.TimeoutMillis
	}
	ctx, cancel := c.deadline(ms)
	defer cancel()
	seen := newSeen()
	turns := make(chan struct{}, listedAtOnce)
	var wg sync.WaitGroup
	for i := range req.Topics {
		t := &req.Topics[i]
		rt := kmsg.NewListOffsetsResponseTopic()
		rt.Topic, rt.Partitions = t.Topic, make([]kmsg.ListOffsetsResponseTopicPartition, len(t.Partitions))
		for j := range t.Partitions {
			p, rp := &t.Partitions[j], &rt.Partitions[j]
			rp.Partition, rp.Timestamp, rp.Offset, rp.LeaderEpoch = p.Partition, -1, -1, -1
			if !seen.first(t.Topic, p.Partition) {
				rp.ErrorCode = c.fail(codeInvalidRequest)
				continue
			}
			turns <- struct{}{}
			wg.Go(func() {
				rp.ErrorCode = c.fail(c.listOffset(ctx, req, t.Topic, p, rp))
				<-turns
			})
		}
		resp.Topics = append(resp.Topics, rt)
	}
	wg.Wait()
	return resp
}

func (c *conn) listOffset(ctx context.Context, req *kmsg.ListOffsetsRequest, topic string,
	p *kmsg.ListOffsetsRequestTopicPartition, rp *kmsg.ListOffsetsResponseTopicPartition,
) code {
	if !timeKnown(p.Timestamp, req.Version) {
		return codeUnsupportedVersion
	}
	part, e := c.led(topic, p.Partition, p.CurrentLeaderEpoch)
	if e != codeNone {
		return e
	}
	t, err := offsetAt(ctx, part, p.Timestamp, req.IsolationLevel == 1)
	if err != nil {
		return codeOfRead(err)
	}
	rp.Offset, rp.Timestamp, rp.LeaderEpoch = int64(t.Offset), t.TimestampMS, int32(t.Epoch)
	return codeNone
}

// timeKnown says whether a version may ask for a timestamp. Source:
// KafkaApis.isListOffsetsTimestampUnsupported.
func timeKnown(ts int64, version int16) bool {
	switch ts {
	case timeMax:
		return version >= 7
	case timeEarliestLocal:
		return version >= 8
	case timeLatestTiered:
		return version >= 9
	}
	return ts >= timeEarliest
}

func offsetAt(ctx context.Context, part Partition, ts int64, committed bool) (partition.TimedOffset, error) {
	_, epoch := part.Leader()
	switch ts {
	case timeLatest:
		o, err := part.Latest(ctx)
		if committed {
			o.HighWatermark = o.LastStable
		}
		return partition.TimedOffset{Offset: o.HighWatermark, TimestampMS: -1, Epoch: epoch}, err
	case timeEarliest, timeEarliestLocal:
		start := part.Offsets().LogStart
		return partition.TimedOffset{Offset: start, TimestampMS: -1, Epoch: epochAt(part, start, epoch)}, nil
	case timeLatestTiered:
		return partition.TimedOffset{Offset: -1, TimestampMS: -1, Epoch: -1}, nil
	case timeMax:
		return part.MaxTime()
	}
	return part.ByTime(ts)
}

// epochAt is the epoch of the record at start: the earliest epoch that ends
// behind it, by bisection over the epoch table; -1 where nothing is known.
func epochAt(part Partition, start ids.Offset, now ids.LeaderEpoch) ids.LeaderEpoch {
	lo, hi := ids.LeaderEpoch(0), now
	for lo < hi {
		mid := lo + (hi-lo)/2
		if e := part.EpochEnd(mid); e.Epoch >= 0 && e.End > start {
			hi = mid
		} else {
			lo = mid + 1
		}
	}
	if e := part.EpochEnd(lo); e.Epoch >= 0 {
		return e.Epoch
	}
	return -1
}

// led finds a partition that this node leads in the epoch the client means.
func (c *conn) led(topic string, p int32, epoch int32) (Partition, code) {
	part, err := c.srv.cfg.Backend.Partition([]byte(topic), ids.Partition(p))
	if err != nil {
		return nil, codeOf(err)
	}
	return part, checkLeader(part, c.srv.self, ids.LeaderEpoch(epoch))
}

// seen remembers which partitions a request has named.
type seen map[seenKey]struct{}

type seenKey struct {
	topic string
	p     int32
}

func newSeen() seen { return seen{} }

func (s seen) first(topic string, p int32) bool {
	k := seenKey{topic, p}
	if _, ok := s[k]; ok {
		return false
	}
	s[k] = struct{}{}
	return true
}
