package multiraft

import (
	"fmt"
	"testing"

	"dyno/engine/ids"
	"dyno/engine/replica"
)

// TestMoveNext: from each membership there is one next step, and it waits for who
// lacks too much or is silent.
func TestMoveNext(t *testing.T) {
	type list = []ids.ReplicaID
	all := func(match ids.LogIndex, silent int) (p []replica.Progress) {
		for id := range ids.ReplicaID(9) {
			p = append(p, replica.Progress{ID: id + 1, Match: 100})
		}
		p[3].Match, p[3].Silent = match, silent // of replica 4
		return p
	}
	for _, c := range []struct {
		name  string
		self  ids.ReplicaID
		have  replica.Members
		want  list
		know  []replica.Progress
		steps string
	}{
		{"joins", 1, replica.Members{Voters: list{1, 2, 3}}, list{1, 2, 4}, all(0, 0), "learn [4]"},
		{"is sent the log", 1, replica.Members{Voters: list{1, 2, 3}, Learners: list{4}}, list{1, 2, 4}, all(89, 0), ""},
		{"is silent", 1, replica.Members{Voters: list{1, 2, 3}, Learners: list{4}}, list{1, 2, 4}, all(100, 6), ""},
		{"is unknown", 1, replica.Members{Voters: list{1, 2, 3}, Learners: list{4}}, list{1, 2, 4}, nil, ""},
		{"caught up", 1, replica.Members{Voters: list{1, 2, 3}, Learners: list{4}}, list{1, 2, 4}, all(90, 5), "vote [4] remove [3]"},
		{"one of two", 1, replica.Members{Voters: list{1, 2, 3}, Learners: list{4, 5}}, list{1, 4, 5}, all(0, 0), ""},
		{"joint", 1, replica.Members{Voters: list{1, 2, 4}, Outgoing: list{1, 2, 3}}, list{1, 2, 4}, all(100, 0), "barrier"},
		{"there", 1, replica.Members{Voters: list{1, 2, 4}}, list{1, 2, 4}, all(100, 0), "done"},
		{"taken back", 1, replica.Members{Voters: list{1, 2, 3}, Learners: list{4}}, list{1, 2, 3}, all(100, 0), "remove [4]"},
		{"leader leaves", 3, replica.Members{Voters: list{1, 2, 3}, Learners: list{4}}, list{1, 2, 4}, all(100, 0), "transfer 1"},
		{"leader leaves, all are new", 3, replica.Members{Voters: list{3}, Learners: list{4}}, list{4}, all(100, 0), "vote [4]"},
		{"leader leaves, who stays lacks too much", 3, replica.Members{Voters: list{3, 4}}, list{4}, all(0, 0), ""},
	} {
		m := Move{Self: c.self, Have: &c.have, Want: c.want, Progress: c.know, Commit: 100, Lag: 10, Silence: 5}
		if got := stepText(m.Next()); got != c.steps {
			t.Errorf("%s: %q, want %q", c.name, got, c.steps)
		}
	}
}

func stepText(s Step) (out string) {
	add := func(text string) {
		if out != "" {
			out += " "
		}
		out += text
	}
	if c := s.Change; c != nil {
		for i, l := range [][]ids.ReplicaID{c.Learn, c.Vote, c.Remove} {
			if len(l) > 0 {
				add(fmt.Sprint([]string{"learn", "vote", "remove"}[i], " ", l))
			}
		}
	}
	if s.Transfer != 0 {
		add(fmt.Sprint("transfer ", s.Transfer))
	}
	if s.Barrier {
		add("barrier")
	}
	if s.Done {
		add("done")
	}
	return out
}
