package tcp

import (
	"bytes"
	"encoding/binary"
	"errors"
	"net"
	"sync"
	"testing"

	"dyno/engine/ids"
	"dyno/engine/transport"
)

// TestBrokenFrames: a frame that is not right ends its connection and nothing
// else, and nothing of it is delivered.
func TestBrokenFrames(t *testing.T) {
	good := encoded(inlineAll, heartbeat(1, 2, 1))
	for what, c := range map[string]struct {
		change func(f []byte) []byte
		count  func(s Stats) uint64
	}{
		"corrupt":   {func(f []byte) []byte { f[len(f)-1] ^= 1; return f }, func(s Stats) uint64 { return s.Corrupt }},
		"malformed": {func(f []byte) []byte { return resealed(append(f, 0)) }, func(s Stats) uint64 { return s.Malformed }},
		"too large": {func(f []byte) []byte { binary.LittleEndian.PutUint32(f[4:], 1<<30); return f }, func(s Stats) uint64 { return s.FrameTooLarge }},
	} {
		t.Run(what, func(t *testing.T) {
			n := start(t, newBook(), 1, anywhere, nil)
			other := dialAs(t, n, 2, transport.Control)
			nc := dialAs(t, n, 2, transport.Bulk)
			write(t, nc, append(bytes.Clone(good), c.change(bytes.Clone(good))...))
			ended(t, nc)
			n.waitFor(1)
			write(t, other, good)
			n.waitFor(2)
			eventually(t, "the reader ends", func() bool { return n.Stats().Inbound == 1 })
			if s := n.Stats(); c.count(s) != 1 || s.Corrupt+s.Malformed+s.FrameTooLarge != 1 || s.ReceivedMessages != 2 {
				t.Fatalf("%+v", s)
			}
		})
	}
}

// TestTruncatedFrame: half a frame is nothing.
func TestTruncatedFrame(t *testing.T) {
	n := start(t, newBook(), 1, anywhere, nil)
	good := encoded(inlineAll, appendOf(1, 2, 3000))
	nc := dialAs(t, n, 2, transport.Bulk)
	write(t, nc, append(bytes.Clone(good), good[:len(good)/2]...))
	n.waitFor(1)
	_ = nc.Close()
	eventually(t, "the reader ends", func() bool { return n.Stats().Inbound == 0 })
	if s := n.Stats(); s.ReceivedMessages != 1 || s.ReceivedBytes != uint64(len(good)+len(good)/2) || s.Corrupt+s.Malformed != 0 {
		t.Fatalf("%+v", s)
	}
}

// TestSenderIsOfTheHandshake: what a message claims does not matter.
func TestSenderIsOfTheHandshake(t *testing.T) {
	n := start(t, newBook(), 1, anywhere, nil)
	e := heartbeat(1, 1, 1)
	e.Message.From = 77
	write(t, dialAs(t, n, 9, transport.Control), encoded(inlineAll, e))
	n.waitFor(1)
	if n.from[0] != 9 {
		t.Fatal(n.from[0])
	}
}

// TestLaterConnectionWins: the later connection of a (peer, lane) is answered
// when the reader of the earlier one has ended. What the earlier one brought
// and did not deliver is lost.
func TestLaterConnectionWins(t *testing.T) {
	n := start(t, newBook(), 1, anywhere, nil)
	early := dialAs(t, n, 2, transport.Control)
	bystander := dialAs(t, n, 2, transport.Bulk)
	n.gate.Lock()
	write(t, early, append(encoded(inlineAll, heartbeat(1, 1, 1)), encoded(inlineAll, heartbeat(1, 1, 2))...))
	n.wait(func() bool { return n.entered == 1 })

	late := dialRaw(t, n.addr)
	greeted := make(chan error, 1)
	var wg sync.WaitGroup
	wg.Go(func() {
		_, err := greet(late, hello{cluster: testCluster, from: 2, to: 1, lane: transport.Control})
		greeted <- err
	})
	eventually(t, "replaced", func() bool { return n.Stats().Replaced == 1 })
	select {
	case err := <-greeted:
		t.Error("answered while the earlier one delivers", err)
	default:
	}
	n.gate.Unlock()
	wg.Wait()
	if err := <-greeted; err != nil {
		t.Fatal(err)
	}
	write(t, late, encoded(inlineAll, heartbeat(1, 1, 3)))
	n.waitFor(2)
	if a, b := n.got[0].Message.Commit, n.got[1].Message.Commit; a != 1 || b != 3 {
		t.Fatal(a, b)
	}
	ended(t, early)
	write(t, bystander, encoded(inlineAll, heartbeat(1, 1, 4)))
	n.waitFor(3)
	n.box.mu.Lock()
	defer n.box.mu.Unlock()
	if len(n.down) != 0 {
		t.Fatal("a peer that came back is down")
	}
}

// TestDown: the end of a peer's control lane is told, that of another or of our
// own doing is not.
func TestDown(t *testing.T) {
	n := start(t, newBook(), 1, anywhere, nil)
	_ = dialAs(t, n, 2, transport.Bulk).Close()
	corrupt := dialAs(t, n, 3, transport.Control)
	write(t, corrupt, make([]byte, headerBytes))
	ended(t, corrupt)
	eventually(t, "both are gone", func() bool { return n.Stats().Inbound == 0 })
	_ = dialAs(t, n, 4, transport.Control).Close()
	n.wait(func() bool { return len(n.down) > 0 })
	dialAs(t, n, 5, transport.Control)
	_ = n.Close()
	if len(n.down) != 1 || n.down[0] != 4 {
		t.Fatal(n.down)
	}
}

// TestReceivedDataStays: entries may be kept although the connection goes on.
func TestReceivedDataStays(t *testing.T) {
	b := newBook()
	n1, n2 := start(t, b, 1, anywhere, nil), start(t, b, 2, anywhere, nil)
	sizes := []int{1, 100, 3000, 70_000, 200_000, 5 << 20}
	const sent = 18 // less than QueueBytesMax
	for i := range uint64(sent) {
		n1.Send(2, transport.Bulk, one(appendOf(1, i, sizes[i%6])))
	}
	n2.waitFor(sent)
	for i := range n2.got {
		if got, want := n2.got[i].Message.Entries[0].Data, appendOf(1, uint64(i), sizes[i%6]).Message.Entries[0].Data; !bytes.Equal(got, want) {
			t.Fatalf("message %d has other data", i)
		}
	}
}

// TestOneBatchPerFrame: what was sent together arrives together.
func TestOneBatchPerFrame(t *testing.T) {
	b := newBook()
	n1, n2 := start(t, b, 1, anywhere, nil), start(t, b, 2, anywhere, nil)
	var batch []transport.Envelope
	for g := range ids.GroupID(300) {
		batch = append(batch, heartbeat(g, 2, 1))
	}
	n1.Send(2, transport.Control, batch)
	n2.waitFor(300)
	s := n2.Stats()
	if len(n2.batches) != 1 || s.ReceivedFrames != 1 || s.ReceivedMessages != 300 {
		t.Fatalf("%v: %+v", n2.batches, s)
	}
	eventually(t, "counts", func() bool { return n1.Stats().SentMessages == 300 })
	if s1 := n1.Stats(); s1.SentFrames != 1 || s1.Writes != 1 || s1.SentBytes != s.ReceivedBytes {
		t.Fatalf("%+v", s1)
	}
}

// failing is a listener whose Accept fails at first.
type failing struct {
	net.Listener
	left int
}

func (f *failing) Accept() (net.Conn, error) {
	if f.left > 0 {
		f.left--
		return nil, errors.New("out of descriptors")
	}
	return f.Listener.Accept()
}

func TestAcceptGoesOn(t *testing.T) {
	n := start(t, newBook(), 1, anywhere, func(c *Config) { c.Listener = &failing{c.Listener, 2} })
	dialAs(t, n, 2, transport.Control)
}

func TestConfig(t *testing.T) {
	for what, change := range map[string]func(c *Config){
		"no node":          func(c *Config) { c.Node = 0 },
		"no cluster":       func(c *Config) { c.ClusterID = "" },
		"long cluster":     func(c *Config) { c.ClusterID = string(make([]byte, 256)) },
		"no listener":      func(c *Config) { _ = c.Listener.Close(); c.Listener = nil },
		"no address book":  func(c *Config) { c.Addr = nil },
		"small frames":     func(c *Config) { c.FrameBytesMax = 1 },
		"negative timeout": func(c *Config) { c.WriteTimeout = -1 },
		"pauses in wrong order": func(c *Config) {
			c.ReconnectMin, c.ReconnectMax = 2, 1
		},
	} {
		cfg := config(t, newBook(), 1, anywhere)
		change(&cfg)
		if _, err := New(cfg); !errors.Is(err, ErrConfig) {
			t.Errorf("%s: %v", what, err)
		}
		if cfg.Listener != nil {
			if _, err := cfg.Listener.Accept(); !errors.Is(err, net.ErrClosed) {
				t.Errorf("%s: the listener is still open", what)
			}
		}
	}
}

// TestCloseInEachState: before Start, twice, at once from several goroutines,
// and with a message under way that nobody takes.
func TestCloseInEachState(t *testing.T) {
	tr, err := New(config(t, newBook(), 1, anywhere))
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(tr.Close(), tr.Close()); err != nil {
		t.Fatal(err)
	}
	tr.Start(newBox())
	tr.Send(2, transport.Control, one(heartbeat(1, 2, 3)))

	b := newBook()
	n1, n2 := start(t, b, 1, anywhere, nil), start(t, b, 2, anywhere, nil)
	n2.gate.Lock()
	for i := range uint64(40) {
		n1.Send(2, transport.Bulk, one(appendOf(1, i, 1<<20)))
	}
	n2.wait(func() bool { return n2.entered > 0 })
	var wg sync.WaitGroup
	for range 3 {
		wg.Go(func() {
			if err := n1.Close(); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if s := n1.Stats(); s.Outbound != 0 || len(n1.told) != 0 {
		t.Errorf("%+v, told %v", s, n1.told)
	}
	n2.gate.Unlock()
}
