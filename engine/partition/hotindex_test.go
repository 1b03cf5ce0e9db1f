package partition

import (
	"math"
	"testing"

	"pgregory.net/rapid"

	"dyno/engine/ids"
)

// plainIndex is the dumb double of hotIndex.
type plainIndex struct {
	batches []plainBatch
	end     ids.Offset
}

type plainBatch struct {
	base, end ids.Offset
	index     ids.LogIndex
	bytes, ms int64
}

// TestHotIndex compares the chunks with a plain list; steps are sometimes huge,
// so that differences do not fit a chunk.
func TestHotIndex(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		x, w := hotIndex{}, plainIndex{}
		index := ids.LogIndex(0)
		rt.Repeat(map[string]func(*rapid.T){
			"add": func(rt *rapid.T) {
				for range rapid.IntRange(1, 2*chunkBatches).Draw(rt, "n") {
					index += ids.LogIndex(w.step(index))
					w.add(&x, index, 1+ids.Offset(index%5), int64(index%1000)+61, int64(index*7919%1000))
				}
			},
			"huge": func(rt *rapid.T) {
				index += ids.LogIndex(rapid.Uint64Range(1, 1<<34).Draw(rt, "index"))
				w.add(&x, index, ids.Offset(rapid.Int64Range(1, math.MaxInt32).Draw(rt, "records")),
					rapid.Int64Range(61, math.MaxInt32).Draw(rt, "bytes"), rapid.Int64Range(-1, 2000).Draw(rt, "ms"))
			},
			"drop": func(rt *rapid.T) {
				if len(w.batches) == 0 {
					return
				}
				upTo := w.batches[rapid.IntRange(0, len(w.batches)-1).Draw(rt, "batch")].index
				x.drop(upTo)
				for len(w.batches) > 0 && w.batches[0].index <= upTo {
					w.batches = w.batches[1:]
				}
			},
			"cut": func(rt *rapid.T) {
				start := ids.Offset(rapid.Int64Range(0, int64(w.end)).Draw(rt, "start"))
				x.cut(start)
				for len(w.batches) > 0 && w.batches[0].end <= start {
					w.batches = w.batches[1:]
				}
			},
			"": func(rt *rapid.T) { w.check(rt, &x) },
		})
	})
}

func (w *plainIndex) step(i ids.LogIndex) int { return 1 + int(i%3) }

func (w *plainIndex) add(x *hotIndex, index ids.LogIndex, records ids.Offset, bytes, ms int64) {
	b := plainBatch{w.end, w.end + records, index, bytes, ms}
	x.add(index, b.base, b.end, int(bytes), ms)
	w.batches, w.end = append(w.batches, b), b.end
}

func (w *plainIndex) check(rt *rapid.T, x *hotIndex) {
	first := w.end
	if len(w.batches) > 0 {
		first = w.batches[0].base
	}
	if x.first() != first || x.end != w.end {
		rt.Fatalf("[%d, %d), want [%d, %d)", x.first(), x.end, first, w.end)
	}
	if len(w.batches) == 0 {
		return
	}
	i := rapid.IntRange(0, len(w.batches)-1).Draw(rt, "i")
	b := w.batches[i]
	at := x.find(b.base + (b.end-b.base-1)/2)
	if x.offset(at) != b.base || x.index(at) != b.index || x.size(at) != b.bytes {
		rt.Fatalf("offset %d found at %d, index %d, %d bytes; want %+v", b.base, x.offset(at), x.index(at), x.size(at), b)
	}
	w.checkWithin(rt, x, at, i)
	ms := rapid.Int64Range(-1, 2001).Draw(rt, "ms")
	got, ok := x.byTime(at, ms)
	largest := int64(math.MinInt64)
	for k := len(w.batches) - 1; k >= i; k-- {
		largest = max(largest, w.batches[k].ms)
	}
	k := i
	for k < len(w.batches) && w.batches[k].ms < ms {
		k++
	}
	if ok != (k < len(w.batches)) || ok && x.offset(got) != w.batches[k].base {
		rt.Fatalf("by time %d from batch %d: %+v, %v; want batch %d", ms, i, got, ok, k)
	}
	if x.largest(at) != largest {
		rt.Fatalf("largest from batch %d: %d, want %d", i, x.largest(at), largest)
	}
}

func (w *plainIndex) checkWithin(rt *rapid.T, x *hotIndex, at hotPos, i int) {
	limit := ids.Offset(rapid.Int64Range(int64(w.batches[i].base)+1, int64(w.end)).Draw(rt, "limit"))
	budget := rapid.SampledFrom([]int64{0, 60, 500, 5000, 1 << 20, 1 << 40}).Draw(rt, "budget")
	last, ok := x.within(at, limit, budget)
	k, left := i, budget
	for k < len(w.batches) && w.batches[k].base < limit && left >= w.batches[k].bytes {
		left -= w.batches[k].bytes
		k++
	}
	if ok != (k > i) || ok && x.offset(last) != w.batches[k-1].base {
		rt.Fatalf("within %d bytes and offset %d from batch %d: %+v, %v; want up to batch %d", budget, limit, i, last, ok, k)
	}
}
