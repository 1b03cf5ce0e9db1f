package store

import (
	"errors"
	"io/fs"
	"path"
	"syscall"

	"dyno/wal/vfs"
)

// A log is deleted as a whole or not at all, as far as Open can see. A power cut in the
// middle may leave any of its files, and a log that lacks one looks damaged; but the
// directory may be needed again by then, for another replica. So the first thing that
// is made durable is a file that says what the rest is: waste.
//
//  1. write the file, sync the directory
//  2. delete all others, sync the directory
//  3. delete the file and the directory, sync its parent
//
// A cut before 1 ends leaves the log as it was, or the file; Open goes on from there.

// removedName is the file's name.
const removedName = "REMOVED"

// Remove deletes the log in dir, which nobody has open; the deletion is durable when it
// returns, and a missing log is no error. It writes to the disk.
func Remove(f vfs.FS, dir string) error {
	names, err := f.List(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	mark, err := f.Create(path.Join(dir, removedName))
	if err == nil {
		err = mark.Close()
	} else if errors.Is(err, fs.ErrExist) || errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		err = nil // without room for a name it goes without: deleting makes room
	}
	if err == nil {
		err = f.SyncDir(dir)
	}
	if err != nil {
		return err
	}
	for _, n := range names {
		if n == removedName {
			continue
		}
		if err := f.Remove(path.Join(dir, n)); err != nil {
			return err
		}
	}
	if err := f.SyncDir(dir); err != nil {
		return err
	}
	if err := f.RemoveAll(dir); err != nil {
		return err
	}
	return f.SyncDir(path.Dir(dir))
}

// finishRemoval removes what a removal that was cut short left.
func (l *Log) finishRemoval() error {
	if _, err := l.fs.Stat(path.Join(l.opt.Dir, removedName)); err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		return err
	}
	return Remove(l.fs, l.opt.Dir)
}
