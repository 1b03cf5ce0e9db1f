package enginetest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"dyno/engine/ids"
	"dyno/engine/metadata"
	"dyno/engine/multiraft"
	"dyno/engine/partition"
	"dyno/engine/replica"
	"dyno/engine/store"
	"dyno/wal"
)

// Replicas move as they do in a cluster: what is to be stands in the metadata
// (Reassign, Readmit), each node brings itself in line with it when it sees it (See),
// and the leader of the partition takes one step after the other (Step), which
// multiraft.Move decides. The metadata itself is always there and the same for all;
// nodes see it late or not at all, as the test wants, except that one which starts
// begins with the newest.

const topicName = "t"

// begin makes the metadata: nodes, one topic and its partitions.
func (c *Cluster) begin() {
	c.meta = metadata.New(metadata.Config{OnChange: func(m *metadata.Image, _ []metadata.Change) { c.learnReplicas(m) }})
	first := &metadata.ClusterCreated{ClusterID: "sim", Format: 1}
	for i := range c.cfg.Nodes {
		first.Replicas = append(first.Replicas, metadata.Replica{Node: ids.NodeID(i + 1), ID: ids.ReplicaID(i + 1)})
	}
	c.must(first)
	for i := range c.cfg.Nodes {
		n := ids.NodeID(i + 1)
		c.must(&metadata.RegisterBroker{Node: n, Kafka: "n:1", Raft: "n:2", Admin: "n:3", Incarnation: 1, Directory: directory(n, 0)})
	}
	topic := &metadata.CreateTopic{Name: topicName, ID: ids.TopicID{1}}
	for p := range c.cfg.Partitions {
		var nodes []ids.NodeID
		for i := range c.cfg.Replicas {
			nodes = append(nodes, ids.NodeID((p+i)%c.cfg.Nodes+1))
		}
		topic.Partitions = append(topic.Partitions, nodes)
	}
	c.must(topic)
}

func directory(n ids.NodeID, wiped int) string {
	return fmt.Sprintf("directory %d of node %d", wiped, n)
}

func (c *Cluster) must(r metadata.Record) {
	if err := c.record(r); err != nil {
		panic(fmt.Sprintf("BUG: metadata refuses %+v: %v", r, err))
	}
}

// record brings one record into the metadata, and gives its verdict.
func (c *Cluster) record(r metadata.Record) error {
	index := c.meta.Applied() + 1
	id := metadata.RequestID{1, byte(index >> 16), byte(index >> 8), byte(index)}
	q, err := c.meta.Prepare(id, 0, r)
	if err != nil {
		return err
	}
	if err := c.meta.Apply([]replica.Entry{{Index: index, Term: 1, Data: q.Data}}); err != nil {
		return err
	}
	q.Index = index
	q.Proposed(&q.Proposal, nil)
	_, err = q.Wait(context.Background())
	return err
}

// learnReplicas keeps where every replica lives or lived: ids are never used again.
func (c *Cluster) learnReplicas(m *metadata.Image) {
	for _, t := range m.Topics() {
		for i := range t.Partitions {
			for _, r := range t.Partitions[i].Replicas {
				c.where[r.ID] = r.Node
			}
		}
	}
}

// placed is what an image says of a partition.
func placedIn(m *metadata.Image, p int) *metadata.Partition {
	t, _ := m.Topic(topicName)
	return &t.Partitions[p]
}

// Placed is what the metadata says of a partition: shared, change nothing.
func (c *Cluster) Placed(p int) *metadata.Partition { return placedIn(c.meta.Image(), p) }

func members(list []metadata.Replica) (out []multiraft.Member) {
	for _, r := range list {
		out = append(out, multiraft.Member{Replica: r.ID, Node: r.Node})
	}
	return out
}

// Reassign says in the metadata where the replicas of a partition are to be, in
// order; nil takes a move that is under way back. Nobody sees it yet.
func (c *Cluster) Reassign(p int, nodes []ids.NodeID) error {
	err := c.record(&metadata.Reassign{Partitions: []metadata.PartitionNodes{{Topic: ids.TopicID{1}, Partition: ids.Partition(p), Nodes: nodes}}})
	if err == nil {
		c.note("plan: p%d is to be on nodes %s", p, idText(c.goal(p)))
	}
	return err
}

// goal is the nodes that a partition's replicas are, or are to be, on.
func (c *Cluster) goal(p int) (nodes []ids.NodeID) {
	part := c.Placed(p)
	if part.Target != nil {
		return part.Target
	}
	for _, r := range part.Replicas {
		nodes = append(nodes, r.Node)
	}
	return nodes
}

func idText(nodes []ids.NodeID) string {
	return strings.ReplaceAll(strings.Trim(fmt.Sprint(nodes), "[]"), " ", ",")
}

// Wipe ends the life of a node and takes its disks away: it comes back under other
// replica ids, which it gets here. The metadata refuses it where the others could not
// go on without the node; then nothing happens.
func (n *Node) Wipe(seed uint64) error {
	err := n.c.record(&metadata.Readmit{Node: n.id, Directory: directory(n.id, n.wiped+1), Old: directory(n.id, n.wiped)})
	if err != nil {
		return err
	}
	n.wiped++
	n.c.note("wipe %d", n.id)
	for p := range n.c.cfg.Partitions {
		if n.has[p] != 0 {
			n.c.passes(n, p)
		}
	}
	n.power.cut()
	n.end()
	n.newDisks(seed)
	return nil
}

// See shows the node the newest metadata: it opens the replicas that are placed here
// and ends those that are not. It says whether there was anything to do.
func (n *Node) See() (did bool) {
	if !n.up {
		return false
	}
	n.image = n.c.meta.Image()
	for p := range n.c.cfg.Partitions {
		part, m := placedIn(n.image, p), n.parts[p]
		id := part.On(n.id)
		switch {
		case m != nil && m.id != id:
			n.unhost(m)
			did = true
		case m != nil:
			m.group.SetMembers(members(part.Replicas))
		case id != 0 && n.leaving[p] == nil:
			n.c.note("open %d: p%d", n.id, p)
			if err := n.open(p); err != nil {
				n.c.Violation("node %d does not open p%d: %v", n.id, p, err)
			}
			did = true
		}
		n.c.settle()
	}
	return did
}

// unhost ends a replica and deletes all it held, on a goroutine that waits for an
// append and, for its files, at the gate.
func (n *Node) unhost(m *machine) {
	n.c.note("end  %d: p%d", n.id, m.p)
	m.gone.Store(true)
	n.c.passes(n, m.p)
	delete(n.parts, m.p)
	n.leaving[m.p] = m
	mgr := n.mgr
	n.movers.Go(func() {
		err := n.remove(m, mgr)
		n.c.mu.Lock()
		defer n.c.mu.Unlock()
		switch {
		case err == nil:
			delete(n.leaving, m.p)
		case n.up:
			n.c.violation("node %d: remove p%d: %v", n.id, m.p, err)
		}
	})
}

func (n *Node) remove(m *machine, mgr *multiraft.Manager) error {
	if err := mgr.Remove(context.Background(), group(m.p)); err != nil {
		return err
	}
	if m.files == nil {
		return nil
	}
	if err := n.gate.await(m.p); err != nil {
		return err
	}
	return m.files.Remove()
}

// sweep wipes what is left of replicas that the metadata has no more, before anything
// is opened.
func (n *Node) sweep() error {
	for _, s := range n.store.Streams() {
		p := partitionOf(ids.GroupID(s))
		if placedIn(n.image, p).On(n.id) != 0 {
			continue
		}
		if err := n.append(wal.Record{Stream: s, Kind: wal.KindRemove}); err != nil {
			return err
		}
	}
	for p := range n.c.cfg.Partitions {
		if placedIn(n.image, p).On(n.id) == 0 {
			if err := store.Remove(n.fileFS, filesDir(p)); err != nil {
				return err
			}
		}
	}
	return nil
}

// append writes to the log of a node that starts.
func (n *Node) append(records ...wal.Record) error {
	done := make(chan error, 1)
	err := n.store.Log.Submit(&wal.Append{Records: records, Sync: true, Reserve: true, Done: func(err error) { done <- err }})
	if err == nil {
		err = <-done
	}
	return err
}

// barrier is an entry that a step waits for.
type barrier struct {
	replica.Proposal
	c    *Cluster
	at   ids.LogIndex         // of the membership when it was asked for
	then *metadata.Reassigned // what to tell when it is committed; nil: nothing

	done bool // guarded by Cluster.mu, like err
	err  error
}

// Proposed implements replica.Waiter.
func (b *barrier) Proposed(_ *replica.Proposal, err error) {
	b.c.mu.Lock()
	defer b.c.mu.Unlock()
	b.done, b.err = true, err
}

// Step takes the next step of a move of a partition, if the node leads it. As in a
// broker it asks the metadata first what is to be, whatever it has seen. It may be that
// there is nothing to do until something else happened. It says whether it did anything.
func (n *Node) Step(p int) bool {
	m := n.parts[p]
	if !n.up || m == nil {
		return false
	}
	if m.barrier != nil {
		return n.passed(m)
	}
	part, st := n.c.Placed(p), m.group.Status()
	if st.State != replica.Leader || part.Target == nil {
		return false
	}
	move := multiraft.Move{
		Self: m.id, Have: m.group.Members(), Commit: st.Commit, Lag: n.c.cfg.Lag, Silence: 3 * n.c.cfg.Replica.HeartbeatTicks,
	}
	for _, node := range part.Target {
		move.Want = append(move.Want, part.On(node))
	}
	_ = n.mgr.Led(context.Background(), func(g *multiraft.Group, lead multiraft.Lead) { // it runs: the node is up
		if g == m.group {
			move.Progress = slices.Clone(lead.Members)
		}
	})
	n.c.still() // the worker took what else had gathered for it
	return n.take(m, part, move.Next(), st.Commit)
}

// take does what a step asks for.
func (n *Node) take(m *machine, part *metadata.Partition, step multiraft.Step, commit ids.LogIndex) bool {
	var err error
	switch {
	case step.Change != nil:
		n.note(m, "%s", n.c.changeText(m.p, step.Change))
		for _, id := range step.Change.Vote {
			n.c.mayVote(m, id, commit)
		}
		err = m.group.ChangeMembers(*step.Change)
	case step.Transfer != 0:
		n.note(m, "node %d is to lead", n.c.where[step.Transfer])
		err = m.group.Transfer(step.Transfer)
	case step.Barrier, step.Done:
		b := &barrier{c: n.c, at: m.group.Members().At}
		b.Proposal = replica.Proposal{Data: partition.LogStartCommand(m.Offsets().LogStart), Wait: replica.WaitCommit, Waiter: b, Reserve: true}
		if step.Done {
			b.then = &metadata.Reassigned{Move: part.Move, PartitionNodes: metadata.PartitionNodes{
				Topic: ids.TopicID{1}, Partition: ids.Partition(m.p), Nodes: part.Target,
			}}
		}
		n.note(m, "barrier")
		if err = m.group.Propose(&b.Proposal); err == nil {
			m.barrier = b
		}
	default:
		return false
	}
	n.c.settle()
	if err != nil && !errors.Is(err, replica.ErrNotLeader) && n.up {
		n.note(m, "%v", err) // it is tried again
	}
	return true
}

func (n *Node) note(m *machine, format string, args ...any) {
	n.c.note("step %d: p%d %s", n.id, m.p, fmt.Sprintf(format, args...))
}

// passed takes the answer to the barrier, if it is there; the last one ends the move.
func (n *Node) passed(m *machine) bool {
	b := m.barrier
	n.c.mu.Lock()
	done, err := b.done, b.err
	n.c.mu.Unlock()
	if !done {
		return false
	}
	m.barrier = nil
	if err != nil || b.then == nil || m.group.Members().At != b.at {
		return true
	}
	was := n.c.Placed(m.p).Move
	n.c.must(b.then)
	if now := n.c.Placed(m.p); now.Target == nil && was == b.then.Move {
		n.c.note("done: p%d is on nodes %s", m.p, idText(n.c.goal(m.p)))
		n.c.moved++
	}
	return true
}

func (c *Cluster) changeText(p int, ch *multiraft.Change) string {
	var parts []string
	for _, l := range []struct {
		word string
		list []ids.ReplicaID
	}{{"learn", ch.Learn}, {"vote", ch.Vote}, {"remove", ch.Remove}} {
		if len(l.list) > 0 {
			parts = append(parts, l.word+" "+c.nodeText(p, l.list))
		}
	}
	return strings.Join(parts, ", ")
}

// mayVote checks that a replica which is to become a voter has caught up.
func (c *Cluster) mayVote(m *machine, id ids.ReplicaID, commit ids.LogIndex) {
	c.mu.Lock()
	defer c.mu.Unlock()
	l := &c.logs[m.p]
	if commit <= c.cfg.Lag || int(commit-c.cfg.Lag) > len(l.entries) || c.Node(c.where[id]).has[m.p] != id {
		return // its node has lost it, which this one has not heard of
	}
	if !c.holder(m.p, &l.entries[commit-c.cfg.Lag-1])(id) {
		c.violation("node %d wants the replica on node %d to vote in p%d, which lacks more than %d of %d entries", m.n.id, c.where[id], m.p, c.cfg.Lag, commit)
	}
}
