package multiraft

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"go.etcd.io/raft/v3/raftpb"

	"dyno/engine/events"
	"dyno/engine/ids"
	"dyno/engine/replica"
	"dyno/engine/transport"
	"dyno/wal"
)

// Manager runs all groups of one node. See the package comment.
type Manager struct {
	cfg     Config
	started uint64 // distinguishes this life from earlier ones, see replica.Config.ReadSeed
	workers []*worker
	ticker  *ticker

	quiet  atomic.Bool           // refuse proposals
	full   atomic.Bool           // a worker saw Log.Full; no worker has seen room since
	dead   atomic.Pointer[error] // why the log is dead
	failed chan struct{}         // closed by fail

	groups shards[Group] // lock-free to read, written under mu

	strays atomic.Uint64 // messages for groups or replicas that are not here

	mu     sync.Mutex             // guards open and closed, and writing to groups
	open   map[ids.GroupID]*Group // also those that are being opened or removed
	closed bool
	ended  chan struct{} // closed when Close is through

	pace     *pace
	alive    alive
	installs sync.WaitGroup // goroutines that install a snapshot, one for a group at most
}

// New starts the workers of a node without groups. Close ends them.
func New(cfg Config) (*Manager, error) {
	cfg.setDefaults()
	if err := cfg.validate(); err != nil {
		return nil, fmt.Errorf("group manager: %w", err)
	}
	m := &Manager{
		cfg: cfg, open: map[ids.GroupID]*Group{}, started: uint64(time.Now().UnixNano()),
		failed: make(chan struct{}), ended: make(chan struct{}), ticker: newTicker(cfg.Tick),
		pace: newPace(cfg.CatchUpBytesPerSecond, cfg.Clock),
	}
	m.alive.m = m
	m.ticker.alive = &m.alive
	m.groups.init()
	for range cfg.Workers {
		m.workers = append(m.workers, m.newWorker())
	}
	m.ticker.workers = m.workers
	for i, w := range m.workers {
		go w.run(i)
	}
	go m.ticker.run()
	if cfg.Transport != nil {
		cfg.Transport.Start(handler{m})
	}
	return m, nil
}

// Open starts this node's replica of a group and returns once it runs, which
// does not mean that it has a leader: proposals may follow at once and wait for
// it. A group that was never here starts empty, with Spec.Members; one that was
// goes on from its log, with sm.Applied as its applied index. Opening what is
// open returns it. A sole voter campaigns at once.
//
// Fails with ErrDamaged where log and sm do not fit, with ErrExists if another
// replica of the group is open here.
func (m *Manager) Open(spec Spec, sm replica.StateMachine) (*Group, error) {
	g := &Group{m: m, w: m.worker(spec.Group), spec: spec, opened: make(chan struct{})}
	if open, err := m.register(g); err != nil || open != g {
		return open, err
	}
	defer close(g.opened)
	if err := g.open(sm); err != nil {
		g.openErr = fmt.Errorf("open group %d: %w", spec.Group, err)
		m.forget(g)
		return nil, g.openErr
	}
	return g, nil
}

// register claims the group's id for g, or waits for whoever has it.
func (m *Manager) register(g *Group) (*Group, error) {
	m.mu.Lock()
	if m.closed {
		m.mu.Unlock()
		return nil, replica.ErrStopped
	}
	old := m.open[g.spec.Group]
	if old == nil {
		m.open[g.spec.Group] = g
		m.mu.Unlock()
		return g, nil
	}
	removed := old.removed
	m.mu.Unlock()
	<-old.opened
	switch {
	case old.openErr != nil:
		return nil, old.openErr
	case removed:
		return nil, fmt.Errorf("open group %d: it is being removed: %w", g.spec.Group, replica.ErrStopped)
	case old.spec.Replica != g.spec.Replica:
		return nil, fmt.Errorf("open group %d as replica %d: %w %d", g.spec.Group, g.spec.Replica, ErrExists, old.spec.Replica)
	}
	return old, nil
}

// open builds the replica and hands it to the worker.
func (g *Group) open(sm replica.StateMachine) error {
	cfg := g.m.cfg.Replica
	cfg.Group, cfg.ID, cfg.ReadSeed = g.spec.Group, g.spec.Replica, g.m.started
	cfg.Voters, cfg.Learners, cfg.Take, cfg.Members = nil, nil, nil, g.spec.Conf
	cfg.CatchUp, cfg.Promise, cfg.Clock = g.m.pace, g.spec.Promise, g.m.cfg.Clock
	if g.spec.Snapshots != nil {
		cfg.Take = g.spec.Snapshots.Take
	}
	for _, member := range g.spec.Members {
		if member.Learner {
			cfg.Learners = append(cfg.Learners, member.Replica)
		} else {
			cfg.Voters = append(cfg.Voters, member.Replica)
		}
	}
	g.log = openGroupLog(g.spec.Group, g.m.cfg.Log, g.spec.Cold, &g.w.tail)
	rep, err := replica.New(cfg, g.log, sm)
	if err != nil {
		return err
	}
	g.rep = rep
	g.members.Store(&g.spec.Members)
	conf := rep.Members()
	g.conf.Store(&conf)
	role := rep.Role()
	g.role.Store(&role)
	g.applied.Store(uint64(rep.Applied()))
	g.commit.Store(uint64(rep.Commit()))
	if !g.w.box.call(g.start) {
		return replica.ErrStopped
	}
	g.m.alive.meet(g.spec.Members)
	g.m.mu.Lock()
	g.m.groups.insert(mix(uint64(g.spec.Group)), g)
	g.m.mu.Unlock()
	return nil
}

// start runs on the worker, before anything else of the group.
func (g *Group) start() {
	w := g.w
	w.groups[g.spec.Group] = g
	switch err := g.m.failure(); {
	case err != nil:
		g.rep.Stop(err)
	case w.closing:
		g.rep.Stop(replica.ErrStopped)
	case g.rep.Sole():
		g.rep.Campaign()
	}
	w.touch(g)
}

// Group finds an open group, nil if there is none. Lock-free.
func (m *Manager) Group(id ids.GroupID) *Group {
	hash := mix(uint64(id))
	t := m.groups.of(hash).Load()
	for i := hash & t.mask; ; i = (i + 1) & t.mask {
		switch s := &t.slot[i]; {
		case s.v == nil:
			return nil
		case s.hash == hash && s.v.spec.Group == id:
			return s.v
		}
	}
}

func (m *Manager) worker(id ids.GroupID) *worker {
	return m.workers[uint64(id)%uint64(len(m.workers))]
}

// Remove stops this node's replica of a group and wipes its log. It returns
// when that is durable; ctx ends the waiting only. Fails with ErrNoGroup.
func (m *Manager) Remove(ctx context.Context, id ids.GroupID) error {
	m.mu.Lock()
	g := m.open[id]
	if g == nil || g.removed {
		m.mu.Unlock()
		return fmt.Errorf("remove group %d: %w", id, ErrNoGroup)
	}
	g.removed = true
	m.mu.Unlock()
	<-g.opened // soon: opening waits for nothing
	if g.openErr != nil {
		return fmt.Errorf("remove group %d: %w", id, ErrNoGroup)
	}
	done := make(chan error, 1)
	if !g.w.box.call(func() { g.remove(done) }) {
		return replica.ErrStopped
	}
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return fmt.Errorf("remove group %d goes on: %w", id, context.Cause(ctx))
	}
}

// remove runs on the worker. The record that wipes the stream follows all that
// the group has in flight, so nothing of it comes back.
func (g *Group) remove(done chan error) {
	w := g.w
	g.rep.Stop(replica.ErrStopped)
	delete(w.groups, g.spec.Group)
	w.touch(g)
	if err := g.m.failure(); err != nil || w.closing {
		done <- cmp.Or(err, replica.ErrStopped)
		return
	}
	w.out.Records = append(w.out.Records, wal.Record{Stream: uint64(g.spec.Group), Kind: wal.KindRemove})
	w.current.calls = append(w.current.calls, func() {
		g.m.forget(g)
		done <- g.m.failure()
	})
}

func (m *Manager) forget(g *Group) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.groups.remove(mix(uint64(g.spec.Group)), g)
	delete(m.open, g.spec.Group)
}

// List gives the state of all open groups, by id.
func (m *Manager) List() []Status {
	var list []Status
	m.groups.each(func(g *Group) { list = append(list, g.Status()) })
	slices.SortFunc(list, func(a, b Status) int { return cmp.Compare(a.Group, b.Group) })
	return list
}

// Health counts the open groups by the state of this node's replica.
type Health struct {
	Leaders, Followers, Candidates int
	NoLeader                       int // among followers and candidates: no leader known
	Damaged, Stopped               int
	Failure                        error // of the log; nil while it works
}

// Health sums up List.
func (m *Manager) Health() Health {
	h := Health{Failure: m.failure()}
	for _, s := range m.List() {
		switch {
		case errors.Is(s.Damage, replica.ErrDamaged):
			h.Damaged++
			continue
		case s.Damage != nil:
			h.Stopped++
			continue
		case s.State == replica.Leader:
			h.Leaders++
		case s.State == replica.Follower:
			h.Followers++
		default:
			h.Candidates++
		}
		if s.Leader == 0 {
			h.NoLeader++
		}
	}
	return h
}

// Failed is closed when the log has failed: all groups have stopped and the
// process should end. Failure gives the reason.
func (m *Manager) Failed() <-chan struct{} { return m.failed }

// Failure is why the log is dead, nil while it works.
func (m *Manager) Failure() error { return m.failure() }

func (m *Manager) failure() error {
	if p := m.dead.Load(); p != nil {
		return *p
	}
	return nil
}

// fail stops everything: the log is dead and must not be trusted again.
func (m *Manager) fail(err error) {
	err = fmt.Errorf("%w: log of node %d failed: %w", replica.ErrDamaged, m.cfg.Node, err)
	if !m.dead.CompareAndSwap(nil, &err) {
		return
	}
	close(m.failed)
	m.cfg.Listener.Event(events.LogFailed{Err: err})
	for _, w := range m.workers {
		w.box.call(func() { w.stopAll(err) })
	}
}

// Quiet refuses new proposals with ErrStopped and waits until every proposal
// taken before has its answer and every append is durable, or ctx ends.
func (m *Manager) Quiet(ctx context.Context) error {
	m.quiet.Store(true)
	for _, w := range m.workers {
		c := make(chan struct{})
		if !w.box.call(func() { w.idle = append(w.idle, c) }) {
			continue
		}
		select {
		case <-c:
		case <-ctx.Done():
			return fmt.Errorf("wait for proposals in flight: %w", context.Cause(ctx))
		}
	}
	return nil
}

// Close refuses everything new, fails what is unanswered with ErrStopped, waits
// for the appends in flight and ends all goroutines. Idempotent. The log must
// still work, or fail what it was given: close it afterwards.
func (m *Manager) Close() error {
	m.quiet.Store(true)
	m.mu.Lock()
	first := !m.closed
	m.closed = true
	m.mu.Unlock()
	if !first {
		<-m.ended
		return m.failure()
	}
	m.ticker.close()
	for _, w := range m.workers {
		w.box.call(w.close)
	}
	for _, w := range m.workers {
		<-w.done
	}
	m.installs.Wait()
	close(m.ended)
	return m.failure()
}

// handler takes what the transport brings.
type handler struct{ m *Manager }

// Receive implements transport.Handler.
func (h handler) Receive(from ids.NodeID, batch []transport.Envelope) {
	h.m.alive.heardFrom(from)
	for i := range batch {
		e := &batch[i]
		if e.Group == 0 {
			h.m.alive.hearPulse(from, &e.Message)
			continue
		}
		g := h.m.Group(e.Group)
		if g == nil || uint64(g.spec.Replica) != e.Message.To {
			h.m.strays.Add(1)
			continue
		}
		g.guest(ids.ReplicaID(e.Message.From), from)
		g.w.box.message(g, &e.Message)
	}
}

// Down implements transport.Observer.
func (h handler) Down(node ids.NodeID) { h.m.NodeDown(node) }

// NodeDown is a hint that another node is gone: replicas that follow one of its
// forget their leader and ask for votes soon. If it is wrong, those who still hear
// the leader refuse their votes, and its next message makes it known again. It does
// not wait.
func (m *Manager) NodeDown(node ids.NodeID) {
	for _, w := range m.workers {
		w.box.call(func() { w.lost(node) })
	}
}

// downRankTicks is how much later each next voter asks for votes.
const downRankTicks = 5

// rankWithout is the place of this node's replica among the voters that do not
// live on node; voter is false where it is none.
func (g *Group) rankWithout(node ids.NodeID) (rank int, voter bool) {
	for _, m := range *g.members.Load() {
		switch {
		case m.Replica == g.spec.Replica:
			return rank, !m.Learner
		case !m.Learner && m.Node != node:
			rank++
		}
	}
	return 0, false
}

func (g *Group) replicaOn(node ids.NodeID) ids.ReplicaID {
	for _, m := range *g.members.Load() {
		if m.Node == node {
			return m.Replica
		}
	}
	return 0
}

// Unreachable implements transport.Handler.
func (h handler) Unreachable(_ ids.NodeID, group ids.GroupID, to ids.ReplicaID) {
	if g := h.m.Group(group); g != nil {
		g.w.box.message(g, &raftpb.Message{Type: raftpb.MsgUnreachable, From: uint64(to)})
	}
}
