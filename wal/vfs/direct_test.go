package vfs

import (
	"bytes"
	"path/filepath"
	"testing"
)

// Zeros must do the same on every disk and leave its
// neighbours alone.
func TestZeros(t *testing.T) {
	for _, c := range []struct{ off, n int64 }{{0, 4096}, {4096, 3 << 20}, {8192, 0}} {
		for name, disk := range map[string]FS{"os": OS(), "mem": NewMem(1), "faulty": NewFaulty(NewMem(1), nil)} {
			file := "f"
			if name == "os" {
				file = filepath.Join(t.TempDir(), "f")
			}
			f, err := disk.Create(file)
			if err != nil {
				t.Fatal(err)
			}
			want := bytes.Repeat([]byte{7}, 4<<20)
			if _, err := f.WriteAt(want, 0); err != nil {
				t.Fatal(err)
			}
			if err := Zeros(f, c.off, c.n); err != nil {
				t.Fatalf("%s [%d, +%d): %v", name, c.off, c.n, err)
			}
			clear(want[c.off : c.off+c.n])
			got := make([]byte, len(want))
			if _, err := f.ReadAt(got, 0); err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(got, want) {
				t.Errorf("%s [%d, +%d): other bytes than zeros there and 7 elsewhere", name, c.off, c.n)
			}
			if err := f.Close(); err != nil {
				t.Fatal(err)
			}
		}
	}
}
