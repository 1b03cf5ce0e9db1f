package vfs_test

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"dyno/wal/vfs"
)

// TestConformance holds every file system to the same contract.
func TestConformance(t *testing.T) {
	for name, open := range map[string]func(t *testing.T) (vfs.FS, string){
		"os": func(t *testing.T) (vfs.FS, string) { return vfs.OS(), filepath.ToSlash(t.TempDir()) },
		"mem": func(t *testing.T) (vfs.FS, string) {
			m := vfs.NewMem(1)
			must(t, m.MkdirAll("/root"))
			return m, "/root"
		},
		"slow":   func(t *testing.T) (vfs.FS, string) { return vfs.Slow(vfs.NewMem(1), time.Microsecond), "/" },
		"faulty": func(t *testing.T) (vfs.FS, string) { return vfs.NewFaulty(vfs.NewMem(1), nil), "/" },
	} {
		t.Run(name, func(t *testing.T) {
			for what, test := range map[string]func(*testing.T, vfs.FS, string){
				"names": testNames, "content": testContent, "pieces": testPieces, "sizes": testSizes, "direct": testDirect, "burst": testBurst, "lock": testLock, "random": testRandom,
			} {
				t.Run(what, func(t *testing.T) {
					fsys, dir := open(t)
					test(t, fsys, dir)
				})
			}
		})
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func create(t testing.TB, fsys vfs.FS, name string) vfs.File {
	t.Helper()
	f, err := fsys.Create(name)
	must(t, err)
	t.Cleanup(func() { f.Close() })
	return f
}

func write(t testing.TB, f vfs.File, off int64, p string) {
	t.Helper()
	n, err := f.WriteAt([]byte(p), off)
	if err != nil || n != len(p) {
		t.Fatalf("WriteAt: %d, %v", n, err)
	}
}

func content(t testing.TB, fsys vfs.FS, name string) string {
	t.Helper()
	f, err := fsys.Open(name)
	must(t, err)
	defer f.Close()
	size, err := f.Size()
	must(t, err)
	b := make([]byte, size)
	if n, err := f.ReadAt(b, 0); int64(n) != size || err != nil && !errors.Is(err, io.EOF) {
		t.Fatalf("ReadAt: %d of %d, %v", n, size, err)
	}
	return string(b)
}

func testNames(t *testing.T, fsys vfs.FS, dir string) {
	must(t, fsys.MkdirAll(dir+"/a/b"))
	must(t, fsys.MkdirAll(dir+"/a/b")) // no error when it is there
	write(t, create(t, fsys, dir+"/a/b/x"), 0, "x")
	write(t, create(t, fsys, dir+"/a/b/y"), 0, "why")
	if _, err := fsys.Create(dir + "/a/b/x"); !errors.Is(err, fs.ErrExist) {
		t.Errorf("Create over a file: %v", err)
	}
	if _, err := fsys.Open(dir + "/a/b/z"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Open of nothing: %v", err)
	}
	if _, err := fsys.Create(dir + "/none/z"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Create in no directory: %v", err)
	}
	must(t, fsys.Rename(dir+"/a/b/y", dir+"/a/b/x")) // over what is there
	must(t, fsys.SyncDir(dir+"/a/b"))
	if names, err := fsys.List(dir + "/a/b"); err != nil || !slices.Equal(names, []string{"x"}) {
		t.Errorf("List = %q, %v", names, err)
	}
	if c := content(t, fsys, dir+"/a/b/x"); c != "why" {
		t.Errorf("after the rename: %q", c)
	}
	must(t, fsys.Rename(dir+"/a/b/x", dir+"/a/moved"))
	if names, err := fsys.List(dir + "/a"); err != nil || !slices.Equal(names, []string{"b", "moved"}) {
		t.Errorf("List = %q, %v", names, err)
	}
	if err := fsys.Remove(dir + "/a/none"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Remove of nothing: %v", err)
	}
	if err := fsys.Remove(dir + "/a"); err == nil {
		t.Error("Remove of a directory that is not empty")
	}
	must(t, fsys.Remove(dir+"/a/moved"))
	if _, err := fsys.Stat(dir + "/a/moved"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Stat of what was removed: %v", err)
	}
	must(t, fsys.RemoveAll(dir+"/a"))
	must(t, fsys.RemoveAll(dir+"/a")) // no error when it is gone
	if _, err := fsys.List(dir + "/a"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("List of nothing: %v", err)
	}
	if err := fsys.SyncDir(dir + "/a"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("SyncDir of nothing: %v", err)
	}
}

func testContent(t *testing.T, fsys vfs.FS, dir string) {
	f := create(t, fsys, dir+"/f")
	write(t, f, 5000, "tail")
	write(t, f, 0, "head")
	must(t, f.Datasync())
	want := "head" + string(make([]byte, 4996)) + "tail" // a hole reads as zeros
	if c := content(t, fsys, dir+"/f"); c != want {
		t.Error("content differs")
	}
	b := make([]byte, 10)
	if n, err := f.ReadAt(b, 5000); n != 4 || !errors.Is(err, io.EOF) {
		t.Errorf("read over the end: %d, %v", n, err)
	}
	if n, err := f.ReadAt(b, 9000); n != 0 || !errors.Is(err, io.EOF) {
		t.Errorf("read beyond the end: %d, %v", n, err)
	}
	// A file that lost its name can be used until it is closed.
	must(t, fsys.Remove(dir+"/f"))
	write(t, f, 1, "E")
	if n, err := f.ReadAt(b[:4], 0); n != 4 || err != nil || string(b[:4]) != "hEad" {
		t.Errorf("read of a removed file: %q, %v", b[:n], err)
	}
}

// testDirect mixes direct and other calls, which see each other's bytes, up to and
// over an end that is no page's.
func testDirect(t *testing.T, fsys vfs.FS, dir string) {
	f := create(t, fsys, dir+"/f")
	page := func(c byte) []byte {
		p := vfs.Aligned(vfs.DirectAlign)
		copy(p, bytes.Repeat([]byte{c}, len(p)))
		return p
	}
	for i, c := range []byte("abc") {
		write := f.WriteDirect
		if c == 'b' {
			write = f.WriteAside
		}
		if n, err := write(page(c), int64(i)*vfs.DirectAlign); n != vfs.DirectAlign || err != nil {
			t.Fatalf("direct write of %c: %d, %v", c, n, err)
		}
	}
	write(t, f, 5000, "xyz")              // through the cache
	write(t, f, 3*vfs.DirectAlign, "end") // and not synced
	want := bytes.Join([][]byte{page('a'), page('b'), page('c'), []byte("end")}, nil)
	copy(want[5000:], "xyz")
	got := vfs.Aligned(4 * vfs.DirectAlign)
	if n, err := f.ReadDirect(got[:vfs.DirectAlign], vfs.DirectAlign); n != vfs.DirectAlign || err != nil ||
		!bytes.Equal(got[:n], want[vfs.DirectAlign:2*vfs.DirectAlign]) {
		t.Errorf("ReadDirect of a page: %d, %v", n, err)
	}
	if n, err := f.ReadDirect(got, 0); n != len(want) || !errors.Is(err, io.EOF) || !bytes.Equal(got[:n], want) {
		t.Errorf("ReadDirect over the end: %d, %v; want %d bytes", n, err, len(want))
	}
	if n, err := f.ReadDirect(got, 8*vfs.DirectAlign); n != 0 || !errors.Is(err, io.EOF) {
		t.Errorf("ReadDirect beyond the end: %d, %v", n, err)
	}
	defer func() {
		if recover() == nil {
			t.Error("ReadDirect took a place that is not aligned")
		}
	}()
	f.ReadDirect(got[:vfs.DirectAlign], 512)
}

// testBurst begins more writes than fit into one context, out of order and twice, with
// other calls behind each end.
func testBurst(t *testing.T, fsys vfs.FS, dir string) {
	f := create(t, fsys, dir+"/f")
	must(t, f.EndDirect()) // of nothing
	const pages = 40
	for round := range 2 {
		want := make([]byte, 0, pages*vfs.DirectAlign)
		for i := range pages {
			want = append(want, bytes.Repeat([]byte{byte(round*pages + i)}, vfs.DirectAlign)...)
		}
		from := vfs.Aligned(len(want))
		copy(from, want)
		for i := range pages / 2 {
			at := (i * 7 % (pages / 2)) * 2 * vfs.DirectAlign
			must(t, f.BeginDirect(from[at:at+2*vfs.DirectAlign], int64(at)))
		}
		must(t, f.BeginDirect(nil, 0))
		must(t, f.EndDirect())
		must(t, f.Datasync())
		if c := content(t, fsys, dir+"/f"); c != string(want) {
			t.Fatalf("round %d: content differs", round)
		}
	}
}

// testPieces writes more pieces than one system call takes.
func testPieces(t *testing.T, fsys vfs.FS, dir string) {
	f := create(t, fsys, dir+"/f")
	var bufs [][]byte
	var want bytes.Buffer
	for i := range 2500 {
		p := bytes.Repeat([]byte{byte(i)}, i%7) // some of them empty
		bufs = append(bufs, p)
		want.Write(p)
	}
	n, err := f.Writev(bufs, 3)
	if err != nil || n != int64(want.Len()) {
		t.Fatalf("Writev: %d of %d, %v", n, want.Len(), err)
	}
	if c := content(t, fsys, dir+"/f"); c[3:] != want.String() {
		t.Error("content differs")
	}
	if n, err := f.Writev(nil, 0); n != 0 || err != nil {
		t.Errorf("Writev of nothing: %d, %v", n, err)
	}
}

func testSizes(t *testing.T, fsys vfs.FS, dir string) {
	f := create(t, fsys, dir+"/f")
	must(t, f.Allocate(0, 8192))
	if size, err := f.Size(); err != nil || size != 8192 {
		t.Fatalf("Size after Allocate = %d, %v", size, err)
	}
	write(t, f, 4000, "abcdefgh")
	must(t, f.Truncate(4004))
	must(t, f.Truncate(4010)) // what was cut does not come back
	if c := content(t, fsys, dir+"/f"); c[3998:] != "\x00\x00abcd\x00\x00\x00\x00\x00\x00" {
		t.Errorf("content after cutting and growing: %q", c[3998:])
	}
	if size, err := fsys.Stat(dir + "/f"); err != nil || size != 4010 {
		t.Errorf("Stat = %d, %v", size, err)
	}
	if free, err := fsys.Free(dir); err != nil || free <= 0 {
		t.Errorf("Free = %d, %v", free, err)
	}
}

func testLock(t *testing.T, fsys vfs.FS, dir string) {
	a, err := fsys.Lock(dir + "/LOCK")
	must(t, err)
	if _, err := fsys.Lock(dir + "/LOCK"); !errors.Is(err, vfs.ErrLocked) {
		t.Errorf("second lock: %v", err)
	}
	must(t, a.Close())
	b, err := fsys.Lock(dir + "/LOCK")
	must(t, err)
	must(t, b.Close())
}

// testRandom compares a file with a plain slice under random calls.
func testRandom(t *testing.T, fsys vfs.FS, dir string) {
	rapidFile(t, func(name string) (vfs.FS, string) { return fsys, dir + "/" + name })
}
