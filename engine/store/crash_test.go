package store

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"testing"

	"dyno/engine/ids"
	"dyno/wal/vfs"
)

// crashRun is one life of a log on a disk whose power is cut at call cut.
type crashRun struct {
	rng  *rand.Rand
	l    *Log
	m    *model // with what is staged
	done *model // as of the last operation that returned
	next *model // as the operation under way will leave it; nil if none is
	low  ids.Offset
}

// step makes one random operation.
func (r *crashRun) step() error {
	switch k := r.rng.IntN(10); {
	case k < 5:
		var es []Entry
		for range 1 + r.rng.IntN(12) {
			es = append(es, r.m.next([]int{0, 1, 1, 1, 2, 3}[r.rng.IntN(6)], r.rng.IntN(8) == 0, 1+r.rng.IntN(4),
				r.rng.Int64N(1000), 61+r.rng.IntN(300)))
		}
		return r.l.Append(es)
	case k < 8 || r.m.staged > 0:
		r.m.state = fmt.Appendf(nil, "state %d", r.rng.IntN(1000))
		r.next = r.m.clone()
		r.next.staged = 0
		if err := r.l.Checkpoint(r.m.state); err != nil {
			return err
		}
		r.m.staged = 0
	case k < 9:
		r.low = ids.Offset(r.rng.Int64N(int64(r.m.last().End) + 2))
		r.next = r.m.clone()
		if _, err := r.l.TruncateBefore(r.low); err != nil {
			return err
		}
		before, _ := r.l.Bounds()
		if err := r.m.cutTo(before); err != nil {
			return err
		}
	default:
		b := r.m.last()
		if n := r.rng.IntN(3); n > 0 {
			b.Index, b.End = b.Index+ids.LogIndex(n), b.End+ids.Offset(r.rng.IntN(3))
		}
		r.next = &model{before: b, state: []byte("snapshot")}
		if err := r.l.TruncateAll(b, r.next.state); err != nil {
			return err
		}
		*r.m = *r.next.clone()
	}
	r.done, r.next = r.m.checkpointed(), nil
	return nil
}

// verify accepts the state before or after the operation that was cut.
func (r *crashRun) verify(l *Log) (*model, error) {
	try := func(m *model) error {
		if m == nil {
			return errors.New("none")
		}
		m = m.clone()
		before, _ := l.Bounds()
		if before != m.before && before.End > r.low { // a cut TruncateBefore may have gone through
			return fmt.Errorf("begins at %+v, want %+v", before, m.before)
		}
		if err := m.cutTo(before); err != nil {
			return err
		}
		if err := m.check(l); err != nil {
			return err
		}
		*r.m = *m
		return nil
	}
	err1 := try(r.next)
	if err1 == nil {
		return r.m, nil
	}
	if err2 := try(r.done); err2 != nil {
		return nil, fmt.Errorf("neither the new state (%w) nor the old (%w)", err1, err2)
	}
	return r.m, nil
}

// live runs until the power is cut at the cut-th call, or for steps; ended says
// that the cut was never reached.
func live(r *crashRun, disk *vfs.Mem, cut int64, seed uint64, steps int) (after *vfs.Mem, ended bool, err error) {
	faulty := vfs.NewFaulty(disk, func(c vfs.Call) vfs.Fault {
		if c.All < cut {
			return vfs.Fault{}
		}
		if after == nil {
			after = disk.PowerCut(seed)
		}
		return vfs.Fault{Err: vfs.ErrPowerCut}
	})
	r.l, err = Open(Options{FS: faulty, Dir: "p", FileBytes: 900})
	for i := 0; i < steps && err == nil; i++ {
		err = r.step()
	}
	if after != nil {
		if !errors.Is(err, vfs.ErrPowerCut) {
			return after, false, fmt.Errorf("after the power cut: %v", err)
		}
		return after, false, nil
	}
	if err != nil {
		return nil, false, err
	}
	return disk.PowerCut(seed), true, nil
}

// lives runs several lives in a row, each cut somewhere, and checks each.
func lives(seed uint64, cut int64) (ended bool, err error) {
	rng := rand.New(rand.NewPCG(seed, uint64(cut)))
	disk := vfs.NewMem(seed)
	m := &model{}
	for life := range 3 {
		r := &crashRun{rng: rand.New(rand.NewPCG(seed, uint64(life))), m: m, done: m.clone()}
		var over bool
		if disk, over, err = live(r, disk, cut, rng.Uint64(), 25); err != nil {
			return false, fmt.Errorf("life %d: %w", life, err)
		}
		ended = ended || over && life == 0
		l, err := Open(Options{FS: disk, Dir: "p", FileBytes: 900})
		if err != nil {
			return false, fmt.Errorf("life %d: %w", life, err)
		}
		if m, err = r.verify(l); err != nil {
			return false, fmt.Errorf("life %d: %w", life, err)
		}
		names, err := disk.List("p")
		if want := 2 * len(l.Files()); len(names) != want && !(want == 0 && err != nil) {
			return false, fmt.Errorf("life %d: %d files of %d are left: %v", life, len(names), want, names)
		}
		if err := l.Close(); err != nil {
			return false, err
		}
		if life == 0 {
			cut = 1 + rng.Int64N(cut+1)
		}
	}
	return ended, nil
}

// TestCrash cuts the power at every call of the disk, one after another, for
// several seeds, and twice more afterwards at random calls. DYNO_LONG=1 runs
// more seeds.
func TestCrash(t *testing.T) {
	seeds := uint64(6)
	if testing.Short() {
		seeds = 2
	}
	if os.Getenv("DYNO_LONG") != "" {
		seeds = 200
	}
	cuts := 0
	for seed := range seeds {
		for cut := int64(1); ; cut++ {
			ended, err := lives(seed, cut)
			if err != nil {
				t.Fatalf("seed %d, power cut at call %d: %v", seed, cut, err)
			}
			cuts++
			if ended {
				break
			}
		}
	}
	t.Logf("%d power cuts", cuts)
}

// TestStaleCheckpoint cuts the power in a checkpoint, appends the same entries
// again, as who moves them from a log does, and cuts it again before the second
// checkpoint record is written: the first one must not come back to life.
func TestStaleCheckpoint(t *testing.T) {
	for seed := range uint64(3000) {
		if err := staleCheckpoint(seed); err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
	}
}

func staleCheckpoint(seed uint64) error {
	disk, m := vfs.NewMem(seed), &model{}
	entries := func(n int) (es []Entry) {
		for range n {
			es = append(es, m.next(1, false, 1, 5, 100), m.next(2, false, 1, 5, 49))
		}
		return es
	}
	first := entries(1)
	m.state, m.staged = []byte("one"), 0
	done := m.clone()
	again := entries(4) // their frame and the record share no more than one of two sectors
	next := m.checkpointed()
	next.entries = m.entries
	next.state = []byte("two")

	syncs := 0
	var after *vfs.Mem
	cut := func(at int) vfs.FS {
		return vfs.NewFaulty(disk, func(c vfs.Call) vfs.Fault {
			if c.Op == vfs.OpDatasync {
				syncs++
			}
			if after == nil && syncs == at {
				after = disk.PowerCut(seed)
			}
			if after != nil {
				return vfs.Fault{Err: vfs.ErrPowerCut}
			}
			return vfs.Fault{}
		})
	}
	// Syncs of the first life: log and record of "one", log of "two", and the
	// record of "two", where the power goes: the frames before it can be torn.
	l, err := Open(Options{FS: cut(4), Dir: "p"})
	if err := firstError(err, l.Append(first), l.Checkpoint([]byte("one")), l.Append(again)); err != nil {
		return err
	}
	if err := l.Checkpoint([]byte("two")); !errors.Is(err, vfs.ErrPowerCut) {
		return fmt.Errorf("first power cut: %v", err)
	}
	disk, after, syncs = after, nil, 0
	l, err = Open(Options{FS: disk, Dir: "p"})
	if err != nil {
		return err
	}
	if l.Last() == next.last().Index {
		return next.check(l)
	}
	if err := firstError(done.check(l), l.Append(again)); err != nil {
		return err
	}
	l, err = Open(Options{FS: disk.PowerCut(seed + 1), Dir: "p"})
	if err != nil {
		return err
	}
	return done.check(l)
}

// TestCrashInRemoval cuts the power at every call of a removal: what Open finds then is
// the whole log, or none, from which another one may begin.
func TestCrashInRemoval(t *testing.T) {
	for seed := range uint64(40) {
		ended := false
		for cut := int64(1); !ended; cut++ {
			whole, over, err := removed(seed, cut)
			if ended = over; err != nil {
				t.Fatalf("seed %d, cut at call %d: %v", seed, cut, err)
			}
			if over && whole {
				t.Fatalf("seed %d: the log is still there", seed)
			}
		}
	}
}

func removed(seed uint64, cut int64) (whole, over bool, err error) {
	disk := vfs.NewMem(seed)
	l, err := Open(Options{FS: disk, Dir: "p", FileBytes: 900})
	if err != nil {
		return false, false, err
	}
	m := &model{}
	for range 4 {
		var list []Entry
		for range 5 {
			list = append(list, m.next(1, false, 2, 1, 200))
		}
		m.state = []byte("state")
		if err := errors.Join(l.Append(list), l.Checkpoint(m.state)); err != nil {
			return false, false, err
		}
	}
	m.staged = 0
	if err := l.Close(); err != nil {
		return false, false, err
	}
	var after *vfs.Mem
	calls := int64(0)
	faulty := vfs.NewFaulty(disk, func(vfs.Call) vfs.Fault {
		if calls++; calls < cut {
			return vfs.Fault{}
		}
		if after == nil {
			after = disk.PowerCut(seed ^ uint64(cut)<<8)
		}
		return vfs.Fault{Err: vfs.ErrPowerCut}
	})
	err = Remove(faulty, "p")
	if after == nil {
		after, over = disk.PowerCut(seed), true
		if err != nil {
			return false, over, err
		}
	}
	for range 2 { // and once more
		if l, err = Open(Options{FS: after, Dir: "p", FileBytes: 900}); err != nil {
			return false, over, err
		}
		if err := l.Close(); err != nil {
			return false, over, err
		}
	}
	if l, err = Open(Options{FS: after, Dir: "p", FileBytes: 900}); err != nil {
		return false, over, err
	}
	defer l.Close()
	if l.Last() == 0 {
		names, err := after.List("p")
		if err == nil && len(names) > 0 {
			return false, over, fmt.Errorf("files are left: %v", names)
		}
		return false, over, nil
	}
	return true, over, m.check(l)
}
