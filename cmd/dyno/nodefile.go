package main

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"time"

	"dyno/engine"
	"dyno/engine/ids"
	"dyno/engine/variants"

	"github.com/goccy/go-yaml"
)

// nodeFile is a node's configuration file. A key that is not here is an error;
// one that is left out means the default of engine.Config.
type nodeFile struct {
	NodeID          int32             `yaml:"node_id"`
	ClusterID       string            `yaml:"cluster_id,omitempty"`
	Data            string            `yaml:"data"`
	Kafka           string            `yaml:"kafka,omitempty"`            // host:port, like the next three
	AdvertisedKafka string            `yaml:"advertised_kafka,omitempty"` // what clients are told
	Raft            string            `yaml:"raft,omitempty"`
	Admin           string            `yaml:"admin,omitempty"`
	Rack            string            `yaml:"rack,omitempty"`
	Peers           []peerFile        `yaml:"peers,omitempty"`     // all nodes, this one among them
	Transport       string            `yaml:"transport,omitempty"` // of Raft's messages: tcp, grpc or grpc-stock, the same on all nodes
	PeerTLS         tlsFile           `yaml:"peer_tls,omitempty"`
	Experiment      experimentFile    `yaml:"experiment,omitempty"`
	Gossip          gossipFile        `yaml:"gossip,omitempty"`
	WAL             walFile           `yaml:"wal,omitempty"`
	Limits          limitsFile        `yaml:"limits,omitempty"`
	Broker          map[string]string `yaml:"broker,omitempty"` // Kafka broker configs by name
}

// peerFile is one node of the cluster.
type peerFile struct {
	Node int32  `yaml:"node"`
	Raft string `yaml:"raft"` // host:port
}

// tlsFile names the PEM files with which nodes prove to each other who they are:
// all three, or none for plain connections.
type tlsFile struct {
	CA   string `yaml:"ca,omitempty"`
	Cert string `yaml:"cert,omitempty"`
	Key  string `yaml:"key,omitempty"`
}

// config loads the files. Both ends of a connection want a certificate of the
// authority from the other; names are not compared, for nodes are known by id.
func (t *tlsFile) config() (*tls.Config, error) {
	if *t == (tlsFile{}) {
		return nil, nil
	}
	if t.CA == "" || t.Cert == "" || t.Key == "" {
		return nil, usageError("peer_tls needs ca, cert and key")
	}
	ca, err := os.ReadFile(t.CA)
	if err != nil {
		return nil, usageError("peer_tls: %w", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(ca) {
		return nil, usageError("peer_tls: no certificate in %s", t.CA)
	}
	pair, err := tls.LoadX509KeyPair(t.Cert, t.Key)
	if err != nil {
		return nil, usageError("peer_tls: %w", err)
	}
	return engine.MutualTLS(pair, pool), nil
}

// experimentFile makes the node an arm of an experiment; see package variants.
type experimentFile struct {
	OnlyToMeasure bool   `yaml:"only_to_measure,omitempty"` // without it the rest is refused
	Lock          string `yaml:"lock,omitempty"`            // read, read-writer, mutex, exclusive, partition
	Batch         string `yaml:"batch,omitempty"`           // single, timer, window
	Poll          string `yaml:"poll,omitempty"`            // 10ms
	Sync          string `yaml:"sync,omitempty"`            // each
	Nested        bool   `yaml:"nested,omitempty"`

	SyncWait time.Duration `yaml:"sync_wait,omitempty"` // at most 500ms
}

func (e *experimentFile) config() variants.Config {
	return variants.Config{
		OnlyToMeasure: e.OnlyToMeasure, Lock: variants.Lock(e.Lock), Batch: variants.Batch(e.Batch),
		Poll: variants.Poll(e.Poll), Sync: variants.Sync(e.Sync), Nested: e.Nested, SyncWait: e.SyncWait,
	}
}

// gossipFile says how often nodes look for each other: longer where the way between
// them is.
type gossipFile struct {
	ProbeInterval time.Duration `yaml:"probe_interval,omitempty"`
	NewsInterval  time.Duration `yaml:"news_interval,omitempty"`
}

type walFile struct {
	SegmentBytes  int64 `yaml:"segment_bytes,omitempty"`
	BudgetBytes   int64 `yaml:"budget_bytes,omitempty"`
	SpareSegments int   `yaml:"spare_segments,omitempty"`
	TailBytes     int64 `yaml:"tail_bytes,omitempty"`
}

type limitsFile struct {
	RequestBytesMax int           `yaml:"request_bytes_max,omitempty"`
	ConnectionsMax  int           `yaml:"connections_max,omitempty"`
	RetentionEvery  time.Duration `yaml:"retention_every,omitempty"`
	// CatchUpBytesPerSecond: 0 is no limit, left out is the default.
	CatchUpBytesPerSecond *int64 `yaml:"catch_up_bytes_per_second,omitempty"`
}

// catchUp is engine.Limits.CatchUpBytesPerSecond.
func (l *limitsFile) catchUp() int64 {
	switch n := l.CatchUpBytesPerSecond; {
	case n == nil:
		return 0
	case *n == 0:
		return engine.NoLimit
	case *n < 0: // to be refused, not to be taken for no limit
		return *n + engine.NoLimit
	default:
		return *n
	}
}

// readNodeFile reads a configuration file; a mistake in it is told with line
// and column.
func readNodeFile(name string) (nodeFile, error) {
	var f nodeFile
	b, err := os.ReadFile(name)
	if err != nil {
		return f, usageError("read the configuration: %w", err)
	}
	if err := yaml.UnmarshalWithOptions(b, &f, yaml.Strict()); err != nil {
		return f, &exitError{exitUsage, atLine(name, err)}
	}
	return f, nil
}

// atLine puts file, line and column before a YAML error, on one line.
func atLine(name string, err error) error {
	var y yaml.Error
	if !errors.As(err, &y) {
		return fmt.Errorf("%s: %w", name, err)
	}
	pos := name
	if t := y.GetToken(); t != nil && t.Position != nil {
		pos = fmt.Sprintf("%s:%d:%d", name, t.Position.Line, t.Position.Column)
	}
	return fmt.Errorf("%s: %s", pos, y.GetMessage())
}

// write makes the file, whole or not at all: one that is cut off would stop the
// node from starting again.
func (f *nodeFile) write(name string) error {
	b, err := yaml.Marshal(f)
	if err != nil {
		return fmt.Errorf("write %s: %w", name, err)
	}
	if err := os.WriteFile(name+".tmp", b, 0o644); err != nil {
		return err
	}
	return os.Rename(name+".tmp", name)
}

func (f *nodeFile) config() (engine.Config, error) {
	secure, err := f.PeerTLS.config()
	if err != nil {
		return engine.Config{}, err
	}
	var peers []engine.Peer
	for _, p := range f.Peers {
		peers = append(peers, engine.Peer{Node: ids.NodeID(p.Node), Raft: p.Raft})
	}
	return engine.Config{
		Experiment: f.Experiment.config(),
		Peers:      peers, PeerTransport: engine.PeerTransport(f.Transport), PeerTLS: secure,
		DataDir: f.Data, NodeID: ids.NodeID(f.NodeID), ClusterID: f.ClusterID,
		KafkaAddr: f.Kafka, RaftAddr: f.Raft, AdminAddr: f.Admin, AdvertisedKafka: f.AdvertisedKafka, Rack: f.Rack,
		Gossip: engine.GossipConfig{ProbeInterval: f.Gossip.ProbeInterval, NewsInterval: f.Gossip.NewsInterval},
		WAL: engine.WALConfig{
			SegmentBytes: f.WAL.SegmentBytes, BudgetBytes: f.WAL.BudgetBytes,
			SpareSegments: f.WAL.SpareSegments, TailBytes: f.WAL.TailBytes,
		},
		Limits: engine.Limits{
			RequestBytesMax: f.Limits.RequestBytesMax, ConnectionsMax: f.Limits.ConnectionsMax,
			RetentionEvery: f.Limits.RetentionEvery, CatchUpBytesPerSecond: f.Limits.catchUp(),
		},
		Broker: f.Broker,
	}, nil
}
