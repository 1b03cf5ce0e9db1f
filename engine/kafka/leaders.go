package kafka

import (
	"encoding/binary"
	"slices"

	"dyno/engine/ids"
)

// leaders collects, for one reply, the nodes that lead partitions asked for
// here in vain, so that the client can go there at once (KIP-951).
type leaders struct{ nodes []ids.NodeID }

// leaderAt is a partition's leader as Metadata would tell it; node 0: unknown.
type leaderAt struct {
	node  ids.NodeID
	epoch ids.LeaderEpoch
}

// findLeader looks a partition's leader up, by id where the topic has one.
func findLeader(b Backend, topic []byte, id ids.TopicID, p ids.Partition) leaderAt {
	var t Topic
	var ok bool
	if topic != nil {
		t, ok = b.Topic(string(topic))
	} else {
		t, ok = b.TopicByID(id)
	}
	if !ok || p < 0 || int(p) >= len(t.Partitions) {
		return leaderAt{}
	}
	v := &t.Partitions[p]
	return leaderAt{v.Leader, v.Epoch}
}

// tag writes the tagged field CurrentLeader with its number.
func (l *leaders) tag(o *out, number uint32, at leaderAt) {
	if !slices.Contains(l.nodes, at.node) {
		l.nodes = append(l.nodes, at.node)
	}
	o.uvarint(number)
	o.uvarint(9)
	o.i32(int32(at.node))
	o.i32(int32(at.epoch))
	o.tags(true)
}

// encode ends a reply: the tagged field NodeEndpoints where leaders were named.
func (l *leaders) encode(o *out, flexible bool, b Backend) {
	if len(l.nodes) == 0 {
		o.tags(flexible)
		return
	}
	var body []byte
	n := 0
	for _, br := range b.Cluster().Brokers {
		if slices.Contains(l.nodes, br.ID) {
			body = appendEndpoint(body, br)
			n++
		}
	}
	body = append(binary.AppendUvarint(nil, uint64(n+1)), body...)
	o.uvarint(1) // tagged fields
	o.uvarint(0) // number
	o.uvarint(uint32(len(body)))
	o.grow(len(body))
	o.chunk = append(o.chunk, body...)
}

func appendEndpoint(b []byte, br Broker) []byte {
	b = binary.BigEndian.AppendUint32(b, uint32(br.ID))
	b = append(binary.AppendUvarint(b, uint64(len(br.Host)+1)), br.Host...)
	b = binary.BigEndian.AppendUint32(b, uint32(br.Port))
	if br.Rack == "" {
		b = append(b, 0)
	} else {
		b = append(binary.AppendUvarint(b, uint64(len(br.Rack)+1)), br.Rack...)
	}
	return append(b, 0)
}
