package store

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"

	"dyno/engine/ids"
	"dyno/wal/vfs"
)

// writer is what is staged since the last checkpoint. Owner: who holds Log.mu.
type writer struct {
	f        file // the file written to: summary and spans with what is staged
	log, idx vfs.File
	promise  int64   // the index file is durable up to here
	filled   []*file // begun or continued since the checkpoint, and full now
	open     []vfs.File
	made     []*file // created since the checkpoint
	build    builder
	bufs     [][]byte // log bytes to write at logPos
	bufBytes int64
	logPos   int64
	logStart int64  // logPos at the start of the round
	idxBuf   []byte // frames to write at f.idxBytes
	doubt    bool   // a sync failed: what is durable only Open tells
}

// writeBytesMax bounds one write to a log file.
const writeBytesMax = 1 << 20

// Append stages entries behind the last one staged or held: they are written,
// not synced, and not visible before Checkpoint. Batches must begin at the
// offset where the last one ended and are checked against their checksum. It
// writes to the disk, and neither keeps nor changes the entries. After an error
// nothing is staged any more: the log is as the last checkpoint left it.
// Errors: ErrGap, ErrBadBatch, ErrFailed, ErrClosed, and those of the disk.
func (l *Log) Append(entries []Entry) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.usable(); err != nil {
		return err
	}
	if len(entries) == 0 {
		return nil
	}
	err := l.ready(fileID{first: 1})
	for i := 0; i < len(entries) && err == nil; i++ {
		err = l.stage(&entries[i])
	}
	if err == nil {
		err = l.w.flush()
	}
	if err != nil {
		return l.discard(fmt.Errorf("append to %s: %w", l.opt.Dir, err))
	}
	return nil
}

// ready opens the last file for writing, or makes the first, which begins at id.
func (l *Log) ready(id fileID) error {
	if l.w != nil {
		return nil
	}
	tail := l.view.Load().tail()
	if tail == nil {
		return l.begin(&writer{}, id)
	}
	w := &writer{f: *tail, promise: tail.idxBytes, logPos: tail.sum.logBytes, logStart: tail.sum.logBytes}
	w.f.sum.runs, w.f.spans = slices.Clip(w.f.sum.runs), slices.Clip(w.f.spans)
	var err error
	if w.log, err = l.fs.Open(tail.key.path + logSuffix); err != nil {
		return err
	}
	w.open = append(w.open, w.log)
	l.w = w
	if w.idx, err = l.fs.Open(tail.key.path + idxSuffix); err != nil {
		return err
	}
	w.open = append(w.open, w.idx)
	w.startFrame()
	return nil
}

// begin makes the file id and goes on with it in w, which becomes l.w.
func (l *Log) begin(w *writer, id fileID) error {
	l.w = w
	if err := l.makeDir(); err != nil {
		return err
	}
	w.f = *l.newFile(id)
	w.made = append(w.made, &file{id: id, key: w.f.key})
	w.promise, w.logPos, w.logStart = 0, 0, 0
	var err error
	if w.log, err = l.fs.Create(w.f.key.path + logSuffix); err != nil {
		return err
	}
	w.open = append(w.open, w.log)
	if w.idx, err = l.fs.Create(w.f.key.path + idxSuffix); err != nil {
		return err
	}
	w.open = append(w.open, w.idx)
	w.idxBuf = appendFrame(w.idxBuf[:0], kindHead, 0, 0, id.body())
	w.startFrame()
	return nil
}

func (l *Log) makeDir() error {
	if len(l.view.Load().files) > 0 {
		return nil
	}
	if err := l.fs.MkdirAll(l.opt.Dir); err != nil {
		return err
	}
	return l.fs.SyncDir(path.Dir(l.opt.Dir))
}

func (w *writer) startFrame() {
	w.build.reset(w.f.sum.last+1, w.f.sum.lastTerm, w.f.sum.end, w.logPos+w.bufBytes)
}

// stage checks one entry and takes it.
func (l *Log) stage(e *Entry) error {
	w := l.w
	last, term, end := w.position()
	if e.Index != last+1 || e.Term < term {
		return fmt.Errorf("%w: (%d, term %d) after (%d, term %d)", ErrGap, e.Index, e.Term, last, term)
	}
	if e.isBatch() {
		if what := checkBatch(e.Data, end, e.Term); what != "" {
			return fmt.Errorf("%w: entry %d: %s", ErrBadBatch, e.Index, what)
		}
	}
	if !w.hasRoom(e, l.fileBytes.Load()) {
		if err := l.roll(); err != nil {
			return err
		}
	}
	if e.isBatch() {
		w.bufs = append(w.bufs, e.Data)
		w.bufBytes += int64(len(e.Data))
	}
	if n := len(w.f.sum.runs); n == 0 || e.Term != w.f.sum.runs[n-1].term {
		w.f.sum.runs = append(w.f.sum.runs, run{e.Index, e.Term, end})
	}
	w.build.add(e)
	if w.build.full() {
		w.endFrame()
	}
	if w.bufBytes >= writeBytesMax || int64(len(w.idxBuf)) >= writeBytesMax {
		return w.write()
	}
	return nil
}

// idxBytesMax bounds an index file where it outgrows its data file: many
// checkpoints with a large state, entries without batches.
const idxBytesMax = 16 << 20

// hasRoom says whether e may go into the file; an empty file takes anything.
func (w *writer) hasRoom(e *Entry, fileBytes int64) bool {
	if last, _, _ := w.position(); last < w.f.id.first {
		return true
	}
	if w.f.idxBytes > idxBytesMax {
		return false
	}
	used := w.logPos + w.bufBytes
	return !e.isBatch() || used == 0 || used+int64(len(e.Data)) <= fileBytes
}

// position is the last entry taken and the offset after it.
func (w *writer) position() (ids.LogIndex, ids.Term, ids.Offset) {
	if w.build.count > 0 {
		return w.build.last(), w.build.lastT, w.build.end
	}
	return w.f.sum.last, w.f.sum.lastTerm, w.f.sum.end
}

// endFrame closes the frame that is being built.
func (w *writer) endFrame() {
	if w.build.count == 0 {
		return
	}
	sp := w.build.span
	w.frame(kindEntries, w.build.body(nil), &sp)
	w.f.spans = append(w.f.spans, sp)
	w.f.sum.grow(&sp, w.build.lastT)
	w.startFrame()
}

// frame appends a frame to what is to be written; sp, if given, learns where.
func (w *writer) frame(kind byte, body []byte, sp *span) {
	pos, before := w.f.idxBytes+int64(len(w.idxBuf)), len(w.idxBuf)
	w.idxBuf = appendFrame(w.idxBuf, kind, pos, w.promise, body)
	if sp != nil {
		sp.pos, sp.length = pos, int64(len(w.idxBuf)-before)
	}
}

// flush ends the frame and writes all that is held back.
func (w *writer) flush() error {
	w.endFrame()
	return w.write()
}

// write hands the bytes held back to the files.
func (w *writer) write() error {
	if len(w.bufs) > 0 {
		if err := w.writeLog(); err != nil {
			return err
		}
		w.logPos += w.bufBytes
		clear(w.bufs)
		w.bufs, w.bufBytes = w.bufs[:0], 0
	}
	if len(w.idxBuf) > 0 {
		if _, err := w.idx.WriteAt(w.idxBuf, w.f.idxBytes); err != nil {
			return err
		}
		w.f.idxBytes += int64(len(w.idxBuf))
		w.idxBuf = w.idxBuf[:0]
	}
	return nil
}

// roll seals the file and begins the next; both become durable together with
// the next checkpoint.
func (l *Log) roll() error {
	w := l.w
	w.endFrame()
	w.frame(kindSeal, sealBody(&w.f.sum), nil)
	if err := w.write(); err != nil {
		return err
	}
	full := w.f
	full.spans, full.idxBytes, full.kAt, full.kLen = nil, 0, 0, 0
	w.filled = append(w.filled, &full)
	return l.begin(w, fileID{first: full.sum.last + 1, prevTerm: full.sum.lastTerm, base: full.sum.end})
}

func (w *writer) close() error {
	var first error
	for _, f := range w.open {
		first = firstError(first, f.Close())
	}
	w.open = nil
	return first
}

// Discard drops what is staged: the log is as the last checkpoint left it.
// Without anything staged, and after Close, it does nothing. It writes to the
// disk. Errors: ErrFailed.
func (l *Log) Discard() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.discard(errDiscard); err != errDiscard {
		return err
	}
	return nil
}

var errDiscard = errors.New("store: discard asked for")

// discard takes back all that is staged, because of cause: new files go, the
// last file is cut to its checkpoint, durably. If that fails too the log is in
// doubt and stays failed.
func (l *Log) discard(cause error) error {
	w := l.w
	l.w = nil
	if w == nil {
		return cause
	}
	err := w.close()
	for _, f := range slices.Backward(w.made) {
		err = firstError(err, removePair(l.fs, f.key.path))
	}
	if len(w.made) > 0 {
		err = firstError(err, l.fs.SyncDir(l.opt.Dir))
	}
	if tail := l.view.Load().tail(); tail != nil {
		err = firstError(err, cutFile(l.fs, tail.key.path+idxSuffix, tail.idxBytes),
			cutFile(l.fs, tail.key.path+logSuffix, tail.sum.logBytes))
	}
	if err != nil {
		l.failed = fmt.Errorf("%w: %w, then %w", ErrFailed, cause, err)
		return l.failed
	}
	return cause
}

// removePair deletes the two files of a pair, as far as they exist.
func removePair(disk vfs.FS, path string) error {
	for _, suffix := range []string{idxSuffix, logSuffix} {
		if err := disk.Remove(path + suffix); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

// cutFile truncates a file to size, durably; it must have that much.
func cutFile(disk vfs.FS, name string, size int64) (err error) {
	have, err := disk.Stat(name)
	if err != nil || have == size {
		return err
	}
	if have < size {
		return &CorruptError{File: name, Pos: have, What: fmt.Sprintf("file ends before byte %d, which a checkpoint covers", size)}
	}
	f, err := disk.Open(name)
	if err != nil {
		return err
	}
	defer func() { err = firstError(err, f.Close()) }()
	if err := f.Truncate(size); err != nil {
		return err
	}
	return f.Datasync()
}

// batchEnd is the offset after a batch that begins at base.
func batchEnd(b []byte, base ids.Offset) ids.Offset {
	return base + ids.Offset(binary.BigEndian.Uint32(b[posLastDelta:])) + 1
}
