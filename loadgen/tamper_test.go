package loadgen

import (
	"context"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// tamper rewrites the records of one batch, as a broker with a fault would store them: lengths, counts and the batch checksum are
// made right again, so only the content tells.
func tamper(t *testing.T, raw []byte, edit func([]kmsg.Record) []kmsg.Record) []byte {
	t.Helper()
	var b kmsg.RecordBatch
	if err := b.ReadFrom(raw); err != nil {
		t.Fatal(err)
	}
	var records []kmsg.Record
	for in := b.Records; len(in) > 0; {
		length, n := binary.Varint(in)
		var r kmsg.Record
		if err := r.ReadFrom(in[:n+int(length)]); err != nil {
			t.Fatal(err)
		}
		records = append(records, r)
		in = in[n+int(length):]
	}
	records = edit(records)
	b.Records = nil
	for i := range records {
		r := &records[i]
		r.OffsetDelta = int32(i)
		r.Length = 0
		r.Length = int32(len(r.AppendTo(nil)) - 1) // less the one byte of a zero length
		b.Records = r.AppendTo(b.Records)
	}
	b.NumRecords, b.LastOffsetDelta = int32(len(records)), int32(len(records)-1)
	b.ProducerID, b.ProducerEpoch, b.FirstSequence = -1, -1, -1
	b.Length = 49 + int32(len(b.Records))
	out := b.AppendTo(nil)
	binary.BigEndian.PutUint32(out[17:], crc32.Checksum(out[21:], castagnoli))
	return out
}

// tamperOnce changes one batch of at least three records after the first few requests; every other batch loses its producer id, so
// that the fake, which checks sequences, stays out of the way.
func tamperOnce(t *testing.T, c *kfake.Cluster, edit func([]kmsg.Record) []kmsg.Record) (done *atomic.Bool) {
	done = new(atomic.Bool)
	requests := 0
	c.ControlKey(int16(kmsg.Produce), func(req kmsg.Request) (kmsg.Response, error, bool) {
		c.KeepControl()
		requests++
		q := req.(*kmsg.ProduceRequest)
		for i := range q.Topics {
			for j := range q.Topics[i].Partitions {
				p := &q.Topics[i].Partitions[j]
				count := int(binary.BigEndian.Uint32(p.Records[57:]))
				e := func(r []kmsg.Record) []kmsg.Record { return r }
				if requests > 3 && count >= 3 && !done.Swap(true) {
					e = edit
				}
				p.Records = tamper(t, p.Records, e)
			}
		}
		return nil, nil, false
	})
	return done
}

// TestInjectedFaultsAreCaught: one record dropped, stored twice, swapped with its neighbour or damaged by the broker is found by
// the verification, under its own name and nothing else's, and fails the run at acks=all; at acks=1 corruption alone does.
func TestInjectedFaultsAreCaught(t *testing.T) {
	t.Parallel()
	for _, f := range []struct {
		name string
		edit func([]kmsg.Record) []kmsg.Record
		want [4]int64 // lost, duplicated, reordered, corrupted
		acks Acks
		bad  bool
	}{
		{"none", func(r []kmsg.Record) []kmsg.Record { return r }, [4]int64{}, AcksAll, false},
		{"drop", func(r []kmsg.Record) []kmsg.Record { return append(r[:1:1], r[2:]...) }, [4]int64{1, 0, 0, 0}, AcksAll, true},
		{"duplicate", func(r []kmsg.Record) []kmsg.Record { return append(r, r[len(r)-1]) }, [4]int64{0, 1, 0, 0}, AcksAll, true},
		{"reorder", func(r []kmsg.Record) []kmsg.Record { r[0], r[1] = r[1], r[0]; return r }, [4]int64{0, 0, 1, 0}, AcksAll, true},
		{"corrupt", func(r []kmsg.Record) []kmsg.Record { r[1].Value[100] ^= 4; return r }, [4]int64{1, 0, 0, 1}, AcksAll, true},
		{"drop-acks-1", func(r []kmsg.Record) []kmsg.Record { return append(r[:1:1], r[2:]...) }, [4]int64{1, 0, 0, 0}, AcksLeader, false},
		{"corrupt-acks-1", func(r []kmsg.Record) []kmsg.Record { r[1].Value[100] ^= 4; return r }, [4]int64{1, 0, 0, 1}, AcksLeader, true},
	} {
		t.Run(f.name, func(t *testing.T) {
			c := fake(t)
			cfg := small(c)
			cfg.Acks, cfg.Duration, cfg.Records = f.acks, 0, 20_000
			done := tamperOnce(t, c, f.edit)
			r := mustRun(t, cfg)
			if !done.Load() {
				t.Fatal("the fault was never injected")
			}
			if got := [4]int64{*r.Lost, *r.Duplicated, *r.Reordered, *r.Corrupted}; got != f.want {
				t.Fatalf("lost, duplicated, reordered, corrupted = %v, want %v: %+v", got, f.want, r.Detail.Verification.Offences)
			}
			if bad := r.Violation() != ""; bad != f.bad {
				t.Fatalf("violation %q at acks %v", r.Violation(), f.acks)
			}
			if len(r.Detail.Verification.Offences) == 0 && f.want != [4]int64{} {
				t.Fatal("no offence names the place")
			}
		})
	}
}

// TestRetriesAtAcks1AreCounted: a request that is stored and answered REQUEST_TIMED_OUT is retried; without idempotence that is a
// duplicate, which is counted and no violation. With idempotence the same fault duplicates nothing.
func TestRetriesAtAcks1AreCounted(t *testing.T) {
	t.Parallel()
	for _, acks := range []Acks{AcksAll, AcksLeader} {
		c := fake(t)
		c.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Err: kerr.RequestTimedOut, Count: 2})
		cfg := small(c)
		cfg.Acks, cfg.Duration, cfg.Records = acks, 0, 5_000
		r := mustRun(t, cfg)
		if dup := *r.Duplicated > 0; dup != (acks == AcksLeader) || r.Violation() != "" || *r.Lost != 0 {
			t.Errorf("acks %v: %d duplicated, %d lost, violation %q", acks, *r.Duplicated, *r.Lost, r.Violation())
		}
	}
}

// TestUnknownFate: a broker that answers one or two requests and then no more leaves records whose fate nobody knows; absent as they
// are, they are no violation, and the run ends when the drain does. The first request without an answer ends the sending, however
// slow the machine is.
func TestUnknownFate(t *testing.T) {
	t.Parallel()
	for _, answered := range []int{1, 2} {
		ctx, silent := context.WithTimeout(t.Context(), time.Minute)
		c := fake(t)
		n := 0
		c.ControlKey(int16(kmsg.Produce), func(kmsg.Request) (kmsg.Response, error, bool) {
			c.KeepControl()
			if n++; n <= answered {
				return nil, nil, false
			}
			silent()
			return nil, nil, true // no answer, ever
		})
		cfg := small(c)
		cfg.Producers, cfg.Duration, cfg.DrainTimeout = 1, time.Minute, 300*time.Millisecond
		r, err := Run(ctx, cfg)
		if !errors.Is(err, ErrInterrupted) {
			t.Fatalf("%d answered: %v", answered, err)
		}
		if r.Unknown == 0 || r.Acked == 0 || r.Sent != r.Acked+r.Failed+r.Unknown {
			t.Fatalf("%d answered: sent %d, acked %d, failed %d, unknown %d", answered, r.Sent, r.Acked, r.Failed, r.Unknown)
		}
		if r.Violation() != "" || *r.Lost != 0 {
			t.Fatalf("%d answered: violation %q", answered, r.Violation())
		}
	}
}
