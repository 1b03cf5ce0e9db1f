package engine

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"path"

	"dyno/engine/ids"
	"dyno/engine/kafka"
	"dyno/engine/multiraft"
	"dyno/engine/replica"
	"dyno/engine/store"
	"dyno/wal"
)

// A partition's snapshot is small: where its files begin, and the state that is
// kept beside the batches (partition.State). The batches after that come as
// entries, out of the leader's files and log, under Raft's flow control.

// partSnapshots implements multiraft.Snapshots for a partition.
type partSnapshots struct{ h *hosted }

const endBytes = 8 // the offset where the files begin

// Take implements multiraft.Snapshots.
func (s partSnapshots) Take() (replica.Snapshot, error) {
	before, _ := s.h.files.Bounds()
	state := binary.LittleEndian.AppendUint64(nil, uint64(before.End))
	return replica.Snapshot{Index: before.Index, Term: before.Term, State: append(state, s.h.State()...)}, nil
}

// Install implements multiraft.Snapshots.
func (s partSnapshots) Install(snap replica.Snapshot) error {
	end, err := snapshotEnd(snap.State)
	if err != nil {
		return err
	}
	s.h.moving.Lock()
	defer s.h.moving.Unlock()
	if s.h.gone.Load() {
		return kafka.ErrUnknownTopic
	}
	if err := s.h.files.Discard(); err != nil {
		return err
	}
	return s.h.files.TruncateAll(store.Boundary{Index: snap.Index, Term: snap.Term, End: end},
		snap.Members.Pack(snap.State[endBytes:]))
}

func snapshotEnd(state []byte) (ids.Offset, error) {
	if len(state) < endBytes {
		return 0, fmt.Errorf("%w: a snapshot of %d bytes", replica.ErrDamaged, len(state))
	}
	return ids.Offset(binary.LittleEndian.Uint64(state)), nil
}

// partMachine is a partition as its group sees it: a snapshot's state carries
// the offset that only the files need.
type partMachine struct{ *hosted }

// Restore implements replica.StateMachine.
func (m partMachine) Restore(state []byte) error {
	if _, err := snapshotEnd(state); err != nil {
		return err
	}
	return m.Partition.Restore(state[endBytes:])
}

// metaSnapshots implements multiraft.Snapshots for the metadata: the whole image.
type metaSnapshots struct{ n *Node }

// Take implements multiraft.Snapshots.
func (s metaSnapshots) Take() (replica.Snapshot, error) {
	b, err := s.n.meta.Snapshot()
	if err != nil {
		return replica.Snapshot{}, err
	}
	if !s.n.metaOpen.Load() {
		return replica.Snapshot{}, ErrNotReady // the group runs before the node knows it
	}
	at := s.n.meta.Applied()
	term, err := s.n.metaGroup.Term(at)
	return replica.Snapshot{Index: at, Term: term, State: b}, err
}

// Install implements multiraft.Snapshots.
func (s metaSnapshots) Install(snap replica.Snapshot) error { return s.n.writeImage(snap) }

// imageFile is what the metadata directory holds: a snapshot with the term of
// its last entry, which the log may have lost, and the membership of its group if
// that ever changed.
type imageFile struct {
	Term    ids.Term         `json:"term"`
	Members *replica.Members `json:"members,omitempty"`
	Image   json.RawMessage  `json:"image"`
}

// writeImage makes a snapshot of the metadata durable.
func (n *Node) writeImage(s replica.Snapshot) error {
	f := imageFile{Term: s.Term, Image: s.State}
	if s.Members.At != 0 {
		f.Members = &s.Members
	}
	b, err := json.Marshal(f)
	if err != nil {
		return fmt.Errorf("write the metadata snapshot: %w", err)
	}
	return writeFile(n.cfg.FS, path.Join(n.home, imageDir), imageName, b)
}

// realign makes a group's log go on behind what a snapshot left beside it, see
// multiraft.Realign.
func (n *Node) realign(g ids.GroupID, at ids.LogIndex, term ids.Term) error {
	records, err := multiraft.Realign(n.log, g, at, term)
	if err != nil || len(records) == 0 {
		return err
	}
	n.cfg.Log.Info("the log goes on behind a snapshot", "node", n.identity.NodeID, "group", g, "index", at)
	done := make(chan error, 1)
	err = n.log.Submit(&wal.Append{
		Records: records, Sync: true, Reserve: true, Done: func(err error) { done <- err },
	})
	if err == nil {
		err = <-done
	}
	if err != nil {
		return fmt.Errorf("cut the log of group %d behind its snapshot: %w", g, err)
	}
	return nil
}
