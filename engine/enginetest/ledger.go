package enginetest

import (
	"bytes"
	"fmt"
	"hash/crc32"
	"slices"

	"dyno/engine/ids"
	"dyno/engine/multiraft"
	"dyno/engine/replica"
)

// ledger is what the cluster has agreed on so far, and the judge of everything
// that contradicts it. Guarded by Cluster.mu.
type ledger struct {
	c          *Cluster
	logs       []partLog
	violations []string
	snapshots  int // installed
}

// partLog is one partition: what any node ever applied. Nothing in it changes.
type partLog struct {
	entries []replica.Entry            // by index-1
	sums    []uint32                   // by index-1: chained over entries[:i+1]
	ends    []ids.Offset               // by index-1: the high watermark of who applied it
	batches []placed                   // by offset
	members []membership               // by at
	past    map[ids.ReplicaID]pastLog  // of replicas that are gone
	changes map[place]multiraft.Change // of members, whether they were ever committed or not
	leaders map[ids.Term]leadership
	acked   ids.Offset // after the last batch that was acknowledged with acks=all
	latest  ids.Offset // the largest answer to a linearizable read
}

// leadership is who leads a term: a node in one of its lives.
type leadership struct {
	node ids.NodeID
	life int
}

// placed is a batch that is committed.
type placed struct {
	base, end ids.Offset
	index     ids.LogIndex
}

func (l *ledger) init(c *Cluster) {
	l.c = c
	l.logs = make([]partLog, c.cfg.Partitions)
	for p := range l.logs {
		l.logs[p].leaders, l.logs[p].changes = map[ids.Term]leadership{}, map[place]multiraft.Change{}
		l.logs[p].past = map[ids.ReplicaID]pastLog{}
		var voters []ids.ReplicaID
		for _, r := range c.Placed(p).Replicas {
			voters = append(voters, r.ID)
		}
		l.logs[p].members = []membership{{voters: with(nil, voters)}}
	}
}

// violationsMax bounds what is kept: the first one matters.
const violationsMax = 20

// Violation records that something happened that must never happen. Any
// goroutine, but not from within the ledger.
func (c *Cluster) Violation(format string, args ...any) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ledger.violation(format, args...)
}

func (l *ledger) violation(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	l.c.trace.add("VIOLATION " + text)
	if len(l.violations) < violationsMax {
		l.violations = append(l.violations, text)
	}
}

// Violations tells what went wrong so far, oldest first.
func (c *Cluster) Violations() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return append([]string(nil), c.ledger.violations...)
}

// committed is the newest index that any node applied.
func (c *Cluster) committed(p int) ids.LogIndex {
	c.mu.Lock()
	defer c.mu.Unlock()
	return ids.LogIndex(len(c.logs[p].entries))
}

// leads checks that a term has one leader.
func (c *Cluster) leads(n ids.NodeID, p int, term ids.Term) {
	c.mu.Lock()
	defer c.mu.Unlock()
	l := &c.logs[p]
	now := leadership{n, c.Node(n).life}
	switch was, ok := l.leaders[term]; {
	case ok && was.node != n:
		c.violation("p%d term %d has two leaders: nodes %d and %d", p, term, was.node, n)
	case ok && was != now:
		c.violation("p%d: node %d leads term %d in two of its lives", p, n, term)
	}
	l.leaders[term] = now
}

// applied takes what one replica is about to apply. It runs on the node's
// worker, before anybody is answered.
func (c *Cluster) applied(m *machine, entries []replica.Entry) {
	c.mu.Lock()
	defer c.mu.Unlock()
	l := &c.logs[m.p]
	for i := range entries {
		e := &entries[i]
		m.sum = chain(m.sum, e)
		if int(e.Index) == len(l.entries)+1 {
			l.add(e, m.sum)
			c.trace.add(fmt.Sprintf("commit %d: p%d %s", m.n.id, m.p, c.line(m.p, e)))
			continue
		}
		if int(e.Index) > len(l.entries) {
			c.violation("node %d applied p%d %d/%d after %d", m.n.id, m.p, e.Index, e.Term, len(l.entries))
			return
		}
		if was := &l.entries[e.Index-1]; was.Term != e.Term || !bytes.Equal(was.Data, e.Data) || l.sums[e.Index-1] != m.sum {
			c.violation("node %d applied p%d %d/%d %q, and %d/%d %q was committed there", m.n.id, m.p,
				e.Index, e.Term, text(e.Data), was.Index, was.Term, text(was.Data))
		}
		c.trace.add(fmt.Sprintf("apply %d: p%d %d/%d", m.n.id, m.p, e.Index, e.Term))
	}
}

// began takes over a replica that does not begin at the first entry: its files or
// a snapshot say where.
func (c *Cluster) began(m *machine) {
	at, hw := m.Applied(), m.Offsets().HighWatermark
	c.mu.Lock()
	defer c.mu.Unlock()
	l := &c.logs[m.p]
	if int(at) > len(l.entries) {
		c.violation("node %d p%d begins behind entry %d of %d", m.n.id, m.p, at, len(l.entries))
		return
	}
	end := ids.Offset(0)
	if at > 0 {
		m.sum, end = l.sums[at-1], l.ends[at-1]
	}
	if hw != end || hw < m.hw {
		c.violation("node %d p%d begins behind entry %d: high watermark %d after %d, committed up to %d", m.n.id, m.p, at, hw, m.hw, end)
	}
	m.hw = hw
}

// shown looks at the high watermark when a replica has applied all up to index.
func (c *Cluster) shown(m *machine, index ids.LogIndex) {
	hw := m.Offsets().HighWatermark
	c.mu.Lock()
	defer c.mu.Unlock()
	end := c.logs[m.p].ends[index-1]
	if hw != end || hw < m.hw {
		c.violation("node %d p%d: high watermark %d after %d, committed up to %d", m.n.id, m.p, hw, m.hw, end)
	}
	m.hw = hw
}

func chain(sum uint32, e *replica.Entry) uint32 {
	var b [16]byte
	for i := range 8 {
		b[i], b[8+i] = byte(e.Index>>(8*i)), byte(e.Term>>(8*i))
	}
	return crc32.Update(crc32.Update(sum, castagnoli, b[:]), castagnoli, e.Data)
}

// add is the first time that e is seen applied.
func (l *partLog) add(e *replica.Entry, sum uint32) {
	end := ids.Offset(0)
	if n := len(l.ends); n > 0 {
		end = l.ends[n-1]
	}
	if len(e.Data) >= headerBytes {
		base, in := header(e.Data)
		end = base + ids.Offset(in.LastOffsetDelta) + 1
		l.batches = append(l.batches, placed{base, end, e.Index})
	}
	if change, ok := l.changes[place{e.Index, e.Term}]; ok {
		now := l.members[len(l.members)-1]
		l.members = append(l.members, now.after(change, e.Index))
	}
	l.entries = append(l.entries, *e)
	l.sums = append(l.sums, sum)
	l.ends = append(l.ends, end)
}

// line is one committed entry in words.
func (c *Cluster) line(p int, e *replica.Entry) string {
	conf := c.logs[p].inForce(e.Index)
	switch {
	case conf.at == e.Index:
		return fmt.Sprintf("%d/%d %s", e.Index, e.Term, c.memberText(p, conf))
	case len(e.Data) == 0:
		return fmt.Sprintf("%d/%d -", e.Index, e.Term)
	case len(e.Data) < headerBytes:
		return fmt.Sprintf("%d/%d command", e.Index, e.Term)
	}
	base, in := header(e.Data)
	return fmt.Sprintf("%d/%d offset %d+%d %s", e.Index, e.Term, base, in.Records, text(e.Data))
}

// at finds the committed batch that holds an offset.
func (l *partLog) at(o ids.Offset) (placed, *replica.Entry, bool) {
	lo, hi := 0, len(l.batches)
	for lo < hi {
		if mid := (lo + hi) / 2; l.batches[mid].end <= o {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	if lo == len(l.batches) || l.batches[lo].base > o {
		return placed{}, nil, false
	}
	return l.batches[lo], &l.entries[l.batches[lo].index-1], true
}

// acknowledged judges the good answer to an append of acks=all.
func (c *Cluster) acknowledged(u *Put) {
	a, p := &u.Append, u.p
	l := &c.logs[p]
	place, e, ok := l.at(a.Base)
	if !ok || place.base != a.Base || !bytes.Equal(e.Data[attrsAt:], a.Data[attrsAt:]) {
		c.violation("node %d acknowledged %s at offset %d of p%d, which is not what is committed there", u.n.id, text(a.Data), a.Base, p)
		return
	}
	if in, ok := c.promised(p, u, e); !ok {
		c.violation("node %d acknowledged %s at offset %d of p%d to who wants %d copies, which the logs of nodes %s hold; %s",
			u.n.id, text(a.Data), a.Base, p, a.Copies, c.nodeText(p, slices.DeleteFunc(in.all(), func(id ids.ReplicaID) bool { return !c.holder(p, e)(id) })), c.memberText(p, in))
	}
	l.acked = max(l.acked, place.end)
}

// promised says whether an entry lies where its acknowledgement promises: on a
// majority of the voters, or of both sides while a change is under way, and on as many
// of the voters as were asked for. It gives the membership looked at last. Who
// acknowledged it has decided under one of those that it went through from when it was
// asked: a batch that is known already may have been decided before, under what its
// own place found.
func (c *Cluster) promised(p int, u *Put, e *replica.Entry) (in *membership, ok bool) {
	l, from := &c.logs[p], u.since
	if u.Index != e.Index {
		from = min(from, l.inForce(max(1, l.inForce(e.Index).at)-1).at)
	}
	holds := c.holder(p, e)
	list := l.between(from, ids.LogIndex(len(l.entries)))
	for i := range list {
		in = &list[i]
		if in.quorum(holds) && count(in.voters, holds) >= min(u.Copies, len(in.voters)) {
			return in, true
		}
	}
	return in, false
}

// LogText is the committed log of a partition, and how far each replica has
// applied it with which checksum.
func (c *Cluster) LogText(p int) (out string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	l := &c.logs[p]
	for i := range l.entries {
		out += c.line(p, &l.entries[i]) + "\n"
	}
	for _, n := range c.holders(p) {
		m := n.parts[p]
		if !n.up || m == nil {
			out += fmt.Sprintf("node %d: %s\n", n.id, map[bool]string{true: "not open", false: "down"}[n.up])
			continue
		}
		out += fmt.Sprintf("node %d: applied %d, high watermark %d, checksum %08x\n", n.id, m.Applied(), m.hw, m.sum)
	}
	return out
}
