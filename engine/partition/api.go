package partition

import (
	"errors"

	"dyno/engine/ids"
	"dyno/engine/replica"
)

// Append is one record batch on its way into a partition: the front fills the
// first block, the answer stands in the second once Reply was called. It is a
// replica.Proposal by embedding, so the whole way costs one object.
//
// Waiter must be the Append itself at every Wait, also WaitNone: it is how
// Partition.Stamp finds the way back from the proposal. Bind sets it.
type Append struct {
	replica.Proposal           // Data is exactly one v2 record batch, checked by ParseBatch
	Batch            BatchInfo // what ParseBatch found in Data
	Reply            Reply     // nil for acks=0

	Base         ids.Offset // offset of the batch's first record
	LogStart     ids.Offset
	AppendTimeMS int64 // -1 unless the topic stamps log append time
	Err          error // nil: the promise of Wait holds

	next *Append // owner: the partition's worker; further duplicates parked on the same batch
}

// Reply hears the outcome of an Append once, on the group's worker goroutine;
// it must not block.
type Reply interface{ Appended(a *Append) }

// BatchInfo is the header of a v2 record batch, see Kafka's RecordBatch.
type BatchInfo struct {
	Bytes           int
	Attributes      int16
	LastOffsetDelta int32
	BaseTimestampMS int64
	MaxTimestampMS  int64
	ProducerID      ids.ProducerID
	ProducerEpoch   int16
	BaseSequence    int32
	Records         int32
}

// ReadArgs asks for committed batches from Offset on.
type ReadArgs struct {
	Offset   ids.Offset
	MaxBytes int // soft limit
	// One makes the first batch come whole even when it is beyond MaxBytes.
	One bool
	// Committed leaves out what is at or above the last stable offset
	// (read_committed); otherwise the high watermark is the limit.
	Committed bool
}

// ReadResult is what a read saw; the offsets are one consistent view. Batches
// are shared with the log: never change them.
type ReadResult struct {
	Batches [][]byte
	Bytes   int
	Offsets
}

// Offsets are the borders of a partition. All but LogStart are exclusive.
type Offsets struct {
	LogStart, LastStable, HighWatermark, LogEnd ids.Offset
}

// EpochEnd answers OffsetForLeaderEpoch: the largest epoch at or below the one
// asked for and the first offset after it; both -1 where nothing is known.
type EpochEnd struct {
	Epoch ids.LeaderEpoch
	End   ids.Offset
}

// TimedOffset answers ListOffsets by timestamp; Offset -1 means none.
type TimedOffset struct {
	Offset      ids.Offset
	TimestampMS int64
	Epoch       ids.LeaderEpoch
}

// Settings are the topic configs a partition obeys.
type Settings struct {
	RetentionMS       int64 // -1 for ever
	RetentionBytes    int64 // -1 no limit
	SegmentBytes      int64 // of L1 files: what retention deletes at a time
	MaxMessageBytes   int
	MinInsyncReplicas int    // 0: the majority of the replicas
	CompressionType   string // producer, uncompressed, gzip, snappy, lz4, zstd
	AppendTime        bool   // message.timestamp.type=LogAppendTime
}

var (
	// ErrOffsetOutOfRange: below the log start or above the high watermark.
	ErrOffsetOutOfRange = errors.New("offset out of range")
	// ErrCorruptBatch: the batch's checksum or framing does not hold.
	ErrCorruptBatch = errors.New("corrupt record batch")
	// ErrOldMagic: a message set of magic 0 or 1.
	ErrOldMagic = errors.New("record format before v2")
	// ErrInvalidBatch: well framed, but not what a producer may send.
	ErrInvalidBatch = errors.New("invalid record batch")
	// ErrBatchTooLarge: above max.message.bytes.
	ErrBatchTooLarge = errors.New("record batch too large")
	// ErrOutOfOrderSequence: an idempotent producer skipped or went back.
	ErrOutOfOrderSequence = errors.New("out of order sequence number")
	// ErrProducerFenced: the producer's epoch is older than one seen.
	ErrProducerFenced = errors.New("invalid producer epoch")
	// ErrFencedEpoch and ErrUnknownEpoch: the client's leader epoch is older
	// or newer than the partition's.
	ErrFencedEpoch  = errors.New("fenced leader epoch")
	ErrUnknownEpoch = errors.New("unknown leader epoch")
	// ErrDamaged: an applied entry does not fit the log before it. The
	// replica's log is not what it must be, and the group has to stop.
	ErrDamaged = errors.New("partition damaged")
	// ErrCheckpoint: the state blob of a checkpoint cannot be read.
	ErrCheckpoint = errors.New("partition checkpoint unreadable")
	// ErrNotEnoughReplicas: fewer in-sync replicas than min.insync.replicas.
	ErrNotEnoughReplicas = errors.New("not enough replicas")
)
