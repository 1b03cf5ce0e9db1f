package vfs

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"

	"golang.org/x/sys/unix"
)

// Writes aside of several files at once must arrive whole, each in its file, with the
// kernel's contexts and without; contexts are used again.
func TestWriteAside(t *testing.T) {
	defer asides.refused.Store(asides.refused.Load())
	asides.mu.Lock()
	asides.free = nil // of other tests
	asides.mu.Unlock()
	const files, pages = 4, 50
	for _, refused := range []bool{false, true} {
		asides.refused.Store(refused)
		var wg sync.WaitGroup
		for i := range files {
			name := filepath.Join(t.TempDir(), "f")
			wg.Go(func() {
				f, err := OS().Create(name)
				if err != nil {
					t.Error(err)
					return
				}
				defer f.Close()
				var want []byte
				for n := range pages {
					p := Aligned((1 + n%3) * DirectAlign)
					for j := range p {
						p[j] = byte(i*pages + n)
					}
					if c, err := f.WriteAside(p, int64(len(want))); c != len(p) || err != nil {
						t.Errorf("WriteAside: %d of %d, %v", c, len(p), err)
						return
					}
					want = append(want, p...)
				}
				got := make([]byte, len(want))
				if _, err := f.ReadAt(got, 0); err != nil || !bytes.Equal(got, want) {
					t.Errorf("file %d, refused %v: other bytes than were written, %v", i, refused, err)
				}
			})
		}
		wg.Wait()
	}
	asides.refused.Store(false)
	asides.mu.Lock()
	n := len(asides.free)
	asides.mu.Unlock()
	if _, o := asideFile(t); n < 1 || n > files {
		t.Errorf("%d contexts for %d writers to a file system that takes direct writes: %v", n, files, o.directFD() >= 0)
	}
}

// asideFile is an empty file, by name and open, where contexts and direct writes are to be had.
func asideFile(t *testing.T) (string, *osFile) {
	t.Helper()
	name := filepath.Join(t.TempDir(), "f")
	f, err := OS().Create(name)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	o := f.(*osFile)
	a := takeAside()
	if a == nil || o.directFD() < 0 {
		t.Skipf("no writes aside here: contexts %v, direct writes %v", a != nil, o.directFD() >= 0)
	}
	a.giveBack()
	return name, o
}

// What the disk answers must come back as an error, whether the kernel refuses the
// operation at once or its end tells.
func TestWriteAsideFails(t *testing.T) {
	name, o := asideFile(t)
	reader, err := unix.Open(name, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(reader)
	p := Aligned(DirectAlign)
	for what, c := range map[string]struct {
		fd  int
		off int64
	}{"before the file": {o.fd, -1}, "to a file open for reading": {reader, 0}, "to a place that is not aligned": {o.directFD(), 1}} {
		_, want := unix.Pwrite(c.fd, p, c.off)
		if _, err := pwriteAside(c.fd, p, c.off); want == nil || !errors.Is(err, want) {
			t.Errorf("a write %s: %v, want %v", what, err, want)
		}
	}
}

// What a write of a burst came to must be judged: the rest of a short one is written,
// one that the file system does not take direct goes through the cache, and an error
// of the disk comes back.
func TestBurstEnds(t *testing.T) {
	name, o := asideFile(t)
	p := Aligned(3 * DirectAlign)
	for i := range p {
		p[i] = byte(1 + i/DirectAlign)
	}
	for what, c := range map[string]struct {
		result  int64
		written int // bytes at the front that ended leaves to the kernel
		err     error
	}{
		"whole":         {int64(len(p)), len(p), nil},
		"short":         {DirectAlign, DirectAlign, nil},
		"odd":           {DirectAlign + 512, DirectAlign, nil},
		"nothing":       {0, 0, nil},
		"not direct":    {-int64(unix.EINVAL), 0, nil},
		"try again":     {-int64(unix.EAGAIN), 0, nil},
		"broken disk":   {-int64(unix.EIO), len(p), unix.EIO},
		"no room there": {-int64(unix.ENOSPC), len(p), unix.ENOSPC},
	} {
		if err := o.Truncate(0); err != nil {
			t.Fatal(err)
		}
		if err := o.ended(p, 0, c.result); !errors.Is(err, c.err) || (err == nil) != (c.err == nil) {
			t.Errorf("%s: %v, want %v", what, err, c.err)
		}
		got, err := os.ReadFile(name)
		want := append(make([]byte, c.written), p[c.written:]...)
		if c.written == len(p) {
			want = nil
		}
		if err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s: %d bytes in the file, want %d, %v", what, len(got), len(want), err)
		}
	}
}

// An error of the disk must come back from EndDirect, that of the write it belongs to,
// and the burst goes on with the next one.
func TestBurstFails(t *testing.T) {
	_, o := asideFile(t)
	p := Aligned(3 * DirectAlign)
	for i := range p {
		p[i] = byte(1 + i/DirectAlign)
	}
	page := func(i int) []byte { return p[i*DirectAlign : (i+1)*DirectAlign] }
	const beyond = 1 << 62 // what any file system can hold
	for i, off := range []int64{0, beyond, DirectAlign} {
		if err := o.BeginDirect(page(i), off); err != nil {
			t.Fatalf("write %d was not begun: %v", i, err)
		}
	}
	if o.burst.n != 3 {
		t.Fatalf("%d writes are under way, want 3", o.burst.n)
	}
	if err := o.EndDirect(); !errors.Is(err, unix.EFBIG) {
		t.Errorf("a write at %d: %v", int64(beyond), err)
	}
	if err := errors.Join(o.BeginDirect(page(1), 2*DirectAlign), o.EndDirect()); err != nil {
		t.Errorf("the write after it: %v", err)
	}
	got := make([]byte, 3*DirectAlign)
	if _, err := o.ReadAt(got, 0); err != nil || !bytes.Equal(got, slices.Concat(page(0), page(2), page(1))) {
		t.Errorf("other bytes than were written, %v", err)
	}
}

// Without contexts of the kernel a burst is a row of plain writes.
func TestBurstRefused(t *testing.T) {
	_, o := asideFile(t)
	defer asides.refused.Store(asides.refused.Load())
	asides.refused.Store(true)
	p := Aligned(DirectAlign)
	p[0] = 1
	got := make([]byte, 1)
	if err := errors.Join(o.BeginDirect(p, 0), o.EndDirect()); err != nil {
		t.Error(err)
	}
	if _, err := o.ReadAt(got, 0); err != nil || got[0] != 1 {
		t.Errorf("read %d, %v", got[0], err)
	}
}
