package store

import (
	"fmt"
	"slices"
)

// Checkpoint makes all that was appended durable and visible, with state beside
// it: the caller's own bytes, given back by State. One sync per touched file,
// one of the directory if it has new names, then the checkpoint record and its
// sync. It writes to the disk and keeps no reference to state. A write that fails,
// as on a full disk, discards what is staged, like one in Append. A sync that
// fails leaves the log failed for ever: what is durable only Open tells. Errors:
// ErrFailed, ErrClosed, and those of the disk.
func (l *Log) Checkpoint(state []byte) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.usable(); err != nil {
		return err
	}
	if err := l.ready(fileID{first: 1}); err != nil {
		return l.discard(err)
	}
	files := l.view.Load().files
	if len(files) > 0 {
		files = files[:len(files)-1] // the last one continues, in filled or in f
	}
	return l.commit(files, state)
}

// commit ends the round: files are those before the ones the writer touched.
// Before a sync failed all that is durable is known, so the round can be taken
// back; after one nothing is.
func (l *Log) commit(files []*file, state []byte) error {
	w := l.w
	err := l.syncAll()
	if err == nil {
		files = append(slices.Clip(files), w.filled...)
		err = w.record(files, state)
	}
	if err != nil && !w.doubt {
		return l.discard(fmt.Errorf("checkpoint of %s: %w", l.opt.Dir, err))
	}
	l.w = nil
	if err = firstError(err, w.close()); err != nil {
		l.failed = fmt.Errorf("%w: checkpoint of %s: %w", ErrFailed, l.opt.Dir, err)
		return l.failed
	}
	f := w.f
	l.view.Store(&view{files: append(files, &f)})
	return nil
}

// syncAll makes everything below the checkpoint record durable. The index file
// written to last has its sync with the record itself.
func (l *Log) syncAll() error {
	w := l.w
	if err := w.flush(); err != nil {
		return err
	}
	for _, f := range w.open {
		if f == w.idx || f == w.log && w.logPos == w.logStart {
			continue
		}
		if err := w.synced(f.Datasync()); err != nil {
			return err
		}
	}
	if len(w.made) == 0 {
		return nil
	}
	return w.synced(l.fs.SyncDir(l.opt.Dir))
}

// synced notes the outcome of a sync and gives it back.
func (w *writer) synced(err error) error {
	w.doubt = w.doubt || err != nil
	return err
}

// record writes the checkpoint frame and syncs it.
func (w *writer) record(files []*file, state []byte) error {
	c := checkpoint{first: w.f.id.first, sum: w.f.sum, state: state}
	if len(files) > 0 {
		c.first = files[0].id.first
	}
	w.f.kAt = w.f.idxBytes
	w.frame(kindCheckpoint, c.body(), nil)
	w.f.kLen = int64(len(w.idxBuf))
	if err := w.write(); err != nil {
		return err
	}
	return w.synced(w.idx.Datasync())
}

// State gives what the last Checkpoint was given; nil if there was none. It
// reads the disk. Errors: ErrCorrupt and those of the disk.
func (l *Log) State() ([]byte, error) {
	tail := l.view.Load().tail()
	if tail == nil {
		return nil, nil
	}
	h, err := l.open(tail)
	if err != nil {
		return nil, err
	}
	defer l.opt.Cache.release(h)
	name := tail.key.path + idxSuffix
	fr, err := frameAt(h.idx, tail.kAt, tail.kLen)
	if err != nil {
		return nil, damaged(name, tail.kAt, "checkpoint record", err)
	}
	c, ok := parseCheckpoint(fr.body)
	if !ok || fr.kind != kindCheckpoint {
		return nil, &CorruptError{File: name, Pos: tail.kAt, What: "checkpoint record"}
	}
	return c.state, nil
}
