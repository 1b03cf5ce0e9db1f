//go:build mutants

package partition

import (
	"testing"
	"unsafe"
)

// TestMutantsCopyReads counts the copies by what a read allocates, and by the bytes not
// being those of the log.
func TestMutantsCopyReads(t *testing.T) {
	defer func() {
		if err := SetMutant(""); err != nil {
			t.Error(err)
		}
	}()
	l := newFakeLog(t, Config{})
	l.lead()
	l.put(plain(2))
	read := func() []byte {
		res, err := l.p.Read(ReadArgs{MaxBytes: 1 << 20})
		if err != nil || len(res.Batches) != 1 {
			t.Fatalf("%d batches, %v", len(res.Batches), err)
		}
		return res.Batches[0]
	}
	shared := unsafe.SliceData(read())
	plainly := testing.AllocsPerRun(100, func() { read() })
	for _, c := range []struct {
		name   string
		copies float64
	}{{"copy-reads", 1}, {"copy-reads:3", 3}} {
		if err := SetMutant(c.name); err != nil {
			t.Fatal(err)
		}
		if unsafe.SliceData(read()) == shared {
			t.Errorf("%s: the bytes are those of the log", c.name)
		}
		if n := testing.AllocsPerRun(100, func() { read() }) - plainly; n != c.copies {
			t.Errorf("%s: %v more allocations, want %v", c.name, n, c.copies)
		}
	}
	if SetMutant("copy-reads:0") == nil || SetMutant("allocate:2") == nil {
		t.Error("a size that cannot be was accepted")
	}
}
