package vfs

import (
	"io"
	"syscall"
)

const (
	pageBytes   = 4096
	sectorBytes = 512 // what a disk writes whole or not at all
	// olderMax bounds how many superseded versions of an unsynced page are
	// kept: a power cut may leave any version that was ever handed to the disk.
	olderMax = 2
)

// memPage is one page of content. A nil page is zeros. A page that is shared
// (by the synced state or by a crashed copy of the disk) is never changed.
type memPage [pageBytes]byte

// memInode is one file's content, or a directory. Guarded by Mem.mu.
type memInode struct {
	dir   bool
	links int
	size  int64
	pages []*memPage         // as a reader sees it
	owned map[int]bool       // pages that nothing else shares: may change in place
	dirty map[int][]*memPage // unsynced pages, with up to olderMax older versions

	syncedSize  int64
	syncedPages []*memPage // never changed in place
}

func page(pages []*memPage, i int) *memPage {
	if i >= len(pages) {
		return nil
	}
	return pages[i]
}

// own gives a page that may be changed, and notes it as unsynced.
func (n *memInode) own(i int) *memPage {
	for len(n.pages) <= i {
		n.pages = append(n.pages, nil)
	}
	if n.owned == nil {
		n.owned, n.dirty = map[int]bool{}, map[int][]*memPage{}
	}
	p := n.pages[i]
	older, wasDirty := n.dirty[i]
	if wasDirty && len(older) < olderMax {
		older = append(older, p)
		n.owned[i] = false
	}
	n.dirty[i] = older
	if !n.owned[i] || p == nil {
		c := new(memPage)
		if p != nil {
			*c = *p
		}
		n.pages[i], n.owned[i] = c, true
	}
	return n.pages[i]
}

func (n *memInode) write(p []byte, off int64) {
	for len(p) > 0 {
		i, at := int(off/pageBytes), int(off%pageBytes)
		c := copy(n.own(i)[at:], p)
		p, off = p[c:], off+int64(c)
	}
	n.size = max(n.size, off)
}

func (n *memInode) read(p []byte, off int64) (total int) {
	if off >= n.size {
		return 0
	}
	p = p[:min(int64(len(p)), n.size-off)]
	for len(p) > 0 {
		i, at := int(off/pageBytes), int(off%pageBytes)
		c := min(len(p), pageBytes-at)
		if pg := page(n.pages, i); pg == nil {
			clear(p[:c])
		} else {
			copy(p[:c], pg[at:])
		}
		p, off, total = p[c:], off+int64(c), total+c
	}
	return total
}

// sync makes the content durable: the pages are shared, not copied.
func (n *memInode) sync() {
	for len(n.syncedPages) < len(n.pages) {
		n.syncedPages = append(n.syncedPages, nil)
	}
	for i := range n.dirty {
		if i < len(n.pages) {
			n.syncedPages[i] = n.pages[i]
		}
		n.owned[i] = false
	}
	clear(n.dirty)
	n.syncedSize = n.size
	n.syncedPages = n.syncedPages[:len(n.pages)]
}

func (n *memInode) truncate(size int64) {
	if size < n.size {
		keep := int((size + pageBytes - 1) / pageBytes)
		if tail := int(size % pageBytes); tail != 0 && keep <= len(n.pages) {
			clear(n.own(keep - 1)[tail:])
		}
		for i := keep; i < len(n.pages); i++ {
			delete(n.owned, i)
			delete(n.dirty, i)
		}
		n.pages = n.pages[:min(keep, len(n.pages))]
	}
	n.size = size
}

// memFile is one open file of a Mem.
type memFile struct {
	m    *Mem
	n    *memInode
	name string
	// closed is guarded by m.mu.
	closed bool
	burst  memBurst
}

// begin checks a call; m.mu is held.
func (f *memFile) begin(op string, changes bool) error {
	if f.closed {
		return memErr(op, f.name, syscall.EBADF)
	}
	if changes {
		return f.m.change(op, f.name)
	}
	return nil
}

// grow takes room for a file of that size; m.mu is held.
func (f *memFile) grow(op string, size int64) error {
	more := size - f.n.size
	if more <= 0 || f.n.links == 0 {
		return nil
	}
	if f.m.used+more > f.m.room {
		return memErr(op, f.name, syscall.ENOSPC)
	}
	f.m.used += more
	return nil
}

func (f *memFile) ReadAt(p []byte, off int64) (int, error) {
	f.m.mu.Lock()
	defer f.m.mu.Unlock()
	if err := f.begin("read", false); err != nil {
		return 0, err
	}
	n := f.n.read(p, off)
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

func (f *memFile) WriteAt(p []byte, off int64) (int, error) {
	n, err := f.Writev([][]byte{p}, off)
	return int(n), err
}

func (f *memFile) Writev(bufs [][]byte, off int64) (int64, error) {
	f.m.mu.Lock()
	defer f.m.mu.Unlock()
	if err := f.begin("write", true); err != nil {
		return 0, err
	}
	var total int64
	for _, b := range bufs {
		total += int64(len(b))
	}
	if err := f.grow("write", off+total); err != nil {
		return 0, err
	}
	for _, b := range bufs {
		f.n.write(b, off)
		off += int64(len(b))
	}
	return total, nil
}

func (f *memFile) Datasync() error {
	f.m.mu.Lock()
	defer f.m.mu.Unlock()
	if err := f.begin("fdatasync", true); err != nil {
		return err
	}
	f.atRest("synced")
	f.n.sync()
	return nil
}

func (f *memFile) Truncate(size int64) error {
	f.m.mu.Lock()
	defer f.m.mu.Unlock()
	if err := f.begin("truncate", true); err != nil {
		return err
	}
	if err := f.grow("truncate", size); err != nil {
		return err
	}
	if size < f.n.size && f.n.links > 0 {
		f.m.used -= f.n.size - size
	}
	f.n.truncate(size)
	return nil
}

func (f *memFile) Allocate(off, n int64) error {
	f.m.mu.Lock()
	defer f.m.mu.Unlock()
	if err := f.begin("fallocate", true); err != nil {
		return err
	}
	if err := f.grow("fallocate", off+n); err != nil {
		return err
	}
	f.n.size = max(f.n.size, off+n)
	return nil
}

func (f *memFile) Size() (int64, error) {
	f.m.mu.Lock()
	defer f.m.mu.Unlock()
	if err := f.begin("stat", false); err != nil {
		return 0, err
	}
	return f.n.size, nil
}

func (f *memFile) Close() error {
	f.m.mu.Lock()
	defer f.m.mu.Unlock()
	if err := f.begin("close", false); err != nil {
		return err
	}
	f.atRest("closed")
	f.closed = true
	return nil
}
