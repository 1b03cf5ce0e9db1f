// Package gossip lets the nodes of a cluster find each other, tell each other
// where they are and how loaded they are, and notice which are gone. It is
// hashicorp/memberlist (SWIM) over the port for peers.
//
// It decides nothing. What it believes is a hint: no fence, no vote, no
// membership and no leader follows from it. An address that it gives is one to
// try; the handshake of whoever dials it says which cluster and node live there.
//
// # The caller's duties, in order
//
//  1. Start(Config). Connections that begin with Magic go to Config.Listener.
//  2. Announce when something that the node says of itself becomes known.
//  3. Members and Lookup as often as wanted: they read a finished list.
//  4. Close once: it leaves, waits for every goroutine, and leaves the listener's
//     port to its owner.
//
// # Who does what
//
//	run     when there is news of a member: reads the state of all from memberlist
//	        (view.go), publishes the list, tells Changed; every ten seconds
//	        announces the load, if it changed
//	joiner  while a seed is not among the living: dials it (join.go)
//	wire    carries memberlist's packets and streams (wire.go, accept.go)
//
// A member is one life of a node, named 3@host:9192#18c2f: node id, address for
// peers, when it started. So a node that starts again, here or elsewhere, is a new
// member at once, whatever is still believed of the old one; of the lives of a node
// the list shows the latest that is alive. Packets are routed by that name alone:
// the IP addresses that memberlist hands around are a placeholder.
//
// # Format
//
// All numbers are uv, varints of encoding/binary, unless said otherwise.
//
//	hello    "DYG1", kind u8 ('p' or 's'), len u8, cluster id
//	answer   u8: 0, or 1 for another cluster, after which the connection is closed
//	packets  then, after 'p', from the side that dialled: length u16 big-endian, a
//	         packet of memberlist; again and again
//	stream   then, after 's', what memberlist says in both directions
//	meta     version u8; cluster, directory, kafka, admin, rack: length, bytes;
//	         leaders, replicas, bytes in per second, free bytes of the disk. Later
//	         versions append, and readers skip what they do not know
//
// # Intervals
//
// For a LAN: every second a node probes one other (ProbeInterval), asks others to
// probe it when half a second brought no answer, suspects it at the end of the
// second, and holds it dead four seconds later if it does not object; from four
// nodes on two others must have suspected it as well, or it takes 24 s. News goes out every 500 ms (NewsInterval), to three
// nodes; each node compares all it knows with another one every 30 s, and forgets who
// was dead for so long.
//
// # Invariants
//
//   - Of a connection of another cluster nothing but the hello is read, and a
//     member whose meta names another cluster is not taken.
//   - Nothing here blocks a caller: a packet that finds no room in its queue, or
//     no connection, is dropped and counted, as UDP would.
//   - Goroutines: ten, one for each connection that carried a packet within
//     idleAfter, one for each stream under way: their number does not grow with
//     that of the members.
//   - memberlist's Shutdown waits for nobody. Close does: for all that use the
//     wire, because it ends their connections, and for a probe under way, which
//     ends by itself within ProbeInterval.
//   - Everything that can grow has a limit in Config or here and a counter in
//     Stats.
//
// Without TLS whoever reaches the port can say what he likes, as he can to all of
// the port.
//
// Read next: gossip.go, view.go, wire.go.
package gossip
