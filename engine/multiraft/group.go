package multiraft

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"

	"dyno/engine/events"
	"dyno/engine/ids"
	"dyno/engine/replica"
	"dyno/wal"
)

// Group is one open group on this node. Its methods are safe for concurrent use
// unless they say otherwise.
type Group struct {
	m    *Manager
	w    *worker
	spec Spec
	log  *groupLog

	// Owner: the worker.
	rep     *replica.Replica
	waiting []*replica.Proposal // this drain's
	touched bool
	ticking bool
	counted replica.Stats // what the worker's counters hold of this group

	// Written by the worker after each turn, read by everybody.
	role            atomic.Pointer[replica.Role]
	commit, applied atomic.Uint64
	damage          atomic.Pointer[error]
	conf            atomic.Pointer[replica.Members]

	members atomic.Pointer[[]Member] // where members live; replaced by SetMembers
	guests  atomic.Pointer[[]Member] // see guest

	opened  chan struct{} // closed when Open is through; then openErr is set
	openErr error
	removed bool // guarded by m.mu
}

// ID is the group's id.
func (g *Group) ID() ids.GroupID { return g.spec.Group }

// Replica is the id of the member that lives on this node.
func (g *Group) Replica() ids.ReplicaID { return g.spec.Replica }

// Propose hands p to the group's worker and returns at once; p's waiter hears
// the outcome. An error means p was refused here and its waiter hears nothing:
// ErrOverloaded (the worker's mailbox is full), ErrDiskFull, ErrTooLarge or
// ErrStopped.
// Proposals of one goroutine keep their order.
func (g *Group) Propose(p *replica.Proposal) error {
	if err := g.admit(p); err != nil {
		return err
	}
	return g.w.box.propose(g, p)
}

func (g *Group) admit(p *replica.Proposal) error {
	switch {
	case g.m.quiet.Load():
		return replica.ErrStopped
	case len(p.Data) > g.m.cfg.EntryBytesMax:
		return fmt.Errorf("%w: %d bytes, at most %d", ErrTooLarge, len(p.Data), g.m.cfg.EntryBytesMax)
	case !p.Reserve && g.m.full.Load() && g.m.cfg.Log.Full(): // a worker saw it, and it is still so
		return replica.ErrDiskFull
	}
	return nil
}

// ProposeAll is Propose of a list that one drain takes as a whole, so that it is one
// proposal to Raft as far as there is room. Those that are refused hear it as their
// outcome. It is for few and large lists: they do not count towards what may wait in
// the mailbox. The list may be used again after the call.
func (g *Group) ProposeAll(list []*replica.Proposal) {
	taken := make([]*replica.Proposal, 0, len(list))
	for _, p := range list {
		if err := g.admit(p); err != nil {
			p.Refuse(err)
			continue
		}
		taken = append(taken, p)
	}
	ok := g.w.box.call(func() {
		g.waiting = append(g.waiting, taken...)
		g.w.touch(g)
	})
	for i := 0; !ok && i < len(taken); i++ {
		taken[i].Refuse(replica.ErrStopped)
	}
}

// Read gives entries of [lo, hi): at least one, at most maxBytes bytes of data
// beyond the first, and possibly fewer than would fit; none where the log ends
// at or before lo. What the state machine has applied never changes: ask for no
// more than that (Status shows it only at the end of the turn, so it is the
// state machine's word that counts). The entries are shared with the log. It
// may read the disk. Fails with ErrCompacted below Bounds.
func (g *Group) Read(lo, hi ids.LogIndex, maxBytes int64) ([]replica.Entry, error) {
	hi = min(hi, g.log.end())
	if lo == 0 {
		return nil, replica.ErrCompacted
	}
	if lo >= hi {
		return nil, nil
	}
	return g.log.read(lo, hi, maxBytes)
}

// Bounds are the oldest entry that can be read and the newest in the log, both
// inclusive; first == last+1 when there is none. The newest may not be applied.
func (g *Group) Bounds() (first, last ids.LogIndex) { return g.log.bounds() }

// Term gives the term of an entry that the log or Cold holds, or of the one
// before the first. Worker only, as within Call.
func (g *Group) Term(i ids.LogIndex) (ids.Term, error) { return g.log.Term(i) }

// ReadIndex returns an index that a linearizable read must have seen; this
// replica has applied it. On a follower it asks the leader. It blocks until the
// answer is there or ctx ends, which gives ErrTimeout.
func (g *Group) ReadIndex(ctx context.Context) (ids.LogIndex, error) {
	r := &readCall{answer: make(chan readAnswer, 1)}
	ask := func() {
		g.rep.ReadIndex(r)
		g.w.touch(g)
	}
	if !g.w.box.call(ask) {
		return 0, replica.ErrStopped
	}
	select {
	case a := <-r.answer:
		return a.index, a.err
	case <-ctx.Done():
		g.w.box.call(func() { g.rep.CancelRead(r) })
		return 0, fmt.Errorf("%w: read index of group %d: %w", replica.ErrTimeout, g.spec.Group, context.Cause(ctx))
	}
}

type readCall struct{ answer chan readAnswer } // capacity 1

type readAnswer struct {
	index ids.LogIndex
	err   error
}

// ReadReady implements replica.ReadWaiter.
func (r *readCall) ReadReady(index ids.LogIndex, err error) { r.answer <- readAnswer{index, err} }

// Compact makes first the oldest entry in the shared log, durably; it returns
// when that is so. What is below must be applied, and be in Cold if it is still
// to be read. Not for the worker goroutine: it blocks.
func (g *Group) Compact(first ids.LogIndex) error {
	result := make(chan error, 1)
	ok := g.w.box.call(func() {
		if err := g.compact(first); err != nil {
			result <- err
			return
		}
		g.w.current.calls = append(g.w.current.calls, func() { result <- g.m.failure() })
		g.w.touch(g)
	})
	if !ok {
		return replica.ErrStopped
	}
	return <-result
}

// compact runs on the worker.
func (g *Group) compact(first ids.LogIndex) error {
	switch {
	case g.rep.Err() != nil:
		return g.rep.Err()
	case first > g.rep.Applied()+1:
		return fmt.Errorf("compact group %d to %d: only %d is applied", g.spec.Group, first, g.rep.Applied())
	case first <= g.log.first:
		return nil
	}
	prev, err := g.log.Term(first - 1)
	if err != nil {
		return fmt.Errorf("compact: %w", err)
	}
	g.w.out.Records = append(g.w.out.Records, wal.Record{
		Stream: uint64(g.spec.Group), Kind: wal.KindTruncateBefore, Index: uint64(first), Term: uint64(prev),
	})
	g.log.cut(first, prev)
	return nil
}

// Campaign starts an election now.
func (g *Group) Campaign() {
	g.w.box.call(func() {
		g.rep.Campaign()
		g.w.touch(g)
	})
}

// Transfer hands leadership to another voter; it returns when that has begun.
// Watch Status for the end. Fails with ErrNotLeader elsewhere.
func (g *Group) Transfer(to ids.ReplicaID) error {
	result := make(chan error, 1)
	ok := g.w.box.call(func() {
		result <- g.rep.Transfer(to)
		g.w.touch(g)
	})
	if !ok {
		return replica.ErrStopped
	}
	return <-result
}

// RequestTransfer asks whoever leads to hand leadership to another voter; it
// returns when that was asked. Fails with ErrNotLeader where no leader is known.
func (g *Group) RequestTransfer(to ids.ReplicaID) error {
	result := make(chan error, 1)
	ok := g.w.box.call(func() {
		result <- g.rep.RequestTransfer(to)
		g.w.touch(g)
	})
	if !ok {
		return replica.ErrStopped
	}
	return <-result
}

// Status is a view of a group. Its parts are read one after the other: they may
// be of two moments next to each other, but each only ever grows.
type Status struct {
	Group   ids.GroupID
	Replica ids.ReplicaID
	replica.Role
	Commit, Applied, First, Last ids.LogIndex // inclusive
	Damage                       error        // why the replica stopped; nil while it runs
}

// Status gives the state of this node's replica. It never blocks.
func (g *Group) Status() Status {
	s := Status{Group: g.spec.Group, Replica: g.spec.Replica, Role: *g.role.Load()}
	s.Applied, s.Commit = ids.LogIndex(g.applied.Load()), ids.LogIndex(g.commit.Load())
	s.First, s.Last = g.log.bounds()
	if err := g.damage.Load(); err != nil {
		s.Damage = *err
	}
	return s
}

// publish shows what a turn changed, and tells the listener of what is rare.
func (g *Group) publish(err error) {
	// The membership first: who reads it after what is applied must not miss a
	// change that is.
	if at := g.rep.MembersAt(); at != g.conf.Load().At {
		conf := g.rep.Members()
		g.conf.Store(&conf)
	}
	g.applied.Store(uint64(g.rep.Applied()))
	g.commit.Store(uint64(g.rep.Commit()))
	if err != nil && g.damage.Load() == nil {
		damage := err // not err itself: it would be on the heap in every call
		g.damage.Store(&damage)
		if errors.Is(err, replica.ErrDamaged) {
			g.m.cfg.Listener.Event(events.ReplicaDamaged{Group: g.spec.Group, Replica: g.spec.Replica, Err: err})
		}
	}
	g.w.counts.add(&g.counted, g.rep.Stats())
	was, now := *g.role.Load(), g.rep.Role()
	if now == was {
		return
	}
	role := now // likewise
	g.role.Store(&role)
	g.tellRole(was, now)
}

func (g *Group) tellRole(was, now replica.Role) {
	to := g.m.cfg.Listener
	led := was.State == replica.Leader
	leads := now.State == replica.Leader
	switch {
	case leads && (!led || was.Term != now.Term):
		g.w.counts.elected.Add(1)
		to.Event(events.BecameLeader{Group: g.spec.Group, Replica: g.spec.Replica, Term: now.Term})
	case led && !leads:
		if now.Term == was.Term && slices.Contains(g.conf.Load().Voters, g.spec.Replica) {
			g.w.counts.abandoned.Add(1) // nobody else leads yet, and it was not removed
		}
		to.Event(events.BecameFollower{Group: g.spec.Group, Replica: g.spec.Replica, Term: now.Term, Leader: now.Leader})
	}
	if was.Leader != now.Leader {
		to.Event(events.LeaderChanged{Group: g.spec.Group, Term: now.Term, Leader: now.Leader})
	}
}

// NodeOf is where a member lives; 0 if it is none.
func (g *Group) NodeOf(r ids.ReplicaID) ids.NodeID { return g.nodeOf(uint64(r)) }

// nodeOf is where a member lives, or a replica that wrote from there; 0 if it is
// none. Groups are small.
func (g *Group) nodeOf(member uint64) ids.NodeID {
	if node := placeOf(*g.members.Load(), ids.ReplicaID(member)); node != 0 {
		return node
	}
	if list := g.guests.Load(); list != nil {
		return placeOf(*list, ids.ReplicaID(member))
	}
	return 0
}

func placeOf(list []Member, r ids.ReplicaID) ids.NodeID {
	for i := range list {
		if list[i].Replica == r {
			return list[i].Node
		}
	}
	return 0
}

// guestsMax bounds the replicas that a group remembers beside its members.
const guestsMax = 8

// guest remembers where a message came from whose sender this node has not been
// told of: a node that was away learns of new members of the metadata group from
// that group alone, so its answer has to find the way to a leader that it does
// not know yet. Any goroutine may call.
func (g *Group) guest(r ids.ReplicaID, node ids.NodeID) {
	for r != 0 && g.nodeOf(uint64(r)) == 0 {
		old := g.guests.Load()
		var list []Member
		if old != nil {
			list = slices.Clone((*old)[max(0, len(*old)-guestsMax+1):])
		}
		list = append(list, Member{Replica: r, Node: node})
		if g.guests.CompareAndSwap(old, &list) {
			return
		}
	}
}
