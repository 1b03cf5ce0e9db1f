package wal_test

import (
	"bytes"
	"errors"
	"fmt"
	"path/filepath"
	"testing"

	"dyno/wal"
	"dyno/wal/vfs"
)

// small are options for many short-lived logs.
func small(fs vfs.FS, dir string) wal.Options {
	return wal.AheadBytes(wal.Options{FS: fs, Dir: dir, SegmentBytes: 64 << 10, SpareSegments: 1, WriteBytesMax: 64 << 10}, 4096)
}

func mustOpen(t testing.TB, o wal.Options) *wal.Log {
	t.Helper()
	l, err := wal.Open(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

// do submits records and waits until they are durable.
func do(l *wal.Log, records ...wal.Record) error {
	done := make(chan error, 1)
	if err := l.Submit(&wal.Append{Records: records, Sync: true, Done: func(err error) { done <- err }}); err != nil {
		return err
	}
	return <-done
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func payload(stream, index, term uint64, n int) []byte {
	b := fmt.Appendf(nil, "stream %d index %d term %d ", stream, index, term)
	for len(b) < n {
		b = append(b, byte(index), byte(len(b)))
	}
	return b[:max(n, 1)]
}

func entry(stream, index, term uint64, n int) wal.Record {
	return wal.Record{Stream: stream, Kind: wal.KindEntry, Type: uint8(index), Index: index, Term: term, Data: payload(stream, index, term, n)}
}

func entries(stream, lo, hi, term uint64, n int) (rs []wal.Record) {
	for i := lo; i < hi; i++ {
		rs = append(rs, entry(stream, i, term, n))
	}
	return rs
}

// wantEntries reads [lo, hi) of a stream and compares every field.
func wantEntries(t testing.TB, l *wal.Log, stream, lo, hi, term uint64, n int) {
	t.Helper()
	for at := lo; at < hi; {
		got, err := l.Read(stream, at, hi, 1<<20)
		if err != nil {
			t.Fatal(err)
		}
		for _, g := range got {
			w := entry(stream, at, term, n)
			if g.Stream != w.Stream || g.Kind != w.Kind || g.Type != w.Type || g.Index != w.Index || g.Term != w.Term || !bytes.Equal(g.Data, w.Data) {
				t.Fatalf("entry %d reads as stream %d kind %d type %d index %d term %d, %d bytes", at, g.Stream, g.Kind, g.Type, g.Index, g.Term, len(g.Data))
			}
			at++
		}
	}
}

// eachFS runs a test on the real disk and on the memory disk.
func eachFS(t *testing.T, f func(t *testing.T, fs vfs.FS, dir string)) {
	t.Run("os", func(t *testing.T) { f(t, vfs.OS(), filepath.ToSlash(t.TempDir())+"/wal") })
	t.Run("mem", func(t *testing.T) { f(t, vfs.NewMem(1), "/data/wal") })
}

func TestAppendReadReopen(t *testing.T) {
	eachFS(t, func(t *testing.T, fs vfs.FS, dir string) {
		o := small(fs, dir)
		l := mustOpen(t, o)
		for i := uint64(1); i <= 300; i += 10 {
			must(t, do(l, entries(7, i, i+10, 3, 900)...))
			must(t, do(l, entries(8, i, i+10, 4, 20)...))
		}
		must(t, do(l, wal.Record{Stream: 7, Kind: wal.KindState, Term: 9, Vote: 2, Index: 250}))
		for range 2 {
			wantEntries(t, l, 7, 1, 301, 3, 900)
			wantEntries(t, l, 8, 1, 301, 4, 20)
			in, ok := l.Info(7)
			if want := (wal.Info{First: 1, Last: 300, LastTerm: 3, State: wal.State{Term: 9, Vote: 2, Commit: 250}}); !ok || in != want {
				t.Fatalf("Info = %+v, want %+v", in, want)
			}
			must(t, l.Close())
			l = mustOpen(t, o)
		}
		if l.Stats().Segments < 4 {
			t.Fatalf("%d segments: the test is meant to span several", l.Stats().Segments)
		}
	})
}

func TestTruncateAndRemove(t *testing.T) {
	eachFS(t, func(t *testing.T, fs vfs.FS, dir string) {
		o := small(fs, dir)
		l := mustOpen(t, o)
		must(t, do(l, entries(1, 1, 101, 1, 10)...))
		must(t, do(l, entry(1, 51, 2, 10))) // overwrites 51..100
		must(t, do(l, entries(1, 52, 61, 2, 10)...))
		must(t, do(l, wal.Record{Stream: 1, Kind: wal.KindTruncateAfter, Index: 55}))
		must(t, do(l, wal.Record{Stream: 1, Kind: wal.KindTruncateBefore, Index: 11, Term: 1}))
		must(t, do(l, entries(2, 1, 10, 1, 10)...))
		must(t, do(l, wal.Record{Stream: 2, Kind: wal.KindRemove}, entry(2, 1, 5, 10)))
		must(t, do(l, entry(3, 1, 1, 10)))
		must(t, do(l, wal.Record{Stream: 3, Kind: wal.KindRemove}))
		must(t, do(l, wal.Record{Stream: 4, Kind: wal.KindTruncateBefore, Index: 1000, Term: 8}))
		for range 2 {
			wantEntries(t, l, 1, 11, 51, 1, 10)
			wantEntries(t, l, 1, 51, 56, 2, 10)
			if in, _ := l.Info(1); in != (wal.Info{First: 11, Last: 55, LastTerm: 2, PrevTerm: 1}) {
				t.Fatalf("Info(1) = %+v", in)
			}
			wantEntries(t, l, 2, 1, 2, 5, 10)
			if _, ok := l.Info(3); ok {
				t.Fatal("stream 3 is still there")
			}
			if in, _ := l.Info(4); in != (wal.Info{First: 1000, Last: 999, LastTerm: 8, PrevTerm: 8}) {
				t.Fatalf("Info(4) = %+v", in)
			}
			if _, err := l.Read(1, 10, 20, 100); !errors.Is(err, wal.ErrCompacted) {
				t.Fatalf("read below the first entry: %v", err)
			}
			if _, err := l.Read(1, 56, 60, 100); !errors.Is(err, wal.ErrUnavailable) {
				t.Fatalf("read beyond the last entry: %v", err)
			}
			for index, want := range map[uint64]uint64{10: 1, 50: 1, 51: 2, 55: 2} {
				if term, err := l.Term(1, index); err != nil || term != want {
					t.Fatalf("Term(%d) = %d, %v", index, term, err)
				}
			}
			must(t, l.Close())
			l = mustOpen(t, o)
		}
	})
}

func TestRewriteAndRelease(t *testing.T) {
	eachFS(t, func(t *testing.T, fs vfs.FS, dir string) {
		o := small(fs, dir)
		l := mustOpen(t, o)
		must(t, do(l, wal.Record{Stream: 9, Kind: wal.KindState, Term: 3, Vote: 1, Index: 4},
			wal.Record{Stream: 9, Kind: wal.KindTruncateBefore, Index: 77, Term: 3}))
		must(t, do(l, entries(1, 1, 21, 1, 100)...))
		must(t, do(l, wal.Record{Stream: 9, Kind: wal.KindState, Term: 4, Vote: 2, Index: 5}))
		last := uint64(0)
		for l.Stats().Segments < 6 {
			must(t, do(l, entries(2, last+1, last+11, 1, 1000)...))
			last += 10
		}
		for range 4 {
			in, ok := l.Oldest()
			if !ok {
				t.Fatal("no sealed segment")
			}
			for _, r := range in.Runs {
				if r.Stream == 1 {
					must(t, l.Rewrite(1, r.First, r.Last))
				} else {
					must(t, do(l, wal.Record{Stream: r.Stream, Kind: wal.KindTruncateBefore, Index: r.Last + 1, Term: 1}))
				}
			}
			if err := l.Release(in.Seq + 1); !errors.Is(err, wal.ErrNotOldest) {
				t.Fatalf("release of the second: %v", err)
			}
			must(t, l.Release(in.Seq))
		}
		for range 2 {
			wantEntries(t, l, 1, 1, 21, 1, 100)
			if in, _ := l.Info(9); in != (wal.Info{First: 77, Last: 76, LastTerm: 3, PrevTerm: 3, State: wal.State{Term: 4, Vote: 2, Commit: 5}}) {
				t.Fatalf("Info(9) = %+v", in)
			}
			in, _ := l.Info(2)
			wantEntries(t, l, 2, in.First, last+1, 1, 1000)
			must(t, l.Close())
			l = mustOpen(t, o)
		}
	})
}

func TestReleaseRefusesLive(t *testing.T) {
	l := mustOpen(t, small(vfs.NewMem(1), "/wal"))
	must(t, do(l, entries(1, 1, 101, 1, 1000)...))
	in, ok := l.Oldest()
	if !ok {
		t.Fatal("no sealed segment")
	}
	if err := l.Release(in.Seq); !errors.Is(err, wal.ErrLive) {
		t.Fatalf("release of a segment in use: %v", err)
	}
	wantEntries(t, l, 1, 1, 101, 1, 1000)
}

func TestRefusals(t *testing.T) {
	l := mustOpen(t, small(vfs.NewMem(1), "/wal"))
	must(t, do(l, entries(1, 1, 11, 1, 10)...))
	for name, c := range map[string]struct {
		r    wal.Record
		want error
	}{
		"gap":               {entry(1, 12, 1, 10), wal.ErrGap},
		"gap in new stream": {entry(2, 2, 1, 10), wal.ErrGap},
		"stream 0":          {entry(0, 1, 1, 10), wal.ErrInvalid},
		"index 0":           {wal.Record{Stream: 1, Kind: wal.KindEntry}, wal.ErrInvalid},
		"kind":              {wal.Record{Stream: 1, Kind: 16, Index: 1}, wal.ErrInvalid},
		"too large":         {entry(1, 11, 1, int(l.RecordBytesMax())+1), wal.ErrTooLarge},
	} {
		if err := do(l, c.r); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
	}
	// Refused as a whole: the good record before the bad one does not count.
	if err := do(l, entry(1, 11, 1, 10), entry(1, 13, 1, 10)); !errors.Is(err, wal.ErrGap) {
		t.Fatal(err)
	}
	if in, _ := l.Info(1); in.Last != 10 {
		t.Fatalf("Last = %d after a refused submission", in.Last)
	}
	if _, ok := l.Info(2); ok {
		t.Fatal("a refused submission made a stream")
	}
	must(t, do(l, entry(1, 11, 1, int(l.RecordBytesMax()))))
	wantEntries(t, l, 1, 11, 12, 1, int(l.RecordBytesMax()))
}
