package multiraft

import (
	"context"
	"fmt"

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
