package gossip

import (
	"bufio"
	"cmp"
	"fmt"
	"io"
	"maps"
	"net"
	"slices"
	"time"

	"github.com/hashicorp/go-msgpack/v2/codec"
	"github.com/hashicorp/memberlist"

	"dyno/engine/ids"
)

// memberlist tells of members that come and go, but not whom it suspects, nor
// whether one that went has died or left. Its answer to another node that compares
// all it knows (a "push/pull") says all of it. So run asks as another node would,
// over a pipe in place of a connection, with nothing to tell in return: whenever a
// member comes or goes, and when news leaves this node, for it passes on whatever
// it comes to believe. What it reads is the part of memberlist's protocol that its versions keep among each
// other.

// State is what gossip believes of a member.
type State string

// States of a member.
const (
	Alive   State = "alive"
	Suspect State = "suspect" // it does not answer, and has not objected yet
	Dead    State = "dead"
	Left    State = "left" // it said so
)

// States are all of them.
var States = []State{Alive, Suspect, Dead, Left}

// live says that a member has not gone, as far as gossip believes.
func (s State) live() bool { return s == Alive || s == Suspect }

// Member is a node as gossip believes it to be.
type Member struct {
	Info
	State State     `json:"state"`
	Since time.Time `json:"since"` // of the state, as this node saw it
}

// Members gives the nodes of the cluster that this one has heard of, by id, itself
// among them. One that is gone stays in the list. It never blocks. The list is
// shared: change nothing.
func (g *Gossip) Members() []Member { return *g.members.Load() }

// Lookup gives a node that gossip does not believe to be gone. It never blocks.
func (g *Gossip) Lookup(node ids.NodeID) (Member, bool) {
	list := g.Members()
	at, ok := slices.BinarySearchFunc(list, node, func(m Member, n ids.NodeID) int { return cmp.Compare(m.Node, n) })
	if !ok || !list[at].State.live() {
		return Member{}, false
	}
	return list[at], true
}

// look brings table, which is run's, in line with what memberlist believes,
// publishes it, and tells of what changed.
func (g *Gossip) look(table map[ids.NodeID]Member) {
	g.mu.Lock()
	g.looks++
	g.mu.Unlock()
	nodes, err := g.wire.askSelf()
	if err != nil {
		select {
		case <-g.stop:
		default:
			g.logs.warn("the state of the members cannot be read", err)
		}
		return
	}
	changed := fold(table, nodes, time.Now())
	trim(table, g.cfg.MembersMax)
	list := slices.SortedFunc(maps.Values(table), func(a, b Member) int { return cmp.Compare(a.Node, b.Node) })
	g.members.Store(&list)
	g.forget(nodes)
	for _, m := range changed {
		if m.Node != g.cfg.Self.Node {
			g.cfg.Changed(m)
		}
	}
}

// forget makes room for others in place of those that memberlist has forgotten. Who
// was let in while run looked may be missing from nodes.
func (g *Gossip) forget(nodes []pushNode) {
	here := make(map[string]bool, len(nodes))
	for i := range nodes {
		here[nodes[i].Name] = true
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	maps.DeleteFunc(g.admitted, func(name string, look uint64) bool { return !here[name] && look < g.looks })
}

// fold works nodes into table and gives the members whose life or state is new.
// Of several lives of a node the latest counts, and one that goes on before any
// that ended.
func fold(table map[ids.NodeID]Member, nodes []pushNode, now time.Time) (changed []Member) {
	best := map[ids.NodeID]Member{}
	for i := range nodes {
		info, err := decode(nodes[i].Name, nodes[i].Meta)
		state, ok := states[nodes[i].State]
		if err != nil || !ok {
			continue // delegate refuses it: it cannot be here
		}
		m := Member{Info: info, State: state, Since: now}
		if b, ok := best[m.Node]; !ok || m.after(&b) {
			best[m.Node] = m
		}
	}
	for node, m := range best {
		was, known := table[node]
		if same := was.Incarnation == m.Incarnation && was.Peer == m.Peer && was.State == m.State; known && same {
			m.Since = was.Since
		} else {
			changed = append(changed, m)
		}
		table[node] = m
	}
	return changed
}

var states = map[memberlist.NodeStateType]State{
	memberlist.StateAlive: Alive, memberlist.StateSuspect: Suspect, memberlist.StateDead: Dead, memberlist.StateLeft: Left,
}

// after says that m tells more of its node than o, another life of it.
func (m *Member) after(o *Member) bool {
	if m.State.live() != o.State.live() {
		return m.State.live()
	}
	return m.Incarnation > o.Incarnation
}

// trim forgets who is gone longest while there are more than limit.
func trim(table map[ids.NodeID]Member, limit int) {
	for len(table) > limit {
		var oldest *Member
		for _, m := range table {
			if !m.State.live() && (oldest == nil || m.Since.Before(oldest.Since)) {
				oldest = &m
			}
		}
		if oldest == nil {
			return
		}
		delete(table, oldest.Node)
	}
}

// pushNode and pushHeader are memberlist's, as far as they are needed here.
type pushNode struct {
	Name  string
	Meta  []byte
	State memberlist.NodeStateType
}

type pushHeader struct {
	Nodes, UserStateLen int
	Join                bool
}

// pushPull is the type of message that they come in.
const pushPull = 6

// askSelf asks memberlist for the state of all members. Errors: ErrClosed, or that
// the answer cannot be read, which is a version of memberlist that this file does
// not know.
func (w *wire) askSelf() ([]pushNode, error) {
	here, there := net.Pipe()
	defer here.Close()
	_ = here.SetDeadline(time.Now().Add(streamTimeout))
	if !w.own(there) || !w.hand(there) {
		return nil, ErrClosed
	}
	var header []byte
	if err := codec.NewEncoderBytes(&header, &codec.MsgpackHandle{}).Encode(pushHeader{}); err != nil {
		return nil, err
	}
	if _, err := here.Write(append([]byte{pushPull}, header...)); err != nil {
		return nil, err
	}
	return readNodes(here)
}

func readNodes(r io.Reader) ([]pushNode, error) {
	in := bufio.NewReader(r)
	if kind, err := in.ReadByte(); err != nil || kind != pushPull {
		return nil, fmt.Errorf("%w: answer of kind %d: %w", ErrMalformed, kind, cmp.Or(err, ErrMalformed))
	}
	dec := codec.NewDecoder(in, &codec.MsgpackHandle{})
	var h pushHeader
	if err := dec.Decode(&h); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	var nodes []pushNode
	for range h.Nodes {
		var n pushNode
		if err := dec.Decode(&n); err != nil {
			return nil, fmt.Errorf("%w: %w", ErrMalformed, err)
		}
		nodes = append(nodes, n)
	}
	return nodes, nil
}
