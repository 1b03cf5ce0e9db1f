package vfs_test

import (
	"errors"
	"strings"
	"sync"
	"syscall"
	"testing"

	"dyno/wal/vfs"
)

// outcomes cuts the power with many seeds and counts what look sees.
func outcomes(m *vfs.Mem, look func(*vfs.Mem) string) map[string]int {
	seen := map[string]int{}
	for seed := range uint64(400) {
		seen[look(m.Crash(seed))]++
	}
	return seen
}

func durableFile(t *testing.T, m *vfs.Mem, name, p string) vfs.File {
	t.Helper()
	f := create(t, m, name)
	write(t, f, 0, p)
	must(t, f.Datasync())
	must(t, m.SyncDir("/"))
	return f
}

func TestCrashKeepsWhatWasSynced(t *testing.T) {
	m := vfs.NewMem(1)
	durableFile(t, m, "/a", "synced")
	for got, n := range outcomes(m, func(c *vfs.Mem) string { return content(t, c, "/a") }) {
		if got != "synced" {
			t.Errorf("%d times %q", n, got)
		}
	}
}

// TestCrashTearsSectors writes three sectors without a sync over synced ones:
// every mixture of old and new comes up, and nothing else.
func TestCrashTearsSectors(t *testing.T) {
	sectors := func(a, b, c string) string {
		return strings.Repeat(a, 512) + strings.Repeat(b, 512) + strings.Repeat(c, 512)
	}
	m := vfs.NewMem(1)
	f := durableFile(t, m, "/a", sectors("o", "o", "o"))
	write(t, f, 0, sectors("n", "n", "n"))
	seen := outcomes(m, func(c *vfs.Mem) string {
		s := content(t, c, "/a")
		return s[:1] + s[512:513] + s[1024:1025] + map[bool]string{true: "", false: " torn inside"}[s == sectors(s[:1], s[512:513], s[1024:1025])]
	})
	if len(seen) != 8 {
		t.Fatalf("%d of 8 mixtures: %v", len(seen), seen)
	}
}

// TestCrashKeepsAnyVersion overwrites a sector twice without a sync.
func TestCrashKeepsAnyVersion(t *testing.T) {
	m := vfs.NewMem(1)
	f := durableFile(t, m, "/a", "old")
	write(t, f, 0, "one")
	write(t, f, 0, "two")
	seen := outcomes(m, func(c *vfs.Mem) string { return content(t, c, "/a") })
	if len(seen) != 3 || seen["old"] == 0 || seen["one"] == 0 || seen["two"] == 0 {
		t.Fatalf("%v", seen)
	}
	must(t, f.Datasync())
	if seen := outcomes(m, func(c *vfs.Mem) string { return content(t, c, "/a") }); len(seen) != 1 || seen["two"] == 0 {
		t.Fatalf("after the sync: %v", seen)
	}
}

func TestCrashLosesNames(t *testing.T) {
	m := vfs.NewMem(1)
	durableFile(t, m, "/stays", "1")
	f := create(t, m, "/new")
	write(t, f, 0, "2")
	must(t, f.Datasync()) // the bytes, not the name
	must(t, m.Rename("/stays", "/moved"))
	seen := outcomes(m, func(c *vfs.Mem) string {
		names, err := c.List("/")
		must(t, err)
		return strings.Join(names, " ")
	})
	for _, want := range []string{"stays", "new stays", "moved", "moved new"} {
		if seen[want] == 0 {
			t.Errorf("never %q: %v", want, seen)
		}
	}
	if len(seen) != 4 {
		t.Errorf("%v", seen)
	}
	must(t, m.SyncDir("/"))
	seen = outcomes(m, func(c *vfs.Mem) string { return strings.TrimSpace(c.Tree()) })
	if len(seen) != 1 || seen["/moved 1\n/new 1"] == 0 {
		t.Errorf("after the sync: %v", seen)
	}
}

func TestCrashLosesDirectory(t *testing.T) {
	m := vfs.NewMem(1)
	must(t, m.MkdirAll("/d"))
	must(t, create(t, m, "/d/f").Datasync())
	must(t, m.SyncDir("/d")) // but nobody made /d itself durable
	seen := outcomes(m, func(c *vfs.Mem) string { return strings.TrimSpace(c.Tree()) })
	if seen[""] == 0 || seen["/d/f 0"] == 0 {
		t.Errorf("%v", seen)
	}
}

func TestCrashIsACopy(t *testing.T) {
	m := vfs.NewMem(1)
	f := durableFile(t, m, "/a", "before")
	c, same := m.Crash(7), m.Crash(7)
	write(t, f, 0, "AFTER!")
	must(t, f.Datasync())
	if got := content(t, c, "/a"); got != "before" {
		t.Errorf("a write to the old disk shows in its copy: %q", got)
	}
	g, err := c.Open("/a")
	must(t, err)
	defer g.Close()
	write(t, g, 0, "copied")
	if a, b := content(t, m, "/a"), content(t, same, "/a"); a != "AFTER!" || b != "before" {
		t.Errorf("a write to one copy shows elsewhere: %q, %q", a, b)
	}
}

func TestPowerCutFreezes(t *testing.T) {
	m := vfs.NewMem(1)
	f := durableFile(t, m, "/a", "x")
	l, err := m.Lock("/LOCK")
	must(t, err)
	defer l.Close()
	c := m.PowerCut(1)
	if _, err := f.WriteAt([]byte("y"), 0); !errors.Is(err, vfs.ErrPowerCut) {
		t.Errorf("write: %v", err)
	}
	if err := f.Datasync(); !errors.Is(err, vfs.ErrPowerCut) {
		t.Errorf("sync: %v", err)
	}
	if err := m.Rename("/a", "/b"); !errors.Is(err, vfs.ErrPowerCut) {
		t.Errorf("rename: %v", err)
	}
	if got := content(t, m, "/a"); got != "x" {
		t.Errorf("reads go on: %q", got)
	}
	k, err := c.Lock("/LOCK") // the copy starts unlocked
	must(t, err)
	must(t, k.Close())
}

func TestCrashUnderLoad(t *testing.T) {
	m := vfs.NewMem(1)
	f := durableFile(t, m, "/a", strings.Repeat("x", 8192))
	var wg sync.WaitGroup
	for i := range 3 {
		wg.Go(func() {
			for k := range 200 {
				write(t, f, int64((i*977+k*61)%8000), strings.Repeat("y", 100))
				must(t, f.Datasync())
			}
		})
	}
	for range 100 {
		if c := content(t, m.CrashAny(), "/a"); strings.Trim(c, "xy") != "" {
			t.Error("bytes that nobody wrote")
		}
	}
	wg.Wait()
}

func TestRoom(t *testing.T) {
	m := vfs.NewMem(1)
	m.SetRoom(1000)
	f := create(t, m, "/a")
	must(t, f.Allocate(0, 600))
	g := create(t, m, "/b")
	if _, err := g.WriteAt(make([]byte, 401), 0); !errors.Is(err, syscall.ENOSPC) {
		t.Fatalf("write beyond the room: %v", err)
	}
	write(t, g, 0, strings.Repeat("b", 400))
	if free, err := m.Free("/"); err != nil || free != 0 {
		t.Fatalf("Free = %d, %v", free, err)
	}
	must(t, m.Remove("/a"))
	if free, err := m.Free("/"); err != nil || free != 600 {
		t.Fatalf("Free after Remove = %d, %v", free, err)
	}
	must(t, g.Truncate(100))
	if free, err := m.Free("/"); err != nil || free != 900 {
		t.Fatalf("Free after Truncate = %d, %v", free, err)
	}
}
