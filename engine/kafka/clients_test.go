package kafka

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// client makes a franz-go client of the broker at addr.
func client(t testing.TB, addr string, opts ...kgo.Opt) *kgo.Client {
	t.Helper()
	cl, err := kgo.NewClient(append([]kgo.Opt{kgo.SeedBrokers(addr)}, opts...)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cl.Close)
	return cl
}

func within(t testing.TB, d time.Duration) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), d)
	t.Cleanup(cancel)
	return ctx
}

// TestFranzRoundTrip produces with each kind of acknowledgement and codec and
// reads everything back, in order and byte for byte.
func TestFranzRoundTrip(t *testing.T) {
	_, n, addr := start(t)
	acks := map[string][]kgo.Opt{
		"all-idempotent": nil,
		"all":            {kgo.DisableIdempotentWrite()},
		"leader":         {kgo.DisableIdempotentWrite(), kgo.RequiredAcks(kgo.LeaderAck())},
		"none":           {kgo.DisableIdempotentWrite(), kgo.RequiredAcks(kgo.NoAck())},
	}
	codecs := map[string]kgo.CompressionCodec{
		"plain": kgo.NoCompression(), "gzip": kgo.GzipCompression(), "snappy": kgo.SnappyCompression(),
		"lz4": kgo.Lz4Compression(), "zstd": kgo.ZstdCompression(),
	}
	for ack, opts := range acks {
		for codec, c := range codecs {
			t.Run(ack+"/"+codec, func(t *testing.T) {
				topic := ack + "-" + codec
				n.add(topic, 1)
				const records = 500
				ctx := within(t, 10*time.Second)
				cl := client(t, addr, append([]kgo.Opt{kgo.DefaultProduceTopic(topic), kgo.ProducerBatchCompression(c)}, opts...)...)
				for i := range records {
					cl.Produce(ctx, kgo.StringRecord(value(i)), func(_ *kgo.Record, err error) {
						if err != nil {
							t.Error(err)
						}
					})
				}
				if err := cl.Flush(ctx); err != nil {
					t.Fatal(err)
				}
				consume(t, addr, topic, records)
			})
		}
	}
}

func value(i int) string {
	return fmt.Sprintf("record %d of a compressible payload payload payload", i)
}

// consume reads records values from partition 0 of topic and checks each.
func consume(t testing.TB, addr, topic string, records int, opts ...kgo.Opt) {
	t.Helper()
	ctx := within(t, 10*time.Second)
	cl := client(t, addr, append([]kgo.Opt{kgo.ConsumeTopics(topic)}, opts...)...)
	for i := 0; i < records; {
		fs := cl.PollFetches(ctx)
		if err := fs.Err(); err != nil {
			t.Fatalf("after %d records: %v", i, err)
		}
		fs.EachRecord(func(r *kgo.Record) {
			if string(r.Value) != value(i) || r.Offset != int64(i) {
				t.Fatalf("record %d is %q at offset %d", i, r.Value, r.Offset)
			}
			i++
		})
	}
}
