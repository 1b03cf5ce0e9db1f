package replica_test

import (
	"errors"
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"os"
	"testing"
	"testing/cryptotest"
	"time"

	"dyno/engine/ids"
	"dyno/engine/replica"
	"dyno/engine/replica/replicatest"
	"dyno/engine/transport"
	"dyno/wal"
)

// sim is a cluster of one group on one goroutine: network, disks and clock are
// under its control, so a seed is a run. Disks are slow: an append is durable
// when the sim says so, and a crash loses those that are not.
type sim struct {
	t     testing.TB
	rng   *rand.Rand
	net   *transport.Network
	nodes []*simNode

	committed []replica.Entry // what any node applied, by index-1
	acked     map[string]bool // WaitCommit answered nil
	open      []*simWaiter    // every proposal ever made
	reads     []*simRead
	promise   time.Duration // of all voters; 0: no leases
	now       time.Duration // the clock of all, moved by the test
	quiet     int           // ticks that a quiet node did not need
	history   []string      // one line per thing that matters, for replay
}

type simNode struct {
	s    *sim
	id   ids.NodeID
	rep  *replica.Replica
	sm   *replicatest.Machine
	log  *replica.MemoryLog
	wire transport.Transport
	out  replica.Output
	disk []simAppend // submitted, not durable, oldest first
	down bool

	incoming []replica.Snapshot // handed out, not installed
	last     replica.Snapshot   // installed last: its state outlives a crash
	installs int
}

type simAppend struct {
	records []wal.Record
	stored  []replica.Stored
}

type simWaiter struct {
	s       *sim
	data    string
	wait    replica.Wait
	answers int
	err     error
}

func (w *simWaiter) Proposed(p *replica.Proposal, err error) {
	w.answers++
	w.err = err
	w.s.note("answer %s %d/%d %v", w.data, p.Index, p.Term, err)
	if err == nil && w.wait == replica.WaitCommit {
		w.s.acked[w.data] = true
		if int(p.Index) > len(w.s.committed) || string(w.s.committed[p.Index-1].Data) != w.data {
			w.s.t.Fatalf("answered %s at index %d, which is not what is committed there", w.data, p.Index)
		}
	}
}

// simRead expects to see at least what was committed when it began.
type simRead struct {
	s       *sim
	floor   int
	answers int
}

func (r *simRead) ReadReady(index ids.LogIndex, err error) {
	r.answers++
	r.s.note("read %d %v", index, err)
	if err == nil && int(index) < r.floor {
		r.s.t.Fatalf("stale read: index %d, but %d was applied somewhere before it began", index, r.floor)
	}
}

func newSim(t testing.TB, seed uint64, nodes int, promise ...time.Duration) *sim {
	s := &sim{t: t, promise: append(promise, 0)[0], rng: rand.New(rand.NewPCG(seed, 1)), net: transport.NewNetwork(seed), acked: map[string]bool{}}
	for i := range nodes {
		n := &simNode{s: s, id: ids.NodeID(i + 1), log: replica.NewMemoryLog(), sm: replicatest.NewMachine()}
		n.sm.Seen = s.seen
		s.nodes = append(s.nodes, n)
	}
	for _, n := range s.nodes {
		n.start()
	}
	return s
}

func (s *sim) note(format string, args ...any) {
	s.history = append(s.history, fmt.Sprintf(format, args...))
}

// seen checks that all nodes apply the same.
func (s *sim) seen(e replica.Entry) {
	if int(e.Index) == len(s.committed)+1 {
		s.committed = append(s.committed, e)
		s.note("commit %d/%d %s", e.Index, e.Term, e.Data)
		return
	}
	if c := s.committed[e.Index-1]; c.Term != e.Term || string(c.Data) != string(e.Data) {
		s.t.Fatalf("index %d: applied %d %q and %d %q", e.Index, c.Term, c.Data, e.Term, e.Data)
	}
}

func (n *simNode) take() (replica.Snapshot, error) {
	at := n.sm.Applied()
	term, err := n.log.Term(at)
	return replica.Snapshot{Index: at, Term: term, State: n.sm.State()}, err
}

// compact cuts the log at what is applied.
func (n *simNode) compact() {
	at := n.sm.Applied()
	if at < n.log.First() {
		return
	}
	term, err := n.log.Term(at)
	if err != nil {
		n.s.t.Fatal(err)
	}
	n.disk = append(n.disk, simAppend{records: []wal.Record{{Kind: wal.KindTruncateBefore, Index: uint64(at) + 1, Term: uint64(term)}}})
	n.log.Cut(at + 1)
	n.s.note("compact %d to %d", n.id, at)
}

// realign does what an owner does that finds a snapshot's state beside an older
// log.
func (n *simNode) realign() {
	if n.sm.Applied() > n.log.Last() {
		n.log.Save([]wal.Record{{Kind: wal.KindTruncateBefore, Index: uint64(n.last.Index) + 1, Term: uint64(n.last.Term)}})
		n.log = n.log.Reopen()
	}
}

func (n *simNode) start() {
	n.realign()
	n.wire = n.s.net.Node(n.id)
	n.wire.Start(n)
	var voters []ids.ReplicaID
	for i := range n.s.nodes {
		voters = append(voters, ids.ReplicaID(i+1))
	}
	rep, err := replica.New(replica.Config{
		Group: 1, ID: ids.ReplicaID(n.id), Voters: voters, ElectionTicks: 10, HeartbeatTicks: 2,
		UncommittedBytesMax: 64, QueueBytesMax: 64, MessageBytesMax: 40, InflightBytesMax: 200, ApplyBytesMax: 30,
		ReadSeed: uint64(len(n.s.history)), Take: n.take, SnapshotTicks: 20, QuietTicks: 6,
		Promise: n.s.promise, Clock: func() time.Duration { return n.s.now },
	}, n.log, n.sm)
	if err != nil {
		n.s.t.Fatalf("node %d: %v", n.id, err)
	}
	n.rep, n.down = rep, false
}

// crash loses what is not durable; the state machine keeps a checkpoint, or
// starts from nothing.
func (n *simNode) crash() {
	n.s.note("crash %d", n.id)
	n.wire.Close()
	n.rep.Stop(replica.ErrStopped)
	n.disk, n.incoming, n.down = nil, nil, true
	n.out.Reset()
	n.log = n.log.Reopen()
	if n.s.rng.IntN(2) == 0 || n.log.First() > 1 {
		n.sm = n.sm.Restart()
	} else {
		n.sm = replicatest.NewMachine()
		n.sm.Seen = n.s.seen
	}
}

func (n *simNode) Receive(_ ids.NodeID, batch []transport.Envelope) {
	for i := range batch {
		n.rep.Step(&batch[i].Message)
	}
	n.turn()
}

func (n *simNode) Unreachable(_ ids.NodeID, _ ids.GroupID, to ids.ReplicaID) {
	n.rep.Unreachable(to)
	n.turn()
}

// turn is the owner's loop: send, then append.
func (n *simNode) turn() {
	if err := n.rep.Turn(0, &n.out); err != nil {
		n.s.t.Fatalf("node %d: %v", n.id, err)
	}
	for i := range n.out.Messages {
		m := n.out.Messages[i]
		n.wire.Send(ids.NodeID(m.To), transport.LaneOf(&m), []transport.Envelope{{Group: 1, Message: m}})
	}
	if len(n.out.Records) > 0 || len(n.out.Stored) > 0 {
		n.disk = append(n.disk, simAppend{
			append([]wal.Record(nil), n.out.Records...), append([]replica.Stored(nil), n.out.Stored...),
		})
	}
	for _, in := range n.out.Snapshots {
		n.incoming = append(n.incoming, in.Snapshot)
	}
	n.out.Reset()
}

// install makes the state of a snapshot durable.
func (n *simNode) install() {
	if len(n.incoming) == 0 {
		return
	}
	n.last, n.incoming = n.incoming[0], n.incoming[1:]
	n.installs++
	n.s.note("install %d at %d", n.id, n.last.Index)
	n.rep.Installed(nil, &n.out)
	n.turn()
}

// sync makes the oldest append durable.
func (n *simNode) sync() {
	if len(n.disk) == 0 {
		return
	}
	a := n.disk[0]
	n.disk = n.disk[1:]
	n.log.Save(a.records)
	for i := range a.stored {
		n.rep.Stored(&a.stored[i], &n.out)
	}
	n.turn()
}

func (n *simNode) propose(count int) {
	var drain []*replica.Proposal
	for range count {
		w := &simWaiter{s: n.s, data: fmt.Sprint("p", len(n.s.open)), wait: replica.WaitCommit}
		if n.s.rng.IntN(4) == 0 {
			w.wait = replica.WaitDurable
		}
		n.s.open = append(n.s.open, w)
		drain = append(drain, &replica.Proposal{Data: []byte(w.data), Wait: w.wait, Waiter: w})
	}
	n.rep.Propose(drain)
	n.turn()
}

// step does one random thing.
func (s *sim) step() {
	n := s.nodes[s.rng.IntN(len(s.nodes))]
	if n.down {
		if s.rng.IntN(20) == 0 {
			n.start()
		}
		return
	}
	switch r := s.rng.IntN(1000); {
	case r < 300:
		if n.rep.NeedsTick() {
			n.rep.Tick()
			n.turn()
		}
	case r < 550:
		n.sync()
		n.install()
	case r < 700:
		n.propose(1 + s.rng.IntN(8))
	case r < 980:
		s.net.Advance(time.Duration(s.rng.IntN(5)) * time.Millisecond)
	case r < 988:
		read := &simRead{s: s, floor: len(s.committed)}
		s.reads = append(s.reads, read)
		n.rep.ReadIndex(read)
		n.turn()
	case r < 991:
		s.net.Isolate(n.id)
	case r < 996:
		s.net.Heal(n.id)
	case r < 997:
		n.compact()
	case r < 998:
		_ = n.rep.Transfer(ids.ReplicaID(1 + s.rng.IntN(len(s.nodes))))
		n.turn()
	default:
		n.crash()
	}
}

// settle heals everything and lets the cluster come to rest.
func (s *sim) settle(rounds int) {
	s.net.SetLinks(transport.Link{})
	for range rounds {
		for _, n := range s.nodes {
			if n.down {
				n.start()
			}
			if n.rep.NeedsTick() {
				n.rep.Tick()
			} else if n.rep.Quiet() {
				s.quiet++
			}
			n.turn()
			n.install()
			for len(n.disk) > 0 {
				n.sync()
			}
			s.net.Advance(time.Millisecond)
		}
	}
}

func (s *sim) leader() *simNode {
	for _, n := range s.nodes {
		if !n.down && n.rep.Role().State == replica.Leader {
			return n
		}
	}
	return nil
}

// check is what must hold at rest.
func (s *sim) check() {
	final := map[string]int{}
	for _, e := range s.committed {
		if len(e.Data) > 0 {
			final[string(e.Data)]++
		}
	}
	for data := range s.acked {
		if final[data] != 1 {
			s.t.Errorf("%s was acknowledged and is %d times in the log", data, final[data])
		}
	}
	for _, w := range s.open {
		if w.answers != 1 {
			s.t.Errorf("%s was answered %d times", w.data, w.answers)
		}
	}
	for _, r := range s.reads {
		if r.answers != 1 {
			s.t.Errorf("a read was answered %d times", r.answers)
		}
	}
	for _, n := range s.nodes {
		if got := int(n.sm.Applied()); got != len(s.committed) {
			s.t.Errorf("node %d applied %d of %d", n.id, got, len(s.committed))
		}
		if n.rep.Pending() != 0 {
			s.t.Errorf("node %d: %d pending at rest", n.id, n.rep.Pending())
		}
	}
}

func (s *sim) hash() uint64 {
	h := fnv.New64a()
	for _, line := range s.history {
		h.Write([]byte(line + "\n"))
	}
	return h.Sum64()
}

func simulate(t *testing.T, seed uint64, nodes, steps int) *sim {
	cryptotest.SetGlobalRandom(t, seed) // raft's election jitter
	s := newSim(t, seed, nodes)
	for range 2 { // the second time out of a rest, in which groups have gone quiet
		s.net.SetLinks(transport.Link{
			DelayMin: time.Millisecond, DelayMax: 4 * time.Millisecond, Loss: 0.02, Duplicate: 0.02, Reorder: 0.1,
		})
		for range steps / 2 {
			s.step()
		}
		s.settle(150)
		s.check()
	}
	return s
}

func TestSimulation(t *testing.T) {
	seeds := 60
	if os.Getenv("DYNO_LONG") != "" {
		seeds = 2000
	}
	var acked, failed, installs, quiet int
	for seed := range seeds {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			s := simulate(t, uint64(seed), []int{3, 3, 1}[seed%3], 3000)
			acked += len(s.acked)
			quiet += s.quiet
			for _, n := range s.nodes {
				installs += n.installs
			}
			for _, w := range s.open {
				if w.err != nil {
					failed++
				}
			}
		})
		if t.Failed() {
			return
		}
	}
	if acked == 0 || failed == 0 || installs == 0 || quiet == 0 {
		t.Fatalf("%d acknowledged, %d failed, %d snapshots, %d quiet ticks: the simulation shows nothing", acked, failed, installs, quiet)
	}
	t.Logf("%d proposals acknowledged, %d failed, %d snapshots installed, %d quiet ticks", acked, failed, installs, quiet)
}

func TestSimulationReplays(t *testing.T) {
	var hashes []uint64
	for i := range 3 {
		t.Run("", func(t *testing.T) { hashes = append(hashes, simulate(t, uint64(7+i/2), 3, 2000).hash()) })
	}
	if hashes[0] != hashes[1] || hashes[0] == hashes[2] {
		t.Fatalf("seeds 7, 7, 8 gave histories %x", hashes)
	}
}

func TestAnswersAreTyped(t *testing.T) {
	s := newSim(t, 1, 3)
	s.nodes[0].propose(1)
	if w := s.open[0]; !errors.Is(w.err, replica.ErrNotLeader) {
		t.Fatalf("a follower answered %v", w.err)
	}
	s.settle(60)
	for _, n := range s.nodes {
		if n == s.leader() {
			continue
		}
		n.propose(1)
		var nl *replica.NotLeaderError
		if w := s.open[len(s.open)-1]; !errors.As(w.err, &nl) || nl.Leader != ids.ReplicaID(s.leader().id) {
			t.Fatalf("node %d answered %v, the leader is %d", n.id, w.err, s.leader().id)
		}
	}
}
