package replica

import (
	"fmt"

	"go.etcd.io/raft/v3"
	"go.etcd.io/raft/v3/raftpb"

	"dyno/engine/ids"
)

// State is a replica's role in its group.
type State uint8

const (
	Follower State = iota
	PreCandidate
	Candidate
	Leader
)

func (s State) String() string {
	return [...]string{"follower", "pre-candidate", "candidate", "leader"}[s]
}

// Role is what a replica is at one moment.
type Role struct {
	State  State
	Term   ids.Term
	Leader ids.ReplicaID // 0: unknown
}

// Stats count what happened since New.
type Stats struct {
	Proposals uint64 // MsgProps stepped
	Proposed  uint64 // entries in them
	Dropped   uint64 // entries Raft refused
	Overload  uint64 // proposals refused because the queue was full
	Reads     uint64 // ReadIndex attempts
	ReadsFull uint64 // ReadIndex calls refused: ReadsMax
	// LeaseReads are ReadIndex calls that a leader answered by its lease.
	LeaseReads uint64
	Snapshots  uint64 // installed here
}

// Replica is one member of one group. See the package comment for the duties of
// its owner, which is the only goroutine that may call its methods.
type Replica struct {
	cfg   Config
	node  *raft.RawNode
	store *storage
	sm    StateMachine
	conf  raftpb.ConfState
	sole  bool // the only voter is this replica
	solo  solo

	role    Role     // as observe last saw it
	handing bool     // leadership is being handed over: Raft takes no proposals
	led     ids.Term // term in which sm was told Lead; 0 while it does not lead
	applied ids.LogIndex
	commit  ids.LogIndex

	queue       line // wait for Lead or for room
	queueBytes  int64
	behind      bool  // proposals come behind a refused one, see enqueue
	uncommitted int64 // mirror of Raft's own count, see room
	stamped     []*Proposal
	props       []raftpb.Entry // scratch of propose, in step with stamped
	heard       heard          // when each peer spoke last
	quiet       bool           // no ticks until something happens
	quieting    bool           // the next Turn says so
	idle        int            // ticks in which nothing was asked of this leader
	down        down           // a leader that seems to be gone
	doubts      []*doubt       // refusals that wait to be confirmed, see doubt.go
	telling     []uint64       // peers to tell that this replica was removed, see removed.go
	incoming    *installing    // a snapshot the owner installs; nothing else happens meanwhile
	durable     line           // WaitDurable, by index
	committed   line           // WaitCommit, by index
	held        line           // committed and applied, waits for more copies
	parted      parted         // lost their leader and wait for the next one's name
	reads       reads
	lease       lease

	newest raftpb.HardState // what Raft said last
	saved  raftpb.HardState // what Records carried last

	entries []Entry // scratch of apply
	err     error   // sticky: damaged or stopped
	stats   Stats
}

// New makes the replica of cfg.ID on what log holds, or an empty one. It reads
// the log but writes nothing; a sole voter should Campaign next. Fails with
// ErrDamaged where log and state machine do not fit each other.
func New(cfg Config, log Log, sm StateMachine) (*Replica, error) {
	cfg.setDefaults()
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	r := &Replica{cfg: cfg, sm: sm, applied: sm.Applied()}
	members := cfg.Members
	if members == nil {
		members = &Members{Voters: cfg.Voters, Learners: cfg.Learners}
	}
	r.conf = members.conf()
	r.store = &storage{log: log, conf: r.conf, confAt: members.At, take: cfg.Take, pace: cfg.CatchUp, leads: r.leads}
	if err := r.store.load(r.applied); err != nil {
		return nil, fmt.Errorf("group %d: %w", cfg.Group, err)
	}
	r.setConf(r.conf, members.At)
	err := r.guard(func() (err error) {
		r.node, err = raft.NewRawNode(r.raftConfig())
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("group %d: %w", cfg.Group, err)
	}
	r.newest, r.saved = r.store.hard, r.store.hard
	r.reads.seed, r.reads.replica = cfg.ReadSeed, uint64(cfg.ID)
	r.observe()
	r.promise()
	return r, nil
}

func (r *Replica) raftConfig() *raft.Config {
	return &raft.Config{
		ID:                        uint64(r.cfg.ID),
		ElectionTick:              r.cfg.ElectionTicks,
		HeartbeatTick:             r.cfg.HeartbeatTicks,
		Storage:                   r.store,
		Applied:                   uint64(r.applied),
		AsyncStorageWrites:        true,
		MaxSizePerMsg:             uint64(r.cfg.MessageBytesMax),
		MaxCommittedSizePerReady:  uint64(r.cfg.ApplyBytesMax),
		MaxUncommittedEntriesSize: uint64(r.cfg.UncommittedBytesMax),
		MaxInflightMsgs:           r.cfg.InflightMessagesMax,
		MaxInflightBytes:          uint64(r.cfg.InflightBytesMax),
		CheckQuorum:               true,
		PreVote:                   true,
		StepDownOnRemoval:         true,
		DisableProposalForwarding: true,
		Logger:                    logger{},
	}
}

func raw(list []ids.ReplicaID) []uint64 {
	out := make([]uint64, len(list))
	for i, id := range list {
		out[i] = uint64(id)
	}
	return out
}

// Role is the replica's role as of the last Turn.
func (r *Replica) Role() Role { return r.role }

// Err is why the replica takes nothing any more, nil while it works.
func (r *Replica) Err() error { return r.err }

// Commit and Applied are the commit and the applied index, both inclusive.
func (r *Replica) Commit() ids.LogIndex  { return r.commit }
func (r *Replica) Applied() ids.LogIndex { return r.applied }

// Sole says whether this replica is the only voter of its group.
func (r *Replica) Sole() bool { return r.sole }

// Stats gives a copy of the counters.
func (r *Replica) Stats() Stats { return r.stats }

// Pending counts proposals and reads without an answer.
func (r *Replica) Pending() int {
	return r.queue.len() + r.durable.len() + r.committed.len() + r.held.len() + r.parted.len() + r.reads.len()
}

// NeedsTick says whether time matters to the replica: not to a leader that is its
// group's only member, which has nobody to send heartbeats to or to lose; unless a
// read still waits for members that are gone by now, and has to be asked again.
func (r *Replica) NeedsTick() bool {
	idle := r.quiet || r.alone() && r.role.State == Leader && len(r.reads.attempts) == 0
	return r.err == nil && r.incoming == nil && !idle
}

// alone says whether the group has no other member.
func (r *Replica) alone() bool { return r.sole && len(r.conf.Learners) == 0 }

// Tick passes one tick of time and says whether a Turn is due. Most ticks of most
// members change a counter and nothing else.
func (r *Replica) Tick() (due bool) {
	if r.err != nil || r.incoming != nil {
		return false
	}
	r.heard.now++
	r.remindSnapshots()
	if r.mayTick() {
		r.fail(r.guard(func() error { r.node.Tick(); return nil }))
	}
	r.tickDown()
	r.tickQuiet()
	r.reads.tick(2 * r.cfg.HeartbeatTicks)
	// Raft gives a transfer up without a Ready.
	return r.err != nil || r.quieting || r.handing || r.alone() || r.Pending() > 0 || r.node.HasReady()
}

// Step takes a message of a peer. Messages Raft does not want are ignored, as
// are all while a snapshot is installed (they come again), or while the replica is
// its group's only member: nobody has anything to say to it.
func (r *Replica) Step(m *raftpb.Message) {
	if r.err != nil || r.solo.on || r.incoming != nil || raft.IsLocalMsg(m.Type) {
		return
	}
	switch {
	case m.Type == raftpb.MsgHeartbeat && saysQuiet(m):
		if r.hearQuiet(m) {
			return
		}
	case m.Type == raftpb.MsgHeartbeatResp && !saysQuiet(m):
		// It may be under way since before this leader went quiet.
	default:
		r.Wake()
	}
	switch {
	case m.Type == raftpb.MsgReadIndex && r.early():
		return // it is asked again
	case saysCommitted(m):
		r.hearCommitted(m)
		return
	case m.Type == raftpb.MsgPreVote || m.Type == raftpb.MsgVote:
		if r.askedForVote(m); r.keepsVote(m) {
			return
		}
	}
	if m.Type == raftpb.MsgAppResp || m.Type == raftpb.MsgHeartbeatResp {
		r.heard.note(m.From)
	}
	r.step(m)
	if m.Type == raftpb.MsgHeartbeat {
		r.hearRound(m)
	}
}

// step hands m to Raft. Raft's refusals (an unknown peer, a proposal without a
// leader) need no action.
func (r *Replica) step(m *raftpb.Message) {
	r.fail(r.guard(func() error { _ = r.node.Step(*m); return nil }))
}

// Unreachable says messages to a peer were dropped: Raft probes it before it
// sends more.
func (r *Replica) Unreachable(peer ids.ReplicaID) {
	if r.err == nil {
		r.Wake()
		r.node.ReportUnreachable(uint64(peer))
		r.node.ReportSnapshot(uint64(peer), raft.SnapshotFailure) // if that is what was dropped
	}
}

// Campaign starts an election now, without waiting for the timeout; one that has
// promised its vote away (lease.go) does when it is free, unless there is a leader then.
func (r *Replica) Campaign() {
	switch {
	case r.err != nil || r.solo.on:
	case r.bound() && !r.sole:
		r.Wake()
		r.down = down{in: 1, tries: 1}
	default:
		r.Wake()
		r.fail(r.guard(func() error { _ = r.node.Campaign(); return nil }))
	}
}

// Transfer hands leadership to a peer; it is over when Role changes, or given
// up by Raft after an election timeout. Fails with ErrNotLeader elsewhere.
func (r *Replica) Transfer(to ids.ReplicaID) error {
	if r.err != nil {
		return r.err
	}
	r.observe()
	if r.role.State != Leader {
		return &NotLeaderError{Leader: r.role.Leader}
	}
	r.Wake()
	return r.guard(func() error { r.node.TransferLeader(uint64(to)); return nil })
}

// RequestTransfer is Transfer on any member: a follower passes the wish on to its
// leader, which may not hear it. Fails with ErrNotLeader where no leader is known.
func (r *Replica) RequestTransfer(to ids.ReplicaID) error {
	if r.err != nil {
		return r.err
	}
	r.observe()
	if r.role.Leader == 0 || r.solo.on {
		return r.notLeader()
	}
	r.Wake()
	return r.guard(func() error { r.node.TransferLeader(uint64(to)); return nil })
}

// Stop ends the replica: everything unanswered is failed with err, and every
// later call is refused with it. Idempotent. What was handed out in Records may
// still become durable.
func (r *Replica) Stop(err error) {
	if r.err != nil {
		return
	}
	r.err = err
	if r.led != 0 {
		r.led = 0
		r.sm.Follow()
	}
	r.failAll(err)
	r.reads.failAll(err)
}

func (r *Replica) failAll(err error) {
	r.failQueue(err)
	r.durable.failAll(err)
	r.committed.failAll(err)
	r.held.failAll(err)
	r.parted.failAll(err)
}

// fail stops the replica if err is not nil.
func (r *Replica) fail(err error) {
	if err != nil {
		r.Stop(err)
	}
}

// guard runs f. An error of the storage under Raft, which Raft mostly answers
// with a panic, becomes ErrDamaged; any other panic is a bug and goes on.
func (r *Replica) guard(f func() error) (err error) {
	defer func() {
		if r.store.err != nil {
			_ = recover()
			err = fmt.Errorf("%w: group %d: read its log: %w", ErrDamaged, r.cfg.Group, r.store.err)
		}
	}()
	return f()
}

// observe compares Raft's role with the one last seen and acts on the change.
// It runs before anything that depends on leadership.
func (r *Replica) observe() {
	if r.solo.on {
		return
	}
	st := r.node.BasicStatus()
	r.commit = ids.LogIndex(st.Commit)
	r.handing = st.LeadTransferee != 0
	role := Role{State: states[st.RaftState], Term: ids.Term(st.Term), Leader: ids.ReplicaID(st.Lead)}
	if role == r.role {
		return
	}
	was := r.role
	r.role = role
	r.dropLease()
	if was.State == Leader && (role.State != Leader || role.Term != was.Term) {
		r.stepDown()
	}
	if role.State == Leader && (was.State != Leader || role.Term != was.Term) {
		r.uncommitted = 0
		r.heard.from, r.heard.last = r.heard.now, r.heard.last[:0]
		if forced().has(mutEarlyLead) {
			r.led = role.Term
			r.sm.Lead(r.led)
		}
	}
	if !r.mayLead() {
		r.queueBytes = 0
		r.part(&r.queue)
	}
	r.reads.again()
}

var states = [...]State{
	raft.StateFollower:     Follower,
	raft.StatePreCandidate: PreCandidate,
	raft.StateCandidate:    Candidate,
	raft.StateLeader:       Leader,
}

// stepDown ends a leadership: what was stamped is rolled back before any entry
// of the next leader is applied. Its waiters hear of it soon, see parted.
func (r *Replica) stepDown() {
	if r.led != 0 {
		r.led = 0
		r.sm.Follow()
	}
	r.parted.shown, r.parted.until = 0, r.heard.now+partedTicks
	r.part(&r.durable)
	if !forced().has(mutIndexOnly) {
		r.part(&r.held)
		r.part(&r.committed)
	}
	r.dropDoubts()
}

func (r *Replica) notLeader() error { return &NotLeaderError{Leader: r.role.Leader} }

// mayLead says whether proposals may wait here for a leadership that is about
// to begin: that of a leader before Lead, or of the only voter there is.
func (r *Replica) mayLead() bool { return r.sole || r.role.State == Leader }

// leading says whether Stamp may be called.
func (r *Replica) leading() bool {
	return r.led != 0 && r.led == r.role.Term && r.role.State == Leader
}
