package transport_test

import (
	"fmt"
	"testing"
	"time"

	"go.etcd.io/raft/v3/raftpb"
	"go.uber.org/goleak"

	"dyno/engine/ids"
	"dyno/engine/transport"
	"dyno/engine/transport/transporttest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestMemoryKeepsTheContract(t *testing.T) {
	transporttest.Run(t, func(t *testing.T, n int, max int64) []transport.Transport {
		net := transport.NewNetwork(1)
		net.SetQueueBytesMax(max)
		net.Run()
		t.Cleanup(net.Close)
		var list []transport.Transport
		for i := range n {
			list = append(list, net.Node(ids.NodeID(i+1)))
		}
		return list
	})
}

// recorder writes down what arrives and when.
type recorder struct {
	net  *transport.Network
	now  *time.Duration
	text string
}

func (r *recorder) Receive(from ids.NodeID, batch []transport.Envelope) {
	for _, e := range batch {
		r.text += fmt.Sprintf("%v: %d->%d %d\n", *r.now, from, e.Message.To, e.Message.Index)
	}
}

func (r *recorder) Unreachable(to ids.NodeID, g ids.GroupID, id ids.ReplicaID) {
	r.text += fmt.Sprintf("%v: unreachable %d %d %d\n", *r.now, to, g, id)
}

func play(seed uint64, link transport.Link) (string, transport.NetworkStats) {
	net := transport.NewNetwork(seed)
	net.SetLinks(link)
	var now time.Duration
	r := &recorder{net: net, now: &now}
	nodes := []transport.Transport{net.Node(1), net.Node(2)}
	for _, n := range nodes {
		n.Start(r)
	}
	for i := range 200 {
		nodes[0].Send(2, transport.Bulk, []transport.Envelope{
			{Group: 1, Message: raftpb.Message{To: 2, Index: uint64(i)}},
		})
		now += time.Millisecond
		net.Advance(time.Millisecond)
	}
	now += time.Second
	net.Advance(time.Second)
	return r.text, net.Stats()
}

func TestMemoryReplaysFromItsSeed(t *testing.T) {
	bad := transport.Link{DelayMin: time.Millisecond, DelayMax: 20 * time.Millisecond, Loss: 0.2, Duplicate: 0.1, Reorder: 0.3}
	one, stats := play(7, bad)
	again, _ := play(7, bad)
	other, _ := play(8, bad)
	if one != again {
		t.Error("the same seed gave another run")
	}
	if one == other {
		t.Error("another seed gave the same run")
	}
	if stats.Lost == 0 || stats.Duplicated == 0 || stats.Sent != 200 {
		t.Errorf("stats %+v: nothing lost or duplicated", stats)
	}
	if stats.Delivered != stats.Sent-stats.Lost+stats.Duplicated {
		t.Errorf("stats %+v do not add up", stats)
	}
}

func TestMemoryCutAndHeal(t *testing.T) {
	net := transport.NewNetwork(1)
	var now time.Duration
	r := &recorder{net: net, now: &now}
	a, b := net.Node(1), net.Node(2)
	a.Start(r)
	b.Start(r)
	send := func(i uint64) {
		a.Send(2, transport.Control, []transport.Envelope{{Group: 1, Message: raftpb.Message{To: 2, Index: i}}})
		b.Send(1, transport.Control, []transport.Envelope{{Group: 1, Message: raftpb.Message{To: 1, Index: i}}})
		net.Advance(0)
	}
	send(1)
	net.Isolate(2)
	send(2)
	net.Heal(2)
	send(3)
	net.SetLink(1, 2, transport.Link{Cut: true})
	send(4)
	want := "0s: 1->2 1\n0s: 2->1 1\n0s: 1->2 3\n0s: 2->1 3\n0s: 2->1 4\n"
	if r.text != want {
		t.Errorf("got\n%swant\n%s", r.text, want)
	}
}
