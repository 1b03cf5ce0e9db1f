package vfs

import (
	"io"
	"math/rand/v2"
	"sync"
)

// Op names one kind of call.
type Op uint8

// The calls a plan is asked about.
const (
	OpCreate Op = iota
	OpOpen
	OpRemove // and RemoveAll
	OpRename
	OpMkdir
	OpList
	OpStat
	OpSyncDir
	OpLock
	OpFree
	OpRead  // and ReadDirect
	OpWrite // WriteAt, Writev, WriteDirect, WriteAside and BeginDirect
	OpDatasync
	OpTruncate
	OpAllocate
	opCount
)

// Call is one call that is about to reach the inner disk.
type Call struct {
	Op   Op
	Name string // Rename: the new name
	Off  int64  // reads and writes
	Len  int64
	All  int64 // how many calls there were, this one included
	Nth  int64 // how many of this Op, this one included
}

// Fault is what happens instead of, or around, one call. The zero Fault lets
// the call through.
type Fault struct {
	// Wait holds the call back until the channel is closed.
	Wait <-chan struct{}
	// Err is returned without making the call.
	Err error
	// Short lets the first Short bytes of a write in and then returns Err, or
	// io.ErrShortWrite if that is nil; 0 means the write is not cut.
	Short int64
	// Flip turns over bit Flip-1 of what a read returns; 0 means none.
	Flip int64
}

// Plan chooses the fault of a call. It is called concurrently and holds no
// lock of the disk's, so it may itself use the inner disk (a power cut at the
// n-th call).
type Plan func(Call) Fault

// Faulty is a disk that fails where its plan says and counts every call.
type Faulty struct {
	inner FS
	plan  Plan

	mu sync.Mutex
	// guarded by mu
	all int64
	nth [opCount]int64
}

// NewFaulty wraps a disk. A nil plan only counts.
func NewFaulty(inner FS, plan Plan) *Faulty { return &Faulty{inner: inner, plan: plan} }

// FailNth fails the n-th call of op, counted from 1, and lets all others through.
func FailNth(op Op, n int64, err error) Plan {
	return func(c Call) Fault {
		if c.Op == op && c.Nth == n {
			return Fault{Err: err}
		}
		return Fault{}
	}
}

// FailAfter fails every call of op after the first n.
func FailAfter(op Op, n int64, err error) Plan {
	return func(c Call) Fault {
		if c.Op == op && c.Nth > n {
			return Fault{Err: err}
		}
		return Fault{}
	}
}

// Seeded fails calls of the given ops with probability p each, the same ones
// for the same seed if the calls come in the same order.
func Seeded(seed uint64, p float64, err error, ops ...Op) Plan {
	var mu sync.Mutex
	rng := rand.New(rand.NewPCG(seed, 0xfa17))
	var on [opCount]bool
	for _, op := range ops {
		on[op] = true
	}
	return func(c Call) Fault {
		if !on[c.Op] {
			return Fault{}
		}
		mu.Lock()
		defer mu.Unlock()
		if rng.Float64() < p {
			return Fault{Err: err}
		}
		return Fault{}
	}
}

// Gate holds back calls of one op while it is shut: a disk that hangs.
type Gate struct {
	op Op

	mu sync.Mutex
	// guarded by mu
	shut    chan struct{} // nil when open; closed by Open
	waiting chan struct{} // capacity 1: someone arrived at the shut gate
}

// NewGate makes an open gate for calls of op; hand its Plan to NewFaulty.
func NewGate(op Op) *Gate { return &Gate{op: op, waiting: make(chan struct{}, 1)} }

// Shut holds back every call from now on.
func (g *Gate) Shut() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.shut == nil {
		g.shut = make(chan struct{})
	}
}

// Open lets all calls through.
func (g *Gate) Open() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.shut != nil {
		close(g.shut)
		g.shut = nil
	}
}

// Waiting receives once a call was held back since the last receive.
func (g *Gate) Waiting() <-chan struct{} { return g.waiting }

// Plan is the gate as a plan.
func (g *Gate) Plan(c Call) Fault {
	if c.Op != g.op {
		return Fault{}
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.shut == nil {
		return Fault{}
	}
	select {
	case g.waiting <- struct{}{}:
	default:
	}
	return Fault{Wait: g.shut}
}

// Count is how many calls of op there were, those that failed included.
func (f *Faulty) Count(op Op) int64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.nth[op]
}

// Calls is how many calls there were in all.
func (f *Faulty) Calls() int64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.all
}

func (f *Faulty) ask(op Op, name string, off, n int64) Fault {
	f.mu.Lock()
	f.all++
	f.nth[op]++
	c := Call{Op: op, Name: name, Off: off, Len: n, All: f.all, Nth: f.nth[op]}
	f.mu.Unlock()
	if f.plan == nil {
		return Fault{}
	}
	fault := f.plan(c)
	if fault.Wait != nil {
		<-fault.Wait
	}
	return fault
}

func (f *Faulty) file(op Op, name string, open func(string) (File, error)) (File, error) {
	if fault := f.ask(op, name, 0, 0); fault.Err != nil {
		return nil, memErr("open", name, fault.Err)
	}
	file, err := open(name)
	if err != nil {
		return nil, err
	}
	return &faultyFile{f: f, name: name, inner: file}, nil
}

// Create implements FS.
func (f *Faulty) Create(name string) (File, error) { return f.file(OpCreate, name, f.inner.Create) }

// Open implements FS.
func (f *Faulty) Open(name string) (File, error) { return f.file(OpOpen, name, f.inner.Open) }

func (f *Faulty) named(op Op, verb, name string, call func(string) error) error {
	if fault := f.ask(op, name, 0, 0); fault.Err != nil {
		return memErr(verb, name, fault.Err)
	}
	return call(name)
}

// Remove implements FS.
func (f *Faulty) Remove(name string) error { return f.named(OpRemove, "remove", name, f.inner.Remove) }

// RemoveAll implements FS.
func (f *Faulty) RemoveAll(name string) error {
	return f.named(OpRemove, "remove", name, f.inner.RemoveAll)
}

// MkdirAll implements FS.
func (f *Faulty) MkdirAll(dir string) error { return f.named(OpMkdir, "mkdir", dir, f.inner.MkdirAll) }

// SyncDir implements FS.
func (f *Faulty) SyncDir(dir string) error {
	return f.named(OpSyncDir, "syncdir", dir, f.inner.SyncDir)
}

// Rename implements FS.
func (f *Faulty) Rename(oldname, newname string) error {
	return f.named(OpRename, "rename", newname, func(string) error { return f.inner.Rename(oldname, newname) })
}

// List implements FS.
func (f *Faulty) List(dir string) ([]string, error) {
	if fault := f.ask(OpList, dir, 0, 0); fault.Err != nil {
		return nil, memErr("list", dir, fault.Err)
	}
	return f.inner.List(dir)
}

// Stat implements FS.
func (f *Faulty) Stat(name string) (int64, error) {
	if fault := f.ask(OpStat, name, 0, 0); fault.Err != nil {
		return 0, memErr("stat", name, fault.Err)
	}
	return f.inner.Stat(name)
}

// Lock implements FS.
func (f *Faulty) Lock(name string) (io.Closer, error) {
	if fault := f.ask(OpLock, name, 0, 0); fault.Err != nil {
		return nil, memErr("lock", name, fault.Err)
	}
	return f.inner.Lock(name)
}

// Free implements FS.
func (f *Faulty) Free(dir string) (int64, error) {
	if fault := f.ask(OpFree, dir, 0, 0); fault.Err != nil {
		return 0, memErr("free", dir, fault.Err)
	}
	return f.inner.Free(dir)
}

// faultyFile is one open file of a Faulty.
type faultyFile struct {
	f     *Faulty
	name  string
	inner File
	begun error // of a BeginDirect, for EndDirect
}

func (x *faultyFile) ReadAt(p []byte, off int64) (int, error) {
	return x.read(p, off, x.inner.ReadAt)
}

// read makes the call, unless the plan has a fault for it.
func (x *faultyFile) read(p []byte, off int64, call func([]byte, int64) (int, error)) (int, error) {
	fault := x.f.ask(OpRead, x.name, off, int64(len(p)))
	if fault.Err != nil {
		return 0, memErr("read", x.name, fault.Err)
	}
	n, err := call(p, off)
	if b := fault.Flip - 1; b >= 0 && b/8 < int64(n) {
		p[b/8] ^= 1 << (b % 8)
	}
	return n, err
}

func (x *faultyFile) WriteAt(p []byte, off int64) (int, error) {
	n, err := x.Writev([][]byte{p}, off)
	return int(n), err
}

func (x *faultyFile) Writev(bufs [][]byte, off int64) (int64, error) {
	return x.write(bufs, off, func() (int64, error) { return x.inner.Writev(bufs, off) })
}

// write makes the call, unless the plan has a fault for it.
func (x *faultyFile) write(bufs [][]byte, off int64, call func() (int64, error)) (int64, error) {
	var total int64
	for _, b := range bufs {
		total += int64(len(b))
	}
	fault := x.f.ask(OpWrite, x.name, off, total)
	if fault.Short > 0 && fault.Short < total {
		if fault.Err == nil {
			fault.Err = io.ErrShortWrite
		}
		n, err := x.inner.Writev(cut(bufs, fault.Short), off)
		if err == nil {
			err = memErr("write", x.name, fault.Err)
		}
		return n, err
	}
	if fault.Err != nil {
		return 0, memErr("write", x.name, fault.Err)
	}
	return call()
}

// cut gives the first n bytes of bufs.
func cut(bufs [][]byte, n int64) [][]byte {
	var out [][]byte
	for _, b := range bufs {
		b = b[:min(int64(len(b)), n)]
		out, n = append(out, b), n-int64(len(b))
	}
	return out
}

func (x *faultyFile) plain(op Op, verb string, off, n int64, call func() error) error {
	if fault := x.f.ask(op, x.name, off, n); fault.Err != nil {
		return memErr(verb, x.name, fault.Err)
	}
	return call()
}

func (x *faultyFile) Datasync() error {
	return x.plain(OpDatasync, "fdatasync", 0, 0, x.inner.Datasync)
}

func (x *faultyFile) Truncate(size int64) error {
	return x.plain(OpTruncate, "truncate", 0, size, func() error { return x.inner.Truncate(size) })
}

func (x *faultyFile) Allocate(off, n int64) error {
	return x.plain(OpAllocate, "fallocate", off, n, func() error { return x.inner.Allocate(off, n) })
}

func (x *faultyFile) Size() (int64, error) { return x.inner.Size() }
func (x *faultyFile) Close() error         { return x.inner.Close() }
