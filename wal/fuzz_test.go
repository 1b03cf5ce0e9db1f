package wal

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
	"testing"

	"dyno/wal/vfs"
)

var fuzzID = logID{1, 2, 3}

const fuzzSegment = segmentBytesMin

// fuzzDisk is a disk with a log whose segments 1 and 2 hold these bytes.
func fuzzDisk(t testing.TB, segs ...[]byte) *vfs.Mem {
	m := vfs.NewMem(1)
	put := func(name string, b []byte, size int64) {
		f, err := m.Create("/wal/" + name)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		if _, err := f.WriteAt(b, 0); err != nil {
			t.Fatal(err)
		}
		if err := f.Truncate(size); err != nil {
			t.Fatal(err)
		}
	}
	if err := m.MkdirAll("/wal"); err != nil {
		t.Fatal(err)
	}
	put(formatName, encodeFormat(fuzzID), formatBytes)
	for i, b := range segs {
		put(segmentName(uint64(i+1)), b[:min(len(b), fuzzSegment)], fuzzSegment)
	}
	return m
}

// mend walks b as records and makes their checksums right, so that what the
// fuzzer wrote into headers and lengths gets past them.
func mend(b []byte, seq uint64) {
	k := newSegKey(fuzzID, seq, 0)
	for pos := int64(0); pos+headBytes <= int64(len(b)); {
		h := head{
			size:   binary.LittleEndian.Uint32(b[pos+4:]),
			kind:   Kind(b[pos+12]),
			typ:    b[pos+13],
			stream: binary.LittleEndian.Uint64(b[pos+16:]),
			index:  binary.LittleEndian.Uint64(b[pos+24:]),
			term:   binary.LittleEndian.Uint64(b[pos+32:]),
		}
		end := pos + headBytes + int64(h.size)
		if end > int64(len(b)) {
			return
		}
		h.dataSum = sum(b[pos+headBytes : end])
		h.put(b[pos:], k, pos)
		pos = align(end)
	}
}

// holds checks a record by the words of the format, with no code of the log's.
func holds(b []byte, seq uint64, pos int64) bool {
	table := crc32.MakeTable(crc32.Castagnoli)
	seed := crc32.Checksum(binary.LittleEndian.AppendUint64(append([]byte(nil), fuzzID[:]...), seq), table)
	hdr := append([]byte(nil), b[pos:pos+48]...)
	want := binary.LittleEndian.Uint32(hdr)
	binary.LittleEndian.PutUint32(hdr, uint32(pos/8))
	if crc32.Update(seed, table, hdr) != want || binary.LittleEndian.Uint64(hdr[40:]) != seq {
		return false
	}
	n := int64(binary.LittleEndian.Uint32(hdr[4:]))
	return crc32.Checksum(b[pos+48:pos+48+n], table) == binary.LittleEndian.Uint32(hdr[8:])
}

// sampleSegments is a small log of two segments, to begin fuzzing from.
func sampleSegments(t testing.TB) (one, two []byte) {
	m := fuzzDisk(t)
	l, err := Open(Options{FS: m, Dir: "/wal", SegmentBytes: fuzzSegment, WriteBytesMax: writeBytesMin})
	if err != nil {
		t.Fatal(err)
	}
	submit := func(rs ...Record) {
		done := make(chan error, 1)
		if err := l.Submit(&Append{Records: rs, Sync: true, Done: func(err error) { done <- err }}); err != nil {
			t.Fatal(err)
		}
		if err := <-done; err != nil {
			t.Fatal(err)
		}
	}
	submit(Record{Stream: 1, Kind: KindState, Term: 2, Vote: 3, Index: 1}, Record{Stream: 1, Kind: KindEntry, Index: 1, Term: 1, Data: []byte("one")})
	submit(Record{Stream: 2, Kind: KindTruncateBefore, Index: 5, Term: 1}, Record{Stream: 2, Kind: KindEntry, Index: 5, Term: 2})
	submit(Record{Stream: 1, Kind: KindTruncateAfter, Index: 0}, Record{Stream: 2, Kind: KindRemove})
	for i := range uint64(3) {
		submit(Record{Stream: 3, Kind: KindEntry, Index: i + 1, Term: 1, Data: bytes.Repeat([]byte{byte(i)}, 30_000)})
	}
	if err := l.Rewrite(3, 1, 1); err != nil {
		t.Fatal(err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	read := func(name string) []byte {
		f, err := m.Open("/wal/" + name)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		b := make([]byte, fuzzSegment)
		if _, err := f.ReadAt(b, 0); err != nil {
			t.Fatal(err)
		}
		return bytes.TrimRight(b, "\x00")
	}
	return read(segmentName(1)), read(segmentName(2))
}

// FuzzFrame scans arbitrary bytes: no panic, and no record whose checksums do
// not hold.
func FuzzFrame(f *testing.F) {
	one, two := sampleSegments(f)
	f.Add(one, false)
	f.Add(two, true)
	f.Add(one[:700], true)
	f.Add([]byte{}, false)
	f.Fuzz(func(t *testing.T, b []byte, mended bool) {
		b = append([]byte(nil), b[:min(len(b), fuzzSegment)]...)
		if mended {
			mend(b, 1)
		}
		m := fuzzDisk(t, b)
		file, err := m.Open("/wal/" + segmentName(1))
		if err != nil {
			t.Fatal(err)
		}
		defer file.Close()
		whole := append(b, make([]byte, fuzzSegment-len(b))...)
		s := &segment{segKey: newSegKey(fuzzID, 1, 0), name: "s", file: file, size: fuzzSegment}
		var win window
		r, err := scan(s, &win, fuzzSegment, keepFrames, nil)
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range r.records {
			if !holds(whole, 1, c.at.pos()) {
				t.Fatalf("the record at %d does not hold", c.at.pos())
			}
		}
		for _, fr := range r.frames {
			if !holds(whole, 1, fr.pos) {
				t.Fatalf("the frame at %d does not hold", fr.pos)
			}
		}
		if _, _, err := promises(s, &win, r.end); err != nil {
			t.Fatal(err)
		}
	})
}

// FuzzRecovery opens a log of two arbitrary segments: it opens or says why not,
// and what it then reads back holds; it goes on and is the same when reopened.
func FuzzRecovery(f *testing.F) {
	one, two := sampleSegments(f)
	f.Add(one, two, false)
	f.Add(one, two, true)
	f.Add(one, two[:100], true)
	f.Add(one[:500], []byte{}, true)
	f.Fuzz(func(t *testing.T, a, b []byte, mended bool) {
		segs := [][]byte{append([]byte(nil), a[:min(len(a), fuzzSegment)]...), append([]byte(nil), b[:min(len(b), fuzzSegment)]...)}
		if mended {
			mend(segs[0], 1)
			mend(segs[1], 2)
		}
		o := Options{FS: fuzzDisk(t, segs...), Dir: "/wal", SegmentBytes: fuzzSegment, WriteBytesMax: writeBytesMin}
		l, err := Open(o)
		if err != nil {
			return
		}
		had := readable(t, l)
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		l, err = Open(o)
		if err != nil {
			t.Fatalf("opened once, then: %v", err)
		}
		defer l.Close()
		if again := readable(t, l); again != had {
			t.Fatalf("%d entries, then %d", had, again)
		}
	})
}

// readable counts the entries, reading each.
func readable(t *testing.T, l *Log) (n int) {
	for _, id := range l.Streams() {
		in, _ := l.Info(id)
		for at := in.First; at <= in.Last; {
			rs, err := l.Read(id, at, in.Last+1, 1<<20)
			if err != nil {
				t.Fatal(err)
			}
			at += uint64(len(rs))
			n += len(rs)
		}
	}
	return n
}
