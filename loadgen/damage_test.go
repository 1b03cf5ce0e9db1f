package loadgen

import (
	"encoding/binary"
	"hash/crc32"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// TestDamagedMagic: a record that lost its magic is damaged where nobody else wrote, and somebody else's where others may have.
func TestDamagedMagic(t *testing.T) {
	t.Parallel()
	for _, made := range []bool{true, false} {
		c := fake(t)
		cfg := small(c)
		cfg.Duration, cfg.Records = 0, 20_000
		if made {
			cfg.Topic, cfg.Create, cfg.Partitions = "made", true, 4
		}
		done := tamperOnce(t, c, func(r []kmsg.Record) []kmsg.Record { r[1].Value[0] ^= 1; return r })
		r := mustRun(t, cfg)
		v := r.Detail.Verification
		if !done.Load() || v.Lost != 1 || (v.Corrupted == 1) != made || (v.Foreign == 1) == made || r.Violation() == "" {
			t.Errorf("made %v, injected %v: %+v", made, done.Load(), v)
		}
	}
}

// TestUndecodableBatch: a batch that claims a codec its bytes are not of ends its partition; the run has a result and a violation.
func TestUndecodableBatch(t *testing.T) {
	t.Parallel()
	c := fake(t)
	requests := 0
	c.ControlKey(int16(kmsg.Produce), func(req kmsg.Request) (kmsg.Response, error, bool) {
		c.KeepControl()
		if requests++; requests == 5 {
			raw := req.(*kmsg.ProduceRequest).Topics[0].Partitions[0].Records
			raw[22] |= 4 // zstd
			binary.BigEndian.PutUint32(raw[17:], crc32.Checksum(raw[21:], castagnoli))
		}
		return nil, nil, false
	})
	cfg := small(c)
	cfg.Duration, cfg.Records = 0, 20_000
	r := mustRun(t, cfg)
	v := r.Detail.Verification
	if v.Undecodable != 1 || v.Corrupted != 1 || v.Lost == 0 || v.Read+v.Lost != r.Acked || r.Violation() == "" {
		t.Fatalf("%d acked: %+v", r.Acked, v)
	}
}

// TestAnswersAreHeldToTheirWord: a refused record that is present and an acknowledged one at another offset are offences; an error
// that leaves the fate open is neither.
func TestAnswersAreHeldToTheirWord(t *testing.T) {
	if f := fateOfError(kerr.KafkaStorageError); f != fateUnknown {
		t.Errorf("a storage error may come after the append; fate %d", f)
	}
	l := newLedger(1)
	a := &auditor{run: 1, ledgers: []*ledger{l}}
	for seq, f := range []fate{fateAcked, fateFailed, fateUnknown} {
		l.next(0)
		l.settle(0, uint64(seq), f)
	}
	l.place(0, 0, 10)
	for seq := range uint64(3) {
		value := make([]byte, headerBytes)
		h := header{run: 1, seq: seq}
		h.stamp(value, nil, bodyCRC(value))
		a.record(&kgo.Record{Value: value, Offset: 11 + int64(seq)})
	}
	v := a.finish()
	if v.Misplaced != 1 || v.Refused != 1 || v.Unacked != 1 || (&Result{Detail: Detail{Verification: v}}).Violation() == "" {
		t.Fatalf("%+v", v)
	}
}
