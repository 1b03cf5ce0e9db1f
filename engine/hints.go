package engine

import (
	"net"
	"slices"
	"time"

	"dyno/engine/events"
	"dyno/engine/gossip"
	"dyno/engine/replica"
)

// What gossip is for here: peerAddr asks it where a node is, a node that it holds
// dead is a hint to the groups that follow it, and GET /cluster shows what it
// believes. Nothing else follows from it: who is fenced, a member or a leader is
// for the metadata and Raft to say.

// startGossip begins to look for the other nodes and to tell them of this one.
func (n *Node) startGossip(l net.Listener) (*gossip.Gossip, error) {
	meter := loadMeter{node: n}
	return gossip.Start(gossip.Config{
		Self: gossip.Info{
			Cluster: n.identity.clusterName(), Node: n.identity.NodeID, Directory: n.identity.Directory,
			Incarnation: uint64(n.cfg.Now().UnixNano()), Peer: n.raftAddr(),
			Kafka: n.cfg.AdvertisedKafka, Admin: n.cfg.AdminAddr, Rack: n.cfg.Rack,
		},
		Listener: l, Dial: n.dialPeer, Seeds: n.gossipSeeds, Load: meter.load, Changed: n.memberChanged,
		ProbeInterval: n.cfg.Gossip.ProbeInterval, NewsInterval: n.cfg.Gossip.NewsInterval,
		Log: n.cfg.Log,
	})
}

// announce tells the others what of this node has become known since the start.
func (n *Node) announce() error {
	if n.peers == nil {
		return nil
	}
	return n.peers.gossip.Announce(gossip.Info{
		Directory: n.identity.Directory, Kafka: n.cfg.AdvertisedKafka, Admin: n.cfg.AdminAddr, Rack: n.cfg.Rack,
	})
}

// gossipSeeds are the nodes that the configuration and the metadata know.
func (n *Node) gossipSeeds() []gossip.Seed {
	var out []gossip.Seed
	for _, p := range n.cfg.Peers {
		out = append(out, gossip.Seed{Node: p.Node, Peer: p.Raft})
	}
	for _, b := range n.meta.Image().Brokers() {
		if s := (gossip.Seed{Node: b.Node, Peer: b.Raft}); !slices.Contains(out, s) {
			out = append(out, s)
		}
	}
	return out
}

// memberChanged hears from gossip of another node.
func (n *Node) memberChanged(m gossip.Member) {
	n.notices.Event(events.MemberChanged{Node: m.Node, State: string(m.State), Peer: m.Peer})
	if m.State == gossip.Dead && n.metaOpen.Load() {
		n.raft.NodeDown(m.Node)
	}
}

// loadMeter measures what this node tells of its load. Owner: whoever calls load.
type loadMeter struct {
	node  *Node
	bytes int64 // received from clients until then
	at    time.Time
}

func (l *loadMeter) load() gossip.Load {
	n := l.node
	if !n.ready.Load() {
		return gossip.Load{}
	}
	var out gossip.Load
	for _, h := range n.hosts.list() {
		out.Replicas++
		if h.group.Status().State == replica.Leader {
			out.Leaders++
		}
	}
	bytes, now := n.front.Snapshot().BytesIn, time.Now()
	if !l.at.IsZero() {
		out.InBytes = int64(float64(bytes-l.bytes) / now.Sub(l.at).Seconds())
	}
	l.bytes, l.at = bytes, now
	if free, err := n.cfg.FS.Free(n.cfg.DataDir); err == nil {
		out.DiskFree = free
	}
	return out
}
