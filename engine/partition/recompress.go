package partition

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"io"
)

// Recompress gives b with its records in codec, as a topic's compression.type
// demands; b itself if it is already. Offsets, timestamps and producer fields
// are kept, length and checksum are made anew; where the result is a new slice
// it has no room to spare. It runs for as long as the codec takes, so not on a
// worker; any goroutine may call. b must have passed ParseBatch and is neither
// kept nor changed. Errors: ErrCorruptBatch for records that do not inflate or
// do not match the header's count, ErrBatchTooLarge beyond 64 MiB of them.
func Recompress(b []byte, codec Codec) ([]byte, BatchInfo, error) {
	in := readInfo(b)
	from := Codec(in.Attributes & attrCodec)
	if from == codec {
		return b, in, nil
	}
	records, err := inflateAll(from, b[headerBytes:])
	if err != nil {
		return nil, BatchInfo{}, fmt.Errorf("recompress: %w", err)
	}
	if err := walkRecords(records, in.Records); err != nil {
		return nil, BatchInfo{}, fmt.Errorf("recompress: %w", err)
	}
	out := make([]byte, headerBytes, headerBytes+len(records)/2)
	copy(out, b)
	if out, err = compress(out, codec, records); err != nil {
		return nil, BatchInfo{}, err
	}
	attrs := uint16(in.Attributes)&^attrCodec | uint16(codec)
	binary.BigEndian.PutUint32(out[posLength:], uint32(len(out)-lengthOverhead))
	binary.BigEndian.PutUint16(out[posAttrs:], attrs)
	binary.BigEndian.PutUint32(out[posCRC:], crc32.Checksum(out[posAttrs:], castagnoli))
	out = append(make([]byte, 0, len(out)), out...)
	return out, readInfo(out), nil
}

// inflateAll decompresses src into memory; with CodecNone it is src.
func inflateAll(codec Codec, src []byte) ([]byte, error) {
	if codec == CodecNone {
		return src, nil
	}
	r, done, err := inflate(codec, src, recompressBytesMax)
	if err != nil {
		return nil, err
	}
	defer done()
	out, err := io.ReadAll(r)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrCorruptBatch, err)
	}
	return out, nil
}
