package partition

import (
	"bufio"
	"encoding/binary"
	"fmt"

	"dyno/engine/ids"
)

// scanTimes calls f with offset and timestamp of each record of a batch, in
// order, until it returns false. Compressed batches are inflated as a stream,
// so a bomb costs time up to a limit and no memory. Errors: ErrCorruptBatch,
// ErrBatchTooLarge.
func scanTimes(b []byte, f func(offset ids.Offset, ms int64) bool) error {
	in := readInfo(b)
	r, done, err := inflate(Codec(in.Attributes&attrCodec), b[headerBytes:], scanBytesMax)
	if err != nil {
		return err
	}
	defer done()
	br := bufio.NewReaderSize(r, 4096)
	for i := int32(0); i < in.Records; i++ {
		timeDelta, offsetDelta, err := scanRecord(br)
		if err != nil {
			return fmt.Errorf("%w: record %d of %d: %w", ErrCorruptBatch, i, in.Records, err)
		}
		ms := in.BaseTimestampMS + timeDelta
		if in.Attributes&attrAppendTime != 0 {
			ms = in.MaxTimestampMS
		}
		if !f(baseOffset(b)+ids.Offset(offsetDelta), ms) {
			return nil
		}
	}
	return nil
}

// scanRecord reads the head of a record and skips the rest. Record: length,
// attributes (1), timestamp delta, offset delta, key, value, headers.
func scanRecord(br *bufio.Reader) (timeDelta, offsetDelta int64, err error) {
	length, err := binary.ReadVarint(br)
	if err != nil {
		return 0, 0, err
	}
	count := countingReader{r: br}
	if _, err = count.ReadByte(); err == nil {
		timeDelta, err = binary.ReadVarint(&count)
	}
	if err == nil {
		offsetDelta, err = binary.ReadVarint(&count)
	}
	if err != nil {
		return 0, 0, err
	}
	rest := length - count.n
	if rest < 0 || rest > scanBytesMax {
		return 0, 0, fmt.Errorf("length %d", length)
	}
	_, err = br.Discard(int(rest))
	return timeDelta, offsetDelta, err
}

type countingReader struct {
	r *bufio.Reader
	n int64
}

func (c *countingReader) ReadByte() (byte, error) {
	c.n++
	return c.r.ReadByte()
}

// firstAt finds the first record of b at or after from with a timestamp of at
// least ms.
func firstAt(b []byte, ms int64, from ids.Offset) (TimedOffset, bool, error) {
	found := TimedOffset{Offset: -1}
	err := scanTimes(b, func(offset ids.Offset, at int64) bool {
		if offset < from || at < ms {
			return true
		}
		found = TimedOffset{Offset: offset, TimestampMS: at, Epoch: leaderEpoch(b)}
		return false
	})
	return found, found.Offset >= 0, err
}

// newest finds the first record of b with b's largest timestamp.
func newest(b []byte, from ids.Offset) (TimedOffset, error) {
	best := TimedOffset{Offset: -1}
	err := scanTimes(b, func(offset ids.Offset, at int64) bool {
		if offset >= from && (best.Offset < 0 || at > best.TimestampMS) {
			best = TimedOffset{Offset: offset, TimestampMS: at, Epoch: leaderEpoch(b)}
		}
		return true
	})
	return best, err
}
