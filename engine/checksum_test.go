package engine

import (
	"net/http"
	"slices"
	"testing"

	"dyno/engine/ids"
	"dyno/engine/transport/transporttest"
)

// TestClusterCompare: replicas that hold the same bytes are found the same,
// whether those lie in files, in the log or in memory; one that is away or holds
// something else is named.
func TestClusterCompare(t *testing.T) {
	t.Parallel()
	c := newClusterBed(t, 3, smallLog, func(cfg *Config) { cfg.AdminAddr = transporttest.FreeAddr(t) })
	c.topic("t", 3, 3)
	c.topic("other", 1, 2)
	c.whole("t") // so that the producer knows of a leader of each partition
	c.produce("t", 0, 3000)
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	compare := func(topic string) []Compared {
		t.Helper()
		list, err := CompareReplicas(c.ctx(), client, c.nodes[0].AdminAddr(), topic)
		if err != nil {
			t.Fatal(err)
		}
		return list
	}
	all := compare("")
	bytes := int64(0)
	for _, p := range all {
		if want := map[string]int{"t": 3, "other": 2}[p.Topic]; !p.Same || len(p.Replicas) != want {
			t.Errorf("%+v", p)
		}
		for _, r := range p.Replicas[:min(1, len(p.Replicas))] {
			bytes += r.Bytes
		}
	}
	if len(all) != 4 || bytes < 3000 {
		t.Errorf("%d partitions, %d bytes", len(all), bytes)
	}
	if one := compare("other"); len(one) != 1 {
		t.Errorf("one topic: %+v", one)
	}
	if _, err := CompareReplicas(c.ctx(), client, c.nodes[0].AdminAddr(), "none"); err == nil {
		t.Error("a topic that does not exist was compared")
	}

	// What is another replica's is told apart by content alone.
	topic, _ := c.nodes[1].meta.Image().Topic("t")
	a, b := c.nodes[1].directory.ByID(topic.ID, 0), c.nodes[1].directory.ByID(topic.ID, 1)
	c.nodes[1].directory.Put(topic.ID, "t", 0, b)
	c.nodes[1].directory.Put(topic.ID, "t", 1, a)
	for _, p := range compare("t")[:2] {
		if p.Same {
			t.Errorf("found the same: %+v", p)
		}
	}
	gone := ids.NodeID(3)
	c.stop(gone)
	if i := slices.IndexFunc(compare("t"), func(p Compared) bool { return p.Same }); i >= 0 {
		t.Error("a partition whose replica is away was found the same")
	}
}
