package loadgen

import (
	"context"
	"math/rand/v2"
	"sync/atomic"

	"github.com/twmb/franz-go/pkg/kgo"
)

// slot is one record in the making: its value is filled once and only the header changes, its record and promise are reused.
// Between take and release it belongs to the record in flight.
type slot struct {
	rec      kgo.Record
	value    []byte // full length; owner: the slot for ever
	size     int    // of the value
	body     uint32 // bodyCRC of value[:size]
	key      [keyBytes]byte
	part     int32
	seq      uint64
	intended int64
	sent     int64
	promise  func(*kgo.Record, error) // bound once
}

// ring is the bounded queue of free slots from the promises back to the sender: one pusher at a time, one popper.
//
// Invariant: head <= tail <= head + len(buf), and every slot is either in the ring or in flight, so push never overflows.
// Each index is written by one side with a sequentially consistent store after the slot it publishes, so the other side sees the
// slot whole.
//
// Sleeping: the popper stores need, then loads tail; the pusher stores tail, then loads need. In any order of these four at least
// one of them sees the other's store, so a wake is never missed; the CompareAndSwap lets exactly one of them act on it.
type ring struct {
	buf  []*slot
	mask uint64
	_    [64]byte
	head atomic.Uint64 // next to pop; owner: sender
	_    [64]byte
	tail atomic.Uint64 // next to push; owner: promises
	need atomic.Uint64 // free slots the sleeping popper waits for; 0: awake
	wake chan struct{} // capacity 1; sender: the pusher that cleared need; never closed
}

// newRing holds at least n slots.
func newRing(n int) *ring {
	size := 1
	for size < n {
		size *= 2
	}
	return &ring{buf: make([]*slot, size), mask: uint64(size - 1), wake: make(chan struct{}, 1)}
}

func (r *ring) push(s *slot) {
	t := r.tail.Load()
	r.buf[t&r.mask] = s
	r.tail.Store(t + 1)
	if n := r.need.Load(); n != 0 && t+1-r.head.Load() >= n && r.need.CompareAndSwap(n, 0) {
		r.wake <- struct{}{}
	}
}

// pop returns nil when nothing is free.
func (r *ring) pop() *slot {
	h := r.head.Load()
	if h == r.tail.Load() {
		return nil
	}
	s := r.buf[h&r.mask]
	r.head.Store(h + 1)
	return s
}

// len is the number of free slots.
func (r *ring) len() int { return int(r.tail.Load() - r.head.Load()) }

// wait blocks the popper until n slots are free or the context ends. Waiting for more than one keeps a full pipeline from waking
// the sender for each record.
func (r *ring) wait(ctx context.Context, n int) error {
	r.need.Store(uint64(n))
	if r.len() >= n && r.need.CompareAndSwap(uint64(n), 0) {
		return nil
	}
	select {
	case <-r.wake:
		return nil
	case <-ctx.Done():
		if !r.need.CompareAndSwap(uint64(n), 0) {
			<-r.wake // the pusher was faster: take its token, so that the next wait starts clean
		}
		return ctx.Err()
	}
}

// newSlots makes n slots over one slab. Where sizes vary each slot keeps a size drawn from the distribution: the ring is first in,
// first out, so every slot, hence every size, is used equally often. A lone slot (closed loop) gets the largest size and is cut
// per record.
func newSlots(n int, w *Workload, seed, producer uint64) []slot {
	var key [32]byte
	for i := range 8 {
		key[i], key[8+i] = byte(seed>>(8*i)), byte(producer>>(8*i))
	}
	rng := rand.NewChaCha8(key)
	d := newDraws(w, seed, producer)
	sizes, total := make([]int, n), 0
	for i := range sizes {
		size, _ := d.next()
		if n == 1 || size == 0 {
			size = int32(w.Size.max())
		}
		sizes[i] = int(size)
		total += sizes[i]
	}
	slab := make([]byte, total)
	slots := make([]slot, n)
	for i := range slots {
		s := &slots[i]
		s.value, slab = slab[:sizes[i]:sizes[i]], slab[sizes[i]:]
		s.size = sizes[i]
		fillBody(s.value, w.Compressibility, rng)
		s.body = bodyCRC(s.value)
	}
	return slots
}
