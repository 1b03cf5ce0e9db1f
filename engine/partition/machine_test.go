package partition

import (
	"bytes"
	"errors"
	"sync/atomic"
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
		var full atomic.Uint64
		l := newFakeLog(t, Config{ParkedMax: 2, ParkedFull: &full})
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
		if n := full.Load(); n != 1 {
			t.Errorf("%s: %d refusals counted, want 1", name, n)
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

// TestEpochsApart repeats a range of sequences of an older epoch in a newer one:
// it is no duplicate, stamped or applied.
func TestEpochsApart(t *testing.T) {
	for _, commit := range []int{0, 1, 2} {
		l := newFakeLog(t, Config{})
		l.lead()
		for _, s := range []shape{idem(7, 0, 5, 2), idem(7, 1, 0, 1)} {
			if err := l.stamp(newAppend(t, s.encode())); err != nil {
				t.Fatal(err)
			}
		}
		l.commit(commit)
		if err := l.stamp(newAppend(t, idem(7, 1, 5, 2).encode())); !errors.Is(err, ErrOutOfOrderSequence) {
			t.Errorf("%d applied: %v", commit, err)
		}
	}
}

func TestDuplicateAppendTime(t *testing.T) {
	l := newFakeLog(t, Config{})
	l.lead()
	send := func(nowMS int64) *Append {
		a := newAppend(t, idem(7, 0, 0, 3).encode())
		a.AppendTimeMS, a.Batch = nowMS, SetAppendTime(a.Data, nowMS)
		if err := l.stamp(a); err != nil && err != replica.ErrParked {
			t.Fatal(err)
		}
		l.commit(len(l.stamped))
		return a
	}
	send(5000)
	if a := send(6000); a.AppendTimeMS != 5000 {
		t.Fatalf("the duplicate's append time is %d, the original's 5000", a.AppendTimeMS)
	}
}

func TestStampRefuses(t *testing.T) {
	l := newFakeLog(t, Config{})
	a := newAppend(t, plain(1).encode())
	if err := l.p.Stamp(0, 0, &a.Proposal); !errors.Is(err, replica.ErrNotLeader) {
		t.Errorf("before Lead: %v", err)
	}
	l.lead()
	if err := l.p.Stamp(l.term+1, 0, &a.Proposal); !errors.Is(err, replica.ErrNotLeader) {
		t.Errorf("other term: %v", err)
	}
	for name, tc := range map[string]struct {
		pr  *replica.Proposal
		err error
	}{
		"empty":             {&replica.Proposal{}, ErrInvalidBatch},
		"not an append":     {&replica.Proposal{Data: plain(1).encode()}, ErrInvalidBatch},
		"short":             {&replica.Proposal{Data: plain(1).encode()[:60], Waiter: a}, ErrInvalidBatch},
		"unknown command":   {&replica.Proposal{Data: []byte{0x85, 1, 0, 0, 0, 0, 0, 0, 0, 0}}, ErrInvalidBatch},
		"unknown version":   {&replica.Proposal{Data: []byte{0x81, 2, 0, 0, 0, 0, 0, 0, 0, 0}}, ErrInvalidBatch},
		"start beyond end":  {&replica.Proposal{Data: LogStartCommand(1)}, ErrOffsetOutOfRange},
		"negative start":    {&replica.Proposal{Data: LogStartCommand(-1)}, ErrInvalidBatch},
		"command cut short": {&replica.Proposal{Data: LogStartCommand(0)[:9]}, ErrInvalidBatch},
	} {
		if err := l.p.Stamp(l.term, 0, tc.pr); !errors.Is(err, tc.err) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if o := l.p.Offsets(); o.LogEnd != 0 {
		t.Errorf("refused proposals took offsets: %+v", o)
	}
}

// TestNoReply stamps, repeats and drops a batch nobody waits for.
func TestNoReply(t *testing.T) {
	l := newFakeLog(t, Config{})
	l.lead()
	quiet := func() *Append {
		a := newAppend(t, idem(7, 0, 0, 1).encode())
		a.Wait, a.Reply = replica.WaitNone, nil
		return a
	}
	if err := l.stamp(quiet()); err != nil {
		t.Fatal(err)
	}
	if err := l.stamp(quiet()); err != replica.ErrParked {
		t.Fatal(err)
	}
	l.commit(1)
	if err := l.stamp(quiet()); err != replica.ErrParked {
		t.Fatal(err)
	}
	if o := l.p.Offsets(); o.HighWatermark != 1 {
		t.Fatalf("%+v", o)
	}
}

func TestApplyRefuses(t *testing.T) {
	at := func(base ids.Offset, s shape) []byte {
		b := s.encode()
		stamp(b, base, 1)
		return b
	}
	for name, e := range map[string]replica.Entry{
		"index gap":       {Index: 3, Term: 1},
		"index again":     {Index: 1, Term: 1},
		"offset gap":      {Index: 2, Term: 1, Data: at(2, plain(1))},
		"offset again":    {Index: 2, Term: 1, Data: at(0, plain(1))},
		"cut short":       {Index: 2, Term: 1, Data: at(1, plain(1))[:60]},
		"unknown command": {Index: 2, Term: 1, Data: []byte{0xff, 1}},
	} {
		p, err := New(Config{})
		if err != nil {
			t.Fatal(err)
		}
		if err := p.Apply([]replica.Entry{{Index: 1, Term: 1, Data: at(0, plain(1))}}); err != nil {
			t.Fatal(err)
		}
		if err := p.Apply([]replica.Entry{e}); !errors.Is(err, ErrDamaged) {
			t.Errorf("%s: %v", name, err)
		}
		if o := p.Offsets(); o.HighWatermark != 1 || p.Applied() != 1 {
			t.Errorf("%s: moved on to %+v, %d", name, o, p.Applied())
		}
	}
	l := newFakeLog(t, Config{})
	l.lead()
	if err := l.p.Apply([]replica.Entry{{Index: 2, Term: 1, Data: at(0, plain(1))}}); !errors.Is(err, ErrDamaged) {
		t.Errorf("entry of the own term that was never stamped: %v", err)
	}
}

func TestWatch(t *testing.T) {
	l := newFakeLog(t, Config{})
	l.lead()
	a, b := make(chan struct{}, 1), make(chan struct{}, 1)
	l.p.Watch(a)
	l.p.Watch(b)
	woken := func() (n int) {
		for _, ch := range []chan struct{}{a, b} {
			select {
			case <-ch:
				n++
			default:
			}
		}
		return n
	}
	for _, step := range []struct {
		name string
		do   func()
		want int
	}{
		{"nothing", func() {}, 0},
		{"stamped", func() { _ = l.stamp(newAppend(t, plain(1).encode())) }, 0},
		{"applied", func() { l.commit(1) }, 2},
		{"applied twice unseen", func() { l.put(plain(1)); l.put(plain(1)) }, 2},
		{"no records", func() { l.apply(replica.Entry{Term: l.term}) }, 0},
		{"unwatched", func() { l.p.Unwatch(a); l.p.Unwatch(a); l.put(plain(1)) }, 1},
		{"follow", func() { l.p.Follow() }, 1},
		{"none left", func() { l.p.Unwatch(b); l.lead(); l.put(plain(1)) }, 0},
	} {
		step.do()
		if n := woken(); n != step.want {
			t.Errorf("%s: %d woken, want %d", step.name, n, step.want)
		}
	}
}

// TestHotPathAllocates asserts that stamping and applying allocate nothing but
// the index as it grows.
func TestHotPathAllocates(t *testing.T) {
	l := newFakeLog(t, Config{})
	l.lead()
	b := newCycle(t, l)
	for range 2000 {
		b.turn()
	}
	if n := testing.AllocsPerRun(5*chunkBatches, b.turn); n > 0.1 {
		t.Fatalf("%v allocations a batch", n)
	}
}

// cycle stamps and applies the same batch of an idempotent producer again and
// again, with the next sequence.
type cycle struct {
	t testing.TB
	p *Partition
	a *Append
	e []replica.Entry
}

func newCycle(t testing.TB, l *fakeLog) *cycle {
	return &cycle{t: t, p: l.p, a: newAppend(t, idem(1, 0, 0, 16).encode()), e: []replica.Entry{{Index: l.p.Applied(), Term: 1}}}
}

func (c *cycle) turn() {
	if err := c.p.Stamp(1, 0, &c.a.Proposal); err != nil {
		c.t.Fatal(err)
	}
	c.e[0].Index++
	c.e[0].Data = c.a.Data
	if err := c.p.Apply(c.e); err != nil {
		c.t.Fatal(err)
	}
	c.a.Proposed(&c.a.Proposal, nil)
	seq := lastSequence(readInfo(c.a.Data).BaseSequence, 16)
	c.a.Data[posSequence], c.a.Data[posSequence+1] = byte(seq>>24), byte(seq>>16)
	c.a.Data[posSequence+2], c.a.Data[posSequence+3] = byte(seq>>8), byte(seq)
}

func BenchmarkStampApply(b *testing.B) {
	l := newFakeLog(b, Config{})
	l.lead()
	c := newCycle(b, l)
	b.ReportAllocs()
	for b.Loop() {
		c.turn()
	}
}

func BenchmarkReadHot(b *testing.B) {
	l := newFakeLog(b, Config{})
	l.lead()
	for range 4096 {
		s := plain(16)
		l.put(s)
	}
	res, err := l.p.Read(ReadArgs{MaxBytes: 64 << 10})
	if err != nil {
		b.Fatal(err)
	}
	b.SetBytes(int64(res.Bytes))
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		if _, err := l.p.Read(ReadArgs{Offset: ids.Offset(i * 997 % 60000), MaxBytes: 64 << 10, One: true}); err != nil {
			b.Fatal(err)
		}
	}
}
