package grpctransport

import (
	"context"
	"log/slog"
	"net"
	"sync"
	"testing"

	"google.golang.org/grpc"

	"dyno/engine/ids"
	"dyno/engine/transport"
)

// book is an address book.
type book struct {
	mu    sync.Mutex
	addrs map[ids.NodeID]string // guarded by mu
}

func (b *book) set(node ids.NodeID, addr string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.addrs == nil {
		b.addrs = map[ids.NodeID]string{}
	}
	b.addrs[node] = addr
}

func (b *book) addr(node ids.NodeID) (string, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	addr, ok := b.addrs[node]
	return addr, ok
}

// node is a transport with its server.
type node struct {
	*Transport
	addr   string
	server *grpc.Server
	done   chan struct{} // closed when Serve has returned
}

// serve makes a node that listens on a listener and closes it with the test.
func serve(t testing.TB, lis net.Listener, cfg Config) *node {
	t.Helper()
	tr, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	n := &node{Transport: tr, addr: lis.Addr().String(), server: grpc.NewServer(ServerOptions(cfg)...), done: make(chan struct{})}
	tr.Register(n.server)
	go func() {
		defer close(n.done)
		_ = n.server.Serve(lis)
	}()
	t.Cleanup(n.stop)
	return n
}

// stop closes the transport, then the server.
func (n *node) stop() {
	_ = n.Close()
	n.server.Stop()
	<-n.done
}

func listen(t testing.TB, addr string) net.Listener {
	t.Helper()
	lis, err := net.Listen("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	return lis
}

// pair makes nodes 1 and 2 of one cluster, node 2 with its server; change
// adapts the config of both.
func pair(t testing.TB, change func(*Config)) (from *Transport, to *node, b *book) {
	t.Helper()
	b = &book{}
	cfg := Config{Node: 1, ClusterID: "c", Addr: b.addr}
	if change != nil {
		change(&cfg)
	}
	from, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = from.Close() })
	cfg.Node = 2
	to = serve(t, listen(t, "127.0.0.1:0"), cfg)
	b.set(2, to.addr)
	return from, to, b
}

// heard is a handler that passes on what it hears through channels.
type heard struct {
	got     chan transport.Envelope
	reports chan report
	down    chan ids.NodeID
}

func newHeard() *heard {
	return &heard{got: make(chan transport.Envelope, 1<<16), reports: make(chan report, 1<<16), down: make(chan ids.NodeID, 1<<10)}
}

func (h *heard) Receive(_ ids.NodeID, batch []transport.Envelope) {
	for i := range batch {
		h.got <- batch[i]
	}
}

func (h *heard) Unreachable(to ids.NodeID, group ids.GroupID, replica ids.ReplicaID) {
	h.reports <- report{to, group, replica}
}

// Down implements transport.Observer.
func (h *heard) Down(node ids.NodeID) { h.down <- node }

// lines is a log that keeps what it is told.
type lines struct {
	mu   sync.Mutex
	text []string // guarded by mu
}

func (l *lines) Enabled(context.Context, slog.Level) bool { return true }
func (l *lines) WithAttrs([]slog.Attr) slog.Handler       { return l }
func (l *lines) WithGroup(string) slog.Handler            { return l }
func (l *lines) Handle(_ context.Context, r slog.Record) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.text = append(l.text, r.Level.String()+" "+r.Message)
	return nil
}

func (l *lines) count(line string) (n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, have := range l.text {
		if have == line {
			n++
		}
	}
	return n
}
