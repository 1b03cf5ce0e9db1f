package wal_test

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"dyno/wal"
	"dyno/wal/vfs"
)

// onSegments restricts a plan to calls on files of the log proper.
func onSegments(p vfs.Plan) vfs.Plan {
	return func(c vfs.Call) vfs.Fault {
		if !strings.HasSuffix(c.Name, ".wal") {
			return vfs.Fault{}
		}
		return p(c)
	}
}

// counted numbers the calls it passes on to p by itself.
func counted(op vfs.Op, p func(nth int) vfs.Fault) vfs.Plan {
	var mu sync.Mutex
	n := 0
	return onSegments(func(c vfs.Call) vfs.Fault {
		if c.Op != op {
			return vfs.Fault{}
		}
		mu.Lock()
		defer mu.Unlock()
		n++
		return p(n)
	})
}

// TestFailureIsSticky: the first failed write or sync ends the log. Nothing is
// tried again, all waiters and all that follow get the same error, and what was
// acknowledged before is there after a reopen.
func TestFailureIsSticky(t *testing.T) {
	for name, c := range map[string]struct {
		op    vfs.Op
		fault vfs.Fault
		cause error
	}{
		"write EIO":    {vfs.OpWrite, vfs.Fault{Err: syscall.EIO}, syscall.EIO},
		"write ENOSPC": {vfs.OpWrite, vfs.Fault{Err: syscall.ENOSPC}, syscall.ENOSPC},
		"short write":  {vfs.OpWrite, vfs.Fault{Err: syscall.EIO, Short: 300}, syscall.EIO},
		"sync EIO":     {vfs.OpDatasync, vfs.Fault{Err: syscall.EIO}, syscall.EIO},
	} {
		t.Run(name, func(t *testing.T) {
			m := vfs.NewMem(1)
			plan := counted(c.op, func(nth int) vfs.Fault {
				if nth == 3 {
					return c.fault
				}
				return vfs.Fault{}
			})
			var onLog atomic.Int64 // the pool may still be filling a spare with zeros
			count := onSegments(func(vfs.Call) vfs.Fault { onLog.Add(1); return vfs.Fault{} })
			fsys := vfs.NewFaulty(m, func(call vfs.Call) vfs.Fault {
				if call.Op == vfs.OpWrite || call.Op == vfs.OpDatasync {
					count(call)
				}
				return plan(call)
			})
			l := mustOpen(t, wal.ConfirmAfter(small(fsys, "/wal"), 1<<40))
			must(t, do(l, entries(1, 1, 11, 1, 100)...))
			must(t, do(l, entries(1, 11, 21, 1, 100)...))
			err := do(l, entries(1, 21, 31, 1, 100)...)
			if !errors.Is(err, wal.ErrFailed) || !errors.Is(err, c.cause) {
				t.Fatalf("third append: %v", err)
			}
			<-l.Failed()
			calls := onLog.Load()
			if again := do(l, entry(1, 21, 1, 100)); !errors.Is(again, wal.ErrFailed) || !errors.Is(again, c.cause) {
				t.Fatalf("append after the failure: %v", again)
			}
			if err := l.Release(1); !errors.Is(err, wal.ErrFailed) {
				t.Fatalf("release after the failure: %v", err)
			}
			wantEntries(t, l, 1, 1, 21, 1, 100) // reading goes on
			if err := l.Close(); !errors.Is(err, wal.ErrFailed) {
				t.Fatalf("close: %v", err)
			}
			if err := l.Close(); !errors.Is(err, wal.ErrFailed) {
				t.Fatalf("second close: %v", err)
			}
			if n := onLog.Load(); n != calls {
				t.Errorf("%d writes and syncs of the log after the failure", n-calls)
			}
			l = mustOpen(t, small(m, "/wal"))
			wantEntries(t, l, 1, 1, 21, 1, 100)
		})
	}
}

// TestFailureReachesAllWaiters holds a sync back, queues behind it, lets it fail.
func TestFailureReachesAllWaiters(t *testing.T) {
	gate := make(chan struct{})
	held := make(chan struct{})
	fsys := vfs.NewFaulty(vfs.NewMem(1), counted(vfs.OpDatasync, func(nth int) vfs.Fault {
		if nth == 2 {
			close(held)
			return vfs.Fault{Wait: gate, Err: syscall.EIO}
		}
		return vfs.Fault{}
	}))
	o := small(fsys, "/wal")
	o.QueueBytesMax = 4096
	l := mustOpen(t, o)
	must(t, do(l, entry(1, 1, 1, 100)))
	errs := make(chan error, 100)
	submit := func(i uint64) error {
		return l.Submit(&wal.Append{Records: []wal.Record{entry(1, i, 1, 1000)}, Sync: i%2 == 0, Done: func(err error) { errs <- err }})
	}
	must(t, submit(2))
	<-held
	for i := uint64(3); i < 5; i++ {
		must(t, submit(i))
	}
	blocked := make(chan error)
	go func() { blocked <- submit(5) }() // finds the queue full
	for l.Stats().QueueFull == 0 {
		select {
		case err := <-blocked:
			t.Fatalf("a full queue let a submission in: %v", err)
		default:
		}
	}
	close(gate)
	for range 3 {
		if err := <-errs; !errors.Is(err, wal.ErrFailed) {
			t.Errorf("waiter: %v", err)
		}
	}
	if err := <-blocked; err != nil && !errors.Is(err, wal.ErrFailed) {
		t.Errorf("blocked submitter: %v", err)
	}
}

// TestDoneWaitsForSync: no answer leaves before the sync is through, and none
// before those submitted earlier.
func TestDoneWaitsForSync(t *testing.T) {
	g := vfs.NewGate(vfs.OpDatasync)
	fsys := vfs.NewFaulty(vfs.NewMem(1), onSegments(g.Plan))
	l := mustOpen(t, small(fsys, "/wal"))
	must(t, do(l, entry(1, 1, 1, 10)))
	g.Shut()
	order := make(chan int, 10)
	for i := range 6 {
		must(t, l.Submit(&wal.Append{
			Records: []wal.Record{entry(1, uint64(i+2), 1, 10)},
			Sync:    i%3 == 0,
			Done: func(err error) {
				if err != nil {
					t.Error(err)
				}
				order <- i
			},
		}))
		if i == 0 {
			<-g.Waiting()
		}
	}
	select {
	case i := <-order:
		t.Fatalf("append %d was answered before its sync", i)
	default:
	}
	g.Open()
	for want := range 6 {
		if got := <-order; got != want {
			t.Fatalf("answer %d came in place of %d", got, want)
		}
	}
}

func TestNoSyncNoSync(t *testing.T) {
	fsys := vfs.NewFaulty(vfs.NewMem(1), nil)
	l := mustOpen(t, small(fsys, "/wal"))
	must(t, do(l, entry(1, 1, 1, 10)))
	before := l.Stats().Syncs
	done := make(chan error, 1)
	for range 10 {
		must(t, l.Submit(&wal.Append{Records: []wal.Record{{Stream: 1, Kind: wal.KindState, Term: 1, Index: 1}}, Done: func(err error) { done <- err }}))
		must(t, <-done)
	}
	if n := l.Stats().Syncs; n != before {
		t.Errorf("%d syncs for commit-only states", n-before)
	}
	must(t, do(l)) // no records: a barrier
	if n := l.Stats().Syncs; n != before+1 {
		t.Errorf("%d syncs for a barrier", n-before)
	}
}

// TestDiskFull fills the disk: new work is refused without harm, what may use
// the reserve goes on, and room that comes back is used.
func TestDiskFull(t *testing.T) {
	m := vfs.NewMem(1)
	o := small(m, "/wal")
	notices := make(chan string, 100)
	o.Notice = func(n wal.Notice) { notices <- n.Kind }
	m.SetRoom(5*o.SegmentBytes + 1000)
	l := mustOpen(t, o)
	i := uint64(1)
	var err error
	for ; err == nil; i++ {
		err = do(l, entry(1, i, 1, 9000))
	}
	i--
	if !errors.Is(err, wal.ErrDiskFull) || !l.Full() {
		t.Fatalf("entry %d: %v, Full %v", i, err, l.Full())
	}
	if l.Err() != nil {
		t.Fatalf("a full disk ended the log: %v", l.Err())
	}
	if err := do(l, entry(1, i, 1, 9000)); !errors.Is(err, wal.ErrDiskFull) {
		t.Fatalf("again: %v", err)
	}
	wantEntries(t, l, 1, 1, i, 1, 9000)
	reserve := func(r wal.Record) error {
		done := make(chan error, 1)
		must(t, l.Submit(&wal.Append{Records: []wal.Record{r}, Sync: true, Reserve: true, Done: func(err error) { done <- err }}))
		return <-done
	}
	for k := uint64(0); k < 3; k++ {
		must(t, reserve(entry(1, i+k, 1, 9000))) // runs over into the reserve
	}
	if err := do(l, entry(2, 1, 1, 1)); !errors.Is(err, wal.ErrDiskFull) {
		t.Fatalf("ordinary work in the reserve: %v", err)
	}
	in, _ := l.Oldest()
	must(t, reserve(wal.Record{Stream: 1, Kind: wal.KindTruncateBefore, Index: in.Runs[0].Last + 1, Term: 1}))
	must(t, l.Release(in.Seq))
	m.SetRoom(1 << 30)
	for want := "disk_room"; <-notices != want; { //nolint:revive // waits for the retry
	}
	must(t, do(l, entry(2, 1, 1, 9000)))
	if l.Full() {
		t.Error("still full")
	}
	must(t, l.Close())
	l = mustOpen(t, o)
	in2, _ := l.Info(1)
	wantEntries(t, l, 1, in2.First, i+3, 1, 9000)
}

// TestOpenOnFullDisk: what is there can be read, and the log says it is full.
func TestOpenOnFullDisk(t *testing.T) {
	m := vfs.NewMem(1)
	o := small(m, "/wal")
	l := mustOpen(t, o)
	must(t, do(l, entries(1, 1, 11, 1, 100)...))
	c := m.Crash(3) // not closed cleanly: the next one needs a segment
	must(t, l.Close())
	names, err := c.List("/wal")
	must(t, err)
	for _, n := range names {
		if strings.HasPrefix(n, "spare") || n > "0000000000000001.wal" && strings.HasSuffix(n, ".wal") {
			must(t, c.Remove("/wal/"+n))
		}
	}
	c.SetRoom(100)
	o.FS = c
	l = mustOpen(t, o)
	wantEntries(t, l, 1, 1, 11, 1, 100)
	if err := do(l, entry(1, 11, 1, 100)); !errors.Is(err, wal.ErrDiskFull) {
		t.Fatal(err)
	}
	c.SetRoom(1 << 30)
}

func TestLock(t *testing.T) {
	eachFS(t, func(t *testing.T, fs vfs.FS, dir string) {
		l := mustOpen(t, small(fs, dir))
		if _, err := wal.Open(small(fs, dir)); !errors.Is(err, vfs.ErrLocked) {
			t.Fatalf("second open: %v", err)
		}
		must(t, l.Close())
		mustOpen(t, small(fs, dir))
	})
}

// TestLockOfOtherProcess lets a second process try to open the directory.
func TestLockOfOtherProcess(t *testing.T) {
	if dir := os.Getenv("WAL_TEST_LOCKED"); dir != "" {
		_, err := wal.Open(small(vfs.OS(), dir))
		if !errors.Is(err, vfs.ErrLocked) {
			t.Fatalf("open beside the other process: %v", err)
		}
		return
	}
	dir := filepath.Join(t.TempDir(), "wal")
	mustOpen(t, small(vfs.OS(), dir))
	cmd := exec.Command(os.Args[0], "-test.run=^TestLockOfOtherProcess$")
	cmd.Env = append(os.Environ(), "WAL_TEST_LOCKED="+dir)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
}

func TestFormat(t *testing.T) {
	mark := func(change func(b []byte) []byte) error {
		m := vfs.NewMem(1)
		l := mustOpen(t, small(m, "/wal"))
		must(t, do(l, entry(1, 1, 1, 1)))
		must(t, l.Close())
		f, err := m.Open("/wal/FORMAT")
		must(t, err)
		defer f.Close()
		b := make([]byte, 40)
		_, err = f.ReadAt(b, 0)
		must(t, err)
		b = change(b)
		must(t, f.Truncate(int64(len(b))))
		_, err = f.WriteAt(b, 0)
		must(t, err)
		_, err = wal.Open(small(m, "/wal"))
		return err
	}
	for name, c := range map[string]struct {
		change func([]byte) []byte
		want   error
		text   string
	}{
		"newer":   {func(b []byte) []byte { b[8] = 2; return b }, wal.ErrFormat, "says version 2, this program knows 1 only"},
		"foreign": {func(b []byte) []byte { return []byte("something else") }, wal.ErrFormat, "is not the mark of a dyno log"},
		"empty":   {func(b []byte) []byte { return nil }, wal.ErrFormat, "is not the mark of a dyno log"},
		"damaged": {func(b []byte) []byte { b[20] ^= 1; return b }, wal.ErrCorrupt, "checksum of the format mark"},
		"cut":     {func(b []byte) []byte { return b[:30] }, wal.ErrCorrupt, "checksum of the format mark"},
	} {
		if err := mark(c.change); !errors.Is(err, c.want) || !strings.Contains(err.Error(), c.text) {
			t.Errorf("%s: %v", name, err)
		}
	}
	m := vfs.NewMem(1)
	must(t, m.MkdirAll("/wal"))
	f, err := m.Create("/wal/0000000000000001.wal")
	must(t, err)
	must(t, f.Close())
	if _, err := wal.Open(small(m, "/wal")); !errors.Is(err, wal.ErrFormat) {
		t.Errorf("segments without a mark: %v", err)
	}
}

func TestOptions(t *testing.T) {
	for name, o := range map[string]wal.Options{
		"no dir":        {},
		"small segment": {Dir: "/wal", SegmentBytes: 4096},
		"odd segment":   {Dir: "/wal", SegmentBytes: 100_000},
		"large segment": {Dir: "/wal", SegmentBytes: 2 << 30},
		"no spares":     {Dir: "/wal", SpareSegments: -1},
		"small writes":  {Dir: "/wal", WriteBytesMax: 1},
	} {
		o.FS = vfs.NewMem(1)
		if l, err := wal.Open(o); err == nil {
			l.Close()
			t.Errorf("%s: opened", name)
		}
	}
}
