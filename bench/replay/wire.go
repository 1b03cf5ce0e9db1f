package replay

import (
	"sync"

	"dyno/engine/ids"
	"dyno/engine/transport"
	"dyno/engine/transport/tcp"
)

// wires is the network: one tcp.Lockstep for each lane from one node to another.
// What is sent waits until the replay delivers it.
type wires struct {
	nodes int

	mu    sync.Mutex      // guards what follows but for the delivery under way; see deliver
	lanes []*tcp.Lockstep // by from, to, lane
	count tcp.Delivered
}

func newWires(nodes int) *wires {
	w := &wires{nodes: nodes, lanes: make([]*tcp.Lockstep, nodes*nodes*transport.Lanes)}
	for i := range w.lanes {
		w.lanes[i] = tcp.NewLockstep()
	}
	return w
}

// way is the index of a lane.
func (w *wires) way(from, to ids.NodeID, lane transport.Lane) int {
	return (int(from-1)*w.nodes+int(to-1))*transport.Lanes + int(lane)
}

func (w *wires) counts() tcp.Delivered {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.count
}

// waiting says whether anything waits on a lane.
func (w *wires) waiting(way int) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.lanes[way].Waiting() > 0
}

// deliver hands out what waits on a lane. Nobody sends meanwhile: all goroutines
// wait, and the worker of the receiver is held.
func (w *wires) deliver(way int, take func([]transport.Envelope)) error {
	d, err := w.lanes[way].Deliver(take)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.count.Messages += d.Messages
	w.count.Frames += d.Frames
	w.count.Writes += d.Writes
	w.count.Reads += d.Reads
	w.count.Bytes += d.Bytes
	return err
}

// endpoint is one node's end of all wires.
type endpoint struct {
	w       *wires
	id      ids.NodeID
	handler transport.Handler // set by Start, before anything is delivered
}

// Start implements transport.Transport.
func (e *endpoint) Start(h transport.Handler) { e.handler = h }

// Send implements transport.Transport.
func (e *endpoint) Send(to ids.NodeID, lane transport.Lane, batch []transport.Envelope) {
	e.w.mu.Lock()
	defer e.w.mu.Unlock()
	e.w.lanes[e.w.way(e.id, to, lane)].Send(batch)
}

// Close implements transport.Transport; there is nothing to end.
func (e *endpoint) Close() error { return nil }
