package grpctransport

import (
	"context"
	"runtime/pprof"
	"sync"

	"dyno/engine/ids"
	"dyno/engine/transport"
)

// reports calls Handler.Unreachable from a goroutine of its own, since Send may
// not and a writer may be waiting for its peer.
//
// A replica that is already waiting to be reported is not added again: that
// keeps "at most once per call of Send and replica", and bounds what waits by
// the number of replicas of peers instead of by a limit that could lose a
// report.
type reports struct {
	mu      sync.Mutex
	waiting []report            // guarded by mu
	known   map[report]struct{} // those in waiting; guarded by mu
	wake    chan struct{}       // capacity 1; sender: add
}

type report struct {
	node    ids.NodeID
	group   ids.GroupID
	replica ids.ReplicaID
}

func newReports() *reports {
	return &reports{known: map[report]struct{}{}, wake: make(chan struct{}, 1)}
}

// add reports the replicas that batch was for. Does not block.
func (r *reports) add(node ids.NodeID, batch []transport.Envelope) {
	r.mu.Lock()
	for i := range batch {
		one := report{node, batch[i].Group, ids.ReplicaID(batch[i].Message.To)}
		if _, ok := r.known[one]; !ok {
			r.known[one] = struct{}{}
			r.waiting = append(r.waiting, one)
		}
	}
	r.mu.Unlock()
	select {
	case r.wake <- struct{}{}:
	default:
	}
}

func (r *reports) take(spare []report) []report {
	r.mu.Lock()
	defer r.mu.Unlock()
	taken := r.waiting
	r.waiting = spare[:0]
	clear(r.known)
	return taken
}

// run calls h until ctx is done.
func (r *reports) run(ctx context.Context, h transport.Handler) {
	pprof.SetGoroutineLabels(pprof.WithLabels(ctx, pprof.Labels("raft-transport", "reports")))
	var taken []report
	for {
		select {
		case <-ctx.Done():
			return
		case <-r.wake:
		}
		taken = r.take(taken)
		for _, one := range taken {
			if ctx.Err() != nil {
				return
			}
			h.Unreachable(one.node, one.group, one.replica)
		}
	}
}
