package kafka

import (
	"slices"

	"github.com/twmb/franz-go/pkg/kmsg"

	"dyno/engine/ids"
)

// Metadata (3): versions 0-13.
//
// Behaviour, after KafkaApis.handleTopicMetadataRequest of Kafka 4.0:
//   - No list of topics (null, or empty in version 0) asks for all; an empty
//     list for none.
//   - Unknown topics are made where the broker allows it and the request does
//     (from version 4 it may say no). The answer waits until they are there.
//   - Bad name: INVALID_TOPIC_EXCEPTION. Unknown name: UNKNOWN_TOPIC_OR_PARTITION;
//     unknown id (version 12): UNKNOWN_TOPIC_ID. Ids in versions 10 and 11 are
//     INVALID_REQUEST.
//   - A partition without a leader is LEADER_NOT_AVAILABLE, leader -1.
//   - Fenced brokers are left out.
//
// Differs from Kafka: a topic made by this request is answered with its
// partitions, not with an error to ask again. Authorised operations are never
// told: there is no authoriser.
var shapeMetadata = []field{
	{kind: kindArray, gone: 1, of: metadataTopic},
	{kind: kindNullArray, min: 1, of: metadataTopic},
	is(kindI8).from(4), is(kindI8).from(8).until(11), is(kindI8).from(8),
}

var metadataTopic = []field{
	is(kindUUID).from(10), is(kindString).until(10), is(kindNullString).from(10),
}

func handleMetadata(c *conn, r kmsg.Request) kmsg.Response {
	req := r.(*kmsg.MetadataRequest)
	resp := req.ResponseKind().(*kmsg.MetadataResponse)
	b := c.srv.cfg.Backend
	cl := b.Cluster()
	resp.ClusterID = kmsg.StringPtr(cl.ID)
	resp.ControllerID = orNone(cl.Controller)
	for _, br := range cl.Brokers {
		if br.Fenced {
			continue
		}
		rb := kmsg.NewMetadataResponseBroker()
		rb.NodeID, rb.Host, rb.Port, rb.Rack = int32(br.ID), br.Host, br.Port, orNull(br.Rack)
		resp.Brokers = append(resp.Brokers, rb)
	}
	if req.Topics == nil || req.Version == 0 && len(req.Topics) == 0 {
		for _, t := range b.Topics() {
			resp.Topics = append(resp.Topics, topicMetadata(t))
		}
		return resp
	}
	made := c.autoCreate(req)
	for i := range req.Topics {
		rt, e := metadataOf(b, req.Version, &req.Topics[i])
		if e == codeUnknownPartition && made[*req.Topics[i].Topic] != codeNone {
			e = made[*rt.Topic]
		}
		rt.ErrorCode = c.fail(e)
		resp.Topics = append(resp.Topics, rt)
	}
	return resp
}

// metadataOf answers for one topic of the request.
func metadataOf(b Backend, version int16, t *kmsg.MetadataRequestTopic) (kmsg.MetadataResponseTopic, code) {
	none := kmsg.NewMetadataResponseTopic()
	none.Topic, none.TopicID = t.Topic, t.TopicID
	none.AuthorizedOperations = noOperations
	switch byID := t.TopicID != [16]byte{}; {
	case version < 12 && (byID || t.Topic == nil), version >= 12 && !byID && t.Topic == nil:
		if none.Topic == nil {
			none.Topic = kmsg.StringPtr("")
		}
		return none, codeInvalidRequest
	case byID:
		if found, ok := b.TopicByID(t.TopicID); ok {
			return topicMetadata(found), codeNone
		}
		none.Topic = nil
		return none, codeUnknownTopicID
	}
	if found, ok := b.Topic(*t.Topic); ok {
		return topicMetadata(found), codeNone
	}
	if !validTopicName(*t.Topic) {
		return none, codeInvalidTopic
	}
	return none, codeUnknownPartition
}

// autoCreate makes the unknown topics of a request where that is allowed, and
// returns why one could not be made.
func (c *conn) autoCreate(req *kmsg.MetadataRequest) map[string]code {
	on, partitions, rf := c.srv.cfg.Backend.AutoCreate()
	if !on || req.Version >= 4 && !req.AllowAutoTopicCreation {
		return nil
	}
	var missing []NewTopic
	for i := range req.Topics {
		t := &req.Topics[i]
		if t.Topic == nil || t.TopicID != [16]byte{} || !validTopicName(*t.Topic) {
			continue
		}
		if _, ok := c.srv.cfg.Backend.Topic(*t.Topic); !ok {
			missing = append(missing, NewTopic{Name: *t.Topic, Partitions: partitions, RF: rf})
		}
	}
	if missing == nil {
		return nil
	}
	slices.SortFunc(missing, func(a, b NewTopic) int { return compare(a.Name, b.Name) })
	missing = slices.CompactFunc(missing, func(a, b NewTopic) bool { return a.Name == b.Name })
	ctx, cancel := c.deadline(-1)
	defer cancel()
	failed := map[string]code{}
	for _, r := range c.srv.cfg.Backend.CreateTopics(ctx, missing, false) {
		// Somebody else made it, or the answer is on its way: the client asks again.
		switch e := codeOf(r.Err); e {
		case codeNone, codeTopicExists:
		case codeRequestTimedOut, codeNotLeader:
			failed[r.Name] = codeLeaderNotAvailable
		default:
			failed[r.Name] = e
		}
	}
	return failed
}

// noOperations says that authorised operations were not looked up.
const noOperations = -1 << 31

func topicMetadata(t Topic) kmsg.MetadataResponseTopic {
	rt := kmsg.NewMetadataResponseTopic()
	rt.Topic, rt.TopicID, rt.IsInternal = kmsg.StringPtr(t.Name), t.ID, t.Internal
	rt.AuthorizedOperations = noOperations
	rt.Partitions = make([]kmsg.MetadataResponseTopicPartition, len(t.Partitions))
	for i := range t.Partitions {
		v, rp := &t.Partitions[i], &rt.Partitions[i]
		rp.Default()
		rp.Partition, rp.Leader, rp.LeaderEpoch = int32(i), orNone(v.Leader), int32(v.Epoch)
		if v.Leader == 0 {
			rp.ErrorCode = int16(codeLeaderNotAvailable)
		}
		rp.Replicas, rp.ISR, rp.OfflineReplicas = nodes(v.Replicas), nodes(v.ISR), nodes(v.Offline)
	}
	return rt
}

func nodes(in []ids.NodeID) []int32 {
	out := make([]int32, len(in))
	for i, n := range in {
		out[i] = int32(n)
	}
	return out
}

// orNone is Kafka's id of a node, -1 for none.
func orNone(n ids.NodeID) int32 {
	if n == 0 {
		return -1
	}
	return int32(n)
}

// orNull is nil for an empty string.
func orNull(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

func compare(a, b string) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}

// validTopicName follows Kafka's Topic.validate: 1 to 249 of [a-zA-Z0-9._-],
// neither "." nor "..".
func validTopicName(s string) bool {
	if s == "" || s == "." || s == ".." || len(s) > 249 {
		return false
	}
	for i := range len(s) {
		switch c := s[i]; {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9':
		case c == '.', c == '_', c == '-':
		default:
			return false
		}
	}
	return true
}
