package store

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"testing"

	"pgregory.net/rapid"

	"dyno/engine/ids"
	"dyno/wal/vfs"
)

// game is a log beside its model.
type game struct {
	opt Options
	l   *Log
	m   *model
	ms  int64
}

// TestModel runs random operations, reopening included, against the dumb twin.
func TestModel(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		cache := NewCache(rapid.IntRange(1, 3).Draw(rt, "places"))
		g := &game{m: &model{}, ms: 1000, opt: Options{FS: vfs.NewMem(1), Dir: "p", Cache: cache,
			FileBytes: rapid.Int64Range(200, 3000).Draw(rt, "fileBytes")}}
		var err error
		if g.l, err = Open(g.opt); err != nil {
			rt.Fatal(err)
		}
		rt.Repeat(map[string]func(*rapid.T){
			"append": g.append, "checkpoint": g.checkpoint, "truncate": g.truncate,
			"truncateAll": g.truncateAll, "reopen": g.reopen, "": g.check,
		})
		if err := g.l.Close(); err != nil {
			rt.Fatal(err)
		}
		if s := cache.Stats(); s.Open != 0 {
			rt.Fatalf("%d places open after Close", s.Open)
		}
	})
}

func (g *game) append(rt *rapid.T) {
	var es []Entry
	for range rapid.IntRange(1, 20).Draw(rt, "n") {
		g.ms += rapid.Int64Range(-50, 100).Draw(rt, "ms")
		es = append(es, g.m.next(rapid.SampledFrom([]int{0, 1, 1, 1, 1, 2, 3}).Draw(rt, "kind"),
			rapid.IntRange(0, 9).Draw(rt, "term") == 0, rapid.IntRange(1, 5).Draw(rt, "records"), g.ms,
			rapid.IntRange(61, 400).Draw(rt, "size")))
	}
	if err := g.l.Append(es); err != nil {
		rt.Fatal(err)
	}
}

func (g *game) checkpoint(rt *rapid.T) {
	g.m.state = rapid.SliceOfN(rapid.Byte(), 0, 30).Draw(rt, "state")
	if err := g.l.Checkpoint(g.m.state); err != nil {
		rt.Fatal(err)
	}
	g.m.staged = 0
}

func (g *game) truncate(rt *rapid.T) {
	if g.m.staged > 0 {
		return
	}
	to := ids.Offset(rapid.Int64Range(0, int64(g.m.last().End)+3).Draw(rt, "offset"))
	if _, err := g.l.TruncateBefore(to); err != nil {
		rt.Fatal(err)
	}
	before, _ := g.l.Bounds()
	if before.End > to && before != g.m.before {
		rt.Fatalf("truncating before %d left %+v", to, before)
	}
	if err := g.m.cutTo(before); err != nil {
		rt.Fatal(err)
	}
	if files := g.l.Files(); len(files) > 0 && files[0].End <= to && files[0].Last >= files[0].First {
		rt.Fatalf("truncating before %d left %+v", to, files[0])
	}
}

func (g *game) truncateAll(rt *rapid.T) {
	if g.m.staged > 0 || rapid.IntRange(0, 3).Draw(rt, "do") > 0 {
		return
	}
	b := g.m.last()
	if n := rapid.IntRange(0, 5).Draw(rt, "index"); n > 0 {
		b.Index += ids.LogIndex(n)
		b.End += ids.Offset(rapid.IntRange(0, 5).Draw(rt, "offset"))
	}
	g.m = &model{before: b, state: []byte("snapshot")}
	if err := g.l.TruncateAll(b, g.m.state); err != nil {
		rt.Fatal(err)
	}
}

func (g *game) reopen(rt *rapid.T) {
	if err := g.l.Close(); err != nil {
		rt.Fatal(err)
	}
	g.m = g.m.checkpointed()
	var err error
	if g.l, err = Open(g.opt); err != nil {
		rt.Fatal(err)
	}
}

func (g *game) check(rt *rapid.T) {
	c := g.m.checkpointed()
	if err := firstError(c.check(g.l), c.checkEpochs(g.l)); err != nil {
		rt.Fatal(err)
	}
	from := ids.Offset(rapid.Int64Range(0, int64(c.last().End)+1).Draw(rt, "from"))
	if err := c.checkTimes(g.l, from, g.ms+rapid.Int64Range(-300, 10).Draw(rt, "at")); err != nil {
		rt.Fatal(err)
	}
	if _, err := g.l.Scrub(context.Background(), 0); err != nil {
		rt.Fatal(err)
	}
}

// checkTimes compares ByTime and MaxTime with a plain search.
func (m *model) checkTimes(l *Log, from ids.Offset, ms int64) error {
	var byTime, maxTime []byte
	at, best := m.before.End, int64(noTime)
	for _, b := range m.batches() {
		end := batchEnd(b, at)
		max := int64(binary.BigEndian.Uint64(b[posMaxTime:]))
		if end > from && byTime == nil && max >= ms {
			byTime = b
		}
		if end > from && max > best {
			best, maxTime = max, b
		}
		at = end
	}
	if got, err := l.ByTime(ms, from); err != nil || !bytes.Equal(got, byTime) {
		return fmt.Errorf("by time %d from %d: differs, %v", ms, from, err)
	}
	if got, err := l.MaxTime(from); err != nil || !bytes.Equal(got, maxTime) {
		return fmt.Errorf("max time from %d: differs, %v", from, err)
	}
	return nil
}

// checkEpochs compares EpochStarts with the first batch of each term.
func (m *model) checkEpochs(l *Log) error {
	var want []EpochStart
	at := m.before
	for i := range m.entries {
		e := &m.entries[i]
		if n := len(want); e.isBatch() && (n == 0 || want[n-1].Term != e.Term) {
			want = append(want, EpochStart{e.Term, at.End})
		}
		at = m.step(at, e)
	}
	if got := l.EpochStarts(); fmt.Sprint(got) != fmt.Sprint(want) {
		return fmt.Errorf("epochs %v, want %v", got, want)
	}
	return nil
}
