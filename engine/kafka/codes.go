package kafka

// code is a Kafka error code. The values are those of Kafka's Errors enum.
type code int16

// The codes this front answers with.
const (
	codeUnknownServer        code = -1
	codeNone                 code = 0
	codeOffsetOutOfRange     code = 1
	codeCorruptMessage       code = 2
	codeUnknownPartition     code = 3
	codeLeaderNotAvailable   code = 5
	codeNotLeader            code = 6
	codeRequestTimedOut      code = 7
	codeMessageTooLarge      code = 10
	codeCoordinatorLoading   code = 14
	codeInvalidTopic         code = 17
	codeNotEnoughReplicas    code = 19
	codeInvalidRequiredAcks  code = 21
	codeUnsupportedVersion   code = 35
	codeTopicExists          code = 36
	codeInvalidPartitions    code = 37
	codeInvalidRF            code = 38
	codeInvalidReplicas      code = 39
	codeInvalidConfig        code = 40
	codeInvalidRequest       code = 42
	codePolicyViolation      code = 44
	codeOutOfOrderSequence   code = 45
	codeInvalidProdEpoch     code = 47
	codeInvalidTxnState      code = 48
	codeKafkaStorage         code = 56
	codeSessionNotFound      code = 70
	codeFencedEpoch          code = 74
	codeUnknownEpoch         code = 75
	codeUnsupportedCodec     code = 76
	codeOffsetNotAvailable   code = 78
	codePreferredUnavailable code = 80
	codeEligibleUnavailable  code = 83
	codeElectionNotNeeded    code = 84
	codeNoReassignment       code = 85
	codeInvalidRecord        code = 87
	codeUnknownTopicID       code = 100
	codeBrokerNotRegistered  code = 102
	codeEndpointMismatch     code = 114
	codeEndpointUnsupported  code = 115

	codeMin, codeMax = codeUnknownServer, 133
)
