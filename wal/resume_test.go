package wal_test

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
	"time"

	"dyno/wal"
)

// A life that ended clean is followed by one whose first frame is torn so that
// its begin is lost and a later page is not, and that by one whose first frame
// ends just where a record of the torn one stands. Nothing of the torn one may
// count: see flusher.resume.
func TestTornAfterCleanEnd(t *testing.T) {
	const flushHead, recordHead, page = 80, 48, 4096
	tmp := t.TempDir()
	o := wal.ConfirmAfter(wal.Options{SegmentBytes: 1 << 20}, time.Hour)
	open := func(dir string) *wal.Log {
		o.Dir = filepath.Join(tmp, dir)
		l, err := wal.Open(o)
		must(t, err)
		return l
	}
	entry := func(index, term uint64, n int) wal.Record {
		return wal.Record{Stream: 1, Kind: wal.KindEntry, Index: index, Term: term, Data: bytes.Repeat([]byte{byte(term)}, n)}
	}

	l := open("a") // ends clean at byte 512
	must(t, do(l, entry(1, 1, 512-2*flushHead-recordHead)))
	must(t, l.Close())
	clean := readSegment(t, filepath.Join(tmp, "a"))

	l = open("a")
	durable := readSegment(t, filepath.Join(tmp, "a")) // what opening made durable stays
	begin := 512
	if !bytes.Equal(clean, durable) {
		begin += flushHead
	}
	fill := page - begin - flushHead - recordHead
	must(t, do(l, entry(2, 1, fill), entry(3, 1, 8)))
	copyLog(t, filepath.Join(tmp, "a"), filepath.Join(tmp, "b"), func(b []byte) { copy(b[begin:page], durable[begin:page]) })
	must(t, l.Close())

	l = open("b") // life C: its frame would end at the page where entry 3 of term 1 stands
	half := (fill - recordHead) / 16 * 8
	must(t, do(l, entry(2, 2, half), entry(3, 2, fill-recordHead-half)))
	copyLog(t, filepath.Join(tmp, "b"), filepath.Join(tmp, "c"), func([]byte) {})
	must(t, l.Close())

	l = open("c")
	defer l.Close()
	got, err := l.Read(1, 3, 4, 1<<20)
	must(t, err)
	if got[0].Term != 2 {
		t.Fatalf("acknowledged entry 3 of term 2 was replaced by a stale one of term %d", got[0].Term)
	}
}

func readSegment(t *testing.T, dir string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(dir, "0000000000000001.wal"))
	must(t, err)
	return b
}

// copyLog copies a log's files, the first segment changed by mend.
func copyLog(t *testing.T, from, to string, mend func([]byte)) {
	t.Helper()
	must(t, os.MkdirAll(to, 0o755))
	names, err := filepath.Glob(filepath.Join(from, "0*.wal")) // spares come and go meanwhile
	must(t, err)
	for _, name := range append(names, filepath.Join(from, "FORMAT")) {
		b, err := os.ReadFile(name)
		must(t, err)
		if filepath.Base(name) == "0000000000000001.wal" {
			mend(b)
		}
		must(t, os.WriteFile(filepath.Join(to, filepath.Base(name)), b, 0o644))
	}
}
