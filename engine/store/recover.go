package store

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"sort"
	"strings"

	"dyno/engine/ids"
)

// Open opens or makes the log in o.Dir: it finds the last checkpoint, removes
// what none covers, durably, and checks that the files form one chain. It reads
// the last index file whole, of the others head and seal. A log without a
// checkpoint is empty: no file is made before the first Append.
//
// A damaged last checkpoint looks like one that a power cut tore. AtLeast tells
// them apart.
// Errors: ErrCorrupt with file and position, ErrOptions, those of the disk.
func Open(o Options) (*Log, error) {
	o.setDefaults()
	if err := o.validate(); err != nil {
		return nil, err
	}
	l := &Log{opt: o, fs: o.FS}
	l.fileBytes.Store(o.FileBytes)
	v, err := l.recover()
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", o.Dir, err)
	}
	l.view.Store(v)
	return l, nil
}

// recover is Open's work. Where a removal was cut short it is finished first. All reading and checking comes first, so that damage
// is found with nothing changed:
//
//  1. from the newest file back: the first with a checkpoint is the tail;
//  2. read head and seal of those between the checkpoint's first entry and the
//     tail, and check the chain and what the caller expects;
//  3. cut the tail to its checkpoint;
//  4. remove what is newer, and what is older than the first entry.
func (l *Log) recover() (*view, error) {
	if err := l.finishRemoval(); err != nil {
		return nil, err
	}
	pairs, strays, err := l.list()
	if err != nil {
		return nil, err
	}
	var tail *file
	var c checkpoint
	n := len(pairs)
	for ; n > 0 && tail == nil; n-- {
		if tail, c, err = l.readTail(pairs[n-1]); err != nil {
			return nil, err
		}
	}
	// pairs[:n] are before the tail, the one at n; without a tail n is 0.
	v, gone := &view{}, pairs
	if tail != nil {
		keep := sort.Search(n, func(i int) bool { return pairs[i].first >= c.first })
		gone = append(append([]fileID(nil), pairs[:keep]...), pairs[n+1:]...)
		if v, err = l.chain(pairs[keep:n], tail, c.first); err != nil {
			return nil, err
		}
	}
	if _, last := v.bounds(); last.Index < l.opt.AtLeast {
		return nil, &CorruptError{File: l.opt.Dir, What: fmt.Sprintf("ends at entry %d, but must reach %d: a checkpoint is lost", last.Index, l.opt.AtLeast)}
	}
	if tail != nil {
		if err := l.cutTail(tail); err != nil {
			return nil, err
		}
	}
	return v, l.sweep(gone, strays)
}

// list finds the pairs by rising first index; strays are files of no pair.
func (l *Log) list() (pairs []fileID, strays []string, err error) {
	names, err := l.fs.List(l.opt.Dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil, nil
	}
	if err != nil {
		return nil, nil, err
	}
	have := map[string]bool{}
	for _, n := range names {
		have[n] = true
	}
	for _, n := range names {
		stem, isIdx := strings.CutSuffix(n, idxSuffix)
		logStem, isLog := strings.CutSuffix(n, logSuffix)
		if isLog {
			stem = logStem
		}
		id, ok := parseName(stem)
		switch {
		case !ok || !isIdx && !isLog:
		case !have[stem+idxSuffix] || !have[stem+logSuffix]:
			strays = append(strays, n)
		case isIdx:
			pairs = append(pairs, id)
		}
	}
	sort.Slice(pairs, func(i, j int) bool {
		a, b := pairs[i], pairs[j]
		return a.first < b.first || a.first == b.first && a.base < b.base
	})
	return pairs, strays, nil
}

// readTail scans an index file for its last checkpoint; nil if it has none.
func (l *Log) readTail(name fileID) (*file, checkpoint, error) {
	f := l.newFile(name)
	h, err := l.opt.Cache.acquire(f.key)
	if err != nil {
		return nil, checkpoint{}, err
	}
	defer l.opt.Cache.release(h)
	size, err := h.idx.Size()
	if err != nil {
		return nil, checkpoint{}, err
	}
	s := tailScan{file: f, cur: f.sum}
	end, err := scanFrames(h.idx, size, s.visit)
	if err != nil {
		return nil, checkpoint{}, err
	}
	if end < size {
		if damage, err := promised(h.idx, end, size); err != nil || damage {
			return nil, checkpoint{}, firstError(err, &CorruptError{File: f.key.path + idxSuffix, Pos: end, What: "frame below a later one's promise"})
		}
	}
	if s.found == nil {
		l.opt.Cache.drop(f.key)
		return nil, checkpoint{}, nil
	}
	f.sum, f.spans = s.found.sum, s.spans[:s.spansAt:s.spansAt]
	return f, *s.found, nil
}

// tailScan follows the frames of an index file.
type tailScan struct {
	file    *file
	cur     summary // as the frames add up, without runs
	spans   []span
	found   *checkpoint
	spansAt int // spans below found
}

func (s *tailScan) visit(fr frame) error {
	bad := func(what string) error {
		return &CorruptError{File: s.file.key.path + idxSuffix, Pos: fr.pos, What: what}
	}
	switch {
	case fr.pos == 0 && fr.kind == kindHead:
		id, ok := parseHead(fr.body, s.file.id)
		if !ok {
			return bad("head does not fit the file's name")
		}
		s.file.id, s.cur.lastTerm = id, id.prevTerm
	case fr.pos == 0:
		return bad("file without a head")
	case fr.kind == kindEntries:
		sp, last, ok := parseSpan(&fr)
		if !ok || !s.cur.continues(&sp) {
			return bad("entries do not continue those before")
		}
		s.cur.grow(&sp, last)
		s.spans = append(s.spans, sp)
	case fr.kind == kindCheckpoint:
		c, ok := parseCheckpoint(fr.body)
		if !ok || !c.sum.same(&s.cur) || c.first > s.file.id.first {
			return bad("checkpoint does not fit the entries before it")
		}
		s.found, s.spansAt = &c, len(s.spans)
		s.file.kAt, s.file.kLen, s.file.idxBytes = fr.pos, fr.end()-fr.pos, fr.end()
	case fr.kind == kindSeal:
		// The next file has to hold the checkpoint that covers it.
	default:
		return bad(fmt.Sprintf("frame of unknown kind %d", fr.kind))
	}
	return nil
}

// continues says whether sp follows what s holds.
func (s *summary) continues(sp *span) bool {
	return sp.first == s.last+1 && sp.term == s.lastTerm && sp.base == s.end && sp.logPos == s.logBytes
}

// same compares all but the runs.
func (s *summary) same(o *summary) bool {
	return s.last == o.last && s.lastTerm == o.lastTerm && s.end == o.end && s.logBytes == o.logBytes && s.maxMS == o.maxMS
}

// cutTail drops what the tail's checkpoint does not cover.
func (l *Log) cutTail(f *file) error {
	if err := cutFile(l.fs, f.key.path+idxSuffix, f.idxBytes); err != nil {
		return err
	}
	return cutFile(l.fs, f.key.path+logSuffix, f.sum.logBytes)
}

// sweep removes pairs and stray files.
func (l *Log) sweep(pairs []fileID, strays []string) error {
	for _, id := range pairs {
		if err := removePair(l.fs, path.Join(l.opt.Dir, id.name())); err != nil {
			return err
		}
	}
	for _, n := range strays {
		if err := l.fs.Remove(path.Join(l.opt.Dir, n)); err != nil {
			return err
		}
	}
	if len(pairs)+len(strays) == 0 {
		return nil
	}
	return l.fs.SyncDir(l.opt.Dir)
}

// chain reads the full files before the tail and checks that each begins where
// the one before ends, the first at index first.
func (l *Log) chain(old []fileID, tail *file, first ids.LogIndex) (*view, error) {
	v := &view{}
	for _, name := range old {
		f, err := l.readSealed(name)
		if err != nil {
			return nil, err
		}
		v.files = append(v.files, f)
	}
	v.files = append(v.files, tail)
	want := fileID{first: first, prevTerm: v.files[0].id.prevTerm, base: v.files[0].id.base}
	for _, f := range v.files {
		if f.id != want {
			return nil, &CorruptError{File: f.key.path + idxSuffix, What: fmt.Sprintf(
				"begins at index %d, term %d, offset %d; expected %d, %d, %d: a file is missing or damaged",
				f.id.first, f.id.prevTerm, f.id.base, want.first, want.prevTerm, want.base)}
		}
		want = fileID{first: f.sum.last + 1, prevTerm: f.sum.lastTerm, base: f.sum.end}
	}
	return v, nil
}

// readSealed reads head and seal of a full file.
func (l *Log) readSealed(name fileID) (*file, error) {
	f := l.newFile(name)
	h, err := l.opt.Cache.acquire(f.key)
	if err != nil {
		return nil, err
	}
	defer l.opt.Cache.release(h)
	idxName := f.key.path + idxSuffix
	size, err := h.idx.Size()
	if err != nil {
		return nil, err
	}
	fr, err := frameAt(h.idx, 0, size)
	if err != nil {
		return nil, damaged(idxName, 0, "head", err)
	}
	id, ok := parseHead(fr.body, name)
	if !ok || fr.kind != kindHead {
		return nil, &CorruptError{File: idxName, What: "head"}
	}
	f.id = id
	if f.sum, err = readSeal(h, idxName, size); err != nil {
		return nil, err
	}
	logSize, err := h.log.Size()
	if err != nil {
		return nil, err
	}
	if logSize != f.sum.logBytes {
		return nil, &CorruptError{File: f.key.path + logSuffix, Pos: logSize, What: fmt.Sprintf("file of %d bytes sealed with %d", logSize, f.sum.logBytes)}
	}
	return f, nil
}

// readSeal finds the seal from the end of an index file.
func readSeal(h *handle, name string, size int64) (summary, error) {
	var foot [8]byte
	if size < frameHeaderBytes {
		return summary{}, &CorruptError{File: name, Pos: size, What: "no seal"}
	}
	if _, err := h.idx.ReadAt(foot[:], size-8); err != nil {
		return summary{}, damaged(name, size-8, "seal", err)
	}
	d := fieldReader{b: foot[:]}
	length := d.u64()
	if length < frameHeaderBytes || length > uint64(size) {
		return summary{}, &CorruptError{File: name, Pos: size - 8, What: "no seal"}
	}
	at := size - int64(length)
	fr, err := frameAt(h.idx, at, int64(length))
	if err != nil {
		return summary{}, damaged(name, at, "seal", err)
	}
	s, ok := parseSeal(fr.body)
	if !ok || fr.kind != kindSeal || fr.end() != size {
		return summary{}, &CorruptError{File: name, Pos: at, What: "seal"}
	}
	return s, nil
}
