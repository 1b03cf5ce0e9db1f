//go:build mutants

package replay_test

import (
	"os"
	"slices"
	"strings"
	"testing"

	"dyno/bench/gate"
	"dyno/bench/replay"
)

// mutants do more than they must for the same work, each with a counter that must
// tell.
var mutants = []struct{ what, name, counter string }{
	{"one more allocation for each batch", "allocate", "three/produce/allocs"},
	{"the same where a node is alone", "allocate", "one/produce/allocs"},
	{"each sync twice", "two-syncs", "three/produce/fsyncs"},
	{"a write of the log in two pieces", "two-writes", "three/produce/write-calls"},
	{"3 % more bytes in the log", "more-state", "three/produce/wal-bytes"},
	{"a copy of what is read", "copy-reads", "three/fetch/alloc-bytes"},
	{"the same out of files", "copy-reads", "three/fetch-moved/alloc-bytes"},
	{"memory that is never given back", "leak", "three/whole/kept-bytes"},
	{"the same where a node is alone", "leak", "one/whole/kept-bytes"},
	{"a message for each proposal", "one-by-one", "three/produce/raft-messages"},
}

// TestMutants wants lane x to fail for each mutant, naming that counter, and to pass
// without.
func TestMutants(t *testing.T) {
	base := replayed(t, "")
	if r := judge(base, replayed(t, "")); r.Verdict != gate.Pass {
		t.Fatalf("without a mutant: %s: %s", r.Verdict, r.Text)
	}
	heads := map[string]*gate.Report{}
	for _, m := range mutants {
		if heads[m.name] == nil {
			heads[m.name] = judge(base, replayed(t, m.name))
		}
		r := heads[m.name]
		i := slices.IndexFunc(r.Rows, func(x gate.Row) bool { return x.Name == m.counter })
		if r.Verdict != gate.Fail || i < 0 || r.Rows[i].Verdict != gate.Fail {
			t.Errorf("%s (%s): %s: %s", m.what, m.name, r.Verdict, r.Text)
			continue
		}
		var all []string
		for _, x := range r.Rows {
			if x.Verdict == gate.Fail {
				all = append(all, x.Name)
			}
		}
		t.Logf("%s (%s): %s %+.2f %%; in all %s", m.what, m.name, m.counter, *r.Rows[i].Change*100, strings.Join(all, " "))
	}
}

func judge(base, head *replay.Set) *gate.Report {
	return gate.JudgeCounters(gate.Counters{BaseName: "the real code", HeadName: "the mutant", Base: base, Head: head})
}

// replayed replays in a process of its own; see TestMain.
func replayed(t *testing.T, mutant string) *replay.Set {
	t.Helper()
	t.Setenv(replay.ChildEnv, mutant)
	s, err := replay.Run(t.Context(), []string{os.Args[0]})
	if err != nil {
		t.Fatalf("%s: %v", mutant, err)
	}
	return s
}
