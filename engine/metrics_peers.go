package engine

import (
	"slices"
	"strconv"

	"github.com/prometheus/client_golang/prometheus"

	"dyno/engine/gossip"
	"dyno/engine/transport"
	grpctransport "dyno/engine/transport/grpc"
	"dyno/engine/transport/tcp"
)

// collectPeers tells of the connections to other nodes; zeros on a node that has
// none.
func (c *collector) collectPeers(ch chan<- prometheus.Metric) {
	var s tcp.Stats
	if c.node.peers != nil {
		s = c.node.peers.stats()
	}
	count(ch, "dyno_peer_sent_messages_total", "Raft messages sent to other nodes.", s.SentMessages)
	count(ch, "dyno_peer_sent_bytes_total", "Bytes sent to other nodes, framing included.", s.SentBytes)
	count(ch, "dyno_peer_sent_frames_total", "Frames sent to other nodes.", s.SentFrames)
	count(ch, "dyno_peer_writes_total", "Calls of writev to other nodes.", s.Writes)
	count(ch, "dyno_peer_received_messages_total", "Raft messages received.", s.ReceivedMessages)
	count(ch, "dyno_peer_received_bytes_total", "Bytes received from other nodes.", s.ReceivedBytes)
	count(ch, "dyno_peer_reads_total", "Reads of sockets to other nodes.", s.Reads)
	count(ch, "dyno_peer_dropped_messages_total", "Raft messages dropped; Raft sends them again.", s.Overflowed, "reason", "queue_full")
	count(ch, "dyno_peer_dropped_messages_total", "Raft messages dropped; Raft sends them again.", s.Unreachable, "reason", "unreachable")
	count(ch, "dyno_peer_dropped_messages_total", "Raft messages dropped; Raft sends them again.", s.TooLarge, "reason", "too_large")
	count(ch, "dyno_peer_connects_total", "Connections made to other nodes.", s.Connects)
	count(ch, "dyno_peer_connects_failed_total", "Attempts to connect to other nodes that failed.", s.ConnectsFailed)
	count(ch, "dyno_peer_lost_total", "Connections to other nodes that broke.", s.Lost)
	count(ch, "dyno_peer_refused_total", "Connections of others refused.", s.Refused.ForeignCluster, "reason", "foreign_cluster")
	count(ch, "dyno_peer_refused_total", "Connections of others refused.", s.Refused.WrongNode, "reason", "wrong_node")
	count(ch, "dyno_peer_refused_total", "Connections of others refused.", s.Refused.Version, "reason", "version")
	count(ch, "dyno_peer_refused_total", "Connections of others refused.", s.Refused.Garbage+s.Refused.Slow+s.Refused.Limit, "reason", "other")
	count(ch, "dyno_peer_broken_frames_total", "Connections given up for a damaged frame.", s.Corrupt+s.Malformed+s.FrameTooLarge)
	for _, p := range c.node.raft.Neighbors() {
		node, silent := strconv.Itoa(int(p.Node)), 0
		if p.Silent {
			silent = 1
		}
		gauge(ch, "dyno_peer_silent", "1 while a node was not heard for an election timeout.", silent, "peer", node)
		count(ch, "dyno_peer_silences_total", "Times a node was not heard for an election timeout.", p.Lost, "peer", node)
	}
	for _, p := range s.Peers {
		node := strconv.Itoa(int(p.Node))
		for lane := range p.Lanes {
			l := &p.Lanes[lane]
			up := 0
			if l.Connected {
				up = 1
			}
			name := transport.Lane(lane).String()
			gauge(ch, "dyno_peer_connected", "1 while the lane to a node is connected.", up, "peer", node, "lane", name)
			gauge(ch, "dyno_peer_queue_bytes", "Bytes that wait for a lane to a node.", l.QueueBytes, "peer", node, "lane", name)
		}
	}
}

// asFrames is what a transport over gRPC has counted, in the words of the other
// one. How often a socket was read or written only gRPC knows.
func asFrames(g grpctransport.Stats) tcp.Stats {
	s := tcp.Stats{
		Connects: g.Connects, ConnectsFailed: g.Failures, Lost: g.Losses, Inbound: g.Streams, Replaced: g.Replaced, Malformed: g.Malformed,
		Refused: tcp.Refusals{ForeignCluster: g.ForeignCluster, WrongNode: g.WrongNode, Version: g.Version, Limit: g.StreamLimit},
	}
	for i := range g.Lanes {
		l := &g.Lanes[i]
		s.SentMessages += l.Sent
		s.SentFrames += l.SentFrames
		s.SentBytes += l.SentBytes
		s.ReceivedMessages += l.Received
		s.ReceivedFrames += l.ReceivedFrames
		s.ReceivedBytes += l.ReceivedBytes
		s.Overflowed += l.Overflowed
		s.TooLarge += l.TooLarge
		s.Unreachable += l.Unsent
	}
	for _, l := range g.Links {
		at := slices.IndexFunc(s.Peers, func(p tcp.PeerStats) bool { return p.Node == l.Node })
		if at < 0 {
			at = len(s.Peers)
			s.Peers = append(s.Peers, tcp.PeerStats{Node: l.Node})
		}
		s.Peers[at].Lanes[l.Lane] = tcp.LaneStats{Connected: l.Open, QueueBytes: l.QueuedBytes}
	}
	return s
}

// collectLag tells of the replicas of partitions that this node leads, by the node
// they live on, as of the last look, a second ago at most.
func (c *collector) collectLag(ch chan<- prometheus.Metric) {
	l := &c.node.isr.lags
	for why := range outReasons {
		count(ch, "dyno_isr_shrinks_total", "Replicas that fell out of sync with their leader here, by reason.", l.shrinks[why].Load(), "reason", why.String())
	}
	count(ch, "dyno_isr_expands_total", "Replicas that came in sync with their leader here.", l.expands.Load())
	last := l.last.Load()
	if last == nil {
		return
	}
	for node, of := range *last {
		peer := strconv.Itoa(int(node))
		gauge(ch, "dyno_replica_lag_entries_max", "Most entries that a replica on a node lacks of what its leader here has committed.", uint64(of.max), "peer", peer)
		for why, n := range of.out {
			gauge(ch, "dyno_replicas_out_of_sync", "Replicas on a node that are not in sync with their leader here, by reason.", n, "peer", peer, "reason", outReason(why).String())
		}
	}
}

// collectGossip tells what gossip believes and did; zeros on a node without others.
func (c *collector) collectGossip(ch chan<- prometheus.Metric) {
	var s gossip.Stats
	members := map[gossip.State]int{}
	if c.node.peers != nil {
		s = c.node.peers.gossip.Stats()
		for _, m := range c.node.peers.gossip.Members() {
			members[m.State]++
		}
	}
	for _, state := range gossip.States {
		gauge(ch, "dyno_gossip_members", "Nodes by what gossip believes of them, this one among them.", members[state], "state", string(state))
	}
	count(ch, "dyno_gossip_packets_total", "Packets of gossip.", s.PacketsIn, "direction", "in")
	count(ch, "dyno_gossip_packets_total", "Packets of gossip.", s.PacketsOut, "direction", "out")
	count(ch, "dyno_gossip_streams_total", "Comparisons of all that two nodes know.", s.StreamsIn, "direction", "in")
	count(ch, "dyno_gossip_streams_total", "Comparisons of all that two nodes know.", s.StreamsOut, "direction", "out")
	count(ch, "dyno_gossip_dropped_packets_total", "Packets that did not leave.", s.Overflowed, "reason", "queue_full")
	count(ch, "dyno_gossip_dropped_packets_total", "Packets that did not leave.", s.Lost, "reason", "unreachable")
	count(ch, "dyno_gossip_dials_failed_total", "Attempts to connect for packets that failed.", s.DialsFailed)
	count(ch, "dyno_gossip_refused_total", "Connections and members not taken.", s.Refused.ForeignCluster, "reason", "foreign_cluster")
	count(ch, "dyno_gossip_refused_total", "Connections and members not taken.", s.Refused.Malformed, "reason", "malformed")
	count(ch, "dyno_gossip_refused_total", "Connections and members not taken.", s.Refused.Limit, "reason", "limit")
}
