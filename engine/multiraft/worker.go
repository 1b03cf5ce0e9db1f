package multiraft

import (
	"cmp"
	"context"
	"maps"
	"runtime/pprof"
	"slices"
	"strconv"
	"time"

	"go.etcd.io/raft/v3/raftpb"

	"dyno/engine/events"
	"dyno/engine/ids"
	"dyno/engine/replica"
	"dyno/engine/transport"
)

// worker runs the replicas of its share of the groups on one goroutine. A drain:
//
//	take the mailbox whole
//	for each finished append: answer WaitDurable, step its responses
//	run calls, step messages, tick, sort proposals by group
//	for each group touched: Propose, Turn   (commit -> apply -> answer inside)
//	send messages to peers                  (before the local sync)
//	submit ONE append with the records of all groups
//
// Whatever arrives meanwhile is the next drain, which begins at the latest when
// the append is durable: batches grow with load, and nothing waits for a timer.
type worker struct {
	m    *Manager
	box  mailbox
	done chan struct{} // closed when the goroutine ends

	// Owner: the goroutine.
	in       inbox // scratch for take
	out      replica.Output
	current  *batch // collects this drain's records
	inflight []*batch
	free     []*batch
	groups   map[ids.GroupID]*Group
	touched  []*Group
	ticking  []*Group
	peers    map[ids.NodeID]*[transport.Lanes][]transport.Envelope
	order    []ids.NodeID // the keys of peers, ascending
	tail     tail
	idle     []chan struct{} // closed once nothing is pending, see Quiet
	closing  bool
	resting  bool         // see Rest
	looks    *time.Ticker // of a worker that polls, see look; nil of any other
	counts   counters

	// What a drain left to the next one, see Config.DrainBytesMax.
	later     []*Group  // that have more to propose
	unstepped []message // of peers; those in the box come after them
}

func (m *Manager) newWorker() *worker {
	w := &worker{m: m, done: make(chan struct{}), groups: map[ids.GroupID]*Group{}}
	w.box.wake = make(chan struct{}, 1)
	w.box.max = m.cfg.MailboxBytesMax
	if m.cfg.Poll > 0 {
		w.box.ended = make(chan struct{}, 1)
	} else if most := m.cfg.DrainBytesMax; most > 0 { // a worker that polls takes all there is
		w.out.ProposeMax = max(1, most/int64(m.cfg.Workers))
	}
	w.tail.max = m.cfg.TailBytes / int64(m.cfg.Workers)
	w.peers = map[ids.NodeID]*[transport.Lanes][]transport.Envelope{}
	return w
}

func (w *worker) run(n int) {
	defer close(w.done)
	pprof.SetGoroutineLabels(pprof.WithLabels(context.Background(), pprof.Labels("raft-worker", strconv.Itoa(n))))
	w.current = w.newBatch()
	if every := w.m.cfg.Poll; every > 0 {
		w.looks = time.NewTicker(every)
		defer w.looks.Stop()
	}
	for {
		w.await()
		w.drain(&w.in)
		w.in.reset()
		if w.resting {
			w.rest()
		}
		w.box.hold(len(w.inflight) > 0)
		if w.closing && len(w.inflight) == 0 {
			w.box.close()
			// What was put since take is refused like everything after it.
			rest := w.box.take(inbox{}, false)
			w.refuse(&rest)
			return
		}
	}
}

// await takes the mailbox as soon as there is something in it.
func (w *worker) await() {
	if w.looks != nil {
		w.look()
		return
	}
	<-w.box.wake
	if forced().has(mutLinger) {
		w.box.linger()
	}
	w.in = w.box.take(w.in, len(w.unstepped) > 0)
}

func (w *worker) drain(in *inbox) {
	w.counts.drains.Add(1)
	if w.out.Full = w.m.cfg.Log.Full(); w.out.Full != w.m.full.Load() {
		w.m.full.Store(w.out.Full)
	}
	now := w.m.cfg.NowMS()
	for _, b := range in.done {
		w.completed(b)
	}
	for _, f := range in.calls {
		f()
	}
	w.out.Proposed = 0
	w.resume()
	w.stepAll(in)
	if in.tick {
		w.tick()
	}
	for _, p := range in.props {
		p.group.waiting = append(p.group.waiting, p.p)
		w.touch(p.group)
	}
	w.turn(now)
	w.settle()
	if len(w.later)+len(w.unstepped) > 0 {
		w.box.again()
	}
}

// resume touches the groups that had more to propose than the last drain took.
func (w *worker) resume() {
	for _, g := range w.later {
		if w.groups[g.spec.Group] == g { // it may be gone
			w.touch(g)
		}
	}
	clear(w.later)
	w.later = w.later[:0]
}

// stepAll steps the messages of peers in order, as many as the drain may take.
func (w *worker) stepAll(in *inbox) {
	list := in.messages
	if len(w.unstepped) > 0 {
		list = w.unstepped
	}
	n := w.step(list)
	left := append(w.unstepped[:0], list[n:]...)
	clear(w.unstepped[min(len(left), len(w.unstepped)):])
	w.unstepped = left
}

// step steps messages until their entries are as many bytes as the drain may take,
// and says how many.
func (w *worker) step(list []message) int {
	bytes, most := int64(0), w.out.ProposeMax
	for i := range list {
		g, m := list[i].group, &list[i].m
		if most > 0 && bytes >= most {
			return i
		}
		for j := range m.Entries {
			bytes += int64(len(m.Entries[j].Data))
		}
		switch {
		case m.Type == raftpb.MsgUnreachable:
			g.rep.Unreachable(ids.ReplicaID(m.From))
		case w.out.Full && m.Type == raftpb.MsgApp && len(m.Entries) > 0:
			// No room for the entries: as if the message was lost. The leader
			// sends them again, and learns by its heartbeats that we live.
			w.counts.full.Add(1)
			continue
		default:
			g.rep.Step(m)
		}
		w.touch(g)
	}
	return len(list)
}

// tick passes time to the groups it matters to; those it does not matter to any
// more leave the list.
func (w *worker) tick() {
	keep := w.ticking[:0]
	for _, g := range w.ticking {
		if !g.rep.NeedsTick() {
			g.ticking = false
			continue
		}
		if g.rep.Tick() {
			w.touch(g)
		}
		keep = append(keep, g)
	}
	clear(w.ticking[len(keep):])
	w.m.ticker.add(len(keep) - len(w.ticking))
	w.ticking = keep
}

func (w *worker) touch(g *Group) {
	if !g.touched {
		g.touched = true
		w.touched = append(w.touched, g)
	}
}

// turn runs everything that was touched until nothing is. It goes round more
// than once when Raft wanted to hear of an append that had nothing to write.
func (w *worker) turn(now int64) {
	for len(w.touched) > 0 {
		for _, g := range w.touched {
			g.touched = false
			w.turnGroup(g, now)
		}
		clear(w.touched)
		w.touched = w.touched[:0]
		w.send()
		w.submit()
	}
}

func (w *worker) turnGroup(g *Group, now int64) {
	if len(g.waiting) > 0 {
		g.rep.Propose(g.waiting)
		clear(g.waiting)
		g.waiting = g.waiting[:0]
	}
	err := g.rep.Turn(now, &w.out)
	if w.out.Later {
		w.out.Later = false
		w.later = append(w.later, g)
	}
	w.collect(g)
	g.publish(err)
	if !g.ticking && g.rep.NeedsTick() {
		g.ticking = true
		w.ticking = append(w.ticking, g)
		w.m.ticker.add(1)
	}
}

// collect moves what g put out to where it is sent and stored from.
func (w *worker) collect(g *Group) {
	for i := range w.out.Stored {
		w.current.stored = append(w.current.stored, storedFor{g, w.out.Stored[i]})
	}
	for i := range w.out.Snapshots {
		w.m.install(g, w.out.Snapshots[i].Snapshot)
	}
	for i := range w.out.Messages {
		w.post(g, &w.out.Messages[i])
	}
	w.out.ResetMessages()
}

// post puts a message of g where it is sent from.
func (w *worker) post(g *Group, m *raftpb.Message) {
	node := g.nodeOf(m.To)
	if node == 0 {
		return // left the group
	}
	lanes := w.peers[node]
	if lanes == nil {
		lanes = new([transport.Lanes][]transport.Envelope)
		w.peers[node] = lanes
		at, _ := slices.BinarySearch(w.order, node)
		w.order = slices.Insert(w.order, at, node)
	}
	if m.Type == raftpb.MsgSnap {
		w.counts.sentSnapshots.Add(1)
		w.m.cfg.Listener.Event(events.SnapshotSent{
			Group: g.spec.Group, To: ids.ReplicaID(m.To), Peer: node, Index: ids.LogIndex(m.Snapshot.Metadata.Index), Bytes: int64(len(m.Snapshot.Data)),
		})
	}
	lane := transport.LaneOf(m)
	lanes[lane] = append(lanes[lane], transport.Envelope{Group: g.spec.Group, Message: *m})
}

// send hands each peer one batch per lane: one frame carries the heartbeats of
// all groups. The order of peers is fixed, so that a simulation replays.
func (w *worker) send() {
	for _, node := range w.order {
		lanes := w.peers[node]
		for lane := range lanes {
			batch := lanes[lane]
			if len(batch) == 0 {
				continue
			}
			if w.m.cfg.Transport != nil {
				w.m.cfg.Transport.Send(node, transport.Lane(lane), batch)
				w.counts.messages.Add(uint64(len(batch)))
			}
			clear(batch)
			lanes[lane] = batch[:0]
		}
	}
}

// submit appends what this drain collected. Responses without records need no
// append: they wait for the last one in flight, or for nothing.
func (w *worker) submit() {
	b := w.current
	switch {
	case len(w.out.Records) > 0:
		b.append.Records, w.out.Records = w.out.Records, b.append.Records[:0]
		w.current = w.newBatch()
		w.inflight = append(w.inflight, b)
		w.counts.appends.Add(1)
		w.counts.records.Add(uint64(len(b.append.Records)))
		if err := w.m.cfg.Log.Submit(&b.append); err != nil {
			w.inflight = w.inflight[:len(w.inflight)-1]
			w.m.fail(err)
			w.failed(b)
		}
	case len(b.stored) == 0 && len(b.calls) == 0:
	case len(w.inflight) > 0:
		last := w.inflight[len(w.inflight)-1]
		last.stored = append(last.stored, b.stored...)
		last.calls = append(last.calls, b.calls...)
		b.clear()
	default:
		w.current = w.newBatch()
		w.deliver(b)
	}
}

// completed takes a finished append: they finish in the order of submission.
func (w *worker) completed(b *batch) {
	if len(w.inflight) == 0 || w.inflight[0] != b {
		panic("BUG: log finished appends out of order")
	}
	n := copy(w.inflight, w.inflight[1:])
	w.inflight[n] = nil
	w.inflight = w.inflight[:n]
	if b.err != nil {
		w.m.fail(b.err)
		w.failed(b)
		return
	}
	w.deliver(b)
}

func (w *worker) deliver(b *batch) {
	for i := range b.stored {
		g := b.stored[i].group
		g.rep.Stored(&b.stored[i].s, &w.out)
		w.collect(g)
		w.touch(g)
	}
	for _, f := range b.calls {
		f()
	}
	w.release(b)
}

// failed is the end of every group of this worker: its log is dead.
func (w *worker) failed(b *batch) {
	w.stopAll(w.m.failure())
	for _, f := range b.calls {
		f()
	}
	w.release(b)
}

func (w *worker) stopAll(err error) {
	for _, g := range w.byID() {
		g.rep.Stop(err)
		w.touch(g) // publish
	}
}

// byID gives the groups in a fixed order: what a stop writes and whom it tells
// first is the same in every run of a simulation.
func (w *worker) byID() []*Group {
	return slices.SortedFunc(maps.Values(w.groups), func(a, b *Group) int { return cmp.Compare(a.spec.Group, b.spec.Group) })
}

// settle tells those who wait for silence.
func (w *worker) settle() {
	if len(w.idle) == 0 {
		return
	}
	for _, g := range w.groups {
		if g.rep.Pending() > 0 {
			return
		}
	}
	if len(w.inflight)+len(w.unstepped) > 0 {
		return
	}
	for _, c := range w.idle {
		close(c)
	}
	w.idle = nil
}

// close stops all groups; the goroutine ends when nothing is in flight.
func (w *worker) close() {
	for _, g := range w.byID() {
		if g.rep.Err() == nil {
			g.rep.Flush(&w.out)
			w.collect(g)
		}
	}
	w.stopAll(replica.ErrStopped)
	w.submit()
	w.closing = true
}

// refuse answers what came too late.
func (w *worker) refuse(in *inbox) {
	for _, p := range in.props {
		p.p.Refuse(replica.ErrStopped)
	}
	for _, f := range in.calls {
		f()
	}
}
