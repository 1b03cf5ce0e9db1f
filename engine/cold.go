package engine

import (
	"errors"

	"dyno/engine/ids"
	"dyno/engine/multiraft"
	"dyno/engine/partition"
	"dyno/engine/replica"
	"dyno/engine/store"
	"dyno/wal"
)

// coldLog shows a partition's files to its Raft group, as the part of its log
// that lies before the shared log.
type coldLog struct {
	files *store.Log
	group ids.GroupID
}

var _ multiraft.Cold = coldLog{}

// First implements multiraft.Cold.
func (c coldLog) First() ids.LogIndex {
	if first := c.files.First(); first <= c.files.Last() {
		return first
	}
	return 0
}

// Term implements multiraft.Cold.
func (c coldLog) Term(i ids.LogIndex) (ids.Term, error) {
	t, err := c.files.Term(i)
	return t, compacted(err)
}

// Entries implements multiraft.Cold.
func (c coldLog) Entries(lo, hi ids.LogIndex, maxBytes int64) ([]wal.Record, error) {
	list, err := c.files.Entries(lo, hi, maxBytes)
	if err != nil {
		return nil, compacted(err)
	}
	out := make([]wal.Record, len(list))
	for i, e := range list {
		out[i] = wal.Record{
			Stream: uint64(c.group), Kind: wal.KindEntry, Type: e.Type,
			Index: uint64(e.Index), Term: uint64(e.Term), Data: e.Data,
		}
	}
	return out, nil
}

// compacted turns the files' word for what retention deleted into the replica's.
func compacted(err error) error {
	if errors.Is(err, store.ErrCompacted) {
		return replica.ErrCompacted
	}
	return err
}

// coldFiles lists a partition's files as retention weighs them.
func (h *hosted) coldFiles() []partition.LogFile {
	files := h.files.Files()
	out := make([]partition.LogFile, len(files))
	for i, f := range files {
		out[i] = partition.LogFile{Base: f.Base, End: f.End, MaxTimestampMS: f.MaxTimestampMS, Bytes: f.Bytes}
	}
	return out
}
