package wal_test

import (
	"bytes"
	"errors"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"pgregory.net/rapid"

	"dyno/wal"
	"dyno/wal/vfs"
)

// mixed fills segments with the entries of four streams in turn, of 1,000 bytes
// each, until three are sealed. It gives the last index of all four.
func mixed(t testing.TB, l *wal.Log) (last uint64) {
	t.Helper()
	for l.Stats().Segments < 4 {
		last++
		for id := uint64(1); id <= 4; id++ {
			must(t, do(l, entry(id, last, 1, 1000)))
		}
	}
	return last
}

func oldest(t testing.TB, l *wal.Log) wal.SegmentInfo {
	t.Helper()
	in, ok := l.Oldest()
	if !ok {
		t.Fatal("no sealed segment")
	}
	return in
}

// readsAlike compares the image with the log, piece by piece.
func readsAlike(m *wal.Image, l *wal.Log, id, lo, hi uint64, bytes int64) string {
	for {
		want, wantErr := l.Read(id, lo, hi, bytes)
		got, err := m.Read(id, lo, hi, bytes)
		switch {
		case (err == nil) != (wantErr == nil) || err != nil && err.Error() != wantErr.Error():
			return "errors differ"
		case !slices.EqualFunc(got, want, sameRecord):
			return "records differ"
		case len(want) == 0:
			return ""
		}
		lo = want[len(want)-1].Index + 1
	}
}

func sameRecord(a, b wal.Record) bool {
	return a.Stream == b.Stream && a.Kind == b.Kind && a.Type == b.Type && a.Index == b.Index &&
		a.Term == b.Term && a.Vote == b.Vote && bytes.Equal(a.Data, b.Data)
}

// ReadImage checks, within the twin test, that an image of the oldest segment
// reads as the log does, whatever was done to the log since it was loaded.
func (p *pair) ReadImage(t *rapid.T) {
	if p.image == nil || rapid.Bool().Draw(t, "load") {
		if p.image == nil {
			p.image = p.l.NewImage()
		}
		if in, ok := p.l.Oldest(); ok {
			if err := p.image.Load(in.Seq); err != nil {
				t.Fatal(err)
			}
		}
	}
	id, first, last := p.pick(t)
	lo := rapid.Uint64Range(max(first, 2)-1, last+1).Draw(t, "lo")
	hi := rapid.Uint64Range(lo, last+2).Draw(t, "hi")
	if d := readsAlike(p.image, p.l, id, lo, hi, rapid.Int64Range(0, 64<<10).Draw(t, "bytes")); d != "" {
		t.Fatalf("stream %d [%d, %d): %s", id, lo, hi, d)
	}
}

// TestImageReadsOnce: whoever reads all streams of a segment from its image reads
// the file once, and what no entry lies in not at all.
func TestImageReadsOnce(t *testing.T) {
	var read atomic.Int64
	fsys := vfs.NewFaulty(vfs.NewMem(1), func(c vfs.Call) vfs.Fault {
		if c.Op == vfs.OpRead && c.Name == segment(1) {
			read.Add(c.Len)
		}
		return vfs.Fault{}
	})
	o := small(fsys, "/wal")
	o.SegmentBytes, o.WriteBytesMax = 3<<20, 1<<20
	l := mustOpen(t, o)
	mixed(t, l)
	in := oldest(t, l)
	m := l.NewImage()
	must(t, m.Load(in.Seq))
	calls := fsys.Count(vfs.OpRead)
	for range 2 {
		for _, r := range in.Runs {
			if d := readsImage(m, r); d != "" {
				t.Fatalf("stream %d: %s", r.Stream, d)
			}
			must(t, m.Load(in.Seq)) // the same one again: what was read stays
		}
	}
	if n := fsys.Count(vfs.OpRead) - calls; n != 3 || read.Load() != o.SegmentBytes {
		t.Errorf("%d reads of %d bytes in all, want 3 of %d", n, read.Load(), o.SegmentBytes)
	}
	for _, r := range in.Runs { // the last entries lie in the last piece
		must(t, do(l, wal.Record{Stream: r.Stream, Kind: wal.KindTruncateBefore, Index: r.Last, Term: 1}))
	}
	m.Free()
	must(t, m.Load(in.Seq))
	for _, r := range oldest(t, l).Runs {
		if d := readsImage(m, r); d != "" {
			t.Fatalf("stream %d: %s", r.Stream, d)
		}
	}
	if n := fsys.Count(vfs.OpRead) - calls; n != 4 {
		t.Errorf("%d reads for entries in one piece", n-3)
	}
}

// readsImage reads a run from the image alone and compares it with what was
// written.
func readsImage(m *wal.Image, r wal.Run) string {
	for at := r.First; at <= r.Last; {
		list, err := m.Read(r.Stream, at, r.Last+1, 8<<10)
		if err != nil {
			return err.Error()
		}
		for _, g := range list {
			if !sameRecord(g, entry(r.Stream, at, 1, 1000)) {
				return "an entry differs"
			}
			at++
		}
	}
	return ""
}

// TestImageDamage: what Log.Read would find the image finds, where it lies.
func TestImageDamage(t *testing.T) {
	first := int64(80)          // the first record of the segment
	second := first + 48 + 1000 // of stream 2; 1,000 is a multiple of 8
	for name, c := range map[string]struct {
		fault vfs.Fault
		pos   int64
		text  string
	}{
		"header":         {vfs.Fault{Flip: 1 + 8*(first+30)}, first, "header"},
		"payload":        {vfs.Fault{Flip: 1 + 8*(first+500)}, first, "payload"},
		"another stream": {vfs.Fault{Flip: 1 + 8*(second+500)}, -1, ""},
		"disk":           {vfs.Fault{Err: syscall.EIO}, -1, "input/output"},
	} {
		t.Run(name, func(t *testing.T) {
			var armed atomic.Bool
			l := mustOpen(t, small(vfs.NewFaulty(vfs.NewMem(1), func(call vfs.Call) vfs.Fault {
				if armed.Load() && call.Op == vfs.OpRead {
					return c.fault
				}
				return vfs.Fault{}
			}), "/wal"))
			mixed(t, l)
			m := l.NewImage()
			must(t, m.Load(1))
			armed.Store(true)
			_, err := m.Read(1, 1, 2, 0)
			switch de := (*wal.DamageError)(nil); {
			case c.text == "":
				must(t, err)
			case err == nil || !strings.Contains(err.Error(), c.text):
				t.Fatalf("%v", err)
			case c.pos >= 0 && (!errors.As(err, &de) || de.File != segment(1) || de.Pos != c.pos):
				t.Fatalf("%v, want damage of %s at %d", err, segment(1), c.pos)
			}
			armed.Store(false)
			m.Free()
			must(t, m.Load(1))
			must(t, errText(readsImage(m, oldest(t, l).Runs[0])))
		})
	}
}

func errText(s string) error {
	if s == "" {
		return nil
	}
	return errors.New(s)
}

// TestImageCutFile: a file that is shorter than it was is damage, at its end.
func TestImageCutFile(t *testing.T) {
	mem := vfs.NewMem(1)
	l := mustOpen(t, small(mem, "/wal"))
	mixed(t, l)
	f, err := mem.Open(segment(1))
	must(t, err)
	must(t, f.Truncate(30_001))
	must(t, f.Close())
	m := l.NewImage()
	must(t, m.Load(1))
	var de *wal.DamageError
	if _, err := m.Read(1, 1, 2, 0); !errors.As(err, &de) || de.Pos != 30_001 {
		t.Fatalf("%v", err)
	}
}

// TestImageOddSize: a segment whose end is no page's, as one that was cut behind
// its last record, is read like any other.
func TestImageOddSize(t *testing.T) {
	eachFS(t, func(t *testing.T, fsys vfs.FS, dir string) {
		o := small(fsys, dir)
		l := mustOpen(t, o)
		must(t, do(l, entries(1, 1, 31, 1, 1000)...))
		must(t, l.Close())
		f, err := fsys.Open(dir + "/" + segment(1)[len("/wal/"):])
		must(t, err)
		must(t, f.Truncate(60_001))
		must(t, f.Close())
		l = mustOpen(t, o)
		for i := uint64(31); l.Stats().Segments < 2; i++ {
			must(t, do(l, entry(1, i, 1, 1000)))
		}
		m := l.NewImage()
		must(t, m.Load(1))
		must(t, errText(readsImage(m, wal.Run{Stream: 1, First: 1, Last: 30})))
	})
}

// TestImageOfReleased: what an image has given stays right when its segment is
// released and the file used again; only the oldest segment can be loaded.
func TestImageOfReleased(t *testing.T) {
	o := small(vfs.NewMem(1), "/wal")
	l := mustOpen(t, o)
	last := mixed(t, l)
	in := oldest(t, l)
	m := l.NewImage()
	must(t, m.Load(in.Seq))
	got, err := m.Read(1, 1, 2, 0)
	must(t, err)
	for _, r := range in.Runs[1:] {
		must(t, do(l, wal.Record{Stream: r.Stream, Kind: wal.KindTruncateBefore, Index: r.Last + 1, Term: 1}))
	}
	must(t, l.Rewrite(1, in.Runs[0].First, in.Runs[0].Last))
	must(t, l.Release(in.Seq))
	for n := l.Stats().Segments; l.Stats().Segments < n+4; {
		last++
		for id := uint64(1); id <= 4; id++ {
			must(t, do(l, entry(id, last, 1, 1000)))
		}
	}
	if !sameRecord(got[0], entry(1, 1, 1, 1000)) {
		t.Error("an entry from the image changed")
	}
	for id := uint64(1); id <= 4; id++ { // from where they lie now
		info, _ := l.Info(id)
		if d := readsImage(m, wal.Run{Stream: id, First: info.First, Last: info.Last}); d != "" {
			t.Errorf("stream %d: %s", id, d)
		}
	}
	for _, seq := range []uint64{in.Seq, in.Seq + 2, 1 << 40} {
		if err := m.Load(seq); !errors.Is(err, wal.ErrNotOldest) {
			t.Errorf("load of segment %d: %v", seq, err)
		}
	}
	// The next one takes the place of the first, in the same memory.
	next := oldest(t, l)
	must(t, m.Load(next.Seq))
	for _, r := range next.Runs {
		must(t, errText(readsImage(m, r)))
	}
}

// TestImageHoldsWhileReading: a segment that is released while a read of its image
// is on the way to the disk is not used again before that has come back.
func TestImageHoldsWhileReading(t *testing.T) {
	gate := vfs.NewGate(vfs.OpRead)
	l := mustOpen(t, small(vfs.NewFaulty(vfs.NewMem(1), gate.Plan), "/wal"))
	last := mixed(t, l)
	in := oldest(t, l)
	m := l.NewImage()
	must(t, m.Load(in.Seq))
	gate.Shut()
	got := make(chan string, 1)
	go func() { got <- readsImage(m, wal.Run{Stream: 1, First: 1, Last: 1}) }()
	<-gate.Waiting()
	for _, r := range in.Runs {
		must(t, do(l, wal.Record{Stream: r.Stream, Kind: wal.KindTruncateBefore, Index: r.Last + 1, Term: 1}))
	}
	must(t, l.Release(in.Seq))
	for n := l.Stats().Segments; l.Stats().Segments < n+4; last++ { // a reused file would be overwritten
		for id := uint64(1); id <= 4; id++ {
			must(t, do(l, entry(id, last+1, 1, 1000)))
		}
	}
	gate.Open()
	must(t, errText(<-got))
}
