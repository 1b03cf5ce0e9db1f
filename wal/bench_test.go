package wal_test

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"dyno/wal"
	"dyno/wal/vfs"
)

var (
	benchDir      = flag.String("wal.benchdir", "", "directory for benchmarks; default: a temporary one")
	recoveryBytes = flag.Int64("wal.recovery", 256<<20, "bytes of log that BenchmarkRecovery reads")
)

func dirFor(b *testing.B) string {
	if *benchDir == "" {
		return b.TempDir()
	}
	dir, err := os.MkdirTemp(*benchDir, "wal")
	must(b, err)
	b.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

// raw writes and syncs one block after another, as the simplest program would.
type raw struct {
	b       *testing.B
	dir     string
	written bool // into space that was written before; else fallocated only
	f       vfs.File
	off     int64
	made    int
}

const rawFileBytes = 256 << 20

// next makes the file ready for a block of size bytes; the clock is stopped.
func (r *raw) next(size int) {
	if r.f != nil && r.off+int64(size) <= rawFileBytes {
		return
	}
	r.b.StopTimer()
	defer r.b.StartTimer()
	if r.f != nil && r.written {
		r.off = 0
		return
	}
	r.close()
	var err error
	r.f, err = vfs.OS().Create(filepath.Join(r.dir, fmt.Sprint("raw", r.made)))
	must(r.b, err)
	r.made++
	r.off = 0
	must(r.b, r.f.Allocate(0, rawFileBytes))
	if r.written {
		zero := make([]byte, 1<<20)
		for off := int64(0); off < rawFileBytes; off += int64(len(zero)) {
			_, err := r.f.WriteAt(zero, off)
			must(r.b, err)
		}
	}
	must(r.b, r.f.Datasync())
	must(r.b, vfs.OS().SyncDir(r.dir))
}

func (r *raw) close() {
	if r.f != nil {
		r.f.Close()
		os.Remove(filepath.Join(r.dir, fmt.Sprint("raw", r.made-1)))
	}
}

func benchRaw(b *testing.B, size int, written bool) {
	r := &raw{b: b, dir: dirFor(b), written: written}
	defer r.close()
	block := randomBytes(size)
	b.SetBytes(int64(size))
	r.next(size)
	for b.Loop() {
		r.next(size)
		_, err := r.f.WriteAt(block, r.off)
		must(b, err)
		must(b, r.f.Datasync())
		r.off += int64(size)
	}
}

func randomBytes(n int) []byte {
	p := make([]byte, n)
	x := uint64(88172645463325252)
	for i := range p {
		x ^= x << 13
		x ^= x >> 7
		x ^= x << 17
		p[i] = byte(x)
	}
	return p
}

// benchWAL keeps inflight appends of one entry each under way. Old segments are
// released as it goes, so all but the first few segments are recycled ones.
func benchWAL(b *testing.B, size, inflight int, buffered bool) {
	l := mustOpen(b, wal.Options{Dir: filepath.Join(dirFor(b), "wal"), SpareSegments: 3, Buffered: buffered})
	data := randomBytes(size)
	type slot struct {
		a    wal.Append
		recs [1]wal.Record
	}
	free := make(chan *slot, inflight)
	for range inflight {
		s := &slot{}
		s.a = wal.Append{Sync: true, Done: func(err error) {
			if err != nil {
				b.Error(err)
			}
			free <- s
		}}
		free <- s
	}
	// What an engine's own goroutine does beside the load: cut, release.
	index, cut := uint64(0), uint64(0)
	cuts, reclaimed := make(chan uint64, 1), make(chan struct{})
	go func() {
		defer close(reclaimed)
		for index := range cuts {
			must(b, do(l, wal.Record{Stream: 1, Kind: wal.KindTruncateBefore, Index: index - 1, Term: 1}))
			for in, ok := l.Oldest(); ok && len(in.Runs) == 0; in, ok = l.Oldest() {
				must(b, l.Release(in.Seq))
			}
		}
	}()
	b.SetBytes(int64(size))
	b.ReportAllocs()
	must(b, do(l, wal.Record{Stream: 1, Kind: wal.KindState, Term: 1}))
	for tick := time.Tick(5 * time.Millisecond); l.Stats().SegmentsMade < 5; {
		<-tick // the head, the next one, the spares: filling them is not what is measured
	}
	for b.Loop() {
		s := <-free
		index++
		s.recs[0] = wal.Record{Stream: 1, Kind: wal.KindEntry, Index: index, Term: 1, Data: data}
		s.a.Records = s.recs[:]
		must(b, l.Submit(&s.a))
		if (index-cut)*uint64(size) > 48<<20 {
			cut = index
			cuts <- index
		}
	}
	b.StopTimer()
	close(cuts)
	<-reclaimed
	for range inflight {
		<-free
	}
	st := l.Stats()
	b.ReportMetric(float64(st.Records)/float64(max(1, st.Syncs)), "records/sync")
	b.ReportMetric(float64(st.WrittenBytes+st.ZeroBytes)/float64(st.PayloadBytes), "disk-B/B")
}

// BenchmarkGroupCommit compares the log with a loop of pwrite and fdatasync in
// the same run. Compare the arms of one size, not the figures.
func BenchmarkGroupCommit(b *testing.B) {
	for _, size := range []int{4 << 10, 16 << 10, 64 << 10, 256 << 10, 1 << 20} {
		for _, arm := range []struct {
			name string
			run  func(*testing.B)
		}{
			{"raw-fallocated", func(b *testing.B) { benchRaw(b, size, false) }},
			{"raw-written", func(b *testing.B) { benchRaw(b, size, true) }},
			{"wal-1", func(b *testing.B) { benchWAL(b, size, 1, false) }},
			{"wal-4", func(b *testing.B) { benchWAL(b, size, 4, false) }},
			{"wal-4-buffered", func(b *testing.B) { benchWAL(b, size, 4, true) }},
		} {
			b.Run(fmt.Sprintf("size=%dK/%s", size>>10, arm.name), arm.run)
		}
	}
}

// BenchmarkRecovery opens a log of 64 KiB frames, -wal.recovery bytes of it,
// after asking the kernel to drop the files from its cache.
func BenchmarkRecovery(b *testing.B) {
	dir := filepath.Join(dirFor(b), "wal")
	o := wal.Options{Dir: dir}
	l := mustOpen(b, o)
	data := randomBytes(64<<10 - 128)
	slots := make(chan struct{}, 64)
	n := *recoveryBytes / (64 << 10)
	for i := range uint64(n) {
		slots <- struct{}{}
		must(b, l.Submit(&wal.Append{
			Records: []wal.Record{{Stream: 1 + i%8, Kind: wal.KindEntry, Index: 1 + i/8, Term: 1, Data: data}},
			Sync:    true,
			Done:    func(error) { <-slots },
		}))
	}
	must(b, l.Close())
	b.SetBytes(n * int64(len(data)))
	for b.Loop() {
		b.StopTimer()
		dropCache(b, dir)
		b.StartTimer()
		l, err := wal.Open(o)
		must(b, err)
		b.StopTimer()
		if st := l.Stats(); st.Streams != 8 {
			b.Fatalf("%d streams", st.Streams)
		}
		must(b, l.Close())
		b.StartTimer()
	}
}

// dropCache takes every file of dir out of the page cache.
func dropCache(b *testing.B, dir string) {
	ents, err := os.ReadDir(dir)
	must(b, err)
	for _, e := range ents {
		f, err := os.Open(filepath.Join(dir, e.Name()))
		must(b, err)
		must(b, unix.Fdatasync(int(f.Fd())))
		must(b, unix.Fadvise(int(f.Fd()), 0, 0, unix.FADV_DONTNEED))
		f.Close()
	}
}

// BenchmarkAppenders has 64 goroutines append 1 KiB each and wait for it, on 64
// streams: the cost of an append besides the disk is cpu-ns/op.
func BenchmarkAppenders(b *testing.B) {
	l := mustOpen(b, wal.Options{Dir: filepath.Join(dirFor(b), "wal"), SpareSegments: 3})
	data := randomBytes(1 << 10)
	must(b, do(l, wal.Record{Stream: 100, Kind: wal.KindState, Term: 1}))
	for tick := time.Tick(5 * time.Millisecond); l.Stats().SegmentsMade < 5; {
		<-tick
	}
	const appenders = 64
	var left atomic.Int64
	left.Store(int64(b.N))
	var wg sync.WaitGroup
	b.SetBytes(1 << 10)
	b.ReportAllocs()
	before := cpuTime(b)
	b.ResetTimer()
	for id := range uint64(appenders) {
		wg.Go(func() {
			done := make(chan error, 1)
			a := &wal.Append{Sync: true, Done: func(err error) { done <- err }}
			recs := []wal.Record{{Stream: id + 1, Kind: wal.KindEntry, Term: 1, Data: data}}
			for left.Add(-1) >= 0 {
				recs[0].Index++
				a.Records = recs
				must(b, l.Submit(a))
				must(b, <-done)
			}
		})
	}
	wg.Wait()
	b.StopTimer()
	st := l.Stats()
	b.ReportMetric(float64(cpuTime(b)-before)/float64(b.N), "cpu-ns/op")
	b.ReportMetric(float64(st.Records)/float64(max(1, st.Syncs)), "records/sync")
}

// cpuTime is what the process has used so far, user and system.
func cpuTime(b *testing.B) time.Duration {
	var u unix.Rusage
	must(b, unix.Getrusage(unix.RUSAGE_SELF, &u))
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
