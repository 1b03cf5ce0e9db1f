package engine

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"dyno/engine/ids"
	"dyno/engine/transport/transporttest"
	"dyno/engine/variants"
	"dyno/wal/vfs"

	"github.com/twmb/franz-go/pkg/kgo"
)

// TestSlowDisk: an arm's syncs of the log wait; as shipped the log lies on the disk itself.
func TestSlowDisk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const wait = 5 * time.Millisecond
		mem := vfs.NewMem(1)
		if n := (&Node{cfg: Config{FS: mem}}); n.logDisk() != vfs.FS(mem) {
			t.Error("as shipped something lies between the log and its disk")
		}
		n := &Node{cfg: Config{FS: mem, Experiment: variants.Config{OnlyToMeasure: true, SyncWait: wait}}}
		f, err := n.logDisk().Create("/f")
		if err != nil {
			t.Fatal(err)
		}
		start := time.Now()
		if err := errors.Join(f.Datasync(), f.Close()); err != nil {
			t.Error(err)
		}
		if took := time.Since(start); took != wait {
			t.Errorf("a sync took %v, want %v", took, wait)
		}
	})
}

// TestLogOnASlowDisk: the log of a node that is to have one syncs no sooner.
func TestLogOnASlowDisk(t *testing.T) {
	const wait = 2 * time.Millisecond
	b := newBed(t, func(c *Config) { c.Experiment = variants.Config{OnlyToMeasure: true, SyncWait: wait} })
	b.topic("slow", 1)
	s := b.node.log.Stats()
	if s.Syncs < 2 || s.SyncTime < time.Duration(s.Syncs-1)*wait { // one may be counted and not yet timed
		t.Errorf("%d syncs took %v, want %v each", s.Syncs, s.SyncTime, wait)
	}
}

// counted is what the nodes of a bed did while a load ran, and how much of it was
// done by the node that led.
type counted struct {
	requests, nested, proposals, entries, syncs, polls uint64
}

func (n *Node) counted() counted {
	r, a := n.raft.Stats(), n.arm.Stats()
	return counted{a.Requests, a.Nested, r.Proposals, r.Proposed, uint64(n.log.Stats().Syncs), r.Polls}
}

func (c counted) less(b counted) counted {
	return counted{c.requests - b.requests, c.nested - b.nested, c.proposals - b.proposals, c.entries - b.entries, c.syncs - b.syncs, c.polls - b.polls}
}

// closedLoop lets clients write that many records each to one partition, one after the other.
func closedLoop(t *testing.T, topic string, clients, records int, make func() *kgo.Client) {
	t.Helper()
	var wg sync.WaitGroup
	for c := range clients {
		cl := make()
		wg.Go(func() {
			for i := range records {
				r := &kgo.Record{Topic: topic, Value: []byte(fmt.Sprintf("%d of %d", i, c))}
				if err := cl.ProduceSync(soon(t), r).FirstErr(); err != nil {
					t.Errorf("client %d, record %d: %v", c, i, err)
					return
				}
			}
		})
	}
	wg.Wait()
}

// TestArmsDoTheWorkTheyStandFor: syncs, proposals, polls and nested commits of each
// arm, counted, on one node.
func TestArmsDoTheWorkTheyStandFor(t *testing.T) {
	t.Parallel()
	const clients, records, all = 8, 3, 8 * 3
	for name, arm := range map[string]variants.Config{
		"shipped":     {},
		"read":        {Lock: variants.LockRead},
		"read-writer": {Lock: variants.LockReadWriter},
		"mutex":       {Lock: variants.LockMutex},
		"exclusive":   {Lock: variants.LockExclusive},
		"window":      {Lock: variants.LockRead, Batch: variants.BatchWindow},
		"timer":       {Batch: variants.BatchTimer},
		"single":      {Batch: variants.BatchSingle},
		"each":        {Batch: variants.BatchSingle, Sync: variants.SyncEach},
		"polled":      {Batch: variants.BatchSingle, Sync: variants.SyncEach, Poll: variants.Poll10ms},
		"nested":      {Batch: variants.BatchSingle, Sync: variants.SyncEach, Poll: variants.Poll10ms, Nested: true},
		"origin":      {Lock: variants.LockPartition, Batch: variants.BatchSingle, Sync: variants.SyncEach, Poll: variants.Poll10ms, Nested: true},
	} {
		t.Run(name, func(t *testing.T) {
			arm.OnlyToMeasure = true
			b := newBed(t, func(c *Config) { c.Experiment = arm })
			b.topic("arm", 1)
			before := b.node.counted()
			closedLoop(t, "arm", clients, records, func() *kgo.Client { return b.client(kgo.DisableIdempotentWrite()) })
			got := b.node.counted().less(before)
			nested := uint64(0)
			if arm.Nested {
				nested = all
			}
			wants(t, arm, got, all, nested)
			if after := b.metrics(); arm.Lock != "" && after["dyno_experiment_requests_total"] != all {
				t.Errorf("/metrics counts %v requests through the arm", after["dyno_experiment_requests_total"])
			}
			if got := len(b.consume("arm", 0, 0, all)); got != all {
				t.Errorf("%d records", got)
			}
		})
	}
}

// wants compares what a leader did for requests, and for nested commits of its own,
// with what its arm says.
func wants(t *testing.T, arm variants.Config, got counted, requests, nested uint64) {
	t.Helper()
	entries := requests + nested
	through := requests
	if arm.Lock == "" && !arm.Nested && arm.Batch != variants.BatchTimer && arm.Batch != variants.BatchWindow {
		through = 0 // nothing of the path to the group is changed
	}
	if got.requests != through || got.nested != nested || got.entries != entries {
		t.Errorf("%+v: want %d requests through the arm, %d nested commits, %d entries", got, through, nested, entries)
	}
	if arm.Batch == variants.BatchSingle && got.proposals != entries {
		t.Errorf("%d proposals for %d entries", got.proposals, entries)
	}
	gathered := arm.Batch == variants.BatchTimer || arm.Batch == variants.BatchWindow
	if gathered && got.proposals > requests/4 {
		t.Errorf("%d proposals for %d gathered requests", got.proposals, requests)
	}
	if arm.Sync == variants.SyncEach && got.syncs < entries {
		t.Errorf("%d syncs for %d entries: each was to have its own", got.syncs, entries)
	}
	if arm.Lock == variants.LockExclusive && (got.syncs < requests || got.proposals != requests) {
		t.Errorf("%d syncs and %d proposals for %d requests, one under way at a time", got.syncs, got.proposals, requests)
	}
	if (got.polls > 0) != (arm.Poll != "") {
		t.Errorf("%d polls", got.polls)
	}
}

// TestTheOriginOnThreeNodes: every node syncs each entry on its own, each request
// costs a commit in the metadata group, and the replicas are the same.
func TestTheOriginOnThreeNodes(t *testing.T) {
	t.Parallel()
	const clients, records, all = 4, 5, 4 * 5
	c := newClusterBed(t, 3, func(c *Config) {
		c.AdminAddr = transporttest.FreeAddr(t)
		c.Experiment = variants.Config{OnlyToMeasure: true, Lock: variants.LockPartition, Batch: variants.BatchSingle,
			Sync: variants.SyncEach, Poll: variants.Poll10ms, Nested: true}
	})
	c.topic("arm", 1, 3)
	var before []counted
	for _, n := range c.nodes {
		before = append(before, n.counted())
	}
	closedLoop(t, "arm", clients, records, func() *kgo.Client { return c.client(kgo.DisableIdempotentWrite()) })
	same, err := CompareReplicas(soon(t), &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}, c.nodes[0].AdminAddr(), "arm")
	if err != nil || len(same) != 1 || !same[0].Same || len(same[0].Replicas) != 3 {
		t.Fatalf("replicas %+v: %v", same, err)
	}
	var sum counted
	for i, n := range c.nodes {
		got := n.counted().less(before[i])
		if got.syncs < 2*all {
			t.Errorf("node %d: %d syncs for %d entries and as many nested commits", i+1, got.syncs, all)
		}
		sum.requests, sum.nested, sum.proposals, sum.entries = sum.requests+got.requests, sum.nested+got.nested, sum.proposals+got.proposals, sum.entries+got.entries
	}
	if sum.requests < all || sum.nested != all || sum.entries < 2*all || sum.proposals != sum.entries {
		t.Errorf("%+v in all, for %d requests", sum, all)
	}
}

// TestNodesRefuseAnArm that nobody said is only to measure.
func TestNodesRefuseAnArm(t *testing.T) {
	b := newBed(t)
	b.close()
	b.cfg.Experiment.Lock = variants.LockRead
	if n, err := Open(b.cfg); !errors.Is(err, ErrConfig) || !strings.Contains(err.Error(), "only_to_measure") {
		t.Errorf("opened %v: %v", n, err)
	}
	b.cfg.Experiment = variants.Config{}
	b.open()
	for name := range b.metrics() {
		if strings.HasPrefix(name, "dyno_experiment") {
			t.Errorf("a node as shipped tells %s", name)
		}
	}
	b.topic("arm", 1)
	h := b.node.directory.ByName("arm", ids.Partition(0))
	if h == nil || h.seat != nil || b.node.arm != nil {
		t.Error("a node as shipped has an arm")
	}
}
