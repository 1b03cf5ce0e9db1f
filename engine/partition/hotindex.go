package partition

import (
	"math"
	"sort"

	"dyno/engine/ids"
)

// hotBatch locates one applied batch relative to its chunk: 24 bytes each.
type hotBatch struct {
	offset uint32 // base offset
	index  uint32 // log index
	end    uint32 // bytes of the chunk's batches up to and with this one
	maxMS  int64  // its largest timestamp
}

const chunkBatches = 512

// hotChunk is up to chunkBatches batches in a row.
type hotChunk struct {
	offset  ids.Offset // of the first batch
	index   ids.LogIndex
	before  int64 // bytes of all batches before the chunk, counted from the first ever
	maxMS   int64
	batches []hotBatch
}

// hotIndex finds the applied batches that are not in L1 by offset: where each
// begins, at which log index, how large it is and how new. Chunked, so that it
// grows without copying and shrinks from the front. A batch ends where the
// next begins, the last one at end: offsets are dense.
type hotIndex struct {
	chunks []*hotChunk
	end    ids.Offset // after the last batch
	bytes  int64      // of all batches ever added
}

// add appends a batch; base must be end.
func (x *hotIndex) add(index ids.LogIndex, base, end ids.Offset, bytes int, maxMS int64) {
	c := x.tail()
	if c == nil || !c.fits(index, base, x.bytes+int64(bytes)) {
		c = &hotChunk{offset: base, index: index, before: x.bytes, maxMS: math.MinInt64}
		if len(x.chunks) > 0 { // a busy partition: the chunk will be filled
			c.batches = make([]hotBatch, 0, chunkBatches)
		}
		x.chunks = append(x.chunks, c)
	}
	x.bytes += int64(bytes)
	x.end = end
	c.maxMS = max(c.maxMS, maxMS)
	c.batches = append(c.batches, hotBatch{
		offset: uint32(base - c.offset), index: uint32(index - c.index), end: uint32(x.bytes - c.before), maxMS: maxMS})
}

func (x *hotIndex) tail() *hotChunk {
	if len(x.chunks) == 0 {
		return nil
	}
	return x.chunks[len(x.chunks)-1]
}

// fits says whether the differences to the chunk's start fit their fields.
func (c *hotChunk) fits(index ids.LogIndex, base ids.Offset, bytes int64) bool {
	return len(c.batches) < chunkBatches && base-c.offset <= math.MaxUint32 &&
		index-c.index <= math.MaxUint32 && bytes-c.before <= math.MaxUint32
}

// hotPos names a batch: its chunk and its place there.
type hotPos struct{ chunk, batch int }

// first is the offset where the index begins; end if it is empty.
func (x *hotIndex) first() ids.Offset {
	if len(x.chunks) == 0 {
		return x.end
	}
	return x.chunks[0].offset
}

// find gives the batch that holds offset; first() <= offset < end must hold.
func (x *hotIndex) find(offset ids.Offset) hotPos {
	c := sort.Search(len(x.chunks), func(i int) bool { return x.chunks[i].offset > offset }) - 1
	return hotPos{c, x.chunks[c].find(uint32(min(offset-x.chunks[c].offset, math.MaxUint32)))}
}

// find gives the last batch at or below the relative offset.
func (c *hotChunk) find(rel uint32) int {
	return sort.Search(len(c.batches), func(i int) bool { return c.batches[i].offset > rel }) - 1
}

// within gives the last batch from at on, below limit, such that the batches
// from at to it have at most maxBytes; ok false if not even the first fits.
func (x *hotIndex) within(at hotPos, limit ids.Offset, maxBytes int64) (last hotPos, ok bool) {
	top := x.start(at) + maxBytes
	for last = at; ; {
		c := x.chunks[last.chunk]
		rest := c.batches[last.batch:]
		n := sort.Search(len(rest), func(i int) bool {
			return c.before+int64(rest[i].end) > top || c.offset+ids.Offset(rest[i].offset) >= limit
		})
		if n < len(rest) || last.chunk+1 == len(x.chunks) {
			return x.back(hotPos{last.chunk, last.batch + n}, at)
		}
		last = hotPos{last.chunk + 1, 0}
	}
}

// back steps one batch back from p; ok false if that is before at.
func (x *hotIndex) back(p, at hotPos) (hotPos, bool) {
	if p == at {
		return at, false
	}
	if p.batch > 0 {
		return hotPos{p.chunk, p.batch - 1}, true
	}
	return hotPos{p.chunk - 1, len(x.chunks[p.chunk-1].batches) - 1}, true
}

// start is the number of bytes before a batch.
func (x *hotIndex) start(p hotPos) int64 {
	c := x.chunks[p.chunk]
	if p.batch == 0 {
		return c.before
	}
	return c.before + int64(c.batches[p.batch-1].end)
}

// size is the number of bytes of a batch.
func (x *hotIndex) size(p hotPos) int64 {
	c := x.chunks[p.chunk]
	return c.before + int64(c.batches[p.batch].end) - x.start(p)
}

func (x *hotIndex) index(p hotPos) ids.LogIndex {
	c := x.chunks[p.chunk]
	return c.index + ids.LogIndex(c.batches[p.batch].index)
}

func (x *hotIndex) offset(p hotPos) ids.Offset {
	c := x.chunks[p.chunk]
	return c.offset + ids.Offset(c.batches[p.batch].offset)
}

// byTime gives the first batch from at on whose largest timestamp is at least ms.
func (x *hotIndex) byTime(at hotPos, ms int64) (hotPos, bool) {
	for ; at.chunk < len(x.chunks); at = (hotPos{at.chunk + 1, 0}) {
		c := x.chunks[at.chunk]
		if c.maxMS < ms {
			continue
		}
		for ; at.batch < len(c.batches); at.batch++ {
			if c.batches[at.batch].maxMS >= ms {
				return at, true
			}
		}
	}
	return hotPos{}, false
}

// largest is the largest timestamp from at on.
func (x *hotIndex) largest(at hotPos) int64 {
	best := int64(math.MinInt64)
	for ; at.chunk < len(x.chunks); at = (hotPos{at.chunk + 1, 0}) {
		c := x.chunks[at.chunk]
		if at.batch == 0 {
			best = max(best, c.maxMS)
			continue
		}
		for _, b := range c.batches[at.batch:] {
			best = max(best, b.maxMS)
		}
	}
	return best
}

// drop forgets all batches at log indexes up to and with upTo.
func (x *hotIndex) drop(upTo ids.LogIndex) {
	n := sort.Search(len(x.chunks), func(i int) bool { return x.chunks[i].index > upTo })
	if n == 0 {
		return
	}
	c := x.chunks[n-1]
	k := sort.Search(len(c.batches), func(i int) bool { return c.index+ids.LogIndex(c.batches[i].index) > upTo })
	if k < len(c.batches) {
		n--
		x.chunks[n] = c.from(k)
	}
	x.chunks = append([]*hotChunk(nil), x.chunks[n:]...)
}

// cut forgets the batches that end at or below the log start.
func (x *hotIndex) cut(start ids.Offset) {
	switch {
	case start >= x.end:
		x.chunks = nil
	case start > x.first():
		x.drop(x.index(x.find(start)) - 1)
	}
}

// from is the chunk without its first k batches.
func (c *hotChunk) from(k int) *hotChunk {
	z, before := c.batches[k], c.batches[k-1].end
	d := &hotChunk{offset: c.offset + ids.Offset(z.offset), index: c.index + ids.LogIndex(z.index),
		before: c.before + int64(before), maxMS: math.MinInt64, batches: make([]hotBatch, 0, cap(c.batches))}
	for _, b := range c.batches[k:] {
		d.maxMS = max(d.maxMS, b.maxMS)
		d.batches = append(d.batches, hotBatch{offset: b.offset - z.offset, index: b.index - z.index, end: b.end - before, maxMS: b.maxMS})
	}
	return d
}
