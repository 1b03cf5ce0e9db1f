// Package ids gives every identifier and position of the engine its own type,
// so that a log index cannot be passed where an offset is meant.
//
// It holds types and their text forms, nothing else: no lookup, no allocation
// of ids, no imports from the module. Everything in engine may import it.
package ids

import (
	"encoding/hex"
	"errors"
	"fmt"
)

// NodeID names one dyno process; it is also its Kafka broker id. 0 is invalid.
type NodeID int32

// ReplicaID names one member of one Raft group and is never reused, not even
// on the same node after its log was lost (a reused id on an emptied log breaks
// Raft's assumption that a voter remembers what it acknowledged). 0 is invalid.
type ReplicaID uint64

// GroupID names one Raft group. MetadataGroup is the metadata log.
type GroupID uint64

// MetadataGroup is the Raft group of the metadata log; partitions follow it.
const MetadataGroup GroupID = 1

// TopicID is the 16-byte id of a topic, unique for ever: a topic that is
// deleted and made again has another one. The zero value means "no topic".
type TopicID [16]byte

// Partition is the number of a partition within its topic, from 0.
type Partition int32

// LogIndex is a position in a Raft log, from 1; 0 means "nothing".
type LogIndex uint64

// Term is a Raft term; 0 means "before any election".
type Term uint64

// Offset is the position of a Kafka record in its partition, from 0.
type Offset int64

// LeaderEpoch is Kafka's name for the Raft term of a partition.
type LeaderEpoch int32

// ProducerID names an idempotent producer; NoProducer marks a batch without one.
type ProducerID int64

// NoProducer is the producer id of a batch that is not idempotent.
const NoProducer ProducerID = -1

// Epoch converts a term to Kafka's leader epoch. A term beyond 2^31-1 would
// take 68 years of elections at one a second, so it panics: it is our bug.
func (t Term) Epoch() LeaderEpoch {
	if t > 1<<31-1 {
		panic(fmt.Sprintf("BUG: term %d does not fit a leader epoch", t))
	}
	return LeaderEpoch(t)
}

// String gives the id as 32 lower-case hex digits.
func (id TopicID) String() string { return hex.EncodeToString(id[:]) }

// ErrTopicID is returned for a text that is not 32 hex digits.
var ErrTopicID = errors.New("topic id must be 32 hex digits")

// ParseTopicID reads what String wrote.
func ParseTopicID(s string) (TopicID, error) {
	var id TopicID
	if len(s) != 2*len(id) {
		return TopicID{}, fmt.Errorf("%w: %q", ErrTopicID, s)
	}
	if _, err := hex.Decode(id[:], []byte(s)); err != nil {
		return TopicID{}, fmt.Errorf("%w: %q", ErrTopicID, s)
	}
	return id, nil
}

// MarshalText implements encoding.TextMarshaler.
func (id TopicID) MarshalText() ([]byte, error) { return []byte(id.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (id *TopicID) UnmarshalText(b []byte) error {
	got, err := ParseTopicID(string(b))
	if err == nil {
		*id = got
	}
	return err
}
