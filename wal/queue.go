package wal

import "sync"

// queue holds what is submitted and not yet written, bounded in bytes. Any
// goroutine puts, the flusher alone takes, always everything at once.
type queue struct {
	mu   sync.Mutex
	room sync.Cond // waiters: put
	work sync.Cond // waiter: the flusher
	// guarded by mu
	items  []*Append
	bytes  int64 // of items and of what was taken and is not yet written
	max    int64
	closed error // put fails with it; take drains and then ends
	nudged bool
	high   int64
	full   int64 // how often put had to wait
}

func newQueue(bytesMax int64) *queue {
	q := &queue{max: bytesMax}
	q.room.L, q.work.L = &q.mu, &q.mu
	return q
}

// put waits for room. A submission larger than the queue waits until it is
// alone.
func (q *queue) put(a *Append) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.bytes > 0 && q.bytes+a.bytes > q.max && q.closed == nil {
		q.full++
		for q.bytes > 0 && q.bytes+a.bytes > q.max && q.closed == nil {
			q.room.Wait()
		}
	}
	if q.closed != nil {
		return q.closed
	}
	q.items = append(q.items, a)
	q.bytes += a.bytes
	q.high = max(q.high, q.bytes)
	if len(q.items) == 1 {
		q.work.Signal()
	}
	return nil
}

// take waits for work and hands out all of it, or nothing after a nudge; ok is
// false once the queue is closed and empty. used is the slice of the last take,
// no longer needed.
func (q *queue) take(used []*Append) (set []*Append, ok bool) {
	clear(used)
	q.mu.Lock()
	defer q.mu.Unlock()
	for len(q.items) == 0 {
		if q.closed != nil {
			return nil, false
		}
		if q.nudged {
			q.nudged = false
			return used[:0], true
		}
		q.work.Wait()
	}
	set, q.items, q.nudged = q.items, used[:0], false
	return set, true
}

// nudge makes take return with nothing if it has nothing.
func (q *queue) nudge() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.nudged = true
	q.work.Signal()
}

// idle says whether no bytes of a submission are on their way. The log's own work has
// none.
func (q *queue) idle() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.bytes == 0
}

// written gives room back and says whether something waits.
func (q *queue) written(bytes int64) (more bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.bytes -= bytes
	q.room.Broadcast()
	return len(q.items) > 0
}

// close refuses further submissions with err; the first err stays.
func (q *queue) close(err error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed == nil {
		q.closed = err
	}
	q.room.Broadcast()
	q.work.Signal()
}

func (q *queue) highWater() (high, full int64) {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.high, q.full
}
