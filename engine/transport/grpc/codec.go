package grpctransport

import (
	"fmt"

	"google.golang.org/grpc/encoding"
	"google.golang.org/grpc/mem"

	"dyno/engine/transport"
)

// The codecs have names of their own, which travel as the content subtype of a
// call: the server finds the sender's form by it, and other services on the
// same server keep the codec they have.
const (
	packedName = "dyno-raft"
	stockName  = "dyno-raft-proto"
)

// gRPC takes codecs by name from init only. They have no state.
func init() {
	encoding.RegisterCodecV2(packed{})
	encoding.RegisterCodecV2(stock{})
}

// outgoing is what SendMsg gets. The batch is read before SendMsg returns; what
// its messages point to, until the bytes are written.
type outgoing struct {
	batch  []transport.Envelope
	packer packer
	bytes  int // of the gRPC message, once SendMsg has returned
}

// incoming is what RecvMsg fills. The batch is good until the next RecvMsg.
type incoming struct {
	unpacker
	bytes int
	err   error // ErrMalformed, which RecvMsg only gives as text
}

// packed is the codec that passes buffers.
type packed struct{}

func (packed) Name() string { return packedName }

func (packed) Marshal(v any) (mem.BufferSlice, error) {
	out, ok := v.(*outgoing)
	if !ok {
		return nil, fmt.Errorf("BUG: %T is marshalled as %s", v, packedName)
	}
	bufs := out.packer.pack(out.batch)
	out.bytes = bufs.Len()
	return bufs, nil
}

func (packed) Unmarshal(data mem.BufferSlice, v any) error {
	in, ok := v.(*incoming)
	if !ok {
		return fmt.Errorf("BUG: %T is unmarshalled as %s", v, packedName)
	}
	in.bytes = data.Len()
	in.err = in.unpack(data)
	return in.err
}

// stock is the codec that does what gRPC's own does.
type stock struct{}

func (stock) Name() string { return stockName }

func (stock) Marshal(v any) (mem.BufferSlice, error) {
	out, ok := v.(*outgoing)
	if !ok {
		return nil, fmt.Errorf("BUG: %T is marshalled as %s", v, stockName)
	}
	bufs, err := marshalStock(out.batch)
	out.bytes = bufs.Len()
	return bufs, err
}

func (stock) Unmarshal(data mem.BufferSlice, v any) error {
	in, ok := v.(*incoming)
	if !ok {
		return fmt.Errorf("BUG: %T is unmarshalled as %s", v, stockName)
	}
	in.bytes = data.Len()
	in.batch, in.err = unmarshalStock(in.batch[:0], data)
	return in.err
}
