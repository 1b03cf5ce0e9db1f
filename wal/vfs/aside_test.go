package vfs

import (
	"bytes"
	"errors"
	"path/filepath"
	"sync"
	"testing"

	"golang.org/x/sys/unix"
)

// Writes aside of several files at once must arrive whole, each in its file, with the
// kernel's contexts and without; contexts are used again.
func TestWriteAside(t *testing.T) {
	defer asides.refused.Store(asides.refused.Load())
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
	if n := len(asides.free); n > files {
		t.Errorf("%d contexts for %d writers", n, files)
	}
}

// What the disk answers must come back as an error.
func TestWriteAsideFails(t *testing.T) {
	name := filepath.Join(t.TempDir(), "f")
	f, err := OS().Create(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	o := f.(*osFile)
	p := Aligned(DirectAlign)
	if _, err := pwriteAside(o.fd, p, -1); !errors.Is(err, unix.EINVAL) {
		t.Errorf("a write before the file: %v", err)
	}
	reader, err := unix.Open(name, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(reader)
	if _, err := pwriteAside(reader, p, 0); !errors.Is(err, unix.EBADF) {
		t.Errorf("a write to a file open for reading: %v", err)
	}
}
