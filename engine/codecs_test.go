package engine

import (
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// Topic compression.type: what a producer sends in any codec is stored in the
// topic's, and read back as it was sent.
func TestCodecRecompress(t *testing.T) {
	b := newBed(t)
	stored := map[string]int16{"uncompressed": 0, "gzip": 1, "snappy": 2, "lz4": 3, "zstd": 4}
	sent := map[string]kgo.CompressionCodec{
		"plain": kgo.NoCompression(), "gzip": kgo.GzipCompression(), "snappy": kgo.SnappyCompression(),
		"lz4": kgo.Lz4Compression(), "zstd": kgo.ZstdCompression(),
	}
	for want, attr := range stored {
		for from, codec := range sent {
			t.Run(from+" to "+want, func(t *testing.T) {
				topic := from + "." + want
				id := b.topic(topic, 1, "compression.type", want).ID
				recs := fancyRecords(topic, 50)
				if err := b.client(kgo.ProducerBatchCompression(codec)).ProduceSync(soon(t), recs...).FirstErr(); err != nil {
					t.Fatal(err)
				}
				if got := firstBatchCodec(b, topic, id); got != attr {
					t.Errorf("stored codec %d, want %d", got, attr)
				}
				for i, r := range b.consume(topic, 0, 0, len(recs)) {
					sameRecord(t, r, recs[i])
				}
			})
		}
	}
}

func TestCodecChange(t *testing.T) {
	b := newBed(t)
	b.topic("codec", 1)
	b.produce("codec", 0, "a")
	if err := b.setTopic("codec", "compression.type", "zstd"); err != nil {
		t.Fatal(err)
	}
	b.produce("codec", 0, "b")
	b.wantValues("codec", 0, 0, "a", "b")
}

// LogAppendTime: all records of a batch have the broker's time, and look-ups by
// time go by it.
func TestAppendTime(t *testing.T) {
	b := newBed(t)
	b.topic("stamped", 1, "message.timestamp.type", "LogAppendTime")
	before := time.Now().Add(-time.Millisecond)
	r := &kgo.Record{Topic: "stamped", Value: []byte("x"), Timestamp: time.UnixMilli(1000)}
	if err := b.client().ProduceSync(soon(t), r).FirstErr(); err != nil {
		t.Fatal(err)
	}
	got := b.consume("stamped", 0, 0, 1)[0]
	if got.Timestamp.Before(before.Truncate(time.Millisecond)) || got.Timestamp.After(time.Now()) {
		t.Errorf("time %v, want one of now", got.Timestamp)
	}
	if got.Attrs.TimestampType() != 1 {
		t.Errorf("timestamp type %d, want 1", got.Attrs.TimestampType())
	}
	list, err := b.admin().ListOffsetsAfterMilli(soon(t), before.UnixMilli(), "stamped")
	if err != nil {
		t.Fatal(err)
	}
	if o, _ := list.Lookup("stamped", 0); o.Offset != 0 || o.Timestamp != got.Timestamp.UnixMilli() {
		t.Errorf("by time: offset %d, time %d; want 0, %d", o.Offset, o.Timestamp, got.Timestamp.UnixMilli())
	}
}
