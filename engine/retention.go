package engine

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"dyno/engine/replica"
)

// retention looks at every partition now and then: a leader proposes what its
// topic's retention asks for, and every replica deletes the files that lie
// wholly below its log start.
type retention struct {
	node     *Node
	commands atomic.Int64 // proposed
	freed    atomic.Int64 // bytes of batches deleted
	stop     chan struct{}
	done     chan struct{}
	once     sync.Once
}

func startRetention(n *Node) *retention {
	r := &retention{node: n, stop: make(chan struct{}), done: make(chan struct{})}
	go r.run()
	return r
}

// Close ends the goroutine; idempotent.
func (r *retention) Close() error {
	r.once.Do(func() { close(r.stop) })
	<-r.done
	return nil
}

func (r *retention) run() {
	defer close(r.done)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	go func() { // ends with run: stop is closed before done
		<-r.stop
		cancel()
	}()
	every := time.NewTicker(r.node.cfg.Limits.RetentionEvery)
	defer every.Stop()
	for {
		select {
		case <-every.C:
			r.round(ctx)
		case <-r.stop:
			return
		}
	}
}

// round is one look. A partition that cannot be tended now is tended next time.
func (r *retention) round(ctx context.Context) {
	for _, h := range r.node.hosts.list() {
		if err := r.tend(ctx, h); err != nil && ctx.Err() == nil && !errors.Is(err, replica.ErrNotLeader) {
			r.node.cfg.Log.Warn("retention failed; it will be tried again", "topic", h.name, "partition", h.part, "err", err)
		}
	}
}

func (r *retention) tend(ctx context.Context, h *hosted) error {
	if h.group.Status().State == replica.Leader {
		for _, c := range h.Housekeep(r.node.cfg.Now().UnixMilli(), h.coldFiles()) {
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
