package partition

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"sync"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/s2"
	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"
)

// Codec is the compression code in a batch's attributes. Source: Kafka's
// CompressionType.
type Codec int16

// The codecs of Kafka.
const (
	CodecNone Codec = iota
	CodecGzip
	CodecSnappy
	CodecLZ4
	CodecZstd
)

// CodecOf gives the codec of a topic's compression.type; ok false for
// "producer" and anything unknown: batches stay as they are.
func CodecOf(compressionType string) (c Codec, ok bool) {
	switch compressionType {
	case "uncompressed":
		return CodecNone, true
	case "gzip":
		return CodecGzip, true
	case "snappy":
		return CodecSnappy, true
	case "lz4":
		return CodecLZ4, true
	case "zstd":
		return CodecZstd, true
	}
	return 0, false
}

const (
	// recompressBytesMax bounds what Recompress inflates in memory.
	recompressBytesMax = 64 << 20
	// scanBytesMax bounds what a look for timestamps inflates, as a stream.
	scanBytesMax = 256 << 20
	// windowBytesMax bounds zstd's memory; levels up to 19 use 8 MiB.
	windowBytesMax = 8 << 20
)

// The pools hold codec state, which is costly to make; nothing else.
var (
	gzipWriters = sync.Pool{New: func() any { return gzip.NewWriter(io.Discard) }}
	lz4Writers  = sync.Pool{New: newLZ4Writer}
	zstdWriters = sync.Pool{New: newZstdWriter}
)

// newLZ4Writer makes the frames that Kafka's Lz4BlockOutputStream makes:
// independent 64 KiB blocks, no checksums.
func newLZ4Writer() any {
	w := lz4.NewWriter(io.Discard)
	if err := w.Apply(lz4.BlockSizeOption(lz4.Block64Kb), lz4.ChecksumOption(false), lz4.ConcurrencyOption(1)); err != nil {
		panic(fmt.Sprintf("BUG: lz4 options: %v", err))
	}
	return w
}

func newZstdWriter() any {
	w, err := zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1), zstd.WithWindowSize(windowBytesMax/4))
	if err != nil {
		panic(fmt.Sprintf("BUG: zstd options: %v", err))
	}
	return w
}

// compress appends src in codec's form to dst.
func compress(dst []byte, codec Codec, src []byte) ([]byte, error) {
	switch codec {
	case CodecNone:
		return append(dst, src...), nil
	case CodecGzip:
		w := gzipWriters.Get().(*gzip.Writer)
		defer gzipWriters.Put(w)
		return drain(dst, w, src)
	case CodecSnappy:
		return compressXerial(dst, src), nil
	case CodecLZ4:
		w := lz4Writers.Get().(*lz4.Writer)
		defer lz4Writers.Put(w)
		return drain(dst, w, src)
	case CodecZstd:
		w := zstdWriters.Get().(*zstd.Encoder)
		defer zstdWriters.Put(w)
		return w.EncodeAll(src, dst), nil
	}
	return nil, fmt.Errorf("%w: unknown codec %d", ErrInvalidBatch, codec)
}

// drain runs src through a stream encoder.
func drain(dst []byte, w interface {
	io.WriteCloser
	Reset(io.Writer)
}, src []byte) ([]byte, error) {
	buf := bytes.NewBuffer(dst)
	w.Reset(buf)
	if _, err := w.Write(src); err != nil {
		return nil, fmt.Errorf("compress: %w", err)
	}
	if err := w.Close(); err != nil {
		return nil, fmt.Errorf("compress: %w", err)
	}
	return buf.Bytes(), nil
}

// Kafka's snappy is xerial's stream: a header, then blocks of up to 32 KiB,
// each behind its compressed length. Source: snappy-java's SnappyOutputStream.
var xerialMagic = []byte{0x82, 'S', 'N', 'A', 'P', 'P', 'Y', 0}

const (
	xerialHeaderBytes = 16
	xerialBlockBytes  = 32 << 10
)

func compressXerial(dst, src []byte) []byte {
	dst = append(dst, xerialMagic...)
	dst = append(dst, 0, 0, 0, 1, 0, 0, 0, 1) // version, oldest version that can read it
	for len(src) > 0 {
		n := min(len(src), xerialBlockBytes)
		block := s2.EncodeSnappy(nil, src[:n])
		dst = binary.BigEndian.AppendUint32(dst, uint32(len(block)))
		dst = append(dst, block...)
		src = src[n:]
	}
	return dst
}

// inflate gives src decompressed as a stream that ends in an error beyond
// limit bytes. Memory is bounded by the codec's window, for snappy by limit
// (its ratio is about 21 at most). done must be called once.
func inflate(codec Codec, src []byte, limit int64) (r io.Reader, done func(), err error) {
	done = func() {}
	switch codec {
	case CodecNone:
		r = bytes.NewReader(src)
	case CodecGzip:
		r, err = gzip.NewReader(bytes.NewReader(src))
	case CodecSnappy:
		var out []byte
		out, err = inflateSnappy(src, limit)
		r = bytes.NewReader(out)
	case CodecLZ4:
		r = lz4.NewReader(bytes.NewReader(src))
	case CodecZstd:
		var d *zstd.Decoder
		d, err = zstd.NewReader(bytes.NewReader(src), zstd.WithDecoderConcurrency(1),
			zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxWindow(windowBytesMax))
		if err == nil {
			r, done = d, d.Close
		}
	default:
		err = fmt.Errorf("unknown codec %d", codec)
	}
	if err != nil {
		return nil, nil, fmt.Errorf("%w: %w", ErrCorruptBatch, err)
	}
	return &boundedReader{r: r, left: limit}, done, nil
}

// boundedReader fails, rather than ends, when more than left bytes come.
type boundedReader struct {
	r    io.Reader
	left int64
}

func (b *boundedReader) Read(p []byte) (int, error) {
	if int64(len(p)) > b.left+1 {
		p = p[:b.left+1]
	}
	n, err := b.r.Read(p)
	if b.left -= int64(n); b.left < 0 {
		return 0, fmt.Errorf("%w: inflates beyond the limit", ErrBatchTooLarge)
	}
	return n, err
}

// inflateSnappy reads xerial's stream and the bare block of older clients.
func inflateSnappy(src []byte, limit int64) ([]byte, error) {
	if !bytes.HasPrefix(src, xerialMagic) {
		return snappyBlock(nil, src, limit)
	}
	if len(src) < xerialHeaderBytes {
		return nil, io.ErrUnexpectedEOF
	}
	var out []byte
	for src = src[xerialHeaderBytes:]; len(src) > 0; {
		if len(src) < 4 {
			return nil, io.ErrUnexpectedEOF
		}
		n := int64(binary.BigEndian.Uint32(src))
		src = src[4:]
		if n > int64(len(src)) {
			return nil, io.ErrUnexpectedEOF
		}
		var err error
		if out, err = snappyBlock(out, src[:n], limit); err != nil {
			return nil, err
		}
		src = src[n:]
	}
	return out, nil
}

func snappyBlock(dst, src []byte, limit int64) ([]byte, error) {
	n, err := s2.DecodedLen(src)
	if err != nil {
		return nil, err
	}
	if int64(len(dst))+int64(n) > limit {
		return nil, ErrBatchTooLarge
	}
	// A length that no encoder reaches is refused before memory is made for it.
	if int64(n) > 64*int64(len(src))+64 {
		return nil, fmt.Errorf("snappy block of %d bytes claims %d", len(src), n)
	}
	block, err := s2.Decode(nil, src)
	if err != nil {
		return nil, err
	}
	return append(dst, block...), nil
}
