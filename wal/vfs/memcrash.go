package vfs

import (
	"maps"
	"math/rand/v2"
	"path"
	"slices"
)

// Crash gives the disk as a power cut at this moment may leave it: all that was
// synced, and of the rest what the seed chooses: any subset of the unsynced
// 512-byte sectors of any file, in any of the versions that were written since
// the sync; any subset of the unsynced changes of names; the old or the new
// size. Sectors that were never overwritten keep their old content. The copy
// starts unlocked, with nothing unsynced, and shares no state with m, which
// goes on (see Freeze and PowerCut). It may be called at any moment.
func (m *Mem) Crash(seed uint64) *Mem {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.crash(seed)
}

// CrashAny is Crash with a seed drawn from the disk's own.
func (m *Mem) CrashAny() *Mem {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.crash(m.rng.Uint64())
}

// PowerCut is Crash, with m frozen in the same instant.
func (m *Mem) PowerCut(seed uint64) *Mem {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.frozen = true
	return m.crash(seed)
}

// A chance is how likely something unsynced survives. Nothing, everything and
// a coin are the three disks that find most errors, so each is common.
func chance(rng *rand.Rand) float64 {
	switch rng.IntN(4) {
	case 0:
		return 0
	case 1:
		return 1
	case 2:
		return 0.5
	default:
		return rng.Float64()
	}
}

func (m *Mem) crash(seed uint64) *Mem {
	rng := rand.New(rand.NewPCG(seed, 0xc4a5))
	c := NewMem(rng.Uint64())
	c.room = m.room
	names := make(map[string]*memInode, len(m.synced))
	for name, n := range m.synced {
		names[name] = n
	}
	p := chance(rng)
	for _, op := range m.ops {
		if rng.Float64() < p {
			op.apply(names)
		}
	}
	for _, name := range sortedNames(names) {
		if reachable(names, name) {
			c.put(name, names[name].crash(rng))
		}
	}
	return c
}

// put sets a name of a fresh disk as durable; a second name of one file (a
// rename that half survived) becomes a file of its own, which no caller can
// tell without writing through both.
func (m *Mem) put(name string, n *memInode) {
	n.links = 1
	m.now[name], m.synced[name] = n, n
	m.used += n.size
}

// reachable says whether all directories above name are there.
func reachable(names map[string]*memInode, name string) bool {
	for d := path.Dir(name); ; d = path.Dir(d) {
		n, ok := names[d]
		if !ok || !n.dir {
			return false
		}
		if d == path.Dir(d) {
			return true
		}
	}
}

// crash gives a copy of what is left of n.
func (n *memInode) crash(rng *rand.Rand) *memInode {
	c := &memInode{dir: n.dir, size: n.syncedSize}
	if n.dir {
		return c
	}
	p := chance(rng)
	if n.size != n.syncedSize && rng.Float64() < p {
		c.size = n.size
	}
	count := int((c.size + pageBytes - 1) / pageBytes)
	c.pages = make([]*memPage, count)
	copy(c.pages, n.syncedPages)
	for _, i := range sortedPages(n.dirty) {
		if pg := n.tear(i, p, rng); i < count {
			c.pages[i] = pg
		}
	}
	if tail := int(c.size % pageBytes); tail != 0 && c.pages[count-1] != nil {
		last := *c.pages[count-1]
		clear(last[tail:])
		c.pages[count-1] = &last
	}
	// From here on both files share every page: neither may change one in place.
	clear(n.owned)
	c.syncedSize, c.syncedPages = c.size, append([]*memPage(nil), c.pages...)
	return c
}

// tear chooses, sector by sector, a version of an unsynced page.
func (n *memInode) tear(i int, p float64, rng *rand.Rand) *memPage {
	old, cur, older := page(n.syncedPages, i), page(n.pages, i), n.dirty[i]
	out := new(memPage)
	for s := 0; s < pageBytes; s += sectorBytes {
		from := old
		if rng.Float64() < p {
			from = cur
			if k := rng.IntN(len(older) + 2); k < len(older) {
				from = older[k]
			}
		}
		if from != nil {
			copy(out[s:s+sectorBytes], from[s:])
		}
	}
	return out
}

// Maps are walked in order, so that one seed makes one disk.
func sortedNames(names map[string]*memInode) []string {
	return slices.Sorted(maps.Keys(names))
}

func sortedPages(pages map[int][]*memPage) []int {
	return slices.Sorted(maps.Keys(pages))
}
