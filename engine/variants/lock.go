package variants

import (
	"sync"
	"sync/atomic"
	"time"
)

// lock is what a request goes through. For each request, in this order:
//
//	enter     before it is handed over; may block
//	handed    it was handed over, or refused
//	answered  its outcome is known; on any goroutine
type lock interface {
	enter(s *Seat)
	handed(s *Seat)
	answered(s *Seat)
	close()
}

func newLock(kind Lock) lock {
	switch kind {
	case LockRead:
		return &readLock{}
	case LockReadWriter:
		return newWrittenLock()
	case LockMutex:
		return &mutexLock{}
	case LockExclusive:
		return &exclusiveLock{}
	case LockPartition:
		return partitionLock{}
	}
	return noLock{}
}

type noLock struct{}

func (noLock) enter(*Seat)    {}
func (noLock) handed(*Seat)   {}
func (noLock) answered(*Seat) {}
func (noLock) close()         {}

type readLock struct {
	noLock
	mu sync.RWMutex
}

func (l *readLock) enter(*Seat)  { l.mu.RLock() }
func (l *readLock) handed(*Seat) { l.mu.RUnlock() }

// writtenLock is a readLock that somebody sets anew all the time, as one sets an
// optional part of a server after it was made.
type writtenLock struct {
	readLock
	value  uint64 // guarded by mu: what the lock is there for
	writes atomic.Uint64
	stop   chan struct{} // closed by close
	done   chan struct{} // closed when the writer has ended
}

func newWrittenLock() *writtenLock {
	l := &writtenLock{stop: make(chan struct{}), done: make(chan struct{})}
	go l.write()
	return l
}

func (l *writtenLock) write() {
	defer close(l.done)
	tick := time.NewTicker(WriterEvery)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			l.mu.Lock()
			l.value++
			l.mu.Unlock()
			l.writes.Add(1)
		case <-l.stop:
			return
		}
	}
}

func (l *writtenLock) close() {
	close(l.stop)
	<-l.done
}

type mutexLock struct {
	noLock
	mu sync.Mutex
}

func (l *mutexLock) enter(*Seat)  { l.mu.Lock() }
func (l *mutexLock) handed(*Seat) { l.mu.Unlock() }

// exclusiveLock is let go by the goroutine that brings the answer, never by the one
// that waits for it: a Mutex belongs to no goroutine.
type exclusiveLock struct {
	noLock
	mu sync.Mutex
}

func (l *exclusiveLock) enter(*Seat)    { l.mu.Lock() }
func (l *exclusiveLock) answered(*Seat) { l.mu.Unlock() }

type partitionLock struct{ noLock }

func (partitionLock) enter(s *Seat)    { s.mu.Lock() }
func (partitionLock) answered(s *Seat) { s.mu.Unlock() }
