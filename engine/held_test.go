package engine

import (
	"testing"

	"dyno/wal/vfs"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// While the disk holds the sync back, no answer to acks=all or acks=1 leaves,
// and no consumer sees the records. The order of events shows it: the sync was
// entered, then other connections were answered, and the produce requests still
// were not; after the release they are.
func TestHeldSync(t *testing.T) {
	for name, opts := range map[string][]kgo.Opt{
		"acks=all": nil,
		"acks=1":   {kgo.DisableIdempotentWrite(), kgo.RequiredAcks(kgo.LeaderAck())},
	} {
		t.Run(name, func(t *testing.T) {
			gate := vfs.NewGate(vfs.OpDatasync)
			b := newBed(t, faulty(gate.Plan, nil))
			t.Cleanup(gate.Open) // before the node is closed
			b.topic("t", 1)
			b.produce("t", 0, "before")
			answered := make(chan *kmsg.ProduceResponse, 1)
			cl, ctx := b.client(append(opts, byName())...), soon(t)
			if err := cl.Ping(ctx); err != nil {
				t.Fatal(err)
			}
			gate.Shut()
			go func() {
				resp, err := cl.Broker(1).Request(ctx, produceRequest("t", 0, testBatch(1, 100)))
				if err != nil {
					t.Error(err)
					answered <- nil
					return
				}
				answered <- resp.(*kmsg.ProduceResponse)
			}()
			await(t, "the sync of the batch, which hangs", gate.Waiting())
			other := b.client(kgo.DisableIdempotentWrite(), kgo.RequiredAcks(kgo.NoAck()))
			for range 20 {
				ask[*kmsg.MetadataResponse](b, other, kmsg.NewPtrMetadataRequest())
				if p := other.ProduceSync(ctx, &kgo.Record{Topic: "t", Value: []byte("unasked")}); p.FirstErr() != nil {
					t.Fatal(p.FirstErr())
				}
				resp := ask[*kmsg.FetchResponse](b, other, fetchRequest("t", b.partition("t", 0).topic, 0, 1))
				if p := resp.Topics[0].Partitions[0]; p.HighWatermark != 1 || len(p.RecordBatches) > 0 {
					t.Fatalf("a consumer sees what is not durable: %+v", p)
				}
			}
			if o := b.partition("t", 0).Offsets(); o.HighWatermark != 1 || o.LogEnd < 2 {
				t.Fatalf("offsets %+v, want the batch appended and not committed", o)
			}
			select {
			case resp := <-answered:
				t.Fatalf("answered before the sync: %+v", resp)
			default:
			}
			gate.Open()
			resp := await(t, "the answer after the sync", answered)
			if resp == nil || resp.Topics[0].Partitions[0].ErrorCode != 0 || resp.Topics[0].Partitions[0].BaseOffset != 1 {
				t.Fatalf("after the sync: %+v", resp)
			}
		})
	}
}

// A power cut during the held sync loses the batch or keeps it; it was never
// acknowledged. What was acknowledged before is there.
func TestHeldSyncCut(t *testing.T) {
	gate := vfs.NewGate(vfs.OpDatasync)
	b := newBed(t, faulty(gate.Plan, nil))
	b.topic("t", 1)
	b.produce("t", 0, "before")
	gate.Shut()
	cl, ctx := b.client(byName()), soon(t)
	codes := make(chan int16, 1)
	go func() {
		code := int16(-100)
		if resp, err := cl.Broker(1).Request(ctx, produceRequest("t", 0, testBatch(1, 100))); err == nil {
			code = resp.(*kmsg.ProduceResponse).Topics[0].Partitions[0].ErrorCode
		}
		codes <- code
	}()
	await(t, "the sync of the batch, which hangs", gate.Waiting())
	kept := b.mem.PowerCut(1)
	gate.Open()
	if code := await(t, "the end of the request", codes); code == 0 {
		t.Error("acknowledged without a sync")
	}
	_ = b.node.Close() // its disk is gone
	b.mem, b.cfg.FS = kept, kept
	b.open()
	if r := b.consume("t", 0, 0, 1)[0]; string(r.Value) != "before" {
		t.Errorf("offset 0 holds %q", r.Value)
	}
}
