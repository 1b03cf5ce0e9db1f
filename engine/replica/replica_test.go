package replica_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"go.etcd.io/raft/v3"
	"go.etcd.io/raft/v3/raftpb"

	"dyno/engine/ids"
	"dyno/engine/replica"
	"dyno/engine/replica/replicatest"
	"dyno/wal"
)

// solo is a sole voter under the test's control.
type solo struct {
	t   *testing.T
	rep *replica.Replica
	sm  *replicatest.Machine
	log *replica.MemoryLog
	out replica.Output
}

func newSolo(t *testing.T, log *replica.MemoryLog, sm *replicatest.Machine, change func(*replica.Config)) *solo {
	t.Helper()
	cfg := replica.Config{Group: 1, ID: 1, Voters: []ids.ReplicaID{1}}
	if change != nil {
		change(&cfg)
	}
	rep, err := replica.New(cfg, log, sm)
	if err != nil {
		t.Fatal(err)
	}
	return &solo{t: t, rep: rep, sm: sm, log: log}
}

func fresh(t *testing.T, change func(*replica.Config)) *solo {
	t.Helper()
	s := newSolo(t, replica.NewMemoryLog(), replicatest.NewMachine(), change)
	s.lead()
	return s
}

func (s *solo) lead() {
	s.t.Helper()
	s.rep.Campaign()
	s.run()
	if s.rep.Role().State != replica.Leader {
		s.t.Fatalf("role %+v after an election of one", s.rep.Role())
	}
}

// turn leaves what must be stored in out.
func (s *solo) turn() error { return s.rep.Turn(1, &s.out) }

// run turns and stores until nothing is left.
func (s *solo) run() {
	for {
		_ = s.turn()
		if len(s.out.Records) == 0 && len(s.out.Stored) == 0 {
			return
		}
		s.store()
	}
}

// store makes what out holds durable.
func (s *solo) store() {
	s.log.Save(s.out.Records)
	stored := slices.Clone(s.out.Stored)
	s.out.Reset()
	for i := range stored {
		s.rep.Stored(&stored[i], &s.out)
	}
}

func proposal(data string, wait replica.Wait) (*replica.Proposal, *replicatest.Waiter) {
	w := replicatest.NewWaiter()
	return &replica.Proposal{Data: []byte(data), Wait: wait, Waiter: w}, w
}

func (s *solo) propose(data ...string) []*replicatest.Waiter {
	var drain []*replica.Proposal
	var waiters []*replicatest.Waiter
	for _, d := range data {
		p, w := proposal(d, replica.WaitCommit)
		drain, waiters = append(drain, p), append(waiters, w)
	}
	s.rep.Propose(drain)
	return waiters
}

func wantErr(t *testing.T, w *replicatest.Waiter, target error) {
	t.Helper()
	if !w.Answered() {
		t.Fatalf("no answer, want %v", target)
	}
	if err := w.Err(); !errors.Is(err, target) {
		t.Fatalf("answer %v, want %v", err, target)
	}
}

func TestAnswersFollowTheLogAndTheCommit(t *testing.T) {
	s := fresh(t, nil)
	durable, wd := proposal("d", replica.WaitDurable)
	commit, wc := proposal("c", replica.WaitCommit)
	none := &replica.Proposal{Data: []byte("n")}
	s.rep.Propose([]*replica.Proposal{durable, commit, none})
	if err := s.turn(); err != nil || wd.Answered() || wc.Answered() {
		t.Fatalf("answered before anything is durable (%v)", err)
	}
	if st := s.rep.Stats(); st.Proposals != 1 || st.Proposed != 3 {
		t.Fatalf("%d messages for %d entries, want one for three", st.Proposals, st.Proposed)
	}
	if &s.out.Records[0].Data[0] != &durable.Data[0] {
		t.Fatal("the payload was copied on its way to the log")
	}
	s.store()
	if !wd.Answered() || wc.Answered() {
		t.Fatal("once durable: WaitDurable must be answered, WaitCommit not before apply")
	}
	s.run()
	wantErr(t, wc, nil)
	if wd.Index() != 2 || wc.Index() != 3 || commit.Term != 1 {
		t.Fatalf("places %d and %d in term %d", wd.Index(), wc.Index(), commit.Term)
	}
	if got := fmt.Sprint(s.sm.Data()); got != "[d c n]" {
		t.Fatalf("applied %s", got)
	}
}

func TestACommitIndexAloneCostsNoAppend(t *testing.T) {
	s := fresh(t, nil)
	s.propose("a")
	_ = s.turn()
	s.store()
	if err := s.turn(); err != nil || len(s.out.Records) != 0 || len(s.out.Stored) != 0 {
		t.Fatalf("%d records after a commit (%v)", len(s.out.Records), err)
	}
	s.rep.Flush(&s.out)
	if len(s.out.Records) != 1 || s.out.Records[0].Kind != wal.KindState || s.out.Records[0].Index != 2 {
		t.Fatalf("Flush gave %+v", s.out.Records)
	}
	s.rep.Flush(&s.out)
	if len(s.out.Records) != 1 {
		t.Fatal("Flush wrote the same state twice")
	}
}

func TestProposalsWaitForTheElection(t *testing.T) {
	s := newSolo(t, replica.NewMemoryLog(), replicatest.NewMachine(), func(c *replica.Config) { c.QueueBytesMax = 3 })
	early := s.propose("a", "b", "c", "d") // Machine panics if one is stamped before Lead
	wantErr(t, early[3], replica.ErrOverloaded)
	s.lead()
	for _, w := range early[:3] {
		wantErr(t, w, nil)
	}
	if got := s.sm.Calls(); fmt.Sprint(got) != "[lead 1]" {
		t.Fatalf("calls %q", got)
	}
}

// A small proposal must not pass a large one that was refused: not in the same
// drain, and not in the next, which may hold what was sent before the refusal.
func TestNothingPassesARefusedProposal(t *testing.T) {
	s := newSolo(t, replica.NewMemoryLog(), replicatest.NewMachine(), func(c *replica.Config) { c.QueueBytesMax = 6 })
	early := s.propose("aaaa", "BBBB", "c")
	wantErr(t, early[1], replica.ErrOverloaded)
	wantErr(t, early[2], replica.ErrOverloaded)
	wantErr(t, s.propose("d")[0], replica.ErrOverloaded)
	later := s.propose("e")
	s.lead()
	wantErr(t, early[0], nil)
	wantErr(t, later[0], nil)
}

func TestTheUncommittedLogIsBounded(t *testing.T) {
	s := fresh(t, func(c *replica.Config) { c.UncommittedBytesMax, c.QueueBytesMax = 10, 12 })
	w := s.propose("aaaa", "bbbb", "cccc", "dddd", "eeee", "ffff")
	_ = s.turn()
	// Two fit the log, three the queue behind it; the sixth is refused.
	if n := s.sm.Stamped(); n != 2 {
		t.Fatalf("%d stamped, want 2", n)
	}
	wantErr(t, w[3], replica.ErrOverloaded)
	s.run()
	for _, i := range []int{0, 1, 2} {
		wantErr(t, w[i], nil)
	}
	if st := s.rep.Stats(); st.Dropped != 0 || st.Overload != 3 {
		t.Fatalf("stats %+v", st)
	}
	behind := s.propose("a") // may have been sent before its proposer knew of the refusal
	wantErr(t, behind[0], replica.ErrOverloaded)
	big := s.propose(strings.Repeat("x", 100)) // one entry always fits
	s.run()
	wantErr(t, big[0], nil)
}

func TestStampRefusesAndParks(t *testing.T) {
	s := fresh(t, nil)
	broken := errors.New("out of sequence")
	s.sm.Refuse = func(p *replica.Proposal) error {
		switch p.Data[0] {
		case 'x':
			return broken
		case 'p':
			return replica.ErrParked
		}
		return nil
	}
	w := s.propose("a", "x", "parked", "b")
	s.run()
	wantErr(t, w[0], nil)
	wantErr(t, w[1], broken)
	wantErr(t, w[3], nil)
	if w[2].Answered() {
		t.Fatal("a parked proposal is the state machine's to answer")
	}
	if got := fmt.Sprint(s.sm.Data()); got != "[a b]" {
		t.Fatalf("applied %s", got)
	}
}

func TestFullLogProposesNothing(t *testing.T) {
	s := fresh(t, nil)
	s.out.Full = true
	w := s.propose("a")
	s.run()
	wantErr(t, w[0], replica.ErrDiskFull)
	s.out.Full = false
	w = s.propose("b")
	s.run()
	wantErr(t, w[0], nil)
}

func TestStopFailsEverythingOnce(t *testing.T) {
	s := newSolo(t, replica.NewMemoryLog(), replicatest.NewMachine(), func(c *replica.Config) { c.UncommittedBytesMax = 1 })
	s.lead()
	w := s.propose("a", "b")
	_ = s.turn()
	s.rep.Stop(replica.ErrStopped)
	s.rep.Stop(errors.New("again"))
	w = append(w, s.propose("c")...)
	for _, w := range w {
		wantErr(t, w, replica.ErrStopped)
	}
	s.store() // comes back late: nothing may happen
	if err := s.turn(); !errors.Is(err, replica.ErrStopped) || len(s.out.Records) != 0 {
		t.Fatalf("turn after Stop: %v, %d records", err, len(s.out.Records))
	}
	if got := s.sm.Calls(); got[len(got)-1] != "follow" {
		t.Fatalf("calls %q: the state machine was not told", got)
	}
}

func TestAnApplyErrorIsTheEnd(t *testing.T) {
	s := fresh(t, nil)
	s.sm.Broken = errors.New("bad entry")
	w := s.propose("a")
	s.run()
	wantErr(t, w[0], replica.ErrDamaged)
	wantErr(t, w[0], s.sm.Broken)
	if err := s.rep.Err(); !errors.Is(err, replica.ErrDamaged) {
		t.Fatalf("the replica goes on: %v", err)
	}
}

// badLog fails reads when broken.
type badLog struct {
	*replica.MemoryLog
	broken error
}

func (l *badLog) Entries(lo, hi ids.LogIndex, max int64) ([]raftpb.Entry, error) {
	if l.broken != nil {
		return nil, l.broken
	}
	return l.MemoryLog.Entries(lo, hi, max)
}

func TestAReadErrorOfTheLogIsDamage(t *testing.T) {
	before := fresh(t, nil)
	before.propose("old")
	before.run()
	log := &badLog{MemoryLog: before.log.Reopen()}
	rep, err := replica.New(replica.Config{Group: 1, ID: 1, Voters: []ids.ReplicaID{1}}, log, replicatest.NewMachine())
	if err != nil {
		t.Fatal(err)
	}
	s := &solo{t: t, rep: rep, log: log.MemoryLog}
	w := s.propose("a")
	log.broken = wal.ErrCorrupt
	s.rep.Campaign()
	s.run() // raft reads the entries it must apply and panics
	wantErr(t, w[0], replica.ErrDamaged)
	wantErr(t, w[0], wal.ErrCorrupt)
}

func TestNewRefusesWhatDoesNotFit(t *testing.T) {
	s := fresh(t, nil)
	s.propose("a", "b")
	s.run()
	ahead := s.sm.Restart()
	s.log.Save([]wal.Record{{Kind: wal.KindTruncateBefore, Index: 4, Term: 1}})
	cases := map[string]struct {
		log *replica.MemoryLog
		sm  replica.StateMachine
		cfg replica.Config
	}{
		"state ahead of an empty log": {log: replica.NewMemoryLog(), sm: ahead},
		"state behind a cut log":      {log: s.log.Reopen(), sm: replicatest.NewMachine()},
	}
	for name, c := range cases {
		_, err := replica.New(replica.Config{Group: 1, ID: 1, Voters: []ids.ReplicaID{1}}, c.log, c.sm)
		if !errors.Is(err, replica.ErrDamaged) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, cfg := range map[string]replica.Config{
		"no group":   {ID: 1, Voters: []ids.ReplicaID{1}},
		"no id":      {Group: 1, Voters: []ids.ReplicaID{1}},
		"no voters":  {Group: 1, ID: 1},
		"zero voter": {Group: 1, ID: 1, Voters: []ids.ReplicaID{0}},
		"ticks":      {Group: 1, ID: 1, Voters: []ids.ReplicaID{1}, ElectionTicks: 2, HeartbeatTicks: 2},
		"limits":     {Group: 1, ID: 1, Voters: []ids.ReplicaID{1}, MessageBytesMax: 1 << 40},
		"negative":   {Group: 1, ID: 1, Voters: []ids.ReplicaID{1}, ReadsMax: -1},
	} {
		if _, err := replica.New(cfg, replica.NewMemoryLog(), replicatest.NewMachine()); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

// A restart may find a commit index that lags far behind what was acknowledged,
// since it is written lazily; the state machine may be ahead of it.
func TestRestartWithALaggingCommitIndex(t *testing.T) {
	s := fresh(t, nil)
	s.propose("a", "b", "c")
	s.run()
	if state := s.log.Reopen().State(); state.Commit >= s.rep.Commit() {
		t.Fatalf("commit index %d on disk, %d in memory: nothing lags here", state.Commit, s.rep.Commit())
	}
	for name, sm := range map[string]*replicatest.Machine{"empty": replicatest.NewMachine(), "ahead": s.sm.Restart()} {
		t.Run(name, func(t *testing.T) {
			n := newSolo(t, s.log.Reopen(), sm, nil)
			n.lead()
			if got := fmt.Sprint(sm.Data()); got != "[a b c]" {
				t.Fatalf("applied %s", got)
			}
		})
	}
}

type readWaiter struct {
	index ids.LogIndex
	err   error
	n     int
}

func (r *readWaiter) ReadReady(index ids.LogIndex, err error) {
	r.index, r.err, r.n = index, err, r.n+1
}

// Raft alone answers a sole voter's ReadIndex from a commit index that may be
// behind what was acknowledged before the restart.
func TestReadsWaitForTheFirstEntryOfTheTerm(t *testing.T) {
	s := fresh(t, nil)
	s.propose("a", "b", "c")
	s.run()
	n := newSolo(t, s.log.Reopen(), replicatest.NewMachine(), nil)
	r := &readWaiter{}
	n.rep.ReadIndex(r)
	n.rep.Campaign()
	for _ = n.turn(); n.rep.Role().State != replica.Leader; _ = n.turn() {
		n.store()
	}
	if r.n != 0 {
		t.Fatalf("answered %d by a leader that has not committed in its term", r.index)
	}
	n.run()
	if r.n != 1 || r.err != nil || r.index < 4 {
		t.Fatalf("%d answers: index %d, %v", r.n, r.index, r.err)
	}
}

func TestReadsAreBoundedCancelledAndFailed(t *testing.T) {
	s := newSolo(t, replica.NewMemoryLog(), replicatest.NewMachine(), func(c *replica.Config) { c.ReadsMax = 2 })
	a, b, c := &readWaiter{}, &readWaiter{}, &readWaiter{}
	s.rep.ReadIndex(a)
	s.rep.ReadIndex(b)
	s.rep.ReadIndex(c)
	if c.n != 1 || !errors.Is(c.err, replica.ErrOverloaded) {
		t.Fatalf("a third read: %v", c.err)
	}
	s.rep.CancelRead(a)
	s.rep.Stop(replica.ErrStopped)
	if a.n != 0 || b.n != 1 || !errors.Is(b.err, replica.ErrStopped) {
		t.Fatalf("cancelled read heard %d times, the other %v", a.n, b.err)
	}
	s.rep.ReadIndex(c)
	if c.n != 2 || !errors.Is(c.err, replica.ErrStopped) {
		t.Fatalf("read after Stop: %v", c.err)
	}
}

// The reason for a fresh context per attempt, in raft v3.6.0 itself: node 1
// leads and reads with a context. Node 2's acknowledgement suffices, node 3's is
// still on its way when 2 and 3 elect another leader and commit more. The old
// leader, which knows nothing of it, reads again. With the context used before,
// the late acknowledgement of the first read answers the second one.
func TestReusedReadContextIsStale(t *testing.T) {
	for _, c := range []struct {
		second string
		stale  bool
	}{{"same", true}, {"other", false}} {
		node := rawLeader(t)
		node.ReadIndex([]byte("same"))
		rd := node.Ready()
		ack := raftpb.Message{Type: raftpb.MsgHeartbeatResp, To: 1, Term: rd.Messages[0].Term, Context: []byte("same")}
		ack.From = 2
		step(t, node, ack)
		if rd = node.Ready(); len(rd.ReadStates) != 1 {
			t.Fatalf("%d read states after a quorum answered", len(rd.ReadStates))
		}
		node.ReadIndex([]byte(c.second))
		node.Ready()
		ack.From = 3 // sent before 3 voted for another leader
		step(t, node, ack)
		stale := node.HasReady() && len(node.Ready().ReadStates) == 1
		if stale != c.stale {
			t.Errorf("second read with context %q answered by an old acknowledgement: %v, want %v", c.second, stale, c.stale)
		}
	}
}

// rawLeader is node 1 of 3 as the leader of term 1, with its first entry
// committed by node 2.
func rawLeader(t *testing.T) *raft.RawNode {
	t.Helper()
	store := raft.NewMemoryStorage()
	if err := store.ApplySnapshot(raftpb.Snapshot{Metadata: raftpb.SnapshotMetadata{
		Index: 1, Term: 1, ConfState: raftpb.ConfState{Voters: []uint64{1, 2, 3}},
	}}); err != nil {
		t.Fatal(err)
	}
	node, err := raft.NewRawNode(&raft.Config{
		ID: 1, ElectionTick: 10, HeartbeatTick: 1, Storage: store, MaxSizePerMsg: 1 << 20, MaxInflightMsgs: 10,
		CheckQuorum: true, Logger: quietLogger(),
	})
	if err != nil {
		t.Fatal(err)
	}
	advance := func() {
		rd := node.Ready()
		if !raft.IsEmptyHardState(rd.HardState) {
			store.SetHardState(rd.HardState)
		}
		store.Append(rd.Entries)
		node.Advance(rd)
	}
	node.Campaign()
	advance()
	step(t, node, raftpb.Message{Type: raftpb.MsgVoteResp, From: 2, To: 1, Term: node.BasicStatus().Term})
	advance()
	last, _ := store.LastIndex()
	step(t, node, raftpb.Message{Type: raftpb.MsgAppResp, From: 2, To: 1, Term: node.BasicStatus().Term, Index: last})
	advance()
	if st := node.BasicStatus(); st.RaftState != raft.StateLeader || st.Commit != last {
		t.Fatalf("not a leader with a committed entry: %+v", st)
	}
	for node.HasReady() {
		advance()
	}
	return node
}

func step(t *testing.T, node *raft.RawNode, m raftpb.Message) {
	t.Helper()
	if err := node.Step(m); err != nil {
		t.Fatal(err)
	}
}

func quietLogger() raft.Logger { return &raft.DefaultLogger{Logger: nullLog} }
