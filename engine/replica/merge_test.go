package replica

import (
	"testing"

	"go.etcd.io/raft/v3/raftpb"
)

// TestAcknowledgementsMerge: one answer replaces those before it which it implies,
// and no other.
func TestAcknowledgementsMerge(t *testing.T) {
	ack := func(to, term, index uint64) raftpb.Message {
		return raftpb.Message{Type: raftpb.MsgAppResp, To: to, Term: term, Index: index}
	}
	reject := ack(1, 5, 9)
	reject.Reject = true
	vote := raftpb.Message{Type: raftpb.MsgVoteResp, To: 1, Term: 5}
	for name, c := range map[string]struct {
		m     raftpb.Message
		later []raftpb.Message
		want  bool
	}{
		"a later one of more":     {ack(1, 5, 3), []raftpb.Message{vote, ack(1, 5, 4)}, true},
		"the last":                {ack(1, 5, 3), nil, false},
		"to another node":         {ack(1, 5, 3), []raftpb.Message{ack(2, 5, 4)}, false},
		"of another term":         {ack(1, 5, 3), []raftpb.Message{ack(1, 6, 4)}, false},
		"of less":                 {ack(1, 5, 3), []raftpb.Message{ack(1, 5, 2)}, false},
		"a refusal stays":         {reject, []raftpb.Message{ack(1, 5, 10)}, false},
		"a refusal implies none":  {ack(1, 5, 3), []raftpb.Message{reject}, false},
		"what is no append stays": {vote, []raftpb.Message{ack(1, 5, 4)}, false},
	} {
		if got := superseded(&c.m, c.later); got != c.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}
