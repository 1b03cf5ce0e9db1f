package wal

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"runtime"
	"slices"
	"strings"
)

// recovery is the state of one Open.
type recovery struct {
	l *Log
	w *flusher

	all    []*segment // every segment file that was found, by sequence number
	first  []firstFrame
	tail   int // index into all: the last one whose first frame holds; -1 for none
	chain  []int
	limits []int64 // of chain: where each segment ends
	end    scanned // of the tail
	oldest uint64
	win    window
}

// firstFrame is the flush header at the start of a segment, if it holds.
type firstFrame struct {
	flush
	ok bool
}

// run reads the directory into the log and leaves it ready to go on.
//
//  1. The tail is the last segment whose first frame holds. Its records are
//     read up to the first that does not.
//  2. Did any flush header beyond that place promise that the place is durable?
//     Then it is damage, not a tear, and the log does not open.
//  3. From the tail back, each first frame names the segment before it and
//     where that one ends, down to the oldest that counts. Each must be there,
//     and hold to the byte.
//  4. The records of the chain are applied in order.
//  5. What is not in the chain is free. Unless the tail ends with a clean end,
//     the log goes on in a new segment.
func (r *recovery) run() (err error) {
	defer func() {
		if err != nil {
			r.abandon()
		}
	}()
	fresh, err := r.identify()
	if err != nil || fresh {
		return err
	}
	if err := r.list(); err != nil {
		return err
	}
	if err := r.findTail(); err != nil {
		return err
	}
	if err := r.link(); err != nil {
		return err
	}
	if err := r.replay(); err != nil {
		return err
	}
	return r.settle()
}

// abandon closes what a failed Open had opened.
func (r *recovery) abandon() {
	for _, s := range r.all {
		s.file.Close() // nothing was written through it, or the error is told already
	}
	r.l.segs = nil
}

// identify reads the FORMAT mark, or makes it in an empty directory.
func (r *recovery) identify() (fresh bool, err error) {
	l, o := r.l, &r.l.opts
	l.id, err = readFormat(o.FS, o.Dir)
	if err == nil || !errors.Is(err, fs.ErrNotExist) {
		return false, err
	}
	names, lerr := o.FS.List(o.Dir)
	if lerr != nil {
		return false, lerr
	}
	for _, n := range names {
		if n != lockName && !strings.HasSuffix(n, tmpSuffix) {
			return false, fmt.Errorf("%s holds %s but no %s mark: %w", o.Dir, n, formatName, ErrFormat)
		}
	}
	if o.ReadOnly {
		return false, err
	}
	if err := syncAbove(o.FS, o.Dir); err != nil {
		return false, err
	}
	l.id, err = writeFormat(o.FS, o.Dir)
	return true, err
}

// list opens every segment and reads its first frame.
func (r *recovery) list() error {
	l, o := r.l, &r.l.opts
	names, err := o.FS.List(o.Dir)
	if err != nil {
		return err
	}
	for _, name := range names {
		full := path.Join(o.Dir, name)
		if strings.HasSuffix(name, tmpSuffix) && !o.ReadOnly {
			if err := o.FS.Remove(full); err != nil {
				return err
			}
			continue
		}
		if n, ok := parseSpareName(name); ok {
			l.pool.nextNum = max(l.pool.nextNum, n+1)
			l.pool.back = append(l.pool.back, name)
			continue
		}
		seq, ok := parseSegmentName(name)
		if !ok {
			continue
		}
		f, err := o.FS.Open(full)
		if err != nil {
			return err
		}
		s := l.newSegment(seq, f, 0)
		r.all = append(r.all, s)
		if s.size, err = f.Size(); err != nil {
			return err
		}
		l.pool.nextSeq = max(l.pool.nextSeq, seq+1)
		r.win.reset(f, s.size)
		b, err := r.win.at(0, flushBytes)
		if err != nil {
			return fmt.Errorf("read %s: %w", full, err)
		}
		var ff firstFrame
		ff.ok = ff.get(b, s.segKey, 0)
		r.first = append(r.first, ff)
	}
	return nil
}

// findTail finds where the log ends and tells a tear from damage.
func (r *recovery) findTail() (err error) {
	r.tail = -1
	for i := range r.all {
		if r.first[i].ok {
			r.tail = i
		}
	}
	var end point
	if r.tail >= 0 {
		t := r.all[r.tail]
		if r.end, err = scan(t, &r.win, t.size, keepNothing, nil); err != nil {
			return err
		}
		end = point{t.seq, r.end.end}
		r.oldest = r.end.last.oldest
	}
	if r.l.opts.mut.has(mutNoPromise) {
		return nil
	}
	for i := max(r.tail, 0); i < len(r.all); i++ {
		s, from := r.all[i], int64(0)
		if i == r.tail {
			from = end.off
		}
		best, found, err := promises(s, &r.win, from)
		if err != nil {
			return err
		}
		r.end.torn = r.end.torn || found
		if !found || !best.after(end) {
			continue
		}
		e := &DamageError{File: s.name, Reason: fmt.Sprintf(
			"the first frame is bad, but a later frame says that byte %d of segment %d was durable", best.off, best.seq)}
		if i == r.tail {
			e.Pos = end.off
			e.Reason = fmt.Sprintf("%s, but a later frame says that byte %d of segment %d was durable", r.end.why, best.off, best.seq)
		}
		return e
	}
	return nil
}

// link follows the first frames back from the tail to the oldest segment.
func (r *recovery) link() error {
	if r.tail < 0 {
		return nil
	}
	r.chain, r.limits = []int{r.tail}, []int64{r.end.end}
	for i := r.tail; ; {
		prev := r.first[i].prev
		if prev.seq == 0 || prev.seq < r.oldest {
			break
		}
		k, ok := slices.BinarySearchFunc(r.all[:i], prev.seq, func(s *segment, seq uint64) int {
			return cmp.Compare(s.seq, seq)
		})
		if !ok {
			return &DamageError{File: path.Join(r.l.opts.Dir, segmentName(prev.seq)),
				Reason: fmt.Sprintf("missing, but segment %d follows it", r.all[i].seq)}
		}
		if !r.first[k].ok && !r.l.opts.mut.has(mutNoPromise) {
			return &DamageError{File: r.all[k].name, Reason: fmt.Sprintf("the first frame is bad, but segment %d follows it", r.all[i].seq)}
		}
		r.chain, r.limits = append(r.chain, k), append(r.limits, prev.off)
		if !r.first[k].ok {
			break
		}
		i = k
	}
	slices.Reverse(r.chain)
	slices.Reverse(r.limits)
	return nil
}

// pass is one segment on its way from a scanner to the index.
type pass struct {
	scanned
	err error
}

// replay reads the segments of the chain, several at a time, and applies their
// records in order. At most as many are read ahead as there are readers, so the
// memory is that of the records of a few segments.
func (r *recovery) replay() error {
	n := len(r.chain)
	out := make([]chan pass, n)
	for i := range out {
		out[i] = make(chan pass, 1)
	}
	readers := min(n, max(2, runtime.GOMAXPROCS(0)))
	work := make(chan int, n) // closed below; all of it fits
	tokens := make(chan struct{}, 2*readers)
	stop := make(chan struct{})
	finished := make(chan struct{}, readers)
	for range readers {
		go func() {
			r.read(work, tokens, stop, out)
			finished <- struct{}{}
		}()
	}
	for i := range n {
		work <- i
	}
	close(work)
	var err error
	for i := 0; i < n && err == nil; i++ {
		p := <-out[i]
		if err = p.err; err == nil {
			err = r.apply(i, &p.scanned)
		}
		<-tokens
	}
	close(stop)
	for range readers {
		<-finished
	}
	return err
}

// read is one reader of replay.
func (r *recovery) read(work <-chan int, tokens chan<- struct{}, stop <-chan struct{}, out []chan pass) {
	var win window
	for {
		// The token first: whoever holds one works on the lowest segment left, so
		// the one that is waited for is always among those being read.
		select {
		case tokens <- struct{}{}:
		case <-stop:
			return
		}
		i, ok := <-work
		if !ok {
			return
		}
		s := r.all[r.chain[i]]
		sc, err := scan(s, &win, r.limits[i], keepRecords, nil)
		if err == nil && sc.end != r.limits[i] && !r.l.opts.mut.has(mutNoPromise) {
			err = &DamageError{File: s.name, Pos: sc.end,
				Reason: fmt.Sprintf("%s, but the next segment says that this one was durable up to byte %d", sc.why, r.limits[i])}
		}
		out[i] <- pass{sc, err}
	}
}

// apply makes the records of one segment count.
func (r *recovery) apply(i int, sc *scanned) error {
	s := r.all[r.chain[i]]
	for k := range sc.records {
		c := &sc.records[k]
		st := r.w.stream(c.stream)
		st.enter(s)
		st.apply(&c.change, s)
		if c.kind == KindRemove {
			st.nextGone = true
			r.w.forget(st)
		}
		st.nextGone = false
	}
	s.end = sc.end
	return nil
}

// settle checks the index and hands the log over to the flusher.
func (r *recovery) settle() error {
	l, w := r.l, r.w
	for _, st := range l.streams {
		if err := st.settled(); err != nil && !l.opts.mut.has(mutNoPromise) {
			return &DamageError{File: l.opts.Dir, Reason: err.Error()}
		}
		st.nextFirst, st.nextLast = st.first, st.last
	}
	inChain := map[int]bool{}
	for _, i := range r.chain {
		inChain[i] = true
		l.segs = append(l.segs, r.all[i])
	}
	if l.opts.ReadOnly {
		return r.closeOthers(inChain)
	}
	for i, s := range r.all {
		if !inChain[i] {
			l.pool.back = append(l.pool.back, path.Base(s.name))
		}
	}
	if err := r.closeOthers(inChain); err != nil {
		return err
	}
	if r.tail < 0 {
		return nil
	}
	t := r.all[r.tail]
	w.oldest = r.oldest
	w.seg, w.pos = t, r.end.end
	if r.clean() {
		w.durable = point{t.seq, w.pos}
		return w.resume()
	}
	// What was read may be in the page cache only, left there by a process that
	// was killed. It counts from now on, so it becomes durable first.
	if err := t.file.Datasync(); err != nil {
		return err
	}
	w.durable = point{t.seq, w.pos}
	if r.end.torn {
		l.opts.Notice(Notice{Kind: "torn_tail", Text: fmt.Sprintf("%s ends at byte %d: %s", t.name, w.pos, r.end.why)})
	}
	// A later frame must never make a record of the torn one stand again, so the
	// log goes on in a new segment. w.prev says where this one ends.
	w.prev, w.seg, w.pos = point{t.seq, r.end.end}, nil, 0
	return l.opts.FS.SyncDir(l.opts.Dir)
}

// clean says whether the log may go on where it ended, which takes room for the
// frame of resume.
func (r *recovery) clean() bool {
	t := r.all[r.tail]
	return r.end.last.flags&flagClean != 0 && r.end.lastPos+flushBytes == r.end.end && !r.end.torn &&
		t.size == r.l.opts.SegmentBytes && r.end.end+flushBytes+tailBytes <= t.size
}

// resume takes back, durably and before anything else, that the log ended
// clean here. Else a power cut that loses the begin of this life's first frame
// but not all of it would look like the clean end again, and the next life would
// write in front of what is left, in the same place with the same checksums:
//
//	life A          | … clean
//	life B, torn    |            (lost)  stale record
//	life C          |            frame of just that length, then the stale record
func (w *flusher) resume() error {
	if err := w.loadPage(); err != nil {
		return err
	}
	w.begin()
	if err := w.write(0); err != nil {
		return err
	}
	if err := w.syncSegment(); err != nil {
		return err
	}
	w.setEnd()
	return nil
}

func (r *recovery) closeOthers(inChain map[int]bool) error {
	var errs []error
	for i, s := range r.all {
		if !inChain[i] {
			errs = append(errs, s.file.Close())
		}
	}
	return errors.Join(errs...)
}
