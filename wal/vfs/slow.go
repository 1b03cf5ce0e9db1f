package vfs

import "time"

// Slow is a disk that takes longer by wait for each sync, of a file or of a
// directory: it shows what a program does where syncs are dear, and changes
// nothing of what it promises. A sync waits before it begins; those of several files
// wait side by side.
func Slow(inner FS, wait time.Duration) FS { return &slow{inner, wait} }

type slow struct {
	FS
	wait time.Duration
}

type slowFile struct {
	File
	wait time.Duration
}

func (s *slow) Create(name string) (File, error) { return s.file(s.FS.Create(name)) }
func (s *slow) Open(name string) (File, error)   { return s.file(s.FS.Open(name)) }

func (s *slow) file(f File, err error) (File, error) {
	if err != nil {
		return nil, err
	}
	return &slowFile{f, s.wait}, nil
}

func (s *slow) SyncDir(dir string) error {
	time.Sleep(s.wait)
	return s.FS.SyncDir(dir)
}

func (f *slowFile) Datasync() error {
	time.Sleep(f.wait)
	return f.File.Datasync()
}
