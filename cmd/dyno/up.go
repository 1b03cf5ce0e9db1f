package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"runtime"
	"strings"
	"time"

	"github.com/spf13/cobra"
)

// Offsets of a node's other ports from its Kafka port, and the limits of `up`.
const (
	raftPortOffset  = 100
	adminPortOffset = 200
	portMax         = 65535
	nodesMax        = 15 // the voters of the metadata group

	readyWaitMax = 2 * time.Minute // from start until every node serves
	readyEvery   = 20 * time.Millisecond
	stopWaitMax  = 30 * time.Second // from SIGTERM until a node is killed
)

// upFlags are those of `dyno up`.
type upFlags struct {
	nodes, port int
	data        string
	transport   string
	config      string
	json        bool
	leases      bool
}

// newUpCommand is `dyno up`.
func newUpCommand() *cobra.Command {
	var fl upFlags
	cmd := &cobra.Command{
		Use:   "up --data DIR [--nodes 3]",
		Short: "Run a local cluster, each node a child process",
		Long: `Run a local cluster on loopback until SIGINT or SIGTERM, each node a child process.
Node i listens for Kafka clients on kafka-port+i-1, for other nodes 100 above and for HTTP 200 above that. An empty or missing
DIR is formatted; one that dyno up made goes on. DIR/node-N holds node.yaml, with which dyno serve --config starts that node
alone, its data and its log. Once every node serves, the addresses are printed. The death of a node does not stop the others.`,
		Example: "  dyno up --nodes 3 --data ./cluster\n  dyno up --nodes 1 --data ./cluster --kafka-port 19092 --json",
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := fl.check(); err != nil {
				return err
			}
			return fl.run(cmd.Context(), cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
	f := cmd.Flags()
	f.SortFlags = false
	f.IntVar(&fl.nodes, "nodes", 1, "number of nodes")
	f.StringVar(&fl.data, "data", "", "directory of the cluster; made where missing")
	f.IntVar(&fl.port, "kafka-port", 9092, "Kafka port of node 1")
	f.StringVar(&fl.transport, "transport", "", transportHelp)
	f.StringVar(&fl.config, "config", "", "settings of all nodes, a file like node.yaml; what up decides itself is overwritten (default what DIR has)")
	f.BoolVar(&fl.leases, "leases", false, leasesHelp)
	f.BoolVar(&fl.json, "json", false, "print one JSON object instead of the bootstrap line")
	return cmd
}

func (fl *upFlags) check() error {
	switch {
	case fl.data == "":
		return usageError("up needs --data, the directory of the cluster")
	case fl.nodes < 1:
		return usageError("--nodes %d: want at least 1", fl.nodes)
	case fl.nodes > nodesMax:
		return usageError("--nodes %d: at most %d, for the ports of a local cluster lie %d apart", fl.nodes, nodesMax, raftPortOffset)
	case fl.port < 1 || fl.port+fl.nodes-1+adminPortOffset > portMax:
		return usageError("--kafka-port %d: want 1 to %d, for the ports %d above it are used too", fl.port, portMax-adminPortOffset-fl.nodes+1, adminPortOffset)
	}
	return nil
}

// run lays the directory, starts the nodes, tells their addresses once all
// serve, and waits for the end.
func (fl *upFlags) run(ctx context.Context, out, errs io.Writer) error {
	// The kernel ends the children when the thread that started them ends, so
	// that thread must live as long as they may: prctl(2), PR_SET_PDEATHSIG.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	set, err := fl.settings()
	if err != nil {
		return err
	}
	cluster, nodes, err := layCluster(fl.data, fl.nodes, fl.port, fl.leases, set)
	if err != nil {
		return err
	}
	exe, err := os.Executable()
	if err != nil {
		return nodeError(fmt.Errorf("find the dyno binary: %w", err))
	}
	kids := newChildren(len(nodes))
	defer func() { _ = kids.stop() }() // on the way out of an error that counts more
	for _, n := range nodes {
		if err := kids.start(exe, n); err != nil {
			return nodeError(err)
		}
	}
	if err := kids.awaitReady(ctx, cluster); ctx.Err() != nil {
		return kids.stop() // asked to end before it began
	} else if err != nil {
		return err
	}
	if err := fl.tell(out, kids.list); err != nil {
		return nodeError(err)
	}
	return kids.watch(ctx, errs)
}

// upNode is one node in what `dyno up --json` prints.
type upNode struct {
	ID     int32  `json:"id"`
	PID    int    `json:"pid"`
	Kafka  string `json:"kafka"`
	Raft   string `json:"raft"`
	Admin  string `json:"admin"`
	Config string `json:"config"`
}

func (fl *upFlags) tell(out io.Writer, kids []*child) error {
	var addrs []string
	var nodes []upNode
	for _, k := range kids {
		addrs = append(addrs, k.node.file.Kafka)
		nodes = append(nodes, upNode{
			ID: k.node.file.NodeID, PID: k.cmd.Process.Pid, Kafka: k.node.file.Kafka,
			Raft: k.node.file.Raft, Admin: k.node.file.Admin, Config: k.node.config,
		})
	}
	bootstrap := strings.Join(addrs, ",")
	if !fl.json {
		_, err := fmt.Fprintln(out, "bootstrap:", bootstrap)
		return err
	}
	return json.NewEncoder(out).Encode(struct {
		Bootstrap string   `json:"bootstrap"`
		Nodes     []upNode `json:"nodes"`
	}{bootstrap, nodes})
}
