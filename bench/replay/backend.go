package replay

import (
	"context"
	"errors"
	"fmt"

	"dyno/engine/ids"
	"dyno/engine/kafka"
	"dyno/engine/multiraft"
	"dyno/engine/partition"
	"dyno/engine/replica"
	"dyno/engine/store"
	"dyno/wal"
)

// hosted is one partition on one node, as engine's: the Kafka view, the group and
// the files. What a Produce and a Fetch ask of it is here; nothing else is asked.
type hosted struct {
	*partition.Partition
	group *multiraft.Group
	files *store.Log
}

var _ kafka.Partition = (*hosted)(nil)

// Append implements kafka.Partition.
func (h *hosted) Append(a *partition.Append) error {
	err := h.group.Propose(a.Bind())
	if errors.Is(err, multiraft.ErrTooLarge) {
		err = fmt.Errorf("%w: %w", partition.ErrBatchTooLarge, err)
	}
	return err
}

// Leader implements kafka.Partition.
func (h *hosted) Leader() (ids.NodeID, ids.LeaderEpoch) {
	s := h.group.Status()
	return nodeOf(s.Leader), s.Term.Epoch()
}

var errNotReplayed = errors.New("no part of the replay")

// Latest implements kafka.Partition.
func (h *hosted) Latest(context.Context) (partition.Offsets, error) {
	return partition.Offsets{}, errNotReplayed
}

// DeleteRecords implements kafka.Partition.
func (h *hosted) DeleteRecords(context.Context, ids.Offset) (ids.Offset, error) {
	return 0, errNotReplayed
}

// backend is a node as its front sees it.
type backend struct {
	kafka.Backend // nil: what is not below
	n             *node
}

// Cluster implements kafka.Backend.
func (b backend) Cluster() kafka.Cluster { return kafka.Cluster{ID: "replay", Self: b.n.id} }

// Topic implements kafka.Backend.
func (b backend) Topic(string) (kafka.Topic, bool) { return kafka.Topic{}, false }

// TopicByID implements kafka.Backend.
func (b backend) TopicByID(ids.TopicID) (kafka.Topic, bool) { return kafka.Topic{}, false }

// Partition implements kafka.Backend.
func (b backend) Partition(topic []byte, p ids.Partition) (kafka.Partition, error) {
	if h := b.n.directory.ByNameBytes(topic, p); h != nil {
		return h, nil
	}
	return nil, kafka.ErrUnknownTopic
}

// PartitionByID implements kafka.Backend.
func (b backend) PartitionByID(id ids.TopicID, p ids.Partition) (kafka.Partition, error) {
	if h := b.n.directory.ByID(id, p); h != nil {
		return h, nil
	}
	return nil, kafka.ErrUnknownTopic
}

// DiskFull implements kafka.Backend.
func (b backend) DiskFull() bool { return b.n.log.Full() }

// cold shows a partition's files to its group.
type cold struct{ h *hosted }

var _ multiraft.Cold = cold{}

// First implements multiraft.Cold.
func (c cold) First() ids.LogIndex {
	if first := c.h.files.First(); first <= c.h.files.Last() {
		return first
	}
	return 0
}

// Term implements multiraft.Cold.
func (c cold) Term(i ids.LogIndex) (ids.Term, error) { return c.h.files.Term(i) }

// Entries implements multiraft.Cold. No member lacks what was moved, so nobody asks.
func (c cold) Entries(lo, hi ids.LogIndex, _ int64) ([]wal.Record, error) {
	return nil, fmt.Errorf("%w: entries [%d, %d) are in files, and a peer lacks them", replica.ErrUnavailable, lo, hi)
}
