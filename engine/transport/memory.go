package transport

import (
	"container/heap"
	"math/rand/v2"
	"sync"
	"time"

	"dyno/engine/ids"
)

// QueueBytesMax is what a Network holds for one lane between two nodes before
// it drops: 16 MiB. Networks may be given another.
const QueueBytesMax = 16 << 20

// Link is how the way from one node to another behaves. The zero value is
// perfect: no delay, no loss.
type Link struct {
	DelayMin, DelayMax time.Duration // of each batch, uniform
	Loss               float64       // chance that a message is lost
	Duplicate          float64       // chance that a message comes a second time
	Reorder            float64       // chance that a batch may overtake others
	Cut                bool          // everything is lost, silently
}

// Network is a network in memory between any number of nodes, for tests. With
// the same seed and the same calls it does the same things.
//
// It has a clock of its own: either the test moves it with Advance, and all
// deliveries happen inside that call, on one goroutine; or Run moves it with
// real time on a goroutine of its own, which under testing/synctest is the fake
// time of the bubble.
//
// Differs from a real network only where Link says so: Duplicate and Reorder
// break what Transport promises, on purpose.
type Network struct {
	mu       sync.Mutex // guards what follows; not held while a handler runs
	idle     sync.Cond  // a handler returned
	rng      *rand.Rand
	now      time.Duration
	seq      uint64
	queue    deliveries
	usual    Link
	links    map[way]Link
	nodes    map[ids.NodeID]*endpoint
	queued   map[wayLane]int64
	latest   map[wayLane]time.Duration // due time of the last batch in order
	queueMax int64
	counts   NetworkStats

	wake chan struct{} // capacity 1; only with Run
	stop chan struct{} // closed by Close
	done chan struct{} // closed by the goroutine; nil without Run
}

// NetworkStats count messages.
type NetworkStats struct{ Sent, Delivered, Lost, Duplicated, Overflowed uint64 }

type way struct{ from, to ids.NodeID }

type wayLane struct {
	way
	lane Lane
}

// NewNetwork makes a network without nodes.
func NewNetwork(seed uint64) *Network {
	n := &Network{
		rng: rand.New(rand.NewPCG(seed, seed)), links: map[way]Link{}, nodes: map[ids.NodeID]*endpoint{},
		queued: map[wayLane]int64{}, latest: map[wayLane]time.Duration{}, queueMax: QueueBytesMax,
		wake: make(chan struct{}, 1), stop: make(chan struct{}),
	}
	n.idle.L = &n.mu
	return n
}

// SetQueueBytesMax changes how much is held per lane between two nodes.
func (n *Network) SetQueueBytesMax(bytes int64) { n.locked(func() { n.queueMax = bytes }) }

// SetLinks makes all ways behave like l, those set singly included.
func (n *Network) SetLinks(l Link) {
	n.locked(func() {
		n.usual = l
		clear(n.links)
	})
}

// SetLink changes one way, in one direction. What is under way keeps its fate.
func (n *Network) SetLink(from, to ids.NodeID, l Link) {
	n.locked(func() { n.links[way{from, to}] = l })
}

// Isolate cuts a node off in both directions; Heal joins it again, with the
// usual links.
func (n *Network) Isolate(id ids.NodeID) { n.each(id, func(w way) { n.links[w] = Link{Cut: true} }) }

// Heal undoes Isolate and SetLink for a node.
func (n *Network) Heal(id ids.NodeID) { n.each(id, func(w way) { delete(n.links, w) }) }

func (n *Network) each(id ids.NodeID, f func(w way)) {
	n.locked(func() {
		for other := range n.nodes {
			f(way{id, other})
			f(way{other, id})
		}
	})
}

func (n *Network) locked(f func()) {
	n.mu.Lock()
	defer n.mu.Unlock()
	f()
}

// Stats gives a copy of the counters.
func (n *Network) Stats() (s NetworkStats) {
	n.locked(func() { s = n.counts })
	return s
}

// Node gives a node's transport. A node that was closed may be made again: it
// comes back like a restarted process.
func (n *Network) Node(id ids.NodeID) Transport {
	e := &endpoint{net: n, id: id}
	n.locked(func() { n.nodes[id] = e })
	return e
}

// Advance moves the clock and delivers everything that falls due, in order, on
// this goroutine. Not together with Run.
func (n *Network) Advance(d time.Duration) {
	n.mu.Lock()
	defer n.mu.Unlock()
	until := n.now + d
	for n.deliver(until) {
	}
	n.now = until
}

// Run moves the clock with real time until Close.
func (n *Network) Run() {
	n.done = make(chan struct{})
	go n.run(time.Now())
}

func (n *Network) run(start time.Time) {
	defer close(n.done)
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-n.stop:
			return
		case <-n.wake:
		case <-timer.C:
		}
		n.mu.Lock()
		n.now = time.Since(start)
		for n.deliver(n.now) {
		}
		if len(n.queue) > 0 {
			timer.Reset(n.queue[0].due - n.now)
		}
		n.mu.Unlock()
	}
}

// Close ends Run; nodes are closed by their owners.
func (n *Network) Close() {
	select {
	case <-n.stop:
	default:
		close(n.stop)
	}
	if n.done != nil {
		<-n.done
	}
}

// deliver takes the next delivery that is due, if there is one, and unlocks
// while the handler runs.
func (n *Network) deliver(until time.Duration) bool {
	if len(n.queue) == 0 || n.queue[0].due > until {
		return false
	}
	d := heap.Pop(&n.queue).(*delivery)
	n.now = max(n.now, d.due)
	if !d.report {
		n.queued[d.way] -= d.bytes
	}
	to := n.nodes[d.to]
	if to == nil || to.closed || to.handler == nil {
		return true // gone while it was under way
	}
	to.busy++
	n.mu.Unlock()
	d.call(to.handler)
	n.mu.Lock()
	to.busy--
	if !d.report {
		n.counts.Delivered += uint64(len(d.batch))
	}
	n.idle.Broadcast()
	return true
}

// endpoint is one node's transport.
type endpoint struct {
	net *Network
	id  ids.NodeID

	handler Handler // all guarded by net.mu
	closed  bool
	busy    int // calls of handler under way
}

// Start implements Transport.
func (e *endpoint) Start(h Handler) { e.net.locked(func() { e.handler = h }) }

// Close implements Transport.
func (e *endpoint) Close() error {
	n := e.net
	n.mu.Lock()
	defer n.mu.Unlock()
	e.closed = true
	if n.nodes[e.id] == e {
		delete(n.nodes, e.id)
	}
	for e.busy > 0 {
		n.idle.Wait()
	}
	return nil
}

// Send implements Transport.
func (e *endpoint) Send(to ids.NodeID, lane Lane, batch []Envelope) {
	n := e.net
	n.mu.Lock()
	defer n.mu.Unlock()
	if e.closed || len(batch) == 0 {
		return
	}
	n.counts.Sent += uint64(len(batch))
	if n.send(way{e.id, to}, lane, batch) {
		select {
		case n.wake <- struct{}{}:
		default:
		}
	}
}

// send decides the fate of each message, and says whether anything was queued.
func (n *Network) send(w way, lane Lane, batch []Envelope) bool {
	link, ok := n.links[w]
	if !ok {
		link = n.usual
	}
	if link.Cut {
		n.counts.Lost += uint64(len(batch))
		return false
	}
	first, again := &delivery{}, &delivery{}
	for i := range batch {
		if n.rng.Float64() < link.Loss {
			n.counts.Lost++
			continue
		}
		first.add(batch[i])
		if n.rng.Float64() < link.Duplicate {
			n.counts.Duplicated++
			again.add(batch[i])
		}
	}
	return n.enqueue(w, lane, link, first) && (len(again.batch) == 0 || n.enqueue(w, lane, link, again))
}

func (n *Network) enqueue(w way, lane Lane, link Link, d *delivery) bool {
	if len(d.batch) == 0 {
		return false
	}
	d.from, d.to, d.way = w.from, w.to, wayLane{w, lane}
	full := n.queued[d.way] > 0 && n.queued[d.way]+d.bytes > n.queueMax
	if n.nodes[w.to] == nil || full {
		if full {
			n.counts.Overflowed += uint64(len(d.batch))
		}
		d.report, d.to = true, w.from
		n.push(d, n.now)
		return true
	}
	due := n.now + link.DelayMin
	if spread := link.DelayMax - link.DelayMin; spread > 0 {
		due += time.Duration(n.rng.Int64N(int64(spread)))
	}
	if link.Reorder == 0 || n.rng.Float64() >= link.Reorder {
		due = max(due, n.latest[d.way])
		n.latest[d.way] = due
	}
	n.queued[d.way] += d.bytes
	n.push(d, due)
	return true
}

func (n *Network) push(d *delivery, due time.Duration) {
	n.seq++
	d.due, d.seq = due, n.seq
	heap.Push(&n.queue, d)
}

// delivery is a batch under way, or the report that it went nowhere.
type delivery struct {
	due      time.Duration
	seq      uint64
	way      wayLane
	from, to ids.NodeID
	report   bool
	batch    []Envelope
	bytes    int64
}

func (d *delivery) add(e Envelope) {
	d.batch = append(d.batch, e)
	d.bytes += Size(&e.Message)
}

func (d *delivery) call(h Handler) {
	if !d.report {
		h.Receive(d.from, d.batch)
		return
	}
	type member struct {
		group ids.GroupID
		to    uint64
	}
	told := map[member]bool{}
	for i := range d.batch {
		e := &d.batch[i]
		m := member{e.Group, e.Message.To}
		if !told[m] {
			told[m] = true
			h.Unreachable(d.way.to, e.Group, ids.ReplicaID(m.to))
		}
	}
}

// deliveries is a heap by due time, then by age.
type deliveries []*delivery

func (q deliveries) Len() int      { return len(q) }
func (q deliveries) Swap(i, j int) { q[i], q[j] = q[j], q[i] }
func (q deliveries) Less(i, j int) bool {
	return q[i].due < q[j].due || q[i].due == q[j].due && q[i].seq < q[j].seq
}
func (q *deliveries) Push(x any) { *q = append(*q, x.(*delivery)) }
func (q *deliveries) Pop() any {
	old := *q
	d := old[len(old)-1]
	old[len(old)-1] = nil
	*q = old[:len(old)-1]
	return d
}
