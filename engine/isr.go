package engine

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"dyno/engine/events"
	"dyno/engine/ids"
	"dyno/engine/metadata"
	"dyno/engine/multiraft"
	"dyno/engine/replica"
)

// isr watches the replicas of every partition that this node leads and says, in
// the metadata, who leads and who is in sync. Produce and the answers to clients
// use the leader's own view at once; the metadata follows.
//
// In sync is a voter that answered within isrSilence and lacks at most isrLag
// entries of what the leader has committed; one that fell out comes back when it
// lacks at most isrBack.
//
// One goroutine looks every isrEvery, and soon after this node came to lead.
type isr struct {
	node *Node
	rest rest          // owner: run
	wake chan struct{} // capacity 1; sent to by led; never closed

	ctx    context.Context // of the goroutine's rounds
	cancel context.CancelFunc
	done   chan struct{} // closed by run

	seen      *seen        // owner: look; used again while no call of it is out
	in        []ids.NodeID // owner: changes; scratch
	leading   []leading    // owner: look; the partitions of this round
	disk      fullDisk     // owner: run
	lags      lags
	abandoned uint64 // leaderships given up for want of a majority that were told; owner: run
}

const (
	isrEvery   = time.Second
	isrSoon    = 20 * time.Millisecond  // after a first leadership: others may follow
	isrMoving  = 100 * time.Millisecond // while replicas are moved
	isrLag     = 10_000                 // entries, as features.md says
	isrBack    = isrLag / 10
	isrSilence = 10 * time.Second
	// isrPatience bounds one attempt to tell the metadata.
	isrPatience = 5 * time.Second
)

func newISR(n *Node) *isr {
	i := &isr{node: n, rest: newRest(n), wake: make(chan struct{}, 1), done: make(chan struct{})}
	i.ctx, i.cancel = context.WithCancel(context.Background())
	return i
}

func (i *isr) start() { go i.run() }

// Close ends the goroutine. Idempotent.
func (i *isr) Close() error {
	i.cancel()
	<-i.done
	return nil
}

// led says that this node came to lead a group, or that something else is to be
// looked at soon. It never blocks.
func (i *isr) led() {
	select {
	case i.wake <- struct{}{}:
	default:
	}
}

func (i *isr) run() {
	defer close(i.done)
	timer := time.NewTimer(isrEvery)
	defer timer.Stop()
	for {
		select {
		case <-timer.C:
			i.rest.look(i.node.raft.Stats().Appends)
			if i.look(i.ctx) {
				timer.Reset(isrMoving)
			} else {
				timer.Reset(isrEvery)
			}
		case <-i.wake:
			timer.Reset(isrSoon)
		case <-i.ctx.Done():
			return
		}
	}
}

// look compares what the leaders of this node know with what the metadata says,
// tells it the difference, and takes the steps that follow. moving says that there
// are more to take soon.
func (i *isr) look(ctx context.Context) (moving bool) {
	n := i.node
	ctx, cancel := context.WithTimeout(ctx, isrPatience)
	defer cancel()
	if i.seen == nil {
		i.seen = &seen{}
	}
	seen := i.seen
	seen.reset()
	if err := n.raft.Led(ctx, seen.add); err != nil {
		i.seen = nil // a worker may still add to it
		return false // the node is closing, or so busy that it looks again later
	}
	i.leading = n.hosts.leading(seen.views, i.leading)
	i.tellAbandoned()
	i.tendDisk(ctx)
	i.fence(ctx, seen.of(ids.MetadataGroup))
	i.tell(ctx, i.changes())
	i.prefer()
	return i.move(ctx, seen.of(ids.MetadataGroup))
}

// tellAbandoned says in one line what the leaders of many groups did.
func (i *isr) tellAbandoned() {
	if now := i.node.raft.Stats().Abandoned; now != i.abandoned {
		i.node.cfg.Log.Warn("gave up leading: no majority of the replicas answers", "node", i.node.identity.NodeID, "groups", now-i.abandoned)
		i.abandoned = now
	}
}

// seen is what one look found of the groups that this node leads. Looks use it in
// turn: a node with many partitions that nobody uses would fill its heap with
// nothing else.
type seen struct {
	mu      sync.Mutex // guards what follows while workers add
	views   []isrView
	members []replica.Progress // of all views
}

func (s *seen) reset() {
	s.views, s.members = s.views[:0], s.members[:0]
}

// of gives the view of a group, nil where this node does not lead it.
func (s *seen) of(g ids.GroupID) *isrView {
	for i := range s.views {
		if s.views[i].group == g {
			return &s.views[i]
		}
	}
	return nil
}

// add takes one group; workers call it at once. The members' slice is the worker's.
func (s *seen) add(g *multiraft.Group, lead multiraft.Lead) {
	s.mu.Lock()
	defer s.mu.Unlock()
	from := len(s.members)
	s.members = append(s.members, lead.Members...) // where it moves, earlier views keep the old memory
	s.views = append(s.views, isrView{group: g.ID(), term: lead.Term, commit: lead.Commit, members: s.members[from:len(s.members):len(s.members)]})
}

// leading is a partition that this node leads, as one look found it.
type leading struct {
	*hosted
	view *isrView
}

// isrView is what a leader knew of its members at one moment.
type isrView struct {
	group   ids.GroupID
	term    ids.Term
	commit  ids.LogIndex
	members []replica.Progress
}

// changes works the views into the partitions and gives what the metadata does
// not say.
func (i *isr) changes() []metadata.PartitionISR {
	n := i.node
	img := n.meta.Image()
	var out []metadata.PartitionISR
	i.lags.begin()
	defer i.lags.end(n)
	for _, l := range i.leading {
		h, v := l.hosted, l.view
		h.led.count(v.term)
		t, ok := img.TopicByID(h.topic)
		if !ok || int(h.part) >= len(t.Partitions) {
			continue
		}
		said := &t.Partitions[h.part]
		in := v.inSync(i.in[:0], h, said.ISR)
		i.in = in
		i.lags.note(h, v, h.wasInSync(said.ISR), in)
		h.setInSync(in)
		if said.Leader == n.identity.NodeID && said.Term == v.term && slices.Equal(said.ISR, in) {
			continue
		}
		out = append(out, metadata.PartitionISR{Topic: h.topic, Partition: h.part, Term: v.term, ISR: slices.Clone(in)})
	}
	return out
}

// inSync appends the nodes in sync to in, which is empty, ascending. before is who was.
func (v *isrView) inSync(in []ids.NodeID, h *hosted, before []ids.NodeID) []ids.NodeID {
	silence := int(isrSilence / multiraft.TickDefault)
	for _, m := range v.members {
		node := h.nodeOf(m.ID)
		if m.Learner || node == 0 {
			continue
		}
		lag := ids.LogIndex(isrBack)
		if slices.Contains(before, node) {
			lag = isrLag
		}
		if m.Silent <= silence && m.Match+lag >= v.commit {
			in = append(in, node)
		}
	}
	slices.Sort(in)
	return in
}

// tell brings changes into the metadata. What fails is told with the next look.
func (i *isr) tell(ctx context.Context, list []metadata.PartitionISR) {
	n := i.node
	for part := range slices.Chunk(list, metadata.ISRChangesMax) {
		_, err := n.change(ctx, &metadata.SetISR{Node: n.identity.NodeID, Partitions: part})
		if err != nil {
			if !errors.Is(err, replica.ErrStopped) && ctx.Err() == nil {
				n.cfg.Log.Warn("in-sync replicas could not be published; it will be tried again", "node", n.identity.NodeID, "partitions", len(part), "err", err)
			}
			return
		}
		for _, p := range part {
			n.notices.Event(events.ISRChanged{Topic: p.Topic, Partition: p.Partition, Term: p.Term, ISR: p.ISR})
		}
	}
}
