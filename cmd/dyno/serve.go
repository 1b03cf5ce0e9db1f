package main

import (
	"context"
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"time"

	"dyno/engine"

	"github.com/spf13/cobra"
)

// serveFlags are those of `dyno serve`.
type serveFlags struct {
	config string
	peers  string
	file   nodeFile // what the other flags say
}

// newServeCommand is `dyno serve`.
func newServeCommand() *cobra.Command {
	var fl serveFlags
	cmd := &cobra.Command{
		Use:   "serve --config node.yaml | --data DIR [--kafka ADDR …]",
		Short: "Run one broker until SIGINT or SIGTERM",
		Long: `Run one broker on a formatted data directory until SIGINT or SIGTERM.
Flags override the configuration file. Its keys: node_id, cluster_id, data, kafka, advertised_kafka, raft, admin, rack,
peers: [{node, raft}], all nodes of the cluster as it is made; transport; peer_tls: {ca, cert, key}, PEM files for mutual TLS between nodes;
gossip: {probe_interval, news_interval}, how often nodes look for each other;
experiment: {only_to_measure, lock, batch, poll, sync, nested}, the slow arms of the experiments rwlock and batching, and {sync_wait},
how much longer a sync of the log takes, as on a slower disk;
wal: {segment_bytes, budget_bytes, spare_segments, tail_bytes},
limits: {request_bytes_max, connections_max, retention_every, catch_up_bytes_per_second (to replicas that are far behind; 0 is no limit)}, broker: {Kafka broker configs by name}.
Exit codes: 0 stopped by a signal, 64 usage or configuration, 69 could not run.`,
		Example: "  dyno serve --config node.yaml\n  dyno serve --data ./data --kafka 127.0.0.1:9092 --admin 127.0.0.1:9292\n" +
			"  dyno serve --data ./data --raft 10.0.0.1:9192 --kafka 10.0.0.1:9092 --peers 1@10.0.0.1:9192,2@10.0.0.2:9192,3@10.0.0.3:9192",
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			f, err := fl.merge(cmd.Flags().Changed)
			if err != nil {
				return err
			}
			c, err := f.config()
			if err != nil {
				return err
			}
			c.Log = slog.New(slog.NewTextHandler(cmd.ErrOrStderr(), nil))
			return runServe(cmd.Context(), c)
		},
	}
	f := cmd.Flags()
	f.SortFlags = false
	f.StringVar(&fl.config, "config", "", "configuration file, YAML")
	f.Int32Var(&fl.file.NodeID, "node-id", 0, "must be the id that --data was formatted with; 0 takes that")
	f.StringVar(&fl.file.Data, "data", "", "formatted data directory")
	f.StringVar(&fl.file.Kafka, "kafka", "", "listen here for Kafka clients (default 127.0.0.1:9092)")
	f.StringVar(&fl.file.AdvertisedKafka, "advertised-kafka", "", "tell clients to connect here (default what --kafka was bound to)")
	f.StringVar(&fl.file.Raft, "raft", "", "listen here for other nodes (default 127.0.0.1:9192)")
	f.StringVar(&fl.file.Admin, "admin", "", "listen here for HTTP: /metrics, /healthz, /readyz, /status (default 127.0.0.1:9292)")
	f.StringVar(&fl.peers, "peers", "", "all nodes of the cluster, 1@raft-host:port,…")
	f.StringVar(&fl.file.Transport, "transport", "", transportHelp)
	return cmd
}

const transportHelp = "of Raft's messages between nodes, the same on all: tcp, grpc, or grpc-stock for experiments (default tcp)"

// merge reads the configuration file and puts the flags over it.
func (fl *serveFlags) merge(changed func(string) bool) (nodeFile, error) {
	f := fl.file
	if fl.config != "" {
		read, err := readNodeFile(fl.config)
		if err != nil {
			return f, err
		}
		f = read
		for _, o := range []struct {
			flag     string
			from, to *string
		}{
			{"data", &fl.file.Data, &f.Data}, {"kafka", &fl.file.Kafka, &f.Kafka}, {"raft", &fl.file.Raft, &f.Raft},
			{"advertised-kafka", &fl.file.AdvertisedKafka, &f.AdvertisedKafka}, {"admin", &fl.file.Admin, &f.Admin},
			{"transport", &fl.file.Transport, &f.Transport},
		} {
			if changed(o.flag) {
				*o.to = *o.from
			}
		}
		if changed("node-id") {
			f.NodeID = fl.file.NodeID
		}
	}
	switch {
	case f.Data == "":
		return f, usageError("serve needs --data, or --config with a file that names it; make one with: dyno format")
	case f.NodeID < 0:
		return f, usageError("node id %d: want a number from 1", f.NodeID)
	}
	if fl.peers == "" {
		return f, nil
	}
	peers, err := parsePeers(fl.peers)
	f.Peers = peers
	return f, err
}

// parsePeers reads 1@host:port,2@host:port,…
func parsePeers(s string) ([]peerFile, error) {
	var out []peerFile
	for _, p := range strings.Split(s, ",") {
		id, addr, ok := strings.Cut(p, "@")
		n, err := strconv.ParseInt(id, 10, 32)
		if !ok || err != nil || n < 1 || !strings.Contains(addr, ":") {
			return nil, usageError("--peers %q: want 1@host:port,2@host:port,…", p)
		}
		out = append(out, peerFile{Node: int32(n), Raft: addr})
	}
	return out, nil
}

// drainMax bounds how long a node that stops tries to hand over what it leads.
const drainMax = 10 * time.Second

// runServe runs one node until ctx ends or the node fails.
func runServe(ctx context.Context, c engine.Config) error {
	n, err := engine.Open(c)
	if err != nil {
		return nodeError(err)
	}
	select {
	case <-ctx.Done():
		c.Log.Info("stopping", "node", n.ID())
		drain, cancel := context.WithTimeout(context.Background(), drainMax)
		defer cancel()
		if err := n.Drain(drain); err != nil {
			c.Log.Warn("stopping without having handed everything over", "node", n.ID(), "err", err)
		}
		return nodeError(n.Close())
	case <-n.Failed():
		_ = n.Close() // what it failed of is the error that counts
		return nodeError(fmt.Errorf("node %d failed: %w", n.ID(), n.Err()))
	}
}
