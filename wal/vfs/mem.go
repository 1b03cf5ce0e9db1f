package vfs

import (
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"path"
	"slices"
	"strings"
	"sync"
	"syscall"
)

// Mem is a disk in memory whose power can be cut. It keeps two states: what a
// reader sees now, and what a power cut leaves behind for certain (bytes synced
// by File.Datasync, names synced by FS.SyncDir). Crash makes a disk out of the
// second and a seeded part of the rest.
//
// Directories are names like files: one made by MkdirAll is durable after
// SyncDir of its parent, and a lost directory takes everything in it along.
// The roots "/" and "." always exist.
type Mem struct {
	mu sync.Mutex
	// All below is guarded by mu, and so is every memInode.
	rng    *rand.Rand
	now    map[string]*memInode // names as a reader sees them
	synced map[string]*memInode // names a power cut leaves
	ops    []nameOp             // changes of now that synced lacks, oldest first
	locks  map[string]bool
	room   int64 // bytes that files may hold together
	used   int64
	frozen bool
}

// nameOp is one change of names. A rename within one directory is one change,
// between two directories it is two: each becomes durable with its directory.
type nameOp struct {
	add   string // "" for none
	inode *memInode
	del   string // "" for none
}

// NewMem makes an empty memory disk; seed drives what is left to chance when
// Crash is given no seed of its own.
func NewMem(seed uint64) *Mem {
	m := &Mem{
		rng:    rand.New(rand.NewPCG(seed, 0x6d656d)),
		now:    map[string]*memInode{},
		synced: map[string]*memInode{},
		locks:  map[string]bool{},
		room:   1 << 40,
	}
	for _, root := range []string{"/", "."} {
		d := &memInode{dir: true}
		m.now[root], m.synced[root] = d, d
	}
	return m
}

// SetRoom sets how many bytes the files may hold together; what would grow
// beyond fails with ENOSPC. It may be set below what is used.
func (m *Mem) SetRoom(bytes int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.room = bytes
}

// Freeze makes every change fail with ErrPowerCut from now on; reading goes on.
func (m *Mem) Freeze() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.frozen = true
}

func memErr(op, name string, err error) error {
	return &fs.PathError{Op: op, Path: name, Err: err}
}

// change checks that the disk may change; m.mu is held.
func (m *Mem) change(op, name string) error {
	if m.frozen {
		return memErr(op, name, ErrPowerCut)
	}
	return nil
}

// lookup finds a file; m.mu is held.
func (m *Mem) lookup(op, name string) (*memInode, error) {
	n, ok := m.now[name]
	if !ok {
		return nil, memErr(op, name, fs.ErrNotExist)
	}
	return n, nil
}

// parent checks that name's directory stands; m.mu is held.
func (m *Mem) parent(op, name string) error {
	d, ok := m.now[path.Dir(name)]
	if !ok {
		return memErr(op, name, fs.ErrNotExist)
	}
	if !d.dir {
		return memErr(op, name, syscall.ENOTDIR)
	}
	return nil
}

// Create implements FS.
func (m *Mem) Create(name string) (File, error) {
	name = path.Clean(name)
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.change("create", name); err != nil {
		return nil, err
	}
	if err := m.parent("create", name); err != nil {
		return nil, err
	}
	if _, ok := m.now[name]; ok {
		return nil, memErr("create", name, fs.ErrExist)
	}
	n := &memInode{links: 1}
	m.now[name] = n
	m.ops = append(m.ops, nameOp{add: name, inode: n})
	return &memFile{m: m, n: n, name: name}, nil
}

// Open implements FS.
func (m *Mem) Open(name string) (File, error) {
	name = path.Clean(name)
	m.mu.Lock()
	defer m.mu.Unlock()
	n, err := m.lookup("open", name)
	if err != nil {
		return nil, err
	}
	if n.dir {
		return nil, memErr("open", name, syscall.EISDIR)
	}
	return &memFile{m: m, n: n, name: name}, nil
}

// Remove implements FS.
func (m *Mem) Remove(name string) error {
	name = path.Clean(name)
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.change("remove", name); err != nil {
		return err
	}
	n, err := m.lookup("remove", name)
	if err != nil {
		return err
	}
	if n.dir && len(m.children(name)) > 0 {
		return memErr("remove", name, syscall.ENOTEMPTY)
	}
	m.unlink(name)
	return nil
}

// RemoveAll implements FS.
func (m *Mem) RemoveAll(name string) error {
	name = path.Clean(name)
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.change("remove", name); err != nil {
		return err
	}
	m.removeTree(name)
	return nil
}

func (m *Mem) removeTree(name string) {
	n, ok := m.now[name]
	if !ok {
		return
	}
	if n.dir {
		for _, c := range m.children(name) {
			m.removeTree(path.Join(name, c))
		}
	}
	m.unlink(name)
}

// unlink drops a name and, with the last name, the room it took; m.mu is held.
func (m *Mem) unlink(name string) {
	n := m.now[name]
	delete(m.now, name)
	m.ops = append(m.ops, nameOp{del: name})
	m.unref(n)
}

func (m *Mem) unref(n *memInode) {
	if n.links--; n.links == 0 {
		m.used -= n.size
	}
}

// Rename implements FS.
func (m *Mem) Rename(oldname, newname string) error {
	oldname, newname = path.Clean(oldname), path.Clean(newname)
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.change("rename", oldname); err != nil {
		return err
	}
	n, err := m.lookup("rename", oldname)
	if err != nil {
		return err
	}
	if n.dir {
		return memErr("rename", oldname, syscall.EISDIR) // nobody here moves directories
	}
	if err := m.parent("rename", newname); err != nil {
		return err
	}
	if oldname == newname {
		return nil
	}
	if over, ok := m.now[newname]; ok {
		if over.dir {
			return memErr("rename", newname, syscall.EISDIR)
		}
		m.unref(over)
	}
	delete(m.now, oldname)
	m.now[newname] = n
	if path.Dir(oldname) == path.Dir(newname) {
		m.ops = append(m.ops, nameOp{add: newname, inode: n, del: oldname})
	} else {
		m.ops = append(m.ops, nameOp{add: newname, inode: n}, nameOp{del: oldname})
	}
	return nil
}

// MkdirAll implements FS.
func (m *Mem) MkdirAll(dir string) error {
	dir = path.Clean(dir)
	m.mu.Lock()
	defer m.mu.Unlock()
	var missing []string
	for d := dir; ; d = path.Dir(d) {
		if n, ok := m.now[d]; ok {
			if !n.dir {
				return memErr("mkdir", d, syscall.ENOTDIR)
			}
			break
		}
		missing = append(missing, d)
	}
	if len(missing) == 0 {
		return nil
	}
	if err := m.change("mkdir", dir); err != nil {
		return err
	}
	for _, d := range slices.Backward(missing) {
		n := &memInode{dir: true, links: 1}
		m.now[d] = n
		m.ops = append(m.ops, nameOp{add: d, inode: n})
	}
	return nil
}

// children lists the names in dir; m.mu is held.
func (m *Mem) children(dir string) []string {
	var names []string
	for name := range m.now {
		if name != dir && path.Dir(name) == dir {
			names = append(names, path.Base(name))
		}
	}
	slices.Sort(names)
	return names
}

// List implements FS.
func (m *Mem) List(dir string) ([]string, error) {
	dir = path.Clean(dir)
	m.mu.Lock()
	defer m.mu.Unlock()
	n, err := m.lookup("list", dir)
	if err != nil {
		return nil, err
	}
	if !n.dir {
		return nil, memErr("list", dir, syscall.ENOTDIR)
	}
	return m.children(dir), nil
}

// Stat implements FS.
func (m *Mem) Stat(name string) (int64, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	n, err := m.lookup("stat", path.Clean(name))
	if err != nil {
		return 0, err
	}
	return n.size, nil
}

// SyncDir implements FS.
func (m *Mem) SyncDir(dir string) error {
	dir = path.Clean(dir)
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.change("syncdir", dir); err != nil {
		return err
	}
	if _, err := m.lookup("syncdir", dir); err != nil {
		return err
	}
	left := m.ops[:0]
	for _, op := range m.ops {
		if path.Dir(op.name()) == dir {
			op.apply(m.synced)
		} else {
			left = append(left, op)
		}
	}
	clear(m.ops[len(left):])
	m.ops = left
	return nil
}

func (op nameOp) name() string {
	if op.add != "" {
		return op.add
	}
	return op.del
}

func (op nameOp) apply(names map[string]*memInode) {
	if op.del != "" {
		delete(names, op.del)
	}
	if op.add != "" {
		names[op.add] = op.inode
	}
}

// Lock implements FS. The lock file itself holds nothing and is made durable
// by nobody.
func (m *Mem) Lock(name string) (io.Closer, error) {
	name = path.Clean(name)
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.parent("lock", name); err != nil {
		return nil, err
	}
	if m.locks[name] {
		return nil, fmt.Errorf("%s: %w", name, ErrLocked)
	}
	if _, ok := m.now[name]; !ok {
		if err := m.change("lock", name); err != nil {
			return nil, err
		}
		n := &memInode{links: 1}
		m.now[name] = n
		m.ops = append(m.ops, nameOp{add: name, inode: n})
	}
	m.locks[name] = true
	return &memLock{m: m, name: name}, nil
}

type memLock struct {
	m    *Mem
	name string
	once sync.Once
}

func (l *memLock) Close() error {
	l.once.Do(func() {
		l.m.mu.Lock()
		defer l.m.mu.Unlock()
		delete(l.m.locks, l.name)
	})
	return nil
}

// Free implements FS.
func (m *Mem) Free(dir string) (int64, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if _, err := m.lookup("free", path.Clean(dir)); err != nil {
		return 0, err
	}
	return max(0, m.room-m.used), nil
}

// Tree lists every file with its size, sorted by name: for tests and dumps.
func (m *Mem) Tree() string {
	m.mu.Lock()
	defer m.mu.Unlock()
	var b strings.Builder
	names := make([]string, 0, len(m.now))
	for name := range m.now {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		if n := m.now[name]; !n.dir {
			fmt.Fprintf(&b, "%s %d\n", name, n.size)
		}
	}
	return b.String()
}
