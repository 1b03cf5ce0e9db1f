package engine

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// Topics come and go under producers and consumers: every request is answered,
// with success or with a code that fits, and the node stays well.
func TestLoadDeleteTopics(t *testing.T) {
	b := newBed(t, smallLog)
	b.topic("stays", 1)
	b.topic("goes", 2)
	allowed := map[int16]bool{
		0: true, kerr.UnknownTopicOrPartition.Code: true, kerr.NotLeaderForPartition.Code: true,
		kerr.UnknownTopicID.Code: true, kerr.OffsetOutOfRange.Code: true,
	}
	stop := make(chan struct{})
	var wg sync.WaitGroup
	loop := func(one func(n uint64) int16) {
		wg.Go(func() {
			for n := uint64(1); ; n++ {
				select {
				case <-stop:
					return
				default:
				}
				if code := one(n); !allowed[code] {
					t.Errorf("answered with %v", kerr.ErrorForCode(code))
					return
				}
			}
		})
	}
	acked := uint64(0)
	ctx := soon(t)
	for part := range int32(2) {
		cl := b.client(byName())
		loop(func(n uint64) int16 {
			resp, err := cl.Broker(1).Request(ctx, produceRequest("goes", part, testBatch(n, 2000)))
			return partCode(t, resp, err)
		})
		loop(func(uint64) int16 {
			id := [16]byte{1}
			if topic, ok := (backend{b.node}).Topic("goes"); ok {
				id = topic.ID
			}
			resp, err := cl.Broker(1).Request(ctx, fetchRequest("goes", id, part, 0, func(r *kmsg.FetchRequest) { r.MaxWaitMillis = 5 }))
			return partCode(t, resp, err)
		})
	}
	cl := b.client(byName())
	loop(func(n uint64) int16 {
		resp, err := cl.Broker(1).Request(ctx, produceRequest("stays", 0, testBatch(n, 2000)))
		code := partCode(t, resp, err)
		if code == 0 {
			acked = n
		}
		return code
	})
	adm := b.admin()
	for range 25 {
		if _, err := adm.DeleteTopic(ctx, "goes"); err != nil {
			t.Fatal(err)
		}
		if _, err := adm.CreateTopic(ctx, 2, 1, nil, "goes"); err != nil {
			t.Fatal(err)
		}
	}
	close(stop)
	wg.Wait()
	if err := b.node.Err(); err != nil {
		t.Fatal(err)
	}
	b.restart()
	if _, end := b.offsets("stays", 0); end != int64(acked) || acked == 0 {
		t.Errorf("stays ends at %d, %d batches were acknowledged", end, acked)
	}
}

// partCode is the code of a produce or fetch answer.
func partCode(t *testing.T, resp kmsg.Response, err error) int16 {
	if err != nil {
		t.Errorf("no answer: %v", err)
		return -1
	}
	switch r := resp.(type) {
	case *kmsg.ProduceResponse:
		return r.Topics[0].Partitions[0].ErrorCode
	case *kmsg.FetchResponse:
		if r.ErrorCode != 0 || len(r.Topics) == 0 {
			return r.ErrorCode
		}
		return r.Topics[0].Partitions[0].ErrorCode
	}
	return -1
}

// Close under load ends soon, and what was acknowledged before it is there
// afterwards, each record once.
func TestLoadClose(t *testing.T) {
	b := newBed(t, smallLog)
	b.cfg.KafkaAddr = b.node.KafkaAddr()
	b.topic("load", 4)
	id := b.partition("load", 0).topic
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	var mu sync.Mutex
	acked := map[string]int64{}
	stop := make(chan struct{})
	var wg sync.WaitGroup
	for p := range int32(4) {
		cl := b.client(kgo.ProducerLinger(0), kgo.MaxBufferedRecords(100))
		wg.Go(func() {
			for n := 0; ; n++ {
				select {
				case <-stop:
					_ = cl.Flush(ctx)
					return
				default:
				}
				cl.Produce(ctx, &kgo.Record{Topic: "load", Partition: p, Value: fmt.Appendf(nil, "%d/%d", p, n)}, func(r *kgo.Record, err error) {
					if err != nil {
						t.Errorf("%s: %v", r.Value, err)
						return
					}
					mu.Lock()
					acked[string(r.Value)] = r.Offset
					mu.Unlock()
				})
			}
		})
	}
	poll := b.client()
	wg.Go(func() { // waits at the end of a log that is silent for ever
		for {
			select {
			case <-stop:
				return
			default:
			}
			_, _ = fetchRequest("load", id, 0, 1<<40, func(r *kmsg.FetchRequest) { r.MaxWaitMillis = 60_000 }).RequestWith(ctx, poll)
		}
	})
	count := func() int { mu.Lock(); defer mu.Unlock(); return len(acked) }
	for range 3 {
		goal := count() + 2000
		until(t, "records are acknowledged", func() bool { return count() >= goal })
		start := time.Now()
		b.restart()
		if d := time.Since(start); d > 4*time.Second {
			t.Errorf("close and open under load took %v", d)
		}
	}
	close(stop)
	wg.Wait()
	b.holdsExactly("load", 4, acked)
}

// holdsExactly compares a topic with the offsets that were acknowledged.
func (b *bed) holdsExactly(topic string, parts int32, acked map[string]int64) {
	b.t.Helper()
	total := 0
	for p := range parts {
		_, end := b.offsets(topic, p)
		for _, r := range b.consume(topic, p, 0, int(end)) {
			at, ok := acked[string(r.Value)]
			if !ok || at != r.Offset {
				b.t.Fatalf("%s at %d-%d, acknowledged %v at %d", r.Value, p, r.Offset, ok, at)
			}
			total++
		}
	}
	if total != len(acked) {
		b.t.Errorf("%d records, %d acknowledged", total, len(acked))
	}
}
