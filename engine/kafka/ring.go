package kafka

import "sync"

// entry is one request on its way: either a Produce, which was handed to the
// log when it was read, or a call, which the writer runs when its turn comes.
type entry struct {
	prod  *produce
	call  *call
	bytes int // of its frame
}

// ring holds the requests of one connection from being read to being
// answered, in order. One goroutine (the reader) reserves and pushes, one (the
// writer) looks at the head and pops it.
type ring struct {
	mu       sync.Mutex
	q        []entry       // circular; len is the limit; guarded by mu
	head, n  int           // guarded by mu
	bytes    int64         // of all entries; guarded by mu
	max      int64         // limit of bytes
	closed   bool          // nothing more is pushed; guarded by mu
	pushed   chan struct{} // capacity 1; sender: reader
	popped   chan struct{} // capacity 1; sender: writer
	starving bool          // the reader waits for popped; guarded by mu
}

func newRing(entries int, bytes int64) *ring {
	return &ring{
		q: make([]entry, min(entries, 8), entries), max: bytes,
		pushed: make(chan struct{}, 1), popped: make(chan struct{}, 1),
	}
}

// full says whether an entry of so many bytes must wait; the writer will then
// signal popped. An entry alone always fits.
func (r *ring) full(bytes int) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.starving = r.n > 0 && (r.n == cap(r.q) || r.bytes+int64(bytes) > r.max)
	return r.starving
}

// push adds e; full has said there is room.
func (r *ring) push(e entry) {
	r.mu.Lock()
	if r.n == len(r.q) {
		r.widen()
	}
	r.q[(r.head+r.n)%len(r.q)] = e
	r.n++
	r.bytes += int64(e.bytes)
	r.mu.Unlock()
	signal(r.pushed)
}

// widen doubles the slots in use, up to the limit. mu is held.
func (r *ring) widen() {
	if r.n == cap(r.q) {
		panic("BUG: push into a full ring")
	}
	q := make([]entry, min(2*len(r.q), cap(r.q)), cap(r.q))
	k := copy(q, r.q[r.head:])
	copy(q[k:], r.q[:r.head])
	r.q, r.head = q, 0
}

// close says that nothing more will be pushed.
func (r *ring) close() {
	r.mu.Lock()
	r.closed = true
	r.mu.Unlock()
	signal(r.pushed)
}

// first returns the head without taking it; done says that there will never be
// one again.
func (r *ring) first() (e entry, ok, done bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.n == 0 {
		return entry{}, false, r.closed
	}
	return r.q[r.head], true, false
}

// pop takes the head away.
func (r *ring) pop() {
	r.mu.Lock()
	r.bytes -= int64(r.q[r.head].bytes)
	r.q[r.head] = entry{}
	r.head = (r.head + 1) % len(r.q)
	r.n--
	wake := r.starving
	r.starving = false
	r.mu.Unlock()
	if wake {
		signal(r.popped)
	}
}

// busy is the number of entries.
func (r *ring) busy() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.n
}

// signal sends to a channel of capacity 1 unless a signal is there already.
func signal(ch chan struct{}) {
	select {
	case ch <- struct{}{}:
	default:
	}
}
