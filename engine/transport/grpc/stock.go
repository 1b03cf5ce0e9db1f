package grpctransport

import (
	"encoding/binary"
	"fmt"

	"google.golang.org/grpc/mem"

	"dyno/engine/ids"
	"dyno/engine/transport"
)

// The stock form is what protoc would make of
//
//	message Batch    { repeated Envelope envelopes = 1; }
//	message Envelope { uint64 group = 1; raftpb.Message message = 2; }
//
// with raftpb's generated code for the message: each byte of an entry is copied
// into the gRPC message, that into one buffer at the receiver, and from there
// into the entry.
const (
	tagEnvelope = 1<<3 | 2
	tagGroup    = 1 << 3
	tagMessage  = 2<<3 | 2
)

// marshalStock encodes a batch into one buffer, from the pool that gRPC's own
// codec uses.
func marshalStock(batch []transport.Envelope) (mem.BufferSlice, error) {
	total := 0
	for i := range batch {
		inner, _ := stockSizes(&batch[i])
		total += 1 + uvarintLen(uint64(inner)) + inner
	}
	pool := mem.DefaultBufferPool()
	buf := pool.Get(total)
	b := (*buf)[:0]
	for i := range batch {
		e := &batch[i]
		inner, size := stockSizes(e)
		b = binary.AppendUvarint(append(b, tagEnvelope), uint64(inner))
		b = binary.AppendUvarint(append(b, tagGroup), uint64(e.Group))
		b = binary.AppendUvarint(append(b, tagMessage), uint64(size))
		if _, err := e.Message.MarshalToSizedBuffer(b[len(b) : len(b)+size]); err != nil {
			pool.Put(buf)
			return nil, fmt.Errorf("group %d: %w", e.Group, err)
		}
		b = b[:len(b)+size]
	}
	*buf = b
	return mem.BufferSlice{mem.NewBuffer(buf, pool)}, nil
}

// stockSizes gives the length of an Envelope and of the message in it.
func stockSizes(e *transport.Envelope) (inner, message int) {
	message = e.Message.Size()
	return 1 + uvarintLen(uint64(e.Group)) + 1 + uvarintLen(uint64(message)) + message, message
}

func uvarintLen(v uint64) int {
	n := 1
	for ; v >= 1<<7; v >>= 7 {
		n++
	}
	return n
}

// unmarshalStock appends the envelopes of a message. Fails with ErrMalformed.
func unmarshalStock(batch []transport.Envelope, data mem.BufferSlice) ([]transport.Envelope, error) {
	buf := data.MaterializeToBuffer(mem.DefaultBufferPool())
	defer buf.Free()
	r := reader{b: buf.ReadOnlyData()}
	for len(r.b) > 0 {
		inner := r.field(tagEnvelope)
		if len(batch) == envelopesMax {
			return batch, fmt.Errorf("%w: more than %d envelopes", ErrMalformed, envelopesMax)
		}
		batch = append(batch, transport.Envelope{})
		e := &batch[len(batch)-1]
		if inner.byte() != tagGroup {
			inner.bad = true
		}
		e.Group = ids.GroupID(inner.uvarint())
		message := inner.field(tagMessage)
		if r.bad || inner.bad || message.bad || len(inner.b) > 0 {
			return batch, fmt.Errorf("%w: envelope %d", ErrMalformed, len(batch)-1)
		}
		err := e.Message.Unmarshal(message.b)
		if err == nil {
			err = check(&e.Message)
		}
		if err != nil {
			return batch, fmt.Errorf("%w: envelope %d: %w", ErrMalformed, len(batch)-1, err)
		}
	}
	return batch, nil
}

// field reads a tag and the bytes that follow it with their length.
func (r *reader) field(tag byte) reader {
	if r.byte() != tag {
		r.bad = true
	}
	return reader{b: r.bytes(r.length(len(r.b))), bad: r.bad}
}
