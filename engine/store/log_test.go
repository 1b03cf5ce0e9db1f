package store

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"dyno/engine/ids"
	"dyno/wal/vfs"
)

func TestAppendRefuses(t *testing.T) {
	good := func(m *model) Entry { return m.next(1, false, 2, 5, 100) }
	for name, tc := range map[string]struct {
		spoil func(*Entry)
		err   error
	}{
		"index gap":     {func(e *Entry) { e.Index++ }, ErrGap},
		"index again":   {func(e *Entry) { e.Index-- }, ErrGap},
		"term back":     {func(e *Entry) { e.Term-- }, ErrGap},
		"offset gap":    {func(e *Entry) { e.Data[7]++ }, ErrBadBatch},
		"wrong epoch":   {func(e *Entry) { e.Data[15]++ }, ErrBadBatch},
		"bad checksum":  {func(e *Entry) { e.Data[70] ^= 1 }, ErrBadBatch},
		"bad length":    {func(e *Entry) { e.Data[11]++ }, ErrBadBatch},
		"bad magic":     {func(e *Entry) { e.Data[16] = 1 }, ErrBadBatch},
		"short batch":   {func(e *Entry) { e.Data = e.Data[:60] }, ErrBadBatch},
		"epoch of next": {func(e *Entry) { e.Term++ }, ErrBadBatch},
	} {
		disk, m := vfs.NewMem(1), &model{}
		l := mustOpen(t, disk, 0)
		e := good(m)
		if err := firstError(l.Append([]Entry{e}), l.Checkpoint(nil)); err != nil {
			t.Fatal(err)
		}
		m.staged = 0
		ok, bad := good(m), good(m)
		tc.spoil(&bad)
		if err := l.Append([]Entry{ok, bad}); !errors.Is(err, tc.err) {
			t.Errorf("%s: %v", name, err)
		}
		// Nothing of the round is left, and the log goes on.
		if err := m.cutBack(1).check(l); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if err := firstError(l.Append([]Entry{ok}), l.Checkpoint(nil)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if err := m.cutBack(2).check(l); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// cutBack is the model with its first n entries, all checkpointed.
func (m *model) cutBack(n int) *model {
	c := m.clone()
	c.entries, c.staged = c.entries[:n], 0
	return c
}

// TestDiskFull runs out of space in the middle: the round is taken back, and
// with room again the same entries go in.
func TestDiskFull(t *testing.T) {
	disk, m := vfs.NewMem(1), &model{}
	l := mustOpen(t, disk, 2000)
	var first, second []Entry
	for range 10 {
		first = append(first, m.next(1, false, 1, 5, 300))
	}
	if err := firstError(l.Append(first), l.Checkpoint([]byte("a"))); err != nil {
		t.Fatal(err)
	}
	m.state, m.staged = []byte("a"), 0
	done := m.clone()
	for range 30 {
		second = append(second, m.next(1, false, 1, 5, 300))
	}
	disk.SetRoom(9000)
	if err := l.Append(second); !errors.Is(err, syscall.ENOSPC) {
		t.Fatalf("append on a full disk: %v", err)
	}
	if err := done.check(l); err != nil {
		t.Fatal(err)
	}
	disk.SetRoom(1 << 30)
	if err := firstError(l.Append(second), l.Checkpoint([]byte("b"))); err != nil {
		t.Fatal(err)
	}
	m.state, m.staged = []byte("b"), 0
	if err := m.check(l); err != nil {
		t.Fatal(err)
	}
}

// TestFailedSync leaves the log failed for good; Open finds what is there.
func TestFailedSync(t *testing.T) {
	disk, m := vfs.NewMem(1), &model{}
	boom := errors.New("boom")
	faulty := vfs.NewFaulty(disk, vfs.FailNth(vfs.OpDatasync, 2, boom)) // the record's
	l := mustOpen(t, faulty, 0)
	e := m.next(1, false, 1, 5, 300)
	if err := l.Append([]Entry{e}); err != nil {
		t.Fatal(err)
	}
	err := l.Checkpoint(nil)
	if !errors.Is(err, ErrFailed) || !errors.Is(err, boom) {
		t.Fatal(err)
	}
	syncs := faulty.Count(vfs.OpDatasync)
	for name, err := range map[string]error{"append": l.Append([]Entry{e}), "checkpoint": l.Checkpoint(nil),
		"truncate all": l.TruncateAll(Boundary{}, nil)} {
		if !errors.Is(err, ErrFailed) || !errors.Is(err, boom) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if n := faulty.Count(vfs.OpDatasync); n != syncs {
		t.Errorf("%d syncs after the failed one", n-syncs)
	}
}

func TestBounds(t *testing.T) {
	disk := vfs.NewMem(1)
	m := filled(t, disk)
	l := mustOpen(t, disk, 700)
	if _, err := l.TruncateBefore(l.Files()[1].Base); err != nil {
		t.Fatal(err)
	}
	before, last := l.Bounds()
	if err := m.cutTo(before); err != nil || before.Index == 0 {
		t.Fatalf("%+v: %v", before, err)
	}
	for name, tc := range map[string]struct {
		do   func() error
		want error
	}{
		"entries below":  {func() error { _, err := l.Entries(before.Index, last.Index, 1); return err }, ErrCompacted},
		"entries beyond": {func() error { _, err := l.Entries(last.Index, last.Index+2, 1); return err }, ErrUnavailable},
		"no entries":     {func() error { _, err := l.Entries(last.Index, last.Index, 1); return err }, ErrUnavailable},
		"term below":     {func() error { _, err := l.Term(before.Index - 1); return err }, ErrCompacted},
		"term beyond":    {func() error { _, err := l.Term(last.Index + 1); return err }, ErrUnavailable},
		"offset below":   {func() error { _, err := l.ReadOffset(before.End-1, 1, true); return err }, ErrCompacted},
		"cut back":       {func() error { return l.TruncateAll(before, nil) }, ErrGap},
		"options":        {func() error { _, err := Open(Options{}); return err }, ErrOptions},
	} {
		if err := tc.do(); !errors.Is(err, tc.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := stagedTruncate(l, m); !errors.Is(err, errStaged) {
		t.Errorf("truncate with entries staged: %v", err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if err := l.Append([]Entry{{Index: 1}}); !errors.Is(err, ErrClosed) {
		t.Errorf("append after Close: %v", err)
	}
}

func stagedTruncate(l *Log, m *model) error {
	if err := l.Append([]Entry{m.next(0, false, 0, 0, 0)}); err != nil {
		return err
	}
	_, err := l.TruncateBefore(1 << 40)
	return err
}

func TestRemove(t *testing.T) {
	disk := vfs.NewMem(1)
	filled(t, disk)
	l := mustOpen(t, disk, 700)
	if err := l.Remove(); err != nil {
		t.Fatal(err)
	}
	after := disk.PowerCut(3)
	if names, err := after.List("p"); err == nil {
		t.Fatalf("left after a power cut: %v", names)
	}
}

// TestFileVanishes tells a file that somebody deleted from one that retention did.
func TestFileVanishes(t *testing.T) {
	disk := vfs.NewMem(1)
	filled(t, disk)
	l, err := Open(Options{FS: disk, Dir: "p", Cache: NewCache(1)})
	if err != nil {
		t.Fatal(err)
	}
	old := l.view.Load().files[0]
	if err := disk.Remove(old.key.path + logSuffix); err != nil {
		t.Fatal(err)
	}
	if _, err := l.ReadOffset(0, 1, true); !errors.Is(err, ErrCorrupt) {
		t.Fatalf("deleted by somebody: %v", err)
	}
	if _, err := l.TruncateBefore(old.sum.end); err != nil {
		t.Fatal(err)
	}
	if _, err := l.open(old); !errors.Is(err, ErrCompacted) {
		t.Fatalf("deleted by retention: %v", err)
	}
}

// TestOpenFiles reads many logs through a small cache.
func TestOpenFiles(t *testing.T) {
	disk, cache := vfs.NewMem(1), NewCache(2)
	m := filled(t, disk)
	l, err := Open(Options{FS: disk, Dir: "p", Cache: cache})
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if err := m.check(l); err != nil {
			t.Fatal(err)
		}
		if s := cache.Stats(); s.Open > 2 {
			t.Fatalf("%+v", s)
		}
	}
	if s := cache.Stats(); s.Evictions == 0 || s.Hits == 0 {
		t.Fatalf("%+v", s)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if s := cache.Stats(); s.Open != 0 {
		t.Fatalf("after Close: %+v", s)
	}
}

// TestReaders reads while one writer appends, checkpoints and truncates: a
// reader sees batches that fit or that they are gone, never anything else.
func TestReaders(t *testing.T) {
	disk, m := vfs.NewMem(1), &model{}
	l := mustOpen(t, disk, 3000)
	var stop atomic.Bool
	var reads atomic.Int64
	errs := make(chan error, 4)
	var wg sync.WaitGroup
	for g := range 4 {
		wg.Go(func() {
			for !stop.Load() {
				if err := readSome(l, g); err != nil {
					errs <- err
					return
				}
				reads.Add(1)
			}
		})
	}
	for round := 0; round < 60 || reads.Load() < 200; round++ {
		var es []Entry
		for range 20 {
			es = append(es, m.next([]int{1, 1, 1, 0, 2}[len(es)%5], false, 2, int64(round), 200))
		}
		m.entries, m.before = nil, m.last()
		if err := firstError(l.Append(es), l.Checkpoint(nil)); err != nil {
			t.Fatal(err)
		}
		if _, err := l.TruncateBefore(max(m.before.End-100, 0)); err != nil {
			t.Fatal(err)
		}
	}
	stop.Store(true)
	wg.Wait()
	select {
	case err := <-errs:
		t.Fatal(err)
	default:
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
}

func readSome(l *Log, g int) error {
	before, last := l.Bounds()
	at := before.End + ids.Offset(g)*(last.End-before.End)/4
	batches, err := l.ReadOffset(at, 5000, true)
	if err != nil && !errors.Is(err, ErrCompacted) {
		return err
	}
	if err == nil && at < last.End && (len(batches) == 0 || ids.Offset(batches[0][7])+1 < at&0xff) {
		return fmt.Errorf("offset %d: %d batches", at, len(batches))
	}
	if before.Index < last.Index {
		if _, err := l.Entries(before.Index+1, last.Index+1, 4000); err != nil && !errors.Is(err, ErrCompacted) {
			return err
		}
	}
	if _, err := l.ByTime(5, at); err != nil && !errors.Is(err, ErrCompacted) {
		return err
	}
	_, err = l.State()
	if errors.Is(err, ErrCompacted) {
		err = nil
	}
	return err
}

func TestScrubPace(t *testing.T) {
	disk := vfs.NewMem(1)
	m := filled(t, disk)
	l := mustOpen(t, disk, 700)
	var want int64
	for _, b := range m.batches() {
		want += int64(len(b))
	}
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		res, err := l.Scrub(t.Context(), 100)
		if err != nil || res.Bytes != want || res.Entries != len(m.entries) {
			t.Fatalf("%+v, %v", res, err)
		}
		if took, least := time.Since(start), time.Duration(want)*time.Second/100; took < least || took > least+time.Second {
			t.Fatalf("%d bytes at 100 a second took %v", want, took)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := l.Scrub(ctx, 1); !errors.Is(err, context.DeadlineExceeded) {
			t.Fatal(err)
		}
	})
}

func BenchmarkAppendCheckpoint(b *testing.B) {
	l, err := Open(Options{Dir: b.TempDir() + "/p"})
	if err != nil {
		b.Fatal(err)
	}
	defer l.Close()
	const n, size = 64, 16 << 10
	at := Boundary{}
	b.SetBytes(n * size)
	b.ReportAllocs()
	for b.Loop() {
		b.StopTimer()
		var es []Entry
		for range n {
			es = append(es, Entry{Index: at.Index + 1, Term: 1, Data: makeBatch(at.End, 1, 16, 5, size)})
			at.Index, at.End = at.Index+1, at.End+16
		}
		b.StartTimer()
		if err := firstError(l.Append(es), l.Checkpoint([]byte("state"))); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkReadOffset(b *testing.B) {
	l, err := Open(Options{Dir: b.TempDir() + "/p"})
	if err != nil {
		b.Fatal(err)
	}
	defer l.Close()
	const n, size = 2048, 16 << 10
	at := Boundary{}
	for range n {
		e := Entry{Index: at.Index + 1, Term: 1, Data: makeBatch(at.End, 1, 16, 5, size)}
		at.Index, at.End = at.Index+1, at.End+16
		if err := l.Append([]Entry{e}); err != nil {
			b.Fatal(err)
		}
	}
	if err := l.Checkpoint(nil); err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	var bytes int64
	for i := 0; b.Loop(); i++ {
		got, err := l.ReadOffset(ids.Offset(i*1600%(n*16)), 1<<20, true)
		if err != nil {
			b.Fatal(err)
		}
		for _, x := range got {
			bytes += int64(len(x))
		}
	}
	b.SetBytes(bytes / int64(b.N))
}
