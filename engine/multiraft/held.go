package multiraft

import (
	"go.etcd.io/raft/v3/raftpb"
)

// A leader tells its followers of every commit, in an append without entries where it
// has none to send. Nobody who produces waits for that: the answer leaves when the
// leader knows, and the next append says it as well. So such a message waits, and is
// dropped when one to the same member follows that says as much:
//
//	an append is in flight    it waits, at most holdMaxMS: another drain is certain
//	none is                   it leaves at the end of the drain
//
// A busy group sends half as many messages by it, and an idle one none later. What
// depends on the followers' commit index (reads from them, their share of the metadata)
// is later by at most holdMaxMS.
const holdMaxMS = 5

// hold takes a message that only tells of a commit, and says whether it did. One that
// it takes replaces an older one to the same member; one that it does not take makes
// an older one superfluous if it is an append of the same leadership.
func (g *Group) hold(m *raftpb.Message) bool {
	if m.Type != raftpb.MsgApp {
		return false
	}
	at := 0
	for at < len(g.held) && g.held[at].To != m.To {
		at++
	}
	alone := len(m.Entries) == 0
	switch {
	case at < len(g.held) && alone:
		g.held[at] = *m
	case at < len(g.held):
		last := len(g.held) - 1
		g.held[at] = g.held[last]
		g.held = g.held[:last]
	case alone:
		if !g.holding {
			g.holding, g.heldMS = true, g.w.nowMS
			g.w.holding = append(g.w.holding, g)
		}
		g.held = append(g.held, *m)
	}
	return alone
}

// unhold sends what has waited long enough, and all of it where nothing is in flight.
func (w *worker) unhold() {
	keep := w.holding[:0]
	for _, g := range w.holding {
		waited := w.nowMS - g.heldMS
		if len(w.inflight) > 0 && len(g.held) > 0 && 0 <= waited && waited < holdMaxMS {
			keep = append(keep, g)
			continue
		}
		for i := range g.held {
			w.post(g, &g.held[i])
		}
		clear(g.held)
		g.held, g.holding = g.held[:0], false
	}
	clear(w.holding[len(keep):])
	w.holding = keep
	w.send()
}
