package wal_test

import (
	"errors"
	"math/rand/v2"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"dyno/wal"
	"dyno/wal/vfs"
)

// TestConcurrent appends, overwrites, reads, rewrites and releases from many
// goroutines at once, on segments that are reused all the time: no read may
// ever see a record of another use of its file.
func TestConcurrent(t *testing.T) {
	eachFS(t, func(t *testing.T, fs vfs.FS, dir string) { testConcurrent(t, fs, dir, false) })
	t.Run("buffered", func(t *testing.T) {
		testConcurrent(t, vfs.OS(), filepath.ToSlash(t.TempDir())+"/wal", true)
	})
}

func testConcurrent(t *testing.T, fs vfs.FS, dir string, buffered bool) {
	o := small(fs, dir)
	o.QueueBytesMax = 64 << 10 // submitters block at times
	o.Buffered = buffered
	l := mustOpen(t, o)
	const streams, rounds = 4, 60
	var wg sync.WaitGroup
	var running atomic.Int32
	var lastOf [streams + 1]uint64 // written by the stream's goroutine, read after Wait
	for id := uint64(1); id <= streams; id++ {
		running.Add(1)
		wg.Go(func() {
			defer running.Add(-1)
			lastOf[id] = appendRounds(t, l, id, rounds)
		})
		wg.Go(func() {
			rng := rand.New(rand.NewPCG(id, 1))
			for running.Load() > 0 {
				readSome(t, l, id, rng)
			}
		})
	}
	wg.Go(func() {
		for running.Load() > 0 {
			reclaimOne(t, l)
		}
	})
	wg.Wait()
	if l.Stats().SegmentsReused == 0 {
		t.Error("no segment was reused: the test shows nothing")
	}
	for range 2 {
		for id := uint64(1); id <= streams; id++ {
			in, _ := l.Info(id)
			if in.Last != lastOf[id] {
				t.Fatalf("stream %d ends at %d, want %d", id, in.Last, lastOf[id])
			}
			wantEntries(t, l, id, in.First, in.Last+1, 1, 700)
		}
		must(t, l.Close())
		l = mustOpen(t, o)
	}
}

// appendRounds keeps about thirty entries of a stream, and now and then writes
// its last few once more.
func appendRounds(t *testing.T, l *wal.Log, id uint64, rounds int) (last uint64) {
	for round := range rounds {
		at := last + 1
		if round%5 == 4 {
			at = last - 1
		}
		last = at + 5
		if err := do(l, entries(id, at, last+1, 1, 700)...); err != nil {
			t.Error(err)
			return last
		}
		if last > 30 && round%3 == 0 {
			if err := do(l, wal.Record{Stream: id, Kind: wal.KindTruncateBefore, Index: last - 30, Term: 1}); err != nil {
				t.Error(err)
			}
		}
	}
	return last
}

func readSome(t *testing.T, l *wal.Log, id uint64, rng *rand.Rand) {
	in, ok := l.Info(id)
	if !ok || in.Last < in.First {
		return
	}
	lo := in.First + rng.Uint64N(in.Last-in.First+1)
	rs, err := l.Read(id, lo, in.Last+1, 1+rng.Int64N(20_000))
	if errors.Is(err, wal.ErrCompacted) || errors.Is(err, wal.ErrUnavailable) {
		return // cut meanwhile
	}
	if err != nil {
		t.Error(err)
		return
	}
	for i, r := range rs {
		if w := payload(id, lo+uint64(i), 1, 700); string(r.Data) != string(w) {
			t.Errorf("stream %d entry %d reads wrong", id, lo+uint64(i))
		}
	}
}

func reclaimOne(t *testing.T, l *wal.Log) {
	in, ok := l.Oldest()
	if !ok {
		return
	}
	for _, r := range in.Runs {
		if err := l.Rewrite(r.Stream, r.First, r.Last); err != nil {
			t.Error(err)
		}
	}
	if err := l.Release(in.Seq); err != nil && !errors.Is(err, wal.ErrLive) {
		t.Error(err)
	}
}

// TestReadHoldsSegment releases a segment while a read of it is held back, and
// writes on: the file is not used again before the read is through.
func TestReadHoldsSegment(t *testing.T) {
	g := vfs.NewGate(vfs.OpRead)
	l := mustOpen(t, small(vfs.NewFaulty(vfs.NewMem(1), g.Plan), "/wal"))
	must(t, do(l, entries(1, 1, 11, 1, 1000)...))
	g.Shut()
	type result struct {
		rs  []wal.Record
		err error
	}
	read := make(chan result, 1)
	go func() {
		rs, err := l.Read(1, 1, 11, 1<<20)
		read <- result{rs, err}
	}()
	<-g.Waiting()
	for i := uint64(11); i <= 400; i++ {
		must(t, do(l, entry(1, i, 1, 1000), wal.Record{Stream: 1, Kind: wal.KindTruncateBefore, Index: i, Term: 1}))
		for in, ok := l.Oldest(); ok && len(in.Runs) == 0; in, ok = l.Oldest() {
			must(t, l.Release(in.Seq))
		}
	}
	g.Open()
	got := <-read
	must(t, got.err)
	for i, r := range got.rs {
		if string(r.Data) != string(payload(1, uint64(i+1), 1, 1000)) {
			t.Fatalf("entry %d was overwritten while it was read", i+1)
		}
	}
}

// TestManyStreams keeps 10,000 streams through a release of every segment.
func TestManyStreams(t *testing.T) {
	const streams = 10_000
	m := vfs.NewMem(1)
	o := wal.Options{FS: m, Dir: "/wal", SegmentBytes: 1 << 20, SpareSegments: 1}
	l := mustOpen(t, o)
	for id := uint64(1); id <= streams; {
		var rs []wal.Record
		for range 100 {
			rs = append(rs, wal.Record{Stream: id, Kind: wal.KindState, Term: id, Vote: 1}, entry(id, 1, id, 50))
			id++
		}
		must(t, do(l, rs...))
	}
	for seq := uint64(1); ; {
		in, ok := l.Oldest()
		if !ok || seq > 1 && in.Seq >= seq {
			break // all that there was at first is released
		}
		if seq == 1 {
			seq = uint64(l.Stats().Segments) + 1
		}
		for _, r := range in.Runs {
			must(t, l.Rewrite(r.Stream, r.First, r.Last))
		}
		must(t, l.Release(in.Seq))
	}
	must(t, l.Close())
	l = mustOpen(t, o)
	if n := len(l.Streams()); n != streams {
		t.Fatalf("%d streams", n)
	}
	for id := uint64(1); id <= streams; id++ {
		if in, _ := l.Info(id); in.State.Term != id || in.Last != 1 || in.LastTerm != id {
			t.Fatalf("stream %d: %+v", id, in)
		}
	}
}

// TestAllocations: at steady state an append costs no memory of its own.
func TestAllocations(t *testing.T) {
	l := mustOpen(t, wal.Options{FS: vfs.OS(), Dir: t.TempDir(), SegmentBytes: 8 << 20, SpareSegments: 1})
	done := make(chan error, 1)
	a := &wal.Append{Records: []wal.Record{entry(1, 1, 1, 1000), {Stream: 1, Kind: wal.KindState, Term: 1}}, Done: func(err error) { done <- err }}
	one := func() {
		must(t, l.Submit(a))
		must(t, <-done)
		a.Records[0].Index++
	}
	for range 300 {
		one()
	}
	// The index doubles its slice now and then: less than one in ten appends.
	if n := testing.AllocsPerRun(2000, one); n >= 1 {
		t.Errorf("%v allocations per append", n)
	}
}

func TestSyncStall(t *testing.T) {
	g := vfs.NewGate(vfs.OpDatasync)
	o := small(vfs.NewFaulty(vfs.NewMem(1), onSegments(g.Plan)), "/wal")
	notices := make(chan wal.Notice, 10)
	o.Notice = func(n wal.Notice) { notices <- n }
	l := mustOpen(t, o)
	must(t, do(l, entry(1, 1, 1, 1)))
	g.Shut()
	done := make(chan error, 1)
	go func() { done <- do(l, entry(1, 2, 1, 1)) }()
	if n := <-notices; n.Kind != "sync_stall" {
		t.Errorf("notice %+v", n)
	}
	g.Open()
	must(t, <-done)
	if st := l.Stats(); st.SyncMax < time.Second {
		t.Errorf("SyncMax = %v", st.SyncMax)
	}
}

func TestStats(t *testing.T) {
	for buffered, written := range map[bool]int64{
		// Two frames of 80, eleven records of 48+104, in two writes to the end of
		// their first and only page.
		true:  4096 + 4096 - (80 + 10*152),
		false: 4096 + 4096, // a direct write begins at a page too
	} {
		o := wal.ConfirmAfter(small(vfs.NewMem(1), "/wal"), time.Hour)
		o.Buffered = buffered
		l := mustOpen(t, o)
		must(t, do(l, entries(1, 1, 11, 1, 100)...))
		must(t, do(l, entry(1, 11, 1, 100)))
		s := l.Stats()
		s.SyncTime, s.SyncMax, s.SegmentsMade, s.ZeroBytes = 0, 0, 0, 0
		want := wal.Stats{Submissions: 2, Records: 11, PayloadBytes: 1100, FrameBytes: 2*80 + 11*152, WrittenBytes: written, Writes: 2, Syncs: 2,
			QueueBytesHigh: 1520, Streams: 1, Segments: 1, SegmentBytes: 64 << 10}
		if s != want {
			t.Errorf("got  %+v\nwant %+v", s, want)
		}
		if l.Size() != 64<<10 {
			t.Errorf("Size = %d", l.Size())
		}
	}
}
