package vfs

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"unsafe"

	"golang.org/x/sys/unix"
)

// iovecsMax is IOV_MAX on Linux: pwritev(2) refuses more in one call.
const iovecsMax = 1024

// OS is the real disk.
func OS() FS { return osFS{} }

type osFS struct{}

func (osFS) Create(name string) (File, error) {
	return wrapFile(os.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o644))
}

func (osFS) Open(name string) (File, error) {
	f, err := os.OpenFile(name, os.O_RDWR, 0)
	if errors.Is(err, fs.ErrPermission) || errors.Is(err, unix.EROFS) {
		// Whoever only reads may do so on a disk that only reads; a write
		// through this file fails with EBADF.
		f, err = os.OpenFile(name, os.O_RDONLY, 0)
	}
	return wrapFile(f, err)
}

func wrapFile(f *os.File, err error) (File, error) {
	if err != nil {
		return nil, err
	}
	return &osFile{f: f, fd: int(f.Fd())}, nil
}

func (osFS) Remove(name string) error             { return os.Remove(name) }
func (osFS) RemoveAll(name string) error          { return os.RemoveAll(name) }
func (osFS) Rename(oldname, newname string) error { return os.Rename(oldname, newname) }
func (osFS) MkdirAll(dir string) error            { return os.MkdirAll(dir, 0o755) }

func (osFS) List(dir string) ([]string, error) {
	ents, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	names := make([]string, len(ents))
	for i, e := range ents {
		names[i] = e.Name()
	}
	return names, nil
}

func (osFS) Stat(name string) (int64, error) {
	st, err := os.Stat(name)
	if err != nil {
		return 0, err
	}
	return st.Size(), nil
}

func (osFS) SyncDir(dir string) error {
	d, err := os.Open(filepath.Clean(dir))
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}

func (osFS) Lock(name string) (io.Closer, error) {
	f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return nil, err
	}
	for {
		err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if err != unix.EINTR {
			break
		}
	}
	if err != nil {
		f.Close()
		if err == unix.EWOULDBLOCK {
			return nil, fmt.Errorf("%s: %w", name, ErrLocked)
		}
		return nil, &fs.PathError{Op: "flock", Path: name, Err: err}
	}
	return f, nil // closing the descriptor drops the lock
}

func (osFS) Free(dir string) (int64, error) {
	var st unix.Statfs_t
	for {
		err := unix.Statfs(dir, &st)
		if err == nil {
			return int64(st.Bavail) * st.Bsize, nil
		}
		if err != unix.EINTR {
			return 0, &fs.PathError{Op: "statfs", Path: dir, Err: err}
		}
	}
}

// osFile keeps the descriptor beside the os.File: pwritev, fdatasync and
// fallocate have no method there. The caller does not close a file in use.
type osFile struct {
	f      *os.File
	fd     int
	direct direct
	burst  *burst // nil until the first BeginDirect
}

func (o *osFile) ReadAt(p []byte, off int64) (int, error)  { return o.f.ReadAt(p, off) }
func (o *osFile) WriteAt(p []byte, off int64) (int, error) { return o.f.WriteAt(p, off) }
func (o *osFile) Truncate(size int64) error                { return o.f.Truncate(size) }

func (o *osFile) Close() error { return errors.Join(o.closeDirect(), o.f.Close()) }

func (o *osFile) Size() (int64, error) {
	st, err := o.f.Stat()
	if err != nil {
		return 0, err
	}
	return st.Size(), nil
}

// iovecs recycles the kernel's view of a write, so that a write allocates
// nothing however many pieces it has.
var iovecs = sync.Pool{New: func() any { return new([iovecsMax]unix.Iovec) }}

func (o *osFile) Writev(bufs [][]byte, off int64) (int64, error) {
	iov := iovecs.Get().(*[iovecsMax]unix.Iovec)
	n, err := o.writev(iov, bufs, off)
	clear(iov[:min(len(bufs), iovecsMax)]) // drop the references to the caller's bytes
	iovecs.Put(iov)
	runtime.KeepAlive(o.f)
	if err != nil {
		return n, &fs.PathError{Op: "pwritev", Path: o.f.Name(), Err: err}
	}
	return n, nil
}

// writev goes on after a short write and after an interrupted call, neither of
// which is an error of the disk. i and skip say where in bufs it stands.
func (o *osFile) writev(iov *[iovecsMax]unix.Iovec, bufs [][]byte, off int64) (total int64, err error) {
	i, skip := 0, 0
	for {
		n := 0
		for j := i; j < len(bufs) && n < iovecsMax; j++ {
			b := bufs[j]
			if j == i {
				b = b[skip:]
			}
			if len(b) == 0 {
				continue
			}
			iov[n].Base = &b[0]
			iov[n].SetLen(len(b))
			n++
		}
		if n == 0 {
			return total, nil
		}
		w, err := pwritev(o.fd, iov[:n], off+total)
		if err != nil {
			return total, err
		}
		if w == 0 {
			return total, io.ErrShortWrite
		}
		total += int64(w)
		for w > 0 {
			if left := len(bufs[i]) - skip; w < left {
				skip += w
				break
			} else {
				w -= left
				i, skip = i+1, 0
			}
		}
	}
}

func pwritev(fd int, iov []unix.Iovec, off int64) (int, error) {
	for {
		// The offset is split in two longs; on 64 bits the low one holds it.
		n, _, errno := unix.Syscall6(unix.SYS_PWRITEV, uintptr(fd),
			uintptr(unsafe.Pointer(&iov[0])), uintptr(len(iov)), uintptr(off), uintptr(uint64(off)>>32), 0)
		if errno == 0 {
			return int(n), nil
		}
		if errno != unix.EINTR {
			return 0, errno
		}
	}
}

func (o *osFile) Datasync() error {
	for {
		err := unix.Fdatasync(o.fd)
		if err == nil {
			runtime.KeepAlive(o.f)
			return nil
		}
		// An interrupted call synced nothing and forgot no error: not a retry.
		if err != unix.EINTR {
			return &fs.PathError{Op: "fdatasync", Path: o.f.Name(), Err: err}
		}
	}
}

func (o *osFile) Allocate(off, n int64) error {
	for {
		err := unix.Fallocate(o.fd, 0, off, n)
		if err == nil || err == unix.EOPNOTSUPP {
			// Where the file system cannot reserve, the write itself tells
			// about a full disk.
			runtime.KeepAlive(o.f)
			return nil
		}
		if err != unix.EINTR {
			return &fs.PathError{Op: "fallocate", Path: o.f.Name(), Err: err}
		}
	}
}
