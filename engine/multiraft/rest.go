package multiraft

import (
	"slices"

	"dyno/engine/transport"
)

// Rest has the workers give back the memory of lists that a busy time made large:
// a thousand groups that elect their leaders at once put ten thousand messages
// into one drain, and what is filled again and again keeps its room. For a node in
// which nothing happens, which would keep it for ever; on a busy one the lists
// would grow again at once. It does not wait for them.
func (m *Manager) Rest() {
	for _, w := range m.workers {
		w.box.call(func() { w.resting = true }) // in the middle of a drain
	}
}

// rest runs between two drains.
func (w *worker) rest() {
	w.resting = false
	w.in, w.free, w.touched = inbox{}, nil, nil
	w.box.rest()
	for _, lanes := range w.peers {
		*lanes = [transport.Lanes][]transport.Envelope{}
	}
}

// rest gives back the room that a box does not need for what is in it.
func (b *mailbox) rest() {
	b.mu.Lock()
	defer b.mu.Unlock()
	in := &b.in
	in.done, in.calls, in.messages, in.props = slices.Clone(in.done), slices.Clone(in.calls), slices.Clone(in.messages), slices.Clone(in.props)
}
