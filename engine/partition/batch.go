package partition

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"math"

	"dyno/engine/ids"
)

// Positions within a v2 record batch; the CRC covers everything from posAttrs
// on, so base offset and leader epoch can be patched without touching it.
// Source: Kafka's DefaultRecordBatch.
const (
	posBase      = 0
	posLength    = 8
	posEpoch     = 12
	posMagic     = 16
	posCRC       = 17
	posAttrs     = 21
	posLastDelta = 23
	posBaseTime  = 27
	posMaxTime   = 35
	posProducer  = 43
	posProdEpoch = 51
	posSequence  = 53
	posRecords   = 57
	headerBytes  = 61

	lengthOverhead = 12 // bytes in front of what the length field counts
)

// Attribute bits of a v2 record batch.
const (
	attrCodec         = 0x07
	attrAppendTime    = 1 << 3
	attrTransactional = 1 << 4
	attrControl       = 1 << 5
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// ParseBatch checks that b is exactly one v2 record batch as a producer may
// send it, its CRC32C included, and returns its header. Records inside a
// compressed batch are not looked at; uncompressed ones are walked by length,
// so that a frame that no consumer can read never enters the log. It does not
// block, retain or change b, and never panics.
//
// Errors: ErrOldMagic; ErrCorruptBatch where bytes are missing or do not match
// their checksum; ErrInvalidBatch for more than one batch, a base offset other
// than 0, counts that disagree, control, transactional or log-append-time
// batches, an unknown codec, or a producer id without epoch and sequence.
// Source: Kafka 4.0 LogValidator.validateBatch, UnifiedLog.analyzeAndValidateRecords.
//
// Differs from Kafka: transactional batches are refused, there are no
// transactions yet.
func ParseBatch(b []byte) (BatchInfo, error) {
	if err := checkFrame(b); err != nil {
		return BatchInfo{}, err
	}
	in := readInfo(b)
	if err := checkInfo(b, in); err != nil {
		return BatchInfo{}, err
	}
	if in.Attributes&attrCodec == 0 {
		if err := walkRecords(b[headerBytes:], in.Records); err != nil {
			return BatchInfo{}, err
		}
	}
	return in, nil
}

// checkFrame checks length, magic and checksum.
func checkFrame(b []byte) error {
	if len(b) == 0 {
		return fmt.Errorf("%w: no batch", ErrInvalidBatch)
	}
	if len(b) <= posMagic {
		return fmt.Errorf("%w: %d bytes", ErrCorruptBatch, len(b))
	}
	switch magic := b[posMagic]; magic {
	case 0, 1:
		return fmt.Errorf("%w: magic %d", ErrOldMagic, magic)
	case 2:
	default:
		return fmt.Errorf("%w: magic %d", ErrCorruptBatch, magic)
	}
	n := int64(int32(binary.BigEndian.Uint32(b[posLength:]))) + lengthOverhead
	switch {
	case n < headerBytes || n > int64(len(b)):
		return fmt.Errorf("%w: %d bytes announced, %d there", ErrCorruptBatch, n, len(b))
	case n < int64(len(b)):
		return fmt.Errorf("%w: %d bytes after the first batch", ErrInvalidBatch, int64(len(b))-n)
	}
	want := binary.BigEndian.Uint32(b[posCRC:])
	if got := crc32.Checksum(b[posAttrs:], castagnoli); got != want {
		return fmt.Errorf("%w: checksum %08x, stated %08x", ErrCorruptBatch, got, want)
	}
	return nil
}

// checkInfo checks that the fields make sense for a batch from a producer.
func checkInfo(b []byte, in BatchInfo) error {
	var what string
	switch {
	case binary.BigEndian.Uint64(b[posBase:]) != 0:
		what = "base offset is not 0"
	case in.Records <= 0 || int64(in.Records) != int64(in.LastOffsetDelta)+1:
		what = "record count and last offset delta disagree"
	case in.Attributes&attrControl != 0:
		what = "control batch from a producer"
	case in.Attributes&attrTransactional != 0:
		what = "transactional batch"
	case in.Attributes&attrAppendTime != 0:
		what = "log append time set by a producer"
	case Codec(in.Attributes&attrCodec) > CodecZstd:
		what = "unknown compression codec"
	case in.ProducerID < ids.NoProducer:
		what = "negative producer id"
	case in.ProducerID >= 0 && (in.ProducerEpoch < 0 || in.BaseSequence < 0):
		what = "producer id without epoch or sequence"
	default:
		return nil
	}
	return fmt.Errorf("%w: %s", ErrInvalidBatch, what)
}

// walkRecords checks that n length-prefixed records fill b exactly.
func walkRecords(b []byte, n int32) error {
	for i := int32(0); i < n; i++ {
		size, w := varint(b)
		if w <= 0 || size <= 0 || size > int64(len(b)-w) {
			return fmt.Errorf("%w: record %d of %d does not fit", ErrInvalidBatch, i, n)
		}
		b = b[w+int(size):]
	}
	if len(b) != 0 {
		return fmt.Errorf("%w: %d bytes after the last record", ErrInvalidBatch, len(b))
	}
	return nil
}

// varint reads a zigzag varint; w <= 0 means there is none. One and two bytes,
// nearly all record lengths and deltas, skip the general loop.
func varint(b []byte) (v int64, w int) {
	if len(b) > 1 {
		if b[0] < 0x80 {
			return int64(b[0]>>1) ^ -int64(b[0]&1), 1
		}
		if b[1] < 0x80 {
			u := uint64(b[0]&0x7f) | uint64(b[1])<<7
			return int64(u>>1) ^ -int64(u&1), 2
		}
	}
	return binary.Varint(b)
}

// readInfo reads the header of a batch whose frame was checked before.
func readInfo(b []byte) BatchInfo {
	_ = b[headerBytes-1]
	return BatchInfo{
		Bytes:           len(b),
		Attributes:      int16(binary.BigEndian.Uint16(b[posAttrs:])),
		LastOffsetDelta: int32(binary.BigEndian.Uint32(b[posLastDelta:])),
		BaseTimestampMS: int64(binary.BigEndian.Uint64(b[posBaseTime:])),
		MaxTimestampMS:  int64(binary.BigEndian.Uint64(b[posMaxTime:])),
		ProducerID:      ids.ProducerID(binary.BigEndian.Uint64(b[posProducer:])),
		ProducerEpoch:   int16(binary.BigEndian.Uint16(b[posProdEpoch:])),
		BaseSequence:    int32(binary.BigEndian.Uint32(b[posSequence:])),
		Records:         int32(binary.BigEndian.Uint32(b[posRecords:])),
	}
}

// baseOffset and leaderEpoch read what stamp wrote.
// BatchRange gives the offsets of a whole batch as it is stored, [base, end).
func BatchRange(b []byte) (base, end ids.Offset) { return baseOffset(b), endOffset(b) }

func baseOffset(b []byte) ids.Offset { return ids.Offset(binary.BigEndian.Uint64(b[posBase:])) }

func leaderEpoch(b []byte) ids.LeaderEpoch {
	return ids.LeaderEpoch(binary.BigEndian.Uint32(b[posEpoch:]))
}

// stamp writes base offset and leader epoch into b; the checksum still holds.
func stamp(b []byte, base ids.Offset, epoch ids.LeaderEpoch) {
	binary.BigEndian.PutUint64(b[posBase:], uint64(base))
	binary.BigEndian.PutUint32(b[posEpoch:], uint32(epoch))
}

// SetAppendTime makes b a batch with log append time: all its records carry
// nowMS. It changes b in place, its CRC included (a second pass over the
// batch), and returns the header as it is now. b must have passed ParseBatch.
// Source: Kafka's DefaultRecordBatch.setMaxTimestamp.
func SetAppendTime(b []byte, nowMS int64) BatchInfo {
	attrs := binary.BigEndian.Uint16(b[posAttrs:]) | attrAppendTime
	binary.BigEndian.PutUint16(b[posAttrs:], attrs)
	binary.BigEndian.PutUint64(b[posMaxTime:], uint64(nowMS))
	binary.BigEndian.PutUint32(b[posCRC:], crc32.Checksum(b[posAttrs:], castagnoli))
	return readInfo(b)
}

// lastSequence is the sequence of a batch's last record. Sequences wrap from
// 2^31-1 to 0. Source: Kafka's DefaultRecordBatch.incrementSequence.
func lastSequence(first, lastOffsetDelta int32) int32 {
	if first > math.MaxInt32-lastOffsetDelta {
		return lastOffsetDelta - (math.MaxInt32 - first) - 1
	}
	return first + lastOffsetDelta
}
