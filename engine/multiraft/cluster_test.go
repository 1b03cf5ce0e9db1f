package multiraft

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/cryptotest"
	"testing/synctest"
	"time"

	"dyno/engine/events"
	"dyno/engine/ids"
	"dyno/engine/replica"
	"dyno/engine/replica/replicatest"
	"dyno/engine/transport"
)

// cluster is three nodes with the same groups, over an in-memory network and
// logs in memory, inside a synctest bubble: time is fake and costs nothing.
type cluster struct {
	t      *testing.T
	quiet  int // QuietTicks
	net    *transport.Network
	groups int
	nodes  [3]*node
	change func(*Config) // of every start from now on; nil: nothing

	mu        sync.Mutex
	committed [][]string // per group, what any node applied
	acked     []map[string]bool
}

type node struct {
	id   ids.NodeID
	log  *MemoryLog
	wire transport.Transport
	mu   sync.Mutex // guards m: clients look at it while it restarts
	m    *Manager
	sms  []*replicatest.Machine
}

func newCluster(t *testing.T, seed uint64, groups int, quietTicks ...int) *cluster {
	c := &cluster{t: t, quiet: append(quietTicks, 0)[0], net: transport.NewNetwork(seed), groups: groups}
	c.committed = make([][]string, groups+1)
	c.acked = make([]map[string]bool, groups+1)
	for g := range c.acked {
		c.acked[g] = map[string]bool{}
	}
	c.net.Run()
	for i := range c.nodes {
		c.nodes[i] = &node{id: ids.NodeID(i + 1), log: NewMemoryLog()}
		c.start(c.nodes[i])
	}
	return c
}

func (c *cluster) start(n *node) {
	n.wire = c.net.Node(n.id)
	cfg := Config{Node: n.id, Log: n.log, Transport: n.wire, Workers: 2, TailBytes: 4096, Replica: replica.Config{QuietTicks: c.quiet}}
	if c.change != nil {
		c.change(&cfg)
	}
	m, err := New(cfg)
	if err != nil {
		c.t.Fatal(err)
	}
	n.sms = make([]*replicatest.Machine, c.groups+1)
	for g := 1; g <= c.groups; g++ {
		n.sms[g] = replicatest.NewMachine()
		n.sms[g].Seen = c.seen(g)
		s := Spec{Group: ids.GroupID(g), Replica: ids.ReplicaID(n.id) * 10}
		for i := range c.nodes {
			s.Members = append(s.Members, Member{Replica: ids.ReplicaID(i+1) * 10, Node: ids.NodeID(i + 1)})
		}
		if _, err := m.Open(s, n.sms[g]); err != nil {
			c.t.Fatal(err)
		}
	}
	n.mu.Lock()
	n.m = m
	n.mu.Unlock()
}

func (n *node) manager() *Manager {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.m
}

// seen checks that every node applies the same entries in every life.
func (c *cluster) seen(g int) func(e replica.Entry) {
	return func(e replica.Entry) {
		text := fmt.Sprintf("%d %s", e.Term, e.Data)
		c.mu.Lock()
		defer c.mu.Unlock()
		list := &c.committed[g]
		switch {
		case int(e.Index) == len(*list)+1:
			*list = append(*list, text)
		case (*list)[e.Index-1] != text:
			c.t.Errorf("group %d index %d: %q and %q", g, e.Index, (*list)[e.Index-1], text)
		}
	}
}

// crash takes a node down without a clean stop, and starts it again: what its log
// holds back is lost.
func (c *cluster) crash(n *node) {
	c.kill(n)
	c.start(n)
}

func (c *cluster) kill(n *node) {
	next := n.log.Crash()
	n.wire.Close()
	n.manager().Close()
	n.log = next
}

// leader waits until a node that is up leads a group.
func (c *cluster) leader(g int, up ...*node) *Group {
	for {
		for _, n := range up {
			if group := n.manager().Group(ids.GroupID(g)); group.Status().State == replica.Leader {
				return group
			}
		}
		pause(10 * time.Millisecond)
	}
}

func (c *cluster) close() {
	for _, n := range c.nodes {
		n.log.Release(-1)
		n.wire.Close()
		if err := n.manager().Close(); err != nil {
			c.t.Error(err)
		}
	}
	c.net.Close()
}

// client proposes to a group until stop, wherever it finds a leader.
func (c *cluster) client(g, id int, stop <-chan struct{}) {
	target := id % 3
	for i := 0; ; i++ {
		select {
		case <-stop:
			return
		default:
		}
		data := fmt.Sprintf("%d.%d", id, i)
		w := replicatest.NewWaiter()
		group := c.nodes[target].manager().Group(ids.GroupID(g))
		err := replica.ErrStopped
		if group != nil {
			err = group.Propose(&replica.Proposal{Data: []byte(data), Wait: replica.WaitCommit, Waiter: w})
		}
		if err == nil {
			err = w.Err() // every waiter is answered, or the test hangs
		}
		if err == nil {
			c.mu.Lock()
			c.acked[g][data] = true
			c.mu.Unlock()
			continue
		}
		var nl *replica.NotLeaderError
		if errors.As(err, &nl) && nl.Leader != 0 {
			target = int(nl.Leader/10) - 1
		} else {
			target = (target + 1) % 3
		}
		pause(5 * time.Millisecond)
	}
}

func pause(d time.Duration) { <-time.After(d) }

// rest waits until all nodes have applied the same in all groups.
func (c *cluster) rest() {
	for {
		same := true
		for g := 1; g <= c.groups; g++ {
			c.mu.Lock()
			n := len(c.committed[g])
			c.mu.Unlock()
			for _, node := range c.nodes {
				same = same && int(node.sms[g].Applied()) == n && n > 0
			}
		}
		if same {
			return
		}
		pause(50 * time.Millisecond)
	}
}

func (c *cluster) check() (acked int) {
	for g := 1; g <= c.groups; g++ {
		final := map[string]int{}
		for _, n := range c.nodes {
			for _, d := range n.sms[g].Data() {
				final[d]++
			}
		}
		for d := range c.acked[g] {
			if final[d] != len(c.nodes) {
				c.t.Errorf("group %d: %s was acknowledged and is %d times on %d nodes", g, d, final[d], len(c.nodes))
			}
		}
		acked += len(c.acked[g])
	}
	return acked
}

func TestClusterUnderFaults(t *testing.T) {
	for seed := range uint64(4) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			cryptotest.SetGlobalRandom(t, seed)
			synctest.Test(t, func(t *testing.T) { clusterUnderFaults(t, seed) })
		})
	}
}

func clusterUnderFaults(t *testing.T, seed uint64) {
	const groups = 12
	c := newCluster(t, seed, groups, 10*int(seed%2)) // with and without quiet groups
	rng := rand.New(rand.NewPCG(seed, 9))
	lossy := transport.Link{DelayMin: time.Millisecond, DelayMax: 5 * time.Millisecond, Loss: 0.02, Duplicate: 0.01, Reorder: 0.05}
	c.net.SetLinks(lossy)
	stop := make(chan struct{})
	var clients sync.WaitGroup
	for g := 1; g <= groups; g++ {
		for k := range 2 {
			clients.Go(func() { c.client(g, g*10+k, stop) })
		}
	}
	for range 12 {
		n := c.nodes[rng.IntN(3)]
		switch rng.IntN(4) {
		case 0:
			c.net.Isolate(n.id)
		case 1:
			n.log.Hold()
		case 2:
			n.log.Hold()
			pause(10 * time.Millisecond)
			c.crash(n)
		case 3:
			for g := 1; g <= groups; g++ {
				_ = n.manager().Group(ids.GroupID(g)).Transfer(ids.ReplicaID(1+rng.IntN(3)) * 10)
			}
		}
		pause(time.Duration(rng.IntN(1500)) * time.Millisecond)
		c.net.Heal(n.id)
		n.log.Release(-1)
	}
	c.net.SetLinks(transport.Link{DelayMin: time.Millisecond, DelayMax: time.Millisecond}) // none at all would stop fake time
	pause(3 * time.Second)
	close(stop)
	clients.Wait()
	c.rest()
	if acked := c.check(); acked < 500 {
		t.Errorf("only %d proposals were acknowledged", acked)
	}
	c.close()
}

// With no traffic a cluster exchanges heartbeats in one batch per pair and tick,
// whatever the number of groups.
func TestHeartbeatsShareBatches(t *testing.T) {
	cryptotest.SetGlobalRandom(t, 1)
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 1, 50)
		pause(5 * time.Second)
		c.rest()
		h := c.nodes[0].m.Health()
		if h.Leaders+h.Followers != 50 || h.NoLeader != 0 {
			t.Errorf("health %+v", h)
		}
		before := c.nodes[0].m.Stats()
		pause(time.Second)
		after := c.nodes[0].m.Stats()
		if n := after.Appends - before.Appends; n != 0 {
			t.Errorf("%d appends in an idle second", n)
		}
		if n := after.Messages - before.Messages; n == 0 || n > 50*2*12 {
			t.Errorf("%d messages in an idle second", n)
		}
		c.close()
	})
}

func TestReadIndexOnEveryNode(t *testing.T) {
	cryptotest.SetGlobalRandom(t, 2)
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 2, 1)
		pause(3 * time.Second)
		for _, n := range c.nodes {
			if s := n.m.Group(1).Status(); s.State == replica.Leader {
				want(t, propose(t, n.m.Group(1), "x", replica.WaitCommit), nil)
			}
		}
		c.mu.Lock()
		floor := ids.LogIndex(len(c.committed[1]))
		c.mu.Unlock()
		for _, n := range c.nodes {
			index, err := n.m.Group(1).ReadIndex(t.Context())
			if err != nil || index < floor || n.sms[1].Applied() < index {
				t.Errorf("node %d: read index %d (applied %d), want at least %d: %v",
					n.id, index, n.sms[1].Applied(), floor, err)
			}
		}
		c.net.Isolate(2)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := c.nodes[1].m.Group(1).ReadIndex(ctx); !errors.Is(err, replica.ErrTimeout) || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("read without a quorum: %v", err)
		}
		c.close()
	})
}

// eventLog keeps what it hears.
type eventLog struct {
	mu   sync.Mutex
	list []events.Event
}

func (l *eventLog) Event(e events.Event) {
	l.mu.Lock()
	l.list = append(l.list, e)
	l.mu.Unlock()
}

func (l *eventLog) names() (s []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, e := range l.list {
		s = append(s, e.Name())
	}
	return s
}
