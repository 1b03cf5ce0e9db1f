package kafka

import (
	"sync"
	"sync/atomic"
)

// budget bounds the bytes of requests being worked on in the whole broker.
// Taking and giving back are one atomic each; only who finds it exhausted
// takes the lock. Giving back never blocks longer than a list is cut.
//
// No wake-up is lost: a waiter enters the list and then tries once more; who
// gives back first subtracts and then looks at the list. Whichever of the two
// comes second sees the other's write (both are sequentially consistent).
type budget struct {
	max  int64
	used atomic.Int64

	waiting atomic.Int32
	mu      sync.Mutex
	list    []chan struct{} // guarded by mu; each of capacity 1
}

// try takes n bytes if they fit, or if nothing else is taken.
func (b *budget) try(n int64) bool {
	for {
		u := b.used.Load()
		if u > 0 && u+n > b.max {
			return false
		}
		if b.used.CompareAndSwap(u, u+n) {
			return true
		}
	}
}

// wait registers ch for one signal at the next release. The caller must try
// once more before it waits, and leave when it gives up.
func (b *budget) wait(ch chan struct{}) {
	b.mu.Lock()
	b.list = append(b.list, ch)
	b.waiting.Store(int32(len(b.list)))
	b.mu.Unlock()
}

// leave takes ch out of the list.
func (b *budget) leave(ch chan struct{}) {
	b.mu.Lock()
	for i := range b.list {
		if b.list[i] == ch {
			b.list = append(b.list[:i], b.list[i+1:]...)
			break
		}
	}
	b.waiting.Store(int32(len(b.list)))
	b.mu.Unlock()
}

// release gives n bytes back and wakes all that wait.
func (b *budget) release(n int64) {
	b.used.Add(-n)
	if b.waiting.Load() == 0 {
		return
	}
	b.mu.Lock()
	for _, ch := range b.list {
		signal(ch)
	}
	b.mu.Unlock()
}
