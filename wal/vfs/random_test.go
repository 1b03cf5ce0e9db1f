package vfs_test

import (
	"bytes"
	"fmt"
	"testing"

	"pgregory.net/rapid"

	"dyno/wal/vfs"
)

var files int

func rapidFile(t *testing.T, at func(name string) (vfs.FS, string)) {
	rapid.Check(t, func(rt *rapid.T) {
		files++
		fsys, name := at(fmt.Sprint("r", files))
		f, err := fsys.Create(name)
		if err != nil {
			rt.Fatal(err)
		}
		defer f.Close()
		var twin []byte
		grow := func(n int) {
			if n > len(twin) {
				twin = append(twin, make([]byte, n-len(twin))...)
			}
		}
		off := rapid.IntRange(0, 10000)
		rt.Repeat(map[string]func(*rapid.T){
			"write": func(rt *rapid.T) {
				p, o := rapid.SliceOfN(rapid.Byte(), 1, 3000).Draw(rt, "p"), off.Draw(rt, "off")
				cut := rapid.IntRange(0, len(p)).Draw(rt, "cut")
				if n, err := f.Writev([][]byte{p[:cut], p[cut:]}, int64(o)); err != nil || n != int64(len(p)) {
					rt.Fatalf("Writev: %d, %v", n, err)
				}
				grow(o + len(p))
				copy(twin[o:], p)
			},
			"truncate": func(rt *rapid.T) {
				n := off.Draw(rt, "size")
				if err := f.Truncate(int64(n)); err != nil {
					rt.Fatal(err)
				}
				grow(n)
				twin = twin[:n:n]
			},
			"sync": func(rt *rapid.T) {
				if err := f.Datasync(); err != nil {
					rt.Fatal(err)
				}
			},
			"": func(rt *rapid.T) {
				got := make([]byte, len(twin)+10)
				n, _ := f.ReadAt(got, 0)
				if !bytes.Equal(got[:n], twin) {
					rt.Fatalf("%d bytes read differ from %d written", n, len(twin))
				}
			},
		})
	})
}
