package store

import (
	"bufio"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"io"

	"dyno/wal/vfs"
)

// A frame is the unit of an index file, 8-byte aligned; see doc.go.
const (
	frameHeaderBytes = 32
	frameBytesMax    = 64 << 20 // beyond this a length is not believed
	frameVersion     = 1
)

// The kinds of frame.
const (
	kindHead       = 'H' // first frame of a file
	kindEntries    = 'E'
	kindCheckpoint = 'K'
	kindSeal       = 'S' // last frame of a file that is full
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// frame is one decoded frame; body is valid until the next is read.
type frame struct {
	kind    byte
	pos     int64
	promise int64 // this much of the file was durable before the frame was written
	body    []byte
}

func (f *frame) end() int64 { return f.pos + align(frameHeaderBytes+int64(len(f.body))) }

func align(n int64) int64 { return (n + 7) &^ 7 }

// appendFrame adds a frame that will stand at pos to b.
func appendFrame(b []byte, kind byte, pos, promise int64, body []byte) []byte {
	start := len(b)
	b = append(b, 0, 0, 0, 0)
	b = binary.BigEndian.AppendUint32(b, uint32(len(body)))
	b = append(b, kind, frameVersion, 0, 0, 0, 0, 0, 0)
	b = binary.BigEndian.AppendUint64(b, uint64(pos))
	b = binary.BigEndian.AppendUint64(b, uint64(promise))
	b = append(b, body...)
	binary.BigEndian.PutUint32(b[start:], crc32.Checksum(b[start+4:], castagnoli))
	for (len(b)-start)%8 != 0 {
		b = append(b, 0)
	}
	return b
}

// errFrame means there is no valid frame at a position.
var errFrame = errors.New("no valid frame")

// parseHeader reads a frame's header as far as it goes without the body.
func parseHeader(h []byte, pos int64) (f frame, length int64, err error) {
	f = frame{kind: h[8], pos: int64(binary.BigEndian.Uint64(h[16:])), promise: int64(binary.BigEndian.Uint64(h[24:]))}
	length = int64(binary.BigEndian.Uint32(h[4:]))
	if f.pos != pos || h[9] != frameVersion || length > frameBytesMax || f.promise < 0 || f.promise > pos {
		return f, 0, errFrame
	}
	return f, length, nil
}

// readFrame reads the frame at pos from r, which stands there. errFrame means
// that it is not one; io.EOF that the file ends; others are the disk's.
func readFrame(r io.Reader, pos int64) (frame, error) {
	var head [frameHeaderBytes]byte
	if n, err := io.ReadFull(r, head[:]); err != nil {
		if err == io.ErrUnexpectedEOF && n > 0 {
			err = errFrame
		}
		return frame{}, err
	}
	f, length, err := parseHeader(head[:], pos)
	if err != nil {
		return f, err
	}
	if f.body, err = readBody(r, length); err != nil {
		return f, err
	}
	crc := crc32.Update(crc32.Checksum(head[4:], castagnoli), castagnoli, f.body)
	if int64(len(f.body)) != length || crc != binary.BigEndian.Uint32(head[:]) {
		return f, errFrame
	}
	pad := align(length) - length
	if _, err := io.CopyN(io.Discard, r, pad); err == io.EOF {
		return f, errFrame
	} else if err != nil {
		return f, err
	}
	return f, nil
}

// readBody reads length bytes, or fewer where the file ends. A length that is
// wrong must not cost its memory, so a large one grows with what is there.
func readBody(r io.Reader, length int64) ([]byte, error) {
	if length > 1<<20 {
		return io.ReadAll(io.LimitReader(r, length))
	}
	b := make([]byte, length)
	n, err := io.ReadFull(r, b)
	if err == io.EOF || err == io.ErrUnexpectedEOF {
		err = nil
	}
	return b[:n], err
}

// frameAt reads the one frame at pos of length bytes as written, padding included.
func frameAt(f vfs.File, pos, length int64) (frame, error) {
	return readFrame(io.NewSectionReader(f, pos, length), pos)
}

// scanFrames reads the frames of a file in order, until visit fails or no valid
// frame follows; end is where the last one ended.
func scanFrames(f vfs.File, size int64, visit func(frame) error) (end int64, err error) {
	r := bufio.NewReaderSize(io.NewSectionReader(f, 0, size), 256<<10)
	for {
		fr, err := readFrame(r, end)
		if err == io.EOF || errors.Is(err, errFrame) {
			return end, nil
		}
		if err != nil {
			return end, err
		}
		if err := visit(fr); err != nil {
			return end, err
		}
		end = fr.end()
	}
}

// promised looks behind a bad frame at pos for a valid one that says that the
// file was durable beyond pos: then what is bad there is damage, not a tear.
func promised(f vfs.File, pos, size int64) (bool, error) {
	window := make([]byte, 64<<10)
	for at := align(pos); at+frameHeaderBytes <= size; {
		n, err := f.ReadAt(window, at)
		if err != nil && err != io.EOF {
			return false, err
		}
		i := 0
		for ; i+frameHeaderBytes <= n; i += 8 {
			h, length, err := parseHeader(window[i:], at+int64(i))
			if err != nil || h.promise <= pos {
				continue
			}
			if _, err := frameAt(f, at+int64(i), align(frameHeaderBytes+length)); err == nil {
				return true, nil
			}
		}
		if i == 0 {
			return false, nil
		}
		at += int64(i)
	}
	return false, nil
}
