package multiraft

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.etcd.io/raft/v3/raftpb"

	"dyno/engine/ids"
	"dyno/engine/replica"
	"dyno/engine/replica/replicatest"
	"dyno/wal"
	"dyno/wal/vfs"
)

func TestOpenIsIdempotentAndRemoveWipes(t *testing.T) {
	log := NewMemoryLog()
	m := single(t, log)
	g := open(t, m, 1, replicatest.NewMachine())
	want(t, propose(t, g, "x", replica.WaitCommit), nil)
	if again := open(t, m, 1, replicatest.NewMachine()); again != g || m.Group(1) != g {
		t.Fatal("opening an open group gave another one")
	}
	other := spec(1)
	other.Replica, other.Members = 2, []Member{{Replica: 2, Node: 1}}
	if _, err := m.Open(other, replicatest.NewMachine()); !errors.Is(err, ErrExists) {
		t.Fatalf("opening it as another replica: %v", err)
	}
	if err := m.Remove(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	if _, ok := log.Info(1); ok || m.Group(1) != nil || len(m.List()) != 0 {
		t.Fatal("something of the group is left")
	}
	want(t, propose(t, g, "late", replica.WaitCommit), replica.ErrStopped)
	if err := m.Remove(t.Context(), 1); !errors.Is(err, ErrNoGroup) {
		t.Fatalf("removing it again: %v", err)
	}
	// The same id starts from nothing.
	sm := replicatest.NewMachine()
	want(t, propose(t, open(t, m, 1, sm), "y", replica.WaitCommit), nil)
	if got := fmt.Sprint(sm.Data()); got != "[y]" {
		t.Fatalf("applied %s", got)
	}
}

func TestRemoveIsDurableBeforeItReturns(t *testing.T) {
	log := NewMemoryLog()
	m := single(t, log)
	g := open(t, m, 1, replicatest.NewMachine())
	want(t, propose(t, g, "x", replica.WaitCommit), nil)
	log.Hold()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := m.Remove(ctx, 1); !errors.Is(err, context.Canceled) {
		t.Fatalf("remove while the log holds it back: %v", err)
	}
	if _, err := m.Open(spec(1), replicatest.NewMachine()); !errors.Is(err, replica.ErrStopped) {
		t.Fatalf("open during the removal: %v", err)
	}
	log.Release(-1)
}

func TestOpenRefusesWhatDoesNotFit(t *testing.T) {
	m := single(t, NewMemoryLog())
	ahead := replicatest.NewMachine()
	if err := ahead.Apply([]replica.Entry{{Index: 1, Term: 1}}); err != nil {
		t.Fatal(err)
	}
	if _, err := m.Open(spec(1), ahead); !errors.Is(err, replica.ErrDamaged) {
		t.Fatalf("a state machine ahead of its log: %v", err)
	}
	if _, err := m.Open(Spec{Group: 1, Replica: 1}, replicatest.NewMachine()); err == nil {
		t.Fatal("opened a group without members")
	}
	open(t, m, 1, replicatest.NewMachine()) // the failures left nothing behind
}

func TestDamageStopsOneGroupOnly(t *testing.T) {
	heard := &eventLog{}
	m := single(t, NewMemoryLog(), func(c *Config) { c.Listener = heard; c.Workers = 1 })
	bad := replicatest.NewMachine()
	g, other := open(t, m, 1, bad), open(t, m, 2, replicatest.NewMachine())
	want(t, propose(t, g, "x", replica.WaitCommit), nil)
	bad.Do(func() { bad.Broken = errors.New("no") })
	want(t, propose(t, g, "y", replica.WaitCommit), replica.ErrDamaged)
	want(t, propose(t, g, "z", replica.WaitCommit), replica.ErrDamaged)
	want(t, propose(t, other, "x", replica.WaitCommit), nil)
	if h := m.Health(); h.Damaged != 1 || h.Leaders != 1 {
		t.Fatalf("health %+v", h)
	}
	if err := g.Status().Damage; !errors.Is(err, bad.Broken) {
		t.Fatalf("status says %v", err)
	}
	names := fmt.Sprint(heard.names())
	if names != "[became_leader leader_changed became_leader leader_changed replica_damaged]" {
		t.Fatalf("events %s", names)
	}
	if _, err := g.ReadIndex(t.Context()); !errors.Is(err, replica.ErrDamaged) {
		t.Fatalf("read index of a damaged group: %v", err)
	}
	if err := g.Compact(2); !errors.Is(err, replica.ErrDamaged) {
		t.Fatalf("compact of a damaged group: %v", err)
	}
}

func TestFullDiskRefusesProduceOnly(t *testing.T) {
	log := NewMemoryLog()
	m := single(t, log)
	sm := replicatest.NewMachine()
	g := open(t, m, 1, sm)
	want(t, propose(t, g, "x", replica.WaitCommit), nil)
	log.SetFull(true)
	p := &replica.Proposal{Data: []byte("y"), Wait: replica.WaitCommit, Waiter: replicatest.NewWaiter()}
	// The first may get as far as the worker, which tells everybody.
	if err := g.Propose(p); err == nil {
		want(t, p.Waiter.(*replicatest.Waiter), replica.ErrDiskFull)
	}
	if err := g.Propose(p); !errors.Is(err, replica.ErrDiskFull) {
		t.Fatalf("propose on a full disk: %v", err)
	}
	if entries, err := g.Read(1, 3, 1<<20); err != nil || len(entries) != 2 {
		t.Fatalf("read on a full disk: %d entries, %v", len(entries), err)
	}
	want(t, propose(t, openFull(t, m, log, 2), "x", replica.WaitCommit), nil)
	want(t, propose(t, g, "z", replica.WaitCommit), nil)
	if got := fmt.Sprint(sm.Data()); got != "[x z]" {
		t.Fatalf("applied %s", got)
	}
}

// fillingLog is full once something was appended after arm.
type fillingLog struct {
	*MemoryLog
	armed atomic.Bool
	bytes atomic.Int64 // appended since
}

func (l *fillingLog) Submit(a *wal.Append) error {
	if l.armed.Load() {
		l.SetFull(true)
		for i := range a.Records {
			l.bytes.Add(int64(len(a.Records[i].Data)))
		}
	}
	return l.MemoryLog.Submit(a)
}

// hold keeps the group's worker from taking its mailbox until it is let go.
func hold(t *testing.T, g *Group) (let func()) {
	t.Helper()
	held, gate := make(chan struct{}), make(chan struct{})
	go func() { _ = g.Call(t.Context(), func() { close(held); <-gate }) }()
	<-held
	return func() { close(gate) }
}

// A disk that gets full meets at most what one drain takes, however much waits: the
// rest of the proposals are refused, and the rest of a leader's entries dropped.
func TestDrainIsBounded(t *testing.T) {
	const each, most = 100, 250
	log := &fillingLog{MemoryLog: NewMemoryLog()}
	m := single(t, log, func(c *Config) { c.DrainBytesMax, c.Workers = most, 1 })
	var groups []*Group
	for id := range ids.GroupID(3) {
		groups = append(groups, open(t, m, id+1, replicatest.NewMachine()))
		want(t, propose(t, groups[id], "x", replica.WaitCommit), nil)
	}
	let := hold(t, groups[0])
	var waiters []*replicatest.Waiter
	for range 4 {
		for _, g := range groups {
			waiters = append(waiters, propose(t, g, strings.Repeat("y", each), replica.WaitCommit))
		}
	}
	log.armed.Store(true)
	let()
	stored := 0
	for _, w := range waiters {
		switch err := w.Err(); {
		case err == nil:
			stored++
		case !errors.Is(err, replica.ErrDiskFull):
			t.Errorf("answer %v", err)
		}
	}
	if stored != 3 || log.bytes.Load() > 2*most {
		t.Errorf("%d proposals were stored, %d bytes, want 3", stored, log.bytes.Load())
	}
	log.armed.Store(false)
	log.SetFull(false)
	want(t, propose(t, groups[2], "z", replica.WaitCommit), nil)
}

// What a drain leaves comes with the next ones, in order, without anybody's help.
func TestDrainsFollowEachOther(t *testing.T) {
	m := single(t, NewMemoryLog(), func(c *Config) { c.DrainBytesMax, c.Workers = 10, 1 })
	sm := replicatest.NewMachine()
	g := open(t, m, 1, sm)
	want(t, propose(t, g, "x", replica.WaitCommit), nil)
	let := hold(t, g)
	var last *replicatest.Waiter
	text := "[x"
	for i := range 50 {
		data := fmt.Sprintf("%06d", i)
		last, text = propose(t, g, data, replica.WaitCommit), text+" "+data
	}
	let()
	want(t, last, nil)
	if got := fmt.Sprint(sm.Data()); got != text+"]" {
		t.Errorf("applied %s", got)
	}
	if n := m.Stats().Appends; n < 25 {
		t.Errorf("%d appends, of which none takes more than two of 50", n)
	}
}

// Entries of a leader that one drain does not take are stepped by the next, in order.
func TestDrainsOfEntries(t *testing.T) {
	log := &fillingLog{MemoryLog: NewMemoryLog()}
	m := single(t, log, func(c *Config) { c.DrainBytesMax, c.Workers = 250, 1 })
	g, err := m.Open(Spec{Group: 1, Replica: 1, Members: []Member{{Replica: 1, Node: 1}, {Replica: 2, Node: 2}}}, replicatest.NewMachine())
	if err != nil {
		t.Fatal(err)
	}
	entries := func(from, to uint64) {
		for i := from; i <= to; i++ {
			g.w.box.message(g, &raftpb.Message{Type: raftpb.MsgApp, From: 2, To: 1, Term: 1, Index: i - 1, LogTerm: min(i-1, 1),
				Entries: []raftpb.Entry{{Term: 1, Index: i, Data: make([]byte, 100)}}})
		}
	}
	let := hold(t, g)
	entries(1, 10)
	let()
	if err := m.Quiet(t.Context()); err != nil {
		t.Fatal(err)
	}
	if s := g.Status(); s.Last != 10 {
		t.Fatalf("the log ends at %d, want 10", s.Last)
	}
	let = hold(t, g)
	entries(11, 20)
	log.armed.Store(true)
	let()
	for m.Stats().NoRoom < 7 && t.Context().Err() == nil { // nothing but the worker itself wakes it for them
		runtime.Gosched()
	}
	if s := g.Status(); s.Last != 13 || log.bytes.Load() > 500 {
		t.Errorf("the log ends at %d, %d bytes were appended to a full disk, want 13", s.Last, log.bytes.Load())
	}
}

// Messages that stay in the box because there are earlier ones wake the worker, which
// may have nothing else to do by then.
func TestMessagesThatStayWake(t *testing.T) {
	b := mailbox{wake: make(chan struct{}, 1), max: 1 << 20}
	b.message(nil, &raftpb.Message{Type: raftpb.MsgApp})
	<-b.wake
	if in := b.take(inbox{}, true); len(in.messages) > 0 {
		t.Fatalf("%d messages were taken", len(in.messages))
	}
	select {
	case <-b.wake:
	default:
		t.Error("nobody is woken for them")
	}
	if in := b.take(inbox{}, false); len(in.messages) != 1 || in.messageBytes == 0 {
		t.Errorf("%d messages of %d bytes", len(in.messages), in.messageBytes)
	}
}

// openFull opens a group while the disk is full: its election is Raft's own and
// finds room. Then there is room again.
func openFull(t *testing.T, m *Manager, log *MemoryLog, id ids.GroupID) *Group {
	g := open(t, m, id, replicatest.NewMachine())
	if _, err := g.ReadIndex(t.Context()); err != nil {
		t.Fatal(err)
	}
	log.SetFull(false)
	return g
}

func TestLimitsOfPropose(t *testing.T) {
	log := NewMemoryLog()
	m := single(t, log, func(c *Config) { c.MailboxBytesMax, c.EntryBytesMax = 10, 20 })
	g := open(t, m, 1, replicatest.NewMachine())
	big := &replica.Proposal{Data: make([]byte, 21)}
	if err := g.Propose(big); !errors.Is(err, ErrTooLarge) {
		t.Fatalf("too large: %v", err)
	}
	// The worker is kept busy, so the box fills.
	busy, free := make(chan struct{}), make(chan struct{})
	g.w.box.call(func() { close(busy); <-free })
	<-busy
	first := propose(t, g, "0123456789ab", replica.WaitCommit) // one always fits
	if err := g.Propose(&replica.Proposal{Data: []byte("x")}); !errors.Is(err, replica.ErrOverloaded) {
		t.Fatalf("full mailbox: %v", err)
	}
	close(free)
	want(t, first, nil)
	if n := m.Stats().Refused; n != 1 {
		t.Fatalf("%d refused, want 1", n)
	}
}

func TestQuietWaitsForAnswersAndCloseRefuses(t *testing.T) {
	log := NewMemoryLog()
	m := single(t, log)
	g := open(t, m, 1, replicatest.NewMachine())
	want(t, propose(t, g, "x", replica.WaitCommit), nil)
	log.Hold()
	w := propose(t, g, "y", replica.WaitCommit)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := m.Quiet(ctx); !errors.Is(err, context.Canceled) {
		t.Fatalf("quiet with an append held back: %v", err)
	}
	log.Release(-1)
	if err := m.Quiet(t.Context()); err != nil || !w.Answered() {
		t.Fatalf("quiet: %v, answered %v", err, w.Answered())
	}
	if err := g.Propose(&replica.Proposal{Data: []byte("z")}); !errors.Is(err, replica.ErrStopped) {
		t.Fatalf("propose after Quiet: %v", err)
	}
	for range 2 {
		if err := m.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := g.ReadIndex(t.Context()); !errors.Is(err, replica.ErrStopped) {
		t.Fatalf("read index after Close: %v", err)
	}
	if _, err := m.Open(spec(2), replicatest.NewMachine()); !errors.Is(err, replica.ErrStopped) {
		t.Fatalf("open after Close: %v", err)
	}
}

func TestCloseFailsWhatWaits(t *testing.T) {
	log := NewMemoryLog()
	m := single(t, log)
	g := open(t, m, 1, replicatest.NewMachine())
	want(t, propose(t, g, "x", replica.WaitCommit), nil)
	log.Hold()
	w := propose(t, g, "y", replica.WaitCommit)
	closed := make(chan error, 1)
	go func() { closed <- m.Close() }()
	want(t, w, replica.ErrStopped) // although the log still holds it back
	log.Release(-1)
	if err := <-closed; err != nil {
		t.Fatal(err)
	}
}

// A node of quiet sole voters does nothing at all as time passes.
func TestQuietSoleVotersAreNotWoken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := single(t, NewMemoryLog())
		for g := range ids.GroupID(100) {
			want(t, propose(t, open(t, m, g+1, replicatest.NewMachine()), "x", replica.WaitCommit), nil)
		}
		pause(time.Second)
		before := m.Stats()
		pause(time.Hour)
		if after := m.Stats(); after != before {
			t.Errorf("an idle hour: %+v, before %+v", after, before)
		}
		m.Close()
	})
}

func TestBatchesShareOneAppend(t *testing.T) {
	log := NewMemoryLog()
	m := single(t, log, func(c *Config) { c.Workers = 1 })
	var groups []*Group
	for g := range ids.GroupID(20) {
		groups = append(groups, open(t, m, g+1, replicatest.NewMachine()))
		want(t, propose(t, groups[g], "x", replica.WaitCommit), nil)
	}
	busy, free := make(chan struct{}), make(chan struct{})
	groups[0].w.box.call(func() { close(busy); <-free })
	<-busy
	syncs, before := log.Syncs(), m.Stats()
	var last []*replicatest.Waiter
	for range 5 {
		for _, g := range groups {
			last = append(last, propose(t, g, "y", replica.WaitCommit))
		}
	}
	close(free)
	for _, w := range last {
		want(t, w, nil)
	}
	after := m.Stats()
	if n := log.Syncs() - syncs; n != 1 {
		t.Errorf("%d appends for 100 proposals to 20 groups that came together, want 1", n)
	}
	if p, n := after.Proposals-before.Proposals, after.Proposed-before.Proposed; p != 20 || n != 100 {
		t.Errorf("%d messages for %d entries, want 20 for 100", p, n)
	}
}

// The whole way over the real log: open, propose, restart, remove.
func TestOverTheSharedLog(t *testing.T) {
	fs := vfs.NewMem(1)
	start := func() (*wal.Log, *Manager) {
		log, err := wal.Open(wal.Options{FS: fs, Dir: "wal", SegmentBytes: 1 << 20, SpareSegments: 1})
		if err != nil {
			t.Fatal(err)
		}
		return log, single(t, log, func(c *Config) { c.TailBytes = 1024 })
	}
	const groups, each = 5, 200
	for life := range 3 {
		log, m := start()
		for id := range ids.GroupID(groups) {
			sm := replicatest.NewMachine()
			g := open(t, m, id+1, sm)
			var all []*replicatest.Waiter
			for i := range each {
				all = append(all, propose(t, g, fmt.Sprint(life, "-", i), replica.Wait(1+i%2)))
			}
			all = append(all, propose(t, g, "end", replica.WaitCommit))
			for _, w := range all {
				want(t, w, nil)
			}
			data := sm.Data()
			if len(data) != (life+1)*(each+1) || data[len(data)-1] != "end" || data[each/2] != fmt.Sprint("0-", each/2) {
				t.Fatalf("life %d group %d: %d entries applied", life, id+1, len(data))
			}
			for lo, hi := ids.LogIndex(1), g.Status().Applied+1; lo < hi; {
				entries, err := g.Read(lo, hi, 4096)
				if err != nil || len(entries) == 0 || entries[0].Index != lo {
					t.Fatalf("read [%d, %d): %d entries, %v", lo, hi, len(entries), err)
				}
				lo += ids.LogIndex(len(entries))
			}
		}
		if err := m.Close(); err != nil {
			t.Fatal(err)
		}
		if err := log.Close(); err != nil {
			t.Fatal(err)
		}
	}
	log, m := start()
	open(t, m, 1, replicatest.NewMachine())
	if err := m.Remove(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	if _, ok := log.Info(1); ok {
		t.Fatal("the stream is still there")
	}
	m.Close()
	log.Close()
}

func TestConfigIsChecked(t *testing.T) {
	log := NewMemoryLog()
	for name, cfg := range map[string]Config{
		"no node":  {Log: log},
		"no log":   {Node: 1},
		"workers":  {Node: 1, Log: log, Workers: -1},
		"tick":     {Node: 1, Log: log, Tick: 1},
		"negative": {Node: 1, Log: log, TailBytes: -1},
	} {
		if m, err := New(cfg); err == nil {
			m.Close()
			t.Errorf("%s: accepted", name)
		}
	}
}
