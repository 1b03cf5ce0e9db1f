package gossip

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"net"
	"runtime/pprof"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/memberlist"
)

// Magic is how each connection begins, from the side that dialled: a listener that
// is shared tells the protocol by it.
const Magic = "DYG1"

// Kinds of connection.
const (
	packetConn = 'p'
	streamConn = 's'
)

// Answers to a hello.
const (
	answerOK byte = iota
	answerForeign
)

const (
	clusterBytesMax = 255
	packetBytesMax  = math.MaxUint16
	// queuePackets is how many packets wait for one member.
	queuePackets = 64
	// idleAfter closes a connection that carries no packets.
	idleAfter = 10 * time.Second
	// helloTimeout is for the hello and its answer, dialling included.
	helloTimeout = 2 * time.Second
	// streamTimeout bounds a stream; memberlist sees to that.
	streamTimeout = 5 * time.Second
	// writeTimeout ends a connection whose peer takes nothing.
	writeTimeout = 2 * time.Second
)

// nowhere is the address that memberlist knows all members by: it wants an IP
// address, we have host names and know members by name.
const nowhere = "0.0.0.0:1"

// wire carries memberlist's packets and streams over connections to the port for
// peers. It owns its connections and their goroutines.
type wire struct {
	g       *Gossip
	packets chan *memberlist.Packet // no capacity; never closed
	streams chan net.Conn           // no capacity; never closed

	ctx    context.Context // ends with Shutdown
	cancel context.CancelFunc
	wg     sync.WaitGroup // acceptor, readers, and the streams that memberlist has

	// Until when a goroutine of memberlist may wait for an answer to a probe, as
	// Unix nanoseconds, 0 for none: its own probe, and one it makes for another
	// member.
	probeUntil, relayUntil atomic.Int64

	leaving chan struct{}  // closed by leave, under mu: senders send what waits, and nothing more comes
	sending sync.WaitGroup // senders

	mu      sync.Mutex // guards what follows; not held over I/O
	left    bool       // leaving is closed
	closed  bool
	conns   map[net.Conn]struct{}
	inbound int // accepted connections among them
	senders map[string]*sender
}

var _ memberlist.NodeAwareTransport = (*wire)(nil)

func newWire(g *Gossip) *wire {
	w := &wire{
		g: g, packets: make(chan *memberlist.Packet), streams: make(chan net.Conn),
		leaving: make(chan struct{}), conns: map[net.Conn]struct{}{}, senders: map[string]*sender{},
	}
	w.ctx, w.cancel = context.WithCancel(context.Background())
	w.wg.Go(w.accept)
	return w
}

// FinalAdvertiseAddr implements memberlist.Transport.
func (w *wire) FinalAdvertiseAddr(string, int) (net.IP, int, error) {
	return net.IPv4zero.To4(), 1, nil
}

// PacketCh and StreamCh implement memberlist.Transport.
func (w *wire) PacketCh() <-chan *memberlist.Packet { return w.packets }
func (w *wire) StreamCh() <-chan net.Conn           { return w.streams }

// errUnnamed: memberlist was told to name members in all it sends.
var errUnnamed = errors.New("BUG: a member without a name")

// WriteTo and DialTimeout implement memberlist.Transport.
func (w *wire) WriteTo([]byte, string) (time.Time, error)           { return time.Time{}, errUnnamed }
func (w *wire) DialTimeout(string, time.Duration) (net.Conn, error) { return nil, errUnnamed }

// WriteToAddress implements memberlist.NodeAwareTransport: it queues a copy of b
// for the member and does not wait. What finds no room is dropped. Errors:
// ErrMalformed, ErrClosed.
func (w *wire) WriteToAddress(b []byte, a memberlist.Address) (time.Time, error) {
	_, addr, _, err := parseName(a.Name)
	if err != nil {
		return time.Time{}, err
	}
	if len(b) > packetBytesMax {
		return time.Time{}, fmt.Errorf("%w: packet of %d bytes", ErrLimit, len(b))
	}
	frame := binary.BigEndian.AppendUint16(make([]byte, 0, 2+len(b)), uint16(len(b)))
	frame = append(frame, b...)
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.left {
		return time.Time{}, ErrClosed
	}
	if kindOf(b) == pingMsg {
		w.probeUntil.Store(time.Now().Add(w.g.cfg.ProbeInterval).UnixNano())
	}
	if carriesNews(b) {
		w.g.kick()
	}
	s := w.senders[a.Name]
	if s == nil {
		s = &sender{w: w, name: a.Name, addr: addr, queue: make(chan []byte, queuePackets)}
		w.senders[a.Name] = s
		w.sending.Go(s.run)
	}
	select {
	case s.queue <- frame:
	default:
		w.g.count.overflowed.Add(1)
	}
	return time.Now(), nil
}

// Types of memberlist's messages that say something of its goroutines, or nothing of
// members.
const (
	pingMsg         = 0
	indirectPingMsg = 1
	ackMsg          = 2
	compoundMsg     = 7 // count u8, count lengths u16, then the messages
	nackMsg         = 11
	crcMsg          = 12 // crc u32, then the message
)

// carriesNews says that a packet is more than a probe or an answer to one.
func carriesNews(b []byte) bool {
	return len(b) > 0 && b[0] != pingMsg && b[0] != indirectPingMsg && b[0] != ackMsg && b[0] != nackMsg
}

// kindOf gives the type of the first message in a packet; 255 for none.
func kindOf(b []byte) byte {
	if len(b) > 5 && b[0] == crcMsg {
		b = b[5:]
	}
	if len(b) > 1 && b[0] == compoundMsg {
		b = b[min(2+2*int(b[1]), len(b)):]
	}
	if len(b) == 0 {
		return math.MaxUint8
	}
	return b[0]
}

// sender brings packets to one member. It lives while there are any.
type sender struct {
	w          *wire
	name, addr string
	queue      chan []byte // frames; capacity queuePackets; sent to under wire.mu; never closed
}

func (s *sender) run() {
	pprof.SetGoroutineLabels(pprof.WithLabels(s.w.ctx, pprof.Labels("dyno", "gossip sender")))
	c, err := s.w.dial(s.addr, packetConn, helloTimeout)
	if err != nil {
		s.w.g.count.dialsFailed.Add(1)
		s.w.g.unreached(s.addr, err)
		s.end(true)
		return
	}
	defer s.w.disown(c)
	idle := time.NewTimer(idleAfter)
	defer idle.Stop()
	for {
		select {
		case frame := <-s.queue:
			if !s.send(c, frame) {
				return
			}
			idle.Reset(idleAfter)
		case <-idle.C:
			if s.end(false) {
				return
			}
			idle.Reset(idleAfter)
		case <-s.w.leaving:
			for !s.end(false) {
				if !s.send(c, <-s.queue) {
					return
				}
			}
			return
		}
	}
}

// send writes one packet; false where that ended the sender.
func (s *sender) send(c net.Conn, frame []byte) bool {
	_ = c.SetWriteDeadline(time.Now().Add(writeTimeout))
	if _, err := c.Write(frame); err != nil {
		s.w.g.count.lost.Add(1)
		s.end(true)
		return false
	}
	s.w.g.count.packetsOut.Add(1)
	return true
}

// end makes the next packet start another sender, and drops what waits; without
// force it is false, and nothing changes, where something waits.
func (s *sender) end(force bool) bool {
	s.w.mu.Lock()
	defer s.w.mu.Unlock()
	if len(s.queue) > 0 && !force {
		return false
	}
	s.w.g.count.lost.Add(uint64(len(s.queue)))
	delete(s.w.senders, s.name)
	return true
}

// DialAddressTimeout implements memberlist.NodeAwareTransport.
func (w *wire) DialAddressTimeout(a memberlist.Address, timeout time.Duration) (net.Conn, error) {
	_, addr, _, err := parseName(a.Name)
	if err != nil {
		return nil, err
	}
	c, err := w.dial(addr, streamConn, min(timeout, helloTimeout))
	if err != nil {
		w.g.unreached(addr, err)
		return nil, err
	}
	s, ok := w.lend(c)
	if !ok {
		w.disown(c)
		return nil, ErrClosed
	}
	w.g.count.streamsOut.Add(1)
	return s, nil
}

// dial connects and says hello. The connection is w's; disown ends it. Errors:
// ErrForeignCluster, ErrMalformed, ErrClosed, or what the network says.
func (w *wire) dial(addr string, kind byte, timeout time.Duration) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(w.ctx, timeout)
	defer cancel()
	c, err := w.g.cfg.Dial(ctx, addr)
	if err != nil {
		return nil, fmt.Errorf("dial %s: %w", addr, err)
	}
	if !w.own(c) {
		return nil, ErrClosed
	}
	_ = c.SetDeadline(time.Now().Add(timeout))
	if err := w.hello(c, kind); err != nil {
		w.disown(c)
		return nil, fmt.Errorf("hello to %s: %w", addr, err)
	}
	_ = c.SetDeadline(time.Time{})
	return c, nil
}

func (w *wire) hello(c net.Conn, kind byte) error {
	cluster := w.g.cfg.Self.Cluster
	b := append([]byte(Magic), kind, byte(len(cluster)))
	if _, err := c.Write(append(b, cluster...)); err != nil {
		return err
	}
	var answer [1]byte
	if _, err := io.ReadFull(c, answer[:]); err != nil {
		return err
	}
	switch answer[0] {
	case answerOK:
		return nil
	case answerForeign:
		return ErrForeignCluster
	}
	return fmt.Errorf("%w: answer %d", ErrMalformed, answer[0])
}

// unreached logs why a node could not be talked to, if that is more than that it
// is away.
func (g *Gossip) unreached(addr string, err error) {
	if errors.Is(err, ErrForeignCluster) || errors.Is(err, ErrMalformed) {
		g.logs.warn("a node refuses", err, "at", addr)
	}
}

// own makes a connection one that Shutdown ends; after that it ends it at once
// and is false.
func (w *wire) own(c net.Conn) bool {
	w.mu.Lock()
	ok := !w.closed
	if ok {
		w.conns[c] = struct{}{}
	}
	w.mu.Unlock()
	if !ok {
		hangUp(c)
	}
	return ok
}

// disown ends a connection.
func (w *wire) disown(c net.Conn) {
	w.mu.Lock()
	delete(w.conns, c)
	w.mu.Unlock()
	hangUp(c)
}

// hangUp closes a connection at once. The socket goes first: closing TLS in good
// form may wait for a peer that takes nothing.
func hangUp(c net.Conn) {
	socket := c
	for {
		outer, ok := socket.(interface{ NetConn() net.Conn }) // TLS, and wrappers that follow it
		if !ok {
			break
		}
		socket = outer.NetConn()
	}
	_ = socket.Close()
	_ = c.Close()
}

// lend makes an owned connection one that Shutdown waits for memberlist to close;
// false after Shutdown.
func (w *wire) lend(c net.Conn) (*stream, bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed {
		return nil, false
	}
	w.wg.Add(1)
	return &stream{Conn: c, w: w}, true
}

// stream is a connection that memberlist has: closed once, by whoever used it.
type stream struct {
	net.Conn
	w    *wire
	once sync.Once
}

// Close implements net.Conn.
func (s *stream) Close() error {
	s.once.Do(func() {
		s.w.disown(s.Conn)
		s.w.wg.Done()
	})
	return nil
}

// hand gives memberlist an owned connection; after Shutdown it ends it and is
// false.
func (w *wire) hand(c net.Conn) bool {
	s, ok := w.lend(c)
	if !ok {
		w.disown(c)
		return false
	}
	select {
	case w.streams <- s:
		return true
	case <-w.ctx.Done():
		_ = s.Close()
		return false
	}
}

// leave waits until all packets that wait were sent, or until time is up. Nothing
// is sent after it.
func (w *wire) leave(limit time.Duration) {
	w.mu.Lock()
	first := !w.left
	w.left = true
	if first {
		close(w.leaving)
	}
	w.mu.Unlock()
	sent := make(chan struct{})
	w.wg.Go(func() {
		defer close(sent)
		w.sending.Wait()
	})
	select {
	case <-sent:
	case <-time.After(limit):
	}
}

// Shutdown implements memberlist.Transport: it ends all connections and waits for
// whoever uses one, then for the probes under way.
func (w *wire) Shutdown() error {
	w.leave(0)
	w.mu.Lock()
	w.closed = true
	conns := slices.Collect(maps.Keys(w.conns))
	w.mu.Unlock()
	w.cancel()
	for _, c := range conns {
		hangUp(c)
	}
	_ = w.g.cfg.Listener.Close()
	w.wg.Wait()
	until := time.Unix(0, max(w.probeUntil.Load(), w.relayUntil.Load()))
	<-time.After(time.Until(until))
	return nil
}
