package store

import (
	"path"
	"sort"
	"sync"
	"sync/atomic"

	"dyno/engine/ids"
	"dyno/wal/vfs"
)

// Log is the L1 of one partition. Append, Checkpoint, TruncateBefore,
// TruncateAll, Close and Remove change it, one at a time; all else may run on
// any goroutine beside them and sees what the last checkpoint covers.
type Log struct {
	opt       Options
	fileBytes atomic.Int64 // Options.FileBytes, until SetFileBytes
	fs        vfs.FS
	view      atomic.Pointer[view]

	// mu is held by what changes the log, over I/O: no reader takes it.
	mu     sync.Mutex
	w      *writer // nil while nothing is staged
	failed error
	closed bool
}

// SetFileBytes changes Options.FileBytes from the next entry on; n must be
// positive. Any goroutine may call.
func (l *Log) SetFileBytes(n int64) { l.fileBytes.Store(n) }

// view is what readers see: one checkpoint. It is never changed.
type view struct {
	files []*file // in order; none before the first checkpoint
}

// file is one pair of files as a checkpoint covers it. It is never changed; the
// last one is replaced by each checkpoint.
type file struct {
	id    fileID
	key   *fileKey
	sum   summary
	spans []span // of the last file; nil for full ones, see handle
	// idxBytes is where the index file's next frame goes; kAt and kLen tell
	// where the last checkpoint stands. Of the last file only.
	idxBytes, kAt, kLen int64
}

// Boundary is a position in the log: the entry at Index, of Term, and the
// offset after all records up to it.
type Boundary struct {
	Index ids.LogIndex
	Term  ids.Term
	End   ids.Offset
}

// FileInfo describes one data file. Base is inclusive, End exclusive.
type FileInfo struct {
	First, Last    ids.LogIndex
	Base, End      ids.Offset
	MaxTimestampMS int64 // -1 without records
	Bytes          int64
}

// EpochStart says at which offset a term begins.
type EpochStart struct {
	Term  ids.Term
	Start ids.Offset
}

func (l *Log) newFile(id fileID) *file {
	return &file{id: id, key: &fileKey{fs: l.fs, path: path.Join(l.opt.Dir, id.name())},
		sum: summary{last: id.first - 1, lastTerm: id.prevTerm, end: id.base, maxMS: noTime}}
}

func (v *view) tail() *file {
	if len(v.files) == 0 {
		return nil
	}
	return v.files[len(v.files)-1]
}

// bounds gives the boundary before the first entry and the one at the last.
func (v *view) bounds() (before, last Boundary) {
	if len(v.files) == 0 {
		return Boundary{}, Boundary{}
	}
	id, s := v.files[0].id, v.tail().sum
	return Boundary{id.first - 1, id.prevTerm, id.base}, Boundary{s.last, s.lastTerm, s.end}
}

// Bounds gives the boundary before the first entry, which outlives what is
// truncated, and the one at the last. The log holds (before.Index, last.Index].
func (l *Log) Bounds() (before, last Boundary) { return l.view.Load().bounds() }

// First is the index of the first entry held; Last+1 if there is none.
func (l *Log) First() ids.LogIndex {
	before, _ := l.Bounds()
	return before.Index + 1
}

// Last is the index of the last entry held, or of the boundary without any.
func (l *Log) Last() ids.LogIndex {
	_, last := l.Bounds()
	return last.Index
}

// End gives Last and the offset after the last record.
func (l *Log) End() (ids.LogIndex, ids.Offset) {
	_, last := l.Bounds()
	return last.Index, last.End
}

// Start is the offset where the first batch held begins, or would.
func (l *Log) Start() ids.Offset {
	before, _ := l.Bounds()
	return before.End
}

// Term gives the term of entry i, from memory, for First()-1 <= i <= Last().
// Errors: ErrCompacted, ErrUnavailable.
func (l *Log) Term(i ids.LogIndex) (ids.Term, error) {
	v := l.view.Load()
	before, last := v.bounds()
	switch {
	case i == before.Index:
		return before.Term, nil
	case i < before.Index:
		return 0, ErrCompacted
	case i > last.Index:
		return 0, ErrUnavailable
	}
	runs := v.at(i).sum.runs
	return runs[sort.Search(len(runs), func(k int) bool { return runs[k].index > i })-1].term, nil
}

// at gives the file that holds entry i, which is in range.
func (v *view) at(i ids.LogIndex) *file {
	return v.files[sort.Search(len(v.files), func(k int) bool { return v.files[k].id.first > i })-1]
}

// EpochStarts lists the terms of the entries held, each with the offset at
// which it begins; terms without a record are left out.
func (l *Log) EpochStarts() []EpochStart {
	v := l.view.Load()
	var out []EpochStart
	for _, f := range v.files {
		for _, r := range f.sum.runs {
			if n := len(out); n > 0 && out[n-1].Term == r.term {
				continue
			} else if n > 0 && out[n-1].Start == r.offset {
				out[n-1].Term = r.term
				continue
			}
			out = append(out, EpochStart{r.term, r.offset})
		}
	}
	if n := len(out); n > 0 && out[n-1].Start == v.tail().sum.end {
		out = out[:n-1]
	}
	return out
}

// Files lists the data files in order.
func (l *Log) Files() []FileInfo {
	v := l.view.Load()
	out := make([]FileInfo, 0, len(v.files))
	for _, f := range v.files {
		out = append(out, FileInfo{First: f.id.first, Last: f.sum.last, Base: f.id.base, End: f.sum.end,
			MaxTimestampMS: max(f.sum.maxMS, -1), Bytes: f.sum.logBytes})
	}
	return out
}

// Close lets go of all files; what is staged and not checkpointed is lost.
// Readers that run end as they would have.
func (l *Log) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.close()
}

func (l *Log) close() error {
	if l.closed {
		return nil
	}
	l.closed = true
	var err error
	if l.w != nil {
		err = l.w.close()
		l.w = nil
	}
	for _, f := range l.view.Load().files {
		l.opt.Cache.drop(f.key)
	}
	return err
}

// Remove closes the log and deletes its directory, see Remove of the package.
func (l *Log) Remove() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	err := l.close()
	l.view.Store(&view{})
	return firstError(err, Remove(l.fs, l.opt.Dir))
}

// usable needs mu.
func (l *Log) usable() error {
	if l.closed {
		return ErrClosed
	}
	return l.failed
}
