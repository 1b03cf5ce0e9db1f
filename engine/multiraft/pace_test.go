package multiraft

import (
	"strings"
	"testing"
	"testing/cryptotest"
	"testing/synctest"
	"time"

	"dyno/engine/ids"
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

// TestCatchUpPaused: a node that comes back is sent what it lacks at the pace that
// was set, all its groups together, while the others go on at full speed; and what a
// limit that is far too small stops is that alone, not what a node must apply itself.
func TestCatchUpPaused(t *testing.T) {
	const (
		groups, rate     = 3, 1 << 20
		count, entry     = 200, 10 << 10 // a group
		burst, oneTooFar = rate / 4, 256 << 10
	)
	cryptotest.SetGlobalRandom(t, 21)
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t, 21, groups)
		defer c.close()
		c.change = func(cfg *Config) { cfg.CatchUpBytesPerSecond = rate }
		for _, n := range c.nodes {
			c.crash(n)
		}
		one, two, back := c.nodes[0], c.nodes[1], c.nodes[2]
		c.kill(back)
		for g := 1; g <= groups; g++ {
			for propose(t, c.leader(g, one, two), "first", replica.WaitCommit).Err() != nil {
				pause(10 * time.Millisecond) // it had not noticed yet
			}
			for range count {
				want(t, propose(t, c.leader(g, one, two), strings.Repeat("x", entry), replica.WaitCommit), nil)
			}
		}
		sent := func() (all CatchUp) {
			for _, n := range []*node{one, two} {
				s := n.m.CatchUp()
				all.Bytes, all.Waits, all.Waited = all.Bytes+s.Bytes, all.Waits+s.Waits, all.Waited+s.Waited
			}
			return all
		}
		before, start := sent(), time.Now()
		c.start(back)
		for behind := true; behind; pause(10 * time.Millisecond) {
			behind = false
			for g := 1; g <= groups; g++ {
				c.mu.Lock()
				behind = behind || int(back.sms[g].Applied()) < len(c.committed[g])
				c.mu.Unlock()
			}
			// Each of the two nodes has a limit of its own.
			most := 2 * (burst + oneTooFar + rate*time.Since(start).Seconds())
			if n := sent().Bytes - before.Bytes; float64(n) > most {
				t.Fatalf("%d bytes after %v", n, time.Since(start))
			}
			asked := time.Now()
			want(t, propose(t, c.leader(1, one, two), "live", replica.WaitCommit), nil)
			if took := time.Since(asked); took > 20*time.Millisecond {
				t.Errorf("live traffic waited %v", took)
			}
		}
		all, took := sent(), time.Since(start)
		t.Logf("%d bytes in %v, %d waits of %v in all", all.Bytes-before.Bytes, took, all.Waits, all.Waited)
		if least := groups * count * entry / (2 * rate) * time.Second; took < least || all.Waits == 0 || all.Waited < least/2 {
			t.Errorf("caught up after %v, want %v or more; %+v", took, least, all)
		}
		if took > 10*time.Second || all.Bytes-before.Bytes > 2*groups*count*entry {
			t.Errorf("%d bytes in %v for %d", all.Bytes-before.Bytes, took, groups*count*entry)
		}

		c.change = func(cfg *Config) { cfg.CatchUpBytesPerSecond = 1 }
		for _, n := range c.nodes { // in step: nobody lacks anything, and all must be applied again
			c.kill(n)
		}
		for _, n := range c.nodes {
			c.start(n)
		}
		for g := 1; g <= groups; g++ {
			c.leader(g, c.nodes[:]...)
		}
		pause(time.Second)
		for _, n := range c.nodes {
			for g := 1; g <= groups; g++ {
				if applied := n.sms[g].Applied(); applied < ids.LogIndex(count) {
					t.Errorf("node %d applied %d entries of group %d", n.id, applied, g)
				}
			}
		}
	})
}
