package store

import (
	"errors"
	"fmt"

	"dyno/engine/ids"
)

// errStaged refuses to truncate below entries that are not checkpointed.
var errStaged = errors.New("store: entries are staged: checkpoint first")

// TruncateBefore deletes the data files that end at or below offset, whole
// ones only, and keeps the boundary before the first entry left. If that is all
// of them an empty file at the last boundary takes their place. It reports how
// many bytes of batches went. Nothing may be staged. It writes to the disk;
// readers of a deleted file get ErrCompacted. Errors: as Checkpoint.
func (l *Log) TruncateBefore(offset ids.Offset) (freed int64, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.idle(); err != nil {
		return 0, err
	}
	files := l.view.Load().files
	n := 0
	for n < len(files) && files[n].sum.end <= offset && files[n].sum.last >= files[n].id.first {
		freed += files[n].sum.logBytes
		n++
	}
	if n == 0 {
		return 0, nil
	}
	state, err := l.State()
	if err != nil {
		return 0, err
	}
	if n == len(files) {
		s := files[n-1].sum
		return freed, l.restart(fileID{first: s.last + 1, prevTerm: s.lastTerm, base: s.end}, state)
	}
	if err := l.ready(fileID{}); err != nil {
		return 0, l.discard(err)
	}
	if err := l.commit(files[n:len(files)-1], state); err != nil {
		return 0, err
	}
	return freed, l.remove(files[:n])
}

// TruncateAll deletes all entries and goes on behind at, which must not lie
// before the last one: what a replica does that was given a snapshot. state
// takes the place of the last checkpoint's. Errors: ErrGap, and as Checkpoint.
func (l *Log) TruncateAll(at Boundary, state []byte) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.idle(); err != nil {
		return err
	}
	_, last := l.view.Load().bounds()
	if at.Index < last.Index || at.Term < last.Term || at.End < last.End || at.Index == last.Index && at != last {
		return fmt.Errorf("%w: cut at %+v, the log ends at %+v", ErrGap, at, last)
	}
	return l.restart(fileID{first: at.Index + 1, prevTerm: at.Term, base: at.End}, state)
}

// restart makes id the only file.
func (l *Log) restart(id fileID, state []byte) error {
	old := l.view.Load().files
	if tail := l.view.Load().tail(); tail != nil && tail.id == id {
		// It is there already, and empty: what is before it can go.
		if err := l.ready(id); err != nil {
			return l.discard(err)
		}
		old = old[:len(old)-1]
	} else if err := l.begin(&writer{}, id); err != nil {
		return l.discard(err)
	}
	if err := l.commit(nil, state); err != nil {
		return err
	}
	return l.remove(old)
}

// remove deletes files that no checkpoint covers any more. A power cut in
// between leaves some of them, which Open takes for the leftovers they are.
func (l *Log) remove(files []*file) error {
	for _, f := range files {
		l.opt.Cache.drop(f.key)
		if err := removePair(l.fs, f.key.path); err != nil {
			return fmt.Errorf("remove %s: %w", f.key.path, err)
		}
	}
	if len(files) == 0 {
		return nil
	}
	return l.fs.SyncDir(l.opt.Dir)
}

// idle needs mu.
func (l *Log) idle() error {
	if err := l.usable(); err != nil {
		return err
	}
	if l.w != nil {
		return errStaged
	}
	return nil
}
