package store

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"

	"dyno/wal/vfs"
)

// filled makes a log of several files and checkpoints.
func filled(t testing.TB, disk vfs.FS) *model {
	t.Helper()
	l, m := mustOpen(t, disk, 400), &model{}
	for round := range 4 {
		var es []Entry
		for i := range 5 {
			es = append(es, m.next([]int{1, 1, 2, 0, 3}[i], round == 2 && i == 1, 2, int64(100*round+i), 100+30*i))
		}
		m.state = fmt.Appendf(nil, "state %d", round)
		if err := firstError(l.Append(es), l.Checkpoint(m.state)); err != nil {
			t.Fatal(err)
		}
		m.staged = 0
	}
	if err := m.check(l); err != nil {
		t.Fatal(err)
	}
	if n := len(l.Files()); n < 3 {
		t.Fatalf("%d files", n)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	return m
}

// readAll gives the files of a directory by name.
func readAll(t testing.TB, disk vfs.FS) map[string][]byte {
	t.Helper()
	names, err := disk.List("p")
	if err != nil {
		t.Fatal(err)
	}
	out := map[string][]byte{}
	for _, n := range names {
		f, err := disk.Open("p/" + n)
		if err != nil {
			t.Fatal(err)
		}
		size, err := f.Size()
		if err != nil {
			t.Fatal(err)
		}
		out[n] = make([]byte, size)
		if _, err := f.ReadAt(out[n], 0); err != nil {
			t.Fatal(err)
		}
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
	}
	return out
}

// writeAll makes a disk with these files, all durable.
func writeAll(t testing.TB, files map[string][]byte) *vfs.Mem {
	t.Helper()
	disk := vfs.NewMem(1)
	if err := disk.MkdirAll("p"); err != nil {
		t.Fatal(err)
	}
	for n, b := range files {
		f, err := disk.Create("p/" + n)
		if err != nil {
			t.Fatal(err)
		}
		_, err = f.WriteAt(b, 0)
		if err := firstError(err, f.Close()); err != nil {
			t.Fatal(err)
		}
	}
	return disk
}

// TestEveryBit flips each bit position of a byte in turn, byte by byte, in all
// files: either nobody notices because it is padding, or it is ErrCorrupt.
func TestEveryBit(t *testing.T) {
	disk := vfs.NewMem(1)
	m := filled(t, disk)
	files := readAll(t, disk)
	harmless := 0
	for name, b := range files {
		for i := range b {
			b[i] ^= 1 << (i % 8)
			err := reread(t, writeAll(t, files), m)
			b[i] ^= 1 << (i % 8)
			switch {
			case err == nil:
				harmless++
			case !errors.Is(err, ErrCorrupt):
				t.Fatalf("%s byte %d: %v", name, i, err)
			}
		}
	}
	// Each frame has seven bytes of padding at most; the reserved ones are covered.
	if frames := 40; harmless > 7*frames {
		t.Fatalf("%d bytes could change unnoticed", harmless)
	}
}

func reread(t testing.TB, disk vfs.FS, m *model) error {
	l, err := Open(Options{FS: disk, Dir: "p", AtLeast: m.last().Index})
	if err != nil {
		return err
	}
	defer l.Close()
	if _, err := l.Scrub(t.Context(), 0); err != nil {
		if m.check(l) == nil {
			t.Fatal("scrub finds damage that reading does not")
		}
		return err
	}
	return m.check(l)
}

// TestMissing removes and cuts files.
func TestMissing(t *testing.T) {
	disk := vfs.NewMem(1)
	m := filled(t, disk)
	files := readAll(t, disk)
	for name, b := range files {
		delete(files, name)
		if err := reread(t, writeAll(t, files), m); !errors.Is(err, ErrCorrupt) {
			t.Errorf("without %s: %v", name, err)
		}
		files[name] = b[:len(b)-1]
		if err := reread(t, writeAll(t, files), m); !errors.Is(err, ErrCorrupt) && !strings.HasSuffix(name, idxSuffix) {
			t.Errorf("%s a byte short: %v", name, err)
		}
		files[name] = b
	}
}

// TestAtLeast refuses a log that ends early and leaves it as it is.
func TestAtLeast(t *testing.T) {
	disk := vfs.NewMem(1)
	m := filled(t, disk)
	before := readAll(t, disk)
	_, err := Open(Options{FS: disk, Dir: "p", AtLeast: m.last().Index + 1})
	var at *CorruptError
	if !errors.Is(err, ErrCorrupt) || !errors.As(err, &at) {
		t.Fatal(err)
	}
	for name, b := range readAll(t, disk) {
		if !bytes.Equal(b, before[name]) {
			t.Fatalf("%s was changed", name)
		}
	}
	if _, err := Open(Options{FS: disk, Dir: "empty", AtLeast: 1}); !errors.Is(err, ErrCorrupt) {
		t.Fatalf("empty log: %v", err)
	}
}

func FuzzFrames(f *testing.F) {
	disk := vfs.NewMem(1)
	filled(f, disk)
	for name, b := range readAll(f, disk) {
		if strings.HasSuffix(name, idxSuffix) {
			f.Add(b)
		}
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		disk := vfs.NewMem(1)
		file, err := disk.Create("x")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := file.WriteAt(b, 0); err != nil {
			t.Fatal(err)
		}
		end, err := scanFrames(file, int64(len(b)), func(fr frame) error { decodeAny(&fr); return nil })
		if err != nil || end > int64(len(b)) {
			t.Fatalf("end %d of %d: %v", end, len(b), err)
		}
		if _, err := promised(file, end, int64(len(b))); err != nil {
			t.Fatal(err)
		}
		// Bodies as they come, without the checksum in the way.
		decodeAny(&frame{kind: kindEntries, body: b})
		decodeAny(&frame{kind: kindCheckpoint, body: b})
		decodeAny(&frame{kind: kindSeal, body: b})
		decodeAny(&frame{kind: kindHead, body: b})
	})
}

// decodeAny runs the decoder of the frame's kind.
func decodeAny(fr *frame) {
	switch fr.kind {
	case kindEntries:
		if sp, _, ok := parseSpan(fr); ok {
			if ms, ok := metas(&sp, fr.body); ok && int64(len(ms)) != sp.count {
				panic("metas and span disagree")
			}
		}
	case kindCheckpoint:
		parseCheckpoint(fr.body)
	case kindSeal:
		parseSeal(fr.body)
	case kindHead:
		parseHead(fr.body, fileID{})
	}
}
