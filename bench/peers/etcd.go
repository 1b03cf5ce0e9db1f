package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"sync"

	"dyno/bench/cell"

	"github.com/prometheus/client_golang/prometheus"
	"go.etcd.io/etcd/server/v3/storage/wal"
	"go.etcd.io/etcd/server/v3/storage/wal/walpb"
	"go.etcd.io/raft/v3/raftpb"
	"go.uber.org/zap"
)

// etcdWAL is the log of etcd: one mutex, Save encodes and syncs. Its usual caller
// is one Raft loop that saves the entries of a Ready at once, which is the mode
// Batched here; in Usual each appender saves its own record. Segments of 64 MiB
// are fallocated ahead by its own pipeline.
var etcdWAL = cell.System{
	Open: func(_ context.Context, dir string, streams int, _ int64) (cell.Log, error) {
		if streams != 1 {
			return nil, fmt.Errorf("etcd's log holds one stream, not %d", streams)
		}
		w, err := wal.Create(zap.NewNop(), etcdDir(dir), nil)
		if err != nil {
			return nil, err
		}
		return &etcdLog{wal: w, next: 1}, nil
	},
	ReadBack: readEtcd,
}

func etcdDir(dir string) string { return filepath.Join(dir, "etcd") }

type etcdLog struct {
	wal  *wal.WAL
	mu   sync.Mutex // entries must be saved in the order of their indexes
	next uint64     // guarded by mu
}

func (l *etcdLog) Append(_ int, records [][]byte) error {
	saved := make([]*raftpb.Entry, len(records))
	l.mu.Lock()
	defer l.mu.Unlock()
	for i, r := range records {
		saved[i] = &raftpb.Entry{Index: new(l.next), Term: new(uint64(1)), Data: r}
		l.next++
	}
	return l.wal.Save(&raftpb.HardState{}, saved)
}

// Syncs counts what etcd's own histogram of fsync times counts.
func (l *etcdLog) Syncs() int64 {
	families, err := prometheus.DefaultGatherer.Gather()
	if err != nil {
		return 0
	}
	for _, f := range families {
		if f.GetName() == "etcd_disk_wal_fsync_duration_seconds" {
			return int64(f.GetMetric()[0].GetHistogram().GetSampleCount())
		}
	}
	return 0
}

func (l *etcdLog) Phase() string { return cell.Fallocate }
func (l *etcdLog) Close() error  { return l.wal.Close() }

func readEtcd(dir string, _ int, yield func(int, []byte) error) (err error) {
	w, err := wal.Open(zap.NewNop(), etcdDir(dir), &walpb.Snapshot{})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, w.Close()) }()
	_, _, entries, err := w.ReadAll()
	if err != nil {
		return err
	}
	for i, e := range entries {
		if e.GetIndex() != uint64(i)+1 {
			return fmt.Errorf("index %d came back as %d", i+1, e.GetIndex())
		}
		if err := yield(0, e.GetData()); err != nil {
			return err
		}
	}
	return nil
}
