package wal

import (
	"errors"
	"fmt"
	"path"
	"sync"
	"syscall"
	"time"

	"dyno/wal/vfs"
)

const (
	// zeroSyncBytes bounds what zero-filling leaves dirty, so that a commit that
	// syncs meanwhile does not wait for all of a new segment.
	zeroSyncBytes = 8 << 20
	// zeroPieceBytes is one write of zeros while two segments could be handed out,
	// and zeroHurryBytes while one or none could, as always with one spare. A disk
	// that serves one request after the other holds a commit up for as long as a
	// piece takes; large pieces are fewer calls for as many bytes. The sizes:
	// ARCHITECTURE.md, 2026-11-28.
	zeroPieceBytes = 256 << 10
	zeroHurryBytes = 1 << 20
	// roomRetry is how often a full disk is asked again when nothing was freed
	// through the log itself.
	roomRetry = time.Second
)

// pool makes segments before they are needed. Its one goroutine zero-fills
// spare files, takes back released ones, and keeps one segment named, its name
// durable, and open: the flusher changes over to it without a system call.
//
// Invariant: a segment is handed out only if another one stands behind it, or,
// with Reserve, once the disk is known to be full; so a full disk still leaves
// one, and Full says so before the first byte goes into it.
type pool struct {
	l    *Log
	wake chan struct{} // capacity 1; sender: kick
	stop chan struct{} // closed by Close
	done chan struct{} // closed by run

	mu      sync.Mutex
	changed sync.Cond // waiter: the flusher in get
	// guarded by mu
	ready   *segment
	spares  []string // names of full, written files
	back    []string // names of released segments, still under their old name
	nextSeq uint64
	nextNum uint64 // of the next spare's name
	full    bool   // the last attempt to make a file met a full disk
	err     error  // sticky
}

func newPool(l *Log) *pool {
	p := &pool{l: l, wake: make(chan struct{}, 1), stop: make(chan struct{}), done: make(chan struct{}), nextSeq: 1, nextNum: 1}
	p.changed.L = &p.mu
	return p
}

func (p *pool) kick() {
	select {
	case p.wake <- struct{}{}:
	default:
	}
}

// count is how many segments could be handed out; p.mu is held.
func (p *pool) count() int {
	n := len(p.spares) + len(p.back)
	if p.ready != nil {
		n++
	}
	return n
}

// get hands out the ready segment. It waits while the pool makes one and fails
// with ErrDiskFull if it cannot, or if only the reserve is left and the caller
// may not use it. The last one goes to nobody before it is known that the disk is
// full: else those who may use it would fill it while Full still says no.
func (p *pool) get(reserve bool) (*segment, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	need := 2
	if reserve {
		need = 1
	}
	for {
		if p.err != nil {
			return nil, p.err
		}
		if n := p.count(); p.ready != nil && (n > 1 || reserve && p.full) {
			s := p.ready
			p.ready = nil
			p.kick()
			return s, nil
		} else if n < need && p.full {
			return nil, ErrDiskFull
		}
		p.changed.Wait()
	}
}

// isFull says that nothing but the reserve is left and no file can be made.
func (p *pool) isFull() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.full && p.count() < 2
}

// empty says that the last segment was handed out and no file can be made.
func (p *pool) empty() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.full && p.count() == 0
}

// giveBack takes the file of a released segment.
func (p *pool) giveBack(s *segment) {
	s.file.Close()
	p.mu.Lock()
	p.back = append(p.back, path.Base(s.name))
	p.mu.Unlock()
	p.kick()
}

// fail ends all waiting; the first error stays.
func (p *pool) fail(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.err == nil {
		p.err = err
	}
	p.changed.Broadcast()
}

// run is the pool's goroutine.
func (p *pool) run() {
	defer close(p.done)
	var retry <-chan time.Time
	for {
		worked, err := p.step()
		if err != nil {
			p.l.fail("making a segment", err)
			return
		}
		p.mu.Lock()
		if p.full && retry == nil {
			retry = time.After(roomRetry)
		}
		p.mu.Unlock()
		if worked {
			select {
			case <-p.stop:
				return
			default:
				continue
			}
		}
		select {
		case <-p.stop:
			return
		case <-p.wake:
		case <-retry:
			retry = nil
			if err := p.fill(); err != nil {
				p.l.fail("making a segment", err)
				return
			}
		}
	}
}

// step does the most urgent piece of work: name the next segment, take a file
// back, make a spare.
func (p *pool) step() (worked bool, err error) {
	p.mu.Lock()
	needReady := p.needReady()
	var back string
	if len(p.back) > 0 {
		back = p.back[0]
	}
	needSpare := len(p.spares)+len(p.back) < p.l.opts.SpareSegments && !p.full
	dead := p.err != nil
	p.mu.Unlock()
	switch {
	case dead:
		return false, nil
	case needReady:
		return true, p.prepare()
	case back != "":
		return true, p.recycle(back)
	case needSpare:
		return true, p.fill()
	}
	return false, nil
}

// needReady says that the next segment could have its name now; p.mu is held.
func (p *pool) needReady() bool { return p.ready == nil && len(p.spares) > 0 && p.err == nil }

// keepReady prepares the next segment if there is none: filling a spare takes
// as long as the flusher takes to fill a segment, and it must not wait.
func (p *pool) keepReady() error {
	p.mu.Lock()
	need := p.needReady()
	p.mu.Unlock()
	if !need {
		return nil
	}
	return p.prepare()
}

// prepare gives the first spare its place in the log. The name is durable
// before the first record is: else a power cut could take the file, and all
// that was acknowledged in it, back to being a spare.
func (p *pool) prepare() error {
	p.mu.Lock()
	name, seq := p.spares[0], p.nextSeq
	p.nextSeq++
	p.mu.Unlock()
	o := &p.l.opts
	s := p.l.newSegment(seq, nil, o.SegmentBytes)
	if err := o.FS.Rename(path.Join(o.Dir, name), s.name); err != nil {
		return err
	}
	if !o.mut.has(mutNoDirSync) {
		if err := o.FS.SyncDir(o.Dir); err != nil {
			return err
		}
	}
	f, err := o.FS.Open(s.name)
	if err != nil {
		return err
	}
	s.file = f
	p.mu.Lock()
	defer p.mu.Unlock()
	p.spares = p.spares[1:]
	p.ready = s
	p.changed.Broadcast()
	return nil
}

// recycle makes a released segment a spare, or removes it when there are
// enough. The name need not be durable: the log has said durably, before, that
// nothing in the file counts any more.
func (p *pool) recycle(name string) error {
	o := &p.l.opts
	full := path.Join(o.Dir, name)
	size, err := o.FS.Stat(full)
	if err != nil {
		return err
	}
	p.mu.Lock()
	keep := size == o.SegmentBytes && len(p.spares) < o.SpareSegments+o.RecycleMax
	spare := spareName(p.nextNum)
	p.nextNum++
	p.mu.Unlock()
	if keep {
		err = o.FS.Rename(full, path.Join(o.Dir, spare))
	} else {
		err = o.FS.Remove(full)
	}
	if err != nil {
		return err
	}
	p.mu.Lock()
	p.back = p.back[1:]
	if keep {
		p.spares = append(p.spares, spare)
		p.l.counters.segmentsReused.Add(1)
	}
	p.changed.Broadcast()
	p.mu.Unlock()
	return nil
}

// setFull notes whether the disk had room; p.mu is held.
func (p *pool) setFull(full bool) {
	if full != p.full {
		p.full = full
		if full {
			p.l.opts.Notice(Notice{Kind: "disk_full", Text: "no room for a new segment", Err: ErrDiskFull})
		} else {
			p.l.opts.Notice(Notice{Kind: "disk_room", Text: "room for segments again"})
		}
	}
	p.changed.Broadcast()
}

// fill makes one spare: zeros written and synced, then named. A full disk is no
// error but a state.
func (p *pool) fill() error {
	o := &p.l.opts
	p.mu.Lock()
	name := spareName(p.nextNum)
	p.nextNum++
	p.mu.Unlock()
	tmp := path.Join(o.Dir, name+tmpSuffix)
	err := p.zeroFile(tmp)
	if err == nil {
		err = o.FS.Rename(tmp, path.Join(o.Dir, name))
	}
	if err != nil {
		if rerr := o.FS.RemoveAll(tmp); rerr != nil {
			return errors.Join(err, rerr)
		}
		if errors.Is(err, errStopped) {
			return nil
		}
		if !errors.Is(err, syscall.ENOSPC) && !errors.Is(err, syscall.EDQUOT) {
			return err
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if err == nil {
		p.spares = append(p.spares, name)
		p.l.counters.segmentsMade.Add(1)
	}
	p.setFull(err != nil)
	return nil
}

var errStopped = errors.New("wal: stopped")

func (p *pool) zeroFile(name string) (err error) {
	o := &p.l.opts
	f, err := o.FS.Create(name)
	if err != nil {
		return err
	}
	defer func() {
		if cerr := f.Close(); err == nil {
			err = cerr
		}
	}()
	if err := f.Allocate(0, o.SegmentBytes); err != nil {
		return err
	}
	for off, synced := int64(0), int64(0); off < o.SegmentBytes; {
		select {
		case <-p.stop:
			return errStopped
		default:
		}
		if err := p.keepReady(); err != nil {
			// Not as a full disk: a name that may not be durable is the end.
			return fmt.Errorf("name the next segment: %v", err)
		}
		n := min(p.piece(), zeroSyncBytes-(off-synced), o.SegmentBytes-off)
		if err := vfs.Zeros(f, off, n); err != nil {
			return err
		}
		p.l.counters.zeroBytes.Add(n)
		if off += n; off-synced < zeroSyncBytes && off < o.SegmentBytes {
			continue
		}
		if err := f.Datasync(); err != nil {
			return err
		}
		synced = off
	}
	return nil
}

// piece is how many zeros to write at once.
func (p *pool) piece() int64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.count() < 2 {
		return zeroHurryBytes
	}
	return zeroPieceBytes
}

// close stops the goroutine and closes the segment that was kept ready.
func (p *pool) close() error {
	close(p.stop)
	<-p.done
	p.fail(ErrClosed)
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.ready == nil {
		return nil
	}
	err := p.ready.file.Close()
	p.ready = nil
	if err != nil {
		return fmt.Errorf("wal: close %s: %w", segmentName(p.nextSeq-1), err)
	}
	return nil
}
