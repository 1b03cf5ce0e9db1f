package store

import (
	"math/rand/v2"
	"path/filepath"
	"testing"

	"dyno/wal/vfs"
)

// Appends of any size, below and above what is written past the page cache, read
// back the same before and after the log is opened again.
func TestLargeAppends(t *testing.T) {
	for name, disk := range map[string]vfs.FS{"os": vfs.OS(), "mem": vfs.NewMem(1)} {
		t.Run(name, func(t *testing.T) {
			opt := Options{FS: disk, Dir: "/d/p", FileBytes: 3 << 20, Cache: NewCache(4)}
			if name == "os" {
				opt.Dir = filepath.Join(t.TempDir(), "p")
			}
			l, err := Open(opt)
			if err != nil {
				t.Fatal(err)
			}
			rng := rand.New(rand.NewPCG(1, 2))
			m := &model{}
			for _, bytes := range []int{1, 4096, directBytesMin, 300_000, writeBytesMax, 1, 2_500_000, 70_000} {
				var list []Entry
				for have := 0; have < bytes; {
					e := m.next(1, false, 1+rng.IntN(3), 1, rng.IntN(90_000))
					list, have = append(list, e), have+len(e.Data)
				}
				if err := l.Append(list); err != nil {
					t.Fatal(err)
				}
				if err := l.Checkpoint([]byte{byte(bytes)}); err != nil {
					t.Fatal(err)
				}
				m.state, m.staged = []byte{byte(bytes)}, 0
			}
			for range 2 {
				if err := m.check(l); err != nil {
					t.Fatal(err)
				}
				if err := l.Close(); err != nil {
					t.Fatal(err)
				}
				if l, err = Open(opt); err != nil {
					t.Fatal(err)
				}
			}
			if err := l.Close(); err != nil {
				t.Fatal(err)
			}
		})
	}
}
