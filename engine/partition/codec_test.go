package partition

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/s2"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"dyno/engine/ids"
)

var codecs = map[Codec]string{CodecNone: "uncompressed", CodecGzip: "gzip", CodecSnappy: "snappy", CodecLZ4: "lz4", CodecZstd: "zstd"}

func TestCodecOf(t *testing.T) {
	for c, name := range codecs {
		if got, ok := CodecOf(name); !ok || got != c {
			t.Errorf("%s: %d, %v", name, got, ok)
		}
	}
	for _, name := range []string{"producer", "", "brotli"} {
		if _, ok := CodecOf(name); ok {
			t.Errorf("%q has a codec", name)
		}
	}
}

// consume decodes a batch with kgo's own reader.
func consume(t testing.TB, b []byte) []*kgo.Record {
	t.Helper()
	rp := &kmsg.FetchResponseTopicPartition{Partition: 0, HighWatermark: 1 << 40, RecordBatches: b}
	fp, _ := kgo.ProcessFetchPartition(kgo.ProcessFetchPartitionOpts{Topic: "t", Partition: 0, Offset: int64(baseOffset(b))},
		rp, kgo.DefaultDecompressor(), nil)
	if fp.Err != nil {
		t.Fatal(fp.Err)
	}
	return fp.Records
}

// TestRecompress takes batches of several sizes through all pairs of codecs and
// reads each with kgo.
func TestRecompress(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for _, size := range []int{1, 100, 40 << 10, 200 << 10} {
		s := idem(3, 1, 9, 4)
		for i := range s.recs {
			v := make([]byte, size)
			for k := range v {
				v[k] = byte(rng.IntN(1 + k%7))
			}
			s.recs[i].value = string(v)
		}
		for from := range codecs {
			a, ain, err := Recompress(s.encode(), from)
			if err != nil {
				t.Fatal(err)
			}
			for to := range codecs {
				b, in, err := Recompress(a, to)
				if err != nil {
					t.Fatalf("%s to %s: %v", codecs[from], codecs[to], err)
				}
				stamp(b, 100, 7)
				parsed := readInfo(b)
				if err := checkFrame(b); err != nil || parsed != in {
					t.Fatalf("%s to %s: %+v, %v", codecs[from], codecs[to], parsed, err)
				}
				in.Bytes, in.Attributes = ain.Bytes, ain.Attributes
				if in != ain || Codec(parsed.Attributes&attrCodec) != to {
					t.Fatalf("%s to %s: header %+v, was %+v", codecs[from], codecs[to], parsed, ain)
				}
				checkRecords(t, consume(t, b), s, 100, 7)
				stamp(b, 0, 0)
			}
		}
	}
}

func checkRecords(t *testing.T, got []*kgo.Record, s shape, base int64, epoch int32) {
	t.Helper()
	if len(got) != len(s.recs) {
		t.Fatalf("%d records, want %d", len(got), len(s.recs))
	}
	for i, r := range got {
		if r.Offset != base+int64(i) || r.LeaderEpoch != epoch || string(r.Value) != s.recs[i].value || r.Timestamp.UnixMilli() != s.recs[i].ms {
			t.Fatalf("record %d: offset %d epoch %d time %v, %d bytes", i, r.Offset, r.LeaderEpoch, r.Timestamp, len(r.Value))
		}
	}
}

func TestRecompressSame(t *testing.T) {
	b := plain(3).encode()
	out, _, err := Recompress(b, CodecNone)
	if err != nil || &out[0] != &b[0] {
		t.Fatal("a batch in the right codec was copied")
	}
}

// TestRecompressRefuses meets records that are not what the header says.
func TestRecompressRefuses(t *testing.T) {
	s := plain(3)
	for c := CodecGzip; c <= CodecZstd; c++ {
		b, _, err := Recompress(s.encode(), c)
		if err != nil {
			t.Fatal(err)
		}
		cut := append([]byte(nil), b[:len(b)-9]...)
		if _, _, err := Recompress(cut, CodecNone); !errors.Is(err, ErrCorruptBatch) {
			t.Errorf("%s cut short: %v", codecs[c], err)
		}
		more := append([]byte(nil), b...)
		more[posRecords+3]++
		if _, _, err := Recompress(more, CodecNone); !errors.Is(err, ErrInvalidBatch) {
			t.Errorf("%s with a wrong count: %v", codecs[c], err)
		}
	}
}

// TestBomb bounds what a small batch can inflate to.
func TestBomb(t *testing.T) {
	zeros := make([]byte, recompressBytesMax+1)
	for c := CodecGzip; c <= CodecZstd; c++ {
		if testing.Short() && c != CodecZstd {
			continue // 64 MiB each
		}
		payload, err := compress(nil, c, zeros)
		if err != nil {
			t.Fatal(err)
		}
		b := append(plain(1).encode()[:headerBytes], payload...)
		b[posAttrs+1] = byte(c)
		if _, _, err := Recompress(b, CodecNone); !errors.Is(err, ErrBatchTooLarge) {
			t.Errorf("%s: %v", codecs[c], err)
		}
	}
	claim := []byte{0xff, 0xff, 0xff, 0x7f, 0, 0} // a snappy block that claims 256 MiB
	if _, err := inflateSnappy(claim, 1<<40); err == nil {
		t.Error("snappy block believed")
	}
}

// TestBareSnappy reads what clients without xerial's stream send.
func TestBareSnappy(t *testing.T) {
	s := plain(5)
	b := append(s.encode()[:headerBytes], s2.EncodeSnappy(nil, rawRecords(s.recs))...)
	b[posAttrs+1] = byte(CodecSnappy)
	n := 0
	if err := scanTimes(b, func(o ids.Offset, ms int64) bool {
		n++
		return o == ids.Offset(n-1) && ms == s.recs[n-1].ms
	}); err != nil || n != 5 {
		t.Fatalf("%d records, %v", n, err)
	}
}

// TestRealClient takes the batches that kgo's producer really sends, in all
// codecs, through ParseBatch, Stamp and Apply, and reads them with kgo.
func TestRealClient(t *testing.T) {
	for _, codec := range []kgo.CompressionCodec{kgo.NoCompression(), kgo.GzipCompression(), kgo.SnappyCompression(), kgo.Lz4Compression(), kgo.ZstdCompression()} {
		batches := capture(t, codec)
		l := newFakeLog(t, Config{})
		l.lead()
		n := 0
		for _, b := range batches {
			a := newAppend(t, b)
			if err := l.stamp(a); err != nil {
				t.Fatal(err)
			}
			l.commit(1)
			for _, r := range consume(t, b) {
				if r.Offset != int64(n) || string(r.Value) != value(n) || r.LeaderEpoch != 1 {
					t.Fatalf("record %d comes back at %d, epoch %d", n, r.Offset, r.LeaderEpoch)
				}
				n++
			}
			back, in, err := Recompress(append([]byte(nil), b...), CodecNone)
			if err != nil || int(in.Records) != len(consume(t, back)) {
				t.Fatalf("%v", err)
			}
		}
		if n != clientRecords || l.p.Offsets().HighWatermark != clientRecords {
			t.Fatalf("%d records, %+v", n, l.p.Offsets())
		}
		if at, err := l.p.ByTime(clientTime(70)); err != nil || at.Offset != 70 {
			t.Fatalf("%+v, %v", at, err)
		}
	}
}

const clientRecords = 100

func value(i int) string     { return fmt.Sprint(i, strings.Repeat(" value", i)) }
func clientTime(i int) int64 { return 1_700_000_000_000 + int64(i) }

// capture gives the batches of a kgo producer, in order.
func capture(t *testing.T, codec kgo.CompressionCodec) (batches [][]byte) {
	t.Helper()
	cluster, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(1, "t"))
	if err != nil {
		t.Fatal(err)
	}
	defer cluster.Close()
	cluster.ControlKey(0, func(req kmsg.Request) (kmsg.Response, error, bool) {
		cluster.KeepControl()
		for _, rt := range req.(*kmsg.ProduceRequest).Topics {
			for _, rp := range rt.Partitions {
				batches = append(batches, bytes.Clone(rp.Records))
			}
		}
		return nil, nil, false // kfake answers
	})
	cl, err := kgo.NewClient(kgo.SeedBrokers(cluster.ListenAddrs()...), kgo.DefaultProduceTopic("t"),
		kgo.ProducerBatchCompression(codec), kgo.ProducerBatchMaxBytes(4096), kgo.ProducerLinger(0))
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	for i := range clientRecords {
		cl.Produce(t.Context(), &kgo.Record{Value: []byte(value(i)), Timestamp: time.UnixMilli(clientTime(i)),
			Headers: []kgo.RecordHeader{{Key: "h", Value: []byte("x")}}}, func(_ *kgo.Record, err error) {
			if err != nil {
				t.Errorf("produce: %v", err)
			}
		})
	}
	if err := cl.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	return batches
}
