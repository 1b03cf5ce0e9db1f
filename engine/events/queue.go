package events

import (
	"sync"
)

// QueueMax is how many events a Queue holds before it drops.
const QueueMax = 1024

// Queue hands events to a slow Listener on a goroutine of its own, in order.
// When QueueMax are waiting, new ones are dropped and counted: the events that
// led to the trouble are worth more than those that followed.
type Queue struct {
	to   Listener
	wake chan struct{} // capacity 1; sender: Event and Close; never closed
	done chan struct{} // closed by run

	mu      sync.Mutex // guards what follows
	waiting []Event
	dropped uint64
	closed  bool
}

// NewQueue starts the goroutine that calls to; Close ends it.
func NewQueue(to Listener) *Queue {
	q := &Queue{to: to, wake: make(chan struct{}, 1), done: make(chan struct{})}
	go q.run()
	return q
}

// Event implements Listener; it never blocks. After Close events are dropped.
func (q *Queue) Event(e Event) {
	q.mu.Lock()
	if q.closed || len(q.waiting) >= QueueMax {
		q.dropped++
		q.mu.Unlock()
		return
	}
	q.waiting = append(q.waiting, e)
	q.mu.Unlock()
	q.signal()
}

// Dropped counts the events that were lost.
func (q *Queue) Dropped() uint64 {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.dropped
}

// Close waits until everything queued was delivered. Idempotent. The listener
// must not call it.
func (q *Queue) Close() {
	q.mu.Lock()
	q.closed = true
	q.mu.Unlock()
	q.signal()
	<-q.done
}

func (q *Queue) signal() {
	select {
	case q.wake <- struct{}{}:
	default:
	}
}

func (q *Queue) run() {
	defer close(q.done)
	for range q.wake {
		q.mu.Lock()
		list, closed := q.waiting, q.closed
		q.waiting = nil
		q.mu.Unlock()
		for _, e := range list {
			q.to.Event(e)
		}
		if closed {
			return
		}
	}
}
