package engine

import (
	"context"
	"errors"
	"fmt"
	"net"
	"path"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"dyno/engine/events"
	"dyno/engine/ids"
	"dyno/engine/kafka"
	"dyno/engine/metadata"
	"dyno/engine/multiraft"
	"dyno/engine/replica"
	"dyno/engine/store"
	"dyno/engine/variants"
	"dyno/wal"
)

// Node is one running broker: everything below a data directory and behind
// three listeners. Open makes it, Close ends it.
type Node struct {
	cfg      Config
	identity Meta
	home     string            // directory of log, partitions and metadata
	lost     error             // why the log cannot be used; owner: Open
	static   map[string]string // broker configs that cannot change at run time

	log       *wal.Log
	notices   *events.Queue
	raft      *multiraft.Manager
	arm       *variants.Produce // of an experiment; nil as shipped
	meta      *metadata.State
	metaGroup *multiraft.Group
	metaConf  *replica.Members // of the metadata's snapshot; owner: Open
	metaRead  atomic.Bool      // meta shows what the directory holds
	metaOpen  atomic.Bool      // metaGroup is set; both are for the RPC, which runs before
	peers     *peers           // nil without other nodes
	directory *multiraft.Directory[hosted]
	files     *store.Cache // open files of all partitions
	hosts     *hosts
	mover     *mover
	diskFull  chan struct{} // capacity 1; sender: logEvents; the mover looks at once
	retention *retention
	clock     *clockWatch
	isr       *isr
	front     *kafka.Server
	listener  net.Listener // for Kafka clients
	admin     *adminServer
	producers producerIDs

	closers []func() error // in the order of start; run in reverse
	ready   atomic.Bool
	failed  chan struct{} // closed by fail
	watched chan struct{} // closed when watchFailure ended
	closing chan struct{} // closed by Close
	once    sync.Once
	mu      sync.Mutex // guards err
	err     error
	closed  error
}

// startTimeout bounds how long Open waits for the log to be replayed and the
// node to be registered.
const startTimeout = 5 * time.Minute

// Open starts the node that c.DataDir was formatted for and returns when it
// serves. It replays the log, so it may take seconds. After an error nothing
// runs. Errors: ErrConfig, ErrUnformatted, ErrForeign, ErrNewer, ErrWiped,
// wal.ErrCorrupt, vfs.ErrLocked, and those of the listeners.
func Open(c Config) (*Node, error) {
	c.setDefaults()
	if err := c.validate(); err != nil {
		return nil, err
	}
	identity, err := checkMeta(&c)
	if err != nil {
		return nil, err
	}
	n := &Node{
		cfg: c, identity: identity, static: staticConfigs(&c, identity.NodeID),
		failed: make(chan struct{}), watched: make(chan struct{}), closing: make(chan struct{}),
		diskFull:  make(chan struct{}, 1),
		directory: multiraft.NewDirectory[hosted](),
		files:     store.NewCache(0),
		producers: producerIDs{turn: make(chan struct{}, 1)},
	}
	n.hosts, n.isr = newHosts(n), newISR(n)
	n.meta = metadata.New(metadata.Config{OnChange: n.metaChanged})
	n.home = identity.home(c.DataDir)
	steps := []func() error{n.lock, n.openLog, n.openPeers, n.rejoin, n.openRaft, n.openMetadata, n.bind, n.register, n.rejoined, n.openHosts, n.serve}
	for _, step := range steps {
		if err := step(); err != nil {
			return nil, errors.Join(err, n.unwind())
		}
	}
	n.ready.Store(true)
	c.Log.Info("serving", "node", identity.NodeID, "cluster", identity.ClusterID, "kafka", n.KafkaAddr(), "admin", n.AdminAddr())
	return n, nil
}

// metaChanged hears of every change of the metadata; it must not block.
func (n *Node) metaChanged(_ *metadata.Image, changes []metadata.Change) {
	n.hosts.changed()
	for i := range changes {
		if changes[i].Kind == metadata.ReplicasSet {
			n.isr.led() // there is something to do for whoever leads
			return
		}
	}
}

// staticConfigs are the broker configs of the configuration file, and who the
// node is.
func staticConfigs(c *Config, id ids.NodeID) map[string]string {
	out := map[string]string{"broker.id": strconv.Itoa(int(id)), "broker.rack": c.Rack}
	for k, v := range c.Broker {
		out[k] = v
	}
	return out
}

// onClose adds a step to the end of what Close undoes first.
func (n *Node) onClose(f func() error) { n.closers = append(n.closers, f) }

// unwind ends everything that was started, the last first.
func (n *Node) unwind() error {
	var first error
	for i := len(n.closers) - 1; i >= 0; i-- {
		if err := n.closers[i](); err != nil && first == nil {
			first = err
		}
	}
	n.closers = nil
	return first
}

func (n *Node) lock() error {
	lock, err := n.cfg.FS.Lock(path.Join(n.cfg.DataDir, "LOCK"))
	if err != nil {
		return fmt.Errorf("data directory %s: %w: another dyno has it open", n.cfg.DataDir, err)
	}
	n.onClose(lock.Close)
	n.notices = events.NewQueue(logEvents{n})
	n.onClose(func() error { n.notices.Close(); return nil })
	return nil
}

// openLog opens the log below home. A damaged one is no error where there are
// peers, see rejoin.
func (n *Node) openLog() error {
	log, err := wal.Open(wal.Options{
		FS: n.logDisk(), Dir: path.Join(n.home, walDir),
		SegmentBytes: n.cfg.WAL.SegmentBytes, SpareSegments: n.cfg.WAL.SpareSegments,
		Notice: n.walNotice,
	})
	switch {
	case err == nil:
		n.log = log
		n.onClose(n.log.Close)
	case errors.Is(err, wal.ErrCorrupt):
		n.lost = repairHint(err, n.home)
		if len(n.cfg.Peers) > 0 {
			return nil
		}
		err = fmt.Errorf("%w; with one replica of each partition there is nothing to repair it from: restore the directory from a copy", n.lost)
	}
	return err
}

// repairHint says how to look at a log that cannot be opened.
func repairHint(err error, home string) error {
	return fmt.Errorf("%w; look at it with: dyno wal dump %s", err, path.Join(home, walDir))
}

// quietTicks is how long a group is idle before it goes quiet: half a second.
const quietTicks = 25

// entryBytesMax bounds one record batch, whatever max.message.bytes says.
const entryBytesMax = 32 << 20

func (n *Node) openRaft() error {
	arm := n.cfg.Experiment
	m, err := multiraft.New(multiraft.Config{
		Node: n.identity.NodeID, Log: n.raftLog(), Listener: n.notices, TailBytes: n.cfg.WAL.TailBytes,
		Transport: n.transport(), Replica: replica.Config{QuietTicks: quietTicks, Single: arm.Batch == variants.BatchSingle}, Poll: arm.PollInterval(),
		// An entry that no segment can hold would end the log.
		EntryBytesMax: int(min(entryBytesMax, n.log.RecordBytesMax())),
		// With half of a segment in the log's queue this fits into the log's reserve.
		DrainBytesMax: n.cfg.WAL.SegmentBytes / 8,
		NowMS:         func() int64 { return n.cfg.Now().UnixMilli() },

		Clock:                 bootTime,
		CatchUpBytesPerSecond: max(0, n.cfg.Limits.CatchUpBytesPerSecond),
	})
	if err != nil {
		return fmt.Errorf("start consensus: %w", err)
	}
	n.raft = m
	n.onClose(m.Close)
	n.arm = variants.New(arm, n.nested)
	n.onClose(n.arm.Close)
	go n.watchFailure()
	n.onClose(func() error { close(n.closing); <-n.watched; return nil })
	return nil
}

// watchFailure ends the node's life when its log died: nothing it would answer
// from then on could be kept.
func (n *Node) watchFailure() {
	defer close(n.watched)
	select {
	case <-n.log.Failed():
		n.fail(n.log.Err())
	case <-n.raft.Failed(): // the log refused what it must take: all groups stand
		n.fail(n.raft.Failure())
	case <-n.closing:
	}
}

// fail makes the node useless for good; the first error counts.
func (n *Node) fail(err error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.err == nil {
		n.err = err
		close(n.failed)
		n.cfg.Log.Error("node failed", "node", n.identity.NodeID, "err", err)
	}
}

// bind takes the Kafka listener's address, so that it can be registered; serve
// begins to accept.
func (n *Node) bind() error {
	l, err := net.Listen("tcp", n.cfg.KafkaAddr)
	if err != nil {
		return fmt.Errorf("listen for Kafka clients: %w", err)
	}
	n.listener = l
	if n.cfg.AdvertisedKafka == "" {
		n.cfg.AdvertisedKafka = l.Addr().String()
	}
	if err := n.announce(); err != nil {
		_ = l.Close()
		return err
	}
	n.onClose(func() error {
		if err := l.Close(); !errors.Is(err, net.ErrClosed) {
			return err
		}
		return nil // the front owns it and closed it
	})
	return nil
}

// register brings this node into the metadata: it returns when the log was
// replayed, because a leader applies what is new after what is old.
func (n *Node) register() error {
	ctx, cancel := context.WithTimeout(context.Background(), startTimeout)
	defer cancel()
	first := &metadata.ClusterCreated{ClusterID: n.identity.ClusterID, Format: formatVersion, Replicas: n.metaMembers()}
	if _, err := n.change(ctx, first); err != nil {
		return fmt.Errorf("enter cluster %q: %w", n.identity.ClusterID, err)
	}
	if err := n.registerSelf(ctx); err != nil {
		return fmt.Errorf("register node %d: %w", n.identity.NodeID, err)
	}
	return nil
}

// registerSelf says in the metadata that this node is up, and where.
func (n *Node) registerSelf(ctx context.Context) error {
	_, err := n.change(ctx, &metadata.RegisterBroker{
		Node: n.identity.NodeID, Kafka: n.cfg.AdvertisedKafka, Raft: n.raftAddr(), Admin: n.cfg.AdminAddr,
		Rack: n.cfg.Rack, Incarnation: uint64(n.cfg.Now().UnixNano()), Directory: n.identity.Directory,
	})
	if errors.Is(err, metadata.ErrOtherDirectory) {
		return fmt.Errorf("%w: %w", ErrWiped, err)
	}
	return err
}

// raftAddr is where this node tells the others to reach it: what the
// configuration of all of them says, else where it listens.
func (n *Node) raftAddr() string {
	for _, p := range n.cfg.Peers {
		if p.Node == n.identity.NodeID {
			return p.Raft
		}
	}
	return n.cfg.RaftAddr
}

func (n *Node) openHosts() error {
	if err := n.hosts.start(); err != nil {
		return err
	}
	n.onClose(n.hosts.Close)
	if n.transport() != nil {
		n.isr.start()
		n.onClose(n.isr.Close)
	}
	n.clock = startClockWatch(n)
	n.onClose(n.clock.Close)
	n.retention = startRetention(n)
	n.onClose(n.retention.Close)
	n.mover = startMover(n)
	n.onClose(n.mover.Close)
	return nil
}

func (n *Node) serve() error {
	a, err := listenAdmin(n, n.cfg.AdminAddr)
	if err != nil {
		return err
	}
	n.admin = a
	n.onClose(a.Close)
	n.front, err = kafka.Serve(kafka.Config{
		Listener: n.listener, Backend: backend{n},
		FrameBytesMax: n.cfg.Limits.RequestBytesMax, ConnectionsMax: n.cfg.Limits.ConnectionsMax,
		NowMS: func() int64 { return n.raft.Clock().Now },
	})
	if err != nil {
		return fmt.Errorf("start the Kafka front: %w", err)
	}
	n.onClose(n.front.Close)
	n.admin.start() // what it tells of is all there now
	return nil
}

// Close stops serving and ends the node: listeners first, then what they use,
// the log last, with a clean end. It waits for all goroutines. Idempotent; the
// first error is returned.
func (n *Node) Close() error {
	n.once.Do(func() {
		n.ready.Store(false)
		n.closed = n.unwind()
	})
	return n.closed
}

// Failed is closed when the node can go on no longer (its log failed); Err says
// why. The node still has to be closed.
func (n *Node) Failed() <-chan struct{} { return n.failed }

// Err is the reason of Failed, nil while the node works.
func (n *Node) Err() error {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.err
}

// Ready is nil while the node serves.
func (n *Node) Ready() error {
	if err := n.Err(); err != nil {
		return err
	}
	if !n.ready.Load() {
		return ErrNotReady
	}
	return nil
}

// ID is the node's id, ClusterID that of its cluster.
func (n *Node) ID() ids.NodeID    { return n.identity.NodeID }
func (n *Node) ClusterID() string { return n.identity.ClusterID }

// KafkaAddr and AdminAddr are the addresses that were bound.
func (n *Node) KafkaAddr() string { return n.listener.Addr().String() }

// AdminAddr is where the admin HTTP server listens.
func (n *Node) AdminAddr() string { return n.admin.addr.String() }
