package engine

import (
	"context"

	"dyno/engine/metadata"
	"dyno/engine/multiraft"
	"dyno/engine/variants"
	"dyno/wal"
	"dyno/wal/vfs"

	"github.com/prometheus/client_golang/prometheus"
)

// What Config.Experiment changes beyond a partition's Append: see package variants.

// raftLog is the log as the groups write to it.
func (n *Node) raftLog() multiraft.Log {
	if !n.cfg.Experiment.Shipped() {
		n.cfg.Log.Warn("this node is an arm of an experiment, slow on purpose", "node", n.identity.NodeID, "arm", n.cfg.Experiment)
	}
	if n.cfg.Experiment.Sync != variants.SyncEach {
		return n.log
	}
	each := variants.NewEachSync(n.log)
	n.onClose(each.Close)
	return eachLog{n.log, each}
}

// logDisk is where the log lies.
func (n *Node) logDisk() vfs.FS {
	if wait := n.cfg.Experiment.SyncWait; wait > 0 {
		return vfs.Slow(n.cfg.FS, wait)
	}
	return n.cfg.FS
}

// eachLog is the log with other submissions.
type eachLog struct {
	*wal.Log
	each *variants.EachSync
}

// Submit implements multiraft.Log.
func (l eachLog) Submit(a *wal.Append) error { return l.each.Submit(a) }

// nested commits one entry through the metadata group, at whichever node leads it, as
// the origin did with every high watermark. A producer id is the cheapest thing there
// is to change: nobody misses one.
func (n *Node) nested(ctx context.Context) error {
	_, err := n.ask(ctx, &metadata.AllocateProducerIDs{Node: n.identity.NodeID, Count: 1})
	return err
}

// collectArm tells what an arm counted; nothing as shipped.
func (c *collector) collectArm(ch chan<- prometheus.Metric) {
	if c.node.cfg.Experiment.Shipped() {
		return
	}
	s := c.node.arm.Stats()
	count(ch, "dyno_experiment_requests_total", "Batches that went through the arm of an experiment.", s.Requests)
	count(ch, "dyno_experiment_nested_commits_total", "Commits in the metadata group before an answer.", s.Nested)
	count(ch, "dyno_experiment_lock_writes_total", "Times the arm's lock was taken for writing.", s.Writes)
	count(ch, "dyno_experiment_gathered_total", "Gathered batches of requests by what ended them.", s.ByTime, "by", "time")
	count(ch, "dyno_experiment_gathered_total", "Gathered batches of requests by what ended them.", s.ByNumber, "by", "number")
}
