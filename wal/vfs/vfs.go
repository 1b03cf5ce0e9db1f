// Package vfs is the disk as an interface: what wal and engine/store need of a
// file system and nothing more, so that the same code runs on a real disk, on
// a memory disk whose power can be cut, and on disks that fail or are slow on
// purpose.
//
// It does not cache, retry or interpret errors. Paths are slash-separated; a
// path is relative to nothing: the caller joins its directory.
//
// Durability contract, the same for every implementation: bytes written are
// durable after File.Datasync returned nil; a created, renamed or removed name
// is durable after SyncDir of its directory returned nil; nothing else is.
package vfs

import "io"

// FS is one file system. Implementations are safe for concurrent use.
type FS interface {
	// Create makes a new empty file for reading and writing; it fails with
	// fs.ErrExist if the name is taken.
	Create(name string) (File, error)
	// Open opens an existing file for reading and writing; fs.ErrNotExist.
	Open(name string) (File, error)
	// Remove deletes a file; RemoveAll a tree, and a missing one is no error.
	Remove(name string) error
	RemoveAll(name string) error
	// Rename moves a file over whatever stands at the new name, atomically.
	Rename(oldname, newname string) error
	// MkdirAll makes a directory and its parents.
	MkdirAll(dir string) error
	// List gives the names (not paths) in dir, sorted.
	List(dir string) ([]string, error)
	// Stat gives a file's size in bytes; fs.ErrNotExist.
	Stat(name string) (size int64, err error)
	// SyncDir makes the names in dir durable.
	SyncDir(dir string) error
	// Lock takes an exclusive advisory lock on the named file, making it where
	// needed; ErrLocked if another holder has it. Close releases it.
	Lock(name string) (io.Closer, error)
	// Free gives the bytes that can still be written below dir.
	Free(dir string) (int64, error)
}

// File is one open file. Offsets are explicit; there is no cursor. Calls may
// be concurrent; what overlaps is the caller's business.
type File interface {
	io.ReaderAt
	io.WriterAt
	// Writev writes bufs one after another at off: pwritev(2), split as the
	// platform's iovec limit demands. It does not retain or change bufs. On an
	// error n says how many bytes went in.
	Writev(bufs [][]byte, off int64) (n int64, err error)
	// WriteDirect writes p at off past the page cache where the file system can,
	// and through it where it cannot; durable after Datasync like any write.
	// Address (see Aligned), length and off must be multiples of DirectAlign.
	WriteDirect(p []byte, off int64) (n int, err error)
	// WriteAside is WriteDirect for work in the background: the goroutine waits, and
	// where the system can do that, no thread with it. After an error the write may
	// still be under way and read p.
	WriteAside(p []byte, off int64) (n int, err error)
	// BeginDirect is WriteDirect that may return before p is written, where the system
	// can do that. EndDirect is owed after it, after an error too: p stays the file's
	// until then, and before that what is under way may be neither read
	// nor synced, nor the file closed. One goroutine at a time begins and ends.
	BeginDirect(p []byte, off int64) error
	// EndDirect blocks until all that was begun is written, and returns the first
	// error, after which a write may still be under way and read its p. Without
	// anything begun it does nothing.
	EndDirect() error
	// ReadDirect is ReadAt past the page cache where the file system can, under
	// the terms of WriteDirect: what is read once does not push out what is read
	// often, and costs no page. It sees all that was written before it.
	ReadDirect(p []byte, off int64) (n int, err error)
	// Datasync makes all bytes written before the call durable: fdatasync(2),
	// never fsync, and never retried: after an error what was written is lost
	// or not, and only a new file tells.
	Datasync() error
	// Truncate sets the size; growing reads as zeros.
	Truncate(size int64) error
	// Allocate reserves space for [off, off+n) without writing it: fallocate(2).
	Allocate(off, n int64) error
	// Size is the current size in bytes.
	Size() (int64, error)
	io.Closer
}
