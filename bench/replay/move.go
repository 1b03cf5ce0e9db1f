package replay

import (
	"errors"
	"fmt"

	"dyno/engine/ids"
	"dyno/engine/store"
	"dyno/wal"
)

// toFiles empties every full segment of every node's log, as the engine's mover
// does: committed entries to the partitions' files, a checkpoint, the stream's front
// cut, the rest to the log's head, the segment released.
func (c *cluster) toFiles() error {
	for _, n := range c.nodes {
		done := make(chan error, 1)
		go func() { done <- n.emptyAll() }()
		if err := c.run(); err != nil {
			return err
		}
		var err error
		select {
		case err = <-done:
		default: // all is quiet and it still waits
			err = errors.New("it waits for something that does not come")
		}
		if err != nil {
			return fmt.Errorf("node %d: to files: %w", n.id, err)
		}
	}
	return nil
}

const moveReadBytes = 1 << 20 // as the engine's

func (n *node) emptyAll() error {
	for {
		seg, ok := n.log.Oldest()
		if !ok {
			return nil
		}
		if err := n.image.Load(seg.Seq); err != nil {
			return err
		}
		for _, run := range seg.Runs {
			if err := n.empty(run); err != nil {
				return fmt.Errorf("stream %d of segment %d: %w", run.Stream, seg.Seq, err)
			}
		}
		if err := n.log.Release(seg.Seq); err != nil {
			return fmt.Errorf("release segment %d: %w", seg.Seq, err)
		}
	}
}

// empty takes one stream's entries out of the oldest segment.
func (n *node) empty(run wal.Run) error {
	h := n.parts[ids.GroupID(run.Stream)-groupOf(0)]
	last := min(ids.LogIndex(run.Last), h.group.Status().Applied)
	if h.files.Last() < last {
		if err := n.move(h, run.Stream, last); err != nil {
			return errors.Join(err, h.files.Discard())
		}
	}
	if err := h.group.Compact(last + 1); err != nil {
		return err
	}
	info, ok := n.log.Info(run.Stream)
	if first := max(run.First, info.First); ok && first <= min(run.Last, info.Last) {
		return n.log.Rewrite(run.Stream, first, min(run.Last, info.Last))
	}
	return nil
}

// move brings a partition's entries up to last into its files.
func (n *node) move(h *hosted, stream uint64, last ids.LogIndex) error {
	for next := h.files.Last() + 1; next <= last; {
		list, err := n.image.Read(stream, uint64(next), uint64(last)+1, moveReadBytes)
		if err != nil {
			return err
		}
		out := make([]store.Entry, len(list))
		for i := range list {
			r := &list[i]
			out[i] = store.Entry{Index: ids.LogIndex(r.Index), Term: ids.Term(r.Term), Type: r.Type, Data: r.Data}
		}
		if err := h.files.Append(out); err != nil {
			return err
		}
		next = ids.LogIndex(list[len(list)-1].Index) + 1
	}
	state := h.State()
	if err := h.files.Checkpoint(h.group.Members().Pack(state)); err != nil {
		return err
	}
	h.Moved(last)
	return nil
}
