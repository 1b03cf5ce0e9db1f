package engine

import (
	"errors"
	"slices"
	"testing"
	"time"

	"dyno/engine/replica"
	"dyno/wal/vfs"
)

// leads waits for a node that leads partition 0 of a topic, and gives its replica.
func (c *clusterBed) leads(topic string) (n *Node, h *hosted) {
	c.t.Helper()
	until(c.t, "a leader", func() bool {
		for _, n = range c.nodes {
			if h = c.hosted(n.ID(), topic); h != nil && h.group.Status().State == replica.Leader {
				return true
			}
		}
		return false
	})
	return n, h
}

// TestLeases: with leases a leader is asked for offsets again and again and asks the
// others seldom; the metadata does not go by them; leadership moves when its node stops.
func TestLeases(t *testing.T) {
	t.Parallel()
	c := formatClusterBed(t, 3, []FormatOption{Leases})
	c.topic("t", 1, 3)
	c.produce("t", 0, 10)
	n, h := c.leads("t")
	before := n.raft.Stats()
	const reads = 500
	for range reads {
		if o, err := h.Latest(c.ctx()); err != nil || o.HighWatermark != 10 {
			t.Fatalf("%+v, %v", o, err)
		}
	}
	s := n.raft.Stats()
	if rounds := s.Reads - before.Reads; s.LeaseReads-before.LeaseReads < reads/2 || rounds > reads/4 {
		t.Errorf("%d reads: %d by the lease, %d rounds", reads, s.LeaseReads-before.LeaseReads, rounds)
	}
	byLease := func() (sum uint64) {
		for _, n := range c.nodes {
			sum += uint64(n.raft.Stats().LeaseReads)
		}
		return sum
	}
	const asked = 50
	var meta *Node // that leads it: others have it asked
	until(t, "a leader of the metadata", func() bool {
		at := slices.IndexFunc(c.nodes, func(n *Node) bool { return n.metaGroup.Status().State == replica.Leader })
		if at >= 0 {
			meta = c.nodes[at]
		}
		return at >= 0
	})
	others := byLease()
	for range asked {
		if _, err := meta.metaGroup.ReadIndex(c.ctx()); err != nil {
			t.Fatal(err)
		}
	}
	if got := byLease() - others; got > asked/2 { // somebody may read the partition meanwhile
		t.Errorf("of %d reads of the metadata %d were by a lease", asked, got)
	}
	c.stop(n.ID())
	c.produce("t", 10, 10)
	c.consume("t", 20)
}

// TestLeasesOff: without being asked for there are none.
func TestLeasesOff(t *testing.T) {
	t.Parallel()
	c := newClusterBed(t, 3)
	c.topic("t", 1, 3)
	c.produce("t", 0, 1)
	n, h := c.leads("t")
	for range 5 {
		if _, err := h.Latest(c.ctx()); err != nil {
			t.Fatal(err)
		}
	}
	if s := n.raft.Stats(); s.LeaseReads != 0 || s.Reads == 0 {
		t.Errorf("%d reads by a lease, %d rounds", s.LeaseReads, s.Reads)
	}
}

// TestLeasesOfAllOrNone: a node that was formatted otherwise is no part of the cluster,
// whichever way round; nor is it opened by a build that knows of no promises.
func TestLeasesOfAllOrNone(t *testing.T) {
	t.Parallel()
	for _, has := range []bool{true, false} {
		with, without := []FormatOption{Leases}, []FormatOption(nil)
		if !has {
			with, without = without, with
		}
		c := formatClusterBed(t, 3, with)
		c.stop(3)
		c.cfg[2].FS = vfs.NewMem(9)
		if err := Format(c.cfg[2].FS, bedDir, "bed", 3, without...); err != nil {
			t.Fatal(err)
		}
		if _, err := Open(c.cfg[2]); !errors.Is(err, ErrForeign) {
			t.Errorf("cluster with leases %v: got %v, want ErrForeign", has, err)
		}
		m, err := ReadMeta(c.cfg[0].FS, bedDir)
		if err != nil || (m.Format == leasesVersion) != has || (m.promise() > 0) != has {
			t.Errorf("formatted as %+v, %v", m, err)
		}
		c.stop(1, 2)
	}
}

// TestBootTime: it goes on, at the rate of the other clock. Its two readings lie outside of
// one span of that clock and inside of another, so a pause between two lines of the test
// widens what is allowed; a hundredth is for the two clocks' own difference.
func TestBootTime(t *testing.T) {
	outer, boot, inner := time.Now(), bootTime(), time.Now()
	until(t, "20 ms", func() bool { return time.Since(inner) > 20*time.Millisecond })
	least := time.Since(inner)
	d := bootTime() - boot
	most := time.Since(outer)
	if d < least-least/100 || d > most+most/100 {
		t.Errorf("%v, when the other clock went on by %v to %v", d, least, most)
	}
}
