package wal_test

import (
	"testing"

	"pgregory.net/rapid"

	"dyno/wal"
	"dyno/wal/vfs"
)

// TestTwin drives a log and a map with the same calls, reopening, rewriting and
// releasing in between, which the map does not need to know of.
func TestTwin(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		m := vfs.NewMem(1)
		o := small(m, "/wal")
		o.SpareSegments = rapid.IntRange(1, 3).Draw(rt, "spares")
		o.Buffered = rapid.Bool().Draw(rt, "buffered")
		p := &pair{m: m, o: o, twin: twin{}, term: 1}
		p.open(rt)
		defer func() { p.l.Close() }()
		rt.Repeat(rapid.StateMachineActions(p))
	})
}

// pair is the log and its twin; each exported method is one action.
type pair struct {
	m    *vfs.Mem
	o    wal.Options
	l    *wal.Log
	twin twin
	term uint64

	image *wal.Image // of l; nil until it is needed
}

func ok(t *rapid.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func (p *pair) open(t *rapid.T) {
	l, err := wal.Open(p.o)
	ok(t, err)
	p.l, p.image = l, nil
}

func (p *pair) pick(t *rapid.T) (id, first, last uint64) {
	id = rapid.Uint64Range(1, 3).Draw(t, "stream")
	if s := p.twin[id]; s != nil {
		return id, s.first, s.last()
	}
	return id, 1, 0
}

func (p *pair) apply(t *rapid.T, rs ...wal.Record) {
	ok(t, do(p.l, rs...))
	for _, r := range rs {
		p.twin.apply(r)
	}
}

func (p *pair) Append(t *rapid.T) {
	id, _, last := p.pick(t)
	n := rapid.Uint64Range(1, 20).Draw(t, "n")
	most := 4000
	if n == 1 {
		most = 40_000 // large enough to go ahead
	}
	p.apply(t, entries(id, last+1, last+1+n, p.term, rapid.IntRange(0, most).Draw(t, "size"))...)
}

func (p *pair) Overwrite(t *rapid.T) {
	id, first, last := p.pick(t)
	p.term++
	at := rapid.Uint64Range(first, last+1).Draw(t, "at")
	p.apply(t, entries(id, at, at+2, p.term, 100)...)
}

func (p *pair) CutAfter(t *rapid.T) {
	id, first, last := p.pick(t)
	p.apply(t, wal.Record{Stream: id, Kind: wal.KindTruncateAfter, Index: rapid.Uint64Range(first-1, last+3).Draw(t, "at")})
}

func (p *pair) CutBefore(t *rapid.T) {
	id, first, last := p.pick(t)
	at := rapid.Uint64Range(first, last+1).Draw(t, "at")
	p.apply(t, wal.Record{Stream: id, Kind: wal.KindTruncateBefore, Index: at, Term: p.twin.termOf(id, at-1)})
}

func (p *pair) Reset(t *rapid.T) {
	id, _, last := p.pick(t)
	p.apply(t, wal.Record{Stream: id, Kind: wal.KindTruncateBefore, Index: last + 5, Term: p.term})
}

func (p *pair) State(t *rapid.T) {
	id, _, last := p.pick(t)
	p.term++
	p.apply(t, wal.Record{Stream: id, Kind: wal.KindState, Term: p.term, Vote: 1, Index: last})
}

func (p *pair) Remove(t *rapid.T) {
	id, _, _ := p.pick(t)
	p.apply(t, wal.Record{Stream: id, Kind: wal.KindRemove})
}

func (p *pair) RemoveAndBegin(t *rapid.T) {
	id, _, _ := p.pick(t)
	p.apply(t, wal.Record{Stream: id, Kind: wal.KindRemove}, entry(id, 1, p.term, 10))
}

func (p *pair) Rewrite(t *rapid.T) {
	id, first, last := p.pick(t)
	lo := rapid.Uint64Range(first, last+1).Draw(t, "lo")
	ok(t, p.l.Rewrite(id, lo, rapid.Uint64Range(lo, last+2).Draw(t, "hi")))
}

func (p *pair) Release(t *rapid.T) {
	in, there := p.l.Oldest()
	if !there {
		t.Skip("only the head")
	}
	for _, r := range in.Runs {
		ok(t, p.l.Rewrite(r.Stream, r.First, r.Last))
	}
	if now, _ := p.l.Oldest(); now.Seq != in.Seq || len(now.Runs) > 0 {
		t.Fatalf("segment %d holds %+v after all was rewritten", now.Seq, now.Runs)
	}
	ok(t, p.l.Release(in.Seq))
}

func (p *pair) Reopen(t *rapid.T) {
	ok(t, p.l.Close())
	p.open(t)
}

// Crash cuts the power of an idle log: all is acknowledged.
func (p *pair) Crash(t *rapid.T) {
	c := p.m.Crash(rapid.Uint64().Draw(t, "seed"))
	ok(t, p.l.Close())
	p.m, p.o.FS = c, c
	p.open(t)
}

// Check compares the two after each action.
func (p *pair) Check(t *rapid.T) {
	got, err := twinOf(p.l)
	ok(t, err)
	if d := p.twin.diff(got); d != "" {
		t.Fatalf("want and got: %s", d)
	}
}
