package multiraft

import (
	"sync"

	"go.etcd.io/raft/v3/raftpb"

	"dyno/engine/replica"
	"dyno/engine/transport"
)

// inbox is everything that happened for one worker since it last looked.
type inbox struct {
	done     []*batch // in the order of submission
	calls    []func()
	messages []message
	props    []proposal
	tick     bool // at least one tick passed; more than one counts as one

	messageBytes, propBytes int64
}

type message struct {
	group *Group
	m     raftpb.Message // MsgUnreachable with From set stands for a report
}

type proposal struct {
	group *Group
	p     *replica.Proposal
}

func (in *inbox) reset() {
	clear(in.done)
	clear(in.calls)
	clear(in.messages)
	clear(in.props)
	*in = inbox{done: in.done[:0], calls: in.calls[:0], messages: in.messages[:0], props: in.props[:0]}
}

// mailbox is how everybody else reaches a worker. The worker takes all of it at
// once; a putter wakes it only when the box was empty, so that a busy worker
// costs its senders one short lock and nothing else. A few proposals alone do not
// wake it while an append of its own is under way: they are the next append, and
// the end of this one wakes it.
type mailbox struct {
	wake chan struct{} // capacity 1; sent to by putters; never closed
	// ended is sent to, beside wake, when an append of the worker is through: what
	// else there is waits for the next look. nil unless the worker polls.
	ended chan struct{} // capacity 1; never closed

	mu     sync.Mutex // guards what follows
	in     inbox
	filled bool // something was put since take that the worker was woken for
	held   bool // an append is under way: see gatherBytes
	closed bool // the worker is gone
	max    int64

	refused, dropped uint64
}

// gatherBytes is how many bytes of proposals wake a worker whose append is under
// way: enough for a write of its own.
const gatherBytes = 256 << 10

// put runs add under the lock and wakes the worker if the box was empty. It
// does nothing and returns false when the worker is gone.
func (b *mailbox) put(add func(in *inbox)) bool {
	b.mu.Lock()
	if b.closed {
		b.mu.Unlock()
		return false
	}
	add(&b.in)
	b.unlockAndWake()
	return true
}

func (b *mailbox) unlockAndWake() {
	was := b.filled
	b.filled = true
	b.mu.Unlock()
	if !was {
		select {
		case b.wake <- struct{}{}:
		default:
		}
	}
}

func (b *mailbox) call(f func()) bool {
	return b.put(func(in *inbox) { in.calls = append(in.calls, f) })
}

func (b *mailbox) stored(done *batch) {
	b.put(func(in *inbox) { in.done = append(in.done, done) })
	if b.ended != nil {
		select {
		case b.ended <- struct{}{}:
		default:
		}
	}
}

// tick puts a tick and what follows from it as one.
func (b *mailbox) tick(calls ...func()) {
	b.put(func(in *inbox) {
		in.tick = true
		in.calls = append(in.calls, calls...)
	})
}

// propose is put without a closure: it is the hot one.
func (b *mailbox) propose(g *Group, p *replica.Proposal) error {
	size := int64(len(p.Data))
	b.mu.Lock()
	switch {
	case b.closed:
		b.mu.Unlock()
		return replica.ErrStopped
	case b.in.propBytes > 0 && b.in.propBytes+size > b.max:
		b.refused++
		b.mu.Unlock()
		return replica.ErrOverloaded
	}
	b.in.props = append(b.in.props, proposal{g, p})
	b.in.propBytes += size
	if b.held && b.in.propBytes < gatherBytes {
		b.mu.Unlock()
		return nil
	}
	b.unlockAndWake()
	return nil
}

// message puts a peer's message, or drops it when too much waits: Raft sends
// again.
func (b *mailbox) message(g *Group, m *raftpb.Message) {
	size := transport.Size(m)
	b.mu.Lock()
	if b.closed || b.in.messageBytes > 0 && b.in.messageBytes+size > b.max {
		b.dropped++
		b.mu.Unlock()
		return
	}
	b.in.messages = append(b.in.messages, message{g, *m})
	b.in.messageBytes += size
	b.unlockAndWake()
}

// take swaps the filled inbox for an empty one. With leave set the messages of peers
// stay, for there are earlier ones, and the worker is woken for them.
func (b *mailbox) take(empty inbox, leave bool) inbox {
	b.mu.Lock()
	full := b.in
	b.in, b.filled = empty, false
	if leave && len(full.messages) > 0 {
		b.in.messages, full.messages = full.messages, b.in.messages
		b.in.messageBytes, full.messageBytes = full.messageBytes, 0
		b.unlockAndWake()
		return full
	}
	b.mu.Unlock()
	return full
}

// again wakes the worker without anything in the box.
func (b *mailbox) again() { b.put(func(*inbox) {}) }

// hold says whether an append of the worker's own is under way. Whoever says that
// none is must look again at what gathered meanwhile, hence the wake-up.
func (b *mailbox) hold(held bool) {
	b.mu.Lock()
	b.held = held
	if !held && len(b.in.props) > 0 {
		b.unlockAndWake()
		return
	}
	b.mu.Unlock()
}

func (b *mailbox) close() {
	b.mu.Lock()
	b.closed = true
	b.mu.Unlock()
}

func (b *mailbox) counters() (refused, dropped uint64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.refused, b.dropped
}
