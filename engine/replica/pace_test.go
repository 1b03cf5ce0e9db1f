package replica

import (
	"errors"
	"testing"

	"go.etcd.io/raft/v3"
	"go.etcd.io/raft/v3/raftpb"

	"dyno/engine/ids"
)

// fakePace is a Pace in the hands of a test.
type fakePace struct {
	may  bool
	sent int64
}

func (p *fakePace) May() bool        { return p.may }
func (p *fakePace) Sent(bytes int64) { p.sent += bytes }

// coldLog holds nothing in memory.
type coldLog struct{ *MemoryLog }

func (coldLog) InMemory(ids.LogIndex) bool { return false }

// TestPaceOfStorage: what a leader reads to send waits for the pace and counts, and
// nothing else does.
func TestPaceOfStorage(t *testing.T) {
	log, pace, leads := NewMemoryLog(), &fakePace{}, true
	log.Append([]raftpb.Entry{{Index: 1, Term: 1, Data: []byte("four")}})
	s := &storage{
		log: coldLog{log}, pace: pace, leads: func() bool { return leads },
		take: func() (Snapshot, error) { return Snapshot{Index: 1, Term: 1, State: []byte("state")}, nil },
	}
	read := func(what string, want int, counted int64) {
		t.Helper()
		if got, err := s.Entries(1, 2, 100); err != nil || len(got) != want || pace.sent != counted {
			t.Errorf("%s: %d entries, %v, %d bytes counted", what, len(got), err, pace.sent)
		}
	}
	read("a leader that must wait", 0, 0)
	if _, err := s.Snapshot(); !errors.Is(err, raft.ErrSnapshotTemporarilyUnavailable) {
		t.Errorf("a snapshot that must wait: %v", err)
	}
	leads = false
	read("a follower", 1, 0)
	leads, s.applying = true, true
	read("a leader that applies", 1, 0)
	s.applying, s.log = false, log
	read("what is in memory", 1, 0)
	s.log, pace.may = coldLog{log}, true
	read("a leader that may", 1, 4)
	if snap, err := s.Snapshot(); err != nil || len(snap.Data) == 0 || pace.sent != 9 {
		t.Errorf("a snapshot that may go: %v, %d bytes counted", err, pace.sent)
	}
}
