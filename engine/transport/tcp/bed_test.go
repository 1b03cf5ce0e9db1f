package tcp

import (
	"bytes"
	"fmt"
	"log/slog"
	"net"
	"runtime"
	"sync"
	"testing"
	"time"

	"go.etcd.io/raft/v3/raftpb"
	"go.uber.org/goleak"

	"dyno/engine/ids"
	"dyno/engine/transport"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const testCluster = "cluster-a"

// book is an address book that tests write to.
type book struct {
	mu sync.Mutex
	at map[ids.NodeID]string
}

func newBook() *book { return &book{at: map[ids.NodeID]string{}} }

func (b *book) set(id ids.NodeID, addr string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.at[id] = addr
}

func (b *book) get(id ids.NodeID) (string, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	addr, ok := b.at[id]
	return addr, ok
}

// node is a transport, what its handler heard, and where it listens.
type node struct {
	*Transport
	*box
	addr string
}

// start makes a node that listens on addr, stands in the book and is closed at
// the end of the test.
func start(t testing.TB, b *book, id ids.NodeID, addr string, change func(*Config)) *node {
	t.Helper()
	cfg := config(t, b, id, addr)
	if change != nil {
		change(&cfg)
	}
	tr, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	n := &node{Transport: tr, box: newBox(), addr: cfg.Listener.Addr().String()}
	b.set(id, n.addr)
	tr.Start(n.box)
	t.Cleanup(func() {
		if err := tr.Close(); err != nil {
			t.Error(err)
		}
	})
	return n
}

func config(t testing.TB, b *book, id ids.NodeID, addr string) Config {
	t.Helper()
	ln, err := net.Listen("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	return Config{
		Node: id, ClusterID: testCluster, Listener: ln, Addr: b.get, Log: slog.New(slog.DiscardHandler),
		ReconnectMin: time.Millisecond, ReconnectMax: 20 * time.Millisecond,
		// A busy machine is no broken peer.
		HandshakeTimeout: time.Minute, WriteTimeout: time.Minute,
	}
}

const anywhere = "127.0.0.1:0"

// box is a handler that keeps what it hears.
type box struct {
	mu      sync.Mutex
	changed sync.Cond
	got     []transport.Envelope
	from    []ids.NodeID
	batches []int
	told    []report
	down    []ids.NodeID
	gate    sync.Mutex // held by a test that wants Receive to wait
	entered int        // calls of Receive
}

func newBox() *box {
	b := &box{}
	b.changed.L = &b.mu
	return b
}

func (b *box) Receive(from ids.NodeID, batch []transport.Envelope) {
	b.mu.Lock()
	b.entered++
	b.changed.Broadcast()
	b.mu.Unlock()
	b.gate.Lock()
	defer b.gate.Unlock()
	b.mu.Lock()
	defer b.mu.Unlock()
	for i := range batch {
		b.got = append(b.got, batch[i])
		b.from = append(b.from, from)
	}
	b.batches = append(b.batches, len(batch))
	clear(batch)
	b.changed.Broadcast()
}

func (b *box) Unreachable(to ids.NodeID, group ids.GroupID, replica ids.ReplicaID) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.told = append(b.told, report{to, group, replica})
	b.changed.Broadcast()
}

// Down implements transport.Observer.
func (b *box) Down(id ids.NodeID) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.down = append(b.down, id)
	b.changed.Broadcast()
}

// wait returns when ok does, which is asked with mu held.
func (b *box) wait(ok func() bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for !ok() {
		b.changed.Wait()
	}
}

func (b *box) waitFor(n int) { b.wait(func() bool { return len(b.got) >= n }) }

// eventually spins until ok: for counters, which nobody announces.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(time.Minute); !ok(); runtime.Gosched() {
		if time.Now().After(end) {
			t.Fatal(what)
		}
	}
}

func heartbeat(group ids.GroupID, to uint64, commit uint64) transport.Envelope {
	return transport.Envelope{Group: group, Message: raftpb.Message{Type: raftpb.MsgHeartbeat, From: 1, To: to, Term: 7, Commit: commit}}
}

// appendOf is an append of one entry with size bytes, all of them i.
func appendOf(group ids.GroupID, i uint64, size int) transport.Envelope {
	data := bytes.Repeat([]byte{byte(i)}, size)
	return transport.Envelope{Group: group, Message: raftpb.Message{
		Type: raftpb.MsgApp, From: 1, To: 2, Term: 7, LogTerm: 7, Index: i, Commit: i,
		Entries: []raftpb.Entry{{Term: 7, Index: i + 1, Data: data}},
	}}
}

func one(e transport.Envelope) []transport.Envelope { return []transport.Envelope{e} }

// dialAs connects to n by hand, says hello and expects to be taken.
func dialAs(t testing.TB, n *node, from ids.NodeID, lane transport.Lane) net.Conn {
	t.Helper()
	nc := dialRaw(t, n.addr)
	if _, err := greet(nc, hello{cluster: testCluster, from: from, to: n.cfg.Node, lane: lane}); err != nil {
		t.Fatal(err)
	}
	return nc
}

func dialRaw(t testing.TB, addr string) net.Conn {
	t.Helper()
	nc, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = nc.Close() })
	_ = nc.SetDeadline(time.Now().Add(time.Minute))
	return nc
}

// encoded is messages as the bytes on the wire.
func encoded(inlineMax int, batch ...transport.Envelope) []byte {
	e := encoder{inlineMax: inlineMax, frameMax: frameBytesMaxMax}
	items := itemsOf(batch)
	var b []byte
	for i := 0; i < len(items); {
		i = e.pack(items, i)
		for _, p := range e.seal() {
			b = append(b, p...)
		}
		e.reset()
	}
	return b
}

func itemsOf(batch []transport.Envelope) (items []item) {
	for i := range batch {
		items = append(items, item{batch[i], transport.Size(&batch[i].Message)})
	}
	return items
}

func write(t testing.TB, nc net.Conn, b []byte) {
	t.Helper()
	if _, err := nc.Write(b); err != nil {
		t.Fatal(err)
	}
}

// ended waits until the peer has ended nc.
func ended(t testing.TB, nc net.Conn) {
	t.Helper()
	var b [1]byte
	if n, err := nc.Read(b[:]); n != 0 || err == nil {
		t.Fatalf("read %d bytes, %v", n, err)
	} else if ne, ok := err.(net.Error); ok && ne.Timeout() {
		t.Fatal("the connection was not ended")
	}
}

func (n *node) String() string { return fmt.Sprintf("node %d", n.cfg.Node) }
