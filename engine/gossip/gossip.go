package gossip

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"runtime/pprof"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/memberlist"

	"dyno/engine/ids"
)

// Seed is a node to be found at an address.
type Seed struct {
	Node ids.NodeID
	Peer string // host:port
}

// Config of Start. A zero field means its default.
type Config struct {
	// Self is what this node says of itself, without its load; required.
	Self Info
	// Listener brings connections that began with Magic; required. Close closes it.
	Listener net.Listener
	// Dial makes a connection to the port for peers of another node, where Magic is
	// to be the first thing written. It must give up when ctx ends. Required.
	Dial func(ctx context.Context, addr string) (net.Conn, error)
	// Seeds are the nodes that should be among the living; one that is not is dialled
	// again and again. Required; it must not block. This node may be among them.
	Seeds func() []Seed
	// Load is asked every loadEvery; nil for none. It must not block.
	Load func() Load
	// Changed hears of every member but this node that comes or changes its state; nil
	// for nobody. It must not block and must not call Close.
	Changed func(Member)

	// ProbeInterval is the time between two probes of this node (1 s). It also scales
	// how soon a member is suspect and dead, see the package comment.
	ProbeInterval time.Duration
	// NewsInterval is the time between two rounds of news (500 ms).
	NewsInterval time.Duration
	// MembersMax bounds the members, lives that ended not long ago among them (1024);
	// ConnectionsMax the accepted connections (256).
	MembersMax, ConnectionsMax int

	Log *slog.Logger // slog.Default()
}

const (
	// loadEvery is how often the load is looked at.
	loadEvery = 10 * time.Second
	// Close tells the others that this node leaves for a round of news and a quarter,
	// at least leaveMin and at most leaveMax, or until enough of them know; then
	// what waits is sent, for flushMax.
	leaveMin = 500 * time.Millisecond
	leaveMax = time.Second
	flushMax = 500 * time.Millisecond
)

func (c *Config) setDefaults() {
	def(&c.ProbeInterval, time.Second)
	def(&c.NewsInterval, 500*time.Millisecond)
	def(&c.MembersMax, 1024)
	def(&c.ConnectionsMax, 256)
	def(&c.Log, slog.Default())
	if c.Load == nil {
		c.Load = func() Load { return Load{} }
	}
	if c.Changed == nil {
		c.Changed = func(Member) {}
	}
}

func def[T comparable](v *T, d T) {
	var zero T
	if *v == zero {
		*v = d
	}
}

func (c *Config) validate() error {
	if c.Listener == nil || c.Dial == nil || c.Seeds == nil {
		return fmt.Errorf("%w: no listener, dialler or seeds", ErrConfig)
	}
	if min(c.ProbeInterval, c.NewsInterval) < 0 || min(c.MembersMax, c.ConnectionsMax) < 0 {
		return fmt.Errorf("%w: negative interval or limit", ErrConfig)
	}
	return c.Self.check()
}

// Gossip is this node among the members of its cluster. Safe for concurrent use.
type Gossip struct {
	cfg   Config
	count counters
	logs  *logs
	wire  *wire
	list  *memberlist.Memberlist

	members atomic.Pointer[[]Member] // by node; replaced, never changed
	wake    chan struct{}            // capacity 1; sent to by delegate and wire; never closed
	stop    chan struct{}            // closed by Close
	wg      sync.WaitGroup           // run, joiner
	once    sync.Once

	telling sync.Mutex // one call of UpdateNode at a time: it reads what another one writes

	mu       sync.Mutex // guards what follows; no call out under it
	self     Info
	looks    uint64            // how often run looked
	admitted map[string]uint64 // names that were let in, and before which look
}

// Start joins the gossip: this node tells of itself and looks for the seeds until
// Close. It waits for nobody. The listener is the gossip's from then on, also when
// an error is returned. Errors: ErrConfig.
func Start(c Config) (*Gossip, error) {
	c.setDefaults()
	if err := c.validate(); err != nil {
		if c.Listener != nil {
			_ = c.Listener.Close()
		}
		return nil, err
	}
	g := &Gossip{
		cfg: c, self: c.Self, admitted: map[string]uint64{},
		wake: make(chan struct{}, 1), stop: make(chan struct{}),
	}
	g.self.Version = version
	g.members.Store(&[]Member{{Info: g.self, State: Alive, Since: time.Now()}})
	g.logs = newLogs(c.Log.With("node", c.Self.Node))
	g.wire = newWire(g)
	list, err := memberlist.Create(g.options())
	if err != nil {
		_ = g.wire.Shutdown()
		return nil, fmt.Errorf("start gossip: %w", err)
	}
	g.list = list
	g.wg.Go(g.run)
	g.wg.Go(g.join)
	return g, nil
}

// options is memberlist's configuration.
func (g *Gossip) options() *memberlist.Config {
	o := memberlist.DefaultLANConfig()
	o.Name = g.self.name()
	o.Transport, o.Logger = g.wire, g.logs.logger()
	o.Delegate, o.Alive, o.Merge, o.Events, o.Ping = delegate{g}, delegate{g}, delegate{g}, delegate{g}, delegate{g}
	o.ProbeInterval, o.ProbeTimeout = g.cfg.ProbeInterval, g.cfg.ProbeInterval/2
	o.GossipInterval = g.cfg.NewsInterval
	o.PushPullInterval, o.GossipToTheDeadTime = 30*g.cfg.ProbeInterval, 30*g.cfg.ProbeInterval
	o.TCPTimeout = streamTimeout
	o.DisableTcpPings = true // a stream tells nothing that a packet does not
	// A probe lasts no longer than ProbeInterval, so that Close can wait for it. What
	// this gives away is patience with others while this node itself is slow.
	o.AwarenessMaxMultiplier = 1
	o.EnableCompression = false // little to gain, and less to decode
	return o
}

// run keeps the list of members and the load.
func (g *Gossip) run() {
	pprof.SetGoroutineLabels(pprof.WithLabels(context.Background(), pprof.Labels("dyno", "gossip")))
	load := time.NewTicker(loadEvery)
	defer load.Stop()
	table := map[ids.NodeID]Member{}
	for {
		select {
		case <-g.wake:
		case <-load.C:
			g.announceLoad(g.cfg.Load())
		case <-g.stop:
			return
		}
		g.look(table)
	}
}

// Announce changes what this node says of itself: Directory, Kafka, Admin and Rack.
// The others hear of it with the next news; it does not wait for that. Errors: ErrConfig.
func (g *Gossip) Announce(i Info) error {
	g.mu.Lock()
	next := g.self
	next.Directory, next.Kafka, next.Admin, next.Rack = i.Directory, i.Kafka, i.Admin, i.Rack
	err := next.check()
	if err == nil {
		g.self = next
	}
	g.mu.Unlock()
	if err == nil {
		g.tell()
	}
	return err
}

// announceLoad tells the others of a load that differs in its two leading digits.
func (g *Gossip) announceLoad(l Load) {
	l = Load{Leaders: l.Leaders, Replicas: l.Replicas, InBytes: rough(l.InBytes), DiskFree: rough(l.DiskFree)}
	g.mu.Lock()
	changed := g.self.Load != l
	g.self.Load = l
	g.mu.Unlock()
	if changed {
		g.tell()
	}
}

// rough keeps the two leading decimal digits of n.
func rough(n int64) int64 {
	unit := int64(1)
	for n/unit >= 100 {
		unit *= 10
	}
	return n / unit * unit
}

// tell hands what this node says of itself to memberlist. Its error is that nobody
// has taken it yet, which nobody waits for.
func (g *Gossip) tell() {
	g.telling.Lock()
	defer g.telling.Unlock()
	_ = g.list.UpdateNode(time.Nanosecond)
}

// Close tells the others that this node leaves, for 1.5 s at most, ends all
// connections and waits for every goroutine. A probe that nobody answers makes it
// wait up to ProbeInterval longer. Idempotent; the error is always nil.
func (g *Gossip) Close() error {
	g.once.Do(func() {
		// An error is that it ran out of time, which one round has not.
		_ = g.list.Leave(min(max(g.cfg.NewsInterval*5/4, leaveMin), leaveMax))
		close(g.stop)
		g.logs.close() // memberlist complains of a wire that ends before it does
		g.wire.leave(flushMax)
		_ = g.list.Shutdown()
		g.wg.Wait()
	})
	return nil
}
