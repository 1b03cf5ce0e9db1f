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

	disk      fullDisk // owner: run
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
	i := &isr{node: n, rest: newRest(), wake: make(chan struct{}, 1), done: make(chan struct{})}
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
	var mu sync.Mutex // guards views: workers fill it at once
	views := map[ids.GroupID]isrView{}
	ctx, cancel := context.WithTimeout(ctx, isrPatience)
	defer cancel()
	err := n.raft.Led(ctx, func(g *multiraft.Group, members []replica.Progress) {
		s := g.Status()
		if s.State != replica.Leader {
			return // published at the end of this turn
		}
		v := isrView{term: s.Term, members: slices.Clone(members), commit: s.Commit} // members is the worker's
		mu.Lock()
		defer mu.Unlock()
		views[g.ID()] = v
	})
	if err != nil {
		return false // the node is closing, or so busy that it looks again later
	}
	i.tellAbandoned()
	i.tendDisk(ctx)
	i.fence(ctx, views)
	i.tell(ctx, i.changes(views))
	i.prefer(views)
	return i.move(ctx, views)
}

// tellAbandoned says in one line what the leaders of many groups did.
func (i *isr) tellAbandoned() {
	if now := i.node.raft.Stats().Abandoned; now != i.abandoned {
		i.node.cfg.Log.Warn("gave up leading: no majority of the replicas answers", "node", i.node.identity.NodeID, "groups", now-i.abandoned)
		i.abandoned = now
	}
}

// isrView is what a leader knew of its members at one moment.
type isrView struct {
	term    ids.Term
	commit  ids.LogIndex
	members []replica.Progress
}

// changes works the views into the hosted partitions and gives what the metadata
// does not say.
func (i *isr) changes(views map[ids.GroupID]isrView) []metadata.PartitionISR {
	n := i.node
	img := n.meta.Image()
	var out []metadata.PartitionISR
	i.lags.begin()
	defer i.lags.end(n)
	for _, h := range n.hosts.list() {
		v, leads := views[h.group.ID()]
		if !leads {
			continue
		}
		h.led.count(v.term)
		t, ok := img.TopicByID(h.topic)
		if !ok || int(h.part) >= len(t.Partitions) {
			continue
		}
		said := &t.Partitions[h.part]
		in := v.inSync(h, said.ISR)
		i.lags.note(h, &v, h.wasInSync(said.ISR), in)
		h.setInSync(in)
		if said.Leader == n.identity.NodeID && said.Term == v.term && slices.Equal(said.ISR, in) {
			continue
		}
		out = append(out, metadata.PartitionISR{Topic: h.topic, Partition: h.part, Term: v.term, ISR: in})
	}
	return out
}

// inSync gives the nodes in sync, ascending. before is who was.
func (v *isrView) inSync(h *hosted, before []ids.NodeID) []ids.NodeID {
	var in []ids.NodeID
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
