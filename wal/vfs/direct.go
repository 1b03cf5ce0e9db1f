package vfs

import (
	"errors"
	"fmt"
	"io/fs"
	"runtime"
	"sync"
	"unsafe"

	"golang.org/x/sys/unix"
)

// DirectAlign is what File.WriteDirect and ReadDirect ask of address, offset and
// length: a multiple of it satisfies every disk.
const DirectAlign = 4096

const hugePage = 2 << 20

// Aligned makes a slice of n bytes, with at least as much capacity, whose address is a
// multiple of DirectAlign. From 2 MiB on it lies in huge pages where the system
// gives them: a disk takes a limited number of pieces of memory per request (254
// of 4 KiB, virtio), and a direct write of 2 MiB took 480 us in small pages and
// 265 us in huge ones.
func Aligned(n int) []byte {
	align, room := DirectAlign, n
	if n >= hugePage {
		align = hugePage
		room = (n + hugePage - 1) / hugePage * hugePage
	}
	b := make([]byte, room+align)
	skip := (align - int(uintptr(unsafe.Pointer(&b[0]))%uintptr(align))) % align
	b = b[skip : skip+room : skip+room]
	if align == hugePage {
		// Hints, both: what they do not get is speed. The second is for memory
		// that the heap has used before, in small pages.
		_ = unix.Madvise(b, unix.MADV_HUGEPAGE)
		_ = unix.Madvise(b, unix.MADV_COLLAPSE)
	}
	return b[:n]
}

const zeroChunkBytes = 1 << 20

var zeroes = sync.OnceValue(func() []byte { return Aligned(zeroChunkBytes) })

// Zeros writes zeros to [off, off+n) of f; both must be multiples of
// DirectAlign. Like any write it is durable after Datasync. It blocks on I/O.
func Zeros(f File, off, n int64) error {
	for end := off + n; off < end; {
		c, err := f.WriteAside(zeroes()[:min(zeroChunkBytes, end-off)], off)
		if err != nil {
			return err
		}
		off += int64(c)
	}
	return nil
}

// misaligned panics where a caller of WriteDirect or ReadDirect broke its duty:
// on a real disk the kernel would refuse only some of these calls.
func misaligned(p []byte, off int64) {
	if len(p) > 0 && (uintptr(unsafe.Pointer(&p[0]))%DirectAlign != 0 || len(p)%DirectAlign != 0 || off%DirectAlign != 0) {
		panic(fmt.Sprintf("BUG: vfs: direct access to %d bytes at %d is not aligned", len(p), off))
	}
}

// direct is the second descriptor of an osFile, because O_DIRECT holds for a
// descriptor as a whole. It is opened by the first WriteDirect or ReadDirect.
type direct struct {
	once sync.Once
	fd   int // -1: this file system cannot
}

func (o *osFile) directFD() int {
	o.direct.once.Do(func() {
		fd, err := unix.Open(fmt.Sprintf("/proc/self/fd/%d", o.fd), unix.O_RDWR|unix.O_DIRECT|unix.O_CLOEXEC, 0)
		if err != nil {
			fd = -1
		}
		o.direct.fd = fd
	})
	return o.direct.fd
}

func (o *osFile) closeDirect() error {
	o.direct.once.Do(func() { o.direct.fd = -1 })
	if o.direct.fd < 0 {
		return nil
	}
	return unix.Close(o.direct.fd)
}

func (o *osFile) WriteDirect(p []byte, off int64) (int, error) {
	return o.writeDirect(p, off, unix.Pwrite)
}

func (o *osFile) WriteAside(p []byte, off int64) (int, error) {
	return o.writeDirect(p, off, pwriteAside)
}

func (o *osFile) writeDirect(p []byte, off int64, pwrite func(fd int, p []byte, off int64) (int, error)) (int, error) {
	misaligned(p, off)
	fd := o.directFD()
	done := 0
	for done < len(p) && fd >= 0 {
		c, err := pwrite(fd, p[done:], off+int64(done))
		switch {
		case errors.Is(err, unix.EINTR):
		case errors.Is(err, unix.EINVAL), err == nil && (c == 0 || c%DirectAlign != 0):
			fd = -1 // not here, or not in such pieces: through the cache
		case err != nil:
			return done, &fs.PathError{Op: "pwrite", Path: o.f.Name(), Err: err}
		default:
			done += c
		}
	}
	runtime.KeepAlive(o.f)
	if done == len(p) {
		return done, nil
	}
	c, err := o.WriteAt(p[done:], off+int64(done))
	return done + c, err
}

// ReadDirect goes on through the cache where a direct read does not get on: at
// the end of a file whose size is not a multiple of DirectAlign, too.
func (o *osFile) ReadDirect(p []byte, off int64) (int, error) {
	misaligned(p, off)
	fd := o.directFD()
	done := 0
	for done < len(p) && fd >= 0 {
		c, err := unix.Pread(fd, p[done:], off+int64(done))
		switch {
		case errors.Is(err, unix.EINTR):
		case errors.Is(err, unix.EINVAL):
			fd = -1
		case err != nil:
			return done, &fs.PathError{Op: "pread", Path: o.f.Name(), Err: err}
		default:
			if done += c; c == 0 || c%DirectAlign != 0 {
				fd = -1
			}
		}
	}
	runtime.KeepAlive(o.f)
	if done == len(p) {
		return done, nil
	}
	c, err := o.ReadAt(p[done:], off+int64(done))
	return done + c, err
}

func (f *memFile) WriteDirect(p []byte, off int64) (int, error) {
	misaligned(p, off)
	return f.WriteAt(p, off)
}

func (f *memFile) WriteAside(p []byte, off int64) (int, error) { return f.WriteDirect(p, off) }

func (x *faultyFile) WriteDirect(p []byte, off int64) (int, error) {
	return x.writeDirect(p, off, x.inner.WriteDirect)
}

func (x *faultyFile) WriteAside(p []byte, off int64) (int, error) {
	return x.writeDirect(p, off, x.inner.WriteAside)
}

func (x *faultyFile) writeDirect(p []byte, off int64, write func([]byte, int64) (int, error)) (int, error) {
	misaligned(p, off)
	n, err := x.write([][]byte{p}, off, func() (int64, error) {
		n, err := write(p, off)
		return int64(n), err
	})
	return int(n), err
}

func (f *memFile) ReadDirect(p []byte, off int64) (int, error) {
	misaligned(p, off)
	return f.ReadAt(p, off)
}

func (x *faultyFile) ReadDirect(p []byte, off int64) (int, error) {
	misaligned(p, off)
	return x.read(p, off, x.inner.ReadDirect)
}
