package partition

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"

	"dyno/engine/ids"
	"dyno/engine/replica"
)

// rec is one record of a test batch.
type rec struct {
	ms    int64
	value string
}

// shape describes a test batch; the zero value of producer means none.
type shape struct {
	producer ids.ProducerID // NoProducer unless idem
	epoch    int16
	seq      int32
	codec    int16
	recs     []rec
}

// plain is a batch of n records without a producer.
func plain(n int) shape {
	s := shape{producer: ids.NoProducer, epoch: -1, seq: -1}
	for i := range n {
		s.recs = append(s.recs, rec{ms: 1000 + int64(i), value: fmt.Sprintf("value %d", i)})
	}
	return s
}

// idem is a batch of n records of an idempotent producer.
func idem(id ids.ProducerID, epoch int16, seq int32, n int) shape {
	s := plain(n)
	s.producer, s.epoch, s.seq = id, epoch, seq
	return s
}

// rawRecords encodes records with kmsg.
func rawRecords(recs []rec) []byte {
	var b []byte
	for i, r := range recs {
		kr := kmsg.Record{TimestampDelta64: r.ms - recs[0].ms, OffsetDelta: int32(i), Value: []byte(r.value)}
		body := kr.AppendTo(nil)[1:] // without the length, which is 0 and one byte
		kr.Length = int32(len(body))
		b = kr.AppendTo(b)
	}
	return b
}

// encode makes the batch with kmsg's encoder.
func (s shape) encode() []byte {
	maxMS := s.recs[0].ms
	for _, r := range s.recs {
		maxMS = max(maxMS, r.ms)
	}
	body := rawRecords(s.recs)
	kb := kmsg.RecordBatch{
		Length: int32(headerBytes - lengthOverhead + len(body)), PartitionLeaderEpoch: -1, Magic: 2,
		Attributes: s.codec, LastOffsetDelta: int32(len(s.recs) - 1), FirstTimestamp: s.recs[0].ms, MaxTimestamp: maxMS,
		ProducerID: int64(s.producer), ProducerEpoch: s.epoch, FirstSequence: s.seq,
		NumRecords: int32(len(s.recs)), Records: body,
	}
	b := kb.AppendTo(nil)
	reCRC(b)
	return b
}

// reCRC sets the checksum a changed batch needs.
func reCRC(b []byte) {
	binary.BigEndian.PutUint32(b[posCRC:], crc32.Checksum(b[posAttrs:], crc32.MakeTable(crc32.Castagnoli)))
}

// outcome keeps what an Append was told.
type outcome struct{ told int }

func (o *outcome) Appended(*Append) { o.told++ }

// newAppend wraps a batch as the front does.
func newAppend(t interface{ Fatalf(string, ...any) }, data []byte) *Append {
	in, err := ParseBatch(data)
	if err != nil {
		t.Fatalf("ParseBatch: %v", err)
	}
	a := &Append{Batch: in, Reply: &outcome{}, AppendTimeMS: -1}
	a.Data, a.Wait = data, replica.WaitCommit
	a.Bind()
	return a
}

// fakeLog is a log of one voter: everything stamped can be committed at once.
type fakeLog struct {
	t       testing.TB
	p       *Partition
	term    ids.Term
	entries []replica.Entry // entries[i] has index i+1
	stamped []*replica.Proposal
}

func newFakeLog(t testing.TB, c Config) *fakeLog {
	p, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	l := &fakeLog{t: t, p: p}
	p.Attach(l)
	return l
}

func (l *fakeLog) Read(lo, hi ids.LogIndex, maxBytes int64) ([]replica.Entry, error) {
	var out []replica.Entry
	for i := lo; i < hi; i++ {
		e := l.entries[i-1]
		if maxBytes -= int64(len(e.Data)); maxBytes < 0 && len(out) > 0 {
			break
		}
		out = append(out, e)
	}
	return out, nil
}

// lead makes the replica lead a new term: its empty first entry is applied.
func (l *fakeLog) lead() {
	l.term++
	l.apply(replica.Entry{Term: l.term})
	l.p.Lead(l.term)
}

func (l *fakeLog) apply(e replica.Entry) {
	e.Index = ids.LogIndex(len(l.entries) + 1)
	l.entries = append(l.entries, e)
	if err := l.p.Apply(l.entries[len(l.entries)-1:]); err != nil {
		l.t.Fatalf("Apply %d: %v", e.Index, err)
	}
}

// stamp hands a batch in; it is kept until commit.
func (l *fakeLog) stamp(a *Append) error {
	err := answered(a, l.p.Stamp(l.term, 0, &a.Proposal))
	if err == nil {
		l.stamped = append(l.stamped, &a.Proposal)
	}
	return err
}

// commit applies the n oldest stamped proposals and answers them.
func (l *fakeLog) commit(n int) {
	for _, pr := range l.stamped[:n] {
		l.apply(replica.Entry{Term: l.term, Data: pr.Data})
		if pr.Waiter != nil {
			pr.Waiter.Proposed(pr, nil)
		}
	}
	l.stamped = l.stamped[n:]
}

// command stamps and applies a command.
func (l *fakeLog) command(data []byte) error {
	pr := &replica.Proposal{Data: data}
	if err := l.p.Stamp(l.term, 0, pr); err != nil {
		return err
	}
	l.stamped = append(l.stamped, pr)
	l.commit(len(l.stamped))
	return nil
}

// put stamps and commits a batch.
func (l *fakeLog) put(s shape) *Append {
	a := newAppend(l.t, s.encode())
	if err := l.stamp(a); err != nil {
		l.t.Fatalf("Stamp: %v", err)
	}
	l.commit(len(l.stamped))
	return a
}

// answered does what the replica does with a duplicate of what is applied: its
// waiter is told, and the state machine has nothing more to do with it.
func answered(a *Append, err error) error {
	if err == replica.ErrAgain {
		a.Proposed(&a.Proposal, nil)
		return replica.ErrParked
	}
	return err
}
