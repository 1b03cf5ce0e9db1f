package metadata

import (
	"fmt"
	"slices"
	"strings"

	"dyno/engine/ids"
)

// Readmit takes back a node whose log is lost: its directory is the new one, it
// is fenced until it registers, and wherever it held a replica another one, with
// an id that has never voted, takes the old one's place. Their groups' leaders
// do the rest, as with Reassign; the old replicas never come back, because a
// node takes part only with the directory that the metadata names.
//
// It is refused while the others cannot go on without the node: with one or two
// replicas of a partition nobody else can say what was acknowledged. It is refused,
// too, while a replica of the node is part of a move: which replicas vote is open
// until that is over, or taken back. Old proves
// that the node asks that had the directory before; without it the node must be
// fenced, or two of one id could live at once.
type Readmit struct {
	Node      ids.NodeID `json:"node"`
	Directory string     `json:"directory"`
	Old       string     `json:"old,omitempty"`
}

func (r *Readmit) check() error {
	if err := checkNode(r.Node); err != nil {
		return err
	}
	if err := checkText("old directory", r.Old, 0); err != nil {
		return err
	}
	return checkText("directory", r.Directory, 1)
}

func (r *Readmit) apply(d *draft, _ int64) outcome {
	old := d.brokers[r.Node]
	switch {
	case old == nil:
		return refuse(ErrUnknownBroker, "node %d", r.Node)
	case old.Directory == r.Directory:
		return outcome{}
	case !old.Fenced && old.Directory != r.Old:
		return refuse(ErrBrokerAlive, "node %d", r.Node)
	}
	if last := d.onlyOn(r.Node); len(last) > 0 {
		return refuse(ErrLastCopy, "node %d: %s", r.Node, strings.Join(last, ", "))
	}
	if moving := d.moving(r.Node); len(moving) > 0 {
		return refuse(ErrMoving, "node %d: %s", r.Node, strings.Join(moving, ", "))
	}
	b := *old
	b.Directory, b.Fenced, b.Draining = r.Directory, true, true
	d.putBroker(&b)
	if slices.ContainsFunc(d.Cluster.Replicas, func(m Replica) bool { return m.Node == r.Node }) {
		if d.Cluster.Initial == nil {
			d.Cluster.Initial = d.Cluster.Replicas
		}
		d.Cluster.Replicas = d.renumber(d.Cluster.Replicas, r.Node)
		d.tell(Change{Kind: MetaReplicasSet, Node: r.Node})
	}
	for _, t := range d.Topics() { // by name: ids are given in an order that all replicas share
		d.replace(t, r.Node)
	}
	return outcome{}
}

// onlyOn names the groups whose voters other than the node's are no majority, up
// to a few.
func (d *draft) onlyOn(n ids.NodeID) (few names) {
	if minority(d.Cluster.Replicas, n, nil) {
		few.add("the metadata")
	}
	for _, t := range d.Topics() {
		for i := range t.Partitions {
			if p := &t.Partitions[i]; p.Base == nil && minority(p.Replicas, n, p.Lost) {
				few.add(fmt.Sprintf("%s-%d", t.Name, i))
			}
		}
	}
	return few
}

// moving names the partitions that are moved to the node, from it, or beside it.
func (d *draft) moving(n ids.NodeID) (few names) {
	for _, t := range d.Topics() {
		for i := range t.Partitions {
			if p := &t.Partitions[i]; p.Base != nil && p.On(n) != 0 {
				few.add(fmt.Sprintf("%s-%d", t.Name, i))
			}
		}
	}
	return few
}

// names are the first few, for an error's text.
type names []string

func (l *names) add(name string) {
	const few = 5
	if len(*l) < few {
		*l = append(*l, name)
	} else if len(*l) == few {
		*l = append(*l, "and more")
	}
}

// minority says whether the voters without node n are no majority. lost are replicas
// whose place is not filled yet.
func minority(list []Replica, n ids.NodeID, lost []Replica) bool {
	voters, others, votes := 0, 0, false
	for _, r := range list {
		switch {
		case r.Node == n:
			votes = true
		case !slices.ContainsFunc(lost, func(l Replica) bool { return l.Node == r.Node }):
			others++
		}
		voters++
	}
	return votes && 2*others <= voters
}

// renumber gives list with a new id for the replica on node n.
func (d *draft) renumber(list []Replica, n ids.NodeID) []Replica {
	next := slices.Clone(list)
	for i := range next {
		if next[i].Node == n {
			next[i].ID = d.nextReplica
			d.nextReplica++
		}
	}
	return next
}

// replace puts new replicas in the place of those that t has on node n.
func (d *draft) replace(t *Topic, n ids.NodeID) {
	next := *t
	next.Partitions = slices.Clone(t.Partitions)
	any := false
	for i := range next.Partitions {
		p := &next.Partitions[i]
		lost := p.On(n)
		if lost == 0 {
			continue
		}
		any = true
		if p.Initial == nil {
			p.Initial = p.Replicas
		}
		if p.Target == nil {
			for _, r := range p.Replicas {
				p.Target = append(p.Target, r.Node)
			}
		}
		p.Replicas, p.Lost = d.renumber(p.Replicas, n), append(slices.Clone(p.Lost), Replica{Node: n, ID: lost})
		p.Move = d.Index
		p.ISR = slices.DeleteFunc(slices.Clone(p.ISR), func(m ids.NodeID) bool { return m == n })
		if p.Leader == n {
			p.Leader = 0
		}
		p.ISREpoch++
	}
	if any {
		d.putTopic(&next)
		d.tell(Change{Kind: ReplicasSet, Topic: &next})
	}
}
