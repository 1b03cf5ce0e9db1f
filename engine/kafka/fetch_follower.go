package kafka

import (
	"slices"

	"dyno/engine/ids"
)

// How a consumer reads from the nearest replica (KIP-392), with Fetch from
// version 11 on: older ones, and replicas, are served by the leader alone.
//
//	consumer, rack r -> leader:    PreferredReadReplica n, no records
//	consumer         -> n:         records up to n's own high watermark
//
// The leader shows the way where the consumer names a rack that is not its own
// and a live broker there holds a replica in sync. It does so only for an offset
// between log start and high watermark: others are answered by the leader itself,
// which alone knows that an offset is out of range (ReplicaManager's
// findPreferredReadReplica with RackAwareReplicaSelector).
//
// A follower serves with a rack or without, and while no leader is known. An
// offset beyond its high watermark it may not have yet: OFFSET_NOT_AVAILABLE,
// never OFFSET_OUT_OF_RANGE, at which clients would reset their position. So does
// a new leader until an entry of its own term is applied: before, its high
// watermark may be behind the one that its predecessor showed (KIP-207 has the
// same for ListOffsets). Below the log start: OFFSET_OUT_OF_RANGE. Leader epochs
// are checked as on the leader (KIP-320), against the newest that it knows.
//
// Differs from Kafka: among several replicas in the rack the first in the order
// of the in-sync set is taken, not the one that lags least: how far each is only
// the group knows. OFFSET_NOT_AVAILABLE is told when the request's time is over,
// not at once: the leader's high watermark is ahead by a message, and consumers at
// the end of the log would go back and forth between the two meanwhile. Reads by
// rack need no configuration (replica.selector.class).

// prefer says for each partition led here whether another replica is nearer to
// the consumer. It allocates: it runs only where a rack is named.
func (f *fetch) prefer(b Backend) {
	near := nearBrokers(b.Cluster(), f.rack)
	if len(near) == 0 {
		return
	}
	var of *fetchTopic // whose view this is: partitions come topic by topic
	var view Topic
	for i := range f.parts {
		p := &f.parts[i]
		if p.code != codeNone || p.follower {
			continue
		}
		if p.topic != of {
			of, view = p.topic, topicOf(b, p.topic)
		}
		if int(p.index) >= len(view.Partitions) {
			continue // deleted meanwhile
		}
		if o := p.part.Offsets(); p.offset >= o.LogStart && p.offset <= o.HighWatermark {
			p.preferred = nearest(&view.Partitions[p.index], near)
		}
	}
}

func topicOf(b Backend, t *fetchTopic) Topic {
	var found Topic
	if t.name != nil {
		found, _ = b.Topic(string(t.name))
	} else {
		found, _ = b.TopicByID(t.id)
	}
	return found
}

// nearBrokers are the live brokers in a rack; none where this node is in it.
func nearBrokers(cl Cluster, rack []byte) (near []ids.NodeID) {
	for i := range cl.Brokers {
		br := &cl.Brokers[i]
		switch {
		case br.Rack != string(rack):
		case br.ID == cl.Self:
			return nil
		case !br.Fenced:
			near = append(near, br.ID)
		}
	}
	return near
}

// nearest is the first of near that is in sync, -1 if none. Those that come or
// go in a reassignment are passed over: where nobody has looked yet all replicas
// are taken to be in sync.
func nearest(v *PartitionView, near []ids.NodeID) ids.NodeID {
	for _, n := range v.ISR {
		if slices.Contains(near, n) && !slices.Contains(v.Removing, n) && !slices.Contains(v.Adding, n) {
			return n
		}
	}
	return -1
}

// check says whether this node may serve p in the epoch that the client
// believes in, as leader or as follower.
func (p *fetchPart) check(f *fetch, self ids.NodeID) {
	p.code, p.follower, p.behind = checkLeader(p.part, self, p.epoch), false, false
	if p.code == codeNotLeader && f.anyReplica {
		p.code, p.follower = codeNone, true
	}
}

// lacks says whether p's offset is beyond a high watermark that may be behind
// what is committed: a follower's, or that of a leader whose epoch table has not
// reached its own epoch.
func (p *fetchPart) lacks() bool {
	if p.offset <= p.part.Offsets().HighWatermark {
		return false
	}
	_, epoch := p.part.Leader()
	return p.follower || p.part.EpochEnd(epoch).Epoch < epoch
}

// replicaTag reads the tagged fields that end a Fetch from version 15 on: field
// 1 is the replica that asks (KIP-903), id and epoch; -1 without it.
func (d *dec) replicaTag() (replica int32) {
	replica = -1
	n := d.uvarint()
	if int64(n) > int64(len(d.b)/2) {
		d.fail()
		return -1
	}
	for ; n > 0 && !d.bad; n-- {
		tag := d.uvarint()
		field := dec{b: d.span(int(d.uvarint()))}
		if tag != 1 || d.bad {
			continue
		}
		replica = field.i32()
		field.i64()
		field.tags(true)
		d.bad = d.bad || field.bad || len(field.b) > 0
	}
	return replica
}
