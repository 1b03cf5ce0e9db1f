package replica

import (
	"encoding/binary"
	"fmt"

	"go.etcd.io/raft/v3"
	"go.etcd.io/raft/v3/raftpb"
	"go.etcd.io/raft/v3/tracker"

	"dyno/engine/ids"
	"dyno/wal"
)

// A snapshot's way to a follower that lacks entries nobody has any more:
//
//	leader    storage.Snapshot: Config.Take, packed -> MsgSnap on its own lane
//	follower  Step -> Turn: Output.Snapshots; from here on the replica takes
//	          nothing else
//	          the owner makes its state durable, then: Installed
//	          Installed: the log is reset, in the same append that holds what Raft
//	          wants stored with the snapshot; StateMachine.Restore
//	          Stored: the acknowledgement leaves
//
// A crash before that append leaves the old log beside the new state; whoever
// opens the replica resets the log then.
//
// The membership that travels along is the leader's newest, which may be of an
// entry after the snapshot's index. Its index comes with it: the follower passes
// over membership changes up to there when it applies them again.

// Incoming is a snapshot to install.
type Incoming struct{ Snapshot }

// installing is the snapshot under way, with the storage message it came in.
type installing struct {
	snap Snapshot
	m    raftpb.Message
	conf raftpb.ConfState
	at   ids.LogIndex // that conf is of
}

const confAtBytes = 8

// pack makes a snapshot Raft's.
func (s *storage) pack(snap *Snapshot) raftpb.Snapshot {
	data := binary.LittleEndian.AppendUint64(make([]byte, 0, confAtBytes+len(snap.State)), uint64(s.confAt))
	return raftpb.Snapshot{
		Data:     append(data, snap.State...),
		Metadata: raftpb.SnapshotMetadata{Index: uint64(snap.Index), Term: uint64(snap.Term), ConfState: s.conf},
	}
}

// receive stops the replica for a snapshot that Raft took in.
func (r *Replica) receive(m *raftpb.Message, out *Output) error {
	data := m.Snapshot.Data
	if len(data) < confAtBytes {
		return fmt.Errorf("%w: group %d: a snapshot of %d bytes", ErrDamaged, r.cfg.Group, len(data))
	}
	meta := &m.Snapshot.Metadata
	in := &installing{m: *m, conf: meta.ConfState, at: ids.LogIndex(binary.LittleEndian.Uint64(data))}
	in.snap = Snapshot{
		Index: ids.LogIndex(meta.Index), Term: ids.Term(meta.Term), State: data[confAtBytes:], Members: membersOf(&in.conf, in.at),
	}
	r.incoming = in
	out.Snapshots = append(out.Snapshots, Incoming{in.snap})
	return nil
}

// Installed says that the state of the snapshot handed out in Output.Snapshots
// is durable, or why not, which ends the replica.
func (r *Replica) Installed(err error, out *Output) {
	in := r.incoming
	if r.err != nil || in == nil {
		return
	}
	r.incoming = nil
	if err == nil {
		err = r.sm.Restore(in.snap.State)
	}
	if err == nil && r.sm.Applied() < in.snap.Index {
		err = fmt.Errorf("state of entry %d", r.sm.Applied())
	}
	if err != nil {
		r.fail(fmt.Errorf("%w: group %d: install snapshot at index %d: %w", ErrDamaged, r.cfg.Group, in.snap.Index, err))
		return
	}
	stream, last := uint64(r.cfg.Group), r.store.log.Last()
	if last > in.snap.Index {
		out.Records = append(out.Records, wal.Record{Stream: stream, Kind: wal.KindTruncateAfter, Index: uint64(in.snap.Index)})
	}
	out.Records = append(out.Records, wal.Record{
		Stream: stream, Kind: wal.KindTruncateBefore, Index: uint64(in.snap.Index) + 1, Term: uint64(in.snap.Term),
	})
	r.store.log.Reset(in.snap.Index, in.snap.Term)
	r.applied = in.snap.Index
	r.setConf(in.conf, in.at)
	r.stats.Snapshots++
	r.append(&in.m, out)
	r.reads.applied(r.applied)
}

// setConf makes conf, which is of entry at, the membership.
func (r *Replica) setConf(conf raftpb.ConfState, at ids.LogIndex) {
	r.conf, r.store.conf, r.store.confAt = conf, conf, at
	r.dropLease()
	r.sole = len(conf.Voters) == 1 && conf.Voters[0] == uint64(r.cfg.ID) && len(conf.VotersOutgoing) == 0
	if !r.mayLead() { // it waited as the only voter there was
		r.failQueue(r.notLeader())
	}
}

// remindSnapshots tells Raft of peers that have not answered a snapshot for too
// long: it, or its answer, was lost. Called every tick of a leader.
func (r *Replica) remindSnapshots() {
	if r.role.State != Leader || r.heard.now%uint64(r.cfg.SnapshotTicks) != 0 {
		return
	}
	var late []uint64
	r.node.WithProgress(func(id uint64, _ raft.ProgressType, pr tracker.Progress) {
		if pr.State == tracker.StateSnapshot {
			late = append(late, id)
		}
	})
	for _, id := range late {
		r.node.ReportSnapshot(id, raft.SnapshotFailure)
	}
}
