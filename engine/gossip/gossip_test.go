package gossip

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/go-msgpack/v2/codec"
	"github.com/hashicorp/memberlist"
	"go.uber.org/goleak"

	"dyno/engine/ids"
)

// TestFind: three nodes find each other from the address of one, and learn what
// each says of itself, then and later.
func TestFind(t *testing.T) {
	n := three(t)
	if got := n[2].Members()[1].Info; got != n[1].self {
		t.Errorf("node 3 holds of node 2: %+v, it says %+v", got, n[1].self)
	}
	if err := n[1].Announce(Info{Directory: "e", Kafka: "k:1", Admin: "a:1", Rack: "r2"}); err != nil {
		t.Fatal(err)
	}
	n[1].announceLoad(Load{Leaders: 3, Replicas: 5, InBytes: 123_456, DiskFree: 98_765_432})
	want := Load{3, 5, 120_000, 98_000_000}
	for _, at := range n {
		until(t, "the news of node 2 arrives", func() bool {
			m, ok := at.Lookup(2)
			return ok && m.Directory == "e" && m.Kafka == "k:1" && m.Admin == "a:1" && m.Rack == "r2" && m.Load == want && m.Peer == n[1].addr
		})
	}
	told := n[1].list.LocalNode().Meta
	n[1].announceLoad(Load{Leaders: 3, Replicas: 5, InBytes: 123_999, DiskFree: 98_000_001})
	if again := n[1].list.LocalNode().Meta; &told[0] != &again[0] {
		t.Error("a load that hardly changed was news")
	}
}

// TestDeath: a node that dies is suspect first, then dead, and the others are not.
func TestDeath(t *testing.T) {
	// Long enough for a busy machine to see the suspicion before it is certain.
	n := three(t, func(c *Config) { c.ProbeInterval = 2 * probe })
	n[2].crash()
	for _, at := range n[:2] {
		until(t, "node 3 is dead", func() bool { return at.state(3) == Dead })
		if got := at.states(3, n[2].addr); len(got) < 3 || !slices.Equal(got[len(got)-3:], []State{Alive, Suspect, Dead}) {
			t.Errorf("node 3 was %v", got)
		}
		if m := at.Members()[2]; m.Since.Before(at.Members()[0].Since) || time.Since(m.Since) > time.Minute {
			t.Errorf("dead since %v", m.Since)
		}
		if _, ok := at.Lookup(3); ok {
			t.Error("a dead node is in the address book")
		}
	}
}

// TestLeave: a node that closes has left, which nobody has to find out.
func TestLeave(t *testing.T) {
	n := three(t)
	_ = n[2].Close()
	for _, at := range n[:2] {
		until(t, "node 3 has left", func() bool { return at.state(3) == Left })
		if got := at.states(3, n[2].addr); slices.Contains(got, Dead) {
			t.Errorf("node 3 was %v", got)
		}
	}
	_ = n[2].Close() // is idempotent
}

// TestMove: a node that crashes and starts at another address is found there while
// the others may still believe in its old life, which then never hides it.
func TestMove(t *testing.T) {
	n := three(t)
	n[2].crash()
	moved := start(t, "bed", 3, []Seed{{2, n[1].addr}})
	for _, at := range n[:2] {
		until(t, "node 3 is found at its new address", func() bool {
			m, ok := at.Lookup(3)
			return ok && m.Peer == moved.addr
		})
	}
	until(t, "its old life is over", func() bool {
		nodes, err := n[0].wire.askSelf()
		return err == nil && slices.ContainsFunc(nodes, func(p pushNode) bool { return p.Name == n[2].self.name() && p.State == memberlist.StateDead })
	})
	for _, at := range n[:2] {
		if m, ok := at.Lookup(3); !ok || m.Peer != moved.addr {
			t.Errorf("node 3 is at %+v, %v", m, ok)
		}
	}
}

// TestSplit: nodes that were cut off from each other for so long that memberlist has
// forgotten them meet again.
func TestSplit(t *testing.T) {
	if testing.Short() {
		t.Skip("waits until the dead are forgotten")
	}
	a := start(t, "bed", 1, nil)
	b := start(t, "bed", 2, []Seed{{1, a.addr}})
	a.knows(t, 2)
	b.knows(t, 1)
	a.isolate(true)
	b.isolate(true)
	until(t, "both are dead to each other", func() bool { return a.state(2) == Dead && b.state(1) == Dead })
	for _, n := range []*node{a, b} {
		until(t, "the dead are forgotten", func() bool {
			nodes, err := n.wire.askSelf()
			return err == nil && len(nodes) == 1
		})
	}
	a.isolate(false)
	b.isolate(false)
	a.knows(t, 2)
	b.knows(t, 1)
}

// TestForeign: a node of another cluster is told so, counted, and no member, nor is
// anything of it, whichever of the two dialled.
func TestForeign(t *testing.T) {
	var said lines
	a := start(t, "bed", 1, nil, said.log)
	b := start(t, "other", 2, []Seed{{1, a.addr}}, said.log)
	until(t, "node 2 is refused", func() bool { return a.Stats().Refused.ForeignCluster > 0 })
	until(t, "both say so", func() bool {
		return said.contain("a connection is refused", `belongs to another cluster: \"other\"`) && said.contain("a node refuses", "belongs to another cluster")
	})
	if a.state(2) != "" || b.state(1) != "" {
		t.Errorf("they know each other: %+v, %+v", a.Members(), b.Members())
	}

	// One that lies in its hello is refused for what it gossips.
	was := a.Stats().Refused.ForeignCluster
	sendPacket(t, dialAs(t, a, "bed", packetConn), aliveOf(t, Info{Cluster: "third", Node: 3, Incarnation: 1, Peer: "h:1"}))
	until(t, "the liar is refused", func() bool { return a.Stats().Refused.ForeignCluster > was })
	if a.state(3) != "" {
		t.Error("the liar is a member")
	}
}

// TestNotify: what memberlist brings is checked whole (a merge) and one by one, and
// members have a limit.
func TestNotify(t *testing.T) {
	a := start(t, "bed", 1, nil, func(c *Config) { c.MembersMax = 3 })
	member := func(cluster string, id ids.NodeID) *memberlist.Node {
		i := Info{Cluster: cluster, Node: id, Incarnation: 1, Peer: "h:1"}
		return &memberlist.Node{Name: i.name(), Meta: i.appendMeta(nil)}
	}
	d := delegate{a.Gossip}
	good, foreign, bad := member("bed", 2), member("other", 3), &memberlist.Node{Name: "web", Meta: []byte("x")}
	if err := d.NotifyMerge([]*memberlist.Node{good, bad}); err != nil {
		t.Errorf("merge with a member that makes no sense: %v", err)
	}
	if err := d.NotifyMerge([]*memberlist.Node{good, foreign}); !errors.Is(err, ErrForeignCluster) {
		t.Errorf("merge with a foreign member: %v", err)
	}
	until(t, "node 1 has seen itself", func() bool { a.Gossip.mu.Lock(); defer a.Gossip.mu.Unlock(); return len(a.admitted) == 1 })
	for n, want := range map[*memberlist.Node]error{good: nil, foreign: ErrForeignCluster, bad: ErrMalformed} {
		if err := d.NotifyAlive(n); !errors.Is(err, want) {
			t.Errorf("%s: %v, want %v", n.Name, err, want)
		}
	}
	if got := a.Stats().Refused; got != (Refused{ForeignCluster: 2, Malformed: 1}) {
		t.Errorf("counted %+v", got)
	}
}

// TestManyMembers: hundreds of members that nobody answers for cost neither
// goroutines nor, beyond the limit, memory.
func TestManyMembers(t *testing.T) {
	a := start(t, "bed", 1, nil, func(c *Config) { c.MembersMax = 200 })
	until(t, "node 1 has seen itself", func() bool { return a.state(1) == Alive })
	before := runtime.NumGoroutine()
	c := dialAs(t, a, "bed", packetConn)
	for id := ids.NodeID(2); id < 502; id++ {
		sendPacket(t, c, aliveOf(t, Info{Cluster: "bed", Node: id, Incarnation: 1, Peer: "127.0.0.1:1"}))
	}
	until(t, "the limit is met", func() bool { return a.Stats().Refused.Limit > 0 && len(a.Members()) >= 199 })
	until(t, "they are probed", func() bool { return a.Stats().DialsFailed > 5 })
	if n := len(a.Members()); n > 200 {
		t.Errorf("%d members", n)
	}
	if n := runtime.NumGoroutine(); n > before+100 { // those that dial at the moment
		t.Errorf("%d goroutines, %d before", n, before)
	}
}

// aliveOf is memberlist's message that says that a node is alive.
func aliveOf(t *testing.T, i Info) []byte {
	t.Helper()
	var b []byte
	err := codec.NewEncoderBytes(&b, &codec.MsgpackHandle{}).Encode(struct {
		Incarnation uint32
		Node        string
		Addr        []byte
		Port        uint16
		Meta        []byte
		Vsn         []uint8
	}{1, i.name(), []byte{0, 0, 0, 0}, 1, i.appendMeta(nil), []uint8{1, 5, 2, 0, 0, 0}})
	if err != nil {
		t.Fatal(err)
	}
	return append([]byte{4}, b...)
}

// TestClose: Close waits for a probe that nobody answers, and for streams that
// nobody ends.
func TestClose(t *testing.T) {
	if testing.Short() {
		t.Skip("waits for a probe of three seconds")
	}
	current := goleak.IgnoreCurrent()
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	a := start(t, "bed", 1, nil, func(c *Config) { c.ProbeInterval = 3 * time.Second })
	for range 3 {
		dialAs(t, a, "bed", streamConn)
	}
	c := dialAs(t, a, "bed", packetConn)
	sendPacket(t, c, aliveOf(t, Info{Cluster: "bed", Node: 2, Incarnation: 1, Peer: silent.Addr().String()}))
	until(t, "a probe is under way", func() bool { return a.wire.probeUntil.Load() > 0 })
	_ = a.Close()
	if err := goleak.Find(current); err != nil {
		t.Error(err)
	}
}

// TestCloseHangsUp: Close does not wait for others to end what they have opened.
func TestCloseHangsUp(t *testing.T) {
	a := start(t, "bed", 1, nil)
	dialAs(t, a, "bed", packetConn)
	for range 3 {
		dialAs(t, a, "bed", streamConn)
	}
	until(t, "memberlist has them", func() bool { return a.Stats().StreamsIn == 3 })
	begin := time.Now()
	_ = a.Close()
	if took := time.Since(begin); took > streamTimeout/2 {
		t.Errorf("Close took %v", took)
	}
}

// TestCloseSends: what was to be sent when a node leaves is sent, also over a
// connection that is being made.
func TestCloseSends(t *testing.T) {
	b := start(t, "bed", 2, nil)
	gate := make(chan struct{})
	a := start(t, "bed", 1, nil, func(c *Config) {
		dial := c.Dial
		c.Dial = func(ctx context.Context, addr string) (net.Conn, error) { <-gate; return dial(ctx, addr) }
	})
	for range 3 {
		if _, err := a.wire.WriteToAddress([]byte{9}, memberlist.Address{Name: b.self.name()}); err != nil {
			t.Fatal(err)
		}
	}
	closed := make(chan struct{})
	go func() { defer close(closed); _ = a.Close() }()
	until(t, "it is leaving", func() bool { a.wire.mu.Lock(); defer a.wire.mu.Unlock(); return a.wire.left })
	close(gate)
	<-closed
	if got := a.Stats(); got.PacketsOut != 3 || got.Lost != 0 {
		t.Errorf("%+v", got)
	}
}

// TestFold: of the lives of a node the latest that is alive counts, then the latest;
// a state that stays keeps its time.
func TestFold(t *testing.T) {
	life := func(inc uint64, peer string, state memberlist.NodeStateType) pushNode {
		i := Info{Cluster: "bed", Node: 1, Incarnation: inc, Peer: peer}
		return pushNode{Name: i.name(), Meta: i.appendMeta(nil), State: state}
	}
	alive, suspect, dead, left := memberlist.StateAlive, memberlist.StateSuspect, memberlist.StateDead, memberlist.StateLeft
	begin := time.Unix(100, 0)
	for what, c := range map[string]struct {
		nodes []pushNode
		peer  string
		state State
	}{
		"one":                      {[]pushNode{life(1, "a:1", alive)}, "a:1", Alive},
		"the later of two":         {[]pushNode{life(1, "a:1", alive), life(2, "b:1", alive)}, "b:1", Alive},
		"in any order":             {[]pushNode{life(2, "b:1", alive), life(1, "a:1", alive)}, "b:1", Alive},
		"suspect goes on":          {[]pushNode{life(1, "a:1", suspect), life(2, "b:1", dead)}, "a:1", Suspect},
		"a dead one hides nothing": {[]pushNode{life(3, "c:1", left), life(1, "a:1", alive), life(2, "b:1", dead)}, "a:1", Alive},
		"the later of the dead":    {[]pushNode{life(1, "a:1", dead), life(2, "b:1", left)}, "b:1", Left},
		"no sense":                 {[]pushNode{{Name: "web"}, life(1, "a:1", dead), {Name: "1@a:1#9", State: 77}}, "a:1", Dead},
	} {
		table := map[ids.NodeID]Member{}
		changed := fold(table, c.nodes, begin)
		if m := table[1]; len(changed) != 1 || m.Peer != c.peer || m.State != c.state || !m.Since.Equal(begin) {
			t.Errorf("%s: %+v, changed %+v", what, m, changed)
		}
		if changed = fold(table, c.nodes, begin.Add(time.Hour)); len(changed) > 0 || !table[1].Since.Equal(begin) {
			t.Errorf("%s, again: %+v", what, changed)
		}
	}
}

// TestTrim: who is gone longest is forgotten first, who is not gone never.
func TestTrim(t *testing.T) {
	table := map[ids.NodeID]Member{}
	for id := ids.NodeID(1); id <= 5; id++ {
		m := Member{Info: Info{Node: id}, State: Dead, Since: time.Unix(int64(id), 0)}
		if id <= 2 {
			m.State = Suspect
		}
		table[id] = m
	}
	trim(table, 3)
	if _, ok := table[5]; !ok || len(table) != 3 {
		t.Errorf("left over: %v", table)
	}
	if trim(table, 1); len(table) != 2 || table[1].Node != 1 || table[2].Node != 2 {
		t.Errorf("left over: %v", table)
	}
}

// dialAs says hello as a node of a cluster would.
func dialAs(t *testing.T, to *node, cluster string, kind byte) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", to.addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	hello := append([]byte(Magic), kind, byte(len(cluster)))
	if _, err := c.Write(append(hello, cluster...)); err != nil {
		t.Fatal(err)
	}
	var answer [1]byte
	if _, err := io.ReadFull(c, answer[:]); err != nil || answer[0] != answerOK {
		t.Fatalf("answer %v, %v", answer, err)
	}
	return c
}

func sendPacket(t *testing.T, c net.Conn, b []byte) {
	t.Helper()
	if _, err := c.Write(append([]byte{byte(len(b) >> 8), byte(len(b))}, b...)); err != nil {
		t.Fatal(err)
	}
}

// TestMalformed: what makes no sense ends its connection and is counted, or is
// dropped by memberlist; the node lives on.
func TestMalformed(t *testing.T) {
	a := start(t, "bed", 1, nil)
	for _, hello := range []string{"DYG2p\x03bed", "DYG1x\x03bed", "DYG1p\x00"} {
		c, err := net.Dial("tcp", a.addr)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(c, hello); err != nil {
			t.Fatal(err)
		}
		if b, err := io.ReadAll(c); err == nil && len(b) > 0 && b[0] == answerOK {
			t.Errorf("%q was taken", hello)
		}
		_ = c.Close()
	}
	c := dialAs(t, a, "bed", packetConn)
	for _, p := range []string{"\xff", "\x07\x05", "\x04garbage", "\x0c\x00\x00\x00\x00\x04"} {
		sendPacket(t, c, []byte(p))
	}
	sendPacket(t, c, nil)
	if _, err := c.Read(make([]byte, 1)); err == nil {
		t.Error("a connection with an empty packet was kept")
	}
	s := dialAs(t, a, "bed", streamConn)
	if _, err := io.WriteString(s, "\x06garbage"); err != nil {
		t.Fatal(err)
	}
	until(t, "all are counted", func() bool {
		got := a.Stats()
		return got.Refused == (Refused{ForeignCluster: 1, Malformed: 3}) && got.PacketsIn == 4
	})
	b := start(t, "bed", 2, []Seed{{1, a.addr}})
	a.knows(t, 2)
	b.knows(t, 1)
}

// TestConnectionsMax: one connection too many is closed, and its place is free
// again when another one ends.
func TestConnectionsMax(t *testing.T) {
	a := start(t, "bed", 1, nil, func(c *Config) { c.ConnectionsMax = 2 })
	first := dialAs(t, a, "bed", packetConn)
	dialAs(t, a, "bed", packetConn)
	c, err := net.Dial("tcp", a.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := c.Read(make([]byte, 1)); err == nil || a.Stats().Refused.Limit != 1 {
		t.Errorf("a third connection: %v, %+v", err, a.Stats())
	}
	_ = first.Close()
	until(t, "there is room again", func() bool {
		a.wire.mu.Lock()
		defer a.wire.mu.Unlock()
		return a.wire.inbound == 1
	})
	dialAs(t, a, "bed", packetConn)
}

// TestQueue: packets for a node that does not take them are dropped and counted,
// and nobody waits.
func TestQueue(t *testing.T) {
	a := start(t, "bed", 1, nil)
	silent, err := net.Listen("tcp", "127.0.0.1:0") // nobody accepts: no answer to the hello
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	to := memberlist.Address{Name: seedName(2, silent.Addr().String())}
	for range queuePackets + 10 {
		if _, err := a.wire.WriteToAddress([]byte{9}, to); err != nil {
			t.Fatal(err)
		}
	}
	if n := a.Stats().Overflowed; n != 10 {
		t.Errorf("%d packets found no room, want 10", n)
	}
	if _, err := a.wire.WriteToAddress([]byte{9}, memberlist.Address{Name: "web"}); !errors.Is(err, ErrMalformed) {
		t.Errorf("a name that makes no sense: %v", err)
	}
	_ = a.Close()
	if n := a.Stats().Lost; n != queuePackets {
		t.Errorf("%d packets were lost, want %d", n, queuePackets)
	}
	if _, err := a.wire.WriteToAddress([]byte{9}, to); !errors.Is(err, ErrClosed) {
		t.Errorf("after Close: %v", err)
	}
}

// TestConfig: what others could not take is refused at the start.
func TestConfig(t *testing.T) {
	good := Info{Cluster: "c", Node: 1, Incarnation: 1, Peer: "h:1"}
	for what, spoil := range map[string]func(*Info){
		"no cluster": func(i *Info) { i.Cluster = "" }, "no node": func(i *Info) { i.Node = 0 }, "no life": func(i *Info) { i.Incarnation = 0 },
		"no address": func(i *Info) { i.Peer = "" }, "a slash": func(i *Info) { i.Peer = "h/x:1" }, "an escape": func(i *Info) { i.Rack = "\x1b[2J" },
		"too long": func(i *Info) { i.Rack = strings.Repeat("r", 500) },
	} {
		i := good
		spoil(&i)
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := Start(Config{Self: i, Listener: l, Dial: (&node{}).dial, Seeds: func() []Seed { return nil }}); !errors.Is(err, ErrConfig) {
			t.Errorf("%s: %v", what, err)
		}
		if _, err := l.Accept(); !errors.Is(err, net.ErrClosed) {
			t.Errorf("%s: the listener is open: %v", what, err)
		}
	}
	a := start(t, "bed", 1, nil)
	if err := a.Announce(Info{Rack: strings.Repeat("r", 500)}); !errors.Is(err, ErrConfig) || a.self.Rack != "r" {
		t.Errorf("a rack too long: %v", err)
	}
}

// lines collects what is logged.
type lines struct {
	mu   sync.Mutex
	text strings.Builder // guarded by mu
}

func (l *lines) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(b)
}

func (l *lines) log(c *Config) { c.Log = slog.New(slog.NewTextHandler(l, nil)) }

// contain says that one line has all parts.
func (l *lines) contain(parts ...string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	for line := range strings.Lines(l.text.String()) {
		if !slices.ContainsFunc(parts, func(p string) bool { return !strings.Contains(line, p) }) {
			return true
		}
	}
	return false
}
