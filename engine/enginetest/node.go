package enginetest

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing/synctest"
	"time"

	"dyno/engine/events"
	"dyno/engine/ids"
	"dyno/engine/metadata"
	"dyno/engine/multiraft"
	"dyno/engine/partition"
	"dyno/engine/replica"
	"dyno/engine/store"
	"dyno/engine/transport"
	"dyno/wal"
	"dyno/wal/vfs"
)

// Node is one node of a Cluster. It has lives: Start begins one on what the
// disk holds, Stop, Crash and PowerCut end it.
type Node struct {
	c    *Cluster
	id   ids.NodeID
	mem  *vfs.Mem // the log's disk; another one after each power cut
	disk *vfs.Mem // that of the partitions' files, likewise
	life int
	up   bool
	slow bool // appends wait for Pass although the cluster is not ByHand; until the next Start

	rate float64 // of its clock, in true seconds; see drift

	wiped int                   // how often its disks were taken away
	has   map[int]ids.ReplicaID // whose log is on the disk, by partition

	// Of this life; store stays for a look at what the last one had durably.
	power   *power
	store   *heldLog
	wire    *wire
	handler transport.Handler // the manager's
	mgr     *multiraft.Manager
	parts   map[int]*machine // by partition
	image   *metadata.Image  // as it has seen it
	leaving map[int]*machine // replicas that are being removed, likewise

	// Of this life, with Config.Files.
	fileFS vfs.FS
	gate   *gate
	movers sync.WaitGroup
	mover  bool         // one runs; it and moving change when all is quiet, or under Cluster.mu
	moving map[int]bool // partitions whose files a mover writes
}

// forEver is longer than any simulation lasts, and a small multiple of it still
// is a Duration.
const forEver = 10 * 365 * 24 * time.Hour

func newNode(c *Cluster, id ids.NodeID) *Node {
	n := &Node{c: c, id: id, rate: drift(c.cfg.Seed, id), has: map[int]ids.ReplicaID{}}
	n.newDisks(c.cfg.Seed<<8 | uint64(id))
	return n
}

// drift is the rate of a node's clock: as fast or as slow as it may be, or right, and
// different for the nodes of a cluster.
func drift(seed uint64, id ids.NodeID) float64 {
	return 1 + replica.LeaseDriftMax*float64(int((seed>>2+uint64(id))%3)-1)
}

// clock is the node's monotonic clock. It goes on while the node is down.
func (n *Node) clock() time.Duration {
	return time.Duration(n.rate * float64(time.Since(n.c.born)))
}

func (n *Node) newDisks(seed uint64) { n.mem, n.disk = vfs.NewMem(seed), vfs.NewMem(^seed) }

// ID is the node's id, from 1.
func (n *Node) ID() ids.NodeID { return n.id }

// Up says whether the node runs.
func (n *Node) Up() bool { return n.up }

// Start begins a life on what the disk holds. What cannot start is a violation,
// and the node stays down.
func (n *Node) Start() {
	n.life++
	n.slow = false
	n.mem.SetRoom(plenty)
	n.c.wait(time.Microsecond) // a start is told from others by its time
	n.c.note("start %d", n.id)
	if err := n.start(); err != nil {
		n.c.Violation("node %d does not start: %v", n.id, err)
	}
	n.c.settle()
}

func (n *Node) start() error {
	n.power = &power{}
	n.fileFS, n.gate, n.mover, n.moving = vfs.NewFaulty(n.disk, n.power.plan), &gate{}, false, map[int]bool{}
	log, err := wal.Open(wal.Options{
		FS: vfs.NewFaulty(n.mem, n.power.plan), Dir: "wal", SegmentBytes: n.c.cfg.SegmentBytes,
		SpareSegments: 1, WriteBytesMax: 64 << 10,
	})
	if err != nil {
		return err
	}
	synctest.Wait() // the pool has made its segments
	n.store = &heldLog{Log: log, c: n.c}
	n.wire = &wire{Transport: n.c.net.Node(n.id), n: n}
	n.mgr, err = multiraft.New(multiraft.Config{
		Node: n.id, Log: n.store, Transport: n.wire, Listener: listener{n}, Workers: 1, Tick: forEver,
		Replica: n.c.cfg.Replica, TailBytes: n.c.cfg.TailBytes, NowMS: n.c.nowMS.Load, Clock: n.clock,
	})
	if err != nil {
		return errors.Join(err, log.Close())
	}
	n.up, n.parts, n.leaving, n.image = true, map[int]*machine{}, map[int]*machine{}, n.c.meta.Image()
	for p := range n.c.cfg.Partitions {
		if id := n.has[p]; id != 0 && id != placedIn(n.image, p).On(n.id) {
			n.c.passes(n, p)
		}
	}
	if err := n.sweep(); err != nil {
		return err
	}
	for p := range n.c.cfg.Partitions {
		if placedIn(n.image, p).On(n.id) == 0 {
			continue
		}
		if err := n.open(p); err != nil {
			return err
		}
		synctest.Wait()
	}
	return nil
}

// open starts this node's replica of a partition.
func (n *Node) open(p int) error {
	part := placedIn(n.image, p)
	mach := &machine{n: n, p: p, id: part.On(n.id)}
	cfg := partition.Config{Settings: partition.Settings{RetentionMS: -1, RetentionBytes: -1}}
	spec := multiraft.Spec{Group: group(p), Replica: mach.id, Members: members(part.Replicas), Promise: n.c.cfg.Promise}
	if n.c.cfg.Files {
		files, err := n.openFiles(p)
		if err != nil {
			return err
		}
		state, err := files.State()
		if err != nil {
			return err
		}
		if spec.Conf, cfg.State, err = replica.UnpackMembers(state); err != nil {
			return err
		}
		mach.files, cfg.Cold, spec.Cold, spec.Snapshots = files, files, cold{files, p}, snapshots{mach}
	}
	if spec.Conf == nil && part.Initial != nil {
		spec.Members = members(part.Initial)
	}
	var err error
	if mach.Partition, err = partition.New(cfg); err != nil {
		return err
	}
	n.has[p] = mach.id
	n.c.began(mach)
	if mach.group, err = n.mgr.Open(spec, mach); err != nil {
		return err
	}
	mach.group.SetMembers(members(part.Replicas))
	mach.Attach(mach.group)
	n.parts[p] = mach
	return nil
}

// Crash ends the process as kill -9 does: what was written stays.
func (n *Node) Crash() {
	n.c.note("crash %d", n.id)
	n.power.cut()
	n.end()
}

// PowerCut ends the life and takes from the disk what was not synced, or the
// part of it that the seed chooses.
func (n *Node) PowerCut(seed uint64) {
	n.c.note("power cut %d", n.id)
	n.mem, n.disk = n.mem.PowerCut(seed), n.disk.PowerCut(seed+1)
	n.power.cut()
	n.end()
}

// Tear cuts the power while the oldest append that waits is written and not yet
// synced. It says whether there was one.
func (n *Node) Tear(seed uint64) bool {
	a := n.store.next()
	if a == nil {
		return false
	}
	n.power.hold()
	n.store.pass(a)
	synctest.Wait()
	n.c.note("tear %d: %s", n.id, n.c.records(a.Records))
	n.PowerCut(seed)
	return true
}

// end brings down what is left of a life whose disk is gone. Appends end in the
// order in which they were submitted: first the one that may hang in a sync.
func (n *Node) end() {
	n.up = false
	_ = n.wire.Close() // in memory: it cannot fail
	n.store.refuse(errDown)
	n.power.release()
	n.c.settle()
	n.store.drop()
	n.c.settle()
	n.gate.close(errDown)
	n.c.settle()
	_ = n.mgr.Close() // its log is dead, and says so
	n.c.leaseReads += n.mgr.Stats().LeaseReads
	n.movers.Wait()
	_ = n.store.Log.Close() // likewise
	_ = n.closeFiles()
	n.c.settle()
}

func (n *Node) closeFiles() error {
	var errs []error
	for p := range n.c.cfg.Partitions {
		for _, m := range []*machine{n.parts[p], n.leaving[p]} {
			if m != nil && m.files != nil {
				errs = append(errs, m.files.Close())
			}
		}
	}
	return errors.Join(errs...)
}

// Stop ends the life cleanly: all that was submitted becomes durable, and the
// log's end says that it is one.
func (n *Node) Stop() error {
	n.c.note("stop %d", n.id)
	for n.Release(); n.Grant(); n.Release() {
	}
	_ = n.wire.Close() // in memory: it cannot fail
	ended := make(chan error, 1)
	go func() { ended <- n.mgr.Close() }()
	for synctest.Wait(); n.store.waiting() > 0; synctest.Wait() {
		n.pass()
	}
	n.up = false
	n.gate.close(errDown)
	err := <-ended
	n.c.leaseReads += n.mgr.Stats().LeaseReads
	n.movers.Wait()
	err = errors.Join(err, n.store.Log.Close(), n.closeFiles())
	n.c.settle()
	return err
}

// Tick passes one tick of time to all replicas of the node.
func (n *Node) Tick() {
	n.atOnce(n.mgr.Tick)
	n.c.settle()
}

// FillDisk leaves no room on the log's disk for another segment, until there is
// room again.
func (n *Node) FillDisk() {
	n.c.note("full %d", n.id)
	n.mem.SetRoom(0)
}

// FreeDisk undoes FillDisk. The log looks for room once a second, and when
// something is released.
func (n *Node) FreeDisk() {
	n.c.note("room %d", n.id)
	n.mem.SetRoom(plenty)
}

const plenty = 1 << 40

// Hold keeps appends from the disk until Pass or Release.
func (n *Node) Hold() { n.slow = true }

// Release passes on everything that waits, and ends Hold.
func (n *Node) Release() {
	n.slow = false
	for n.Pass() {
	}
}

// Waiting counts the appends that wait to be passed on.
func (n *Node) Waiting() int { return n.store.waiting() }

// Pass lets the oldest append that waits become durable. It says whether there
// was one.
func (n *Node) Pass() bool {
	if n.store.waiting() == 0 {
		return false
	}
	n.pass()
	n.c.settle()
	return true
}

func (n *Node) pass() {
	a := n.store.next()
	n.c.note("disk %d: %s", n.id, n.c.records(a.Records))
	n.store.pass(a)
}

// Campaign starts an election of a partition now. It says whether the node holds it.
func (n *Node) Campaign(p int) bool {
	if !n.up || n.parts[p] == nil {
		return false
	}
	n.parts[p].group.Campaign()
	n.c.settle()
	return true
}

// Transfer hands the leadership of a partition to another node.
func (n *Node) Transfer(p int, to ids.NodeID) error {
	if !n.up || n.parts[p] == nil {
		return ErrNoNode
	}
	err := n.parts[p].group.Transfer(n.c.Placed(p).On(to))
	n.c.settle()
	return err
}

// Suspect tells the node that another one seems to be gone, as a transport does
// when a connection was closed. It may be wrong.
func (n *Node) Suspect(other ids.NodeID) {
	o, ok := n.handler.(transport.Observer)
	if !ok || !n.up {
		return
	}
	n.c.note("down %d: node %d seems to be gone", n.id, other)
	o.Down(other)
	n.c.settle()
}

// Status is what the node's replica of a partition is; false if there is none,
// or the node is down.
func (n *Node) Status(p int) (multiraft.Status, bool) {
	if !n.up || n.parts[p] == nil {
		return multiraft.Status{}, false
	}
	return n.parts[p].group.Status(), true
}

// atOnce runs f while the worker is held, so that all f puts into its mailbox is
// one drain.
func (n *Node) atOnce(f func()) {
	var any *multiraft.Group
	for p := range n.c.cfg.Partitions {
		if any = n.mgr.Group(group(p)); any != nil {
			break // one worker for all of them
		}
	}
	if any == nil {
		f()
		return
	}
	held, free := make(chan struct{}), make(chan struct{})
	go func() { _ = any.Call(context.Background(), func() { close(held); <-free }) }() // it runs: the node is up
	<-held
	f()
	close(free)
}

// wire is a node's way to the network: what arrives is a stimulus.
type wire struct {
	transport.Transport
	n *Node
}

// Send implements transport.Transport.
func (w *wire) Send(to ids.NodeID, lane transport.Lane, batch []transport.Envelope) {
	for i := range batch {
		if saysQuiet(&batch[i]) {
			w.n.c.quiet(w.n, partitionOf(batch[i].Group))
		}
	}
	w.Transport.Send(to, lane, batch)
}

// Start implements transport.Transport.
func (w *wire) Start(h transport.Handler) {
	w.n.handler = h
	w.Transport.Start(&inbound{w.n, h})
}

// inbound is called by Cluster.Advance, so on the test's goroutine.
type inbound struct {
	n *Node
	h transport.Handler
}

// Receive implements transport.Handler.
func (in *inbound) Receive(from ids.NodeID, batch []transport.Envelope) {
	for i := range batch {
		in.n.c.message(from, in.n.id, &batch[i])
	}
	in.n.atOnce(func() { in.h.Receive(from, batch) })
	in.n.c.settle()
}

// Unreachable implements transport.Handler.
func (in *inbound) Unreachable(to ids.NodeID, g ids.GroupID, r ids.ReplicaID) {
	in.h.Unreachable(to, g, r)
	in.n.c.settle()
}

// listener hears the events of one node.
type listener struct{ n *Node }

// Event implements events.Listener.
func (l listener) Event(e events.Event) {
	c, id := l.n.c, l.n.id
	switch e := e.(type) {
	case events.BecameLeader:
		c.note("lead %d: leads p%d in term %d", id, partitionOf(e.Group), e.Term)
		c.leads(id, partitionOf(e.Group), e.Term)
	case events.BecameFollower:
		c.note("lead %d: no longer leads p%d, term %d", id, partitionOf(e.Group), e.Term)
	case events.ReplicaDamaged:
		if !l.n.up {
			return // its log is gone, that is all
		}
		c.Violation("node %d: replica of p%d is damaged: %v", id, partitionOf(e.Group), e.Err)
	}
}

// records is an append in words: entries index/term, and the hard state.
func (c *Cluster) records(list []wal.Record) (text string) {
	for i := range list {
		r := &list[i]
		switch r.Kind {
		case wal.KindEntry:
			text += fmt.Sprintf(" p%d entry %d/%d", partitionOf(ids.GroupID(r.Stream)), r.Index, r.Term)
		case wal.KindState:
			text += fmt.Sprintf(" p%d state term=%d vote=%d commit=%d", partitionOf(ids.GroupID(r.Stream)), r.Term, c.where[ids.ReplicaID(r.Vote)], r.Index)
		case wal.KindTruncateBefore:
			text += fmt.Sprintf(" p%d cut before %d", partitionOf(ids.GroupID(r.Stream)), r.Index)
		case wal.KindTruncateAfter:
			text += fmt.Sprintf(" p%d cut after %d", partitionOf(ids.GroupID(r.Stream)), r.Index)
		case wal.KindRemove:
			text += fmt.Sprintf(" p%d removed", partitionOf(ids.GroupID(r.Stream)))
		default:
			text += fmt.Sprintf(" p%d kind %d at %d", partitionOf(ids.GroupID(r.Stream)), r.Kind, r.Index)
		}
	}
	if text == "" {
		return "nothing"
	}
	return text[1:]
}

// machine is the partition of one life, with the ledger looking over its
// shoulder.
type machine struct {
	*partition.Partition
	n     *Node
	p     int
	id    ids.ReplicaID
	group *multiraft.Group
	files *store.Log // nil without Config.Files
	hw    ids.Offset
	sum   uint32 // chained over what was applied

	conf    *replica.Members // as the ledger looked at it last
	barrier *barrier         // that a move waits for
	gone    atomic.Bool      // it is being removed
}

var _ replica.StateMachine = (*machine)(nil)

// Apply implements replica.StateMachine. The ledger hears of the entries first:
// what waited for them is answered from within.
func (m *machine) Apply(entries []replica.Entry) error {
	m.n.c.applied(m, entries)
	if err := m.Partition.Apply(entries); err != nil {
		return err
	}
	m.n.c.shown(m, entries[len(entries)-1].Index)
	return nil
}
