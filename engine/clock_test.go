package engine

import (
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"dyno/engine/ids"
	"dyno/engine/replica"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// shiftedClock is Config.Now: the real time, off by what the test says.
type shiftedClock struct{ by atomic.Int64 }

func (c *shiftedClock) now() time.Time { return time.Now().Add(time.Duration(c.by.Load())) }

// TestClusterClockJump has the wall clock of one of three nodes jump 200 hours
// ahead and then 400 back while it leads: nobody is elected or fenced, a producer
// goes on, nothing is deleted or forgotten by that clock, and LogAppendTime stays
// right. When all clocks say that the time has come, the same records do go.
func TestClusterClockJump(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("waits for the watch of the clock")
	}
	said := &saidLines{}
	clocks := map[ids.NodeID]*shiftedClock{}
	c := newClusterBed(t, 3, smallLog, func(cfg *Config) {
		clock := &shiftedClock{}
		clocks[ids.NodeID(len(clocks)+1)] = clock
		cfg.Now, cfg.Log = clock.now, said.logger()
		cfg.Limits.RetentionEvery = time.Hour // rounds are the test's
	})
	c.topic("t", 3, 3)
	adm := kadm.NewClient(c.client())
	if _, err := adm.CreateTopic(c.ctx(), 1, 3, pairs([]string{"retention.ms", "3600000"}), "hour"); err != nil {
		t.Fatal(err)
	}
	if _, err := adm.CreateTopic(c.ctx(), 1, 3, pairs([]string{"message.timestamp.type", "LogAppendTime", "retention.ms", "3600000"}), "append"); err != nil {
		t.Fatal(err)
	}
	bad := c.leader("hour", 0)
	c.leadBy("append", bad)
	node := c.nodes[bad-1]
	p := c.producing("t", 0)
	c.produce("hour", 0, 100)
	c.sendSequenced("hour", bad, 100)
	before := c.terms()

	for i, by := range []time.Duration{200 * time.Hour, -200 * time.Hour} {
		clocks[bad].by.Store(int64(by))
		until(t, "the jump is noticed", func() bool { return node.clock.jumps.Load() == int64(i+1) })
		until(t, "the clock is known to be off", func() bool { return node.raft.Clock().Off.Round(time.Minute) == by })
		p.awaitMore(500)
		c.stamped("append", i)
		c.retain()
		if start, end := c.borders("hour", 0); start != 0 || end != 101 {
			t.Errorf("a clock off by %v: the log is [%d, %d), want [0, 101)", by, start, end)
		}
		if start, _ := c.borders("append", 0); start != 0 {
			t.Errorf("a clock off by %v: what it stamped is gone up to %d", by, start)
		}
		c.sendSequenced("hour", bad, 100) // known still, and so no new record
	}
	said.has(t, fmt.Sprintf(`level=WARN msg="the wall clock jumped" node=%d by=200h0m`, bad))
	said.has(t, fmt.Sprintf(`level=WARN msg="the wall clock jumped" node=%d by=-400h0m`, bad))
	said.has(t, fmt.Sprintf(`level=WARN msg="the wall clock is off those of the other nodes: theirs counts" node=%d by=`, bad))
	m := (&bed{t: t, node: node}).metrics()
	if m["dyno_clock_jumps_total"] != 2 || m["dyno_clock_ahead_seconds"] > -719_000 {
		t.Errorf("%v jumps, %v seconds ahead", m["dyno_clock_jumps_total"], m["dyno_clock_ahead_seconds"])
	}
	if now := c.terms(); now != before {
		t.Errorf("terms and leaders were %s, are %s", before, now)
	}
	for _, b := range c.nodes[bad%3].meta.Image().Brokers() {
		if !b.Taking() {
			t.Errorf("node %d was fenced", b.Node)
		}
	}
	c.consume("t", p.stop())

	for _, clock := range clocks {
		clock.by.Store(int64(2 * time.Hour))
	}
	until(t, "by all clocks the hour is over, and the records go", func() bool {
		c.retain()
		start, _ := c.borders("hour", 0)
		return start == 101
	})
}

// retain makes a round of retention on every node.
func (c *clusterBed) retain() {
	for _, n := range c.nodes {
		n.retention.round(c.ctx())
	}
}

// leadBy hands partition 0 of a topic to a node.
func (c *clusterBed) leadBy(topic string, id ids.NodeID) {
	c.t.Helper()
	until(c.t, fmt.Sprintf("%s is led by node %d", topic, id), func() bool {
		leader := c.leader(topic, 0)
		if leader == id {
			return true
		}
		h := c.hosted(leader, topic)
		for r, node := range *h.members.Load() {
			if node == id {
				_ = h.group.Transfer(r) // or later
			}
		}
		return false
	})
}

// hosted is a node's replica of partition 0.
func (c *clusterBed) hosted(id ids.NodeID, topic string) *hosted {
	t, _ := c.nodes[id-1].meta.Image().Topic(topic)
	return c.nodes[id-1].directory.ByID(t.ID, 0)
}

// follows says whether a node takes leader for the one that leads a topic's first
// partition.
func (c *clusterBed) follows(id ids.NodeID, topic string, leader ids.NodeID) bool {
	if t, ok := c.nodes[id-1].meta.Image().Topic(topic); !ok || c.nodes[id-1].directory.ByID(t.ID, 0) == nil {
		return false // it does not know it yet, or is opening it
	}
	h := c.hosted(id, topic)
	l, _ := h.Leader()
	return l == leader
}

// terms describes who leads what in which term, as the leaders see it.
func (c *clusterBed) terms() string {
	out := ""
	for _, n := range c.nodes {
		for _, s := range n.raft.List() {
			if s.State == replica.Leader {
				out += fmt.Sprintf("[group %d node %d term %d]", s.Group, n.identity.NodeID, s.Term)
			}
		}
	}
	return out
}

// borders are where a partition begins and ends, as its leader says.
func (c *clusterBed) borders(topic string, p int32) (start, end int64) {
	c.t.Helper()
	adm := kadm.NewClient(c.client())
	s, err := adm.ListStartOffsets(c.ctx(), topic)
	if err == nil {
		err = s.Error()
	}
	e, err2 := adm.ListEndOffsets(c.ctx(), topic)
	if err != nil || err2 != nil || e.Error() != nil {
		c.t.Fatal(err, err2, e.Error())
	}
	return s[topic][p].Offset, e[topic][p].Offset
}

// sendSequenced writes the first batch of an idempotent producer to partition 0
// and wants it at an offset: a repeat where it is there already.
func (c *clusterBed) sendSequenced(topic string, leader ids.NodeID, want int64) {
	c.t.Helper()
	resp, err := c.client(byName()).Broker(int(leader)).Request(c.ctx(), produceRequest(topic, 0, sequenced(1, 777, 0, 0)))
	if err != nil {
		c.t.Fatal(err)
	}
	got := resp.(*kmsg.ProduceResponse).Topics[0].Partitions[0]
	wantCode(c.t, "a sequenced batch", got.ErrorCode, nil)
	if got.BaseOffset != want {
		c.t.Errorf("a sequenced batch is at %d, want %d", got.BaseOffset, want)
	}
}

// stamped writes a record to a topic with LogAppendTime, its offset known, and
// wants it stamped with about the real time.
func (c *clusterBed) stamped(topic string, at int) {
	c.t.Helper()
	c.produce(topic, at, 1)
	h := c.hosted(c.leader(topic, 0), topic)
	o, err := h.MaxTime()
	if err != nil {
		c.t.Fatal(err)
	}
	if off := time.Since(time.UnixMilli(o.TimestampMS)); off.Abs() > time.Minute || o.Offset != ids.Offset(at) {
		c.t.Errorf("LogAppendTime of %d is off by %v", o.Offset, off)
	}
}
