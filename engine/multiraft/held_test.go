package multiraft

import (
	"fmt"
	"testing"

	"go.etcd.io/raft/v3/raftpb"

	"dyno/engine/ids"
	"dyno/engine/transport"
)

// What waits, what replaces it, and when it leaves.
func TestCommitAloneWaits(t *testing.T) {
	wire := &sentTo{}
	w := (&Manager{cfg: Config{Workers: 1, Transport: wire}}).newWorker()
	members := []Member{{Replica: 10, Node: 1}, {Replica: 20, Node: 2}, {Replica: 30, Node: 3}}
	g := &Group{m: w.m, w: w, spec: Spec{Group: 7}}
	g.members.Store(&members)
	w.groups[7] = g
	say := func(to, commit uint64, entries int) {
		w.out.Messages = append(w.out.Messages, raftpb.Message{Type: raftpb.MsgApp, To: to, Commit: commit, Entries: make([]raftpb.Entry, entries)})
		w.collect(g)
		w.send()
	}
	left := func(want string) {
		t.Helper()
		if got := wire.take(); got != want {
			t.Errorf("at %d ms left %q, want %q", w.nowMS, got, want)
		}
	}
	busy := []*batch{{}}

	w.inflight = busy
	say(20, 1, 0)
	say(30, 1, 0)
	say(20, 2, 0) // instead of the first
	w.unhold()
	left("")
	say(30, 2, 1) // says what the one to the same member does
	left("3:2+1 ")
	w.nowMS = holdMaxMS - 1
	w.unhold()
	left("")
	w.nowMS = holdMaxMS
	w.unhold()
	left("2:2+0 ")

	say(20, 3, 0)
	say(20, 3, 1) // nothing is left to wait, but the group is still in the list
	say(20, 4, 0)
	left("2:3+1 ")
	w.inflight = nil // no drain is certain
	w.unhold()
	left("2:4+0 ")

	w.inflight = busy
	say(30, 5, 0)
	w.nowMS-- // a clock that was set back must not make it wait for as long
	w.unhold()
	left("3:5+0 ")
	if len(w.holding) != 0 || g.holding {
		t.Errorf("%d groups hold something", len(w.holding))
	}
	w.rest()
	if cap(g.held) != 0 || cap(w.holding) != 0 {
		t.Errorf("at rest there is room for %d and %d", cap(g.held), cap(w.holding))
	}

	w.out.Messages = append(w.out.Messages, raftpb.Message{Type: raftpb.MsgHeartbeat, To: 20, Commit: 6})
	w.collect(g)
	w.send()
	left("2:6+0 ")
}

// sentTo keeps what is sent, as node:commit+entries.
type sentTo struct {
	transport.Transport
	text string
}

func (s *sentTo) Send(to ids.NodeID, _ transport.Lane, batch []transport.Envelope) {
	for _, e := range batch {
		s.text += fmt.Sprintf("%d:%d+%d ", to, e.Message.Commit, len(e.Message.Entries))
	}
}

func (s *sentTo) take() (text string) {
	text, s.text = s.text, ""
	return text
}
