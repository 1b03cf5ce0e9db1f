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

const (
	zeroChunkBytes = 1 << 20
	directAlign    = 4096 // of memory, offset and length: no disk asks for more
)

// Zeros writes zeros to [off, off+n) of f. Like any write it is durable after
// Datasync. It blocks on I/O; nobody else may write to f meanwhile.
//
// On the real disk it goes past the page cache (O_DIRECT) where file system and
// alignment allow: nobody will read these bytes, and to put 1 GiB of zeros
// through the cache took 2.45 s of CPU against 0.12 s on a 2-core machine with
// ext4, in 2.7 s against 0.4 s.
func Zeros(f File, off, n int64) error {
	if z, ok := f.(interface{ zeroDirect(off, n int64) error }); ok {
		err := z.zeroDirect(off, n)
		if !errors.Is(err, errNoDirect) {
			return err
		}
	}
	buf := zeroes()
	for end := off + n; off < end; {
		c, err := f.WriteAt(buf[:min(zeroChunkBytes, end-off)], off)
		if err != nil {
			return err
		}
		off += int64(c)
	}
	return nil
}

// zeroes is a chunk of zeros that begins at a multiple of directAlign.
var zeroes = sync.OnceValue(func() []byte {
	b := make([]byte, zeroChunkBytes+directAlign)
	skip := directAlign - int(uintptr(unsafe.Pointer(&b[0]))%directAlign)
	return b[skip : skip+zeroChunkBytes]
})

var errNoDirect = errors.New("vfs: no direct I/O here")

// zeroDirect uses a second descriptor of the same file, because O_DIRECT holds
// for a descriptor as a whole. errNoDirect: nothing was written.
func (o *osFile) zeroDirect(off, n int64) error {
	if off%directAlign != 0 || n%directAlign != 0 {
		return errNoDirect
	}
	fd, err := unix.Open(fmt.Sprintf("/proc/self/fd/%d", o.fd), unix.O_WRONLY|unix.O_DIRECT|unix.O_CLOEXEC, 0)
	runtime.KeepAlive(o.f)
	if err != nil {
		return errNoDirect
	}
	defer unix.Close(fd)
	buf := zeroes()
	for end, first := off+n, true; off < end; first = false {
		c, err := unix.Pwrite(fd, buf[:min(zeroChunkBytes, end-off)], off)
		switch {
		case err == unix.EINTR:
			continue
		case err == unix.EINVAL && first, err == nil && c%directAlign != 0:
			return errNoDirect // the caller begins anew, through the cache
		case err != nil:
			return &fs.PathError{Op: "pwrite", Path: o.f.Name(), Err: err}
		}
		off += int64(c)
	}
	return nil
}
