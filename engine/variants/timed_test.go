package variants

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"dyno/engine/replica"
	"dyno/wal"
)

func pause(d time.Duration) { <-time.After(d) } // on the bubble's clock

// TestTheWriterWritesAHundredTimesASecond: that is its rule.
func TestTheWriterWritesAHundredTimesASecond(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := New(Config{Lock: LockReadWriter}, nil)
		pause(time.Second + WriterEvery/2)
		if n := p.Stats().Writes; n != 100 {
			t.Errorf("%d writes in a second", n)
		}
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	})
}

// TestGatherEndsByNumberOrByTime: the timer's batches have 100 requests or waited for
// 100 ms, the window's waited in any case.
func TestGatherEndsByNumberOrByTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, c := range []struct {
			kind Batch
			want string // batches after 250 requests at once, and after the window
			by   Stats
		}{
			{BatchTimer, "[100 100] [100 100 50]", Stats{Requests: 250, ByNumber: 2, ByTime: 1}},
			{BatchWindow, "[] [250]", Stats{Requests: 250, ByTime: 1}},
		} {
			g, h := &fakeGroup{}, &heard{}
			p := New(Config{Batch: c.kind}, nil)
			s := p.Seat(g)
			for range 250 {
				if err := s.Append(batch(h)); err != nil {
					t.Fatal(err)
				}
			}
			before := g.batches()
			pause(WindowWait - time.Millisecond)
			if now := g.batches(); now != before {
				t.Errorf("%s: %s became %s before the window ended", c.kind, before, now)
			}
			pause(2 * time.Millisecond)
			if got := before + " " + g.batches(); got != c.want {
				t.Errorf("%s: batches %s, want %s", c.kind, got, c.want)
			}
			if got := p.Stats(); got != c.by {
				t.Errorf("%s: counted %+v, want %+v", c.kind, got, c.by)
			}
			_ = s.Append(batch(h)) // the next batch has a window of its own
			pause(WindowWait - time.Millisecond)
			if got := p.Stats(); got.ByTime != c.by.ByTime {
				t.Errorf("%s: a second batch ended early", c.kind)
			}
			if err := p.Close(); err != nil {
				t.Error(err)
			}
			if got := g.batches(); !strings.HasSuffix(got, " 1]") {
				t.Errorf("%s: Close handed over no batch of 1: %s", c.kind, got)
			}
			if err := s.Append(batch(h)); !errors.Is(err, replica.ErrStopped) {
				t.Errorf("%s: after Close: %v", c.kind, err)
			}
		}
	})
}

// TestNestedCommitBeforeTheAnswer: one for each request that has succeeded, and the
// answer, with the lock, only after it.
func TestNestedCommitBeforeTheAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		commits := 0
		p := New(Config{Nested: true, Lock: LockPartition}, func(ctx context.Context) error {
			commits++
			select {
			case <-time.After(time.Second):
			case <-ctx.Done():
				return ctx.Err()
			}
			if commits == 2 {
				return replica.ErrTimeout
			}
			return nil
		})
		g, h := &fakeGroup{}, &heard{}
		s := p.Seat(g)
		one := func(err error) {
			if err := s.Append(batch(h)); err != nil {
				t.Fatal(err)
			}
			q := g.take()[0]
			q.Waiter.Proposed(q, err)
		}
		one(nil)
		pause(time.Second - time.Millisecond)
		if h.n.Load() != 0 || s.mu.TryLock() {
			t.Fatal("answered, or the lock let go, before the nested commit")
		}
		pause(2 * time.Millisecond)
		one(nil) // its commit fails
		pause(time.Second + time.Millisecond)
		if err, _ := h.err.Load().(error); h.n.Load() != 2 || !errors.Is(err, replica.ErrTimeout) {
			t.Errorf("%d answers, %v", h.n.Load(), err)
		}
		one(replica.ErrNotLeader) // nothing to commit
		if h.n.Load() != 3 || commits != 2 || p.Stats().Nested != 1 {
			t.Errorf("%d answers, %d commits, counted %+v", h.n.Load(), commits, p.Stats())
		}
		one(nil)
		if err := p.Close(); err != nil { // gives the one under way up
			t.Error(err)
		}
		if err, _ := h.err.Load().(error); h.n.Load() != 4 || !errors.Is(err, context.Canceled) {
			t.Errorf("after Close: %d answers, %v", h.n.Load(), err)
		}
	})
}

// slowLog takes a second for each append.
type slowLog struct {
	fails int // which append fails; 0: none

	mu    sync.Mutex // guards what follows
	parts []string
	done  []string
}

func (l *slowLog) told() (parts, done string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return fmt.Sprintf("%q", l.parts), fmt.Sprint(l.done)
}

func (l *slowLog) Submit(a *wal.Append) error {
	text := ""
	for _, r := range a.Records {
		text += fmt.Sprintf("%d:%d ", r.Kind, r.Index)
	}
	if !a.Sync || !a.Reserve {
		text += "without sync or reserve"
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.parts = append(l.parts, text)
	var err error
	if len(l.parts) == l.fails {
		err = wal.ErrFailed
	}
	time.AfterFunc(time.Second, func() { a.Done(err) })
	return nil
}

// TestEachEntryHasASync: one append for each entry, one after the other, the state
// with the entry before it; an error ends what it belongs to.
func TestEachEntryHasASync(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := &slowLog{fails: 5}
		e := NewEachSync(l)
		submit := func(name string, kinds ...wal.Kind) {
			a := &wal.Append{Sync: true, Reserve: true, Done: func(err error) {
				l.mu.Lock()
				defer l.mu.Unlock()
				l.done = append(l.done, fmt.Sprint(name, " ", err))
			}}
			for i, k := range kinds {
				a.Records = append(a.Records, wal.Record{Stream: 1, Kind: k, Index: uint64(i)})
			}
			if err := e.Submit(a); err != nil {
				t.Error(err)
			}
		}
		submit("a", wal.KindEntry, wal.KindEntry, wal.KindState)
		submit("b", wal.KindState, wal.KindEntry)
		pause(1500 * time.Millisecond)
		if parts, done := l.told(); parts != `["1:0 " "1:1 2:2 "]` || done != "[]" {
			t.Errorf("after one sync and a half: appends %s, done %s", parts, done)
		}
		submit("c", wal.KindEntry, wal.KindEntry, wal.KindEntry) // its second fails
		if err := e.Close(); err != nil {
			t.Error(err)
		}
		parts, done := l.told()
		if want := `["1:0 " "1:1 2:2 " "2:0 1:1 " "1:0 " "1:1 "]`; parts != want {
			t.Errorf("appends %s, want %s", parts, want)
		}
		if want := fmt.Sprintf("[a <nil> b <nil> c %v]", wal.ErrFailed); done != want {
			t.Errorf("done %s, want %s", done, want)
		}
	})
}
