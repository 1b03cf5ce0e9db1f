package main

import (
	"encoding/json"
	"net/http"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"dyno/engine"
	"dyno/engine/gossip"
)

// TestPrintCluster: what gossip believes stands apart from what the metadata says,
// and is left out where there are no others.
func TestPrintCluster(t *testing.T) {
	s := engine.ClusterStatus{ID: "lab", Seen: 1, Controller: 2, Brokers: []engine.BrokerStatus{{Node: 3, State: "serving", Kafka: "h:1"}}}
	var out strings.Builder
	if err := printCluster(&out, &s); err != nil || strings.Contains(out.String(), "GOSSIP") {
		t.Errorf("%v\n%s", err, out.String())
	}
	s.Gossip = []gossip.Member{{
		Info:  gossip.Info{Node: 3, Peer: "h:2", Kafka: "h:1", Rack: "r", Load: gossip.Load{Leaders: 4, Replicas: 5, InBytes: 6, DiskFree: 7_500_000_000}},
		State: gossip.Dead, Since: time.Now().Add(-time.Minute),
	}}
	out.Reset()
	if err := printCluster(&out, &s); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`(?m)^3 +serving +h:1 `, `(?m)^GOSSIP BELIEVES +STATE `, `(?m)^3 +dead +1m0s +h:2 +h:1 +r +4 +5 +6 +7\.5$`} {
		if !regexp.MustCompile(want).MatchString(out.String()) {
			t.Errorf("no %s in\n%s", want, out.String())
		}
	}
}

// TestLongClusterStatusKilled kills one of three processes: the others see it suspect,
// then dead, and say so; started again, it is alive.
func TestLongClusterStatusKilled(t *testing.T) {
	long(t)
	c := newKilledCluster(t, 3)
	asked, b := c.nodes[0], c.nodes[2]
	believes := func() gossip.State {
		resp, err := http.Get("http://" + asked.http + "/cluster")
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		var s engine.ClusterStatus
		if err := json.NewDecoder(resp.Body).Decode(&s); err != nil {
			t.Fatal(err)
		}
		for _, m := range s.Gossip {
			if m.Node == 3 {
				return m.State
			}
		}
		return ""
	}
	await := func(want gossip.State) (saw []gossip.State) {
		tick := time.NewTicker(20 * time.Millisecond)
		defer tick.Stop()
		for deadline := time.Now().Add(time.Minute); ; <-tick.C {
			now := believes()
			if len(saw) == 0 || saw[len(saw)-1] != now {
				saw = append(saw, now)
			}
			if now == want {
				return saw
			}
			if time.Now().After(deadline) {
				t.Fatalf("node 3 was %v, never %s", saw, want)
			}
		}
	}
	await(gossip.Alive)
	b.kill()
	if saw := await(gossip.Dead); !slices.Contains(saw, gossip.Suspect) {
		t.Errorf("node 3 was %v", saw)
	}
	out, err := exec.Command(asked.bin, "cluster", "status", "--admin", asked.http).CombinedOutput()
	if err != nil || !regexp.MustCompile(`(?m)^3 +dead `).Match(out) {
		t.Errorf("%v\n%s", err, out)
	}
	b.start()
	await(gossip.Alive)
}
