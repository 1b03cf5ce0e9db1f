package engine

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"dyno/engine/events"
	"dyno/engine/gossip"
	"dyno/engine/ids"
	"dyno/engine/transport/transporttest"
	"dyno/wal/vfs"
)

// quickGossip makes nodes miss one another soon.
func quickGossip(c *Config) {
	c.Gossip = GossipConfig{ProbeInterval: 200 * time.Millisecond, NewsInterval: 20 * time.Millisecond}
}

// member is what a node believes of another.
func (c *clusterBed) member(at, of ids.NodeID) gossip.Member {
	for _, m := range c.nodes[at-1].peers.gossip.Members() {
		if m.Node == of {
			return m
		}
	}
	return gossip.Member{}
}

// stranger is somebody who gossips without being a node of the bed.
type stranger struct {
	*gossip.Gossip
	mu    sync.Mutex
	gone  bool // guarded by mu: no word leaves it
	conns []net.Conn
}

// stranger starts one that knows node 1.
func (c *clusterBed) stranger(self gossip.Info) *stranger {
	c.t.Helper()
	l, err := net.Listen("tcp", self.Peer)
	if err != nil {
		c.t.Fatal(err)
	}
	s := &stranger{}
	s.Gossip, err = gossip.Start(gossip.Config{
		Self: self, Listener: l, Dial: s.dial, ProbeInterval: c.cfg[0].Gossip.ProbeInterval, Log: c.cfg[0].Log,
		Seeds: func() []gossip.Seed { return []gossip.Seed{{Node: 1, Peer: c.cfg[0].RaftAddr}} },
	})
	if err != nil {
		c.t.Fatal(err)
	}
	c.t.Cleanup(func() { _ = s.Close() })
	return s
}

func (s *stranger) dial(ctx context.Context, addr string) (net.Conn, error) {
	var d net.Dialer
	c, err := d.DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.gone {
		_ = c.Close()
		return nil, net.ErrClosed
	}
	s.conns = append(s.conns, c)
	return c, nil
}

// crash ends it without a word to the others.
func (s *stranger) crash() {
	s.mu.Lock()
	s.gone = true
	for _, c := range s.conns {
		_ = c.Close()
	}
	s.mu.Unlock()
	_ = s.Close()
}

// move stops a node, gives it other addresses that only its own configuration
// knows, and starts it again; meanwhile runs while it is away.
func (c *clusterBed) move(id ids.NodeID, meanwhile func()) {
	c.t.Helper()
	c.stop(id)
	meanwhile()
	cfg := &c.cfg[id-1]
	cfg.KafkaAddr, cfg.RaftAddr = transporttest.FreeAddr(c.t), transporttest.FreeAddr(c.t)
	cfg.Peers = slices.Clone(cfg.Peers)
	cfg.Peers[id-1].Raft = cfg.RaftAddr
	opened := make(chan *Node, 1)
	go func() {
		n, err := Open(*cfg)
		if err != nil {
			c.t.Error(err)
		}
		opened <- n
	}()
	select {
	case c.nodes[id-1] = <-opened:
	case <-time.After(time.Minute):
		c.t.Fatal("the node that moved was not found")
	}
	for _, n := range c.nodes {
		if addr, ok := n.peerAddr(id); !ok || addr != cfg.RaftAddr {
			c.t.Errorf("node %d looks for node %d at %s, %v", n.identity.NodeID, id, addr, ok)
		}
		until(c.t, "the metadata knows the new addresses", func() bool {
			b, ok := n.meta.Image().Broker(id)
			return ok && b.Raft == cfg.RaftAddr && b.Kafka == cfg.KafkaAddr && !b.Fenced
		})
	}
}

// TestClusterMoved: a node that starts again at other addresses is found by the
// others, gets what it missed, and counts.
func TestClusterMoved(t *testing.T) {
	t.Parallel()
	c := newClusterBed(t, 3, quickGossip)
	c.topic("t", 3, 3)
	c.produce("t", 0, 100)
	c.move(3, func() { c.produce("t", 100, 100) })
	c.stop(1) // now the majority needs the one that moved
	c.produce("t", 200, 100)
	c.consume("t", 300)
	until(t, "node 3 holds everything", func() bool {
		held := int64(0)
		for _, h := range c.nodes[2].hosts.list() {
			held += int64(h.Offsets().HighWatermark)
		}
		return held == 300
	})
}

// TestClusterMovedWiped: the same, of a node that has lost its log, and so comes
// back with another directory.
func TestClusterMovedWiped(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("waits until replicas have moved")
	}
	c := newClusterBed(t, 3, quickGossip)
	c.topic("t", 3, 3)
	c.produce("t", 0, 100)
	c.move(3, func() {
		fs := vfs.NewMem(99)
		c.mem[2], c.cfg[2].FS = fs, fs
		if err := Format(fs, bedDir, "bed", 3, Rejoin); err != nil {
			t.Fatal(err)
		}
	})
	c.whole("t")
	c.stop(1)
	c.produce("t", 100, 100)
	c.consume("t", 200)
}

// TestAddressBook: gossip says where a node is that the metadata knows, unless it
// speaks of another data directory, or of a node that is gone; then the metadata
// does, and before there is one the configuration.
func TestAddressBook(t *testing.T) {
	t.Parallel()
	c := newClusterBed(t, 3, quickGossip)
	n := c.nodes[0]
	until(t, "node 2 is alive", func() bool { return c.member(1, 2).State == gossip.Alive })
	here := c.cfg[1].RaftAddr
	want := func(what, addr string) {
		t.Helper()
		if got, ok := n.peerAddr(2); !ok || got != addr {
			t.Errorf("%s: node 2 is at %s, %v; want %s", what, got, ok, addr)
		}
	}
	want("all agree", here)
	impostor := func(directory, peer string) *stranger {
		g := c.stranger(gossip.Info{Cluster: "bed", Node: 2, Incarnation: uint64(time.Now().UnixNano()), Directory: directory, Peer: peer})
		until(t, "the other node 2 is alive", func() bool { return c.member(1, 2).Peer == peer })
		return g
	}
	other := impostor("another", transporttest.FreeAddr(t))
	want("another directory", here)
	_ = other.Close()
	there := transporttest.FreeAddr(t)
	other = impostor(n.metaDirectory(t, 2), there)
	want("a later life of the same directory", there)
	other.crash()
	until(t, "it is gone again", func() bool { addr, _ := n.peerAddr(2); return addr == here })

	c.stop(2)
	until(t, "node 2 has left", func() bool { return c.member(1, 2).State == gossip.Left || c.member(1, 2).State == gossip.Dead })
	want("nobody gossips as node 2", here)
	if addr, ok := n.peerAddr(9); ok {
		t.Errorf("a node that nobody knows is at %s", addr)
	}
}

func (n *Node) metaDirectory(t *testing.T, id ids.NodeID) string {
	t.Helper()
	b, ok := n.meta.Image().Broker(id)
	if !ok {
		t.Fatalf("the metadata does not know node %d", id)
	}
	return b.Directory
}

// TestGossipShown: the pages tell what gossip believes of a node that comes and dies,
// apart from what the metadata says, which does not change for that.
func TestGossipShown(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	var saw []string // states of node 4, to node 1
	c := newClusterBed(t, 3, quickGossip, func(cfg *Config) {
		cfg.Rack = "r1"
		cfg.Listener = listenerFunc(func(e events.Event) {
			if e, ok := e.(events.MemberChanged); ok && e.Node == 4 && cfg.Peers[0].Raft == cfg.RaftAddr {
				mu.Lock()
				defer mu.Unlock()
				saw = append(saw, e.State)
			}
		})
	})
	c.topic("t", 4, 3)
	c.produce("t", 0, 100)
	meter := loadMeter{node: c.nodes[0]}
	meter.load()
	until(t, "node 1 leads and gets records", func() bool { // none, while others still lead in its place
		c.produce("t", 100, 400)
		l := meter.load()
		return l.Replicas == 4 && l.Leaders > 0 && l.InBytes > 0 && l.DiskFree > 0
	})
	fourth := c.stranger(gossip.Info{Cluster: "bed", Node: 4, Incarnation: 1, Directory: "d", Peer: transporttest.FreeAddr(t)})
	for id := ids.NodeID(2); id <= 4; id++ {
		until(t, "all are alive to node 1", func() bool { return c.member(1, id).State == gossip.Alive })
	}
	fourth.crash()
	until(t, "node 4 is dead", func() bool { return c.member(1, 4).State == gossip.Dead })
	var s ClusterStatus
	if err := json.Unmarshal([]byte(c.page(1, "/cluster")), &s); err != nil {
		t.Fatal(err)
	}
	if len(s.Gossip) != 4 || s.Gossip[3].State != gossip.Dead || s.Gossip[3].Since.IsZero() || s.Gossip[1].Kafka != c.cfg[1].KafkaAddr ||
		s.Gossip[1].Rack != "r1" || s.Gossip[1].Peer != c.cfg[1].RaftAddr {
		t.Errorf("gossip %+v", s.Gossip)
	}
	if len(s.Brokers) != 3 {
		t.Errorf("gossip brought a broker: %+v", s.Brokers)
	}
	page := c.page(1, "/metrics")
	for _, want := range []string{`dyno_gossip_members{state="alive"} 3`, `dyno_gossip_members{state="dead"} 1`} {
		if !strings.Contains(page, want+"\n") {
			t.Errorf("no %s in %s", want, regexp.MustCompile(`(?m)^dyno_gossip.*$`).FindAllString(page, -1))
		}
	}
	until(t, "events told of it", func() bool {
		mu.Lock()
		defer mu.Unlock()
		return slices.Equal(saw, []string{"alive", "suspect", "dead"})
	})
}

func (c *clusterBed) page(id ids.NodeID, path string) string {
	c.t.Helper()
	resp, err := (&http.Transport{DisableKeepAlives: true}).RoundTrip(&http.Request{
		Method: http.MethodGet, Header: http.Header{}, URL: &url.URL{Scheme: "http", Host: c.nodes[id-1].AdminAddr(), Path: path},
	})
	if err != nil {
		c.t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		c.t.Fatal(err)
	}
	return string(b)
}

// TestGossipHint: a node that gossip holds dead is a hint to those who follow it,
// which forget it; if it lives, it is known again, and the metadata holds nothing
// against it.
func TestGossipHint(t *testing.T) {
	t.Parallel()
	forgot := make(chan ids.NodeID, 1000)
	c := newClusterBed(t, 3, func(cfg *Config) {
		self := cfg.RaftAddr
		cfg.Listener = listenerFunc(func(e events.Event) {
			if e, ok := e.(events.LeaderChanged); ok && e.Group == ids.MetadataGroup && e.Leader == 0 {
				at := slices.IndexFunc(cfg.Peers, func(p Peer) bool { return p.Raft == self })
				forgot <- cfg.Peers[at].Node
			}
		})
	})
	hint := func(n *Node, state gossip.State) {
		n.memberChanged(gossip.Member{Info: gossip.Info{Node: n.controller()}, State: state})
	}
	follower := func() *Node {
		until(t, "there is a leader", func() bool { return c.nodes[0].controller() != 0 })
		return c.nodes[c.nodes[0].controller()%3]
	}
	// A heartbeat of the leader that comes in the same moment undoes the hint unseen.
	told := func(state gossip.State, tries int) bool {
		for range tries {
			n := follower()
			for len(forgot) > 0 {
				<-forgot
			}
			hint(n, state)
			select {
			case at := <-forgot:
				if at == n.identity.NodeID {
					return true
				}
			case <-time.After(100 * time.Millisecond):
			}
		}
		return false
	}
	if told(gossip.Suspect, 3) || told(gossip.Left, 3) {
		t.Error("a node that is suspect, or has left, was forgotten")
	}
	if !told(gossip.Dead, 50) {
		t.Error("a node that is dead was not forgotten")
	}
	for _, n := range c.nodes {
		until(t, "the leader is known again", func() bool { return n.controller() != 0 })
		for _, b := range n.ClusterStatus().Brokers {
			if b.State != "serving" {
				t.Errorf("node %d is %s: gossip fenced it", b.Node, b.State)
			}
		}
	}
}

// TestGossipForeign: a node of another cluster that finds the port is no member.
func TestGossipForeign(t *testing.T) {
	t.Parallel()
	c := newClusterBed(t, 3)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	g, err := gossip.Start(gossip.Config{
		Self:     gossip.Info{Cluster: "other", Node: 7, Incarnation: 1, Peer: l.Addr().String()},
		Listener: l, Dial: c.nodes[0].dialPeer, Log: c.cfg[0].Log,
		Seeds: func() []gossip.Seed { return []gossip.Seed{{Node: 1, Peer: c.cfg[0].RaftAddr}} },
	})
	if err != nil {
		t.Fatal(err)
	}
	defer g.Close()
	until(t, "it is refused", func() bool {
		return strings.Contains(c.page(1, "/metrics"), `dyno_gossip_refused_total{reason="foreign_cluster"} 1`)
	})
	if m := c.member(1, 7); m.Node != 0 {
		t.Errorf("it is %+v", m)
	}
}

// TestGossipTLS: what nodes gossip can be read on the wire without TLS, and not
// with it.
func TestGossipTLS(t *testing.T) {
	t.Parallel()
	ca := testCA(t)
	for name, secure := range map[string]bool{"plain": false, "tls": true} {
		t.Run(name, func(t *testing.T) {
			var all tape
			c := newClusterBed(t, 3, quickGossip, func(cfg *Config) {
				cfg.Rack = "the-rack-of-a-test"
				if secure {
					cfg.PeerTLS = ca.config(t)
				}
				peer := cfg.RaftAddr
				cfg.RaftAddr = transporttest.FreeAddr(t)
				all.proxy(t, peer, cfg.RaftAddr)
			})
			for _, at := range c.all() {
				for _, of := range c.all() {
					until(t, "all are alive to each other", func() bool { return c.member(at, of).State == gossip.Alive })
				}
			}
			packets := func() uint64 { return c.nodes[0].peers.gossip.Stats().PacketsIn }
			before := packets()
			until(t, "they go on gossiping", func() bool { return packets() > before+4 })
			c.stop(c.all()...)
			for _, text := range []string{gossip.Magic, "the-rack-of-a-test", c.cfg[0].KafkaAddr, "@127."} {
				if got := all.holds(text); got == secure {
					t.Errorf("%q on the wire: %v", text, got)
				}
			}
		})
	}
}

// tape records what passes through proxies.
type tape struct {
	mu    sync.Mutex
	bytes bytes.Buffer // guarded by mu
}

// Write implements io.Writer.
func (r *tape) Write(b []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.bytes.Write(b)
}

func (r *tape) holds(text string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return bytes.Contains(r.bytes.Bytes(), []byte(text))
}

// proxy listens at from and connects to to, until the test ends.
func (r *tape) proxy(t *testing.T, from, to string) {
	t.Helper()
	l, err := net.Listen("tcp", from)
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	t.Cleanup(func() { _ = l.Close(); wg.Wait() })
	pass := func(dst, src net.Conn) {
		_, _ = io.Copy(io.MultiWriter(dst, r), src)
		_ = dst.Close()
		_ = src.Close()
	}
	wg.Go(func() {
		for {
			in, err := l.Accept()
			if err != nil {
				return
			}
			out, err := net.Dial("tcp", to)
			if err != nil {
				_ = in.Close()
				continue
			}
			wg.Go(func() { pass(out, in) })
			wg.Go(func() { pass(in, out) })
		}
	})
}
