package vfs_test

import (
	"errors"
	"io"
	"syscall"
	"testing"

	"dyno/wal/vfs"
)

func TestFaults(t *testing.T) {
	for name, c := range map[string]struct {
		op  vfs.Op
		run func(vfs.FS, vfs.File) error
	}{
		"write": {vfs.OpWrite, func(_ vfs.FS, f vfs.File) error { _, err := f.WriteAt([]byte("x"), 0); return err }},
		"zeros": {vfs.OpWrite, func(_ vfs.FS, f vfs.File) error { return vfs.Zeros(f, 0, vfs.DirectAlign) }},
		"begun": {vfs.OpWrite, func(_ vfs.FS, f vfs.File) error {
			return errors.Join(f.BeginDirect(vfs.Aligned(vfs.DirectAlign), 0), f.EndDirect())
		}},
		"sync":  {vfs.OpDatasync, func(_ vfs.FS, f vfs.File) error { return f.Datasync() }},
		"alloc": {vfs.OpAllocate, func(_ vfs.FS, f vfs.File) error { return f.Allocate(0, 10) }},
		"cut":   {vfs.OpTruncate, func(_ vfs.FS, f vfs.File) error { return f.Truncate(0) }},
		"read":  {vfs.OpRead, func(_ vfs.FS, f vfs.File) error { _, err := f.ReadAt(make([]byte, 1), 0); return err }},
		"direct read": {vfs.OpRead, func(_ vfs.FS, f vfs.File) error {
			if n, err := f.ReadDirect(vfs.Aligned(vfs.DirectAlign), 0); n == 0 { // content is shorter
				return err
			}
			return nil
		}},
		"create": {vfs.OpCreate, func(s vfs.FS, _ vfs.File) error { _, err := s.Create("/new"); return err }},
		"open":   {vfs.OpOpen, func(s vfs.FS, _ vfs.File) error { _, err := s.Open("/f"); return err }},
		"rename": {vfs.OpRename, func(s vfs.FS, _ vfs.File) error { return s.Rename("/f", "/g") }},
		"remove": {vfs.OpRemove, func(s vfs.FS, _ vfs.File) error { return s.Remove("/f") }},
		"mkdir":  {vfs.OpMkdir, func(s vfs.FS, _ vfs.File) error { return s.MkdirAll("/d") }},
		"list":   {vfs.OpList, func(s vfs.FS, _ vfs.File) error { _, err := s.List("/"); return err }},
		"stat":   {vfs.OpStat, func(s vfs.FS, _ vfs.File) error { _, err := s.Stat("/f"); return err }},
		"dir":    {vfs.OpSyncDir, func(s vfs.FS, _ vfs.File) error { return s.SyncDir("/") }},
		"lock":   {vfs.OpLock, func(s vfs.FS, _ vfs.File) error { _, err := s.Lock("/L"); return err }},
		"free":   {vfs.OpFree, func(s vfs.FS, _ vfs.File) error { _, err := s.Free("/"); return err }},
	} {
		t.Run(name, func(t *testing.T) {
			inner := vfs.NewMem(1)
			write(t, create(t, inner, "/f"), 0, "content")
			armed := false
			fsys := vfs.NewFaulty(inner, func(call vfs.Call) vfs.Fault {
				if armed && call.Op == c.op {
					return vfs.Fault{Err: syscall.EIO}
				}
				return vfs.Fault{}
			})
			f, err := fsys.Open("/f")
			must(t, err)
			defer f.Close()
			tree, n := inner.Tree(), fsys.Count(c.op)
			armed = true
			if err := c.run(fsys, f); !errors.Is(err, syscall.EIO) {
				t.Fatalf("%v", err)
			}
			if fsys.Count(c.op) != n+1 {
				t.Error("the failed call is not counted")
			}
			if inner.Tree() != tree || content(t, inner, "/f") != "content" {
				t.Error("the failed call reached the disk")
			}
			armed = false
			must(t, c.run(fsys, f))
		})
	}
}

func TestShortWrite(t *testing.T) {
	inner := vfs.NewMem(1)
	fsys := vfs.NewFaulty(inner, func(c vfs.Call) vfs.Fault {
		if c.Op == vfs.OpWrite && c.Nth == 1 {
			return vfs.Fault{Short: 4}
		}
		return vfs.Fault{}
	})
	f := create(t, fsys, "/f")
	n, err := f.Writev([][]byte{[]byte("abc"), []byte("def")}, 0)
	if n != 4 || !errors.Is(err, io.ErrShortWrite) {
		t.Fatalf("%d, %v", n, err)
	}
	if c := content(t, inner, "/f"); c != "abcd" {
		t.Fatalf("%q", c)
	}
}

func TestFlip(t *testing.T) {
	fsys := vfs.NewFaulty(vfs.NewMem(1), func(c vfs.Call) vfs.Fault {
		if c.Op == vfs.OpRead && c.Nth == 1 {
			return vfs.Fault{Flip: 1 + 9} // second byte, second bit
		}
		return vfs.Fault{}
	})
	write(t, create(t, fsys, "/f"), 0, "aaa")
	if c := content(t, fsys, "/f"); c != "aca" {
		t.Fatalf("first read %q", c)
	}
	if c := content(t, fsys, "/f"); c != "aaa" {
		t.Fatalf("second read %q", c)
	}
}

func TestGate(t *testing.T) {
	g := vfs.NewGate(vfs.OpDatasync)
	f := create(t, vfs.NewFaulty(vfs.NewMem(1), g.Plan), "/f")
	must(t, f.Datasync())
	g.Shut()
	done := make(chan error, 1)
	go func() { done <- f.Datasync() }()
	<-g.Waiting()
	select {
	case <-done:
		t.Fatal("the call went through a shut gate")
	default:
	}
	g.Open()
	must(t, <-done)
}

func TestPlans(t *testing.T) {
	count := func(p vfs.Plan) (failed []int) {
		f := create(t, vfs.NewFaulty(vfs.NewMem(1), p), "/f")
		for i := range 50 {
			if f.Datasync() != nil {
				failed = append(failed, i+1)
			}
		}
		return failed
	}
	if got := count(vfs.FailNth(vfs.OpDatasync, 3, syscall.EIO)); len(got) != 1 || got[0] != 3 {
		t.Errorf("FailNth: %v", got)
	}
	if got := count(vfs.FailAfter(vfs.OpDatasync, 47, syscall.EIO)); len(got) != 3 {
		t.Errorf("FailAfter: %v", got)
	}
	a, b := count(vfs.Seeded(5, 0.2, syscall.EIO, vfs.OpDatasync)), count(vfs.Seeded(5, 0.2, syscall.EIO, vfs.OpDatasync))
	if len(a) == 0 || len(a) == 50 || len(a) != len(b) {
		t.Errorf("Seeded: %v and %v", a, b)
	}
}
