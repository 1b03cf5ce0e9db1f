package kafka

import "github.com/twmb/franz-go/pkg/kmsg"

// InitProducerId (22): versions 0-5.
//
// Behaviour, after KafkaApis.handleInitProducerIdRequest and
// TransactionCoordinator.handleInitProducerId of Kafka 4.0: without a
// transactional id every request gets a new producer id with epoch 0, also one
// that names the id it has; half an id (producer id without epoch, or the
// reverse) and an empty transactional id are INVALID_REQUEST.
//
// Differs from Kafka: a transactional id is UNSUPPORTED_VERSION, which clients
// take as final: there are no transactions yet (and no FindCoordinator by which
// a client would get here).
var shapeInitProducerID = []field{
	is(kindNullString), is(kindI32), is(kindI64).from(3), is(kindI16).from(3),
}

func handleInitProducerID(c *conn, r kmsg.Request) kmsg.Response {
	req := r.(*kmsg.InitProducerIDRequest)
	resp := req.ResponseKind().(*kmsg.InitProducerIDResponse)
	resp.ProducerID, resp.ProducerEpoch = -1, -1
	switch {
	case req.TransactionalID != nil && *req.TransactionalID == "",
		req.Version >= 3 && (req.ProducerID == -1) != (req.ProducerEpoch == -1):
		resp.ErrorCode = c.fail(codeInvalidRequest)
		return resp
	case req.TransactionalID != nil:
		resp.ErrorCode = c.fail(codeUnsupportedVersion)
		return resp
	}
	ctx, cancel := c.deadline(-1)
	defer cancel()
	id, err := c.srv.cfg.Backend.NewProducerID(ctx)
	if resp.ErrorCode = c.fail(retriable(codeOf(err))); err == nil {
		resp.ProducerID, resp.ProducerEpoch = int64(id), 0
	}
	return resp
}

// retriable turns what a client of InitProducerId would take as final, though
// it is only the metadata leader that is missing, into the code Kafka answers
// while no id can be had.
func retriable(e code) code {
	switch e {
	case codeNotLeader, codeRequestTimedOut, codeNotEnoughReplicas:
		return codeCoordinatorLoading
	}
	return e
}
