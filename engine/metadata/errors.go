package metadata

import "errors"

// What Apply may answer a record with. Each has a code in the snapshot, see codes.
var (
	ErrTopicExists     = errors.New("topic already exists")
	ErrUnknownTopic    = errors.New("unknown topic")
	ErrNameCollision   = errors.New("topic name differs from an existing one only in '.' and '_'")
	ErrStalePartitions = errors.New("the topic has another number of partitions by now")
	ErrTooMany         = errors.New("limit of the cluster reached")
	ErrUnknownBroker   = errors.New("unknown broker")
	ErrStaleBroker     = errors.New("the broker has registered anew since")
	ErrNoCluster       = errors.New("the cluster is not created yet")
	ErrForeignCluster  = errors.New("the log belongs to another cluster")
	ErrIDTaken         = errors.New("topic id is taken")
	ErrNoReassignment  = errors.New("no replicas of the partition are being moved")
	ErrNoPartition     = errors.New("the topic has no such partition")
	ErrOtherDirectory  = errors.New("the node id belongs to another data directory")
	ErrBrokerAlive     = errors.New("the node is not fenced: one with its id may still live")
	ErrLastCopy        = errors.New("the other replicas are no majority without the node")
	ErrMoving          = errors.New("replicas are being moved: finish that or take it back first")
)

// What Prepare and Stamp refuse: the record's form.
var (
	ErrInvalidTopic    = errors.New("invalid topic name")
	ErrInvalidCount    = errors.New("invalid number of partitions")
	ErrInvalidReplicas = errors.New("invalid replica assignment")
	ErrInvalidConfig   = errors.New("invalid config")
	ErrInvalidOps      = errors.New("invalid change of configs")
	ErrInvalidRecord   = errors.New("invalid metadata record")
	ErrTooLarge        = errors.New("metadata record too large")
)

// What Apply and Restore fail with: the group stops.
var (
	// ErrNewer means a newer dyno wrote the record or snapshot.
	ErrNewer = errors.New("written by a newer dyno: start that version or a later one")
	// ErrCorrupt means it cannot be read at all.
	ErrCorrupt = errors.New("metadata cannot be read")
	// ErrForgotten means a record was applied, but so many came at once that
	// its outcome was pushed out before it could be told.
	ErrForgotten = errors.New("outcome no longer remembered")
)

// Code is an outcome as the snapshot keeps it. Numbers are never reused.
type Code uint8

// codes maps outcomes to errors; 0 is success.
var codes = [...]error{
	1: ErrTopicExists, 2: ErrUnknownTopic, 3: ErrNameCollision, 4: ErrStalePartitions, 5: ErrTooMany,
	6: ErrUnknownBroker, 7: ErrStaleBroker, 8: ErrNoCluster, 9: ErrForeignCluster, 10: ErrIDTaken,
	11: ErrOtherDirectory, 12: ErrNoReassignment, 13: ErrNoPartition, 14: ErrBrokerAlive, 15: ErrLastCopy, 16: ErrMoving,
}

// Err gives the sentinel of c, nil for success.
func (c Code) Err() error {
	if int(c) < len(codes) {
		return codes[c]
	}
	return ErrInvalidRecord
}

// CodeOf gives the code of the outcome that err is or wraps, 0 if it is none.
func CodeOf(err error) Code {
	for c, e := range codes {
		if c > 0 && errors.Is(err, e) {
			return Code(c)
		}
	}
	return 0
}

func codeOf(err error) Code {
	c := CodeOf(err)
	if c == 0 {
		panic("BUG: no code for outcome: " + err.Error())
	}
	return c
}
