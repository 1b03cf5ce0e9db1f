package enginetest

import (
	"fmt"
	"slices"
	"strings"

	"dyno/engine/ids"
	"dyno/engine/metadata"
	"dyno/engine/multiraft"
	"dyno/engine/replica"
	"dyno/wal"
)

// membership is who decides in a partition from one committed entry on. The ledger
// works it out from the log alone, by rules of its own (Raft thesis section 4.3), and
// compares it with what the nodes believe.
type membership struct {
	at       ids.LogIndex // the entry that made it so; 0: the partition began with it
	voters   []ids.ReplicaID
	outgoing []ids.ReplicaID // not empty: joint, both must agree
	learners []ids.ReplicaID
	next     []ids.ReplicaID // become learners when the joint change is over
}

// after is the membership that entry at makes of m.
func (m *membership) after(c multiraft.Change, at ids.LogIndex) membership {
	n := membership{
		at: at, voters: slices.Clone(m.voters), outgoing: slices.Clone(m.outgoing),
		learners: slices.Clone(m.learners), next: slices.Clone(m.next),
	}
	changes := len(c.Learn) + len(c.Vote) + len(c.Remove)
	if changes == 0 {
		n.learners = with(n.learners, n.next)
		n.outgoing, n.next = nil, nil
		return n
	}
	if changes > 1 {
		n.outgoing = slices.Clone(m.voters)
	}
	n.voters = without(n.voters, slices.Concat(c.Learn, c.Remove))
	n.learners = without(n.learners, slices.Concat(c.Vote, c.Remove))
	n.next = without(n.next, slices.Concat(c.Vote, c.Remove))
	n.voters = with(n.voters, c.Vote)
	for _, id := range c.Learn {
		if slices.Contains(n.outgoing, id) {
			n.next = with(n.next, []ids.ReplicaID{id})
		} else {
			n.learners = with(n.learners, []ids.ReplicaID{id})
		}
	}
	return n
}

// with and without give ascending lists of their own.
func with(list, more []ids.ReplicaID) []ids.ReplicaID {
	list = slices.Concat(list, more)
	slices.Sort(list)
	return slices.Compact(list)
}

func without(list, less []ids.ReplicaID) []ids.ReplicaID {
	return slices.DeleteFunc(slices.Clone(list), func(id ids.ReplicaID) bool { return slices.Contains(less, id) })
}

// all are the members of every kind.
func (m *membership) all() []ids.ReplicaID {
	return with(slices.Concat(m.voters, m.outgoing), m.learners)
}

// quorum says whether those for whom holds is true decide.
func (m *membership) quorum(holds func(ids.ReplicaID) bool) bool {
	return majority(m.voters, holds) && (len(m.outgoing) == 0 || majority(m.outgoing, holds))
}

func majority(list []ids.ReplicaID, holds func(ids.ReplicaID) bool) bool {
	return 2*count(list, holds) > len(list)
}

func count(list []ids.ReplicaID, holds func(ids.ReplicaID) bool) (n int) {
	for _, id := range list {
		if holds(id) {
			n++
		}
	}
	return n
}

// same says whether a replica believes in it.
func (m *membership) same(o *replica.Members) bool {
	return slices.Equal(m.voters, sorted(o.Voters)) && slices.Equal(m.outgoing, sorted(o.Outgoing)) &&
		slices.Equal(m.learners, sorted(o.Learners)) && slices.Equal(m.next, sorted(o.LearnersNext))
}

func sorted(list []ids.ReplicaID) []ids.ReplicaID { return slices.Sorted(slices.Values(list)) }

// memberText names the nodes of a membership of p.
func (c *Cluster) memberText(p int, m *membership) string {
	text := "voters " + c.nodeText(p, m.voters)
	if len(m.outgoing) > 0 {
		text += " and " + c.nodeText(p, m.outgoing)
	}
	if len(m.learners) > 0 {
		text += ", learners " + c.nodeText(p, m.learners)
	}
	if len(m.next) > 0 {
		text += ", then learners " + c.nodeText(p, m.next)
	}
	return text
}

// nodeText names the nodes of replicas of p, ascending, and which of these replicas
// are lost with a node's disks.
func (c *Cluster) nodeText(p int, list []ids.ReplicaID) string {
	lost := c.Placed(p).Lost
	names := make([]string, 0, len(list))
	for _, id := range list {
		name := fmt.Sprint(c.where[id])
		if slices.ContainsFunc(lost, func(r metadata.Replica) bool { return r.ID == id }) {
			name += "(lost)"
		}
		names = append(names, name)
	}
	slices.Sort(names)
	return strings.Join(names, ",")
}

// submitted notes the membership changes among records that a node's log is given:
// when one is committed, the ledger must know what it says.
func (c *Cluster) submitted(records []wal.Record) {
	for i := range records {
		r := &records[i]
		if r.Kind != wal.KindEntry || r.Type == 0 {
			continue
		}
		change, ok, err := multiraft.ReadChange(r.Type, r.Data)
		p := partitionOf(ids.GroupID(r.Stream))
		c.mu.Lock()
		if err != nil {
			c.violation("p%d %d/%d is a membership change that cannot be read: %v", p, r.Index, r.Term, err)
		} else if ok {
			c.logs[p].changes[place{ids.LogIndex(r.Index), ids.Term(r.Term)}] = change
		}
		c.mu.Unlock()
	}
}

// place is where an entry is.
type place struct {
	index ids.LogIndex
	term  ids.Term
}

// inForce is the membership that entry index finds or makes.
func (l *partLog) inForce(index ids.LogIndex) *membership {
	i := len(l.members) - 1
	for l.members[i].at > index {
		i--
	}
	return &l.members[i]
}

// between are the memberships from the one of entry from up to that of entry to.
func (l *partLog) between(from, to ids.LogIndex) []membership {
	lo, hi := 0, len(l.members)
	for lo+1 < hi && l.members[lo+1].at <= from {
		lo++
	}
	for hi > lo+1 && l.members[hi-1].at > to {
		hi--
	}
	return l.members[lo:hi]
}

// believes compares what a replica takes for the membership with the ledger's; what
// it took already is not looked at again.
func (c *Cluster) believes(m *machine) {
	conf := m.group.Members()
	if conf == m.conf {
		return
	}
	m.conf = conf
	c.mu.Lock()
	defer c.mu.Unlock()
	l := &c.logs[m.p]
	if in := l.inForce(conf.At); in.at != conf.At || !in.same(conf) {
		c.violation("node %d p%d takes %+v for the membership; entry %d made it %+v", m.n.id, m.p, *conf, in.at, *in)
	}
}

// holder says whether a replica's log holds an entry of p durably, or did so when the
// replica was removed or lost: it may have said so before.
func (c *Cluster) holder(p int, e *replica.Entry) func(ids.ReplicaID) bool {
	return func(id ids.ReplicaID) bool {
		if n := c.Node(c.where[id]); n.has[p] == id {
			return n.store.holds(uint64(group(p)), uint64(e.Index), uint64(e.Term))
		}
		past := c.logs[p].past[id]
		i := int(e.Index) - int(past.first)
		return i < 0 || i < len(past.terms) && past.terms[i] == e.Term
	}
}

// quiet checks, on the worker of a leader that says its group goes quiet, that no member
// lacks anything.
func (c *Cluster) quiet(n *Node, p int) {
	m := n.parts[p]
	if m == nil {
		return // it is being removed
	}
	at := m.Applied()
	c.mu.Lock()
	defer c.mu.Unlock()
	l := &c.logs[p]
	holds := c.holder(p, &l.entries[at-1])
	for _, id := range l.inForce(at).all() {
		if !holds(id) {
			c.violation("node %d says that p%d goes quiet, and node %d lacks entry %d", n.id, p, c.where[id], at)
		}
	}
}

// pastLog is what a replica held durably that is no more: all below first, and then
// entries of these terms.
type pastLog struct {
	first ids.LogIndex
	terms []ids.Term
}

// passes keeps what a node holds of a partition, before it goes.
func (c *Cluster) passes(n *Node, p int) {
	past := pastLog{first: 1}
	if info, ok := n.store.Info(uint64(group(p))); ok {
		past.first = max(1, ids.LogIndex(info.First))
		for i := past.first; i <= ids.LogIndex(info.Last); i++ {
			term, err := n.store.Term(uint64(group(p)), uint64(i))
			if err != nil {
				c.Violation("node %d p%d: term of entry %d: %v", n.id, p, i, err)
				break
			}
			past.terms = append(past.terms, ids.Term(term))
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.logs[p].past[n.has[p]] = past
	delete(n.has, p)
}
