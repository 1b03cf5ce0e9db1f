package tcp

import (
	"runtime/pprof"
	"sync"

	"dyno/engine/ids"
	"dyno/engine/transport"
)

// reporter tells the handler of dropped messages, on a goroutine of its own:
// Send must not call back. A replica that is already to be told of is not
// named twice. Where a batch was dropped in parts, one for lack of room and one
// with a connection, its replicas may be.
type reporter struct {
	wake chan struct{} // capacity 1; sender: add; never closed

	mu      sync.Mutex // guards what follows
	waiting map[report]struct{}
	lost    uint64
}

type report struct {
	node    ids.NodeID
	group   ids.GroupID
	replica ids.ReplicaID
}

// reportsMax is how many reports wait before more are lost and counted. Raft
// finds out by itself, from the answers that do not come.
const reportsMax = 64 << 10

// reportsKeepMax is how many reports' memory is kept without use.
const reportsKeepMax = 1 << 10

func newReporter() *reporter {
	return &reporter{wake: make(chan struct{}, 1), waiting: map[report]struct{}{}}
}

// add takes all that is to be told of one drop at once: the reporter must not
// take half of it, and name a replica again with the other half.
func (r *reporter) add(drop map[report]struct{}) {
	r.mu.Lock()
	for id := range drop {
		if _, ok := r.waiting[id]; !ok && len(r.waiting) >= reportsMax {
			r.lost++
			continue
		}
		r.waiting[id] = struct{}{}
	}
	r.mu.Unlock()
	select {
	case r.wake <- struct{}{}:
	default:
	}
}

func reportOf(to ids.NodeID, e *transport.Envelope) report {
	return report{to, e.Group, ids.ReplicaID(e.Message.To)}
}

func (r *reporter) lostReports() uint64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.lost
}

// report is the reporter goroutine.
func (t *Transport) report() {
	pprof.SetGoroutineLabels(pprof.WithLabels(t.ctx, pprof.Labels("dyno", "transport reporter")))
	told := map[report]struct{}{}
	r := t.reports
	for {
		select {
		case <-r.wake:
		case <-t.ctx.Done():
			return
		}
		r.mu.Lock()
		told, r.waiting = r.waiting, told
		r.mu.Unlock()
		for id := range told {
			if t.ctx.Err() != nil {
				return
			}
			t.handler.Unreachable(id.node, id.group, id.replica)
		}
		if len(told) > reportsKeepMax {
			told = map[report]struct{}{} // clear keeps its memory
		}
		clear(told)
	}
}
