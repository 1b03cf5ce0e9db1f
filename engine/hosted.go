package engine

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"sync/atomic"

	"dyno/engine/ids"
	"dyno/engine/kafka"
	"dyno/engine/metadata"
	"dyno/engine/multiraft"
	"dyno/engine/partition"
	"dyno/engine/replica"
	"dyno/engine/store"
	"dyno/engine/variants"
	"dyno/wal"
)

// hosted is one partition replica on this node: its Kafka view, its Raft group
// and the files its oldest entries were moved to.
type hosted struct {
	*partition.Partition
	name    string
	topic   ids.TopicID
	part    ids.Partition
	group   *multiraft.Group
	seat    *variants.Seat // in the arm of an experiment; nil as shipped
	files   *store.Log
	members atomic.Pointer[map[ids.ReplicaID]ids.NodeID] // where replicas live, those that join or leave among them
	synced  atomic.Pointer[[]ids.NodeID]                 // in sync as this node saw it when it last led; nil before
	led     led                                          // owner: isr
	alone   bool                                         // needs no peer and has replayed its log; owner: hosts' goroutine
	moving  sync.Mutex                                   // held while files are written: by the mover or by retention
	gone    atomic.Bool                                  // set before anything it holds is deleted
	ended   bool                                         // its group is removed, its files may not be yet; owner: hosts' goroutine
}

var _ kafka.Partition = (*hosted)(nil)

// Append implements kafka.Partition. What asks for more replicas in sync than
// there are is refused before anything is appended.
func (h *hosted) Append(a *partition.Append) error {
	if a.Wait == replica.WaitCommit {
		least := h.Settings().MinInsyncReplicas
		if least > h.inSync() {
			return fmt.Errorf("%w: %d in sync, min.insync.replicas is %d", partition.ErrNotEnoughReplicas, h.inSync(), least)
		}
		if voters := len(h.group.Members().Voters); least > voters/2+1 {
			a.Copies = least
		}
	}
	var err error
	if h.seat != nil {
		err = h.seat.Append(a)
	} else {
		err = h.group.Propose(a.Bind())
	}
	if errors.Is(err, multiraft.ErrTooLarge) {
		err = fmt.Errorf("%w: %w", partition.ErrBatchTooLarge, err)
	}
	return err
}

// inSync is how many replicas are in sync, as their leader knows. A leader that
// has not looked since its election takes it that all are: it was elected by a
// majority, and finds out soon.
func (h *hosted) inSync() int {
	if p := h.synced.Load(); p != nil {
		return len(*p)
	}
	return len(*h.members.Load())
}

// nodeOf is where a replica lives, 0 if it is none.
func (h *hosted) nodeOf(r ids.ReplicaID) ids.NodeID { return (*h.members.Load())[r] }

// setMembers says where replicas live from now on.
func (h *hosted) setMembers(list []metadata.Replica) {
	nodes := make(map[ids.ReplicaID]ids.NodeID, len(list))
	for _, r := range list {
		nodes[r.ID] = r.Node
	}
	h.members.Store(&nodes)
	h.group.SetMembers(members(list))
}

func members(list []metadata.Replica) []multiraft.Member {
	out := make([]multiraft.Member, len(list))
	for i, r := range list {
		out[i] = multiraft.Member{Replica: r.ID, Node: r.Node}
	}
	return out
}

// checkpoint is what is kept with the partition's files: the membership of its
// group, if that ever changed, and the partition's state. The membership may be
// of a later entry than the state: both were true once everything up to there was
// committed.
func (h *hosted) checkpoint() []byte {
	state := h.State()
	return h.group.Members().Pack(state)
}

// syncedNodes are the nodes in sync; see inSync. Nobody where nobody has looked.
func (h *hosted) syncedNodes() []ids.NodeID {
	if p := h.synced.Load(); p != nil {
		return *p
	}
	return nil
}

// wasInSync are the nodes that were in sync when this node last looked in the term
// it leads in; before that what the metadata says, and all where it says nothing.
func (h *hosted) wasInSync(said []ids.NodeID) []ids.NodeID {
	switch {
	case h.led.rounds > 1:
		return h.syncedNodes()
	case len(said) > 0:
		return said
	}
	return slices.Collect(maps.Values(*h.members.Load()))
}

// setInSync does not keep nodes.
func (h *hosted) setInSync(nodes []ids.NodeID) {
	if p := h.synced.Load(); p == nil || !slices.Equal(*p, nodes) {
		kept := slices.Clone(nodes)
		h.synced.Store(&kept)
	}
}

// Read implements kafka.Partition.
func (h *hosted) Read(args partition.ReadArgs) (partition.ReadResult, error) {
	res, err := h.Partition.Read(args)
	return res, h.whyFailed(err)
}

// ByTime implements kafka.Partition.
func (h *hosted) ByTime(timestampMS int64) (partition.TimedOffset, error) {
	o, err := h.Partition.ByTime(timestampMS)
	return o, h.whyFailed(err)
}

// MaxTime implements kafka.Partition.
func (h *hosted) MaxTime() (partition.TimedOffset, error) {
	o, err := h.Partition.MaxTime()
	return o, h.whyFailed(err)
}

// whyFailed tells a read that met a deletion from one that met damage: who
// found the partition before it went may still read while it goes. The
// partition knows neither its files' errors nor the log's.
func (h *hosted) whyFailed(err error) error {
	if err != nil && h.gone.Load() {
		return fmt.Errorf("%w: deleted while it was read: %v", kafka.ErrUnknownTopic, err) // not wrapped: its code is not the answer
	}
	if errors.Is(err, store.ErrCorrupt) || errors.Is(err, wal.ErrCorrupt) {
		return fmt.Errorf("%w: %w", replica.ErrDamaged, err)
	}
	return err
}

// Leader implements kafka.Partition.
func (h *hosted) Leader() (ids.NodeID, ids.LeaderEpoch) {
	s := h.group.Status()
	return h.nodeOf(s.Leader), s.Term.Epoch()
}

// Latest implements kafka.Partition: ReadIndex returns once everything that was
// committed when it was called is applied here.
func (h *hosted) Latest(ctx context.Context) (partition.Offsets, error) {
	if _, err := h.group.ReadIndex(ctx); err != nil {
		return partition.Offsets{}, err
	}
	return h.Offsets(), nil
}

// DeleteRecords implements kafka.Partition.
func (h *hosted) DeleteRecords(ctx context.Context, offset ids.Offset) (ids.Offset, error) {
	o := h.Offsets()
	if offset == -1 {
		offset = o.HighWatermark
	}
	if offset < 0 || offset > o.HighWatermark {
		return 0, fmt.Errorf("%w: delete up to %d of a log that ends at %d", partition.ErrOffsetOutOfRange, offset, o.HighWatermark)
	}
	if err := h.command(ctx, partition.LogStartCommand(offset)); err != nil {
		return 0, err
	}
	return h.Offsets().LogStart, nil
}

// command replicates one partition command and waits until it is applied here.
// Commands make room, so a full log takes them into its reserve.
func (h *hosted) command(ctx context.Context, data []byte) error {
	c := &command{done: make(chan error, 1)}
	c.Proposal = replica.Proposal{Data: data, Wait: replica.WaitCommit, Waiter: c, Reserve: true}
	if err := h.group.Propose(&c.Proposal); err != nil {
		return err
	}
	select {
	case err := <-c.done:
		return err
	case <-ctx.Done():
		return fmt.Errorf("%w: %w", replica.ErrTimeout, context.Cause(ctx))
	}
}

// command is a proposal that somebody waits for.
type command struct {
	replica.Proposal
	done chan error // capacity 1
}

// Proposed implements replica.Waiter.
func (c *command) Proposed(_ *replica.Proposal, err error) { c.done <- err }
