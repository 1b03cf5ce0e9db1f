package partition

import (
	"encoding/binary"
	"fmt"

	"dyno/engine/ids"
)

// An entry's data is a record batch or a command. A batch begins with its base
// offset, which is never negative, so its first byte is below commandBit:
//
//	command = 0x80|kind (1 byte), version (1 byte), body
//	kind 1, version 1: body = log start offset, 8 bytes big-endian
//	kind 2, version 1: body = the leader's clock in ms, 8 bytes big-endian
//
// A replica that meets a kind or version it does not know stops: to skip it
// would let replicas of two releases diverge.
const (
	commandBit   = 0x80
	kindLogStart = 1
	kindClock    = 2

	commandVersion = 1
	commandBytes   = 10 // of both kinds
)

// isCommand says whether an entry's non-empty data is a command.
func isCommand(data []byte) bool { return data[0]&commandBit != 0 }

// LogStartCommand encodes the proposal that moves the log start to offset, for
// DeleteRecords and retention: it is proposed by the leader like a batch (with
// any Waiter), so that all replicas agree. Stamp refuses an offset above the
// high watermark with ErrOffsetOutOfRange; one below the log start is a no-op.
func LogStartCommand(offset ids.Offset) []byte {
	return encodeCommand(kindLogStart, uint64(offset))
}

// ClockCommand encodes the proposal that states the leader's wall clock: what
// forgets idle producers on all replicas alike. See Housekeep.
func ClockCommand(nowMS int64) []byte { return encodeCommand(kindClock, uint64(nowMS)) }

func encodeCommand(kind uint8, value uint64) []byte {
	b := make([]byte, 0, commandBytes)
	b = append(b, commandBit|kind, commandVersion)
	return binary.BigEndian.AppendUint64(b, value)
}

// command is a decoded command; value is never negative.
type command struct {
	kind  uint8
	value int64
}

// parseCommand decodes data; it never panics. Errors: ErrInvalidBatch.
func parseCommand(data []byte) (command, error) {
	if len(data) != commandBytes || data[0]&commandBit == 0 {
		return command{}, fmt.Errorf("%w: %d bytes are no command", ErrInvalidBatch, len(data))
	}
	c := command{kind: data[0] &^ commandBit, value: int64(binary.BigEndian.Uint64(data[2:]))}
	if c.kind != kindLogStart && c.kind != kindClock || data[1] != commandVersion {
		return command{}, fmt.Errorf("%w: command %d version %d is not known", ErrInvalidBatch, c.kind, data[1])
	}
	if c.value < 0 {
		return command{}, fmt.Errorf("%w: command %d with %d", ErrInvalidBatch, c.kind, c.value)
	}
	return c, nil
}
