package multiraft

import (
	"context"
	"fmt"

	"dyno/engine/ids"
	"dyno/engine/replica"
)

// Call runs f on the group's worker, between two turns, and returns when it
// ran: for what only the worker may touch, such as a state machine's snapshot.
// f must not block. It fails with ErrStopped after Close, and with ErrTimeout
// when ctx ends first; then f may still run.
func (g *Group) Call(ctx context.Context, f func()) error {
	ran := make(chan struct{})
	if !g.w.box.call(func() { f(); close(ran) }) {
		return replica.ErrStopped
	}
	select {
	case <-ran:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("%w: call on group %d: %w", replica.ErrTimeout, g.spec.Group, context.Cause(ctx))
	}
}

// Lead is what a leader knows of its group at one moment.
type Lead struct {
	Term    ids.Term
	Commit  ids.LogIndex
	Members []replica.Progress // in no order
}

// Led calls f for each group that this node leads, on the group's worker,
// between two turns. The members' slice is used again. f must not block and may
// run on several goroutines at once. Led returns when all are through, and fails
// as Call does.
func (m *Manager) Led(ctx context.Context, f func(*Group, Lead)) error {
	through := make(chan struct{}, len(m.workers))
	asked := 0
	for _, w := range m.workers {
		look := func() {
			var scratch []replica.Progress
			for _, g := range w.groups {
				role := g.role.Load() // a glance: most groups of a node are led elsewhere
				if role.State != replica.Leader {
					continue
				}
				if scratch = g.rep.Progress(scratch[:0]); len(scratch) > 0 {
					f(g, Lead{role.Term, ids.LogIndex(g.commit.Load()), scratch})
				}
			}
			through <- struct{}{}
		}
		if !w.box.call(look) {
			return replica.ErrStopped
		}
		asked++
	}
	for range asked {
		select {
		case <-through:
		case <-ctx.Done():
			return fmt.Errorf("%w: look at the groups that node %d leads: %w", replica.ErrTimeout, m.cfg.Node, context.Cause(ctx))
		}
	}
	return nil
}
