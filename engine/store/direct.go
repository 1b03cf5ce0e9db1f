package store

import (
	"sync"

	"dyno/wal/vfs"
)

// directBytesMin is the least that is written past the page cache: below it the
// partial pages at both ends are most of it.
const directBytesMin = 64 << 10

// staging recycles what direct writes are gathered in.
var staging = sync.Pool{New: func() any {
	b := vfs.Aligned(writeBytesMax)
	return &b
}}

// writeLog writes the batches held back. Whole pages of a large write go past the
// page cache: nobody reads them soon (the tail of a partition is read from
// memory), each page of the cache costs more than its write does, and a sync of
// all of them at once delays those of the shared log. The parts of a page at both
// ends go through the cache, where the next write completes them.
func (w *writer) writeLog() error {
	if w.bufBytes < directBytesMin {
		_, err := w.log.Writev(w.bufs, w.logPos)
		return err
	}
	room := staging.Get().(*[]byte)
	defer staging.Put(room)
	g := gatherer{bufs: w.bufs}
	for pos, end := w.logPos, w.logPos+w.bufBytes; pos < end; {
		n := min(end-pos, int64(len(*room)))
		write := w.log.WriteDirect
		if over := pos % vfs.DirectAlign; over > 0 {
			n, write = min(n, vfs.DirectAlign-over), w.log.WriteAt
		} else if n < vfs.DirectAlign {
			write = w.log.WriteAt
		} else {
			n -= n % vfs.DirectAlign
		}
		if _, err := write(g.next((*room)[:n]), pos); err != nil {
			return err
		}
		pos += n
	}
	return nil
}

// gatherer copies pieces together without changing their list.
type gatherer struct {
	bufs [][]byte
	skip int // bytes of bufs[0] that were taken
}

// next fills p with the bytes that follow; there must be as many.
func (g *gatherer) next(p []byte) []byte {
	for at := 0; at < len(p); {
		c := copy(p[at:], g.bufs[0][g.skip:])
		at, g.skip = at+c, g.skip+c
		if g.skip == len(g.bufs[0]) {
			g.bufs, g.skip = g.bufs[1:], 0
		}
	}
	return p
}
