package engine

import (
	"context"
	"errors"
	"path"
	"runtime"
	"slices"
	"testing"
	"time"

	"dyno/engine/ids"
	"dyno/engine/kafka"
	"dyno/engine/replica"

	"github.com/twmb/franz-go/pkg/kadm"
)

// moved waits until a partition's replicas are on nodes, in that order, with
// nothing under way, as every node sees it, and until nobody else holds one.
func (c *clusterBed) moved(topic string, p ids.Partition, nodes ...ids.NodeID) {
	c.t.Helper()
	deadline := time.Now().Add(30 * time.Second)
	for _, n := range c.nodes {
		if n == nil {
			continue
		}
		for {
			t, _ := n.meta.Image().Topic(topic)
			part := &t.Partitions[p]
			var have []ids.NodeID
			for _, r := range part.Replicas {
				have = append(have, r.Node)
			}
			holds := n.directory.ByID(t.ID, p) != nil
			if part.Target == nil && slices.Equal(have, nodes) && holds == slices.Contains(nodes, n.identity.NodeID) {
				break
			}
			if time.Now().After(deadline) {
				c.t.Fatalf("node %d: partition %+v, want nodes %v; it holds a replica: %v", n.identity.NodeID, part, nodes, holds)
			}
			runtime.Gosched()
		}
	}
}

// TestClusterMove moves replicas from node to node, also all of them at once, and
// wherever the leader is; nothing is lost, and a restart of all finds it so.
func TestClusterMove(t *testing.T) {
	t.Parallel()
	for name, set := range map[string][]func(*Config){"large log": nil, "small log": {smallLog}} {
		t.Run(name, func(t *testing.T) {
			c := newClusterBed(t, 4, set...)
			adm := kadm.NewClient(c.client())
			c.topic("t", 2, 3)
			total := 0
			more := func(n int) {
				c.produce("t", total, n)
				total += n
			}
			more(200)
			var rf []ids.NodeID
			topic, _ := c.nodes[0].meta.Image().Topic("t")
			for _, r := range topic.Partitions[0].Replicas {
				rf = append(rf, r.Node)
			}
			spare := ids.NodeID(10) - rf[0] - rf[1] - rf[2]
			for i, target := range [][]ids.NodeID{
				{spare, rf[1], rf[2]}, // the preferred leader goes
				{rf[0], spare, rf[1]}, // and comes back, as another replica
				{rf[2]},               // fewer
				{rf[0], rf[1], spare}, // all others
				{rf[1], rf[0], rf[2]}, // two new ones
			} {
				if err := (backend{c.nodes[i%4]}).Reassign(c.ctx(), "t", 0, target); err != nil {
					t.Fatal(err)
				}
				more(50)
				c.moved("t", 0, target...)
				more(50)
			}
			c.consume("t", total)
			c.cut(c.all()...)
			c.start(c.all()...)
			c.consume("t", total)
			more(10)
			c.consume("t", total)
			if _, err := adm.ListTopics(c.ctx()); err != nil {
				t.Error(err)
			}
			for _, id := range []ids.NodeID{rf[0], rf[2]} {
				if want, got := c.sum("t", rf[1]), c.sum("t", id); want != got {
					t.Errorf("node %d: %s, node %d: %s", rf[1], want, id, got)
				}
			}
		})
	}
}

// membersAt is the newest entry that changed the members of a partition, as any of
// its replicas knows.
func (c *clusterBed) membersAt() (at ids.LogIndex) {
	for _, node := range c.nodes {
		for _, h := range node.hosts.list() {
			at = max(at, h.group.Members().At)
		}
	}
	return at
}

// TestClusterMoveResumes cuts the power of nodes in the middle of moves: another
// leader, or the same one later, goes on.
func TestClusterMoveResumes(t *testing.T) {
	t.Parallel()
	c := newClusterBed(t, 4, smallLog)
	c.topic("t", 1, 3)
	total := 300
	c.produce("t", 0, total)
	topic, _ := c.nodes[0].meta.Image().Topic("t")
	var rf []ids.NodeID
	for _, r := range topic.Partitions[0].Replicas {
		rf = append(rf, r.Node)
	}
	spare := ids.NodeID(10) - rf[0] - rf[1] - rf[2]
	for i, target := range [][]ids.NodeID{{spare, rf[1], rf[2]}, {rf[0], rf[1], rf[2]}, {rf[0], spare, rf[2]}} {
		before := c.membersAt()
		if err := (backend{c.nodes[0]}).Reassign(c.ctx(), "t", 0, target); err != nil {
			t.Fatal(err)
		}
		for i > 0 && c.membersAt() == before { // the first is cut off before it has begun, the others in it
			runtime.Gosched()
		}
		victims := []ids.NodeID{c.leader("t", 0)}
		if i == 1 {
			victims = c.all()
		}
		c.cut(victims...)
		c.start(victims...)
		c.moved("t", 0, target...)
		c.produce("t", total, 20)
		total += 20
	}
	c.consume("t", total)
}

// TestClusterElect: any replica's node can be asked to make the preferred replica
// lead.
func TestClusterElect(t *testing.T) {
	t.Parallel()
	c := newClusterBed(t, 3)
	c.topic("t", 1, 3)
	c.produce("t", 0, 10)
	topic, _ := c.nodes[c.leader("t", 0)-1].meta.Image().Topic("t")
	first := topic.Partitions[0].Replicas[0].Node
	c.leadBy("t", first)
	h := c.hosted(first, "t")
	other := first%3 + 1
	third := other%3 + 1
	until(t, "the third node knows that another one leads", func() bool {
		if err := h.group.Transfer(topic.Partitions[0].On(other)); err != nil && !errors.Is(err, replica.ErrNotLeader) {
			t.Fatal(err)
		}
		return c.follows(third, "t", other)
	})
	if err := (backend{c.nodes[third-1]}).ElectLeader(c.ctx(), "t", 0); err != nil {
		t.Fatal(err)
	}
	until(t, "the preferred replica leads", func() bool { return c.follows(first, "t", first) })
	if err := (backend{c.nodes[first-1]}).ElectLeader(c.ctx(), "t", 0); !errors.Is(err, kafka.ErrElectionNotNeeded) {
		t.Errorf("a second election: %v", err)
	}
	if err := (backend{c.nodes[0]}).ElectLeader(c.ctx(), "t", 7); !errors.Is(err, kafka.ErrUnknownPartition) {
		t.Errorf("an election of nothing: %v", err)
	}
	c.topic("u", 3, 2) // every node lacks one of them
	for p := range int32(3) {
		c.leader("u", p)
		for _, id := range c.all() {
			if err := (backend{c.nodes[id-1]}).ElectLeader(c.ctx(), "u", ids.Partition(p)); err != nil && !errors.Is(err, kafka.ErrElectionNotNeeded) {
				t.Errorf("node %d, partition %d: %v", id, p, err)
			}
		}
	}
}

// TestClusterShrinkThenCrash: with two replicas made one in an idle topic, the one
// that is left knows so after a power cut. A start takes no membership beyond what
// it knows to be committed, and the other replica is deleted by then.
func TestClusterShrinkThenCrash(t *testing.T) {
	t.Parallel()
	c := newClusterBed(t, 3)
	c.topic("t", 1, 2)
	c.produce("t", 0, 20)
	topic, _ := c.nodes[0].meta.Image().Topic("t")
	for range 2 {
		for _, r := range topic.Partitions[0].Replicas {
			only := r.Node
			if err := (backend{c.nodes[0]}).Reassign(c.ctx(), "t", 0, []ids.NodeID{only}); err != nil {
				t.Fatal(err)
			}
			c.moved("t", 0, only)
			c.cut(only)
			c.start(only)
			c.consume("t", 20)
		}
	}
}

// TestClusterMovedWhileAway: a node that was down while its replica was moved away
// keeps nothing of it, neither files nor log.
func TestClusterMovedWhileAway(t *testing.T) {
	t.Parallel()
	c := newClusterBed(t, 4, smallLog)
	c.topic("t", 1, 3)
	c.produce("t", 0, 200)
	topic, _ := c.nodes[0].meta.Image().Topic("t")
	rf := topic.Partitions[0].Replicas
	spare := ids.NodeID(10) - rf[0].Node - rf[1].Node - rf[2].Node
	gone := rf[2].Node
	c.stop(gone)
	asked := spare
	if err := (backend{c.nodes[asked-1]}).Reassign(c.ctx(), "t", 0, []ids.NodeID{rf[0].Node, rf[1].Node, spare}); err != nil {
		t.Fatal(err)
	}
	c.moved("t", 0, rf[0].Node, rf[1].Node, spare)
	c.start(gone)
	n := c.nodes[gone-1]
	if streams := n.log.Streams(); len(streams) != 1 {
		t.Errorf("the log of node %d holds streams %v", gone, streams)
	}
	if dirs, err := c.mem[gone-1].List(path.Join(bedDir, storeDir)); err != nil || len(dirs) > 0 {
		t.Errorf("node %d holds files of %v, %v", gone, dirs, err)
	}
	c.consume("t", 200)
}

// TestMoveAsksTheMetadata: a leader that cannot ask the metadata group what is to be
// takes no step of a move, however sure it is.
func TestMoveAsksTheMetadata(t *testing.T) {
	t.Parallel()
	c := newClusterBed(t, 3)
	c.topic("t", 1, 1)
	id := c.leader("t", 0)
	n := c.nodes[id-1]
	for _, other := range c.all() {
		if other != id {
			c.stop(other)
		}
	}
	topic, _ := n.meta.Image().Topic("t")
	h := n.directory.ByID(topic.ID, 0)
	ctx, cancel := context.WithCancel(c.ctx())
	done := make(chan error, 1)
	go func() { done <- n.moveStep(ctx, h, &isrView{}) }()
	select {
	case err := <-done:
		t.Errorf("a step without the metadata: %v", err)
	case <-time.After(200 * time.Millisecond):
	}
	cancel()
	if err := <-done; !errors.Is(err, replica.ErrTimeout) {
		t.Errorf("given up: %v", err)
	}
}
