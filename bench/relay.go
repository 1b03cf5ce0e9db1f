package bench

import (
	"context"
	"sync"
)

// relay hands one turn around among children that are alive at the same time, so
// that one works and the others wait: first to last, again and again, past those
// that have left. Place 0 begins. Safe for concurrent use.
type relay struct {
	turns []chan struct{} // by place, capacity 1: there is one turn at most in all of them

	mu     sync.Mutex
	holder int    // place that has taken the turn; -1: nobody
	gone   []bool // by place
}

func newRelay(places int) *relay {
	r := &relay{turns: make([]chan struct{}, places), holder: -1, gone: make([]bool, places)}
	for i := range r.turns {
		r.turns[i] = make(chan struct{}, 1)
	}
	r.turns[0] <- struct{}{}
	return r
}

// take blocks until it is the place's turn. Error: ctx's.
func (r *relay) take(ctx context.Context, place int) error {
	select {
	case <-r.turns[place]:
	case <-ctx.Done():
		return ctx.Err()
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.holder = place
	return nil
}

// pass gives the turn to the next one, if the place has it.
func (r *relay) pass(place int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.holder != place {
		return
	}
	r.holder = -1
	for i := range r.turns {
		if next := (place + 1 + i) % len(r.turns); !r.gone[next] {
			r.turns[next] <- struct{}{}
			return
		}
	}
}

// leave passes, also a turn that was not taken yet, and gets none any more.
func (r *relay) leave(place int) {
	r.mu.Lock()
	r.gone[place] = true
	select {
	case <-r.turns[place]:
		r.holder = place
	default:
	}
	r.mu.Unlock()
	r.pass(place)
}
