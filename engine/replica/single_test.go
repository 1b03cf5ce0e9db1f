package replica_test

import (
	"fmt"
	"testing"

	"dyno/engine/replica"
	"dyno/engine/replica/replicatest"
)

// TestSingleProposalsOfADrain: all that waits is one proposal to Raft, and with Single
// each entry is one, in the same order.
func TestSingleProposalsOfADrain(t *testing.T) {
	for _, single := range []bool{false, true} {
		sm := replicatest.NewMachine()
		s := newSolo(t, replica.NewMemoryLog(), sm, func(c *replica.Config) { c.Single = single })
		s.lead()
		before := s.rep.Stats()
		waiters := s.propose("a", "b", "c", "d")
		if err := s.turn(); err != nil {
			t.Fatal(err)
		}
		if n := len(s.out.Records); n < 4 { // one append, however many proposals
			t.Errorf("single %v: %d records of the first turn", single, n)
		}
		s.run()
		for _, w := range waiters {
			wantErr(t, w, nil)
		}
		after := s.rep.Stats()
		proposals, entries := after.Proposals-before.Proposals, after.Proposed-before.Proposed
		if want := map[bool]uint64{false: 1, true: 4}[single]; proposals != want || entries != 4 {
			t.Errorf("single %v: %d proposals with %d entries, want %d with 4", single, proposals, entries, want)
		}
		if got := fmt.Sprint(sm.Data()); got != "[a b c d]" {
			t.Errorf("single %v: applied %s", single, got)
		}
	}
}
