package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"

	"dyno/bench/cell"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"
	wal "github.com/hashicorp/raft-wal"
	"github.com/hashicorp/raft-wal/fs"
	"github.com/hashicorp/raft-wal/metadb"
	"github.com/hashicorp/raft-wal/segment"
	"github.com/hashicorp/raft-wal/types"
)

// raftWAL is hashicorp/raft-wal: one writer at a time, StoreLogs encodes, writes
// and syncs. Its usual caller is one Raft loop that stores a batch, which is the
// mode Batched here; in Usual each appender stores its own record. Segments of
// 64 MiB are preallocated ahead of use.
var raftWAL = cell.System{
	Open: func(_ context.Context, dir string, streams int, _ int64) (cell.Log, error) {
		if streams != 1 {
			return nil, fmt.Errorf("raft-wal holds one stream, not %d", streams)
		}
		if err := os.Mkdir(raftWALDir(dir), 0o755); err != nil {
			return nil, err
		}
		l := &raftWALLog{next: 1}
		var err error
		l.opened, err = openRaftWAL(dir, &l.syncs)
		return l, err
	},
	ReadBack: readRaftWAL,
}

func raftWALDir(dir string) string { return filepath.Join(dir, "raftwal") }

// opened is a raft-wal with its meta store, whose Close v0.4.0 forgets: the file
// would stay locked against the reader.
type opened struct {
	*wal.WAL
	meta *metadb.BoltMetaDB
}

func openRaftWAL(dir string, syncs *atomic.Int64) (opened, error) {
	disk := &countingFS{VFS: fs.New(), syncs: syncs}
	meta := &metadb.BoltMetaDB{}
	w, err := wal.Open(raftWALDir(dir), wal.WithLogger(hclog.NewNullLogger()), wal.WithMetaStore(meta),
		wal.WithSegmentFiler(segment.NewFiler(raftWALDir(dir), disk)))
	if err != nil {
		return opened{}, errors.Join(err, meta.Close())
	}
	return opened{w, meta}, nil
}

func (o opened) Close() error { return errors.Join(o.WAL.Close(), o.meta.Close()) }

type raftWALLog struct {
	opened
	syncs atomic.Int64
	mu    sync.Mutex // logs must be stored in the order of their indexes
	next  uint64     // guarded by mu
}

func (l *raftWALLog) Append(_ int, records [][]byte) error {
	logs := make([]raft.Log, len(records))
	stored := make([]*raft.Log, len(records))
	l.mu.Lock()
	defer l.mu.Unlock()
	for i, r := range records {
		logs[i] = raft.Log{Index: l.next + uint64(i), Term: 1, Type: raft.LogCommand, Data: r}
		stored[i] = &logs[i]
	}
	if err := l.StoreLogs(stored); err != nil {
		return err
	}
	l.next += uint64(len(records))
	return nil
}

func (l *raftWALLog) Syncs() int64  { return l.syncs.Load() }
func (l *raftWALLog) Phase() string { return cell.Fallocate }

func readRaftWAL(dir string, _ int, yield func(int, []byte) error) (err error) {
	w, err := openRaftWAL(dir, new(atomic.Int64))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, w.Close()) }()
	first, err := w.FirstIndex()
	if err != nil {
		return err
	}
	last, err := w.LastIndex()
	if err != nil {
		return err
	}
	for i := first; i <= last && last > 0; i++ {
		var log raft.Log
		if err := w.GetLog(i, &log); err != nil {
			return fmt.Errorf("index %d: %w", i, err)
		}
		if err := yield(0, log.Data); err != nil {
			return err
		}
	}
	return nil
}

// countingFS counts the syncs of segment files; everything else passes through.
type countingFS struct {
	types.VFS
	syncs *atomic.Int64
}

func (c *countingFS) Create(dir, name string, size uint64) (types.WritableFile, error) {
	f, err := c.VFS.Create(dir, name, size)
	return c.wrap(f, err)
}

func (c *countingFS) OpenWriter(dir, name string) (types.WritableFile, error) {
	f, err := c.VFS.OpenWriter(dir, name)
	return c.wrap(f, err)
}

func (c *countingFS) wrap(f types.WritableFile, err error) (types.WritableFile, error) {
	if err != nil {
		return nil, err
	}
	return &countingFile{f, c.syncs}, nil
}

type countingFile struct {
	types.WritableFile
	syncs *atomic.Int64
}

func (f *countingFile) Sync() error {
	f.syncs.Add(1)
	return f.WritableFile.Sync()
}
