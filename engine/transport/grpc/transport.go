package grpctransport

import (
	"context"
	"fmt"
	"sync"

	"google.golang.org/grpc"
	"google.golang.org/grpc/keepalive"

	"dyno/engine/ids"
	"dyno/engine/transport"
)

// headersBytesMax bounds what the other side may say in a handshake.
const headersBytesMax = 16 << 10

// Transport implements transport.Transport over gRPC. Safe for concurrent use.
type Transport struct {
	cfg     Config
	ctx     context.Context // done at Close; all streams come from it
	cancel  context.CancelFunc
	wg      sync.WaitGroup // writers, reports, handlers and readers of streams
	reports *reports
	scratch scratch
	counts  counters

	mu      sync.RWMutex // guards what follows
	handler transport.Handler
	links   map[linkKey]*link
	places  map[linkKey]*place
	told    map[ids.NodeID]error // refusals that were logged
}

type linkKey struct {
	node ids.NodeID
	lane transport.Lane
}

// New makes a transport that listens to nothing yet: Register, Start, and serve
// the server. Starts no goroutine. Fails on a Config that makes no sense.
func New(cfg Config) (*Transport, error) {
	cfg.setDefaults()
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	t := &Transport{
		cfg: cfg, reports: newReports(),
		links: map[linkKey]*link{}, places: map[linkKey]*place{}, told: map[ids.NodeID]error{},
	}
	t.ctx, t.cancel = context.WithCancel(context.Background())
	return t, nil
}

// ServerOptions are what the server given to Register must be made with: they
// hold for everything else it serves. Messages up to MessageBytesMax and headers
// up to 16 KiB are accepted, a stream's window is WindowBytes, clients may ping.
// The codecs need no option: a call names its own.
func ServerOptions(cfg Config) []grpc.ServerOption {
	cfg.setDefaults()
	return []grpc.ServerOption{
		grpc.MaxRecvMsgSize(cfg.MessageBytesMax),
		grpc.MaxHeaderListSize(headersBytesMax),
		grpc.StaticStreamWindowSize(int32(cfg.WindowBytes)),
		grpc.StaticConnWindowSize(int32(cfg.WindowBytes)),
		grpc.KeepaliveParams(keepalive.ServerParameters{Time: cfg.PingEvery, Timeout: cfg.PingTimeout}),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: cfg.PingEvery / 2, PermitWithoutStream: true}),
	}
}

// Register adds the service to a server, before that serves. The server belongs
// to the caller, who stops it after Close: a graceful stop would wait for
// streams that only Close ends.
func (t *Transport) Register(s *grpc.Server) {
	s.RegisterService(&grpc.ServiceDesc{
		ServiceName: serviceName, HandlerType: (*any)(nil), Streams: []grpc.StreamDesc{streamDesc},
	}, t)
}

// Start implements transport.Transport. Streams that came before are refused.
func (t *Transport) Start(h transport.Handler) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.handler != nil || h == nil {
		panic("BUG: Start is called once, with a handler")
	}
	t.handler = h
	if t.ctx.Err() == nil {
		t.wg.Go(func() { t.reports.run(t.ctx, h) })
	}
}

// Send implements transport.Transport. It takes two short locks. Panics on a
// message that is meant for the local storage.
func (t *Transport) Send(to ids.NodeID, lane transport.Lane, batch []transport.Envelope) {
	if len(batch) == 0 {
		return
	}
	for i := range batch {
		if err := check(&batch[i].Message); err != nil {
			panic(fmt.Sprintf("BUG: group %d sends to node %d: %v", batch[i].Group, to, err))
		}
	}
	if l := t.link(linkKey{to, lane}); l != nil {
		l.put(batch)
	}
}

// link gives the way to a peer and makes it when it is first needed; nil after
// Close.
func (t *Transport) link(key linkKey) *link {
	t.mu.RLock()
	l := t.links[key]
	t.mu.RUnlock()
	if l != nil {
		return l
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.handler == nil || key.lane >= transport.Lanes {
		panic(fmt.Sprintf("BUG: Send before Start, or on %v", key.lane))
	}
	if l = t.links[key]; l == nil && t.ctx.Err() == nil {
		l = newLink(t, key.node, key.lane)
		t.links[key] = l
		t.wg.Go(l.run)
	}
	return l
}

// heard ends the waiting of all lanes to a node that was not reached.
func (t *Transport) heard(node ids.NodeID) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	for lane := range transport.Lane(transport.Lanes) {
		if l := t.links[linkKey{node, lane}]; l != nil {
			select {
			case l.kick <- struct{}{}:
			default:
			}
		}
	}
}

// Err gives why the last stream to a node ended or was not opened: one of the
// errors of this package; nil if it is open, or nothing was sent yet. Does not
// block; anyone may call it.
func (t *Transport) Err(to ids.NodeID, lane transport.Lane) error {
	t.mu.RLock()
	l := t.links[linkKey{to, lane}]
	t.mu.RUnlock()
	if l == nil {
		return nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.err
}

// Close implements transport.Transport. Streams of peers end, and later ones are
// refused; it waits for everything that this package started, so it blocks while
// the handler or Config.Dial does.
func (t *Transport) Close() error {
	t.mu.Lock() // place and link look under it: none adds to wg once it waits
	t.cancel()
	t.mu.Unlock()
	t.wg.Wait()
	return nil
}

func (t *Transport) codecName() string {
	if t.cfg.Stock {
		return stockName
	}
	return packedName
}
