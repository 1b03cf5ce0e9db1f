package multiraft

import (
	"testing"
	"testing/cryptotest"
	"testing/synctest"
	"time"

	"dyno/engine/ids"
	"dyno/engine/replica"
)

// leads counts the groups that a node leads and that are quiet on it.
func (n *node) leads(t *testing.T, groups int) (leaders, quiet int) {
	t.Helper()
	for g := 1; g <= groups; g++ {
		group := n.m.Group(ids.GroupID(g))
		err := group.Call(t.Context(), func() {
			if group.rep.Role().State == replica.Leader {
				leaders++
			}
			if group.rep.Quiet() {
				quiet++
			}
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return leaders, quiet
}

// TestQuiet: idle groups cost no message of theirs and no tick; a proposal wakes
// one and leaves the others asleep.
func TestQuiet(t *testing.T) {
	cryptotest.SetGlobalRandom(t, 4)
	synctest.Test(t, func(t *testing.T) {
		const groups = 20
		c := newCluster(t, 4, groups, 10)
		defer c.close()
		pause(5 * time.Second)
		sent := func() (n uint64) {
			for _, n2 := range c.nodes {
				n += n2.m.Stats().Messages
			}
			return n
		}
		for _, n := range c.nodes {
			if _, quiet := n.leads(t, groups); quiet != groups {
				t.Errorf("node %d: %d of %d groups are quiet", n.id, quiet, groups)
			}
			if ticking := n.m.ticker.needing.Load(); ticking != 0 {
				t.Errorf("node %d: %d groups tick", n.id, ticking)
			}
		}
		before := sent()
		pause(10 * time.Second)
		if n := sent() - before; n != 0 {
			t.Errorf("%d messages of quiet groups in 10 s", n)
		}
		for _, n := range c.nodes {
			if g := n.m.Group(1); g.Status().State == replica.Leader {
				want(t, propose(t, g, "x", replica.WaitCommit), nil)
			}
		}
		for _, n := range c.nodes {
			if _, quiet := n.leads(t, groups); quiet != groups-1 {
				t.Errorf("node %d: %d of %d groups are quiet after a proposal to one", n.id, quiet, groups)
			}
		}
		pause(2 * time.Second)
		c.rest()
	})
}

// TestQuietLeaderLost: a node that falls silent without a word is missed by the
// groups that it led in their sleep, and by nobody else.
func TestQuietLeaderLost(t *testing.T) {
	cryptotest.SetGlobalRandom(t, 5)
	synctest.Test(t, func(t *testing.T) {
		const groups = 20
		c := newCluster(t, 5, groups, 10)
		defer c.close()
		pause(5 * time.Second)
		led := map[ids.NodeID]int{}
		for _, n := range c.nodes {
			led[n.id], _ = n.leads(t, groups)
		}
		gone := c.nodes[0]
		if led[gone.id] == 0 {
			t.Fatalf("leaders %v: the test needs another seed", led)
		}
		c.net.Isolate(gone.id)
		pause(3 * time.Second)
		now := 0
		for _, n := range c.nodes[1:] {
			l, _ := n.leads(t, groups)
			now += l
		}
		if now != groups {
			t.Errorf("the other nodes lead %d of %d groups", now, groups)
		}
		if l, _ := gone.leads(t, groups); l != 0 {
			t.Errorf("the silent node still leads %d groups", l)
		}
		c.net.Heal(gone.id)
		pause(5 * time.Second)
		for _, n := range c.nodes {
			if _, quiet := n.leads(t, groups); quiet != groups {
				t.Errorf("node %d: %d of %d groups are quiet again", n.id, quiet, groups)
			}
		}
	})
}
