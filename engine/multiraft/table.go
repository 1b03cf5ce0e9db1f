package multiraft

import "sync/atomic"

// table is an immutable open-addressing hash table of pointers, at most half
// full. Readers take it from an atomic pointer; a writer, holding the owner's
// mutex, publishes another one.
//
// Why no reader can see a table in the making:
//
//	writer (under mu)                 reader
//	1 old = p.Load()
//	2 t = copy of old, changed        a  t = p.Load()
//	3 p.Store(t)                      b  probe t
//
// Nobody writes to t after 3, and a that sees 3 sees everything before it (the
// Go memory model makes an atomic store happen before the load that observes
// it). An a between 1 and 3 gets old, which is complete too. What a reader
// found may have been removed meanwhile: the same as if it had looked a moment
// earlier, so the thing found must say itself that it is gone.
type table[T any] struct {
	mask uint64
	slot []slot[T]
	n    int
}

type slot[T any] struct {
	hash uint64
	v    *T // nil: free
}

// shards is a table in parts, so that a write copies little. The top bits of
// the hash choose the part, the low ones the slot.
type shards[T any] [1 << shardBits]atomic.Pointer[table[T]]

const shardBits = 6

func (s *shards[T]) init() {
	empty := &table[T]{slot: make([]slot[T], 1)}
	for i := range s {
		s[i].Store(empty)
	}
}

func (s *shards[T]) of(hash uint64) *atomic.Pointer[table[T]] { return &s[hash>>(64-shardBits)] }

// insert adds v; the caller made sure it is not there.
func (s *shards[T]) insert(hash uint64, v *T) {
	p := s.of(hash)
	old := p.Load()
	size := uint64(4)
	for size < 2*uint64(old.n+1) {
		size *= 2
	}
	t := &table[T]{mask: size - 1, slot: make([]slot[T], size)}
	for _, e := range old.slot {
		if e.v != nil {
			t.put(e)
		}
	}
	t.put(slot[T]{hash, v})
	p.Store(t)
}

func (t *table[T]) put(e slot[T]) {
	i := e.hash & t.mask
	for t.slot[i].v != nil {
		i = (i + 1) & t.mask
	}
	t.slot[i] = e
	t.n++
}

// remove takes v out, if it is there.
func (s *shards[T]) remove(hash uint64, v *T) {
	p := s.of(hash)
	old := p.Load()
	t := &table[T]{mask: old.mask, slot: make([]slot[T], len(old.slot))}
	for _, e := range old.slot {
		if e.v != nil && e.v != v {
			t.put(e)
		}
	}
	p.Store(t)
}

// each calls f for everything that is there.
func (s *shards[T]) each(f func(v *T)) {
	for i := range s {
		for _, e := range s[i].Load().slot {
			if e.v != nil {
				f(e.v)
			}
		}
	}
}

// mix spreads an integer key over all bits: the finaliser of splitmix64
// (Steele, Lea and Flood, "Fast splittable pseudorandom number generators").
func mix(x uint64) uint64 {
	x ^= x >> 30
	x *= 0xbf58476d1ce4e5b9
	x ^= x >> 27
	x *= 0x94d049bb133111eb
	return x ^ x>>31
}
