package natspeer

import (
	"context"
	"sync"
)

// pool holds the free slots of one publisher. A publisher that found none waits
// for several, so that an answer does not wake it for each message: the servers
// and it share the cores.
type pool struct {
	mu   sync.Mutex
	free []*slot       // guarded by mu; last in, first out keeps the warm ones warm
	need int           // guarded by mu; free slots the waiter waits for, 0: nobody waits
	wake chan struct{} // capacity 1; sender: the push that met need, never closed
}

func newPool(slots []slot) *pool {
	p := &pool{wake: make(chan struct{}, 1), free: make([]*slot, 0, len(slots))}
	for i := range slots {
		p.free = append(p.free, &slots[i])
	}
	return p
}

func (p *pool) push(s *slot) {
	p.mu.Lock()
	p.free = append(p.free, s)
	met := p.need > 0 && len(p.free) >= p.need
	if met {
		p.need = 0
	}
	p.mu.Unlock()
	if met {
		p.wake <- struct{}{}
	}
}

// pop returns nil when nothing is free.
func (p *pool) pop() *slot {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.free) == 0 {
		return nil
	}
	s := p.free[len(p.free)-1]
	p.free = p.free[:len(p.free)-1]
	return s
}

// wait blocks its one caller until n slots are free or ctx ends.
func (p *pool) wait(ctx context.Context, n int) error {
	p.mu.Lock()
	if len(p.free) >= n {
		p.mu.Unlock()
		return nil
	}
	p.need = n
	p.mu.Unlock()
	select {
	case <-p.wake:
		return nil
	case <-ctx.Done():
	}
	p.mu.Lock()
	waiting := p.need > 0
	p.need = 0
	p.mu.Unlock()
	if !waiting {
		<-p.wake // a push was faster: take its token, so that the next wait starts clean
	}
	return ctx.Err()
}
