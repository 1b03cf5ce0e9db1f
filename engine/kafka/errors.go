package kafka

import "errors"

// Errors a Backend answers with; replica and partition errors are mapped too.
var (
	ErrUnknownTopic     = errors.New("unknown topic")
	ErrUnknownPartition = errors.New("unknown partition")
	ErrTopicExists      = errors.New("topic already exists")
	ErrInvalidTopic     = errors.New("invalid topic name")
	ErrInvalidCount     = errors.New("invalid number of partitions")
	ErrInvalidRF        = errors.New("invalid replication factor")
	ErrInvalidReplicas  = errors.New("invalid replica assignment")
	ErrInvalidConfig    = errors.New("invalid config")
	ErrInvalidRequest   = errors.New("invalid request")
	ErrPolicy           = errors.New("policy violation")
	ErrUnknownBroker    = errors.New("unknown broker")
)
