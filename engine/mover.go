package engine

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"dyno/engine/ids"
	"dyno/engine/replica"
	"dyno/engine/store"
	"dyno/wal"
)

// mover keeps the shared log within its budget. When it is above, the oldest
// segment is emptied:
//
//	for each stream with entries in it:
//	  committed entries -> the partition's files, CRC checked on the way
//	  one checkpoint of the files: synced, with the partition's state
//	  cut the stream's front in the log
//	  entries that are not committed -> rewritten to the log's head
//	release the segment: it is used again
//
// So each byte is written twice, but in large sequential writes, and an idle or
// lagging group pins nothing: the few entries it has in a segment move once. The
// segment is read once, past the page cache, into memory that all its streams are
// moved from (wal.Image).
type mover struct {
	node *Node

	segments, entries, bytes, failures atomic.Int64

	// owner: run
	image     *wal.Image
	used      time.Time // when a segment was last emptied; zero: the image has no memory
	live      uint64    // the segment that was last found live though it was emptied
	liveSince time.Time // when it first was

	stop chan struct{}
	done chan struct{}
	once sync.Once
}

const (
	moveBackoff  = time.Second      // after a failed move
	liveMax      = time.Second      // how long an emptied segment may be found live before it is told
	growMax      = 1                // bytes/ns: what the log grows by at most
	moveReadSize = 1 << 20          // entries read from the log at a time, in bytes
	imageKeep    = 10 * time.Second // how long the image's memory, a segment's size, outlives its use
)

func startMover(n *Node) *mover {
	m := &mover{node: n, image: n.log.NewImage(), stop: make(chan struct{}), done: make(chan struct{})}
	go m.run()
	return m
}

// Close ends the goroutine after the move under way; idempotent.
func (m *mover) Close() error {
	m.once.Do(func() { close(m.stop) })
	<-m.done
	return nil
}

func (m *mover) run() {
	defer close(m.done)
	timer := time.NewTimer(m.node.cfg.WAL.MoveEvery)
	defer timer.Stop()
	for {
		select {
		case <-timer.C:
		case <-m.node.diskFull:
		case <-m.stop:
			return
		}
		err := m.reclaim()
		pause := m.pause()
		if err != nil && !errors.Is(err, replica.ErrStopped) {
			m.failures.Add(1)
			// A sync failed: what is durable only a new start tells. A full disk is
			// no reason to stop serving reads, wherever it shows.
			if errors.Is(err, store.ErrFailed) && !noRoom(err) {
				m.node.fail(err)
				return
			}
			m.node.cfg.Log.Error("the log cannot be brought within its budget; it will be tried again", "node", m.node.identity.NodeID, "err", err)
			pause = moveBackoff
		}
		m.rest(time.Now())
		timer.Reset(pause)
	}
}

// pause is how long the log cannot outgrow its budget: an idle node looks once a
// second. On a full disk there is always something to do.
func (m *mover) pause() time.Duration {
	if m.node.log.Full() {
		return m.node.cfg.WAL.MoveEvery
	}
	room := max(0, m.node.cfg.WAL.BudgetBytes-m.node.log.Size())
	return max(m.node.cfg.WAL.MoveEvery, min(time.Second, time.Duration(room/growMax)))
}

// rest gives the image's memory back when the log has been within its budget for
// a while.
func (m *mover) rest(now time.Time) {
	if !m.used.IsZero() && now.Sub(m.used) >= imageKeep {
		m.image.Free()
		m.used = time.Time{}
	}
}

// reclaim empties segments until the log is within its budget.
func (m *mover) reclaim() error {
	for m.node.log.Size() > m.node.cfg.WAL.BudgetBytes || m.node.log.Full() {
		select {
		case <-m.stop:
			return replica.ErrStopped
		default:
		}
		seg, ok := m.node.log.Oldest()
		if !ok {
			return nil
		}
		err := m.emptyAll(&seg)
		if noRoom(err) && m.squeeze(&seg) == nil {
			err = nil
		}
		if err != nil {
			return err
		}
		if err := m.node.log.Release(seg.Seq); errors.Is(err, wal.ErrLive) {
			return m.stillLive(seg.Seq, err)
		} else if err != nil {
			return fmt.Errorf("release log segment %d: %w", seg.Seq, err)
		}
		m.segments.Add(1)
	}
	return nil
}

// stillLive takes it that a stream changed meanwhile, and one look more will do;
// a segment that stays live pins the log, which is a failure like any other.
func (m *mover) stillLive(seq uint64, err error) error {
	now := time.Now()
	if m.live != seq {
		m.live, m.liveSince = seq, now
	}
	if now.Sub(m.liveSince) < liveMax {
		return nil
	}
	return fmt.Errorf("release log segment %d, emptied since %s: %w", seq, now.Sub(m.liveSince).Round(time.Second), err)
}

func (m *mover) emptyAll(seg *wal.SegmentInfo) error {
	if err := m.image.Load(seg.Seq); err != nil {
		return err
	}
	m.used = time.Now()
	for _, run := range seg.Runs {
		if err := m.empty(run); err != nil {
			return fmt.Errorf("empty log segment %d: stream %d: %w", seg.Seq, run.Stream, err)
		}
	}
	return nil
}

func noRoom(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT)
}

// squeeze rewrites what a segment holds to the log's head when no file can
// grow: that way a deleted topic gives room on a disk that has none at all. It
// is refused unless half of the segment is won: the head may be the reserve.
func (m *mover) squeeze(seg *wal.SegmentInfo) error {
	live := int64(0)
	for _, run := range seg.Runs {
		live += run.Bytes
	}
	if live > m.node.cfg.WAL.SegmentBytes/2 {
		return wal.ErrDiskFull
	}
	for _, run := range seg.Runs {
		if err := m.rewrite(run); err != nil {
			return err
		}
	}
	return nil
}

// empty takes one stream's entries out of the oldest segment.
func (m *mover) empty(run wal.Run) error {
	if ids.GroupID(run.Stream) == ids.MetadataGroup {
		if err := m.node.saveImage(context.Background()); err != nil {
			return err
		}
		return m.rewrite(run)
	}
	h := m.node.hosts.get(ids.GroupID(run.Stream))
	if h == nil || h.gone.Load() {
		return nil // being deleted: the removal frees the segment
	}
	err := m.move(h, ids.LogIndex(run.Last))
	if err == nil {
		err = m.rewrite(run)
	}
	if h.gone.Load() {
		return nil // deleted meanwhile, which any step may fail on
	}
	return err
}

// rewrite copies what is left of a run to the log's head.
func (m *mover) rewrite(run wal.Run) error {
	info, ok := m.node.log.Info(run.Stream)
	first := max(run.First, info.First)
	if !ok || first > run.Last || first > info.Last {
		return nil
	}
	return m.node.log.Rewrite(run.Stream, first, min(run.Last, info.Last))
}

// move brings a partition's applied entries up to last into its files: all of
// them or, with an error before the checkpoint, none.
func (m *mover) move(h *hosted, last ids.LogIndex) (err error) {
	h.moving.Lock()
	defer h.moving.Unlock()
	defer func() {
		if err != nil {
			err = errors.Join(err, h.files.Discard())
		}
	}()
	last = min(last, h.group.Status().Applied)
	if h.files.Last() >= last { // moved before; only the cut was not reached
		return h.group.Compact(last + 1)
	}
	for next := h.files.Last() + 1; next <= last; {
		list, err := m.image.Read(uint64(h.group.ID()), uint64(next), uint64(last)+1, moveReadSize)
		if err != nil {
			return fmt.Errorf("read from %d: %w", next, err)
		}
		if err := m.write(h, list); err != nil {
			return err
		}
		next = ids.LogIndex(list[len(list)-1].Index) + 1
	}
	if err := h.files.Checkpoint(h.checkpoint()); err != nil {
		return err
	}
	h.Moved(last)
	return h.group.Compact(last + 1)
}

// write appends entries to the partition's files; store checks each batch's CRC
// and, as the image's bytes do not stay, keeps nothing of the list.
func (m *mover) write(h *hosted, list []wal.Record) error {
	out := make([]store.Entry, len(list))
	for i := range list {
		r := &list[i]
		out[i] = store.Entry{Index: ids.LogIndex(r.Index), Term: ids.Term(r.Term), Type: r.Type, Data: r.Data}
		m.bytes.Add(int64(len(r.Data)))
	}
	m.entries.Add(int64(len(list)))
	return h.files.Append(out)
}
