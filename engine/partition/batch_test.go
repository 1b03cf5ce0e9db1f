package partition

import (
	"encoding/binary"
	"errors"
	"math"
	"testing"

	"dyno/engine/ids"
)

func TestParseBatch(t *testing.T) {
	in, err := ParseBatch(idem(9, 3, 77, 4).encode())
	if err != nil {
		t.Fatal(err)
	}
	want := BatchInfo{Bytes: in.Bytes, LastOffsetDelta: 3, BaseTimestampMS: 1000, MaxTimestampMS: 1003,
		ProducerID: 9, ProducerEpoch: 3, BaseSequence: 77, Records: 4}
	if in != want || in.Bytes <= headerBytes {
		t.Fatalf("%+v, want %+v", in, want)
	}
	if in, err = ParseBatch(plain(1).encode()); err != nil || in.ProducerID != ids.NoProducer || in.Records != 1 {
		t.Fatalf("%+v, %v", in, err)
	}
}

func TestParseBatchRefuses(t *testing.T) {
	put16 := func(at int, v uint16) func([]byte) []byte {
		return func(b []byte) []byte { binary.BigEndian.PutUint16(b[at:], v); reCRC(b); return b }
	}
	put32 := func(at int, v uint32) func([]byte) []byte {
		return func(b []byte) []byte { binary.BigEndian.PutUint32(b[at:], v); reCRC(b); return b }
	}
	for _, tc := range []struct {
		name  string
		spoil func([]byte) []byte
		err   error
	}{
		{"nothing", func([]byte) []byte { return nil }, ErrInvalidBatch},
		{"one byte", func(b []byte) []byte { return b[:1] }, ErrCorruptBatch},
		{"header cut", func(b []byte) []byte { return b[:60] }, ErrCorruptBatch},
		{"last byte cut", func(b []byte) []byte { return b[:len(b)-1] }, ErrCorruptBatch},
		{"magic 0", func(b []byte) []byte { b[posMagic] = 0; return b }, ErrOldMagic},
		{"magic 1", func(b []byte) []byte { b[posMagic] = 1; return b }, ErrOldMagic},
		{"magic 1, short", func(b []byte) []byte { b[posMagic] = 1; return b[:20] }, ErrOldMagic},
		{"magic 3", func(b []byte) []byte { b[posMagic] = 3; return b }, ErrCorruptBatch},
		{"negative length", func(b []byte) []byte { binary.BigEndian.PutUint32(b[posLength:], math.MaxUint32); return b }, ErrCorruptBatch},
		{"small length", func(b []byte) []byte { binary.BigEndian.PutUint32(b[posLength:], 48); return b }, ErrCorruptBatch},
		{"bit of the body", func(b []byte) []byte { b[len(b)-1] ^= 1; return b }, ErrCorruptBatch},
		{"bit of the checksum", func(b []byte) []byte { b[posCRC] ^= 1; return b }, ErrCorruptBatch},
		{"two batches", func(b []byte) []byte { return append(b, b...) }, ErrInvalidBatch},
		{"byte behind", func(b []byte) []byte { return append(b, 0) }, ErrInvalidBatch},
		{"base offset", func(b []byte) []byte { b[7] = 1; return b }, ErrInvalidBatch},
		{"control", put16(posAttrs, attrControl), ErrInvalidBatch},
		{"transactional", put16(posAttrs, attrTransactional), ErrInvalidBatch},
		{"append time", put16(posAttrs, attrAppendTime), ErrInvalidBatch},
		{"codec 5", put16(posAttrs, 5), ErrInvalidBatch},
		{"no records", func(b []byte) []byte { return put32(posRecords, 0)(put32(posLastDelta, math.MaxUint32)(b)) }, ErrInvalidBatch},
		{"counts disagree", put32(posRecords, 4), ErrInvalidBatch},
		{"more records than there are", func(b []byte) []byte { return put32(posRecords, 4)(put32(posLastDelta, 3)(b)) }, ErrInvalidBatch},
		{"fewer records than there are", func(b []byte) []byte { return put32(posRecords, 2)(put32(posLastDelta, 1)(b)) }, ErrInvalidBatch},
		{"count of 2^31-1", func(b []byte) []byte {
			return put32(posRecords, math.MaxInt32)(put32(posLastDelta, math.MaxInt32-1)(b))
		}, ErrInvalidBatch},
		{"count overflows", func(b []byte) []byte { return put32(posRecords, 1<<31)(put32(posLastDelta, math.MaxInt32)(b)) }, ErrInvalidBatch},
		{"producer -2", func(b []byte) []byte {
			return put32(posProducer, math.MaxUint32)(put32(posProducer+4, math.MaxUint32-1)(b))
		}, ErrInvalidBatch},
		{"producer without epoch", put16(posProdEpoch, math.MaxUint16), ErrInvalidBatch},
		{"producer without sequence", put32(posSequence, math.MaxUint32), ErrInvalidBatch},
		{"record too long", func(b []byte) []byte { b[headerBytes] = 0x7e; reCRC(b); return b }, ErrInvalidBatch},
	} {
		b := idem(9, 3, 77, 3).encode()
		if _, err := ParseBatch(tc.spoil(b)); !errors.Is(err, tc.err) {
			t.Errorf("%s: %v, want %v", tc.name, err, tc.err)
		}
	}
}

func TestSetAppendTime(t *testing.T) {
	b := idem(9, 3, 77, 3).encode()
	in := SetAppendTime(b, 5555)
	if in.MaxTimestampMS != 5555 || in.Attributes&attrAppendTime == 0 {
		t.Fatalf("%+v", in)
	}
	if err := checkFrame(b); err != nil {
		t.Fatal(err)
	}
	var times []int64
	if err := scanTimes(b, func(_ ids.Offset, ms int64) bool { times = append(times, ms); return true }); err != nil {
		t.Fatal(err)
	}
	if len(times) != 3 || times[0] != 5555 || times[2] != 5555 {
		t.Fatalf("times %v", times)
	}
}

func TestLastSequence(t *testing.T) {
	for _, tc := range []struct{ first, delta, want int32 }{
		{0, 0, 0}, {5, 4, 9}, {math.MaxInt32, 0, math.MaxInt32}, {math.MaxInt32, 1, 0},
		{math.MaxInt32 - 1, 3, 1}, {1, math.MaxInt32 - 1, math.MaxInt32}, {2, math.MaxInt32 - 1, 0},
	} {
		if got := lastSequence(tc.first, tc.delta); got != tc.want {
			t.Errorf("%d + %d: %d, want %d", tc.first, tc.delta, got, tc.want)
		}
	}
}

func FuzzParseBatch(f *testing.F) {
	f.Add([]byte(nil))
	f.Add(plain(1).encode())
	f.Add(idem(1, 2, 3, 20).encode())
	for c := CodecGzip; c <= CodecZstd; c++ {
		b, _, err := Recompress(plain(30).encode(), c)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) >= headerBytes { // most inputs have a bad checksum: look behind it too
			fixed := append([]byte(nil), b...)
			binary.BigEndian.PutUint64(fixed, 0)
			binary.BigEndian.PutUint32(fixed[posLength:], uint32(len(fixed)-lengthOverhead))
			fixed[posMagic] = 2
			reCRC(fixed)
			parseAndUse(t, fixed)
		}
		parseAndUse(t, b)
	})
}

// parseAndUse runs what takes a batch that passed.
func parseAndUse(t *testing.T, b []byte) {
	in, err := ParseBatch(b)
	if err != nil {
		if !errors.Is(err, ErrInvalidBatch) && !errors.Is(err, ErrCorruptBatch) && !errors.Is(err, ErrOldMagic) {
			t.Fatalf("unnamed error %v", err)
		}
		return
	}
	if in.Bytes != len(b) || in.Records < 1 || in.Records != in.LastOffsetDelta+1 || baseOffset(b) != 0 {
		t.Fatalf("passed with %+v", in)
	}
	n := int32(0)
	if err := scanTimes(b, func(ids.Offset, int64) bool { n++; return true }); err == nil && n != in.Records {
		t.Fatalf("%d records scanned of %d", n, in.Records)
	}
	if in.Records < 1000 {
		if out, _, err := Recompress(b, CodecNone); err == nil {
			if _, err := ParseBatch(out); err != nil {
				t.Fatalf("recompressed batch: %v", err)
			}
		}
	}
}

func FuzzCommand(f *testing.F) {
	f.Add(LogStartCommand(7))
	f.Add(ClockCommand(1 << 40))
	f.Add([]byte{0x81})
	f.Fuzz(func(t *testing.T, b []byte) {
		c, err := parseCommand(b)
		if err != nil {
			return
		}
		if c.value < 0 || string(encodeCommand(c.kind, uint64(c.value))) != string(b) {
			t.Fatalf("%x decodes to %+v", b, c)
		}
	})
}

func BenchmarkParseBatch16KiB(b *testing.B) {
	s := plain(16)
	for i := range s.recs {
		s.recs[i].value = string(make([]byte, 1010))
	}
	data := s.encode()
	b.SetBytes(int64(len(data)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := ParseBatch(data); err != nil {
			b.Fatal(err)
		}
	}
}
