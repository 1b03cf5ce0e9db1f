package engine

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// manualClock is Config.Now under the test's hand.
type manualClock struct{ ms atomic.Int64 }

func (c *manualClock) now() time.Time { return time.UnixMilli(c.ms.Load()) }

func clocked(c *manualClock) func(*Config) {
	return func(cfg *Config) {
		cfg.Now = c.now
		cfg.Limits.RetentionEvery = time.Hour // rounds are the test's
	}
}

// firstFetch asks for one offset and gives the answer's code.
func (b *bed) fetchCode(topic string, from int64) int16 {
	b.t.Helper()
	cl := b.client()
	id := b.partition(topic, 0).topic
	return ask[*kmsg.FetchResponse](b, cl, fetchRequest(topic, id, 0, from)).Topics[0].Partitions[0].ErrorCode
}

// below is what retention must have left: a start above 0, a closed door below
// it, and every record from it on; now and after a restart.
func (b *bed) below(topic string, want []string) (start int64) {
	b.t.Helper()
	for range 2 {
		s, end := b.offsets(topic, 0)
		if end != int64(len(want)) {
			b.t.Fatalf("%s ends at %d, want %d", topic, end, len(want))
		}
		if start != 0 && s != start {
			b.t.Errorf("log start %d is %d after a restart", start, s)
		}
		start = s
		wantCode(b.t, "fetch below the start", b.fetchCode(topic, start-1), kerr.OffsetOutOfRange)
		wantCode(b.t, "fetch from 0", b.fetchCode(topic, 0), kerr.OffsetOutOfRange)
		if start < end {
			b.wantValues(topic, 0, start, want[start:]...)
		}
		b.restart()
	}
	return start
}

func TestRetentionBytes(t *testing.T) {
	clock := &manualClock{}
	b := newBed(t, smallLog, clocked(clock))
	b.topic("bytes", 1, "retention.bytes", "1500000", "segment.bytes", "1048576", "retention.ms", "-1")
	want := b.fill("bytes", 0, 4000)
	b.moved()
	before := b.partition("bytes", 0).files.Files()
	b.node.retention.round(context.Background())
	h := b.partition("bytes", 0)
	if after := h.files.Files(); len(after) >= len(before) || len(before) < 3 {
		t.Errorf("%d files before, %d after retention", len(before), len(after))
	}
	if b.node.retention.freed.Load() < 1<<20 {
		t.Errorf("%d bytes freed", b.node.retention.freed.Load())
	}
	start := b.below("bytes", want)
	if kept := int64(len(want)) - start; kept < 1400 || kept > 2700 {
		t.Errorf("%d records of a KiB are kept, want 1.5 MB to a file more", kept)
	}
}

func TestRetentionTime(t *testing.T) {
	clock := &manualClock{}
	clock.ms.Store(1_000_000)
	b := newBed(t, smallLog, clocked(clock))
	b.topic("time", 1, "retention.ms", "100000", "segment.bytes", "1048576")
	want := b.fill("time", 0, 3000) // a record each ms from 1,000,000 on
	b.moved()
	b.node.retention.round(context.Background())
	if start, _ := b.offsets("time", 0); start != 0 {
		t.Fatalf("records went %d before their time", start)
	}
	clock.ms.Store(1_000_000 + 100_000 + 2_000)
	b.node.retention.round(context.Background())
	start := b.below("time", want)
	if start == 0 || start > 2000 {
		t.Errorf("log start %d: want files that end before record 2000, and no others", start)
	}
	// Everything is old: all goes, also what is not in files yet.
	clock.ms.Store(10_000_000)
	b.node.retention.round(context.Background())
	if s, end := b.offsets("time", 0); s != end || end != 3000 {
		t.Errorf("log is [%d, %d), want [3000, 3000)", s, end)
	}
	b.restart()
	if s, end := b.offsets("time", 0); s != end || end != 3000 {
		t.Errorf("log is [%d, %d) after a restart, want [3000, 3000)", s, end)
	}
	b.produce("time", 0, "next")
	b.wantValues("time", 0, 3000, "next")
}

// A change of retention is in force at the next round.
func TestRetentionChange(t *testing.T) {
	clock := &manualClock{}
	clock.ms.Store(50_000_000)
	b := newBed(t, clocked(clock))
	b.topic("change", 1, "retention.ms", "-1")
	b.fill("change", 0, 50)
	b.node.retention.round(context.Background())
	if start, _ := b.offsets("change", 0); start != 0 {
		t.Fatalf("log start %d", start)
	}
	if err := b.setTopic("change", "retention.ms", "1000"); err != nil {
		t.Fatal(err)
	}
	b.node.retention.round(context.Background())
	if start, end := b.offsets("change", 0); start != 50 || end != 50 {
		t.Errorf("log is [%d, %d), want [50, 50)", start, end)
	}
}

// DeleteRecords into what lies in files frees them and survives cuts.
func TestRetentionDeleteRecords(t *testing.T) {
	b := newBed(t, smallLog, clocked(&manualClock{}))
	b.topic("cut", 1, "segment.bytes", "1048576", "retention.ms", "-1")
	want := b.fill("cut", 0, 3000)
	b.moved()
	part := b.partition("cut", 0)
	before := len(part.files.Files())
	if start, err := part.DeleteRecords(soon(t), 2345); err != nil || start != 2345 {
		t.Fatalf("delete to 2345: %d, %v", start, err)
	}
	b.node.retention.round(context.Background())
	if after := len(part.files.Files()); after >= before {
		t.Errorf("%d files before, %d after", before, after)
	}
	b.powerCut(21)
	if start := b.below("cut", want); start != 2345 {
		t.Errorf("log start %d, want 2345", start)
	}
}

// Retention looks by itself, as often as it is told to.
func TestRetentionByItself(t *testing.T) {
	b := newBed(t, func(c *Config) { c.Limits.RetentionEvery = time.Millisecond })
	b.topic("self", 1, "retention.ms", "1")
	b.fill("self", 0, 20) // of 1970
	until(t, "retention takes what is old", func() bool { return b.partition("self", 0).Offsets().LogStart == 20 })
}
