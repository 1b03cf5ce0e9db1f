package store

import (
	"container/list"
	"sync"
	"sync/atomic"

	"dyno/wal/vfs"
)

// Cache bounds the open files of all logs that share it: each place holds a
// data file, its index file and, for a full file, its spans. The one used
// longest ago is closed first; files in use are never closed, so the bound is
// exceeded, and counted, by as many readers as run at once. Safe for
// concurrent use; it is empty again when all its logs are closed.
type Cache struct {
	mu    sync.Mutex
	max   int
	byKey map[*fileKey]*list.Element
	lru   list.List // of *handle, the newest in front
	stats CacheStats
}

// CacheStats are counters of a Cache, and Open, the places taken now.
type CacheStats struct{ Opens, Hits, Evictions, OverMax, Open uint64 }

// NewCache makes a cache of max places; 0 means 256.
func NewCache(max int) *Cache {
	if max <= 0 {
		max = 256
	}
	return &Cache{max: max, byKey: map[*fileKey]*list.Element{}}
}

// Stats is a snapshot.
func (c *Cache) Stats() CacheStats {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := c.stats
	s.Open = uint64(c.lru.Len())
	return s
}

// fileKey is one pair of files for its whole life.
type fileKey struct {
	fs   vfs.FS
	path string // without suffix
	gone bool   // guarded by Cache.mu: removed or closed, not to be cached
}

// handle is an open pair of files. refs and cached are guarded by Cache.mu.
type handle struct {
	key      *fileKey
	log, idx vfs.File
	spans    atomic.Pointer[[]span] // of a full file, once loaded
	refs     int
	cached   bool
}

// acquire opens the pair or takes it from the cache; release ends the use. It
// reads the disk, without a lock.
func (c *Cache) acquire(key *fileKey) (*handle, error) {
	if h := c.take(key); h != nil {
		return h, nil
	}
	log, err := key.fs.Open(key.path + logSuffix)
	if err != nil {
		return nil, err
	}
	idx, err := key.fs.Open(key.path + idxSuffix)
	if err != nil {
		return nil, firstError(err, log.Close())
	}
	h := c.put(&handle{key: key, log: log, idx: idx})
	if h.log != log { // another reader was faster
		if err := firstError(log.Close(), idx.Close()); err != nil {
			c.release(h)
			return nil, err
		}
	}
	return h, nil
}

func (c *Cache) take(key *fileKey) *handle {
	c.mu.Lock()
	defer c.mu.Unlock()
	el, ok := c.byKey[key]
	if !ok {
		return nil
	}
	c.stats.Hits++
	c.lru.MoveToFront(el)
	h := el.Value.(*handle)
	h.refs++
	return h
}

// put adds h, or gives the one that is there already; and makes room.
func (c *Cache) put(h *handle) *handle {
	c.mu.Lock()
	c.stats.Opens++
	if el, ok := c.byKey[h.key]; ok {
		h = el.Value.(*handle)
	} else if !h.key.gone {
		h.cached = true
		c.byKey[h.key] = c.lru.PushFront(h)
	}
	h.refs++
	victims := c.evict()
	c.mu.Unlock()
	closeAll(victims)
	return h
}

// evict takes out what is beyond max and not in use; needs mu.
func (c *Cache) evict() (victims []*handle) {
	for el := c.lru.Back(); el != nil && c.lru.Len() > c.max; {
		prev := el.Prev()
		if h := el.Value.(*handle); h.refs == 0 {
			c.out(el)
			c.stats.Evictions++
			victims = append(victims, h)
		}
		el = prev
	}
	if c.lru.Len() > c.max {
		c.stats.OverMax++
	}
	return victims
}

func (c *Cache) out(el *list.Element) {
	h := el.Value.(*handle)
	c.lru.Remove(el)
	delete(c.byKey, h.key)
	h.cached = false
}

func (c *Cache) release(h *handle) {
	c.mu.Lock()
	h.refs--
	last := h.refs == 0 && !h.cached
	var victims []*handle
	if !last && h.refs == 0 {
		victims = c.evict()
	}
	c.mu.Unlock()
	if last {
		h.close()
	}
	closeAll(victims)
}

// drop forgets a pair that was removed or whose log is closed.
func (c *Cache) drop(key *fileKey) {
	c.mu.Lock()
	key.gone = true
	var h *handle
	if el, ok := c.byKey[key]; ok {
		h = el.Value.(*handle)
		c.out(el)
		if h.refs > 0 {
			h = nil // closed with the last release
		}
	}
	c.mu.Unlock()
	if h != nil {
		h.close()
	}
}

func (c *Cache) gone(key *fileKey) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return key.gone
}

// close ends a pair that was only read: an error tells nothing any more.
func (h *handle) close() {
	_ = h.log.Close()
	_ = h.idx.Close()
}

func closeAll(hs []*handle) {
	for _, h := range hs {
		h.close()
	}
}

func firstError(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}
