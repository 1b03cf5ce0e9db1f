package engine

import (
	"context"
	"sync/atomic"

	"dyno/engine/metadata"
)

// A node whose disk is full takes no entries, neither of clients nor of other
// leaders, and serves reads. In a cluster it says so in the metadata, as one does
// that is going to stop, and hands over what it leads: its partitions go on
// without it where a majority has room. It gets no leadership and no new replicas
// until there has been room for a while; then it registers again. Where nobody can
// take over it goes on leading, and refuses produce with KAFKA_STORAGE_ERROR.
//
// All this happens in the round of isr, and nobody else touches it.
type fullDisk struct {
	told      bool         // the metadata knows
	room      int          // rounds with room since
	handovers atomic.Int64 // leaderships that somebody was asked to take; read by anybody
}

// roomRounds is how many rounds of isr the disk must have room before the node
// takes leaderships again.
const roomRounds = 5

// tendDisk does a round's work for a disk that is or was full.
func (i *isr) tendDisk(ctx context.Context) {
	n, d := i.node, &i.disk
	if !n.log.Full() {
		if d.room++; d.told && d.room >= roomRounds {
			if err := n.registerSelf(ctx); err != nil {
				n.cfg.Log.Warn("the disk has room, and the node could not register; it will be tried again", "node", n.identity.NodeID, "err", err)
				return
			}
			d.told = false
			n.cfg.Log.Info("the disk has room: leaderships are taken again", "node", n.identity.NodeID)
		}
		return
	}
	d.room = 0
	if !d.told && n.tellFull(ctx) {
		d.told = true
	}
	left, err := n.handOver(ctx)
	if err != nil || left == 0 {
		return
	}
	d.handovers.Add(int64(left))
	n.cfg.Log.Warn("the disk is full: leaderships are handed over", "node", n.identity.NodeID, "groups", left)
}

// tellFull says in the metadata that this node is to get no leaders. It does not
// wait until that is applied here, which a full log may put off.
func (n *Node) tellFull(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(ctx, drainFence)
	defer cancel()
	b, ok := n.meta.Image().Broker(n.identity.NodeID)
	if !ok {
		return false
	}
	_, err := n.ask(ctx, &metadata.FenceBroker{Node: b.Node, Incarnation: b.Incarnation, Drain: true})
	if err != nil {
		n.cfg.Log.Warn("the disk is full, and the metadata could not be told; it will be tried again", "node", n.identity.NodeID, "err", err)
	}
	return err == nil
}
