package enginetest

import (
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing/synctest"
	"time"

	"dyno/engine/ids"
	"dyno/engine/metadata"
	"dyno/engine/replica"
	"dyno/engine/transport"
)

// Config describes a cluster. Zero values mean the defaults named here.
type Config struct {
	Nodes      int // 3
	Partitions int // 1
	Replicas   int // of each partition: 3, or all nodes if there are fewer
	// Seed drives the network and what a power cut leaves.
	Seed uint64
	// ByHand keeps every append until Node.Pass; otherwise only a node that was
	// told to Hold keeps them, and all others are passed on at once.
	ByHand bool
	// SegmentBytes of each node's log: 256 KiB.
	SegmentBytes int64
	// TailBytes of entries that each node keeps in memory: 32 KiB.
	TailBytes int64
	// Files lets nodes move entries to files, drop them there, and send
	// snapshots; each file is FileBytes large: 1 KiB.
	Files     bool
	FileBytes int64
	// Lag is how many entries a learner may lack that is to vote: 16.
	Lag ids.LogIndex
	// MinInsync is how many voters must hold what is acknowledged with acks=all,
	// where that is more than a majority; 0: the majority.
	MinInsync int
	// Promise is that of every voter, see replica.Config; 0: no leases. Each node's
	// clock then has a rate of its own.
	Promise time.Duration
	// Replica is the template of every replica: elections after 10 ticks,
	// heartbeats every 2, a lost snapshot sent anew after 50, 8 KiB of entries
	// in a message and 16 KiB under way to a peer: segments are small, and what is
	// under way when a disk becomes full must find room in the reserve.
	Replica replica.Config
}

func (c *Config) setDefaults() {
	def(&c.Nodes, 3)
	def(&c.Partitions, 1)
	def(&c.Replicas, min(3, c.Nodes))
	def(&c.SegmentBytes, 256<<10)
	def(&c.TailBytes, 32<<10)
	def(&c.FileBytes, 1<<10)
	if c.Lag == 0 {
		c.Lag = 16
	}
	def(&c.Replica.ElectionTicks, 10)
	def(&c.Replica.HeartbeatTicks, 2)
	def(&c.Replica.SnapshotTicks, 50)
	def(&c.Replica.MessageBytesMax, 8<<10)
	def(&c.Replica.InflightBytesMax, 16<<10)
}

func def[T int | int64](p *T, value T) {
	if *p == 0 {
		*p = value
	}
}

// Cluster is N nodes, the network between them, and what they must never do.
// All its methods, and those of its nodes, are for one goroutine: the one that
// began the bubble.
type Cluster struct {
	cfg   Config
	net   *transport.Network
	nodes []*Node
	nowMS atomic.Int64 // the wall clock of all nodes
	born  time.Time    // of the bubble's clock, from which those that leases go by begin

	meta  *metadata.State              // who is to replicate what
	where map[ids.ReplicaID]ids.NodeID // every replica there ever was
	moved int                          // moves that came to an end

	leaseReads uint64 // in the lives that are over

	usual transport.Link         // of every way
	cuts  map[[2]ids.NodeID]bool // ways that are cut, from and to
	reads []*Latest              // asked and not answered, in order

	mu sync.Mutex // guards what follows: workers write it, one at a time
	trace
	ledger
}

// New starts all nodes. Nobody leads yet: see Node.Campaign and Node.Tick.
func New(cfg Config) *Cluster {
	cfg.setDefaults()
	c := &Cluster{cfg: cfg, born: time.Now(), net: transport.NewNetwork(cfg.Seed), cuts: map[[2]ids.NodeID]bool{}, where: map[ids.ReplicaID]ids.NodeID{}}
	c.trace.init()
	c.begin()
	c.ledger.init(c)
	c.nowMS.Store(1_000_000)
	for i := range cfg.Nodes {
		c.nodes = append(c.nodes, newNode(c, ids.NodeID(i+1)))
	}
	for _, n := range c.nodes {
		n.Start()
	}
	return c
}

// Close stops all nodes, so that every goroutine of the bubble ends.
func (c *Cluster) Close() {
	for _, n := range c.nodes {
		if n.up {
			n.Crash()
		}
	}
	c.net.Close()
}

// Node gives a node by its id, from 1.
func (c *Cluster) Node(id ids.NodeID) *Node { return c.nodes[id-1] }

// Nodes gives all nodes, by id.
func (c *Cluster) Nodes() []*Node { return c.nodes }

// group is the Raft group of a partition: the metadata group would be the first.
func group(p int) ids.GroupID { return ids.MetadataGroup + 1 + ids.GroupID(p) }

func partitionOf(g ids.GroupID) int { return int(g - ids.MetadataGroup - 1) }

// Replicas gives the nodes that hold a partition, as the metadata says, those that
// join and those that leave among them.
func (c *Cluster) Replicas(p int) (list []*Node) {
	for _, r := range c.Placed(p).Replicas {
		list = append(list, c.Node(r.Node))
	}
	return list
}

// holders gives the nodes that hold a partition or should, by id.
func (c *Cluster) holders(p int) (list []*Node) {
	placed := c.Placed(p)
	for _, n := range c.nodes {
		if n.parts[p] != nil || placed.On(n.id) != 0 {
			list = append(list, n)
		}
	}
	return list
}

// Leader is the node that leads a partition in the highest term, nil if none
// thinks it does.
func (c *Cluster) Leader(p int) (leader *Node) {
	best := ids.Term(0)
	for _, n := range c.nodes {
		if st, ok := n.Status(p); ok && st.State == replica.Leader && st.Term > best {
			leader, best = n, st.Term
		}
	}
	return leader
}

// settle waits until nothing moves, passes on what need not be held, and looks
// for reads that were answered.
func (c *Cluster) settle() {
	for {
		c.still()
		if !c.passOne() {
			break
		}
	}
	c.finishReads()
}

func (c *Cluster) passOne() bool {
	if c.cfg.ByHand {
		return false
	}
	for _, n := range c.nodes {
		if n.up && !n.slow && n.store.waiting() > 0 {
			n.pass()
			return true
		}
		if n.up && n.gate.grant(func(p int) bool { return p < moverTurn && n.moving[p] }) {
			return true
		}
	}
	return false
}

// Advance moves the network's clock, the bubble's clock and that of the logs,
// and delivers what falls due, one batch at a time. Nobody ticks.
func (c *Cluster) Advance(d time.Duration) {
	c.net.Advance(d)
	c.wait(d)
	c.settle()
}

// wait lets time pass inside the bubble: logs confirm what they wrote last.
func (c *Cluster) wait(d time.Duration) {
	c.nowMS.Add(d.Milliseconds())
	<-time.After(d)
	c.still()
}

// still waits until nothing moves.
func (c *Cluster) still() {
	synctest.Wait()
	for _, n := range c.nodes {
		if n.up {
			n.store.look()
			for p := range c.cfg.Partitions {
				if m := n.parts[p]; m != nil {
					c.believes(m)
				}
			}
		}
	}
}

// Stabilize delivers messages, and those sent in answer, until there are none.
func (c *Cluster) Stabilize() {
	c.settle()
	for {
		before := c.net.Stats()
		c.Advance(max(c.usual.DelayMax, time.Millisecond))
		after := c.net.Stats()
		if before == after {
			return
		}
	}
}

// SetLinks makes all ways that are not cut behave like l.
func (c *Cluster) SetLinks(l transport.Link) {
	c.usual = l
	c.apply()
}

// Cut cuts the way from one node to another, in that direction only.
func (c *Cluster) Cut(from, to ids.NodeID) {
	c.cuts[[2]ids.NodeID{from, to}] = true
	c.apply()
}

// Join undoes Cut.
func (c *Cluster) Join(from, to ids.NodeID) {
	delete(c.cuts, [2]ids.NodeID{from, to})
	c.apply()
}

// Heal joins everything.
func (c *Cluster) Heal() {
	clear(c.cuts)
	c.apply()
}

func (c *Cluster) apply() {
	c.net.SetLinks(c.usual)
	for way := range c.cuts {
		c.net.SetLink(way[0], way[1], transport.Link{Cut: true})
	}
}

// Rest brings everything back: links, nodes, disks. It lets time pass, tick by
// tick, until every move is over and every partition has a leader and all its
// replicas have applied the same; each round calls also, which says whether it, too,
// is content. It gives up after so many rounds.
func (c *Cluster) Rest(rounds int, also func() bool) error {
	c.Heal()
	c.SetLinks(transport.Link{})
	for _, n := range c.nodes {
		n.slow = false
		n.FreeDisk()
		if !n.up {
			n.Start()
		}
	}
	c.Advance(2 * time.Second) // a log that was full has looked for room
	for range rounds {
		for _, n := range c.nodes {
			n.Tick()
			for n.Release(); n.Grant(); n.Release() {
			}
			n.See()
			c.Advance(time.Millisecond)
		}
		for p := range c.cfg.Partitions {
			if leader := c.Leader(p); leader != nil {
				leader.Step(p)
			}
		}
		if content := also(); content && c.same() {
			return nil
		}
	}
	return fmt.Errorf("no rest after %d rounds:\n%s", rounds, c.StatusText())
}

// same says whether no move is under way, all replicas have applied all that is
// committed, and somebody leads them.
func (c *Cluster) same() bool {
	for p := range c.cfg.Partitions {
		leader, end := false, c.committed(p)
		if c.Placed(p).Target != nil {
			return false
		}
		for _, n := range c.nodes {
			st, ok := n.Status(p)
			if n.leaving[p] != nil || ok != slices.Contains(c.Replicas(p), n) {
				return false
			}
			if !ok {
				continue
			}
			if st.Applied != end || st.Last != end || n.store.waiting() > 0 {
				return false
			}
			leader = leader || st.State == replica.Leader
		}
		if !leader {
			return false
		}
	}
	return true
}

// StatusText is one line a node and partition.
func (c *Cluster) StatusText() (text string) {
	for p := range c.cfg.Partitions {
		for _, n := range c.holders(p) {
			st, ok := n.Status(p)
			if !ok {
				text += fmt.Sprintf("p%d node %d: %s\n", p, n.id, map[bool]string{true: "not open", false: "down"}[n.up])
				continue
			}
			o := n.parts[p].Offsets()
			text += fmt.Sprintf("p%d node %d: %s term=%d leader=%d commit=%d applied=%d last=%d hw=%d leo=%d",
				p, n.id, st.State, st.Term, c.where[st.Leader], st.Commit, st.Applied, st.Last, o.HighWatermark, o.LogEnd)
			if held := n.store.waiting(); held > 0 {
				text += fmt.Sprintf(" held=%d", held)
			}
			if st.Damage != nil {
				text += fmt.Sprintf(" damage=%v", st.Damage)
			}
			text += "\n"
		}
	}
	return text
}
