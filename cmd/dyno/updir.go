package main

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"reflect"
	"strconv"

	"dyno/engine"
	"dyno/engine/ids"
	"dyno/wal/vfs"

	"github.com/goccy/go-yaml"
)

// clusterName marks a directory as one of `dyno up`'s own. It is written first:
// a directory with it may be half laid, and is then finished.
const clusterName = "cluster.yaml"

// clusterFile is what it holds.
type clusterFile struct {
	ClusterID string `yaml:"cluster_id"`
	Nodes     int    `yaml:"nodes"`
	Leases    bool   `yaml:"leases,omitempty"` // engine.Leases
}

// upDir is the directory of one node below that of the cluster.
type upDir struct {
	dir, config string
	file        nodeFile
}

// settings gives what the flags change in a node's configuration, and refuses what
// no node would start with.
func (fl *upFlags) settings() (func(*nodeFile), error) {
	common, err := &nodeFile{}, error(nil)
	if fl.config != "" {
		if *common, err = readNodeFile(fl.config); err != nil {
			return nil, err
		}
	}
	set := func(f *nodeFile) {
		if fl.config != "" {
			*f = *common
		}
		if fl.transport != "" {
			f.Transport = fl.transport
		}
	}
	set(common)
	c, err := common.config()
	if err == nil {
		err = nodeError(c.PeerTransport.Check())
	}
	if err == nil {
		if bad := c.Experiment.Check(); bad != nil {
			err = usageError("%w", bad)
		}
	}
	return set, err
}

// layCluster makes dir a cluster directory, or checks that it is one of that
// many nodes, and brings every node's configuration to the ports asked for and to
// what set makes of it.
func layCluster(dir string, nodes, port int, leases bool, set func(*nodeFile)) (clusterID string, laid []upDir, err error) {
	if dir, err = filepath.Abs(dir); err != nil {
		return "", nil, nodeError(err)
	}
	c, err := ownCluster(dir, nodes, leases)
	if err != nil {
		return "", nil, err
	}
	for i := range nodes {
		n, err := layNode(dir, c, i+1, port+i, localPeers(nodes, port), set)
		if err != nil {
			return "", nil, err
		}
		laid = append(laid, n)
	}
	return c.ClusterID, laid, nil
}

// ownCluster reads the mark of dir, or makes it in an empty one.
func ownCluster(dir string, nodes int, leases bool) (clusterFile, error) {
	var c clusterFile
	name := filepath.Join(dir, clusterName)
	b, err := os.ReadFile(name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return newCluster(dir, name, nodes, leases)
	case err != nil:
		return c, nodeError(fmt.Errorf("read %s: %w", name, err))
	}
	if err := yaml.UnmarshalWithOptions(b, &c, yaml.Strict()); err != nil {
		return c, &exitError{exitUnavailable, atLine(name, err)}
	}
	if c.ClusterID == "" || c.Nodes != nodes {
		return c, usageError("%s holds a cluster of %d nodes, not %d; use --nodes %d, or another --data", dir, c.Nodes, nodes, c.Nodes)
	}
	if leases && !c.Leases {
		return c, usageError("%s holds a cluster without leases, which cannot get them; use another --data", dir)
	}
	return c, nil
}

func newCluster(dir, name string, nodes int, leases bool) (clusterFile, error) {
	c := clusterFile{ClusterID: newClusterID(), Nodes: nodes, Leases: leases}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return c, nodeError(fmt.Errorf("make the cluster's directory: %w", err))
	}
	there, err := os.ReadDir(dir)
	if err != nil {
		return c, nodeError(err)
	}
	if len(there) > 0 {
		return c, &exitError{exitUnavailable, fmt.Errorf("%s is neither empty nor made by dyno up; choose another --data, or run the node in it with: dyno serve --data", dir)}
	}
	b, err := yaml.Marshal(c)
	if err == nil {
		err = os.WriteFile(name+".tmp", b, 0o644)
	}
	if err == nil {
		err = os.Rename(name+".tmp", name)
	}
	return c, nodeError(err)
}

func local(port int) string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(port)) }

// localPeers are the nodes of a local cluster; one that is alone has none.
func localPeers(nodes, port int) []peerFile {
	if nodes == 1 {
		return nil
	}
	var out []peerFile
	for i := range nodes {
		out = append(out, peerFile{Node: int32(i + 1), Raft: local(port + i + raftPortOffset)})
	}
	return out
}

// layNode formats a node's data where that was not done yet, and writes its
// configuration. Settings somebody added to the file stay.
func layNode(cluster string, c clusterFile, id, port int, peers []peerFile, set func(*nodeFile)) (upDir, error) {
	n := upDir{dir: filepath.Join(cluster, "node-"+strconv.Itoa(id))}
	n.config = filepath.Join(n.dir, "node.yaml")
	data := filepath.Join(n.dir, "data")
	if err := os.MkdirAll(n.dir, 0o755); err != nil {
		return n, nodeError(fmt.Errorf("make the node's directory: %w", err))
	}
	_, err := engine.ReadMeta(vfs.OS(), data)
	if errors.Is(err, engine.ErrUnformatted) {
		var options []engine.FormatOption
		if c.Leases {
			options = append(options, engine.Leases)
		}
		err = engine.Format(vfs.OS(), data, c.ClusterID, ids.NodeID(id), options...)
	}
	if err != nil {
		return n, nodeError(err)
	}
	if _, err := os.Stat(n.config); err == nil {
		if n.file, err = readNodeFile(n.config); err != nil {
			return n, err
		}
	}
	before := n.file
	set(&n.file)
	at := func(offset int) string { return local(port + offset) }
	n.file.Peers = peers
	n.file.NodeID, n.file.ClusterID, n.file.Data = int32(id), c.ClusterID, data
	n.file.Kafka, n.file.Raft, n.file.Admin = at(0), at(raftPortOffset), at(adminPortOffset)
	if reflect.DeepEqual(before, n.file) {
		return n, nil
	}
	return n, nodeError(n.file.write(n.config))
}
