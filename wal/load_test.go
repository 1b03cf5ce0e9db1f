package wal_test

import (
	"errors"
	"math/rand/v2"
	"sync"

	"dyno/wal"
)

// load drives a log with random valid submissions from one goroutine and keeps
// the account: every record in the order of submission, and how many of them
// are promised to outlive a power cut.
type load struct {
	rng  *rand.Rand
	l    *wal.Log
	base twin // before the first record of history
	now  twin // after the last

	history []wal.Record
	term    uint64
	slots   chan struct{} // bounds what is in flight

	mu     sync.Mutex
	acked  int // guarded by mu; this many records of history are promised
	failed error
}

func newLoad(l *wal.Log, base twin, rng *rand.Rand) *load {
	return &load{rng: rng, l: l, base: base, now: base.clone(), term: 1 + uint64(rng.IntN(1000)), slots: make(chan struct{}, 6)}
}

func (d *load) submit(sync bool, rs ...wal.Record) error {
	d.slots <- struct{}{}
	for _, r := range rs {
		d.now.apply(r)
	}
	d.history = append(d.history, rs...)
	upTo := len(d.history)
	err := d.l.Submit(&wal.Append{Records: rs, Sync: sync, Done: func(err error) {
		d.mu.Lock()
		if err == nil && sync {
			d.acked = max(d.acked, upTo)
		}
		if err != nil && d.failed == nil {
			d.failed = err
		}
		d.mu.Unlock()
		<-d.slots
	}})
	if err != nil {
		<-d.slots
	}
	return err
}

// drain waits for everything in flight.
func (d *load) drain() {
	for range cap(d.slots) {
		d.slots <- struct{}{}
	}
	for range cap(d.slots) {
		<-d.slots
	}
}

func (d *load) err() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.failed
}

// step makes one submission.
func (d *load) step() error {
	id := 1 + uint64(d.rng.IntN(4))
	first, last := uint64(1), uint64(0)
	if s := d.now[id]; s != nil {
		first, last = s.first, s.last()
	}
	switch k := d.rng.IntN(100); {
	case k < 60: // append, now and then over what is there
		at := last + 1
		if last >= first && d.rng.IntN(10) == 0 {
			at = first + uint64(d.rng.IntN(int(last-first+1)))
			d.term++
		}
		return d.submit(true, d.some(id, at)...)
	case k < 80:
		d.term += uint64(d.rng.IntN(2))
		r := wal.Record{Stream: id, Kind: wal.KindState, Term: d.term, Vote: uint64(d.rng.IntN(5)), Index: last}
		return d.submit(d.rng.IntN(2) == 0, r)
	case k < 86:
		return d.submit(true, wal.Record{Stream: id, Kind: wal.KindTruncateAfter, Index: first - 1 + uint64(d.rng.IntN(int(last-first+2)))})
	case k < 94:
		at := first + uint64(d.rng.IntN(int(last-first+2)))
		return d.submit(true, wal.Record{Stream: id, Kind: wal.KindTruncateBefore, Index: at, Term: d.now.termOf(id, at-1)})
	case k < 95:
		return d.submit(true, wal.Record{Stream: id, Kind: wal.KindRemove})
	case k < 96:
		return d.submit(true, wal.Record{Stream: id, Kind: wal.KindTruncateBefore, Index: last + 10, Term: d.term})
	default:
		d.drain() // lets the log go idle
		return nil
	}
}

// some makes a few entries, mostly of one size, so that recycled segments have
// old records where new ones could stand.
func (d *load) some(id, at uint64) []wal.Record {
	n := 1 + d.rng.IntN(4)
	size := 600
	if d.rng.IntN(8) == 0 {
		size = d.rng.IntN(9000)
		if n == 1 {
			size *= 4 // large enough to go ahead
		}
	}
	return entries(id, at, at+uint64(n), d.term, size)
}

// reclaim moves what the oldest segment holds, cuts some of it, and releases it.
func (d *load) reclaim() error {
	in, ok := d.l.Oldest()
	if !ok {
		return nil
	}
	for _, r := range in.Runs {
		if s := d.now[r.Stream]; s != nil && d.rng.IntN(3) == 0 && r.Last < s.last() {
			at := max(s.first, r.Last+1)
			if err := d.submit(true, wal.Record{Stream: r.Stream, Kind: wal.KindTruncateBefore, Index: at, Term: d.now.termOf(r.Stream, at-1)}); err != nil {
				return err
			}
		} else if err := d.l.Rewrite(r.Stream, r.First, r.Last); err != nil {
			return err
		}
	}
	if err := d.l.Release(in.Seq); err != nil && !errors.Is(err, wal.ErrLive) {
		return err // live: what was to be cut was overwritten meanwhile
	}
	return nil
}

// run makes n steps or stops at the first error, which a cut disk gives.
func (d *load) run(n int) error {
	for range n {
		err := d.step()
		if err == nil && d.l.Stats().Segments > 3 && d.rng.IntN(2) == 0 {
			err = d.reclaim()
		}
		if err == nil {
			err = d.err()
		}
		if err != nil {
			d.drain()
			return err
		}
	}
	d.drain()
	return d.err()
}
