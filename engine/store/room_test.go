package store

import (
	"errors"
	"syscall"
	"testing"

	"dyno/engine/ids"
	"dyno/wal/vfs"
)

// A disk that is full when the checkpoint record is written takes the round
// back; with room the log goes on, in this life and the next.
func TestCheckpointNoRoom(t *testing.T) {
	m := vfs.NewMem(1)
	opt := Options{FS: m, Dir: "/d/p", FileBytes: 1 << 20, Cache: NewCache(4)}
	l, err := Open(opt)
	if err != nil {
		t.Fatal(err)
	}
	for round := range 3 {
		next := ids.LogIndex(round + 1)
		one := []Entry{{Index: next, Term: 1}}
		if err := l.Append(one); err != nil {
			t.Fatal(err)
		}
		m.SetRoom(1)
		err := l.Checkpoint(make([]byte, 1<<20))
		if !errors.Is(err, syscall.ENOSPC) || errors.Is(err, ErrFailed) {
			t.Fatalf("round %d: checkpoint on a full disk: %v", round, err)
		}
		if l.Last() != next-1 {
			t.Errorf("round %d: the log ends at %d", round, l.Last())
		}
		m.SetRoom(1 << 40)
		if _, err := l.TruncateBefore(0); err != nil {
			t.Errorf("round %d: truncate with room again: %v", round, err)
		}
		if err := l.Append(one); err != nil {
			t.Fatalf("round %d: append with room again: %v", round, err)
		}
		if err := l.Checkpoint([]byte("kept")); err != nil {
			t.Fatalf("round %d: checkpoint with room again: %v", round, err)
		}
	}
	opt.FS = m.PowerCut(7)
	again, err := Open(opt)
	if err != nil {
		t.Fatal(err)
	}
	if state, err := again.State(); again.Last() != 3 || string(state) != "kept" {
		t.Errorf("after a power cut: last %d, state %.10q, %v", again.Last(), state, err)
	}
}

// A sync that fails leaves the log failed, whatever the error is.
func TestCheckpointSyncFails(t *testing.T) {
	l, err := Open(Options{FS: vfs.NewFaulty(vfs.NewMem(1), vfs.FailNth(vfs.OpDatasync, 1, syscall.ENOSPC)), Dir: "/d/p", FileBytes: 1 << 20, Cache: NewCache(4)})
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Append([]Entry{{Index: 1, Term: 1}}); err != nil {
		t.Fatal(err)
	}
	if err := l.Checkpoint(nil); !errors.Is(err, ErrFailed) {
		t.Errorf("checkpoint: %v", err)
	}
	if err := l.Append([]Entry{{Index: 1, Term: 1}}); !errors.Is(err, ErrFailed) {
		t.Errorf("append: %v", err)
	}
}

// Discard takes back what is staged, and no more.
func TestDiscard(t *testing.T) {
	l, err := Open(Options{FS: vfs.NewMem(1), Dir: "/d/p", FileBytes: 1 << 20, Cache: NewCache(4)})
	if err != nil {
		t.Fatal(err)
	}
	for i := ids.LogIndex(1); i < 4; i++ {
		one := []Entry{{Index: i, Term: 1}}
		for _, f := range []func() error{
			l.Discard, // nothing is staged
			func() error { return l.Append(one) },
			l.Discard,
			func() error { _, err := l.TruncateBefore(0); return err },
			func() error { return l.Append(one) },
			func() error { return l.Checkpoint(nil) },
		} {
			if err := f(); err != nil {
				t.Fatal(err)
			}
		}
	}
	if l.Last() != 3 {
		t.Errorf("the log ends at %d", l.Last())
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if err := l.Discard(); err != nil {
		t.Errorf("after Close: %v", err)
	}
}
