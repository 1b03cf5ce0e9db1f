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
		l, err := wal.Open(o)
		ok(rt, err)
		defer func() { l.Close() }()
		twin := twin{}
		term := uint64(1)
		pick := func(rt *rapid.T) (id, first, last uint64) {
			id = rapid.Uint64Range(1, 3).Draw(rt, "stream")
			if s := twin[id]; s != nil {
				return id, s.first, s.last()
			}
			return id, 1, 0
		}
		apply := func(rt *rapid.T, rs ...wal.Record) {
			ok(rt, do(l, rs...))
			for _, r := range rs {
				twin.apply(r)
			}
		}
		termOf := func(id, index uint64) uint64 {
			s := twin[id]
			if s == nil {
				return 0
			}
			if index < s.first {
				return s.prevTerm
			}
			return s.entries[index-s.first].term
		}
		rt.Repeat(map[string]func(*rapid.T){
			"append": func(rt *rapid.T) {
				id, _, last := pick(rt)
				n := rapid.Uint64Range(1, 20).Draw(rt, "n")
				apply(rt, entries(id, last+1, last+1+n, term, rapid.IntRange(0, 4000).Draw(rt, "size"))...)
			},
			"overwrite": func(rt *rapid.T) {
				id, first, last := pick(rt)
				term++
				at := rapid.Uint64Range(first, last+1).Draw(rt, "at")
				apply(rt, entries(id, at, at+2, term, 100)...)
			},
			"cut after": func(rt *rapid.T) {
				id, first, last := pick(rt)
				apply(rt, wal.Record{Stream: id, Kind: wal.KindTruncateAfter, Index: rapid.Uint64Range(first-1, last+3).Draw(rt, "at")})
			},
			"cut before": func(rt *rapid.T) {
				id, first, last := pick(rt)
				at := rapid.Uint64Range(first, last+1).Draw(rt, "at")
				apply(rt, wal.Record{Stream: id, Kind: wal.KindTruncateBefore, Index: at, Term: termOf(id, at-1)})
			},
			"reset": func(rt *rapid.T) {
				id, _, last := pick(rt)
				apply(rt, wal.Record{Stream: id, Kind: wal.KindTruncateBefore, Index: last + 5, Term: term})
			},
			"state": func(rt *rapid.T) {
				id, _, last := pick(rt)
				term++
				apply(rt, wal.Record{Stream: id, Kind: wal.KindState, Term: term, Vote: 1, Index: last})
			},
			"remove": func(rt *rapid.T) {
				id, _, _ := pick(rt)
				apply(rt, wal.Record{Stream: id, Kind: wal.KindRemove}, entry(id, 1, term, 10))
			},
			"gone": func(rt *rapid.T) {
				id, _, _ := pick(rt)
				apply(rt, wal.Record{Stream: id, Kind: wal.KindRemove})
			},
			"rewrite": func(rt *rapid.T) {
				id, first, last := pick(rt)
				lo := rapid.Uint64Range(first, last+1).Draw(rt, "lo")
				ok(rt, l.Rewrite(id, lo, rapid.Uint64Range(lo, last+2).Draw(rt, "hi")))
			},
			"release": func(rt *rapid.T) {
				in, there := l.Oldest()
				if !there {
					rt.Skip("only the head")
				}
				for _, r := range in.Runs {
					ok(rt, l.Rewrite(r.Stream, r.First, r.Last))
				}
				if now, _ := l.Oldest(); now.Seq != in.Seq || len(now.Runs) > 0 {
					rt.Fatalf("segment %d holds %+v after all was rewritten", now.Seq, now.Runs)
				}
				ok(rt, l.Release(in.Seq))
			},
			"reopen": func(rt *rapid.T) {
				ok(rt, l.Close())
				l, err = wal.Open(o)
				ok(rt, err)
			},
			"crash": func(rt *rapid.T) { // idle: all is acknowledged
				c := m.Crash(rapid.Uint64().Draw(rt, "seed"))
				ok(rt, l.Close())
				m, o.FS = c, c
				l, err = wal.Open(o)
				ok(rt, err)
			},
			"": func(rt *rapid.T) {
				got, err := twinOf(l)
				ok(rt, err)
				if d := twin.diff(got); d != "" {
					rt.Fatalf("want and got: %s", d)
				}
			},
		})
	})
}

func ok(t *rapid.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
