package engine

import (
	"context"

	"dyno/engine/ids"
	"dyno/engine/metadata"
	"dyno/engine/multiraft"
)

// The node that leads the metadata group is the controller: it fences a broker
// whose node has not answered it for fenceSilence, so that clients are told no
// leader or replica there and new partitions go elsewhere. A fenced node that
// lives registers again, which lifts the fence. Both happen in the round of isr.

// fenceSilence is how long a node may be silent: Kafka's broker.session.timeout.ms.
const fenceSilence = isrSilence - isrSilence/10 // before its partitions lose it from their sets

// fence proposes a fence for every silent node, and registers this node again if
// somebody fenced it. meta is the view of the metadata group, nil where another
// node leads it.
func (i *isr) fence(ctx context.Context, meta *isrView) {
	n := i.node
	img := n.meta.Image()
	if self, ok := img.Broker(n.identity.NodeID); ok && self.Fenced && n.controller() != 0 {
		if err := n.registerSelf(ctx); err != nil {
			n.cfg.Log.Warn("fenced, and could not register again; it will be tried again", "node", n.identity.NodeID, "err", err)
		}
		i.disk.told = false // registering lifted that, too
	}
	if meta == nil {
		return
	}
	silence := int(fenceSilence / multiraft.TickDefault)
	for _, m := range meta.members {
		node := i.nodeOf(m.ID)
		b, ok := img.Broker(node)
		if m.Silent <= silence || !ok || b.Fenced || node == n.identity.NodeID {
			continue
		}
		if _, err := n.change(ctx, &metadata.FenceBroker{Node: node, Incarnation: b.Incarnation}); err != nil {
			n.cfg.Log.Warn("a silent node could not be fenced; it will be tried again", "node", n.identity.NodeID, "silent", node, "err", err)
			continue
		}
		n.cfg.Log.Warn("fenced a node that does not answer", "node", n.identity.NodeID, "silent", node, "for", fenceSilence)
	}
}

func (i *isr) nodeOf(r ids.ReplicaID) ids.NodeID {
	for _, m := range i.node.metaMembers() {
		if m.ID == r {
			return m.Node
		}
	}
	return 0
}
