package engine

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"dyno/engine/replica"
)

// retention looks at every partition now and then: a leader proposes what its
// topic's retention asks for, and every replica deletes the files that lie
// wholly below its log start.
type retention struct {
	node     *Node
	commands atomic.Int64    // proposed
	freed    atomic.Int64    // bytes of batches deleted
	ctx      context.Context // of the goroutine's rounds
	cancel   context.CancelFunc
	done     chan struct{} // closed by run
}

func startRetention(n *Node) *retention {
	r := &retention{node: n, done: make(chan struct{})}
	r.ctx, r.cancel = context.WithCancel(context.Background())
	go r.run()
	return r
}

// Close ends the goroutine; idempotent.
func (r *retention) Close() error {
	r.cancel()
	<-r.done
	return nil
}

func (r *retention) run() {
	defer close(r.done)
	every := time.NewTicker(r.node.cfg.Limits.RetentionEvery)
	defer every.Stop()
	for {
		select {
		case <-every.C:
			r.round(r.ctx)
		case <-r.ctx.Done():
			return
		}
	}
}

// round is one look. A partition that cannot be tended now is tended next time;
// one that is deleted meanwhile may fail in any way.
func (r *retention) round(ctx context.Context) {
	for _, h := range r.node.hosts.list() {
		if err := r.tend(ctx, h); err != nil && ctx.Err() == nil && !h.gone.Load() && !errors.Is(err, replica.ErrNotLeader) {
			r.node.cfg.Log.Warn("retention failed; it will be tried again", "topic", h.name, "partition", h.part, "err", err)
		}
	}
}

// now is the time that has passed for certain, see clockWatch; 0 where it is not
// known, and nothing is old.
func (r *retention) now() int64 {
	if c := r.node.raft.Clock(); c.Sure {
		return c.Past
	}
	return 0
}

func (r *retention) tend(ctx context.Context, h *hosted) error {
	if h.gone.Load() {
		return nil
	}
	if h.group.Status().State == replica.Leader {
		for _, c := range h.Housekeep(r.now(), h.coldFiles()) {
			if err := h.command(ctx, c); err != nil {
				return err
			}
			r.commands.Add(1)
		}
	}
	h.moving.Lock() // the mover writes to the same files
	defer h.moving.Unlock()
	freed, err := h.files.TruncateBefore(h.Offsets().LogStart)
	r.freed.Add(freed)
	return err
}
