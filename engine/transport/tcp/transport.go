package tcp

import (
	"context"
	"errors"
	"maps"
	"net"
	"slices"
	"sync"

	"dyno/engine/ids"
	"dyno/engine/transport"
)

// Transport implements transport.Transport over TCP. It owns its listener, all
// connections and every goroutine of this package.
type Transport struct {
	cfg     Config
	handler transport.Handler // set by Start, before any goroutine
	count   counters
	reports *reporter
	logs    logs

	ctx    context.Context // ends with Close
	cancel context.CancelFunc
	wg     sync.WaitGroup // every goroutine but watchers, which their writers await
	once   sync.Once
	err    error // of Close

	mu      sync.RWMutex // guards what follows; never held over I/O or a call of the handler
	started bool
	closed  bool
	peers   map[ids.NodeID]*peer
	conns   map[net.Conn]struct{} // all that Close must end
	ways    map[way]*inbound
}

var _ transport.Transport = (*Transport)(nil)

// New checks cfg and makes a transport that does nothing before Start. The
// listener is the transport's from then on, also when an error is returned.
// Errors: ErrConfig.
func New(cfg Config) (*Transport, error) {
	cfg.setDefaults()
	if err := cfg.validate(); err != nil {
		if cfg.Listener != nil {
			_ = cfg.Listener.Close()
		}
		return nil, err
	}
	t := &Transport{
		cfg: cfg, reports: newReporter(), logs: newLogs(cfg.Log),
		peers: map[ids.NodeID]*peer{}, conns: map[net.Conn]struct{}{}, ways: map[way]*inbound{},
	}
	t.ctx, t.cancel = context.WithCancel(context.Background())
	return t, nil
}

// Start implements transport.Transport: connections are accepted from then on.
// After Close it does nothing.
func (t *Transport) Start(h transport.Handler) {
	t.mu.Lock()
	again := t.started
	t.started, t.handler = true, h
	t.mu.Unlock()
	if again {
		panic("BUG: transport started twice")
	}
	t.spawn(t.accept)
	t.spawn(t.report)
}

// Send implements transport.Transport. It takes two locks for the time of a
// copy of batch, and never waits for the network. After Close it drops batch
// without a report.
func (t *Transport) Send(to ids.NodeID, lane transport.Lane, batch []transport.Envelope) {
	if len(batch) == 0 {
		return
	}
	t.mu.RLock()
	p := t.peers[to]
	t.mu.RUnlock()
	if p == nil {
		if p = t.meet(to); p == nil {
			return
		}
	}
	p.lanes[lane].send(batch)
}

// Rest has the lanes give back the memory that the largest burst took: for a node
// in which nothing happens. It does not wait for them.
func (t *Transport) Rest() {
	t.mu.RLock()
	defer t.mu.RUnlock()
	for _, p := range t.peers {
		for _, l := range p.lanes {
			l.resting.Store(true)
			l.signal()
		}
	}
}

// meet makes a peer; nil after Close.
func (t *Transport) meet(id ids.NodeID) *peer {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		return nil
	}
	if !t.started {
		panic("BUG: Send before Start")
	}
	if t.peers[id] == nil {
		t.peers[id] = newPeer(t, id)
	}
	return t.peers[id]
}

// heardFrom says that a node is alive: if it is one that could not be reached,
// it is worth another attempt now.
func (t *Transport) heardFrom(id ids.NodeID) {
	t.mu.RLock()
	p := t.peers[id]
	t.mu.RUnlock()
	if p == nil {
		return
	}
	for _, l := range p.lanes {
		l.kick()
	}
}

// Close implements transport.Transport. It ends all connections at once and
// waits for every goroutine, calls of the handler included, so the handler must
// not call it. The error is the listener's.
func (t *Transport) Close() error {
	t.once.Do(func() {
		t.mu.Lock()
		t.closed = true
		t.cancel()
		conns := slices.Collect(maps.Keys(t.conns))
		for _, p := range t.peers {
			for _, l := range p.lanes {
				l.close()
			}
		}
		t.mu.Unlock()
		for _, nc := range conns {
			hangUp(nc)
		}
		if err := t.cfg.Listener.Close(); !errors.Is(err, net.ErrClosed) {
			t.err = err
		}
		t.wg.Wait()
	})
	return t.err
}

// spawn starts a goroutine that Close waits for; false after Close.
func (t *Transport) spawn(f func()) bool {
	t.mu.RLock()
	defer t.mu.RUnlock()
	if t.closed {
		return false
	}
	t.wg.Go(f)
	return true
}

// own makes a connection one that Close ends; after Close it ends it at once
// and is false.
func (t *Transport) own(nc net.Conn) bool {
	t.mu.Lock()
	ok := !t.closed
	if ok {
		t.conns[nc] = struct{}{}
	}
	t.mu.Unlock()
	if !ok {
		hangUp(nc)
	}
	return ok
}

// disown ends a connection.
func (t *Transport) disown(nc net.Conn) {
	t.mu.Lock()
	delete(t.conns, nc)
	t.mu.Unlock()
	hangUp(nc)
}
