package partition

import (
	"bytes"
	"errors"
	"testing"

	"dyno/engine/ids"
	"dyno/engine/replica"
)

func TestStampApplyRead(t *testing.T) {
	l := newFakeLog(t, Config{})
	l.lead()
	var want [][]byte
	for n := range 5 {
		a := l.put(plain(n + 1))
		want = append(want, a.Data)
		if got := baseOffset(a.Data); got != a.Base {
			t.Fatalf("batch %d: base %d in the bytes, %d in the answer", n, got, a.Base)
		}
		if got := leaderEpoch(a.Data); got != 1 {
			t.Fatalf("batch %d: leader epoch %d", n, got)
		}
	}
	if o := l.p.Offsets(); o != (Offsets{LogStart: 0, LastStable: 15, HighWatermark: 15, LogEnd: 15}) {
		t.Fatalf("offsets %+v", o)
	}
	for at := ids.Offset(0); at < 15; at++ {
		res, err := l.p.Read(ReadArgs{Offset: at, MaxBytes: 1 << 20})
		if err != nil {
			t.Fatal(err)
		}
		first := 0
		for end := ids.Offset(1); end <= at; end += ids.Offset(first + 1) {
			first++
		}
		if len(res.Batches) != 5-first {
			t.Fatalf("from %d: %d batches, want %d", at, len(res.Batches), 5-first)
		}
		for i, b := range res.Batches {
			if !bytes.Equal(b, want[first+i]) {
				t.Fatalf("from %d: batch %d differs", at, i)
			}
		}
	}
}

func TestReadLimits(t *testing.T) {
	l := newFakeLog(t, Config{})
	l.lead()
	size := len(l.put(plain(2)).Data)
	l.put(plain(2))
	if err := l.command(LogStartCommand(1)); err != nil {
		t.Fatal(err)
	}
	l.put(plain(2))
	for _, tc := range []struct {
		offset   ids.Offset
		maxBytes int
		one      bool
		batches  int
		err      error
	}{
		{0, 1 << 20, true, 0, ErrOffsetOutOfRange},
		{1, 1 << 20, false, 3, nil},
		{1, size, false, 1, nil},
		{1, size - 1, false, 0, nil},
		{1, size - 1, true, 1, nil},
		{1, 0, true, 1, nil},
		{1, -5, false, 0, nil},
		{2, 2*size + 1, false, 2, nil},
		{6, 1 << 20, true, 0, nil},
		{7, 1 << 20, true, 0, ErrOffsetOutOfRange},
	} {
		res, err := l.p.Read(ReadArgs{Offset: tc.offset, MaxBytes: tc.maxBytes, One: tc.one})
		if !errors.Is(err, tc.err) || len(res.Batches) != tc.batches {
			t.Errorf("%+v: %d batches, %v", tc, len(res.Batches), err)
		}
	}
}

func TestDuplicates(t *testing.T) {
	l := newFakeLog(t, Config{})
	l.lead()
	first := l.put(idem(7, 0, 0, 3))
	l.put(idem(7, 0, 3, 2))

	dup := newAppend(t, idem(7, 0, 0, 3).encode())
	if err := l.stamp(dup); err != replica.ErrParked {
		t.Fatalf("duplicate of an applied batch: %v", err)
	}
	if dup.Reply.(*outcome).told != 1 || dup.Base != first.Base || dup.Err != nil {
		t.Fatalf("duplicate answered %+v", dup)
	}

	spec := newAppend(t, idem(7, 0, 5, 1).encode())
	if err := l.stamp(spec); err != nil {
		t.Fatal(err)
	}
	twice := newAppend(t, idem(7, 0, 5, 1).encode())
	if err := l.stamp(twice); err != replica.ErrParked || twice.Reply.(*outcome).told != 0 {
		t.Fatalf("duplicate of a stamped batch: %v, told %d", err, twice.Reply.(*outcome).told)
	}
	l.commit(1)
	if twice.Reply.(*outcome).told != 1 || twice.Base != spec.Base || twice.Err != nil {
		t.Fatalf("parked duplicate answered %+v", twice)
	}
}

func TestSequenceErrors(t *testing.T) {
	l := newFakeLog(t, Config{})
	l.lead()
	l.put(idem(7, 3, 100, 5)) // unknown: any sequence, as Kafka 4.0 does
	for _, tc := range []struct {
		name string
		s    shape
		err  error
	}{
		{"gap", idem(7, 3, 106, 1), ErrOutOfOrderSequence},
		{"older than remembered", idem(7, 3, 90, 1), ErrOutOfOrderSequence},
		{"part of a remembered batch", idem(7, 3, 100, 4), ErrOutOfOrderSequence},
		{"older epoch", idem(7, 2, 105, 1), ErrProducerFenced},
		{"new epoch not at 0", idem(7, 4, 105, 1), ErrOutOfOrderSequence},
		{"in sequence", idem(7, 3, 105, 1), nil},
		{"new epoch at 0", idem(7, 4, 0, 1), nil},
		{"old epoch after a stamped new one", idem(7, 3, 106, 1), ErrProducerFenced},
		{"in the new epoch", idem(7, 4, 1, 1), nil},
	} {
		if err := l.stamp(newAppend(t, tc.s.encode())); !errors.Is(err, tc.err) {
			t.Errorf("%s: %v, want %v", tc.name, err, tc.err)
		}
	}
	l.p.Follow()
	l.stamped = nil
	l.lead()
	l.put(idem(7, 3, 105, 1)) // rolled back: epoch 3 again
}

func TestSequenceWraps(t *testing.T) {
	l := newFakeLog(t, Config{})
	l.lead()
	const top = 1<<31 - 1
	l.put(idem(1, 0, top-1, 4)) // top-1, top, 0, 1
	l.put(idem(1, 0, 2, 1))
	l.put(idem(2, 0, top, 1))
	l.put(idem(2, 0, 0, 1))
	dup := newAppend(t, idem(1, 0, top-1, 4).encode())
	if err := l.stamp(dup); err != replica.ErrParked || dup.Base != 0 {
		t.Fatalf("%v, base %d", err, dup.Base)
	}
}

func TestParkedFail(t *testing.T) {
	for name, tc := range map[string]struct {
		end func(*fakeLog)
		err error
	}{
		"unstamp": {func(l *fakeLog) { l.p.Unstamp(1) }, replica.ErrDropped},
		"follow":  {func(l *fakeLog) { l.p.Follow() }, replica.ErrNotLeader},
	} {
		l := newFakeLog(t, Config{ParkedMax: 2})
		l.lead()
		if err := l.stamp(newAppend(t, idem(7, 0, 0, 1).encode())); err != nil {
			t.Fatal(err)
		}
		var parked []*Append
		for range 2 {
			a := newAppend(t, idem(7, 0, 0, 1).encode())
			if err := l.stamp(a); err != replica.ErrParked {
				t.Fatal(err)
			}
			parked = append(parked, a)
		}
		if err := l.stamp(newAppend(t, idem(7, 0, 0, 1).encode())); !errors.Is(err, replica.ErrOverloaded) {
			t.Fatalf("beyond ParkedMax: %v", err)
		}
		tc.end(l)
		for _, a := range parked {
			if a.Reply.(*outcome).told != 1 || !errors.Is(a.Err, tc.err) {
				t.Errorf("%s: told %d, %v", name, a.Reply.(*outcome).told, a.Err)
			}
		}
		if o := l.p.Offsets(); o.LogEnd != 0 {
			t.Errorf("%s: log end %d", name, o.LogEnd)
		}
	}
}
