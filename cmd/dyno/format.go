package main

import (
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"strings"

	"dyno/engine"
	"dyno/engine/ids"
	"dyno/wal/vfs"

	"github.com/spf13/cobra"
)

// formatFlags are those of `dyno format`.
type formatFlags struct {
	data, cluster string
	node          int32
	rejoin        bool
	leases        bool
}

// newFormatCommand is `dyno format`.
func newFormatCommand() *cobra.Command {
	var fl formatFlags
	cmd := &cobra.Command{
		Use:   "format --data DIR --cluster-id ID --node-id N",
		Short: "Make a directory the data directory of one node of one cluster",
		Long: `Make a directory the data directory of one node of one cluster. It refuses a directory that is formatted already.
With --rejoin it is for a node that the cluster knows and that has lost its directory: when the node starts, the others take it
back with an empty log, give it other replicas, and send it what they hold. They refuse while they are no majority without it.`,
		Example: "  dyno format --data ./data --cluster-id lab --node-id 1\n  dyno format --rejoin --data ./data --cluster-id lab --node-id 3",
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := fl.check(); err != nil {
				return err
			}
			var options []engine.FormatOption
			if fl.rejoin {
				options = append(options, engine.Rejoin)
			}
			if fl.leases {
				options = append(options, engine.Leases)
			}
			if err := engine.Format(vfs.OS(), fl.data, fl.cluster, ids.NodeID(fl.node), options...); err != nil {
				return nodeError(err)
			}
			fmt.Fprintf(cmd.OutOrStdout(), "formatted %s for node %d of cluster %s\n", fl.data, fl.node, fl.cluster)
			return nil
		},
	}
	f := cmd.Flags()
	f.StringVar(&fl.data, "data", "", "directory to format; made where missing")
	f.StringVar(&fl.cluster, "cluster-id", "", "the cluster's id, the same for all its nodes")
	f.Int32Var(&fl.node, "node-id", 0, "the node's id, from 1, one of its own in the cluster")
	f.BoolVar(&fl.rejoin, "rejoin", false, "the cluster knows the node, which has lost its directory")
	f.BoolVar(&fl.leases, "leases", false, leasesHelp)
	return cmd
}

const leasesHelp = "leaders of partitions read by a lease instead of asking a majority; of the cluster, for ever: with all its nodes or none"

func (fl *formatFlags) check() error {
	switch {
	case fl.data == "":
		return usageError("format needs --data, the directory to format")
	case fl.cluster == "":
		return usageError("format needs --cluster-id, one id for all nodes of the cluster; a new cluster could be %s", newClusterID())
	case strings.ContainsAny(fl.cluster, " \t\n/"):
		return usageError("cluster id %q: no spaces or slashes", fl.cluster)
	case fl.node <= 0:
		return usageError("format needs --node-id, a number from 1 that no other node of the cluster has")
	}
	return nil
}

// newClusterID draws an id that no other cluster has.
func newClusterID() string {
	var b [8]byte
	_, _ = rand.Read(b[:]) // never fails, see crypto/rand
	return hex.EncodeToString(b[:])
}
