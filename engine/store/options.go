package store

import (
	"fmt"

	"dyno/engine/ids"
	"dyno/wal/vfs"
)

// Options configures Open. Zero values mean the defaults named here.
type Options struct {
	FS  vfs.FS // vfs.OS()
	Dir string // required: of this log alone; its parent exists and is durable
	// FileBytes is how large a data file gets before the next is begun, a
	// batch more at most: 128 MiB.
	FileBytes int64
	// AtLeast is the last entry the log must have, 0 if none: the one before
	// the first that the caller still holds elsewhere. Open fails with
	// ErrCorrupt, and changes nothing, where the files end earlier.
	AtLeast ids.LogIndex
	// Cache holds the open files of several logs; nil makes one of its own.
	Cache *Cache
}

func (o *Options) setDefaults() {
	if o.FS == nil {
		o.FS = vfs.OS()
	}
	if o.FileBytes == 0 {
		o.FileBytes = 128 << 20
	}
	if o.Cache == nil {
		o.Cache = NewCache(0)
	}
}

func (o *Options) validate() error {
	if o.Dir == "" || o.FileBytes < 0 {
		return fmt.Errorf("%w: directory %q, file bytes %d", ErrOptions, o.Dir, o.FileBytes)
	}
	return nil
}
