package multiraft

import (
	"fmt"
	"sync/atomic"
	"testing"

	"dyno/engine/ids"
	"dyno/engine/replica"
	"dyno/wal"
)

// instantLog makes everything durable at once and keeps nothing: what a
// benchmark over it measures is consensus alone. Reads must hit the tail.
type instantLog struct{}

func (instantLog) Submit(a *wal.Append) error { a.Done(nil); return nil }
func (instantLog) Read(uint64, uint64, uint64, int64) ([]wal.Record, error) {
	return nil, wal.ErrUnavailable
}
func (instantLog) Term(uint64, uint64) (uint64, error) { return 0, wal.ErrUnavailable }
func (instantLog) Info(uint64) (wal.Info, bool)        { return wal.Info{}, false }
func (instantLog) Full() bool                          { return false }

// counter is the cheapest state machine there is.
type counter struct{ applied ids.LogIndex }

func (c *counter) Stamp(ids.Term, int64, *replica.Proposal) error { return nil }
func (c *counter) Unstamp(int)                                    {}
func (c *counter) Lead(ids.Term)                                  {}
func (c *counter) Restore([]byte) error                           { return nil }
func (c *counter) Follow()                                        {}
func (c *counter) Applied() ids.LogIndex                          { return c.applied }
func (c *counter) Apply(entries []replica.Entry) error {
	c.applied = entries[len(entries)-1].Index
	return nil
}

// barrier is a waiter for many proposals.
type barrier struct {
	left atomic.Int64
	done chan struct{} // capacity 1
}

func (b *barrier) Proposed(_ *replica.Proposal, err error) {
	if err != nil {
		panic(err)
	}
	if b.left.Add(-1) == 0 {
		b.done <- struct{}{}
	}
}

// inline gives a manager whose one worker is not running: the benchmark does
// its drains itself, so that a drain has exactly the size asked for and no
// scheduler is in the way.
func inline(tb testing.TB) (*worker, *Group) {
	m, err := New(Config{Node: 1, Log: instantLog{}, Workers: 1, TailBytes: 1 << 20})
	if err != nil {
		tb.Fatal(err)
	}
	if err := m.Close(); err != nil {
		tb.Fatal(err)
	}
	w := m.newWorker()
	w.current = w.newBatch()
	m.workers[0], m.closed = w, false
	m.quiet.Store(false)
	g, err := m.Open(spec(1), &counter{})
	if err != nil {
		tb.Fatal(err)
	}
	w.drainAll()
	return w, g
}

func (w *worker) drainAll() {
	for w.box.filled {
		<-w.box.wake
		w.in = w.box.take(w.in, false)
		w.drain(&w.in)
		w.in.reset()
	}
}

func proposeDrain(w *worker, g *Group, b *barrier, list []replica.Proposal) {
	b.left.Store(int64(len(list)))
	for i := range list {
		p := &list[i]
		*p = replica.Proposal{Data: p.Data, Wait: replica.WaitCommit, Waiter: b}
		if err := g.Propose(p); err != nil {
			panic(err)
		}
	}
	w.drainAll()
	<-b.done
}

func drainOf(n int) []replica.Proposal {
	list := make([]replica.Proposal, n)
	for i := range list {
		list[i].Data = make([]byte, 1024)
	}
	return list
}

func BenchmarkProposeDrain(b *testing.B) {
	for _, n := range []int{1, 8, 64, 512} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			w, g := inline(b)
			bar := &barrier{done: make(chan struct{}, 1)}
			list := drainOf(n)
			b.ReportAllocs()
			for i := 0; i < b.N; i += n { // b.N counts proposals
				proposeDrain(w, g, bar, list)
			}
		})
	}
}

// The whole way with goroutines, one proposal in flight: two wake-ups each.
func BenchmarkProposeRoundTrip(b *testing.B) {
	m := single(b, instantLog{}, func(c *Config) { c.TailBytes = 1 << 20 })
	g := open(b, m, 1, &counter{})
	bar := &barrier{done: make(chan struct{}, 1)}
	p := drainOf(1)[0]
	b.ReportAllocs()
	for b.Loop() {
		bar.left.Store(1)
		p = replica.Proposal{Data: p.Data, Wait: replica.WaitCommit, Waiter: bar}
		if err := g.Propose(&p); err != nil {
			b.Fatal(err)
		}
		<-bar.done
	}
}

// Raft's own seven allocations per drain are all there are: the Proposal itself
// is its maker's.
func TestAllocationsPerProposal(t *testing.T) {
	for n, most := range map[int]float64{8: 1, 64: 0.25} {
		w, g := inline(t)
		bar := &barrier{done: make(chan struct{}, 1)}
		list := drainOf(n)
		for range 2000 { // until the tail evicts as it fills
			proposeDrain(w, g, bar, list)
		}
		got := testing.AllocsPerRun(500, func() { proposeDrain(w, g, bar, list) }) / float64(n)
		if got > most {
			t.Errorf("drains of %d: %.2f allocations per proposal, at most %.2f", n, got, most)
		}
	}
}
