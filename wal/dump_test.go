package wal_test

import (
	"errors"
	"strings"
	"testing"

	"dyno/wal"
	"dyno/wal/vfs"
)

func dump(t *testing.T, fs vfs.FS) (string, error) {
	t.Helper()
	var b strings.Builder
	err := wal.Dump(&b, fs, "/wal", wal.DumpOptions{Frames: true, Records: true})
	return b.String(), err
}

func TestDump(t *testing.T) {
	m := vfs.NewMem(1)
	l := mustOpen(t, wal.ConfirmAfter(small(m, "/wal"), 1<<40))
	must(t, do(l, entries(1, 1, 3, 7, 100)...))
	must(t, do(l, wal.Record{Stream: 1, Kind: wal.KindState, Term: 7, Vote: 3, Index: 2}))
	out, err := dump(t, m) // takes no lock: l has it
	if err != nil || !strings.Contains(out, "verdict: not confirmed: ends at byte ") {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, want := range []string{
		"format 1: ", "segment 1: 65536 bytes", "the first of the log",
		"80: stream 1 entry index 1 term 7 type 1, 100 bytes", "stream 1 state term 7 vote 3 commit 2", "promises segment 1 byte 384",
	} {
		if !strings.Contains(out, want) {
			t.Errorf("missing %q in\n%s", want, out)
		}
	}
	must(t, l.Close())
	tree := m.Tree()
	if out, err := dump(t, m); err != nil || !strings.Contains(out, "verdict: closed cleanly") {
		t.Fatalf("%v\n%s", err, out)
	}
	if m.Tree() != tree {
		t.Error("Dump changed the disk")
	}
	flip(m, "/wal/0000000000000001.wal", 130, 1)
	out, err = dump(t, m)
	if !errors.Is(err, wal.ErrCorrupt) || !strings.Contains(out, "verdict: DAMAGED: wal: /wal/0000000000000001.wal at byte 80: the payload does not match") {
		t.Fatalf("%v\n%s", err, out)
	}
}

func TestReadOnly(t *testing.T) {
	m := vfs.NewMem(1)
	o := small(m, "/wal")
	l := mustOpen(t, o)
	must(t, do(l, entries(1, 1, 101, 7, 1000)...))
	ro := o
	ro.ReadOnly = true
	r := mustOpen(t, ro) // beside the owner
	wantEntries(t, r, 1, 1, 101, 7, 1000)
	if err := do(r, entry(1, 101, 7, 1)); !errors.Is(err, wal.ErrReadOnly) {
		t.Fatalf("Submit: %v", err)
	}
	if err := r.Release(1); !errors.Is(err, wal.ErrReadOnly) {
		t.Fatalf("Release: %v", err)
	}
	must(t, r.Close())
	must(t, do(l, entry(1, 101, 7, 1)))
}
