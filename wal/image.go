package wal

import (
	"errors"
	"fmt"
	"io"

	"dyno/wal/vfs"
)

// imagePieceBytes is how much of a segment an Image reads at a time: enough for
// the disk's full rate, and short enough that a flush which comes meanwhile does
// not wait long behind it.
const imagePieceBytes = 1 << 20

// Image is the oldest sealed segment in memory, for who empties it stream by
// stream: the records of all streams lie mixed there, so what one stream needs is
// nearly all that the next one needs. Each piece of the segment is read at most
// once, past the page cache, when an entry in it is first asked for; what no entry
// lies in is not read. The zero Image is not usable; see NewImage. One goroutine
// at a time.
//
// An Image holds no segment back. Reads hold the segments of the entries they
// were asked for, as Log.Read does; and bytes that were read stay right
// afterwards, because a sealed segment does not change, and a file that is used
// again is another segment.
type Image struct {
	log *Log
	seg *segment // nil: nothing is loaded
	buf []byte   // aligned; position in seg = index
	got []bool   // the pieces of buf that are read
}

// NewImage makes an empty image: until Load its Read is Log.Read. It takes no
// memory until the first entry is read.
func (l *Log) NewImage() *Image { return &Image{log: l} }

// Load turns the image to the oldest sealed segment; ErrNotOldest for any other
// one, and then the image is empty. For the same segment again it keeps what was
// read. It reads nothing yet. All Data that Read gave before ceases to be valid.
func (m *Image) Load(seq uint64) error {
	m.log.mu.RLock()
	defer m.log.mu.RUnlock()
	if len(m.log.segs) < 2 || m.log.segs[0].seq != seq {
		m.seg = nil
		return fmt.Errorf("wal: load segment %d: %w", seq, ErrNotOldest)
	}
	if s := m.log.segs[0]; s != m.seg {
		m.seg = s
		m.got = append(m.got[:0], make([]bool, (s.size+imagePieceBytes-1)/imagePieceBytes)...)
	}
	return nil
}

// Free gives the memory back and leaves the image empty. All Data that Read gave
// before ceases to be valid.
func (m *Image) Free() { *m = Image{log: m.log} }

// Read is Log.Read, with the same checks and errors, but for the memory: Data of
// entries in the loaded segment points into the image and is valid, to be read
// only, until the next Load or Free. It blocks on the disk, holding no lock.
func (m *Image) Read(id, lo, hi uint64, maxBytes int64) ([]Record, error) {
	if lo >= hi {
		return nil, nil
	}
	locs, err := m.log.locate(id, lo, hi, maxBytes)
	if err != nil {
		return nil, err
	}
	defer m.log.letGo(locs)
	out := make([]Record, 0, len(locs))
	for rest := locs; len(rest) > 0; {
		n := stretch(rest)
		var part []Record
		if rest[0].seg == m.seg {
			part, err = m.take(id, rest[:n])
		} else {
			part, err = m.log.readAll(id, rest[:n])
		}
		if err != nil {
			return nil, err
		}
		out, rest = append(out, part...), rest[n:]
	}
	return out, nil
}

// stretch says how many of locs, from the first on, lie in one segment.
func stretch(locs []loc) int {
	n := 1
	for n < len(locs) && locs[n].seg == locs[0].seg {
		n++
	}
	return n
}

// take takes records out of the image.
func (m *Image) take(id uint64, locs []loc) ([]Record, error) {
	out := make([]Record, len(locs))
	for i := range locs {
		w := &locs[i]
		if err := m.need(w.at.pos(), w.at.bytes()); err != nil {
			return nil, fmt.Errorf("wal: read stream %d: %w", id, err)
		}
		var err error
		if out[i], err = check(id, w, m.buf, 0); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// need reads the pieces of [pos, pos+n) that are not there yet.
func (m *Image) need(pos, n int64) error {
	// A segment that was cut, as by a torn tail, may end anywhere.
	size := (m.seg.size + vfs.DirectAlign - 1) / vfs.DirectAlign * vfs.DirectAlign
	for i := pos / imagePieceBytes; i*imagePieceBytes < pos+n; i++ {
		if m.got[i] {
			continue
		}
		if int64(len(m.buf)) < size {
			m.buf = vfs.Aligned(int(size))
		}
		at := i * imagePieceBytes
		c, err := m.seg.file.ReadDirect(m.buf[at:min(at+imagePieceBytes, size)], at)
		switch {
		case err == nil, errors.Is(err, io.EOF) && at+int64(c) >= m.seg.size:
			m.got[i] = true
		case errors.Is(err, io.EOF):
			return &DamageError{File: m.seg.name, Pos: at + int64(c), Reason: "the file ends before the segment does"}
		default:
			return err
		}
	}
	return nil
}
