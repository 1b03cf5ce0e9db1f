package engine

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"dyno/engine/events"
	"dyno/engine/ids"
	"dyno/engine/metadata"
	"dyno/engine/multiraft"
	"dyno/engine/replica"
)

// Where leaders lie. A partition's first replica is its preferred leader: the
// node that leads in its stead hands over once that replica is in sync, so that
// leaders spread again after a node was away. A node that drains hands over
// everything it leads to whichever replica lacks least.

const (
	// preferAfter is how long a node leads before it hands over to the preferred
	// leader, as rounds of isr.
	preferAfter = 5
	// preferMax bounds the handovers of one round: each costs its partition an
	// election.
	preferMax = 50
)

// prefer hands leadership to preferred leaders.
func (i *isr) prefer() {
	n := i.node
	img := n.meta.Image()
	left := preferMax
	for _, h := range i.leading {
		t, ok := img.TopicByID(h.topic)
		if !ok || int(h.part) >= len(t.Partitions) || h.led.rounds < preferAfter || left == 0 {
			continue
		}
		if t.Partitions[h.part].Target != nil {
			continue // it is being moved
		}
		first := t.Partitions[h.part].Replicas[0]
		b, ok := img.Broker(first.Node)
		if first.Node == n.identity.NodeID || !ok || !b.Taking() || !slices.Contains(h.syncedNodes(), first.Node) {
			continue
		}
		for _, m := range h.view.members {
			if m.ID == first.ID && !m.Learner && m.Match+isrBack >= h.view.commit {
				_ = h.group.Transfer(m.ID) // refused: somebody else leads by now
				left--
			}
		}
	}
}

// led counts the rounds of isr in which this node led in the same term.
type led struct {
	term   ids.Term
	rounds int
}

func (l *led) count(term ids.Term) {
	if l.term != term {
		*l = led{term: term}
	}
	l.rounds++
}

const (
	drainStep = 20 * time.Millisecond // between two looks at what is still led
	// drainFence bounds each word to the metadata: a cluster that stops as a
	// whole loses its majority meanwhile.
	drainFence = time.Second
)

// Drain makes the node ready to stop without anybody noticing: it says so in the
// metadata, hands every leadership to another node, has itself fenced, and answers
// for a moment those who ask where to go. It returns when that is done, when
// nobody can take over, or when ctx ends. The node serves on; Close ends it.
func (n *Node) Drain(ctx context.Context) error {
	if n.transport() == nil {
		return nil
	}
	began, led := time.Now(), n.raft.Health().Leaders
	n.notices.Event(events.DrainPhase{Phase: "fence"})
	if err := n.fenceSelf(ctx, true); err != nil {
		n.cfg.Log.Warn("draining without the metadata's knowledge", "node", n.identity.NodeID, "err", err)
	}
	tick := time.NewTicker(drainStep)
	defer tick.Stop()
	for {
		left, err := n.handOver(ctx)
		if err != nil {
			return err
		}
		n.notices.Event(events.DrainPhase{Phase: "transfer", Left: left})
		if left == 0 {
			break
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("%w: %d leaderships could not be handed over", replica.ErrTimeout, left)
		}
	}
	n.notices.Event(events.DrainPhase{Phase: "leave"})
	if err := n.fenceSelf(ctx, false); err != nil {
		n.cfg.Log.Info("left without being fenced; the controller will", "node", n.identity.NodeID, "err", err)
	}
	n.linger(ctx)
	n.cfg.Log.Info("drained: everything is handed over", "node", n.identity.NodeID, "groups", led, "for", time.Since(began).Round(time.Millisecond))
	return nil
}

// linger lets those who were refused ask where to go, here too: it returns when
// nobody has produced or asked for metadata for lingerQuiet, after lingerMax at
// most, and at once without clients.
func (n *Node) linger(ctx context.Context) {
	asked := func() int64 {
		s := n.front.Snapshot()
		return s.Requests["Produce"] + s.Requests["Metadata"]
	}
	if n.front.Snapshot().Connections == 0 {
		return
	}
	n.notices.Event(events.DrainPhase{Phase: "linger"})
	ctx, cancel := context.WithTimeout(ctx, lingerMax)
	defer cancel()
	quiet := time.NewTimer(lingerQuiet)
	defer quiet.Stop()
	tick := time.NewTicker(drainStep)
	defer tick.Stop()
	for last := asked(); ; {
		select {
		case <-tick.C:
			if now := asked(); now != last {
				last = now
				quiet.Reset(lingerQuiet)
			}
		case <-quiet.C:
			return
		case <-ctx.Done():
			return
		}
	}
}

const (
	lingerQuiet = 100 * time.Millisecond // Java's retry.backoff.ms; librdkafka asks as often while it has no leader
	lingerMax   = time.Second
)

func (n *Node) fenceSelf(ctx context.Context, drain bool) error {
	ctx, cancel := context.WithTimeout(ctx, drainFence)
	defer cancel()
	b, ok := n.meta.Image().Broker(n.identity.NodeID)
	if !ok {
		return metadata.ErrUnknownBroker
	}
	_, err := n.change(ctx, &metadata.FenceBroker{Node: b.Node, Incarnation: b.Incarnation, Drain: drain})
	return err
}

// handOver asks the best replica of each group that this node leads to lead it,
// and counts those that somebody can take over and has not yet.
func (n *Node) handOver(ctx context.Context) (left int, err error) {
	type move struct {
		g  *multiraft.Group
		to ids.ReplicaID
	}
	moves := make(chan move, 1024) // capacity: a worker that finds more leaves them to the next look
	img := n.meta.Image()
	err = n.raft.Led(ctx, func(g *multiraft.Group, lead multiraft.Lead) {
		best := replica.Progress{}
		for _, m := range lead.Members {
			b, ok := img.Broker(g.NodeOf(m.ID))
			if m.ID != g.Replica() && !m.Learner && ok && b.Taking() && m.Silent <= drainSilence && m.Match >= best.Match {
				best = m
			}
		}
		if best.ID == 0 {
			return
		}
		select {
		case moves <- move{g, best.ID}:
		default:
		}
	})
	if err != nil {
		return 0, err
	}
	for {
		select {
		case m := <-moves:
			if terr := m.g.Transfer(m.to); terr == nil || errors.Is(terr, replica.ErrNotLeader) {
				left++
			}
		default:
			return left, nil
		}
	}
}

// drainSilence is how many ticks a replica may be silent that is to lead: three
// heartbeats.
const drainSilence = 15
