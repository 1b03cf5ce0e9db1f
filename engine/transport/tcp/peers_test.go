package tcp

import (
	"context"
	"errors"
	"net"
	"testing"
	"time"

	"dyno/engine/transport"
)

// TestRestartedPeer: a peer that comes back at its address is found again, and
// the connection it left is seen to be dead before anything is sent on it.
func TestRestartedPeer(t *testing.T) {
	b := newBook()
	n1 := start(t, b, 1, anywhere, nil)
	n2 := start(t, b, 2, anywhere, nil)
	for round := range uint64(5) {
		for _, lane := range []transport.Lane{transport.Control, transport.Bulk} {
			n1.Send(2, lane, one(heartbeat(5, 22, round)))
		}
		n2.waitFor(2)
		if err := n2.Close(); err != nil {
			t.Fatal(err)
		}
		eventually(t, "the connections are left", func() bool { return n1.Stats().Outbound == 0 })
		n2 = start(t, b, 2, n2.addr, nil)
	}
	if s := n1.Stats(); s.Unreachable != 0 || s.Lost != 10 || s.Connects != 10 {
		t.Fatalf("%+v", s)
	}
}

// forever is a pause that no test outlives.
func forever(c *Config) { c.ReconnectMin, c.ReconnectMax = time.Hour, time.Hour }

// gone makes n1 fail to reach node 2, and keep a message for it that waits for
// the next attempt.
func gone(t *testing.T, n1 *node, lane transport.Lane) {
	t.Helper()
	n1.Send(2, lane, one(heartbeat(5, 22, 1)))
	n1.wait(func() bool { return len(n1.told) == 1 })
	n1.Send(2, lane, one(heartbeat(5, 22, 2)))
	if s := n1.Stats(); s.Peers[0].Lanes[lane].QueueMessages != 1 || s.Peers[0].Err == nil || s.Unreachable != 1 {
		t.Fatalf("%+v", s)
	}
}

// TestSignOfLife: a peer that connects to us is worth an attempt at once, and
// gets what waited for it.
func TestSignOfLife(t *testing.T) {
	b := newBook()
	n1 := start(t, b, 1, anywhere, forever)
	n2 := start(t, b, 2, anywhere, nil)
	_ = n2.Close()
	gone(t, n1, transport.Control)
	n2 = start(t, b, 2, n2.addr, nil)
	n2.Send(1, transport.Control, one(heartbeat(5, 1, 9)))
	n2.waitFor(1)
	if n2.got[0].Message.Commit != 2 {
		t.Fatalf("%+v", n2.got[0])
	}
}

// TestLanesTellEachOther: one lane that reaches the peer ends the pause of the
// others.
func TestLanesTellEachOther(t *testing.T) {
	b := newBook()
	n1 := start(t, b, 1, anywhere, forever)
	n2 := start(t, b, 2, anywhere, nil)
	_ = n2.Close()
	gone(t, n1, transport.Bulk)
	n2 = start(t, b, 2, n2.addr, nil)
	n1.Send(2, transport.Control, one(heartbeat(5, 22, 3)))
	n2.waitFor(2)
}

// TestWriterEndsWithItsPeer: nothing is left of a peer that is gone but its
// counters.
func TestWriterEndsWithItsPeer(t *testing.T) {
	b := newBook()
	n1 := start(t, b, 1, anywhere, nil)
	n2 := start(t, b, 2, anywhere, nil)
	n1.Send(2, transport.Control, one(heartbeat(5, 22, 1)))
	n2.waitFor(1)
	l := n1.peers[2].lanes[transport.Control]
	running := func() bool {
		l.mu.Lock()
		defer l.mu.Unlock()
		return l.running
	}
	if !running() {
		t.Fatal("no writer at a connection")
	}
	_ = n2.Close()
	eventually(t, "the writer ends", func() bool { return !running() })
	n1.Send(2, transport.Control, one(heartbeat(5, 22, 2)))
	n1.wait(func() bool { return len(n1.told) == 1 })
	eventually(t, "the writer ends again", func() bool { return !running() })
}

func TestNoAddress(t *testing.T) {
	n1 := start(t, newBook(), 1, anywhere, nil)
	n1.Send(2, transport.Control, one(heartbeat(5, 22, 1)))
	n1.wait(func() bool { return len(n1.told) == 1 })
	if err := n1.Stats().Peers[0].Err; !errors.Is(err, ErrNoAddress) {
		t.Fatal(err)
	}
}

// TestOverflow: what QueueBytesMax has no room for is counted, the rest of its
// batch with it, and a replica is named once.
func TestOverflow(t *testing.T) {
	b := newBook()
	b.set(2, "nowhere")
	release := make(chan struct{})
	env := appendOf(5, 1, 1000)
	size := transport.Size(&env.Message)
	n1 := start(t, b, 1, anywhere, func(c *Config) {
		c.QueueBytesMax = 10*size + size/2
		c.HandshakeTimeout = time.Hour
		c.Dial = func(ctx context.Context, _ string) (net.Conn, error) {
			select {
			case <-release:
			case <-ctx.Done():
			}
			return nil, errors.New("no")
		}
	})
	var batch []transport.Envelope
	for range 25 {
		batch = append(batch, env)
	}
	batch = append(batch, heartbeat(6, 33, 1)) // would fit
	n1.Send(2, transport.Bulk, batch)
	n1.wait(func() bool { return len(n1.told) == 2 })
	s := n1.Stats()
	if l := s.Peers[0].Lanes[transport.Bulk]; s.Overflowed != 16 || l.QueueMessages != 10 || l.QueueBytes != 10*size || l.Connected {
		t.Fatalf("%+v", s)
	}
	if l := s.Peers[0].Lanes[transport.Control]; l != (LaneStats{}) {
		t.Fatalf("%+v", l)
	}
	close(release)
	n1.wait(func() bool { return len(n1.told) == 3 })
	s = n1.Stats()
	if l := s.Peers[0].Lanes[transport.Bulk]; s.Unreachable != 10 || l.QueueMessages != 0 || l.QueueBytes != 0 {
		t.Fatalf("%+v", s)
	}
	count := map[report]int{}
	for _, r := range n1.told {
		count[r]++
	}
	if count[report{2, 5, 2}] != 2 || count[report{2, 6, 33}] != 1 {
		t.Fatal(n1.told)
	}
}

// TestStalledPeer: a peer that takes nothing is given up after WriteTimeout,
// and what was on the way to it is reported.
func TestStalledPeer(t *testing.T) {
	b := newBook()
	n1 := start(t, b, 1, anywhere, func(c *Config) {
		c.WriteTimeout = 50 * time.Millisecond
		c.ReconnectMin, c.ReconnectMax = time.Hour, time.Hour
	})
	stop := make(chan struct{})
	defer close(stop)
	impostor(t, b, 2, func(nc net.Conn) {
		_, _ = readHello(nc)
		_, _ = nc.Write(answer{version: version, node: 2, frameMax: frameBytesMaxMax}.append(nil))
		<-stop
	})
	for i := range uint64(60) {
		n1.Send(2, transport.Bulk, one(appendOf(5, i, 1<<20)))
	}
	n1.wait(func() bool { return len(n1.told) > 0 })
	eventually(t, "counts", func() bool {
		s := n1.Stats()
		return s.Stalled == 1 && s.Lost == 1 && s.Unreachable > 0 && s.Outbound == 0
	})
}

// TestTooLarge: what the peer would refuse is not sent, and harms nothing else.
func TestTooLarge(t *testing.T) {
	b := newBook()
	n1 := start(t, b, 1, anywhere, nil)
	n2 := start(t, b, 2, anywhere, func(c *Config) { c.FrameBytesMax = frameBytesMaxMin })
	n1.Send(2, transport.Bulk, []transport.Envelope{heartbeat(1, 22, 1), appendOf(2, 7, frameBytesMaxMin), heartbeat(3, 22, 1)})
	n2.waitFor(2)
	n1.wait(func() bool { return len(n1.told) == 1 })
	if n1.told[0] != (report{2, 2, 2}) || n2.got[0].Group != 1 || n2.got[1].Group != 3 {
		t.Fatal(n1.told, n2.got)
	}
	eventually(t, "counts", func() bool {
		s := n1.Stats()
		return s.TooLarge == 1 && s.SentMessages == 2 && s.Peers[0].Lanes[transport.Bulk].QueueBytes == 0
	})
}
