package wal_test

import (
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"dyno/wal"
	"dyno/wal/vfs"
)

// callsOf collects the writes and syncs of the log proper.
func callsOf(m vfs.FS, fault func(c vfs.Call) vfs.Fault) (vfs.FS, func() []vfs.Call) {
	var mu sync.Mutex
	var calls []vfs.Call
	fsys := vfs.NewFaulty(m, onSegments(func(c vfs.Call) vfs.Fault {
		if c.Op != vfs.OpWrite && c.Op != vfs.OpDatasync {
			return vfs.Fault{}
		}
		mu.Lock()
		defer mu.Unlock()
		calls = append(calls, c)
		return fault(c)
	}))
	return fsys, func() []vfs.Call {
		mu.Lock()
		defer mu.Unlock()
		defer func() { calls = nil }()
		return calls
	}
}

func noFault(vfs.Call) vfs.Fault { return vfs.Fault{} }

// TestFrameGoesAhead: of a lone large record the first pieces are begun while the rest
// is copied, each as large as all before it; the head, which holds the flush header, is
// begun after them, and the sync comes last. Any other frame is one write.
func TestFrameGoesAhead(t *testing.T) {
	const page = 4096
	for name, c := range map[string]struct {
		records []wal.Record
		want    []vfs.Call
		before  int // payload of a record that lies before, 0: none
	}{
		"small": {entries(1, 1, 2, 1, 1000), []vfs.Call{{Off: 0, Len: page}}, 0},
		"large": {entries(1, 1, 2, 1, 11*page), []vfs.Call{
			{Off: page, Len: page}, {Off: 2 * page, Len: page}, {Off: 3 * page, Len: 2 * page}, {Off: 5 * page, Len: 4 * page},
			// not the 2 pages that come next, for nothing follows them
			{Off: 0, Len: page}, {Off: 9 * page, Len: 3 * page}}, 0},
		// the frame begins at 4000: its record's header ends in the second page
		"head of two pages": {entries(1, 1, 2, 1, 11*page), []vfs.Call{
			{Off: 2 * page, Len: page}, {Off: 3 * page, Len: page}, {Off: 4 * page, Len: 2 * page}, {Off: 6 * page, Len: 4 * page},
			{Off: 0, Len: 2 * page}, {Off: 10 * page, Len: 3 * page}}, 4000 - 136 - 80 - 48},
		"with its state": {append(entries(1, 1, 2, 1, 11*page), wal.Record{Stream: 1, Kind: wal.KindState, Term: 1}), []vfs.Call{
			{Off: page, Len: page}, {Off: 2 * page, Len: page}, {Off: 3 * page, Len: 2 * page}, {Off: 5 * page, Len: 4 * page},
			{Off: 0, Len: page}, {Off: 9 * page, Len: 3 * page}}, 0},
		"two": {entries(1, 1, 3, 1, 5*page), []vfs.Call{{Off: 0, Len: 11 * page}}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			fsys, calls := callsOf(vfs.NewMem(1), noFault)
			l := mustOpen(t, wal.ConfirmAfter(small(fsys, "/wal"), 1<<40))
			must(t, do(l, wal.Record{Stream: 2, Kind: wal.KindState, Term: 1}))
			if c.before > 0 {
				must(t, do(l, entry(3, 1, 1, c.before)))
			}
			calls()
			must(t, do(l, c.records...))
			got := calls()
			if n := len(got); n == 0 || got[n-1].Op != vfs.OpDatasync || n-1 != len(c.want) {
				t.Fatalf("%d writes and a sync: want %d; got %+v", n-1, len(c.want), got)
			}
			for i, w := range c.want {
				if got[i].Off != w.Off || got[i].Len != w.Len {
					t.Errorf("write %d: %d bytes at %d, want %d at %d", i, got[i].Len, got[i].Off, w.Len, w.Off)
				}
			}
			in, _ := l.Info(1)
			wantEntries(t, l, 1, 1, in.Last+1, 1, len(c.records[0].Data))
		})
	}
}

// TestAheadReadsBack: what went ahead is read back as it was, before and after a reopen,
// and so are large records that only one of the two was decided for: to go ahead, with a
// checksum from Submit; and a late checksum, in a frame that does not go ahead.
func TestAheadReadsBack(t *testing.T) {
	eachFS(t, func(t *testing.T, fs vfs.FS, dir string) {
		const size = 12_000 // two fit the queue
		for name, op := range map[string]vfs.Op{"summed by Submit": vfs.OpDatasync, "summed late": vfs.OpWrite} {
			dir := dir + "-" + strings.ReplaceAll(name, " ", "-")
			gate, held := make(chan struct{}), make(chan struct{})
			var before atomic.Int64 // calls before the one that is held
			before.Store(1 << 40)
			fsys := vfs.NewFaulty(fs, onSegments(func(c vfs.Call) vfs.Fault {
				if c.Op != op || before.Add(-1) != -1 {
					return vfs.Fault{}
				}
				close(held)
				return vfs.Fault{Wait: gate}
			}))
			late := op == vfs.OpWrite
			confirm := time.Duration(1 << 40)
			if late {
				confirm = 1
			}
			l := mustOpen(t, wal.ConfirmAfter(small(fsys, dir), confirm))
			done := make(chan error, 3)
			submit := func(index uint64) {
				must(t, l.Submit(&wal.Append{Records: entries(1, index, index+1, 1, size), Sync: true, Done: func(err error) { done <- err }}))
			}
			if late {
				before.Store(1) // the state's write; then comes the confirmation's, which is no submission
				must(t, do(l, wal.Record{Stream: 1, Kind: wal.KindState, Term: 1}))
				<-held
				submit(1) // finds nothing queued, as the next does, and is laid with it
			} else {
				before.Store(0)
				submit(1) // goes ahead, and its sync is held
				<-held
			}
			submit(2)
			close(gate)
			for range 2 {
				must(t, <-done)
			}
			wantEntries(t, l, 1, 1, 3, 1, size)
			must(t, l.Close())
			l = mustOpen(t, small(fs, dir))
			wantEntries(t, l, 1, 1, 3, 1, size)
			must(t, l.Close())
		}
	})
}

// TestFirstRecordGoesAhead: of a record behind a large one nothing goes ahead, though
// enough of both is laid and enough to come, for its header is not in the head.
func TestFirstRecordGoesAhead(t *testing.T) {
	o := wal.Options{FS: vfs.NewMem(1), Dir: "/wal", SegmentBytes: 1 << 20, SpareSegments: 1, WriteBytesMax: 1 << 20}
	l := mustOpen(t, o)
	must(t, do(l, entry(1, 1, 1, 310<<10), entry(2, 1, 1, 120<<10)))
	for range 2 {
		wantEntries(t, l, 1, 1, 2, 1, 310<<10)
		wantEntries(t, l, 2, 1, 2, 1, 120<<10)
		must(t, l.Close())
		l = mustOpen(t, o)
	}
}

// TestFailureAhead: a piece that fails, whichever of its frame, ends the log, is not
// tried again, and takes nothing of what was acknowledged before. Whether its error
// comes at once or at the end, nothing is under way when the file is closed (which the
// disk in memory checks).
func TestFailureAhead(t *testing.T) {
	const pieces = 5 // of that record
	for n := range 2*pieces + 1 {
		nth := (n + 1) / 2 // 0: none fails
		m := vfs.NewMem(1)
		var writes atomic.Int64
		writes.Store(-1 << 30)
		fsys, calls := callsOf(m, func(c vfs.Call) vfs.Fault {
			if c.Op != vfs.OpWrite || writes.Add(1) != int64(nth) {
				return vfs.Fault{}
			}
			return vfs.Fault{Err: syscall.EIO, Short: int64(n%2) * 512} // a short one fails at once
		})
		l := mustOpen(t, wal.ConfirmAfter(small(fsys, "/wal"), 1<<40))
		must(t, do(l, entries(1, 1, 4, 1, 1000)...))
		calls()
		writes.Store(0)
		err := do(l, entry(1, 4, 1, 45_000))
		seen := map[int64]bool{}
		for i, c := range calls() {
			if c.Op == vfs.OpDatasync && nth > 0 {
				t.Errorf("piece %d: call %d behind the failure is a sync", nth, i)
			}
			if c.Op == vfs.OpWrite && seen[c.Off] {
				t.Errorf("piece %d: written again at %d", nth, c.Off)
			}
			seen[c.Off] = c.Op == vfs.OpWrite || seen[c.Off]
		}
		if nth == 0 {
			must(t, err)
			if len(seen) != pieces {
				t.Errorf("the record has %d pieces, the test lets each of %d fail", len(seen), pieces)
			}
			must(t, l.Close())
			continue
		}
		if !errors.Is(err, wal.ErrFailed) || !errors.Is(err, syscall.EIO) {
			t.Fatalf("piece %d: %v", nth, err)
		}
		wantEntries(t, l, 1, 1, 4, 1, 1000)
		if err := l.Close(); !errors.Is(err, wal.ErrFailed) {
			t.Errorf("piece %d: close: %v", nth, err)
		}
		l = mustOpen(t, small(m, "/wal"))
		wantEntries(t, l, 1, 1, 4, 1, 1000)
		must(t, l.Close())
	}
}
