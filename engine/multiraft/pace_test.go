package multiraft

import (
	"strings"
	"testing"
	"testing/cryptotest"
	"testing/synctest"
	"time"

	"dyno/engine/replica"
)

// TestPace: what was not used is kept up to the burst, a message is not cut, and
// what it took too much is paid back before the next.
func TestPace(t *testing.T) {
	now := time.Duration(0)
	p := newPace(1000, func() time.Duration { return now })
	pass := func(d time.Duration, may bool) {
		t.Helper()
		if now += d; p.May() != may {
			t.Errorf("at %v: may is %v", now, !may)
		}
	}
	pass(time.Hour, true) // 250 bytes and not more
	p.Sent(200)
	pass(0, true)
	p.Sent(300) // a debt of 250
	pass(0, false)
	pass(250*time.Millisecond, false)
	pass(2*time.Millisecond, true)
	p.Sent(2)
	pass(0, false)
	now += time.Second // nobody asks, and it counts until somebody does
	m := &Manager{pace: p}
	if c := m.CatchUp(); c.Bytes != 502 || c.Waits != 2 || c.Waited != 1252*time.Millisecond {
		t.Errorf("counted %+v", c)
	}
	free := newPace(0, func() time.Duration { return now })
	if free.Sent(1 << 40); !free.May() {
		t.Error("no limit, and it limits")
	}
}

const (
	paceGroups = 3
	paceRate   = 1 << 20
	paceCount  = 200 // entries of paceEntry bytes, a group
	paceEntry  = 10 << 10
)

// lagging is a cluster in which every node has changed to a limit of paceRate and the
// third one is down and lacks much in every group.
func lagging(t *testing.T) *cluster {
	t.Helper()
	c := newCluster(t, 21, paceGroups)
	c.change = func(cfg *Config) { cfg.CatchUpBytesPerSecond = paceRate }
	for _, n := range c.nodes {
		c.crash(n)
	}
	c.kill(c.nodes[2])
	for g := 1; g <= paceGroups; g++ {
		for propose(t, c.leader(g, c.nodes[:2]...), "first", replica.WaitCommit).Err() != nil {
			pause(10 * time.Millisecond) // it had not noticed yet
		}
		for range paceCount {
			want(t, propose(t, c.leader(g, c.nodes[:2]...), strings.Repeat("x", paceEntry), replica.WaitCommit), nil)
		}
	}
	return c
}

// caughtUp is what the first two nodes have sent together.
func (c *cluster) caughtUp() (all CatchUp) {
	for _, n := range c.nodes[:2] {
		s := n.m.CatchUp()
		all.Bytes, all.Waits, all.Waited = all.Bytes+s.Bytes, all.Waits+s.Waits, all.Waited+s.Waited
	}
	return all
}

// behind says whether a node lacks anything.
func (c *cluster) behind(n *node) bool {
	for g := 1; g <= paceGroups; g++ {
		c.mu.Lock()
		committed := len(c.committed[g])
		c.mu.Unlock() // a state machine that applies holds its own lock and takes this one
		if int(n.sms[g].Applied()) < committed {
			return true
		}
	}
	return false
}

// TestCatchUpPaused: a node that comes back is sent what it lacks at the pace that
// was set, all its groups together, while the others go on at full speed.
func TestCatchUpPaused(t *testing.T) {
	const lacks = paceGroups * paceCount * paceEntry
	cryptotest.SetGlobalRandom(t, 21)
	synctest.Test(t, func(t *testing.T) {
		c := lagging(t)
		defer c.close()
		before, start := c.caughtUp(), time.Now()
		for c.start(c.nodes[2]); c.behind(c.nodes[2]); pause(10 * time.Millisecond) {
			// Each of the two nodes has a limit of its own, and may go too far by a message.
			most := 2 * (paceRate*burstSeconds + 256<<10 + paceRate*time.Since(start).Seconds())
			if n := c.caughtUp().Bytes - before.Bytes; float64(n) > most {
				t.Fatalf("%d bytes after %v", n, time.Since(start))
			}
			asked := time.Now()
			want(t, propose(t, c.leader(1, c.nodes[:2]...), "live", replica.WaitCommit), nil)
			if took := time.Since(asked); took > 20*time.Millisecond {
				t.Errorf("live traffic waited %v", took)
			}
		}
		all, took := c.caughtUp(), time.Since(start)
		t.Logf("%d bytes in %v, %d waits of %v in all", all.Bytes-before.Bytes, took, all.Waits, all.Waited)
		if least := lacks / (2 * paceRate) * time.Second; took < least || all.Waits == 0 || all.Waited < least/2 {
			t.Errorf("caught up after %v, want %v or more; %+v", took, least, all)
		}
		if took > 10*time.Second || all.Bytes-before.Bytes > 2*lacks {
			t.Errorf("%d bytes in %v for %d", all.Bytes-before.Bytes, took, lacks)
		}
	})
}

// TestCatchUpAppliesAll: a limit that lets nothing through stops what is sent, not
// what a node reads to apply it itself.
func TestCatchUpAppliesAll(t *testing.T) {
	cryptotest.SetGlobalRandom(t, 22)
	synctest.Test(t, func(t *testing.T) {
		c := lagging(t)
		defer c.close()
		c.change = func(cfg *Config) { cfg.CatchUpBytesPerSecond = 1 }
		for _, n := range c.nodes[:2] {
			c.crash(n)
		}
		c.start(c.nodes[2])
		for g := 1; g <= paceGroups; g++ {
			c.leader(g, c.nodes[:2]...)
		}
		pause(2 * time.Second)
		for _, n := range c.nodes {
			if lags := n == c.nodes[2]; c.behind(n) != lags {
				t.Errorf("node %d lacks something: %v", n.id, !lags)
			}
		}
	})
}
