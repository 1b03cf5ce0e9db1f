package raftcell

import (
	"errors"
	"testing"
	"time"

	"dyno/bench/cell"
)

func TestEveryEntryReachesEveryMember(t *testing.T) {
	for _, size := range []int{8, 256, 64 << 10, 1 << 20} {
		g, err := newGroup(size)
		if err != nil {
			t.Fatal(err)
		}
		res, err := g.measure(t.Context(), 20*time.Millisecond)
		if err != nil {
			t.Fatal(err)
		}
		if res.Entries < 1 || res.Entries != g.sent || res.ProposeNs <= 0 || res.FollowNs <= 0 || res.AllocBytes <= 0 {
			t.Errorf("%d bytes: %+v", size, res)
		}
		for i, m := range g.list {
			if m.seen != g.sent {
				t.Errorf("%d bytes: member %d applied %d of %d", size, i+1, m.seen, g.sent)
			}
		}
	}
}

// An entry that came out otherwise than it went in is found.
func TestAnotherEntryIsFound(t *testing.T) {
	g, err := newGroup(256)
	if err != nil {
		t.Fatal(err)
	}
	if err := g.round(); err != nil {
		t.Fatal(err)
	}
	g.list[1].seen-- // as if it had applied one less
	if err := g.round(); !errors.Is(err, cell.ErrVerify) {
		t.Errorf("a missing entry: %v", err)
	}
}
