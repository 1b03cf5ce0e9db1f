package replica

import (
	"bytes"

	"go.etcd.io/raft/v3"
	"go.etcd.io/raft/v3/raftpb"
	"go.etcd.io/raft/v3/tracker"

	"dyno/engine/ids"
)

// A group in which nothing happens goes quiet: no ticks, no heartbeats, no cost.
// Its leader says so in a heartbeat of a kind of its own, once every member holds
// everything and has heard that it is committed:
//
//	leader                                  follower
//	idle for QuietTicks, all members match
//	heartbeat marked quiet, commit=last ->  last == commit == applied == that: quiet
//	quiet                                   otherwise: an ordinary heartbeat, whose
//	                                        answer has the mark and wakes the leader
//
// Anything wakes a member: a proposal, a read, a message of a peer, a hint that a
// node is gone. A quiet follower knows its leader and does not count time, so it
// refuses votes as one does that has just heard the leader. That is right as long
// as the leader's node lives, which the owner watches for all groups at once, see
// package multiraft; PeerDown ends it.
//
// Safety does not rest on any of this: a member that is quiet is one whose clock
// stands.

// quietMark is the context of a heartbeat that says quiet. Contexts of ReadIndex
// have 24 bytes.
var quietMark = []byte("quiet")

// Quiet says that the replica has gone quiet.
func (r *Replica) Quiet() bool { return r.quiet }

// Wake ends quiet: the replica needs ticks again.
func (r *Replica) Wake() { r.quiet, r.idle = false, 0 }

// tickQuiet counts idle ticks of a leader and decides that the group may go
// quiet, which the next Turn tells.
func (r *Replica) tickQuiet() {
	if r.cfg.QuietTicks == 0 || r.alone() || r.role.State != Leader {
		return
	}
	if r.idle++; r.idle < r.cfg.QuietTicks || r.idle%r.cfg.HeartbeatTicks != 0 {
		return
	}
	r.quieting = r.mayQuiet()
}

// mayQuiet says whether there is nothing left to do, for this leader or any
// member.
func (r *Replica) mayQuiet() bool {
	last := r.store.log.Last()
	if !r.leading() || r.handing || r.commit != last || r.applied != last || r.Pending() > 0 || len(r.conf.VotersOutgoing) > 0 {
		return false
	}
	if forced().has(mutQuietLag) {
		return true
	}
	same := true
	r.node.WithProgress(func(id uint64, _ raft.ProgressType, pr tracker.Progress) {
		// Each must have answered since the leader woke: one that is gone keeps it
		// awake, so that CheckQuorum holds.
		if id != uint64(r.cfg.ID) && (ids.LogIndex(pr.Match) != last || r.heard.silent(id) >= min(r.idle, 2*r.cfg.HeartbeatTicks+1)) {
			same = false
		}
	})
	return same
}

// sayQuiet tells the members and goes quiet. Raft has nothing to say.
func (r *Replica) sayQuiet(out *Output) {
	if !r.quieting {
		return
	}
	r.quieting = false
	if !r.mayQuiet() {
		return
	}
	r.node.WithProgress(func(id uint64, _ raft.ProgressType, pr tracker.Progress) {
		if id == uint64(r.cfg.ID) {
			return
		}
		commit := uint64(r.commit)
		if forced().has(mutQuietLag) {
			commit = min(commit, pr.Match)
		}
		out.Messages = append(out.Messages, raftpb.Message{
			Type: raftpb.MsgHeartbeat, From: uint64(r.cfg.ID), To: id, Term: uint64(r.role.Term), Commit: commit, Context: quietMark,
		})
	})
	r.quiet = true
}

// hearQuiet takes a heartbeat that says quiet; false where it is to be taken as
// an ordinary one.
func (r *Replica) hearQuiet(m *raftpb.Message) bool {
	r.observe()
	commit := ids.LogIndex(m.Commit)
	r.quiet = r.role.State == Follower && r.role.Term == ids.Term(m.Term) && r.role.Leader == ids.ReplicaID(m.From) &&
		r.store.log.Last() == commit && r.commit == commit && r.applied == commit && r.Pending() == 0
	return r.quiet
}

// saysQuiet tells a heartbeat with the mark, and an answer to one: Raft sends the
// context of a heartbeat back. To Raft it is that of a read nobody waits for.
func saysQuiet(m *raftpb.Message) bool { return bytes.Equal(m.Context, quietMark) }
