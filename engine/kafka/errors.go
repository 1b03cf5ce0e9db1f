package kafka

import (
	"context"
	"errors"
	"os"

	"dyno/engine/partition"
	"dyno/engine/replica"
)

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

	ErrNoReassignment        = errors.New("no reassignment is under way")
	ErrElectionNotNeeded     = errors.New("the preferred replica leads already")
	ErrPreferredNotAvailable = errors.New("the preferred replica cannot lead now")
	ErrEligibleNotAvailable  = errors.New("no replica can lead now")
)

// codeOf maps an error to the Kafka code a client is answered with, by
// errors.Is, the first match from the top. nil is codeNone, and nothing else
// is: an error nobody foresaw is codeUnknownServer, so that no failure is ever
// told as a success.
//
// Differs from Kafka: ErrOverloaded is NOT_ENOUGH_REPLICAS, the code that every
// client takes as "nothing was written, back off and send again" (Kafka answers
// overload by a throttle time, which needs an accepted request).
func codeOf(err error) code {
	if err == nil {
		return codeNone
	}
	for i := range errorCodes {
		if errors.Is(err, errorCodes[i].err) {
			return errorCodes[i].code
		}
	}
	return codeUnknownServer
}

var errorCodes = []struct {
	err  error
	code code
}{
	{replica.ErrNotLeader, codeNotLeader},
	{replica.ErrOverloaded, codeNotEnoughReplicas},
	{replica.ErrDropped, codeNotLeader},
	{replica.ErrStopped, codeNotLeader},
	{replica.ErrTimeout, codeRequestTimedOut},
	{replica.ErrDiskFull, codeKafkaStorage},
	{replica.ErrDamaged, codeKafkaStorage},
	{replica.ErrCompacted, codeOffsetOutOfRange},
	{replica.ErrUnavailable, codeOffsetNotAvailable},

	{partition.ErrOffsetOutOfRange, codeOffsetOutOfRange},
	{partition.ErrCorruptBatch, codeCorruptMessage},
	{partition.ErrOldMagic, codeInvalidRecord},
	{partition.ErrInvalidBatch, codeInvalidRecord},
	{partition.ErrBatchTooLarge, codeMessageTooLarge},
	{partition.ErrOutOfOrderSequence, codeOutOfOrderSequence},
	{partition.ErrProducerFenced, codeInvalidProdEpoch},
	{partition.ErrFencedEpoch, codeFencedEpoch},
	{partition.ErrUnknownEpoch, codeUnknownEpoch},
	{partition.ErrNotEnoughReplicas, codeNotEnoughReplicas},
	{partition.ErrDamaged, codeKafkaStorage},
	{partition.ErrCheckpoint, codeKafkaStorage},

	{ErrUnknownTopic, codeUnknownPartition},
	{ErrUnknownPartition, codeUnknownPartition},
	{ErrTopicExists, codeTopicExists},
	{ErrInvalidTopic, codeInvalidTopic},
	{ErrInvalidCount, codeInvalidPartitions},
	{ErrInvalidRF, codeInvalidRF},
	{ErrInvalidReplicas, codeInvalidReplicas},
	{ErrInvalidConfig, codeInvalidConfig},
	{ErrInvalidRequest, codeInvalidRequest},
	{ErrPolicy, codePolicyViolation},
	{ErrUnknownBroker, codeBrokerNotRegistered},
	{ErrNoReassignment, codeNoReassignment},
	{ErrElectionNotNeeded, codeElectionNotNeeded},
	{ErrPreferredNotAvailable, codePreferredUnavailable},
	{ErrEligibleNotAvailable, codeEligibleUnavailable},

	{context.DeadlineExceeded, codeRequestTimedOut},
	{context.Canceled, codeRequestTimedOut},
	{os.ErrDeadlineExceeded, codeRequestTimedOut},
}

// codeOfRead is codeOf for reads of the log: an error without a code of its own
// is one of the storage below, whose errors this package does not know.
func codeOfRead(err error) code {
	if c := codeOf(err); c != codeUnknownServer {
		return c
	}
	return codeKafkaStorage
}

// codeOfTopic is codeOf for requests that may name topics by id.
func codeOfTopic(err error, byID bool) code {
	if byID && errors.Is(err, ErrUnknownTopic) {
		return codeUnknownTopicID
	}
	return codeOf(err)
}

// message is the text for a response's error message field, nil without error.
func message(err error) *string {
	if err == nil {
		return nil
	}
	s := err.Error()
	return &s
}
