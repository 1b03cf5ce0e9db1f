package engine

import (
	"fmt"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// moved waits until the log is within its budget: what is above is in files.
func (b *bed) moved() {
	b.t.Helper()
	until(b.t, "the log comes within its budget", func() bool {
		return b.node.log.Size() <= b.cfg.WAL.BudgetBytes
	})
}

// fill produces n values of a KiB to a topic in batches of ten.
func (b *bed) fill(topic string, part int32, n int) []string {
	b.t.Helper()
	want := numbered(n, 1000)
	cl := b.client(kgo.ProducerBatchMaxBytes(12_000), kgo.ProducerLinger(0))
	defer cl.Close()
	for i := 0; i < n; i += 10 {
		recs := make([]*kgo.Record, 0, 10)
		for j := i; j < min(i+10, n); j++ {
			recs = append(recs, &kgo.Record{Topic: topic, Partition: part, Value: []byte(want[j]), Timestamp: time.UnixMilli(int64(1_000_000 + j))})
		}
		if err := cl.ProduceSync(soon(b.t), recs...).FirstErr(); err != nil {
			b.t.Fatalf("produce to %s-%d: %v", topic, part, err)
		}
	}
	return want
}

// Data is the same whether it comes from the tail cache, the log or the
// partition's files, from any offset, before and after a restart and a cut.
func TestMovesReads(t *testing.T) {
	b := newBed(t, smallLog)
	b.topic("cold", 2)
	want := b.fill("cold", 1, 1000)
	b.moved()
	h := b.partition("cold", 1)
	if _, end := h.files.End(); end == 0 || end >= 1000 {
		t.Fatalf("the files end at %d: want some but not all of 1000", end)
	}
	check := func() {
		t.Helper()
		b.wantValues("cold", 1, 0, want...)
		_, end := b.partition("cold", 1).files.End()
		for _, from := range []int64{1, 9, 10, int64(end) - 1, int64(end), int64(end) + 1, 995, 999} {
			b.wantValues("cold", 1, from, want[from:]...)
		}
		adm := b.admin()
		for _, at := range []int64{0, 1, 15, 500, 999} { // in files and in the log
			list, err := adm.ListOffsetsAfterMilli(soon(t), 1_000_000+at, "cold")
			if err != nil {
				t.Fatal(err)
			}
			if o, _ := list.Lookup("cold", 1); o.Offset != at || o.Timestamp != 1_000_000+at {
				t.Errorf("by time %d: offset %d time %d", at, o.Offset, o.Timestamp)
			}
		}
		most, err := adm.ListMaxTimestampOffsets(soon(t), "cold")
		if err != nil {
			t.Fatal(err)
		}
		if o, _ := most.Lookup("cold", 1); o.Offset != 999 {
			t.Errorf("max timestamp at %d, want 999", o.Offset)
		}
	}
	check()
	b.restart()
	check()
	b.powerCut(5)
	check()
	want = append(want, b.fill("cold", 1, 300)...)
	b.moved()
	b.wantValues("cold", 1, 0, want...)
}

// A consumer that reads along while segments move never misses or repeats a
// record.
func TestMovesUnderReader(t *testing.T) {
	b := newBed(t, smallLog)
	b.topic("along", 1)
	const n = 1500
	read := make(chan error, 1)
	cl := b.client(kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{"along": {0: kgo.NewOffset().AtStart()}}))
	want := numbered(n, 1000)
	ctx := soon(t)
	go func() {
		for next := 0; next < n; {
			fs := cl.PollFetches(ctx)
			if err := fs.Err(); err != nil {
				read <- err
				return
			}
			for _, r := range fs.Records() {
				if int(r.Offset) != next || string(r.Value) != want[next] {
					read <- fmt.Errorf("offset %d, want %d; value %.20q", r.Offset, next, r.Value)
					return
				}
				next++
			}
		}
		read <- nil
	}()
	b.fill("along", 0, n)
	if err := await(t, "the end of the reader", read); err != nil {
		t.Fatal(err)
	}
}

// A topic with one record and silence afterwards does not keep the log's
// segments: the log stays within its budget while another topic fills it.
func TestMovesIdleTopic(t *testing.T) {
	b := newBed(t, smallLog)
	b.topic("idle", 1)
	b.topic("busy", 1)
	b.produce("idle", 0, "the one")
	for range 5 {
		b.fill("busy", 0, 200)
		b.moved()
	}
	if n := b.node.mover.segments.Load(); n < 8 {
		t.Errorf("%d segments were released, want at least 8", n)
	}
	if n := b.node.mover.failures.Load(); n != 0 {
		t.Errorf("%d moves failed", n)
	}
	b.wantValues("idle", 0, 0, "the one")
	b.restart()
	b.wantValues("idle", 0, 0, "the one")
	b.produce("idle", 0, "another")
	b.wantValues("idle", 0, 0, "the one", "another")
}

// The metadata's entries move too: into a snapshot, which a start reads.
func TestMovesMetadata(t *testing.T) {
	b := newBed(t, smallLog)
	b.topic("m0", 1, "retention.ms", "777777")
	b.topic("data", 1)
	b.fill("data", 0, 400)
	b.moved()
	until(t, "the metadata's log is cut", func() bool { return b.node.Status().Metadata.First > 1 })
	b.topic("m1", 2)
	b.powerCut(11)
	b.restart()
	if v, _ := b.topicConfig("m0", "retention.ms"); v != "777777" {
		t.Errorf("retention.ms of m0 is %s", v)
	}
	b.produce("m1", 1, "x")
	b.wantValues("m1", 1, 0, "x")
	b.topic("m2", 1)
}
