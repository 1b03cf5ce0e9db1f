package tcp

import (
	"sync"
	"time"

	"dyno/engine/transport"
)

// item is a message that waits.
type item struct {
	envelope transport.Envelope
	bytes    int64 // transport.Size
}

// queue is what waits for one lane of one peer, and what Send and the writer
// must agree about: whether there is a writer, and when it may connect.
//
// No message is left without a writer: put sees running false and starts one,
// or the writer holds the lock, sees that nothing waits and clears running.
type queue struct {
	max  int64
	wake chan struct{} // capacity 1; senders: put, kick; never closed

	mu      sync.Mutex // guards what follows
	waiting []item
	bytes   int64 // of waiting, and of what the writer took and has not written
	running bool  // there is a writer
	closed  bool
	// notBefore is when the next attempt to connect may be made. It is only
	// there to spare a peer, hence:
	notBefore time.Time
	kickable  bool // a sign of life of the peer ends the pause
	kicked    bool // there was one since the last attempt began
}

// itemsKeepMax is how many items' memory a lane keeps without use.
const itemsKeepMax = 1024

// put queues what fits of batch and returns how many messages that are; start
// says that the caller must start a writer. The rest of a batch is not tried
// once a message does not fit: Raft could do little with what follows a gap.
// An empty queue takes any one message.
func (q *queue) put(batch []transport.Envelope) (n int, start bool) {
	q.mu.Lock()
	if q.closed {
		q.mu.Unlock()
		return len(batch), false
	}
	first := len(q.waiting) == 0
	for ; n < len(batch); n++ {
		size := transport.Size(&batch[n].Message)
		if q.bytes > 0 && q.bytes+size > q.max {
			break
		}
		q.waiting = append(q.waiting, item{batch[n], size})
		q.bytes += size
	}
	start = n > 0 && !q.running
	q.running = q.running || start
	q.mu.Unlock()
	if first && n > 0 && !start {
		q.signal()
	}
	return n, start
}

func (q *queue) signal() {
	select {
	case q.wake <- struct{}{}:
	default:
	}
}

// take swaps what waits for an empty slice. The bytes stay counted until
// release.
func (q *queue) take(empty []item) []item {
	q.mu.Lock()
	defer q.mu.Unlock()
	full := q.waiting
	q.waiting = empty[:0]
	return full
}

func (q *queue) release(bytes int64) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.bytes -= bytes
	if q.bytes < 0 {
		panic("BUG: more bytes left a queue than were put")
	}
}

// pause says how long the writer must wait before it may connect. ok is false
// where it must end: nothing waits, or the transport is closed.
func (q *queue) pause(now time.Time) (d time.Duration, ok bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed || len(q.waiting) == 0 {
		q.running = false
		return 0, false
	}
	if d = q.notBefore.Sub(now); d <= 0 {
		q.kicked = false
	}
	return d, true
}

// postpone sets when the next attempt to connect may be made. It yields to a
// kick that came while the last one was under way.
func (q *queue) postpone(until time.Time, kickable bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if kickable && q.kicked {
		until = time.Time{}
	}
	q.notBefore, q.kickable = until, kickable
}

// kick lets the writer connect at once, where a pause may be cut short.
func (q *queue) kick() {
	q.mu.Lock()
	q.kicked = true
	if q.kickable {
		q.notBefore = time.Time{}
	}
	q.mu.Unlock()
	q.signal()
}

// close makes the queue take nothing any more.
func (q *queue) close() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.closed, q.waiting = true, nil
}

func (q *queue) stats() (messages int, bytes int64) {
	q.mu.Lock()
	defer q.mu.Unlock()
	return len(q.waiting), q.bytes
}
