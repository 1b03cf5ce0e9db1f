package engine

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"sync/atomic"

	"dyno/engine/ids"
	"dyno/engine/multiraft"
	"dyno/engine/replica"
)

// lags is what the leaders of this node know of replicas that are behind: it is
// counted, and told in one line a round for each node and reason, however many
// partitions there are. Owner: isr's goroutine, but for what says otherwise.
type lags struct {
	now   map[ids.NodeID]*lagOf // of this round
	moves map[lagMove]*lagMoved // likewise

	shrinks [outReasons]atomic.Int64 // replicas that fell out of sync; read by anybody
	expands atomic.Int64             // replicas that are in sync again; likewise
	last    atomic.Pointer[map[ids.NodeID]*lagOf]
}

// outReason is why a replica is not in sync.
type outReason uint8

const (
	outSilent outReason = iota // it did not answer for isrSilence
	outLag                     // it answered since, and lacks more than isrLag entries
	outReasons
	inAgain outReason = outReasons // it is
)

func (r outReason) String() string { return [...]string{"silence", "lag"}[r] }

// lagOf is what is known of the replicas on one node.
type lagOf struct {
	max ids.LogIndex    // most entries that one lacks of what is committed
	out [outReasons]int // replicas out of sync
}

// lagMove is something that replicas on a node did in one round.
type lagMove struct {
	node ids.NodeID
	what outReason
}

type lagMoved struct {
	partitions int
	max        ids.LogIndex
	first      string // one of them
}

func (l *lags) begin() {
	l.now, l.moves = map[ids.NodeID]*lagOf{}, map[lagMove]*lagMoved{}
}

// note compares who is in sync with who was, for one partition.
func (l *lags) note(h *hosted, v *isrView, was, in []ids.NodeID) {
	for _, m := range v.members {
		node := h.nodeOf(m.ID)
		if m.Learner || node == 0 || m.ID == h.group.Replica() {
			continue
		}
		lag := v.commit - min(m.Match, v.commit)
		of := l.now[node]
		if of == nil {
			of = &lagOf{}
			l.now[node] = of
		}
		of.max = max(of.max, lag)
		inSync := slices.Contains(in, node)
		why := whyOut(&m)
		if !inSync {
			of.out[why]++
		}
		switch before := slices.Contains(was, node); {
		case before && !inSync:
			l.shrinks[why].Add(1)
			l.move(lagMove{node, why}, h, lag)
		case !before && inSync:
			l.expands.Add(1)
			l.move(lagMove{node, inAgain}, h, lag)
		}
	}
}

// whyOut says why a replica that is out of sync is. One that is silent lacks more
// and more: silence is what to look into.
func whyOut(m *replica.Progress) outReason {
	if m.Silent > int(isrSilence/multiraft.TickDefault) {
		return outSilent
	}
	return outLag
}

func (l *lags) move(k lagMove, h *hosted, lag ids.LogIndex) {
	m := l.moves[k]
	if m == nil {
		m = &lagMoved{first: fmt.Sprintf("%s-%d", h.name, h.part)}
		l.moves[k] = m
	}
	m.partitions++
	m.max = max(m.max, lag)
}

// end publishes the round and tells what changed.
func (l *lags) end(n *Node) {
	now := l.now // the field goes on to the next round's
	l.last.Store(&now)
	log := n.cfg.Log.With("node", n.identity.NodeID)
	order := slices.SortedFunc(maps.Keys(l.moves), func(a, b lagMove) int {
		return cmp.Or(cmp.Compare(a.node, b.node), cmp.Compare(a.what, b.what))
	})
	for _, k := range order {
		m := l.moves[k]
		if k.what == inAgain {
			log.Info("replicas are in sync again", "peer", k.node, "partitions", m.partitions, "one", m.first)
			continue
		}
		log.Warn("replicas fell out of sync", "peer", k.node, "reason", k.what, "partitions", m.partitions, "one", m.first, "lag_entries_max", m.max)
	}
}
