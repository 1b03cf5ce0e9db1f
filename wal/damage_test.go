package wal_test

import (
	"errors"
	"fmt"
	"runtime"
	"strings"
	"testing"

	"dyno/wal"
	"dyno/wal/vfs"
)

// filled is a disk with a closed log of some segments, ten entries a frame.
func filled(t *testing.T) *vfs.Mem {
	t.Helper()
	m := vfs.NewMem(1)
	l := mustOpen(t, small(m, "/wal"))
	for i := uint64(1); i <= 200; i += 10 {
		must(t, do(l, entries(1, i, i+10, 1, 1000)...))
	}
	must(t, l.Close())
	return m
}

func segment(n int) string { return fmt.Sprintf("/wal/%016x.wal", n) }

// TestDamage breaks durable bytes in many places: each time Open names the
// file and the byte, and changes nothing.
func TestDamage(t *testing.T) {
	for name, c := range map[string]struct {
		harm func(m *vfs.Mem)
		file string
		pos  int64
		text string
	}{
		"payload in a sealed segment": {func(m *vfs.Mem) { flip(m, segment(2), 80+48+500, 4) }, segment(2), 80, "payload does not match"},
		"header in a sealed segment":  {func(m *vfs.Mem) { flip(m, segment(2), 80+30, 4) }, segment(2), 80, "header does not match"},
		"first frame of a segment":    {func(m *vfs.Mem) { flip(m, segment(2), 50, 4) }, segment(2), 0, "first frame is bad"},
		"payload in the tail":         {func(m *vfs.Mem) { flip(m, segment(4), 80+48+500, 4) }, segment(4), 80, "later frame says"},
		"length in the tail":          {func(m *vfs.Mem) { flip(m, segment(4), 80+6, 4) }, segment(4), 80, "later frame says"},
		"first frame of the tail":     {func(m *vfs.Mem) { flip(m, segment(4), 3, 4) }, segment(4), 0, "first frame is bad"},
		"sealed segment lost":         {func(m *vfs.Mem) { must(t, m.Remove(segment(2))) }, segment(2), 0, "missing"},
		"oldest segment lost":         {func(m *vfs.Mem) { must(t, m.Remove(segment(1))) }, segment(1), 0, "missing"},
		"sealed segment cut": {func(m *vfs.Mem) {
			f, err := m.Open(segment(2))
			must(t, err)
			must(t, f.Truncate(30_000))
			must(t, f.Close())
		}, segment(2), -1, "payload does not match"},
		"sealed segments swapped": {func(m *vfs.Mem) {
			must(t, m.Rename(segment(2), "/wal/x"))
			must(t, m.Rename(segment(3), segment(2)))
			must(t, m.Rename("/wal/x", segment(3)))
		}, segment(3), 0, "first frame is bad"},
	} {
		t.Run(name, func(t *testing.T) {
			m := filled(t)
			c.harm(m)
			tree := m.Tree()
			var de *wal.DamageError
			_, err := wal.Open(small(m, "/wal"))
			if !errors.As(err, &de) || !errors.Is(err, wal.ErrCorrupt) {
				t.Fatalf("Open: %v", err)
			}
			if de.File != c.file || c.pos >= 0 && de.Pos != c.pos || !strings.Contains(err.Error(), c.text) {
				t.Fatalf("Open: %v, want %s at %d: …%s", err, c.file, c.pos, c.text)
			}
			if m.Tree() != tree {
				t.Error("a failed Open changed the disk")
			}
		})
	}
}

// TestTornTail cuts the log inside its last frame, which nothing confirms: that
// frame is gone, all before it is there, and the log goes on in a new segment
// without bringing anything back.
func TestTornTail(t *testing.T) {
	for _, at := range []int64{1, 60, 100, 700, 2000} {
		m := vfs.NewMem(1)
		var told []string
		o := wal.ConfirmAfter(small(m, "/wal"), 1<<40)
		o.Notice = func(n wal.Notice) { told = append(told, n.Kind) }
		l := mustOpen(t, o)
		must(t, do(l, entries(1, 1, 11, 1, 500)...))
		size := int64(80 + 10*(48+504))
		must(t, do(l, entries(1, 11, 21, 1, 500)...))
		c := m.Crash(1)
		must(t, l.Close())
		flip(c, segment(1), size+at, 1)
		o.FS = c
		l = mustOpen(t, o)
		if strings.Join(told, " ") != "torn_tail" {
			t.Errorf("cut at %d: notices %q", at, told)
		}
		in, _ := l.Info(1)
		if in.Last < 10 || in.Last > 20 {
			t.Fatalf("cut at %d: %+v", at, in)
		}
		must(t, do(l, entry(1, in.Last+1, 2, 500)))
		must(t, do(l, entry(1, in.Last+2, 2, 500)))
		for range 2 {
			wantEntries(t, l, 1, 1, in.Last+1, 1, 500)
			wantEntries(t, l, 1, in.Last+1, in.Last+3, 2, 500)
			if now, _ := l.Info(1); now.Last != in.Last+2 {
				t.Fatalf("cut at %d: %+v after %+v", at, now, in)
			}
			must(t, l.Close())
			l = mustOpen(t, o)
		}
	}
}

// TestReadDamage: a bit that turns over on the way from the disk is noticed by
// the read it hits, and by no other.
func TestReadDamage(t *testing.T) {
	flipAt := int64(0)
	fsys := vfs.NewFaulty(vfs.NewMem(1), func(c vfs.Call) vfs.Fault {
		if c.Op == vfs.OpRead {
			return vfs.Fault{Flip: flipAt}
		}
		return vfs.Fault{}
	})
	l := mustOpen(t, small(fsys, "/wal"))
	must(t, do(l, entries(1, 1, 11, 1, 500)...))
	for _, bit := range []int64{1, 5 * 8, 45 * 8, 100 * 8, 300 * 8} {
		flipAt = bit
		var de *wal.DamageError
		if _, err := l.Read(1, 1, 5, 1<<20); !errors.As(err, &de) || de.File != segment(1) || de.Pos != 80 {
			t.Fatalf("bit %d: %v", bit, err)
		}
		if err := l.Rewrite(1, 1, 5); !errors.Is(err, wal.ErrCorrupt) {
			t.Fatalf("bit %d: Rewrite: %v", bit, err)
		}
	}
	flipAt = 0
	wantEntries(t, l, 1, 1, 11, 1, 500)
	if l.Err() != nil {
		t.Fatal(l.Err())
	}
}

// TestGoesOn: only after a clean end does the log go on in the same segment. A
// confirmed last frame is not enough: parts of a torn one may lie behind it.
func TestGoesOn(t *testing.T) {
	m := vfs.NewMem(1)
	l := mustOpen(t, wal.ConfirmAfter(small(m, "/wal"), 1))
	must(t, do(l, entry(1, 1, 1, 100)))
	for l.Stats().Confirms == 0 {
		runtime.Gosched() // it confirms its last frame when idle, in no time
	}
	goesOn := func(m *vfs.Mem, want int64) {
		t.Helper()
		l := mustOpen(t, small(m, "/wal"))
		must(t, do(l, entry(1, 2, 1, 100)))
		wantEntries(t, l, 1, 1, 3, 1, 100)
		if n := l.Stats().Segments; n != want {
			t.Errorf("%d segments, want %d", n, want)
		}
	}
	for seed := range uint64(20) { // the confirmation survives some of them
		goesOn(m.Crash(seed), 2)
	}
	must(t, l.Close())
	goesOn(m.Crash(0), 1)
}
