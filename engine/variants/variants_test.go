package variants

import (
	"errors"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"dyno/engine/partition"
	"dyno/engine/replica"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestAnArmIsRefusedWithoutTheWord(t *testing.T) {
	arms := []Config{
		{Lock: LockRead}, {Lock: LockReadWriter}, {Lock: LockMutex}, {Lock: LockExclusive}, {Lock: LockPartition},
		{Batch: BatchSingle}, {Batch: BatchTimer}, {Batch: BatchWindow}, {Poll: Poll10ms}, {Sync: SyncEach}, {Nested: true}, {SyncWait: 5 * time.Millisecond},
	}
	for _, c := range arms {
		if err := c.Check(); !errors.Is(err, ErrRefused) {
			t.Errorf("%+v: %v", c, err)
		}
		if c.Shipped() {
			t.Errorf("%+v counts as shipped", c)
		}
		c.OnlyToMeasure = true
		if err := c.Check(); err != nil {
			t.Errorf("%+v: %v", c, err)
		}
	}
	for _, c := range []Config{{Lock: "rw"}, {Batch: "all"}, {Poll: "5ms"}, {Sync: "none"}, {SyncWait: -1}, {SyncWait: SyncWaitMax + 1}} {
		if c.OnlyToMeasure = true; !errors.Is(c.Check(), ErrRefused) {
			t.Errorf("%+v is no arm, and was not refused", c)
		}
	}
	for _, c := range []Config{{}, {OnlyToMeasure: true}} {
		if err := c.Check(); err != nil || !c.Shipped() || New(c, nil) != nil {
			t.Errorf("%+v: %v, shipped %v", c, err, c.Shipped())
		}
	}
	var none *Produce
	if none.Seat(nil) != nil || none.Stats() != (Stats{}) || none.Close() != nil {
		t.Error("without an arm there is something")
	}
}

// fakeGroup takes proposals; a test answers them.
type fakeGroup struct {
	inside func() // runs within Propose

	mu    sync.Mutex // guards what follows
	open  []*replica.Proposal
	lists []int // lengths of what ProposeAll brought
	fails error
}

func (g *fakeGroup) Propose(p *replica.Proposal) error {
	if g.inside != nil {
		g.inside()
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.fails == nil {
		g.open = append(g.open, p)
	}
	return g.fails
}

func (g *fakeGroup) ProposeAll(list []*replica.Proposal) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.open = append(g.open, list...)
	g.lists = append(g.lists, len(list))
}

// take gives what was proposed since it was asked last.
func (g *fakeGroup) take() (list []*replica.Proposal) {
	g.mu.Lock()
	defer g.mu.Unlock()
	list, g.open = g.open, nil
	return list
}

// await takes n proposals, or as many as there are once give says so.
func (g *fakeGroup) await(n int) (list []*replica.Proposal) {
	for len(list) < n {
		list = append(list, g.take()...)
		runtime.Gosched()
	}
	return list
}

// batches are the lengths of what came together.
func (g *fakeGroup) batches() string {
	g.mu.Lock()
	defer g.mu.Unlock()
	return fmt.Sprint(g.lists)
}

// heard counts answers.
type heard struct {
	n   atomic.Int64
	err atomic.Value
}

func (h *heard) Appended(a *partition.Append) {
	if a.Err != nil {
		h.err.Store(a.Err)
	}
	h.n.Add(1)
}

func batch(h partition.Reply) *partition.Append {
	a := &partition.Append{Reply: h}
	a.Wait = replica.WaitCommit
	return a
}

func arm(t *testing.T, c Config) *Produce {
	t.Helper()
	c.OnlyToMeasure = true
	p := New(c, nil)
	t.Cleanup(func() {
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	})
	return p
}

const several = 8

// Locks that are let go with the hand-over let all requests under way at once.
func TestLocksOfTheHandOver(t *testing.T) {
	for _, kind := range []Lock{LockRead, LockReadWriter, LockMutex} {
		g, h := &fakeGroup{}, &heard{}
		s := arm(t, Config{Lock: kind}).Seat(g)
		var wg sync.WaitGroup
		for range several {
			wg.Go(func() {
				if err := s.Append(batch(h)); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait() // nothing was answered yet
		for _, p := range g.take() {
			p.Waiter.Proposed(p, nil)
		}
		if h.n.Load() != several {
			t.Errorf("%s: %d of %d answers", kind, h.n.Load(), several)
		}
	}
}

// A read lock lets several hand over at once, a mutex one after the other.
func TestWhoHandsOverAtOnce(t *testing.T) {
	for kind, shared := range map[Lock]bool{LockRead: true, LockReadWriter: true, LockMutex: false} {
		var in, most atomic.Int64
		g := &fakeGroup{inside: func() {
			n := in.Add(1)
			for was := most.Load(); n > was && !most.CompareAndSwap(was, n); was = most.Load() {
			}
			for tries := 0; shared && most.Load() < 2 && tries < 1_000_000 || !shared && tries < 100; tries++ {
				runtime.Gosched() // until another one is there, or long enough for it to come
			}
			in.Add(-1)
		}}
		s := arm(t, Config{Lock: kind}).Seat(g)
		var wg sync.WaitGroup
		for range several {
			wg.Go(func() { _ = s.Append(batch(nil)) })
		}
		wg.Wait()
		if got := most.Load(); shared != (got > 1) {
			t.Errorf("%s: %d handed over at once", kind, got)
		}
		for _, p := range g.take() {
			p.Waiter.Proposed(p, nil)
		}
	}
}

// Locks that are held until the answer let one request under way: of the node, or of
// each partition.
func TestLocksHeldUntilTheAnswer(t *testing.T) {
	for kind, most := range map[Lock]int{LockExclusive: 1, LockPartition: 2} {
		g, h := &fakeGroup{}, &heard{}
		p := arm(t, Config{Lock: kind})
		seats := []*Seat{p.Seat(g), p.Seat(g)}
		var wg sync.WaitGroup
		for i := range 2 * several {
			wg.Go(func() {
				if err := seats[i%2].Append(batch(h)); err != nil {
					t.Error(err)
				}
			})
		}
		for left := 2 * several; left > 0; {
			list := g.await(most)
			for range 100 {
				runtime.Gosched() // time for others, which must not use it
			}
			if more := g.take(); len(list)+len(more) != most {
				t.Fatalf("%s: %d requests under way, want %d", kind, len(list)+len(more), most)
			}
			for _, p := range list {
				p.Waiter.Proposed(p, nil)
			}
			left -= len(list)
		}
		wg.Wait()
		if h.n.Load() != 2*several || p.Stats().Requests != 2*several {
			t.Errorf("%s: %d answers, counted %+v", kind, h.n.Load(), p.Stats())
		}
	}
}

// What the group refuses leaves no lock behind, and its waiter hears nothing.
func TestARefusalLetsTheLockGo(t *testing.T) {
	for _, kind := range []Lock{LockRead, LockReadWriter, LockMutex, LockExclusive, LockPartition} {
		g, h := &fakeGroup{fails: replica.ErrOverloaded}, &heard{}
		s := arm(t, Config{Lock: kind}).Seat(g)
		for range 3 {
			a := batch(h)
			if err := s.Append(a); !errors.Is(err, replica.ErrOverloaded) {
				t.Errorf("%s: %v", kind, err)
			}
			if a.Reply != partition.Reply(h) {
				t.Errorf("%s: the batch still has the arm's reply", kind)
			}
		}
		if h.n.Load() != 0 {
			t.Errorf("%s: %d answers to what was refused", kind, h.n.Load())
		}
	}
}
