package gossip

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"sync"
	"testing"
	"time"

	"dyno/engine/ids"
)

// probe is short, so that tests see a death soon, and long enough for a busy
// machine not to suspect everybody.
const probe = 200 * time.Millisecond

// node is one Gossip under test, on a port of its own on loopback.
type node struct {
	*Gossip
	addr string

	mu  sync.Mutex
	cut bool // guarded by mu: it reaches nobody
	saw []Member
}

// lives counts the nodes of the test process, so that each life is a later one.
var lives struct {
	sync.Mutex
	n uint64
}

// start runs a node of a cluster that knows seeds. Each set may change the
// configuration first.
func start(t *testing.T, cluster string, id ids.NodeID, seeds []Seed, set ...func(*Config)) *node {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	lives.Lock()
	lives.n++
	life := lives.n
	lives.Unlock()
	n := &node{addr: l.Addr().String()}
	c := Config{
		Self: Info{
			Cluster: cluster, Node: id, Incarnation: life, Directory: "d", Peer: n.addr, Admin: "127.0.0.1:1", Rack: "r",
		},
		Listener: l, Dial: n.dial, Seeds: func() []Seed { return seeds },
		Changed:       n.changed,
		ProbeInterval: probe, NewsInterval: probe / 10,
		Log: slog.New(slog.DiscardHandler),
	}
	for _, f := range set {
		f(&c)
	}
	if n.Gossip, err = Start(c); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = n.Close() })
	return n
}

var errCut = errors.New("no way there")

func (n *node) dial(ctx context.Context, addr string) (net.Conn, error) {
	n.mu.Lock()
	cut := n.cut
	n.mu.Unlock()
	if cut {
		return nil, errCut
	}
	var d net.Dialer
	return d.DialContext(ctx, "tcp", addr)
}

// isolate makes the node reach nobody, or everybody again.
func (n *node) isolate(on bool) {
	n.mu.Lock()
	n.cut = on
	n.mu.Unlock()
	if on { // the senders have connections still
		n.wire.mu.Lock()
		var open []net.Conn
		for c := range n.wire.conns {
			open = append(open, c)
		}
		n.wire.mu.Unlock()
		for _, c := range open {
			_ = c.Close()
		}
	}
}

func (n *node) changed(m Member) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.saw = append(n.saw, m)
}

// states are those that Changed told of a life of a node, in order.
func (n *node) states(id ids.NodeID, peer string) (out []State) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, m := range n.saw {
		if m.Node == id && m.Peer == peer {
			out = append(out, m.State)
		}
	}
	return out
}

// crash ends the node without a word to the others.
func (n *node) crash() {
	n.once.Do(func() {
		close(n.stop)
		_ = n.list.Shutdown()
		n.wg.Wait()
	})
}

// state is what n believes of a node; "" if it has never heard of it.
func (n *node) state(id ids.NodeID) State {
	for _, m := range n.Members() {
		if m.Node == id {
			return m.State
		}
	}
	return ""
}

// until polls a condition that other goroutines make true.
func until(t testing.TB, what string, cond func() bool) {
	t.Helper()
	deadline, tick := time.NewTimer(30*time.Second), time.NewTicker(time.Millisecond)
	defer deadline.Stop()
	defer tick.Stop()
	for !cond() {
		select {
		case <-tick.C:
		case <-deadline.C:
			t.Fatalf("never happened: %s", what)
		}
	}
}

// knows waits until n holds all these nodes alive.
func (n *node) knows(t testing.TB, list ...ids.NodeID) {
	t.Helper()
	for _, id := range list {
		until(t, "a node is alive to another", func() bool { return n.state(id) == Alive })
	}
}

// three starts nodes 1 to 3, of which the others know only the first.
func three(t *testing.T, set ...func(*Config)) [3]*node {
	t.Helper()
	var n [3]*node
	n[0] = start(t, "bed", 1, nil, set...)
	for i := 1; i < 3; i++ {
		n[i] = start(t, "bed", ids.NodeID(i+1), []Seed{{1, n[0].addr}}, set...)
	}
	for _, m := range n {
		m.knows(t, 1, 2, 3)
	}
	return n
}
