package replay

import (
	"fmt"
	"io"
	"io/fs"
	"path"
	"slices"
	"sync"
	"syscall"

	"dyno/wal/vfs"
)

// disk is a file system in memory that counts calls and bytes and, once a file
// exists, allocates nothing: blocks come from memory that was made before. It
// forgets nothing and never fails but when it is full; power cuts are vfs.Mem's.
type disk struct {
	mu sync.Mutex
	// guarded by mu
	arena []byte // blocks not given out yet
	files map[string]*inode
	dirs  map[string]bool
	locks map[string]bool
	count diskCount
}

// diskCount is what a disk was asked for. Syncs are those of files and directories.
type diskCount struct{ reads, readBytes, writes, writtenBytes, syncs int64 }

const (
	blockBytes = 128 << 10
	blocksMax  = 64  // of one file
	diskBlocks = 384 // 48 MiB, of which what is never written takes no memory
)

// inode is a file's content; guarded by disk.mu.
type inode struct {
	size   int64
	blocks [][]byte
}

func newDisk() *disk {
	return &disk{
		arena: make([]byte, diskBlocks*blockBytes), files: map[string]*inode{}, locks: map[string]bool{},
		dirs: map[string]bool{".": true, "/": true},
	}
}

var _ vfs.FS = (*disk)(nil)

func (d *disk) counts() diskCount {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.count
}

func pathErr(op, name string, err error) error { return &fs.PathError{Op: op, Path: name, Err: err} }

// Create implements vfs.FS.
func (d *disk) Create(name string) (vfs.File, error) {
	name = path.Clean(name)
	d.mu.Lock()
	defer d.mu.Unlock()
	switch {
	case !d.dirs[path.Dir(name)]:
		return nil, pathErr("create", name, fs.ErrNotExist)
	case d.files[name] != nil:
		return nil, pathErr("create", name, fs.ErrExist)
	}
	n := &inode{blocks: make([][]byte, 0, blocksMax)}
	d.files[name] = n
	return &file{d, n}, nil
}

// Open implements vfs.FS.
func (d *disk) Open(name string) (vfs.File, error) {
	name = path.Clean(name)
	d.mu.Lock()
	defer d.mu.Unlock()
	n := d.files[name]
	if n == nil {
		return nil, pathErr("open", name, fs.ErrNotExist)
	}
	return &file{d, n}, nil
}

// Remove implements vfs.FS. The blocks are not used again.
func (d *disk) Remove(name string) error {
	name = path.Clean(name)
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.files[name] == nil && !d.dirs[name] {
		return pathErr("remove", name, fs.ErrNotExist)
	}
	delete(d.files, name)
	delete(d.dirs, name)
	return nil
}

// RemoveAll implements vfs.FS.
func (d *disk) RemoveAll(name string) error {
	name = path.Clean(name)
	d.mu.Lock()
	defer d.mu.Unlock()
	in := func(p string) bool { return p == name || len(p) > len(name) && p[:len(name)+1] == name+"/" }
	for p := range d.files {
		if in(p) {
			delete(d.files, p)
		}
	}
	for p := range d.dirs {
		if in(p) {
			delete(d.dirs, p)
		}
	}
	return nil
}

// Rename implements vfs.FS.
func (d *disk) Rename(oldname, newname string) error {
	oldname, newname = path.Clean(oldname), path.Clean(newname)
	d.mu.Lock()
	defer d.mu.Unlock()
	n := d.files[oldname]
	if n == nil {
		return pathErr("rename", oldname, fs.ErrNotExist)
	}
	delete(d.files, oldname)
	d.files[newname] = n
	return nil
}

// MkdirAll implements vfs.FS.
func (d *disk) MkdirAll(dir string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	for p := path.Clean(dir); !d.dirs[p]; p = path.Dir(p) {
		d.dirs[p] = true
	}
	return nil
}

// List implements vfs.FS.
func (d *disk) List(dir string) ([]string, error) {
	dir = path.Clean(dir)
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.dirs[dir] {
		return nil, pathErr("list", dir, fs.ErrNotExist)
	}
	var names []string
	for p := range d.files {
		if path.Dir(p) == dir {
			names = append(names, path.Base(p))
		}
	}
	for p := range d.dirs {
		if p != dir && path.Dir(p) == dir {
			names = append(names, path.Base(p))
		}
	}
	slices.Sort(names)
	return names, nil
}

// Stat implements vfs.FS.
func (d *disk) Stat(name string) (int64, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	n := d.files[path.Clean(name)]
	if n == nil {
		return 0, pathErr("stat", name, fs.ErrNotExist)
	}
	return n.size, nil
}

// SyncDir implements vfs.FS.
func (d *disk) SyncDir(dir string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.count.syncs++
	if !d.dirs[path.Clean(dir)] {
		return pathErr("syncdir", dir, fs.ErrNotExist)
	}
	return nil
}

// Lock implements vfs.FS.
func (d *disk) Lock(name string) (io.Closer, error) {
	name = path.Clean(name)
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.locks[name] {
		return nil, fmt.Errorf("%s: %w", name, vfs.ErrLocked)
	}
	d.locks[name] = true
	return unlocker(func() {
		d.mu.Lock()
		defer d.mu.Unlock()
		delete(d.locks, name)
	}), nil
}

type unlocker func()

func (u unlocker) Close() error { u(); return nil }

// Free implements vfs.FS.
func (d *disk) Free(string) (int64, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return int64(len(d.arena)), nil
}

// file is an open file of a disk.
type file struct {
	d *disk
	n *inode
}

// grow makes the file at least size long; d.mu is held.
func (f *file) grow(size int64) error {
	for int64(len(f.n.blocks))*blockBytes < size {
		if len(f.d.arena) == 0 || len(f.n.blocks) == blocksMax {
			return syscall.ENOSPC
		}
		f.n.blocks = append(f.n.blocks, f.d.arena[:blockBytes:blockBytes])
		f.d.arena = f.d.arena[blockBytes:]
	}
	f.n.size = max(f.n.size, size)
	return nil
}

// copy moves bytes between p and the file at off; d.mu is held.
func (f *file) copy(p []byte, off int64, in bool) {
	for len(p) > 0 {
		b := f.n.blocks[off/blockBytes][off%blockBytes:]
		n := 0
		if in {
			n = copy(b, p)
		} else {
			n = copy(p, b)
		}
		p, off = p[n:], off+int64(n)
	}
}

func (f *file) ReadAt(p []byte, off int64) (int, error) {
	f.d.mu.Lock()
	defer f.d.mu.Unlock()
	n := int(min(int64(len(p)), max(0, f.n.size-off)))
	f.copy(p[:n], off, false)
	f.d.count.reads++
	f.d.count.readBytes += int64(n)
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

func (f *file) ReadDirect(p []byte, off int64) (int, error) { return f.ReadAt(p, off) }

func (f *file) WriteAt(p []byte, off int64) (int, error) {
	f.d.mu.Lock()
	defer f.d.mu.Unlock()
	f.d.count.writes++
	return f.put(p, off)
}

// put writes p; d.mu is held.
func (f *file) put(p []byte, off int64) (int, error) {
	if err := f.grow(off + int64(len(p))); err != nil {
		return 0, err
	}
	f.copy(p, off, true)
	f.d.count.writtenBytes += int64(len(p))
	return len(p), nil
}

func (f *file) WriteDirect(p []byte, off int64) (int, error) { return f.WriteAt(p, off) }
func (f *file) WriteAside(p []byte, off int64) (int, error)  { return f.WriteAt(p, off) }

func (f *file) BeginDirect(p []byte, off int64) error {
	_, err := f.WriteAt(p, off)
	return err
}

func (f *file) EndDirect() error { return nil }

func (f *file) Writev(bufs [][]byte, off int64) (total int64, err error) {
	f.d.mu.Lock()
	defer f.d.mu.Unlock()
	f.d.count.writes++
	for _, b := range bufs {
		n, err := f.put(b, off+total)
		total += int64(n)
		if err != nil {
			return total, err
		}
	}
	return total, nil
}

func (f *file) Datasync() error {
	f.d.mu.Lock()
	defer f.d.mu.Unlock()
	f.d.count.syncs++
	return nil
}

func (f *file) Truncate(size int64) error {
	f.d.mu.Lock()
	defer f.d.mu.Unlock()
	if err := f.grow(size); err != nil {
		return err
	}
	for i := size; i < f.n.size; { // what is cut reads as zeros when the file grows again
		b := f.n.blocks[i/blockBytes][i%blockBytes:]
		clear(b)
		i += int64(len(b))
	}
	f.n.size = size
	return nil
}

func (f *file) Allocate(off, n int64) error {
	f.d.mu.Lock()
	defer f.d.mu.Unlock()
	return f.grow(off + n)
}

func (f *file) Size() (int64, error) {
	f.d.mu.Lock()
	defer f.d.mu.Unlock()
	return f.n.size, nil
}

func (f *file) Close() error { return nil }
