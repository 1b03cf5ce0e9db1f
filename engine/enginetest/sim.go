package enginetest

import (
	"bytes"
	"fmt"
	"math"
	"math/rand/v2"
	"regexp"
	"time"

	"dyno/engine/ids"
	"dyno/engine/replica"
)

// SimConfig is one run of a simulation. Zero values mean the defaults named
// here.
type SimConfig struct {
	Seed       uint64
	Nodes      int // 3; with moves 3 to 5
	Partitions int // 4
	Replicas   int // 3, or all nodes if there are fewer
	// Operations and Faults are how many there are at least: 2,000 and 20.
	Operations, Faults int
	SegmentBytes       int64          // 64 KiB, the smallest there is
	TailBytes          int64          // 32 KiB
	Replica            replica.Config // see Config
	// Files moves entries to files and deletes the oldest, so that replicas that
	// lag are given snapshots.
	Files bool
	// Moves lets replicas move from node to node, and nodes lose their disks. A third
	// of the seeds do it anyhow.
	Moves bool
	// MinInsync: see Config.
	MinInsync int
	// Leases lets leaders read by leases, which rest on promises of leasePromise. More
	// is read then, and half of it from nodes that think they lead.
	Leases bool
	// Messages keeps every message in the trace, Only no more than what matches.
	Messages bool
	Only     *regexp.Regexp
}

// SimResult is what a run did.
type SimResult struct {
	Operations int // new batches, reads and linearizable reads
	Acked      int // batches of acks=all that were acknowledged
	Retries    int // batches sent again
	Unknown    int // batches whose outcome their client never learned
	NoRoom     int // attempts that a full disk refused
	Entries    int // committed, in all partitions
	Quiets     int // heartbeats by which a group went quiet
	LeaseReads int // linearizable reads that a leader answered alone
	Filed      int // brought to files: times begun
	Snapshots  int // installed
	MovesBegun int // of replicas
	MovesDone  int // less than that where one was changed on its way, or taken back
	Faults     map[string]int
	Steps      int
	Hash       uint64 // of everything that happened
	Violations []string
	Trace      []string // its end
	History    []Event  // what clients saw, for a check of its own
}

// Event is one operation as its client saw it. Times are steps of the
// simulation; End 0 means the client never learned the outcome.
type Event struct {
	Partition  int
	Client     int
	Start, End int
	Kind       EventKind
	Value      int64      // Produced: the batch's number, unique in the partition
	Offset     ids.Offset // Produced: where it begins, -1 if that was never told. Fetched: from where. Told: the end
	Records    int32      // Produced
	Next       ids.Offset // Fetched: the offset after what was read
	Values     []int64    // Fetched: the batches read
}

// EventKind is what a client asked for.
type EventKind uint8

// The kinds of Event.
const (
	Produced EventKind = iota // with acks=all, idempotent
	Fetched
	Told // the latest offset
)

// Sim is a cluster whose network, disks, clocks, clients and misfortunes are
// chosen by one random source.
type Sim struct {
	cfg    SimConfig
	rng    *rand.Rand
	c      *Cluster
	step   int
	moves  bool
	doomed *Node // it is going to lose its disks
	idle   int   // clients do nothing before this step
	harsh  int   // faults in a thousand steps: some seeds have long good times
	res    SimResult
	later  []repair // by due time

	producers []*producer
	readers   []*reader
	latest    []*asked
	numbers   []int64 // of the last batch per partition
}

// repair is the end of a fault.
type repair struct {
	due int
	f   func()
}

// stepsMax bounds a run that makes no progress.
const stepsMax = 400_000

// Simulate plays one seed. The caller is in a bubble, with crypto/rand seeded.
func Simulate(cfg SimConfig) *SimResult {
	rng := rand.New(rand.NewPCG(cfg.Seed, 0x73696d))
	cfg.Moves = rng.IntN(3) == 0 || cfg.Moves
	if cfg.Moves && cfg.Nodes == 0 {
		cfg.Nodes = 3 + rng.IntN(3)
	}
	def(&cfg.Nodes, 3)
	def(&cfg.Partitions, 4)
	def(&cfg.SegmentBytes, 64<<10)
	def(&cfg.Operations, 2000)
	def(&cfg.Faults, 20)
	s := &Sim{cfg: cfg, rng: rng, moves: cfg.Moves && cfg.Nodes > 1}
	s.res.Faults = map[string]int{}
	s.harsh = 2 + s.rng.IntN(7)
	if s.cfg.Replica.QuietTicks == 0 && s.rng.IntN(2) == 0 {
		s.cfg.Replica.QuietTicks = 1 + s.rng.IntN(5)
	}
	s.c = New(Config{
		Nodes: cfg.Nodes, Partitions: cfg.Partitions, Replicas: cfg.Replicas, Seed: s.rng.Uint64() >> 8,
		ByHand: true, SegmentBytes: cfg.SegmentBytes, TailBytes: cfg.TailBytes, Replica: s.cfg.Replica, Files: cfg.Files,
		MinInsync: cfg.MinInsync, Promise: cfg.promise(),
	})
	defer func() {
		s.c.Close()
		s.res.LeaseReads = int(s.c.leaseReads)
	}()
	s.c.ShowMessages(cfg.Messages)
	s.c.ShowOnly(cfg.Only)
	s.numbers = make([]int64, cfg.Partitions)
	s.c.SetLinks(calm)
	s.clients()
	s.play()
	s.finish()
	s.res.Steps, s.res.Hash, s.res.Snapshots = s.step, s.c.Hash(), s.c.snapshots
	s.res.Quiets, s.res.MovesDone = s.c.trace.quiets, s.c.moved
	s.res.Violations, s.res.Trace = s.c.Violations(), s.c.Lines()
	return &s.res
}

// leasePromise is some elections long: what breaks a promise elects in time.
const leasePromise = 80 * time.Millisecond

func (c *SimConfig) promise() time.Duration {
	if c.Leases {
		return leasePromise
	}
	return 0
}

// clients are two producers a partition, of acks=1 for every fourth partition and
// of acks=all for the others, and a reader at each node that may hold it.
func (s *Sim) clients() {
	for i := range 2 * s.cfg.Partitions {
		p := &producer{s: s, id: ids.ProducerID(1000 + i), part: i % s.cfg.Partitions, wait: replica.WaitCommit, patience: 100 + s.rng.IntN(900)}
		if p.part%4 == 3 {
			p.wait = replica.WaitDurable
		}
		p.target = s.anyReplica(p.part)
		s.producers = append(s.producers, p)
	}
	for p := range s.cfg.Partitions {
		nodes := s.c.Replicas(p)
		if s.moves {
			nodes = s.c.nodes
		}
		for _, n := range nodes {
			s.readers = append(s.readers, &reader{n: n, p: p})
		}
	}
}

// play runs until there were enough operations and faults, or something that
// must not happen did.
func (s *Sim) play() {
	for s.res.Operations < s.cfg.Operations || s.faults() < s.cfg.Faults {
		if s.step++; s.step > stepsMax {
			s.c.Violation("no progress: %d operations and %d faults after %d steps", s.res.Operations, s.faults(), s.step)
		}
		s.repair()
		s.one()
		if s.step%64 == 0 && len(s.c.Violations()) > 0 {
			return
		}
	}
}

func (s *Sim) faults() (n int) {
	for _, k := range s.res.Faults {
		n += k
	}
	return n
}

// one is one stimulus.
func (s *Sim) one() {
	n := s.c.nodes[s.rng.IntN(s.cfg.Nodes)]
	if s.cfg.Files && s.rng.IntN(12) == 0 {
		s.tend(n)
		return
	}
	if s.moves && s.rng.IntN(16) == 0 {
		s.shift(n)
		return
	}
	switch r := s.rng.IntN(1000); {
	case r < 300:
		s.c.Advance(time.Duration(s.rng.IntN(2000)) * time.Microsecond)
	case r < 460:
		if n.up {
			n.Tick()
		}
	case r < 720:
		if n.up && n.Waiting() > 0 && (!n.slow || s.rng.IntN(20) == 0) {
			n.Pass()
		}
	case r < 1000-s.harsh:
		s.operate()
	default:
		s.fault()
	}
}

// tend does a piece of the work that keeps a node's log short.
func (s *Sim) tend(n *Node) {
	p := s.rng.IntN(s.cfg.Partitions)
	switch r := s.rng.IntN(20); {
	case r < 10:
		n.Grant()
	case r < 13:
		if n.ToFiles(p) {
			s.res.Filed++
		}
	case r < 15:
		n.Reclaim()
	case r < 18:
		n.Retain(p)
	default:
		leader := s.c.Leader(p)
		if leader == nil {
			return
		}
		o := leader.parts[p].Offsets()
		offset := o.HighWatermark
		if s.rng.IntN(2) == 0 {
			offset = o.LogStart + ids.Offset(s.rng.Int64N(int64(o.HighWatermark-o.LogStart)+1))
		}
		_ = leader.DeleteRecords(p, offset) // refused or not: Apply tells
	}
}

// operate lets one client do something.
func (s *Sim) operate() {
	if s.step < s.idle {
		return
	}
	switch r := s.rng.IntN(100); {
	case s.cfg.Leases && r%4 == 0:
		s.ask()
	case r < 70:
		s.producers[s.rng.IntN(len(s.producers))].act()
	case r < 88:
		if s.readers[s.rng.IntN(len(s.readers))].act(s) {
			s.res.Operations++
		}
	default:
		s.ask()
	}
}

// after runs f some steps from now.
func (s *Sim) after(steps int, f func()) {
	s.later = append(s.later, repair{s.step + steps, f})
}

func (s *Sim) repair() {
	for i := 0; i < len(s.later); {
		if r := s.later[i]; r.due <= s.step {
			s.later = append(s.later[:i], s.later[i+1:]...)
			r.f()
		} else {
			i++
		}
	}
}

// anyReplica is one of the nodes that hold a partition.
func (s *Sim) anyReplica(p int) *Node {
	list := s.c.Replicas(p)
	return list[s.rng.IntN(len(list))]
}

// finish repairs everything, lets every client come to an end, and checks what
// can only be checked at rest.
func (s *Sim) finish() {
	if len(s.c.Violations()) > 0 {
		return
	}
	s.later = nil
	err := s.c.Rest(400, func() bool {
		content := true
		for _, p := range s.producers {
			s.step++
			content = p.drain() && content
		}
		return s.answered() && content
	})
	if err != nil {
		s.c.Violation("%v", err)
		return
	}
	s.verify()
}

// reader reads a partition from one node, at its own pace.
type reader struct {
	n    *Node
	p    int
	next ids.Offset
	hw   ids.Offset
	m    *machine // that it read from last
}

// act reads on, or anywhere. It reports whether it asked.
func (r *reader) act(s *Sim) bool {
	if !r.n.up || r.n.parts[r.p] == nil {
		return false
	}
	from := r.next
	if s.rng.IntN(3) == 0 {
		from = ids.Offset(s.rng.Int64N(int64(r.next) + 20))
	}
	s.step++
	next, hw, err := r.n.Read(r.p, from, 1+s.rng.IntN(8<<10))
	if r.m == r.n.parts[r.p] && hw < r.hw {
		s.c.Violation("node %d p%d: a reader saw high watermark %d after %d", r.n.id, r.p, hw, r.hw)
	}
	r.m, r.hw = r.n.parts[r.p], hw
	if err == nil && from == r.next {
		r.next = next
	}
	if err == nil {
		s.fetched(r, from, next)
	}
	return true
}

// fetched keeps a read for the history.
func (s *Sim) fetched(r *reader, from, next ids.Offset) {
	e := Event{Partition: r.p, Client: 100 + int(r.n.id), Start: s.step, End: s.step, Kind: Fetched, Offset: from, Next: next}
	for o := from; o < next; {
		place, entry, _ := s.c.logs[r.p].at(o)
		if o == from {
			e.Offset = place.base
		}
		e.Values = append(e.Values, number(entry.Data))
		o = place.end
	}
	s.res.History = append(s.res.History, e)
}

// asked is a linearizable read under way.
type asked struct {
	*Latest
	client, since int
}

// askedMax bounds the questions that are open at once.
const askedMax = 12

// ask begins a linearizable read at any node.
func (s *Sim) ask() {
	s.answered()
	if len(s.latest) >= askedMax {
		s.latest[0].Cancel()
		return
	}
	p := s.rng.IntN(s.cfg.Partitions)
	n := s.anyReplica(p)
	if s.cfg.Leases && s.rng.IntN(2) == 0 {
		n = s.thinksItLeads(p, n)
	}
	if !n.up || n.parts[p] == nil {
		return
	}
	s.step++
	r, err := n.Latest(p)
	if err != nil {
		s.c.Violation("ask node %d: %v", n.id, err)
		return
	}
	s.res.Operations++
	s.latest = append(s.latest, &asked{r, 200 + s.res.Operations, s.step})
}

// thinksItLeads is a node that does, of several the one that is right the least, or
// other where none does.
func (s *Sim) thinksItLeads(p int, other *Node) *Node {
	lowest := ids.Term(math.MaxUint64)
	for _, n := range s.c.nodes {
		if st, ok := n.Status(p); ok && st.State == replica.Leader && st.Term < lowest {
			other, lowest = n, st.Term
		}
	}
	return other
}

// answered takes the answers that are there and says whether none is missing.
func (s *Sim) answered() bool {
	left := s.latest[:0]
	for _, a := range s.latest {
		switch {
		case !a.Done():
			left = append(left, a)
		case a.Err == nil:
			s.step++
			s.res.History = append(s.res.History, Event{
				Partition: a.p, Client: a.client, Start: a.since, End: s.step, Kind: Told, Offset: a.HW,
			})
		}
	}
	s.latest = left
	return len(left) == 0
}

// verify looks at the cluster at rest: all replicas hold the same, every batch
// that was acknowledged is there, once and in order, and can be read.
func (s *Sim) verify() {
	for p := range s.cfg.Partitions {
		l := &s.c.logs[p]
		s.res.Entries += len(l.entries)
		for _, n := range s.c.Replicas(p) {
			if m := n.parts[p]; m.sum != l.sums[len(l.sums)-1] {
				s.c.Violation("node %d p%d: checksum %08x, the log's is %08x", n.id, p, m.sum, l.sums[len(l.sums)-1])
			}
			if first := s.c.Replicas(p)[0]; !bytes.Equal(n.parts[p].State(), first.parts[p].State()) {
				s.c.Violation("p%d: nodes %d and %d have different state:\n%x\n%x", p, first.id, n.id, first.parts[p].State(), n.parts[p].State())
			}
			s.readAll(n, p)
		}
		s.sequences(p)
		s.settled(p)
		s.step++
		s.fetched(&reader{n: s.c.Replicas(p)[0], p: p}, 0, l.ends[len(l.ends)-1])
	}
	for _, p := range s.producers {
		p.verify()
	}
}

// readAll reads a whole partition; Read compares it with what is committed. The
// history ends with such a read.
func (s *Sim) readAll(n *Node, p int) {
	end := s.c.logs[p].ends[len(s.c.logs[p].ends)-1]
	for o := n.parts[p].Offsets().LogStart; o < end; {
		next, _, err := n.Read(p, o, 1+s.rng.IntN(64<<10))
		if err != nil || next == o {
			s.c.Violation("node %d p%d: read %d of %d: %v", n.id, p, o, end, err)
			return
		}
		o = next
	}
}

// sequences checks that no idempotent batch is twice in the log or out of order,
// and that within an epoch of a producer with acks=all none is missing before
// another.
func (s *Sim) sequences(p int) {
	type seen struct {
		epoch int16
		next  int32
	}
	of := map[ids.ProducerID]seen{}
	for _, place := range s.c.logs[p].batches {
		_, in := header(s.c.logs[p].entries[place.index-1].Data)
		was, known := of[in.ProducerID]
		follows := known && in.ProducerEpoch == was.epoch && in.BaseSequence == was.next
		begins := (!known || in.ProducerEpoch > was.epoch) && in.BaseSequence == 0
		if s.producer(in.ProducerID).wait != replica.WaitCommit {
			begins = !known || in.ProducerEpoch > was.epoch // what came before may be lost
		}
		if !follows && !begins {
			s.c.Violation("p%d offset %d: producer %d epoch %d sequence %d, where epoch %d sequence %d is next",
				p, place.base, in.ProducerID, in.ProducerEpoch, in.BaseSequence, was.epoch, was.next)
		}
		of[in.ProducerID] = seen{in.ProducerEpoch, in.BaseSequence + in.Records}
	}
}

func (s *Sim) producer(id ids.ProducerID) *producer { return s.producers[id-1000] }

// String is one line.
func (r *SimResult) String() string {
	return fmt.Sprintf("%d operations, %d batches acknowledged, %d sent again, %d unknown, %d refused by a full disk, %d entries, %d quiet, %d read by lease, %d to files, %d snapshots, %d of %d moves done, %d steps, faults %v, hash %016x",
		r.Operations, r.Acked, r.Retries, r.Unknown, r.NoRoom, r.Entries, r.Quiets, r.LeaseReads, r.Filed, r.Snapshots, r.MovesDone, r.MovesBegun, r.Steps, r.Faults, r.Hash)
}
