package grpctransport

import (
	"context"
	"errors"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"go.etcd.io/raft/v3/raftpb"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/mem"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"dyno/engine/ids"
	"dyno/engine/transport"
)

func heartbeat(to ids.NodeID) []transport.Envelope {
	return []transport.Envelope{{Group: 9, Message: raftpb.Message{Type: raftpb.MsgHeartbeat, From: 1, To: uint64(to)}}}
}

// numbered is a message with a number and some bytes.
func numbered(i, size int) []transport.Envelope {
	batch := entryBatch(size)
	batch[0].Message.Index = uint64(i)
	return batch
}

// eventually waits until ok does; the test's own deadline ends it otherwise.
func eventually(ok func() bool) {
	for !ok() {
		<-time.After(time.Millisecond)
	}
}

// gate is a handler that waits in Receive until it may go on.
type gate struct {
	*heard
	inside chan struct{} // one for each call of Receive
	open   chan struct{}
}

func newGate() *gate {
	return &gate{heard: newHeard(), inside: make(chan struct{}, 1<<16), open: make(chan struct{})}
}

func (g *gate) Receive(from ids.NodeID, batch []transport.Envelope) {
	g.inside <- struct{}{}
	<-g.open
	g.heard.Receive(from, batch)
}

// TestRestart: a peer that went and came back under the same address gets what
// is sent from then on, in order, and each message at most once; with a stream
// that had not held for the backoff, and with one that had.
func TestRestart(t *testing.T) {
	for _, most := range []time.Duration{time.Second, time.Millisecond} {
		t.Run(most.String(), func(t *testing.T) { restart(t, most) })
	}
}

func restart(t *testing.T, backoffMax time.Duration) {
	from, to, b := pair(t, func(c *Config) { c.BackoffMin, c.BackoffMax = time.Millisecond, backoffMax })
	from.Start(newHeard())
	first, second := newHeard(), newHeard()
	to.Start(first)
	next := 0
	send := func() {
		from.Send(2, transport.Bulk, numbered(next, 100))
		next++
	}
	send()
	<-first.got
	if backoffMax == time.Millisecond {
		<-time.After(2 * backoffMax)
	}
	to.stop()

	again := serve(t, listen(t, to.addr), Config{Node: 2, ClusterID: "c", Addr: b.addr})
	again.Start(second)
	last := -1
	for range 100 {
		for got := false; !got; {
			send()
			select {
			case e := <-second.got:
				if int(e.Message.Index) <= last {
					t.Fatalf("message %d after %d", e.Message.Index, last)
				}
				last, got = int(e.Message.Index), true
			case <-time.After(time.Millisecond):
			}
		}
	}
	if s := from.Stats(); s.Losses != 1 || s.Connects != 2 {
		t.Errorf("%d losses, %d connects", s.Losses, s.Connects)
	}
}

// TestComesBack: a peer that dials us is reached at once, however long the
// backoff has still to go.
func TestComesBack(t *testing.T) {
	var b book
	cfg := Config{Node: 1, ClusterID: "c", Addr: b.addr, BackoffMin: time.Hour, BackoffMax: time.Hour}
	one := serve(t, listen(t, "127.0.0.1:0"), cfg)
	lis := listen(t, "127.0.0.1:0")
	addr := lis.Addr().String()
	b.set(1, one.addr)
	b.set(2, addr)
	if err := lis.Close(); err != nil {
		t.Fatal(err)
	}
	h := newHeard()
	one.Start(h)
	one.Send(2, transport.Bulk, heartbeat(2))
	<-h.reports

	cfg.Node = 2
	two := serve(t, listen(t, addr), cfg)
	got := newHeard()
	two.Start(got)
	two.Send(1, transport.Control, heartbeat(1))
	<-h.got
	for {
		one.Send(2, transport.Bulk, heartbeat(2))
		select {
		case <-got.got:
			return
		case <-h.reports:
		}
	}
}

// TestReplaced: a newer stream of the same node and lane ends the older one,
// waits until that is out of Receive, and nothing of it comes afterwards.
func TestReplaced(t *testing.T) {
	from, to, _ := pair(t, nil)
	g := newGate()
	to.Start(g)
	older, err := from.open(2, transport.Bulk)
	if err != nil {
		t.Fatal(err)
	}
	defer older.close()
	for i := range 3 {
		if _, err := older.send(numbered(i, 100)); err != nil {
			t.Fatal(err)
		}
	}
	<-g.inside
	opened := make(chan *outbound)
	go func() {
		newer, err := from.open(2, transport.Bulk)
		if err != nil {
			t.Error(err)
		}
		opened <- newer
	}()
	eventually(func() bool { return to.Stats().Replaced == 1 })
	select {
	case <-opened:
		t.Error("the newer stream is open while the older one delivers")
	default:
	}
	close(g.open)
	newer := <-opened
	defer newer.close()
	if _, err := newer.send(numbered(100, 100)); err != nil {
		t.Fatal(err)
	}
	for _, want := range []uint64{0, 100} {
		if e := <-g.got; e.Message.Index != want {
			t.Fatalf("message %d, want %d", e.Message.Index, want)
		}
	}
	if <-older.gone; !errors.Is(older.err, ErrReplaced) {
		t.Errorf("the older stream ended with %v", older.err)
	}
	if s := to.Stats(); s.Streams != 1 || len(g.got) != 0 {
		t.Errorf("%d streams, %d messages more", s.Streams, len(g.got))
	}
}

// TestOverflow: every message is delivered or counted as dropped and reported,
// and the queue stays within its limit.
func TestOverflow(t *testing.T) {
	const limit, size, sent = 256 << 10, 16 << 10, 1000
	from, to, _ := pair(t, func(c *Config) { c.QueueBytesMax = limit })
	h, g := newHeard(), newGate()
	from.Start(h)
	to.Start(g)
	lane := func() LaneStats { return from.Stats().Lanes[transport.Bulk] }
	for i := range sent / 2 {
		from.Send(2, transport.Bulk, append(numbered(i, size), numbered(sent/2+i, size)...))
		if q := lane().QueuedBytes; q > limit {
			t.Fatalf("%d bytes queued", q)
		}
	}
	if r := <-h.reports; r != (report{2, 5, 22}) {
		t.Errorf("reported %+v", r)
	}
	close(g.open)
	eventually(func() bool { return lane().QueuedBytes == 0 })
	s := lane()
	if s.Sent+s.Overflowed != sent || s.Overflowed == 0 || s.Unsent != 0 || s.TooLarge != 0 {
		t.Errorf("%+v", s)
	}
	for range s.Sent {
		<-g.got
	}
	eventually(func() bool { return to.Stats().Lanes[transport.Bulk].Received == s.Sent })
	r := to.Stats().Lanes[transport.Bulk]
	if r.ReceivedFrames != s.SentFrames || r.ReceivedBytes != s.SentBytes || s.SentBytes < s.Sent*size {
		t.Errorf("sent %+v\nreceived %+v", s, r)
	}
}

// TestReports: each replica of a batch that cannot be sent is reported once, and
// nothing after Close.
func TestReports(t *testing.T) {
	from, _, _ := pair(t, nil)
	h := newHeard()
	from.Start(h)
	var batch []transport.Envelope
	for _, to := range []ids.NodeID{31, 32, 31, 31} {
		batch = append(batch, heartbeat(to)...)
	}
	batch[3].Group = 10
	from.Send(3, transport.Control, batch)
	for _, want := range []report{{3, 9, 31}, {3, 9, 32}, {3, 10, 31}} {
		if got := <-h.reports; got != want {
			t.Errorf("reported %+v, want %+v", got, want)
		}
	}
	if err := from.Close(); err != nil {
		t.Fatal(err)
	}
	from.Send(3, transport.Control, batch)
	if n := len(h.reports); n != 0 {
		t.Errorf("%d reports more", n)
	}
	if s := from.Stats().Lanes[transport.Control]; s.Unsent != 4 || s.QueuedBytes != 0 {
		t.Errorf("%+v", s)
	}
}

// TestLargest: a message above the limit is dropped and reported, and what comes
// after it goes on; a peer with a lower limit closes the stream.
func TestLargest(t *testing.T) {
	for _, stock := range []bool{false, true} {
		from, to, _ := pair(t, func(c *Config) { c.MessageBytesMax, c.Stock = 1<<20, stock })
		h, got := newHeard(), newHeard()
		from.Start(h)
		to.Start(got)
		from.Send(2, transport.Bulk, append(numbered(1, 1<<20), numbered(2, 1<<20-204)...))
		if e := <-got.got; e.Message.Index != 2 {
			t.Errorf("got message %d", e.Message.Index)
		}
		<-h.reports
		if s := from.Stats(); s.Lanes[transport.Bulk].TooLarge != 1 || s.Losses != 0 {
			t.Errorf("%+v", s)
		}
	}
	from, to, _ := pair(t, func(c *Config) { c.MessageBytesMax = 1 << 20 })
	from.cfg.MessageBytesMax = 2 << 20
	from.Start(newHeard())
	to.Start(newHeard())
	from.Send(2, transport.Bulk, numbered(1, 3<<19))
	eventually(func() bool { return from.Err(2, transport.Bulk) != nil })
	if err := from.Err(2, transport.Bulk); !errors.Is(err, ErrStreamLost) || !strings.Contains(err.Error(), "larger than max") {
		t.Error(err)
	}
}

// raw is a codec that sends bytes as they are, under the name of ours.
type raw struct{ packed }

func (raw) Marshal(v any) (mem.BufferSlice, error) {
	return mem.BufferSlice{mem.SliceBuffer(v.([]byte))}, nil
}

// rawStream opens a stream that the test writes itself.
func rawStream(t *testing.T, to *node, md metadata.MD) grpc.ClientStream {
	t.Helper()
	client, err := grpc.NewClient("passthrough:///"+to.addr, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Close() })
	ctx := metadata.NewOutgoingContext(t.Context(), md)
	stream, err := client.NewStream(ctx, &streamDesc, method, grpc.ForceCodecV2(raw{}))
	if err != nil {
		t.Fatal(err)
	}
	return stream
}

// TestMalformedStream: a malformed message ends its stream and no other.
func TestMalformedStream(t *testing.T) {
	from, to, _ := pair(t, nil)
	got := newHeard()
	from.Start(newHeard())
	to.Start(got)
	from.Send(2, transport.Control, heartbeat(2))
	<-got.got
	bad := rawStream(t, to, hello{cluster: "c", from: 1, to: 2, lane: transport.Bulk}.metadata())
	if err := bad.SendMsg([]byte{9, 0, 0, 0, 1}); err != nil {
		t.Fatal(err)
	}
	if err := bad.RecvMsg(&incoming{}); status.Code(err) != codes.Internal || !strings.Contains(err.Error(), ErrMalformed.Error()) {
		t.Errorf("the stream ended with %v", err)
	}
	from.Send(2, transport.Control, heartbeat(2))
	<-got.got
	eventually(func() bool { return to.Stats().Streams == 1 })
	if s := to.Stats(); s.Malformed != 1 || from.Stats().Losses != 0 {
		t.Errorf("%+v", s)
	}
}

// TestDown: the end of a peer's control lane is told, that of another, of a
// replaced one or of our own doing is not.
func TestDown(t *testing.T) {
	_, to, b := pair(t, nil)
	got := newHeard()
	to.Start(got)
	for id, lane := range map[ids.NodeID]transport.Lane{3: transport.Bulk, 4: transport.Control} {
		peer, err := New(Config{Node: id, ClusterID: "c", Addr: b.addr})
		if err != nil {
			t.Fatal(err)
		}
		peer.Start(newHeard())
		peer.Send(2, lane, heartbeat(2))
		<-got.got
		_ = peer.Close()
	}
	if id := <-got.down; id != 4 {
		t.Errorf("node %d is down", id)
	}
	old := rawStream(t, to, hello{cluster: "c", from: 5, to: 2}.metadata())
	if _, err := old.Header(); err != nil {
		t.Fatal(err)
	}
	if _, err := rawStream(t, to, hello{cluster: "c", from: 5, to: 2}.metadata()).Header(); err != nil {
		t.Fatal(err)
	}
	_ = to.Close()
	if len(got.down) > 0 {
		t.Errorf("node %d is down, too", <-got.down)
	}
}

// TestLinks: what Stats says of a lane to a node is what it is.
func TestLinks(t *testing.T) {
	from, to, _ := pair(t, nil)
	got := newHeard()
	from.Start(newHeard())
	to.Start(got)
	if links := from.Stats().Links; len(links) != 0 {
		t.Errorf("before the first message: %+v", links)
	}
	from.Send(2, transport.Bulk, heartbeat(2))
	<-got.got
	if links := from.Stats().Links; len(links) != 1 || links[0].Node != 2 || links[0].Lane != transport.Bulk || !links[0].Open {
		t.Errorf("with a stream: %+v", links)
	}
	to.stop()
	eventually(func() bool { return !from.Stats().Links[0].Open })
}

// TestOtherServices: other services on the same server have their own codec.
func TestOtherServices(t *testing.T) {
	var b book
	cfg := Config{Node: 1, ClusterID: "c", Addr: b.addr}
	tr, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer tr.Close()
	s := grpc.NewServer(ServerOptions(cfg)...)
	tr.Register(s)
	healthpb.RegisterHealthServer(s, health.NewServer())
	lis := listen(t, "127.0.0.1:0")
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = s.Serve(lis)
	}()
	defer func() {
		s.Stop()
		<-done
	}()
	client, err := grpc.NewClient("passthrough:///"+lis.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	if _, err := healthpb.NewHealthClient(client).Check(t.Context(), &healthpb.HealthCheckRequest{}); err != nil {
		t.Error(err)
	}
}

// TestClose: Close waits for Receive, ends the streams of peers, and may be
// called by many.
func TestClose(t *testing.T) {
	from, to, _ := pair(t, nil)
	g := newGate()
	from.Start(newHeard())
	to.Start(g)
	from.Send(2, transport.Bulk, numbered(1, 100))
	<-g.inside
	var closing sync.WaitGroup
	closed := make(chan struct{}, 3)
	for range 3 {
		closing.Go(func() {
			if err := to.Close(); err != nil {
				t.Error(err)
			}
			closed <- struct{}{}
		})
	}
	eventually(func() bool { return to.ctx.Err() != nil })
	if len(closed) > 0 {
		t.Error("closed while the handler is called")
	}
	close(g.open)
	closing.Wait()
	eventually(func() bool { return from.Err(2, transport.Bulk) != nil })
	if s := to.Stats(); s.Streams != 0 {
		t.Errorf("%d streams after Close", s.Streams)
	}
	to.Send(2, transport.Bulk, heartbeat(2)) // nothing happens
}

// TestCloseWhileDialling: Close does not wait for a peer that does not answer.
func TestCloseWhileDialling(t *testing.T) {
	dialling := make(chan struct{})
	for name, dial := range map[string]func(ctx context.Context, _ string) (net.Conn, error){
		"no connection": func(ctx context.Context, _ string) (net.Conn, error) {
			dialling <- struct{}{}
			<-ctx.Done()
			return nil, ctx.Err()
		},
		"no handshake": func(context.Context, string) (net.Conn, error) {
			here, there := net.Pipe()
			go func() {
				defer there.Close()
				_, _ = there.Read(make([]byte, 1))
				dialling <- struct{}{}
				for buf := make([]byte, 1<<10); ; {
					if _, err := there.Read(buf); err != nil {
						return
					}
				}
			}()
			return here, nil
		},
	} {
		t.Run(name, func(t *testing.T) {
			from, _, _ := pair(t, func(c *Config) { c.Dial, c.DialTimeout = dial, time.Hour })
			from.Start(newHeard())
			from.Send(2, transport.Bulk, heartbeat(2))
			<-dialling
			if err := from.Close(); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestDialTimeout: a peer that takes the connection and says nothing is given up.
func TestDialTimeout(t *testing.T) {
	from, _, b := pair(t, func(c *Config) { c.DialTimeout = 50 * time.Millisecond })
	lis := listen(t, "127.0.0.1:0") // nobody accepts
	defer lis.Close()
	b.set(2, lis.Addr().String())
	h := newHeard()
	from.Start(h)
	from.Send(2, transport.Control, heartbeat(2))
	<-h.reports
	if err := from.Err(2, transport.Control); !errors.Is(err, ErrUnreachable) || !errors.Is(err, context.DeadlineExceeded) {
		t.Error(err)
	}
}

func TestBackoff(t *testing.T) {
	const least, most = 20 * time.Millisecond, time.Second
	for attempts, want := range []time.Duration{20, 40, 80, 160, 320, 640, 1000, 1000} {
		want *= time.Millisecond
		if got := backoff(attempts, least, most, 0); got != want {
			t.Errorf("after %d: %v, want %v", attempts, got, want)
		}
		if got := backoff(attempts, least, most, 0.999); got < want/2 || got > want*51/100 {
			t.Errorf("after %d, all jitter: %v of %v", attempts, got, want)
		}
	}
	for _, attempts := range []int{31, 32, 63, 64, 1 << 40} {
		if got := backoff(attempts, least, most, 0); got != most {
			t.Errorf("after %d: %v", attempts, got)
		}
	}
}

func TestConfig(t *testing.T) {
	good := Config{Node: 1, Addr: (&book{}).addr}
	if _, err := New(good); err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(*Config){
		"node":    func(c *Config) { c.Node = 0 },
		"addr":    func(c *Config) { c.Addr = nil },
		"queue":   func(c *Config) { c.QueueBytesMax = -1 },
		"message": func(c *Config) { c.MessageBytesMax = 10 },
		"frame":   func(c *Config) { c.FrameBytes = -1 },
		"streams": func(c *Config) { c.StreamsMax = -1 },
		"window":  func(c *Config) { c.WindowBytes = 1000 },
		"dial":    func(c *Config) { c.DialTimeout = -1 },
		"backoff": func(c *Config) { c.BackoffMin, c.BackoffMax = time.Minute, time.Second },
	} {
		cfg := good
		change(&cfg)
		if _, err := New(cfg); err == nil {
			t.Errorf("%s is taken", name)
		}
	}
}
