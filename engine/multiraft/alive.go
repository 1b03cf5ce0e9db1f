package multiraft

import (
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"dyno/engine/events"
	"dyno/engine/ids"
	"dyno/engine/transport"
)

// alive watches the other nodes for all groups at once: groups that are quiet do
// not watch their leader themselves. Each node sends each other one that shares
// a group with it a pulse, and takes everything it hears from one as a sign of
// life. A node that was silent for downTicks is gone, as far as this one can
// tell: groups that it led elect another leader, and those that this node leads
// with it wake, so that their own rules hold again.
//
// Its time is the ticker's, which runs as long as there are others.
type alive struct {
	m        *Manager
	now      atomic.Uint64 // ticks
	watching atomic.Bool   // there are others

	mu    sync.Mutex // guards nodes, which is written once for each node
	nodes []*neighbor
}

// neighbor is another node.
type neighbor struct {
	id    ids.NodeID
	heard atomic.Uint64 // tick
	down  atomic.Bool   // written by whoever passes the ticks
	lost  atomic.Uint64 // times it fell silent; likewise
	clock atomic.Pointer[clockAt]
}

const (
	// pulseTicks is between two pulses: hardly anything else wakes an idle node, and a
	// silent one is missed after three.
	pulseTicks = 10
	downTicks  = 30 // the election timeout of a group
)

// meet adds the nodes of a group's members.
func (a *alive) meet(members []Member) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, m := range members {
		known := slices.ContainsFunc(a.nodes, func(n *neighbor) bool { return n.id == m.Node })
		if m.Node == a.m.cfg.Node || known {
			continue
		}
		n := &neighbor{id: m.Node}
		n.heard.Store(a.now.Load())
		a.nodes = append(slices.Clone(a.nodes), n)
		if a.watching.CompareAndSwap(false, true) {
			a.m.ticker.kick()
		}
	}
}

func (a *alive) list() []*neighbor {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.nodes
}

// heardFrom notes a sign of life.
func (a *alive) heardFrom(id ids.NodeID) {
	for _, n := range a.list() {
		if n.id == id {
			n.heard.Store(a.now.Load())
		}
	}
}

// pass passes ticks, at most pulseTicks, and gives the nodes that are gone by now.
func (a *alive) pass(ticks int) (lost []ids.NodeID) {
	now := a.now.Add(uint64(ticks))
	pulse := now/pulseTicks != (now-uint64(ticks))/pulseTicks
	for _, n := range a.list() {
		if pulse && a.m.cfg.Transport != nil && a.m.failure() == nil { // a dead log leads nothing: be missed
			a.m.cfg.Transport.Send(n.id, transport.Control, a.pulse())
		}
		silent := now - n.heard.Load()
		switch {
		case silent < downTicks:
			if n.down.CompareAndSwap(true, false) {
				a.m.cfg.Listener.Event(events.NodeHeard{Peer: n.id})
			}
		case n.down.CompareAndSwap(false, true):
			n.lost.Add(1)
			a.m.cfg.Listener.Event(events.NodeSilent{Peer: n.id, For: time.Duration(silent) * a.m.cfg.Tick})
			lost = append(lost, n.id)
		}
	}
	return lost
}

// Neighbor is what this node hears of another one.
type Neighbor struct {
	Node   ids.NodeID
	Silent bool   // not heard for an election timeout
	Lost   uint64 // times it fell silent
}

// Neighbors gives the nodes that share a group with this one, in no order.
func (m *Manager) Neighbors() []Neighbor {
	var out []Neighbor
	for _, n := range m.alive.list() {
		out = append(out, Neighbor{Node: n.id, Silent: n.down.Load(), Lost: n.lost.Load()})
	}
	return out
}

// losing gives the calls that tell w's groups of nodes that are gone.
func (w *worker) losing(nodes []ids.NodeID) (calls []func()) {
	for _, node := range nodes {
		calls = append(calls, func() { w.lost(node) })
	}
	return calls
}

// lost tells the groups that have a member on a node that it is gone.
func (w *worker) lost(node ids.NodeID) {
	for _, g := range w.byID() {
		peer := g.replicaOn(node)
		if peer == 0 {
			continue
		}
		g.rep.Wake()
		if rank, voter := g.rankWithout(node); voter {
			g.rep.PeerDown(peer, 1+rank*downRankTicks)
		}
		w.touch(g)
	}
}
