package wal

import (
	"fmt"
	"runtime"
	"time"

	"dyno/wal/vfs"
)

// flusher is the log's writer: one goroutine, which owns every field here and
// is the only one that changes the index and the list of segments.
//
//	for set := take everything queued {
//	    for each submission, in order:
//	        check it against what was admitted before it
//	        lay its records into the frame; when the frame is full: flush
//	    flush
//	}
//	flush = write the frame, or what did not go ahead of it (ahead.go); one
//	        fdatasync if any submission of the frame asked for it; make the
//	        records visible; call Done, in order
//
// No timer: what arrives during one sync is the next frame, so the batch grows
// with the load and with the disk's slowness by itself. When nothing came for
// confirmAfter the last frame is confirmed by a promise (confirm), without a
// sync: at once would cost a client that waits for each answer a tenth of its
// rate (4 KiB, one in flight: 120 against 109 us).
type flusher struct {
	l *Log

	seg     *segment   // where the next frame goes; nil until the first one
	next    []*segment // taken for a submission that needs several
	pos     int64      // of the next frame in seg
	prev    point      // where the log before seg ends; stated by seg's first frame
	durable point      // all before it is synced; promised by every frame
	oldest  uint64     // first segment that counts
	dirty   bool       // written to seg since its last sync
	// confirmed: the promise on disk covers all that is durable.
	confirmed bool
	onReserve bool // seg is the one kept back for a full disk

	// The frame being laid, at pos.
	bytes int64    // its size so far, the flush header included; 0: no frame
	arena []byte   // what is copied: headers, payloads, padding; see newFlusher
	lent  int      // arena[:lent] is in iov already
	iov   [][]byte // the frame's pieces in order, the flush header first
	sync  bool     // someone in it asked for a sync
	put   []placed // its records
	acks  []ack    // submissions that end with it
	room  int64    // queue bytes that end with it
	data  int64    // payload bytes in it
	ahead ahead    // what of it goes to the disk already; zero: nothing

	goesAhead bool // what was taken from the queue is one submission, a lone large record

	vote  [voteBytes]byte // scratch of lay
	stall *time.Timer     // tells of a sync that hangs

	// page is what the last page of seg holds before pos: a direct write begins
	// at a page, so it writes these bytes again, unchanged. Empty when buffered.
	page []byte
}

// placed is a record that is written when its frame is.
type placed struct {
	st *stream
	change
}

type ack struct {
	a   *Append
	err error
}

var zeroPage [pageBytes]byte

// stallAfter is how long a sync may take before the caller is told.
const stallAfter = time.Second

// newFlusher makes the arena: a frame of WriteBytesMax with the page it begins
// in and the page it ends in, aligned for a direct write.
func newFlusher(l *Log) *flusher {
	n := min(l.opts.WriteBytesMax, l.opts.SegmentBytes) + 4*pageBytes
	w := &flusher{l: l, arena: vfs.Aligned(int(n))[:0], page: make([]byte, 0, pageBytes)}
	w.stall = time.AfterFunc(stallAfter, func() {
		l.opts.Notice(Notice{Kind: "sync_stall", Text: "a sync takes longer than " + stallAfter.String()})
	})
	w.stall.Stop()
	return w
}

// run is the flusher's goroutine.
func (w *flusher) run() {
	defer close(w.l.flusherDone)
	quiet := time.AfterFunc(time.Hour, w.l.queue.nudge)
	defer quiet.Stop()
	var set []*Append
	for {
		var ok bool
		if w.unconfirmed() {
			quiet.Reset(w.l.opts.confirmAfter)
		}
		if set, ok = w.l.queue.take(set); !ok {
			break
		}
		if len(set) == 0 {
			w.confirm()
			continue
		}
		w.goesAhead = len(set) == 1 && w.l.opts.lone(set[0])
		for _, a := range set {
			w.add(a)
		}
		w.flush()
	}
	w.end()
}

// flush ends the frame under way and answers all submissions that end with it.
func (w *flusher) flush() {
	if err := w.commit(); err != nil {
		w.drop()
	}
	w.answer()
}

// commit writes the frame, syncs if it must, and makes its records visible.
func (w *flusher) commit() error {
	if w.bytes > 0 {
		if err := w.write(0); err != nil {
			return err
		}
	}
	if w.sync && w.dirty {
		if err := w.syncSegment(); err != nil {
			return err
		}
	}
	w.sync = false
	w.publish()
	return nil
}

// write hands the frame to the disk.
func (w *flusher) write(flags uint32) error {
	if err := w.l.Err(); err != nil {
		return err
	}
	w.lend()
	f := flush{promise: w.durable, oldest: w.oldest, bytes: uint32(w.bytes - flushBytes), flags: flags}
	if w.pos == 0 {
		f.prev = w.prev
	}
	f.put(w.iov[0], w.seg.segKey, w.pos)
	end := w.pos + w.bytes
	n, err := w.toDisk(end)
	if err != nil {
		return w.l.fail("write", err)
	}
	w.dirty = true
	c := &w.l.counters
	c.frameBytes.Add(w.bytes)
	w.pos, w.bytes = end, 0
	c.writes.Add(1)
	c.writtenBytes.Add(n)
	c.payloadBytes.Add(w.data)
	c.records.Add(int64(len(w.put)))
	w.data = 0
	return nil
}

// toDisk writes the frame's pieces, up to end and zeros to the end of that page:
// a page that is written whole needs not be read from the disk first, which
// matters when a recycled segment has left the page cache. It returns the bytes
// written.
func (w *flusher) toDisk(end int64) (n int64, err error) {
	pad := (pageBytes - end%pageBytes) % pageBytes // segments are whole pages
	if w.l.opts.Buffered || len(w.iov) > 1 {
		if pad > 0 {
			w.iov = append(w.iov, zeroPage[:pad])
		}
		n, err = w.seg.file.Writev(w.iov, w.pos)
	} else {
		clear(w.take(int(pad)))
		n, err = w.direct(w.arena, w.pos-int64(len(w.page)))
	}
	w.keepPage(end)
	clear(w.iov)
	return n, err
}

// direct writes p, whole pages, at off: in one call, unless some of it went ahead.
func (w *flusher) direct(p []byte, off int64) (int64, error) {
	if w.ahead.to > 0 {
		return int64(len(p)), w.writeRest(off)
	}
	if half := len(p) / 2 / pageBytes * pageBytes; half > 0 && w.l.opts.mut.has(mutTwoWrites) {
		if n, err := w.seg.file.WriteDirect(p[:half], off); err != nil {
			return int64(n), err
		}
		n, err := w.seg.file.WriteDirect(p[half:], off+int64(half))
		return int64(half + n), err
	}
	n, err := w.seg.file.WriteDirect(p, off)
	return int64(n), err
}

// keepPage takes the bytes of the page that the log now ends in from the pieces
// just written.
func (w *flusher) keepPage(end int64) {
	if w.l.opts.Buffered {
		return
	}
	need := end % pageBytes
	if end-need < w.pos { // still the page the frame began in
		need = end - w.pos
	} else {
		w.page = w.page[:0]
	}
	at := len(w.page)
	w.page = w.page[:at+int(need)]
	into, left := w.page[at:], end-w.pos // left: frame bytes from this piece on
	for _, piece := range w.iov {
		piece = piece[:min(int64(len(piece)), left)]
		if skip := left - int64(len(into)); skip < int64(len(piece)) {
			into = into[copy(into, piece[skip:]):]
		}
		left -= int64(len(piece))
	}
}

// loadPage reads what keepPage would have kept, for a log that goes on in a
// segment of an earlier life.
func (w *flusher) loadPage() error {
	if w.l.opts.Buffered {
		return nil
	}
	n := w.pos % pageBytes
	w.page = w.page[:n]
	if _, err := w.seg.file.ReadAt(w.page, w.pos-n); err != nil {
		return fmt.Errorf("read the last page of %s: %w", w.seg.name, err)
	}
	return nil
}

// syncSegment makes all that was written durable.
func (w *flusher) syncSegment() error {
	if err := w.l.Err(); err != nil {
		return err
	}
	start := time.Now()
	w.stall.Reset(stallAfter)
	err := w.datasync()
	w.stall.Stop()
	if err != nil {
		return w.l.fail("sync", err)
	}
	w.l.counters.synced(time.Since(start))
	w.durable, w.dirty, w.confirmed = point{w.seg.seq, w.pos}, false, false
	return nil
}

func (w *flusher) datasync() (err error) {
	if w.l.opts.mut.has(mutLockedSync) {
		w.l.queue.mu.Lock()
		defer w.l.queue.mu.Unlock()
	}
	if !w.l.opts.mut.has(mutNoSync) {
		err = w.seg.file.Datasync()
	}
	if err == nil && w.l.opts.mut.has(mutTwoSyncs) {
		err = w.seg.file.Datasync()
	}
	return err
}

// publishMax bounds how long readers wait for the index.
const publishMax = 512

// publish makes the records of the frame visible.
func (w *flusher) publish() {
	l := w.l
	gone := false
	for part := w.put; len(part) > 0; {
		n := min(len(part), publishMax)
		l.mu.Lock()
		for i := range part[:n] {
			p := &part[i]
			gone = gone || p.kind == KindRemove
			p.st.enter(w.seg)
			p.st.apply(&p.change, w.seg)
		}
		w.seg.end = w.pos
		l.mu.Unlock()
		part = part[n:]
	}
	if gone {
		for i := range w.put {
			w.forget(w.put[i].st)
		}
	}
	w.drop()
}

// drop empties the frame.
func (w *flusher) drop() {
	w.recall()
	clear(w.put)
	w.put, w.bytes, w.data, w.sync = w.put[:0], 0, 0, false
}

// answer calls Done of every submission that is through. If there are more of
// them, they may run before the next frame: who was answered just now and goes
// on at once is in it, instead of one sync behind. One submitter alone gets no
// company, and waits for none.
func (w *flusher) answer() {
	if len(w.acks) == 0 {
		return
	}
	more := w.l.queue.written(w.room) || len(w.acks) > 1
	w.room = 0
	failed := w.l.Err()
	for i := range w.acks {
		err := w.acks[i].err
		if err == nil {
			err = failed
		}
		if done := w.acks[i].a.Done; done != nil {
			done(err)
		}
	}
	clear(w.acks)
	w.acks = w.acks[:0]
	if more {
		runtime.Gosched()
	}
}

// confirm states, when nothing is queued, that the last frame is durable: from
// now on its damage cannot pass for a tear. The statement itself is not synced;
// it reaches the disk with the next frame or when the system writes back.
func (w *flusher) confirm() {
	if !w.unconfirmed() {
		return
	}
	w.begin()
	if w.write(0) != nil {
		return
	}
	w.confirmed = true
	w.l.counters.confirms.Add(1)
	w.setEnd()
}

// end closes the log cleanly: everything synced, and a last frame that says so.
func (w *flusher) end() {
	for _, s := range w.next {
		s.file.Close()
	}
	if w.seg == nil || w.l.Err() != nil {
		return
	}
	if w.dirty && w.syncSegment() != nil {
		return
	}
	w.begin()
	if w.write(flagClean) == nil && w.syncSegment() == nil {
		w.setEnd()
	}
}

// unconfirmed says that there is something durable that no promise covers yet.
func (w *flusher) unconfirmed() bool {
	return !w.confirmed && w.seg != nil && w.durable == point{w.seg.seq, w.pos} && w.l.Err() == nil
}

func (w *flusher) setEnd() {
	w.l.mu.Lock()
	defer w.l.mu.Unlock()
	w.seg.end = w.pos
}
