package enginetest

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing/synctest"

	"dyno/engine/ids"
	"dyno/engine/multiraft"
	"dyno/engine/partition"
	"dyno/engine/replica"
	"dyno/engine/store"
	"dyno/wal"
)

// With Config.Files a node keeps the oldest entries of a partition in files
// (engine/store), as a broker does: ToFiles brings what is applied there and lets
// the log go of it, DeleteRecords and Retain drop what is oldest, and a replica
// that lacks what is gone is given a snapshot. What writes files runs on
// goroutines of its own and waits at the node's gate before each piece of work,
// so that it happens when the test says so.

// gate holds the goroutines of one node that write files.
type gate struct {
	mu      sync.Mutex
	waiting []*turn
	shut    error
}

// turn is one goroutine that waits.
type turn struct {
	p  int        // the partition it works for
	ok chan error // capacity 1
}

// await returns when the test lets the caller go on, or with an error when the
// node is down.
func (g *gate) await(p int) error {
	g.mu.Lock()
	if g.shut != nil {
		defer g.mu.Unlock()
		return g.shut
	}
	t := &turn{p, make(chan error, 1)}
	g.waiting = append(g.waiting, t)
	g.mu.Unlock()
	return <-t.ok
}

// grant lets one goroutine go on whose partition is free, the lowest first.
func (g *gate) grant(busy func(p int) bool) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	slices.SortFunc(g.waiting, func(a, b *turn) int { return a.p - b.p })
	for i, t := range g.waiting {
		if !busy(t.p) {
			g.waiting = slices.Delete(g.waiting, i, i+1)
			t.ok <- nil
			return true
		}
	}
	return false
}

// close lets all go with an error.
func (g *gate) close(err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.shut = err
	for _, t := range g.waiting {
		t.ok <- err
	}
	g.waiting = nil
}

// openFiles opens a partition's files, and cuts the log behind them where a
// snapshot was durable and the log not yet told.
func (n *Node) openFiles(p int) (*store.Log, error) {
	atLeast := ids.LogIndex(0)
	info, ok := n.store.Info(uint64(group(p)))
	if ok && info.First > 0 {
		atLeast = ids.LogIndex(info.First) - 1
	}
	files, err := store.Open(store.Options{
		FS: n.fileFS, Dir: filesDir(p), FileBytes: n.c.cfg.FileBytes, AtLeast: atLeast,
	})
	if err != nil {
		return nil, err
	}
	at, _ := files.End()
	if at == 0 {
		return files, nil
	}
	term, err := files.Term(at)
	if err != nil {
		return nil, err
	}
	records, err := multiraft.Realign(n.store.Log, group(p), at, term)
	if err != nil || len(records) == 0 {
		return files, err
	}
	n.c.note("cut  %d: p%d begins behind its files, at %d", n.id, p, at+1)
	return files, n.append(records...)
}

func filesDir(p int) string { return fmt.Sprintf("p%d", p) }

// Grant lets one goroutine that writes files go on, and says whether one did. A
// snapshot waits while its partition is moved.
func (n *Node) Grant() bool {
	if !n.up || !n.gate.grant(func(p int) bool { return p < moverTurn && n.moving[p] }) {
		return false
	}
	n.c.settle()
	return true
}

// moverTurn is added to the partition in a mover's turns: snapshots go first.
const moverTurn = 1000

// ToFiles begins to bring what a partition has applied into its files. Each step
// waits for Grant, and the last one for an append. It says whether it began:
// there is one mover a node.
func (n *Node) ToFiles(p int) bool {
	if !n.up || n.mover || n.parts[p] == nil {
		return false
	}
	n.mover, n.moving[p] = true, true
	m := n.parts[p]
	n.movers.Go(func() {
		err := n.toFiles(m)
		n.c.mu.Lock()
		defer n.c.mu.Unlock()
		n.mover, n.moving[p] = false, false
		if err != nil && n.up && !m.gone.Load() {
			n.c.violation("node %d: p%d to files: %v", n.id, p, err)
		}
	})
	n.c.settle()
	return true
}

func (n *Node) toFiles(m *machine) error {
	if err := n.gate.await(moverTurn + m.p); err != nil {
		return err
	}
	last := m.group.Status().Applied
	if m.files.Last() < last {
		if err := n.copy(m, last); err != nil {
			return errors.Join(err, m.files.Discard())
		}
		m.Moved(last)
		n.c.note("file %d: p%d up to %d", n.id, m.p, last)
	}
	return m.group.Compact(last + 1)
}

// copy brings entries up to last into the files.
func (n *Node) copy(m *machine, last ids.LogIndex) error {
	for next := m.files.Last() + 1; next <= last; {
		list, err := n.store.Read(uint64(group(m.p)), uint64(next), uint64(last)+1, 4<<10)
		if err != nil {
			return fmt.Errorf("read from %d: %w", next, err)
		}
		out := make([]store.Entry, len(list))
		for i, r := range list {
			out[i] = store.Entry{Index: ids.LogIndex(r.Index), Term: ids.Term(r.Term), Type: r.Type, Data: r.Data}
		}
		if err := m.files.Append(out); err != nil {
			return err
		}
		next = ids.LogIndex(list[len(list)-1].Index) + 1
	}
	state := m.State()
	return m.files.Checkpoint(m.group.Members().Pack(state))
}

// Reclaim gives the log's oldest segment up; entries that are still in it are
// rewritten to its head. It says whether there was one.
func (n *Node) Reclaim() bool {
	if !n.up || n.mover {
		return false
	}
	seg, ok := n.store.Oldest()
	if !ok {
		return false
	}
	for _, run := range seg.Runs {
		if err := n.store.Rewrite(run.Stream, run.First, run.Last); err != nil {
			n.c.Violation("node %d: rewrite stream %d [%d, %d]: %v", n.id, run.Stream, run.First, run.Last, err)
		}
	}
	if err := n.store.Log.Release(seg.Seq); err != nil && !errors.Is(err, wal.ErrLive) {
		n.c.Violation("node %d: release segment %d: %v", n.id, seg.Seq, err)
	}
	n.c.note("free %d: segment %d", n.id, seg.Seq)
	n.c.settle()
	return true
}

// Retain deletes the files of a partition that lie below its log start.
func (n *Node) Retain(p int) bool {
	if !n.up || n.parts[p] == nil || n.moving[p] || n.gate.waits(p) {
		return false
	}
	freed, err := n.parts[p].files.TruncateBefore(n.parts[p].Offsets().LogStart)
	if err != nil {
		n.c.Violation("node %d: retain p%d: %v", n.id, p, err)
	}
	n.c.note("drop %d: p%d %d bytes, first is %d", n.id, p, freed, n.parts[p].files.First())
	synctest.Wait()
	return freed > 0
}

func (g *gate) waits(p int) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return slices.ContainsFunc(g.waiting, func(t *turn) bool { return t.p == p })
}

// DeleteRecords asks this node, which should lead, to move the log start up.
// Nobody waits for the outcome: Apply tells.
func (n *Node) DeleteRecords(p int, offset ids.Offset) error {
	if !n.up || n.parts[p] == nil {
		return ErrNoNode
	}
	n.c.note("del  %d: p%d below %d", n.id, p, offset)
	err := n.parts[p].group.Propose(&replica.Proposal{Data: partition.LogStartCommand(offset), Reserve: true})
	n.c.settle()
	return err
}

// cold shows a partition's files to its group.
type cold struct {
	*store.Log
	p int
}

// First implements multiraft.Cold.
func (c cold) First() ids.LogIndex {
	if first := c.Log.First(); first <= c.Last() {
		return first
	}
	return 0
}

// Term implements multiraft.Cold.
func (c cold) Term(i ids.LogIndex) (ids.Term, error) {
	t, err := c.Log.Term(i)
	return t, gone(err)
}

// Entries implements multiraft.Cold.
func (c cold) Entries(lo, hi ids.LogIndex, maxBytes int64) ([]wal.Record, error) {
	list, err := c.Log.Entries(lo, hi, maxBytes)
	out := make([]wal.Record, len(list))
	for i, e := range list {
		out[i] = wal.Record{
			Stream: uint64(group(c.p)), Kind: wal.KindEntry, Type: e.Type, Index: uint64(e.Index), Term: uint64(e.Term), Data: e.Data,
		}
	}
	return out, gone(err)
}

func gone(err error) error {
	if errors.Is(err, store.ErrCompacted) {
		return replica.ErrCompacted
	}
	return err
}

// snapshots implements multiraft.Snapshots: where the files begin, and the state
// beside them.
type snapshots struct{ m *machine }

const endBytes = 8 // the offset where the files begin

// Take implements multiraft.Snapshots.
func (s snapshots) Take() (replica.Snapshot, error) {
	before, _ := s.m.files.Bounds()
	state := binary.LittleEndian.AppendUint64(nil, uint64(before.End))
	return replica.Snapshot{Index: before.Index, Term: before.Term, State: append(state, s.m.State()...)}, nil
}

// Install implements multiraft.Snapshots.
func (s snapshots) Install(snap replica.Snapshot) error {
	n, p := s.m.n, s.m.p
	n.c.note("snap %d: p%d is given a snapshot at %d/%d", n.id, p, snap.Index, snap.Term)
	if err := n.gate.await(p); err != nil {
		return err
	}
	if err := s.m.files.Discard(); err != nil {
		return err
	}
	end := ids.Offset(binary.LittleEndian.Uint64(snap.State))
	err := s.m.files.TruncateAll(store.Boundary{Index: snap.Index, Term: snap.Term, End: end}, snap.Members.Pack(snap.State[endBytes:]))
	n.c.mu.Lock()
	n.c.ledger.snapshots++
	n.c.mu.Unlock()
	return err
}

// Restore implements replica.StateMachine.
func (m *machine) Restore(state []byte) error {
	if err := m.Partition.Restore(state[endBytes:]); err != nil {
		return err
	}
	m.n.c.began(m)
	return nil
}
