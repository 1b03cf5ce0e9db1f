package partition

import (
	"slices"
	"sync"
)

// watchers wakes those who wait for the high watermark.
type watchers struct {
	mu  sync.Mutex
	chs []chan<- struct{}
}

// Watch sends to ch, without blocking, once for each Apply that advanced the
// high watermark and when leadership ends here, until Unwatch. ch needs a
// capacity of 1, so that a wake is kept until it is seen; the partition never
// closes it. Register before looking at the offsets: whoever looks first can
// miss the advance in between. Any goroutine may call.
func (p *Partition) Watch(ch chan<- struct{}) {
	p.watch.mu.Lock()
	defer p.watch.mu.Unlock()
	p.watch.chs = append(p.watch.chs, ch)
}

// Unwatch ends what one Watch(ch) began; a wake may still stand in ch.
func (p *Partition) Unwatch(ch chan<- struct{}) {
	w := &p.watch
	w.mu.Lock()
	defer w.mu.Unlock()
	if i := slices.Index(w.chs, ch); i >= 0 {
		last := len(w.chs) - 1
		w.chs[i], w.chs[last] = w.chs[last], nil
		w.chs = w.chs[:last]
	}
}

func (w *watchers) wake() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, ch := range w.chs {
		select {
		case ch <- struct{}{}:
		default:
		}
	}
}
