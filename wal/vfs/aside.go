package vfs

import (
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// A write aside is one operation of Linux's own asynchronous interface (io_submit(2))
// whose end an eventfd tells: the goroutine parks in the runtime's poller. A write that blocks
// its thread has the runtime hand the thread's processor to another one, twice, and
// keeps its monitor awake, 50,000 times a second; where requests are as many as cores
// can bear, they pay for it.

// asideMax is how many operations a context has room for.
const asideMax = 16

// aside is a context of the kernel's for some operations at once. It belongs to
// whoever took it.
type aside struct {
	context uintptr
	event   *os.File // an eventfd
	number  int      // its descriptor
	ops     [asideMax]iocb
	done    [asideMax]ioEvent
	count   [8]byte
}

// iocb is struct iocb of linux/aio_abi.h, whose other fields stay zero.
type iocb struct {
	number  uint64 // comes back in the event
	_       uint64
	opcode  uint16
	_       int16
	fd      uint32
	buf     uint64
	bytes   uint64
	off     int64
	_       uint64
	flags   uint32
	eventfd uint32
}

// ioEvent is struct io_event.
type ioEvent struct {
	number uint64
	_      uint64
	result int64 // bytes, or an errno below zero
	_      int64
}

const (
	iocbPwrite  = 1 // IOCB_CMD_PWRITE
	iocbEventFD = 1 // IOCB_FLAG_RESFD
)

// asides holds the contexts that nobody uses; there are as many as files were ever
// written to at once, two for each log, and they stay: to end one takes the kernel
// milliseconds.
var asides struct {
	refused atomic.Bool // by the kernel: there are none here
	mu      sync.Mutex
	free    []*aside // guarded by mu
}

// takeAside is nil where the kernel has no such context to give.
func takeAside() *aside {
	if asides.refused.Load() {
		return nil
	}
	asides.mu.Lock()
	if n := len(asides.free); n > 0 {
		a := asides.free[n-1]
		asides.free = asides.free[:n-1]
		asides.mu.Unlock()
		return a
	}
	asides.mu.Unlock()
	a, err := newAside()
	if err != nil {
		// Other errors pass: the limit of contexts, or of descriptors.
		if errors.Is(err, unix.ENOSYS) || errors.Is(err, unix.EPERM) || errors.Is(err, unix.EACCES) || errors.Is(err, os.ErrNoDeadline) {
			asides.refused.Store(true)
		}
		return nil
	}
	return a
}

func (a *aside) giveBack() {
	asides.mu.Lock()
	defer asides.mu.Unlock()
	asides.free = append(asides.free, a)
}

func newAside() (*aside, error) {
	a := &aside{}
	if _, _, errno := unix.Syscall(unix.SYS_IO_SETUP, asideMax, uintptr(unsafe.Pointer(&a.context)), 0); errno != 0 {
		return nil, errno
	}
	fd, err := unix.Eventfd(0, unix.EFD_NONBLOCK|unix.EFD_CLOEXEC)
	if err != nil {
		_, _, _ = unix.Syscall(unix.SYS_IO_DESTROY, a.context, 0, 0) // the error that counts is on its way
		return nil, err
	}
	a.number, a.event = fd, os.NewFile(uintptr(fd), "eventfd")
	if err := a.try(); err != nil {
		_ = a.event.Close() // as above
		_, _, _ = unix.Syscall(unix.SYS_IO_DESTROY, a.context, 0, 0)
		return nil, err
	}
	return a, nil
}

// try says whether the end of an operation could be heard of: that must not turn out
// when one is under way.
func (a *aside) try() error {
	if err := a.event.SetReadDeadline(time.Time{}); err != nil {
		return err // os.ErrNoDeadline: not in the poller
	}
	var atOnce unix.Timespec
	_, _, errno := unix.Syscall6(unix.SYS_IO_GETEVENTS, a.context, 0, 1, uintptr(unsafe.Pointer(&a.done)), uintptr(unsafe.Pointer(&atOnce)), 0)
	if errno != 0 {
		return errno
	}
	return nil
}

// start hands operation i over, a write of p at off of fd. If it is false, the kernel
// took nothing. Where told is set, the eventfd counts its end.
func (a *aside) start(i, fd int, p []byte, off int64, told bool) bool {
	a.ops[i] = iocb{number: uint64(i), opcode: iocbPwrite, fd: uint32(fd), buf: uint64(uintptr(unsafe.Pointer(&p[0]))), bytes: uint64(len(p)), off: off}
	if told {
		a.ops[i].flags, a.ops[i].eventfd = iocbEventFD, uint32(a.number)
	}
	op := &a.ops[i]
	// To hand it over may block, as on the journal: not a raw call.
	n, _, errno := unix.Syscall(unix.SYS_IO_SUBMIT, a.context, 1, uintptr(unsafe.Pointer(&op)))
	return errno == 0 && n == 1
}

// reap blocks its thread until n operations have ended, whose events are done[:n].
func (a *aside) reap(n int) error {
	for got := 0; got < n; {
		left := uintptr(n - got)
		c, _, errno := unix.Syscall6(unix.SYS_IO_GETEVENTS, a.context, left, left, uintptr(unsafe.Pointer(&a.done[got])), 0, 0)
		switch {
		case errno == unix.EINTR:
		case errno != 0:
			return errno
		case c == 0:
			return errors.New("io_getevents: no event")
		default:
			got += int(c)
		}
	}
	return nil
}

// pwriteAside is pwrite(2) whose caller's thread does not wait. p must not lie on a
// stack, which moves: what comes through File never does.
func pwriteAside(fd int, p []byte, off int64) (int, error) {
	a := takeAside()
	if a == nil {
		return unix.Pwrite(fd, p, off)
	}
	if !a.start(0, fd, p, off, true) {
		a.giveBack()
		return unix.Pwrite(fd, p, off)
	}
	_, err := io.ReadFull(a.event, a.count[:])
	if err == nil {
		err = a.reap(1)
	}
	runtime.KeepAlive(p)
	if err != nil {
		// The context is lost, for its operation may be under way. What kept us from
		// waiting is no answer of the disk, so it is not wrapped.
		return 0, fmt.Errorf("wait for a write aside: %v", err)
	}
	result := a.done[0].result
	a.giveBack()
	if result < 0 {
		return 0, unix.Errno(-result)
	}
	return int(result), nil
}
