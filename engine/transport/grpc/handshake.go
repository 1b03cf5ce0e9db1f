package grpctransport

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"dyno/engine/ids"
	"dyno/engine/transport"
)

// version is of the handshake and of both forms of messages.
const version = 1

// The handshake is metadata: the caller's in the headers of the call, the
// server's in the headers of its answer, and a refusal's kind in the trailer. A
// value under a key with -bin may hold any bytes.
const (
	keyVersion = "dyno-version"
	keyCluster = "dyno-cluster-bin"
	keyFrom    = "dyno-from"
	keyTo      = "dyno-to"
	keyLane    = "dyno-lane"
	keyRefused = "dyno-refused"
)

// hello is what one side says first.
type hello struct {
	cluster  string
	from, to ids.NodeID
	lane     transport.Lane
}

func (h hello) metadata() metadata.MD {
	return metadata.Pairs(
		keyVersion, strconv.Itoa(version), keyCluster, h.cluster,
		keyFrom, strconv.Itoa(int(h.from)), keyTo, strconv.Itoa(int(h.to)), keyLane, strconv.Itoa(int(h.lane)),
	)
}

// readHello reads what the other side said. Fails with ErrVersion, and nothing
// else is looked at then: another version may have other keys.
func readHello(md metadata.MD) (h hello, err error) {
	if v := first(md, keyVersion); v != strconv.Itoa(version) {
		return h, fmt.Errorf("%w: %q here, %q there", ErrVersion, strconv.Itoa(version), v)
	}
	number := func(key string, bits int) int64 {
		n, e := strconv.ParseInt(first(md, key), 10, bits)
		if e != nil || n < 0 {
			err = fmt.Errorf("%w: %s is %q", ErrVersion, key, first(md, key))
		}
		return n
	}
	h.cluster = first(md, keyCluster)
	h.from, h.to = ids.NodeID(number(keyFrom, 32)), ids.NodeID(number(keyTo, 32))
	h.lane = transport.Lane(number(keyLane, 8))
	if err == nil && (h.from < 1 || h.to < 1 || h.lane >= transport.Lanes) {
		err = fmt.Errorf("%w: from node %d to node %d on %v", ErrVersion, h.from, h.to, h.lane)
	}
	return h, err
}

func first(md metadata.MD, key string) string {
	if v := md[key]; len(v) > 0 {
		return v[0]
	}
	return ""
}

// accept checks what a caller said. Fails with ErrForeignCluster or
// ErrWrongNode.
func (h hello) accept(cluster string, node ids.NodeID) error {
	if h.cluster != cluster {
		return fmt.Errorf("%w: %q here, %q there", ErrForeignCluster, cluster, h.cluster)
	}
	if h.to != node {
		return fmt.Errorf("%w: this is node %d, meant is node %d", ErrWrongNode, node, h.to)
	}
	return nil
}

// answers checks what a server said to h. Fails with ErrForeignCluster or
// ErrWrongNode.
func (h hello) answers(got hello) error {
	if got.cluster != h.cluster {
		return fmt.Errorf("%w: %q here, %q there", ErrForeignCluster, h.cluster, got.cluster)
	}
	if got.from != h.to || got.to != h.from || got.lane != h.lane {
		return fmt.Errorf("%w: node %d on %v was called, node %d on %v answers", ErrWrongNode, h.to, h.lane, got.from, got.lane)
	}
	return nil
}

// refusals are the kinds that travel in a trailer, and their status.
var refusals = map[string]struct {
	err  error
	code codes.Code
}{
	"cluster":  {ErrForeignCluster, codes.PermissionDenied},
	"node":     {ErrWrongNode, codes.FailedPrecondition},
	"version":  {ErrVersion, codes.Unimplemented},
	"other":    {ErrOtherTransport, codes.FailedPrecondition},
	"streams":  {ErrStreamLimit, codes.ResourceExhausted},
	"replaced": {ErrReplaced, codes.Aborted},
}

// refusal makes a trailer and a status of why a stream ends.
func refusal(err error) (metadata.MD, error) {
	for kind, r := range refusals {
		if errors.Is(err, r.err) {
			return metadata.Pairs(keyRefused, kind), status.Error(r.code, err.Error())
		}
	}
	switch {
	case err == nil:
		return nil, nil
	case errors.Is(err, context.Canceled):
		return nil, status.Error(codes.Canceled, err.Error())
	}
	return nil, status.Error(codes.Unavailable, err.Error())
}

// readRefusal gives back what refusal was made of, or err if it was none.
func readRefusal(trailer metadata.MD, err error) error {
	if r, ok := refusals[first(trailer, keyRefused)]; ok {
		return fmt.Errorf("%w: the peer says: %s", r.err, status.Convert(err).Message())
	}
	return err
}

// Refuse makes a server that uses another transport tell so to the callers of this
// one: they fail with ErrOtherTransport. Before the server serves.
func Refuse(s *grpc.Server) {
	s.RegisterService(&grpc.ServiceDesc{ServiceName: serviceName, HandlerType: (*any)(nil), Streams: []grpc.StreamDesc{{
		StreamName: streamDesc.StreamName, ClientStreams: true, ServerStreams: true,
		Handler: func(_ any, stream grpc.ServerStream) error {
			trailer, err := refusal(ErrOtherTransport)
			stream.SetTrailer(trailer)
			return err
		},
	}}}, nil)
}
