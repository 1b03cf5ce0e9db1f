package multiraft

import (
	"encoding/binary"
	"hash/maphash"
	"sync"
	"sync/atomic"

	"dyno/engine/ids"
)

// Directory finds what belongs to a partition, by topic id or topic name, as
// every produce and fetch request does for every partition it names. Lookups
// take no lock, write nothing shared and allocate nothing; writes are rare, take
// a mutex and copy.
//
// Both indexes lead to the same topic object, whose slice of partitions is
// replaced as a whole. The proof for the indexes stands at table; this one is
// for the partitions and for a topic that goes away:
//
//	Remove of the last partition (under mu)   lookup
//	1 parts = empty                           a  t = table.Load()
//	2 table without the topic                 b  topic found in t
//	                                          c  topic.parts.Load()
//
// c sees a whole slice whatever its place among 1 and 2, because a slice is
// never written to after its pointer was stored. A lookup that found the topic
// in the old table (a before 2, c after 1) sees no partition and says nil, as if
// it had come later; with c before 1 it is as if it had come earlier. A topic
// object is never used again: a topic that is made anew under its old name has
// another id and another object, so a stale a can not lead to a new partition.
type Directory[T any] struct {
	seed   maphash.Seed
	byID   shards[topic[T]]
	byName shards[topic[T]]

	mu sync.Mutex // held by writers
}

type topic[T any] struct {
	id    ids.TopicID
	parts atomic.Pointer[[]*T] // by partition; nil where there is none here
	name  string
	live  int // guarded by Directory.mu: entries of parts that are not nil
}

// NewDirectory makes an empty directory.
func NewDirectory[T any]() *Directory[T] {
	d := &Directory[T]{seed: maphash.MakeSeed()}
	d.byID.init()
	d.byName.init()
	return d
}

// ByID finds by topic id; nil if there is nothing.
func (d *Directory[T]) ByID(id ids.TopicID, p ids.Partition) *T {
	return d.topicByID(id).part(p)
}

// ByName finds by topic name; nil if there is nothing.
func (d *Directory[T]) ByName(name string, p ids.Partition) *T {
	return d.topicByName(maphash.String(d.seed, name), name).part(p)
}

// ByNameBytes is ByName for a name that still lies in a request's buffer.
func (d *Directory[T]) ByNameBytes(name []byte, p ids.Partition) *T {
	hash := maphash.Bytes(d.seed, name)
	t := d.byName.of(hash).Load()
	for i := hash & t.mask; ; i = (i + 1) & t.mask {
		s := &t.slot[i]
		if s.v == nil {
			return nil
		}
		if s.hash == hash && s.v.name == string(name) { // compares, does not convert
			return s.v.part(p)
		}
	}
}

func (d *Directory[T]) topicByID(id ids.TopicID) *topic[T] {
	hash := hashID(id)
	t := d.byID.of(hash).Load()
	for i := hash & t.mask; ; i = (i + 1) & t.mask {
		s := &t.slot[i]
		if s.v == nil || s.hash == hash && s.v.id == id {
			return s.v
		}
	}
}

func (d *Directory[T]) topicByName(hash uint64, name string) *topic[T] {
	t := d.byName.of(hash).Load()
	for i := hash & t.mask; ; i = (i + 1) & t.mask {
		s := &t.slot[i]
		if s.v == nil || s.hash == hash && s.v.name == name {
			return s.v
		}
	}
}

func (t *topic[T]) part(p ids.Partition) *T {
	if t == nil {
		return nil
	}
	parts := *t.parts.Load()
	if uint64(p) >= uint64(len(parts)) { // a negative one is huge
		return nil
	}
	return parts[p]
}

// hashID folds the two halves before it mixes: ids are random, but nothing
// breaks if they are not.
func hashID(id ids.TopicID) uint64 {
	return mix(binary.LittleEndian.Uint64(id[:8]) ^ mix(binary.LittleEndian.Uint64(id[8:])))
}

// Put makes v what is found for a partition. name must be the topic's name,
// the same each time, and no other topic may have it. p must not be negative.
func (d *Directory[T]) Put(id ids.TopicID, name string, p ids.Partition, v *T) {
	d.mu.Lock()
	defer d.mu.Unlock()
	t := d.topicByID(id)
	if t == nil {
		t = &topic[T]{id: id, name: name}
		t.parts.Store(&[]*T{})
		d.byID.insert(hashID(id), t)
		d.byName.insert(maphash.String(d.seed, name), t)
	}
	old := *t.parts.Load()
	parts := make([]*T, max(len(old), int(p)+1))
	copy(parts, old)
	if parts[p] == nil {
		t.live++
	}
	parts[p] = v
	t.parts.Store(&parts)
}

// Remove forgets a partition, and its topic with the last one. What is not
// there is not missed.
func (d *Directory[T]) Remove(id ids.TopicID, p ids.Partition) {
	d.mu.Lock()
	defer d.mu.Unlock()
	t := d.topicByID(id)
	if t.part(p) == nil {
		return
	}
	parts := append([]*T(nil), *t.parts.Load()...)
	parts[p] = nil
	t.parts.Store(&parts)
	if t.live--; t.live == 0 {
		d.byID.remove(hashID(id), t)
		d.byName.remove(maphash.String(d.seed, t.name), t)
	}
}

// Each calls f for everything there is, in no order. It sees some state of each
// topic; f may be called for what is removed meanwhile.
func (d *Directory[T]) Each(f func(id ids.TopicID, name string, p ids.Partition, v *T)) {
	d.byID.each(func(t *topic[T]) {
		for p, v := range *t.parts.Load() {
			if v != nil {
				f(t.id, t.name, ids.Partition(p), v)
			}
		}
	})
}
