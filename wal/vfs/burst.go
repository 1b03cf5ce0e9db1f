package vfs

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"sync"

	"golang.org/x/sys/unix"
)

// burst is what BeginDirect has under way in one file. It belongs to whoever calls
// BeginDirect and EndDirect.
type burst struct {
	a      *aside // nil: nothing is under way
	n      int
	writes [asideMax]beginning
}

// beginning is a write that was begun.
type beginning struct {
	p   []byte
	off int64
}

// begin hands the write over, or is false where there is no context, no room in it, or
// the kernel refuses the write.
func (b *burst) begin(fd int, p []byte, off int64) bool {
	if b.n == asideMax {
		return false
	}
	if b.a == nil {
		if b.a = takeAside(); b.a == nil {
			return false
		}
	}
	if !b.a.start(b.n, fd, p, off, false) {
		return false
	}
	b.writes[b.n] = beginning{p, off}
	b.n++
	return true
}

// lost keeps the memory of writes whose end nobody will hear of: used anew, it would go
// to the disk in their place.
var lost struct {
	mu     sync.Mutex
	bursts []*burst // guarded by mu
}

func (o *osFile) BeginDirect(p []byte, off int64) error {
	misaligned(p, off)
	if fd := o.directFD(); fd >= 0 && len(p) > 0 {
		if o.burst == nil {
			o.burst = &burst{}
		}
		if o.burst.begin(fd, p, off) {
			return nil
		}
	}
	_, err := o.WriteDirect(p, off)
	return err
}

func (o *osFile) EndDirect() error {
	b := o.burst
	if b == nil || b.a == nil {
		return nil
	}
	a, n := b.a, b.n
	b.a, b.n = nil, 0
	if err := a.reap(n); err != nil {
		// The context is lost, as in pwriteAside, and the kernel may still read.
		lost.mu.Lock()
		defer lost.mu.Unlock()
		lost.bursts = append(lost.bursts, b)
		o.burst = nil
		return fmt.Errorf("wait for direct writes: %v", err)
	}
	var first error
	for _, e := range a.done[:n] {
		w := &b.writes[e.number]
		if err := o.ended(w.p, w.off, e.result); first == nil {
			first = err
		}
		w.p = nil
	}
	a.giveBack()
	return first
}

// ended judges a write by its result and goes on with what it left.
func (o *osFile) ended(p []byte, off, result int64) error {
	switch errno := unix.Errno(max(0, -result)); {
	case result == int64(len(p)):
		return nil
	case result < 0 && errno != unix.EINVAL && errno != unix.EINTR && errno != unix.EAGAIN:
		return &fs.PathError{Op: "pwrite", Path: o.f.Name(), Err: errno}
	}
	done := max(0, result) / DirectAlign * DirectAlign
	_, err := o.WriteDirect(p[done:], off+done)
	return err
}

// memBurst is what BeginDirect has under way in one file of a Mem: every second
// write arrives at once, the others with EndDirect. All are held against what was begun:
// a disk may read them early or late.
type memBurst struct {
	begun []beginning
	as    [][]byte // what each of begun was then
}

func (f *memFile) BeginDirect(p []byte, off int64) error {
	misaligned(p, off)
	b := &f.burst
	b.begun, b.as = append(b.begun, beginning{p, off}), append(b.as, bytes.Clone(p))
	if len(b.begun)%2 == 0 {
		return nil
	}
	_, err := f.WriteAt(p, off)
	return err
}

func (f *memFile) EndDirect() error {
	var errs []error
	for i, w := range f.burst.begun {
		if !bytes.Equal(w.p, f.burst.as[i]) {
			panic("BUG: vfs: what was begun to be written to " + f.name + " was changed before the end")
		}
		if i%2 == 1 {
			_, err := f.WriteAt(w.p, w.off)
			errs = append(errs, err)
		}
	}
	f.burst = memBurst{}
	return errors.Join(errs...)
}

// atRest panics where what was begun has not ended: on a real disk that would show now
// and then.
func (f *memFile) atRest(what string) {
	if len(f.burst.begun) > 0 {
		panic("BUG: vfs: " + f.name + " is " + what + " while direct writes are under way")
	}
}

// BeginDirect keeps an error for EndDirect, where a disk would tell it, but that of a
// short write.
func (x *faultyFile) BeginDirect(p []byte, off int64) error {
	n, err := x.writeDirect(p, off, func(p []byte, off int64) (int, error) { return len(p), x.inner.BeginDirect(p, off) })
	if n > 0 {
		return err
	}
	x.begun = cmp.Or(x.begun, err)
	return nil
}

func (x *faultyFile) EndDirect() error {
	err := cmp.Or(x.begun, x.inner.EndDirect())
	x.begun = nil
	return err
}
