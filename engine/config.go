package engine

import (
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"time"

	"dyno/engine/events"
	"dyno/engine/ids"
	"dyno/engine/metadata"
	"dyno/engine/variants"
	"dyno/wal/vfs"
)

// Config is one node. The zero value of a field means the default it names;
// DataDir is required. It is not changed after Open.
type Config struct {
	// DataDir is the formatted data directory; see Format.
	DataDir string
	// NodeID and ClusterID, where given, must match the data directory.
	NodeID    ids.NodeID
	ClusterID string

	// Peers are all nodes of the cluster, this one among them, as they are when
	// the cluster is made; later the metadata knows better. Empty: the node is
	// a cluster of its own.
	Peers []Peer

	// Listen addresses, host:port; port 0 picks a free one. RaftAddr is for
	// peers and stays unused where there are none.
	KafkaAddr string // 127.0.0.1:9092
	RaftAddr  string // 127.0.0.1:9192
	AdminAddr string // 127.0.0.1:9292
	// AdvertisedKafka is what clients are told to connect to: the address
	// that KafkaAddr was bound to.
	AdvertisedKafka string
	Rack            string
	// PeerTransport is how Raft's messages travel: TransportTCP. All nodes of a
	// cluster have the same; others are refused.
	PeerTransport PeerTransport
	// PeerTLS, where set, is how peers prove who they are to each other: the
	// configuration of both ends.
	PeerTLS *tls.Config

	// Experiment makes the produce path, or the log's disk, another one than is shipped,
	// to measure what that costs: refused without variants.Config.OnlyToMeasure.
	Experiment variants.Config

	Gossip GossipConfig
	WAL    WALConfig
	Limits Limits
	// Broker are Kafka broker configs that hold where nothing was set at run
	// time, by name: num.partitions, log.retention.ms and so on.
	Broker map[string]string

	// FS is the disk: vfs.OS().
	FS vfs.FS
	// Log hears what an operator should: slog.Default().
	Log *slog.Logger
	// Listener hears rare events beside the log; nil for nobody.
	Listener events.Listener
	// Now is the wall clock: time.Now. What it is used for: see clock.go.
	Now func() time.Time
}

// PeerTransport names a way for Raft's messages between nodes. What else nodes say
// to each other is gRPC in any case.
type PeerTransport string

const (
	TransportTCP  PeerTransport = "tcp"  // frames of our own
	TransportGRPC PeerTransport = "grpc" // streams of gRPC, entries as they lie in memory
	// TransportGRPCStock is TransportGRPC with the messages as protoc's code marshals
	// them, an arm of an experiment. The two understand each other.
	TransportGRPCStock PeerTransport = "grpc-stock"
)

// Check says whether there is such a transport; "" is the default. Error: ErrConfig.
func (t PeerTransport) Check() error {
	switch t {
	case "", TransportTCP, TransportGRPC, TransportGRPCStock:
		return nil
	}
	return fmt.Errorf("%w: transport %q: want %s, %s or %s", ErrConfig, t, TransportTCP, TransportGRPC, TransportGRPCStock)
}

// WALConfig sizes the shared log.
type WALConfig struct {
	SegmentBytes int64 // 64 MiB
	// BudgetBytes is how much the log may hold before its oldest segment is
	// moved to per-partition files: 4 GiB.
	BudgetBytes int64
	// SpareSegments are kept zero-filled ahead of need: 2.
	SpareSegments int
	// MoveEvery is how often the log's size is compared with the budget when it is near:
	// 100 ms. Far from it a second may pass.
	MoveEvery time.Duration
	// TailBytes of the newest entries are kept in memory: 128 MiB.
	TailBytes int64
}

// GossipConfig says how often nodes look for each other, and so how soon they miss
// one; see package gossip.
type GossipConfig struct {
	ProbeInterval time.Duration // between two probes of a node: 1 s
	NewsInterval  time.Duration // between two rounds of news: 500 ms
}

// Limits bound what clients may make this node hold.
type Limits struct {
	RequestBytesMax int // one request frame: 100 MiB
	ConnectionsMax  int // 10,000
	// RetentionEvery is how often retention looks: 30 s.
	RetentionEvery time.Duration
	// CatchUpBytesPerSecond limits what this node sends to all replicas together that
	// lack more than what its memory holds, and snapshots: 256 MiB, NoLimit for no
	// limit. It must be well above what clients write: a replica that is behind gets
	// what is new the same way. See multiraft/pace.go.
	CatchUpBytesPerSecond int64
}

// NoLimit takes a limit away that has a default.
const NoLimit = -1

// Errors that Open and Format answer with; each text says what mends it.
var (
	ErrUnformatted = errors.New("data directory is not formatted")
	ErrForeign     = errors.New("data directory belongs to another node or cluster")
	ErrNewer       = errors.New("data directory was written by a newer dyno")
	ErrWiped       = errors.New("data directory lost its log")
	ErrFormatted   = errors.New("data directory is formatted already")
	ErrConfig      = errors.New("bad configuration")
	ErrNotReady    = errors.New("node is not ready")
)

func (c *Config) setDefaults() {
	def := func(s *string, v string) {
		if *s == "" {
			*s = v
		}
	}
	def(&c.KafkaAddr, "127.0.0.1:9092")
	def(&c.RaftAddr, "127.0.0.1:9192")
	def(&c.AdminAddr, "127.0.0.1:9292")
	orDefault(&c.PeerTransport, TransportTCP)
	orDefault(&c.Gossip.ProbeInterval, time.Second)
	orDefault(&c.Gossip.NewsInterval, 500*time.Millisecond)
	orDefault(&c.WAL.SegmentBytes, 64<<20)
	orDefault(&c.WAL.BudgetBytes, 4<<30)
	orDefault(&c.WAL.SpareSegments, 2)
	orDefault(&c.WAL.MoveEvery, 100*time.Millisecond)
	orDefault(&c.WAL.TailBytes, 128<<20)
	orDefault(&c.Limits.RequestBytesMax, 100<<20)
	orDefault(&c.Limits.ConnectionsMax, 10_000)
	orDefault(&c.Limits.RetentionEvery, 30*time.Second)
	orDefault(&c.Limits.CatchUpBytesPerSecond, 256<<20)
	if c.FS == nil {
		c.FS = vfs.OS()
	}
	if c.Log == nil {
		c.Log = slog.Default()
	}
	if c.Now == nil {
		c.Now = time.Now
	}
}

func orDefault[T comparable](p *T, v T) {
	var zero T
	if *p == zero {
		*p = v
	}
}

func (c *Config) validate() error {
	if c.DataDir == "" {
		return fmt.Errorf("%w: no data directory", ErrConfig)
	}
	addrs := []struct{ name, addr string }{
		{"kafka", c.KafkaAddr}, {"raft", c.RaftAddr}, {"admin", c.AdminAddr}, {"advertised", c.AdvertisedKafka},
	}
	for _, a := range addrs {
		if a.addr == "" {
			continue
		}
		if _, _, err := net.SplitHostPort(a.addr); err != nil {
			return fmt.Errorf("%w: %s address %q: want host:port", ErrConfig, a.name, a.addr)
		}
	}
	if err := checkPeers(c.Peers); err != nil {
		return err
	}
	if err := c.PeerTransport.Check(); err != nil {
		return err
	}
	if err := c.Experiment.Check(); err != nil {
		return fmt.Errorf("%w: %w", ErrConfig, err)
	}
	if strings.ContainsAny(c.ClusterID, " \t\n/") {
		return fmt.Errorf("%w: cluster id %q: no spaces or slashes", ErrConfig, c.ClusterID)
	}
	for _, l := range []struct {
		name  string
		value int64
	}{
		{"WAL segment bytes", c.WAL.SegmentBytes}, {"WAL spare segments", int64(c.WAL.SpareSegments)}, {"WAL tail bytes", c.WAL.TailBytes},
		{"gossip probe interval", int64(c.Gossip.ProbeInterval)}, {"gossip news interval", int64(c.Gossip.NewsInterval)},
		{"WAL move interval", int64(c.WAL.MoveEvery)}, {"request bytes", int64(c.Limits.RequestBytesMax)},
		{"connections", int64(c.Limits.ConnectionsMax)}, {"retention interval", int64(c.Limits.RetentionEvery)},
		{"catch-up bytes per second", c.Limits.CatchUpBytesPerSecond - NoLimit},
	} {
		if l.value < 0 {
			return fmt.Errorf("%w: %s %d: below zero", ErrConfig, l.name, l.value)
		}
	}
	if c.WAL.BudgetBytes < 2*c.WAL.SegmentBytes {
		return fmt.Errorf("%w: WAL budget %d is below two segments of %d bytes", ErrConfig, c.WAL.BudgetBytes, c.WAL.SegmentBytes)
	}
	if err := metadata.CheckStatic(c.Broker); err != nil {
		return fmt.Errorf("%w: %w", ErrConfig, err)
	}
	for _, k := range []string{"broker.id", "broker.rack"} {
		if _, ok := c.Broker[k]; ok {
			return fmt.Errorf("%w: %s cannot be set as a broker config: it follows from the node's id and rack", ErrConfig, k)
		}
	}
	return nil
}

// checkPeers refuses a list of nodes that names one twice or no address.
func checkPeers(list []Peer) error {
	for i, p := range list {
		if p.Node <= 0 {
			return fmt.Errorf("%w: peer with node id %d", ErrConfig, p.Node)
		}
		if _, _, err := net.SplitHostPort(p.Raft); err != nil {
			return fmt.Errorf("%w: peer %d at %q: want host:port", ErrConfig, p.Node, p.Raft)
		}
		for _, o := range list[:i] {
			if o.Node == p.Node || o.Raft == p.Raft {
				return fmt.Errorf("%w: peers %d and %d are the same node or at the same address", ErrConfig, o.Node, p.Node)
			}
		}
	}
	return nil
}
