package wal_test

import (
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"dyno/wal"
	"dyno/wal/vfs"
)

var (
	crashSeeds = flag.Int("wal.seeds", 250, "how many seeds TestPowerCut runs")
	crashSeed  = flag.Uint64("wal.seed", 0, "run this seed of TestPowerCut only")
)

// cutter cuts the power of a memory disk right before its n-th call, or kills
// the process that uses it: then nothing that was written is lost, yet.
type cutter struct {
	m    *vfs.Mem
	at   int64
	seed uint64
	kill bool

	mu   sync.Mutex
	left *vfs.Mem // guarded by mu: what the cut left
}

func (c *cutter) plan(call vfs.Call) vfs.Fault {
	if call.All >= c.at && c.kill {
		switch call.Op {
		case vfs.OpRead, vfs.OpOpen, vfs.OpStat, vfs.OpList, vfs.OpLock:
			return vfs.Fault{} // as on a frozen disk
		}
		return vfs.Fault{Err: vfs.ErrPowerCut}
	}
	if call.All >= c.at {
		c.mu.Lock()
		defer c.mu.Unlock()
		if c.left == nil {
			c.left = c.m.PowerCut(c.seed)
		}
	}
	return vfs.Fault{}
}

func (c *cutter) remains() *vfs.Mem {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.kill {
		return c.m
	}
	if c.left == nil {
		c.left = c.m.PowerCut(c.seed)
	}
	return c.left
}

// survived finds the moment of history the recovered log stands at. It must be
// one that came, and none before the last promise.
func survived(l *wal.Log, d *load) (twin, error) {
	got, err := twinOf(l)
	if err != nil {
		return nil, err
	}
	t := d.base.clone()
	for _, r := range d.history[:d.acked] {
		t.apply(r)
	}
	why := t.diff(got)
	for n := d.acked; why != "" && n < len(d.history); n++ {
		t.apply(d.history[n])
		if t.diff(got) == "" {
			why = ""
		}
	}
	if why != "" {
		return nil, fmt.Errorf("%d of %d records are promised, but the log stands nowhere after that: (promised and found) %s", d.acked, len(d.history), why)
	}
	return got, nil
}

// lives runs a few lives of one log, each ended by a power cut, or now and then
// by Close, and each begun by recovery; break the log with mut. It returns what
// went wrong.
func lives(seed uint64, mut func(wal.Options) wal.Options) error {
	rng := rand.New(rand.NewPCG(seed, 0))
	m := vfs.NewMem(seed)
	t := twin{}
	var before *load
	for life := range 4 {
		c := &cutter{m: m, at: 1 + int64(rng.IntN(400)), seed: rng.Uint64()}
		clean := rng.IntN(5) == 0
		c.kill = rng.IntN(4) == 0
		if clean {
			c.at = 1 << 40
		}
		o := mut(small(vfs.NewFaulty(m, c.plan), "/data/wal"))
		o = wal.ConfirmAfter(o, []time.Duration{1, time.Hour}[rng.IntN(2)])
		o.Buffered = rng.IntN(2) == 0
		l, err := wal.Open(o)
		if err == nil && before != nil {
			if t, err = survived(l, before); err != nil {
				l.Close()
				return fmt.Errorf("life %d: %w", life, err)
			}
		}
		if err != nil {
			if errors.Is(err, vfs.ErrPowerCut) { // cut while it recovered: the promise stands
				m = c.remains()
				continue
			}
			return fmt.Errorf("life %d: %w", life, err)
		}
		d := newLoad(l, t, rng)
		err = d.run(20 + rng.IntN(150))
		if err != nil && !errors.Is(err, vfs.ErrPowerCut) && !errors.Is(err, wal.ErrFailed) {
			l.Close()
			return fmt.Errorf("life %d: %w", life, err)
		}
		if !clean && !c.kill {
			m = c.remains()
		}
		if cerr := l.Close(); clean && cerr != nil {
			return fmt.Errorf("life %d: close: %w", life, cerr)
		}
		before = d
		if clean {
			d.acked = len(d.history)
		}
		if err := damaged(m, d, rng, mut); err != nil {
			return fmt.Errorf("life %d, damaged: %w", life, err)
		}
	}
	return nil
}

// damaged turns over one bit that is durable by the log's own promise, on a
// copy of the disk. The log must notice, or hold everything all the same.
func damaged(m *vfs.Mem, d *load, rng *rand.Rand, mut func(wal.Options) wal.Options) error {
	m = m.Crash(0)
	name, pos, ok := wal.PromisedByte(m, "/data/wal", rng.Uint64())
	if !ok {
		return nil
	}
	flip(m, name, pos, byte(1)<<rng.IntN(8))
	l, err := wal.Open(mut(small(m, "/data/wal")))
	if err != nil {
		var de *wal.DamageError
		if !errors.As(err, &de) {
			return fmt.Errorf("open says %w, not where the damage is", err)
		}
		return nil
	}
	defer l.Close()
	if _, err := survived(l, d); err != nil {
		return fmt.Errorf("%s at %d: %w", name, pos, err)
	}
	return nil
}

func flip(fs vfs.FS, name string, pos int64, mask byte) {
	f, err := fs.Open(name)
	if err != nil {
		panic(err)
	}
	defer f.Close()
	var b [1]byte
	if _, err := f.ReadAt(b[:], pos); err != nil {
		panic(err)
	}
	b[0] ^= mask
	if _, err := f.WriteAt(b[:], pos); err != nil {
		panic(err)
	}
	if err := f.Datasync(); err != nil {
		panic(err)
	}
}

func whole(o wal.Options) wal.Options { return o }

// TestPowerCut cuts the power before any call to the disk, in several lives of
// one log: all that was promised is there, in order, and nothing that was not
// submitted, however often.
func TestPowerCut(t *testing.T) {
	if *crashSeed != 0 {
		must(t, lives(*crashSeed, whole))
		return
	}
	for seed := range uint64(*crashSeeds) {
		if err := lives(seed+1, whole); err != nil {
			t.Fatalf("seed %d: %v", seed+1, err)
		}
	}
}

// mutants are guarantees that are switched off, each with a seed of lives that
// notices. Crash tests of other packages break the log by these names, too.
var mutants = []struct {
	what, name string
	mut        func(wal.Options) wal.Options
	seed       uint64
}{
	{"an fdatasync that is left out", "no-sync", func(o wal.Options) wal.Options { return wal.Mutant(o, wal.MutNoSync) }, 2},
	{"damage below a promise, taken for a tear", "no-promise", func(o wal.Options) wal.Options { return wal.Mutant(o, wal.MutNoPromise) }, 2},
	{"a segment's name that is not synced", "no-dirsync", func(o wal.Options) wal.Options { return wal.Mutant(o, wal.MutNoDirSync) }, 8},
	{"a record of an older use of its segment", "no-seq", func(o wal.Options) wal.Options { return wal.Mutant(o, wal.MutNoSeq) }, 3},
}

const (
	// mutantGoes is how often a seed may be played: what it does depends on the
	// scheduler, too. Each of those above noticed in 600 of 600 goes.
	mutantGoes = 10
	// searchMax bounds the seeds that are tried for one mutant.
	searchMax = 200
)

// noticed plays a seed until it turns red and gives what it said, nil if it never
// does.
func noticed(seed uint64, mut func(wal.Options) wal.Options) error {
	for range mutantGoes {
		if err := lives(seed, mut); err != nil {
			return err
		}
	}
	return nil
}

// wantNoticed fails unless the seed turns red; it then says which one does.
func wantNoticed(t *testing.T, what string, seed uint64, mut func(wal.Options) wal.Options) {
	t.Helper()
	if err := noticed(seed, mut); err != nil {
		t.Logf("seed %d notices %s: %v", seed, what, err)
		return
	}
	for other := range uint64(searchMax) {
		if err := lives(other+1, mut); err != nil {
			t.Fatalf("seed %d does not notice %s any more: write down seed %d, which says: %v", seed, what, other+1, err)
		}
	}
	t.Fatalf("no seed up to %d notices %s", searchMax, what)
}

// TestMutants shows that the crash test sees each guarantee: without it the seed
// kept for it turns red, and with it the same seed passes.
func TestMutants(t *testing.T) {
	for _, m := range mutants {
		t.Run(m.name, func(t *testing.T) {
			wantNoticed(t, m.what, m.seed, m.mut)
			if err := lives(m.seed, whole); err != nil {
				t.Errorf("the real code fails there, too: %v", err)
			}
		})
	}
}
