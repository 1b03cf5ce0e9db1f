package enginetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	"dyno/engine/ids"
	"dyno/engine/multiraft"
	"dyno/engine/partition"
	"dyno/engine/replica"
)

// ErrNoNode is what a client gets from a node that is down or has no replica.
var ErrNoNode = errors.New("no replica there")

// Put is one batch on its way to one node. Append's fields hold the answer once
// Answered says so.
type Put struct {
	partition.Append
	n *Node
	p int

	since   ids.LogIndex // of the node's membership when it was asked
	answers int          // guarded by Cluster.mu
}

var _ partition.Reply = (*Put)(nil)

// Propose sends data, which is the batch as Encode made it and passes to the
// log, to this node's replica of a partition.
func (n *Node) Propose(p int, data []byte, wait replica.Wait) (*Put, error) {
	put, err := n.propose(p, data, wait)
	n.c.settle()
	return put, err
}

func (n *Node) propose(p int, data []byte, wait replica.Wait) (*Put, error) {
	if !n.up || n.parts[p] == nil {
		return nil, ErrNoNode
	}
	in, err := partition.ParseBatch(data)
	if err != nil {
		return nil, err
	}
	g := n.parts[p].group
	conf := g.Members()
	put := &Put{n: n, p: p, since: conf.At}
	put.Data, put.Wait, put.Batch, put.Reply, put.AppendTimeMS = data, wait, in, put, -1
	if n.c.cfg.MinInsync > len(conf.Voters)/2+1 { // as engine/hosted.go does
		put.Copies = n.c.cfg.MinInsync
	}
	n.c.note("put  %d: p%d %s", n.id, p, text(data))
	if err := g.Propose(put.Bind()); err != nil {
		return nil, err
	}
	return put, nil
}

// Appended implements partition.Reply.
func (u *Put) Appended(a *partition.Append) {
	c := u.n.c
	c.mu.Lock()
	defer c.mu.Unlock()
	u.answers++
	if a.Err != nil {
		c.trace.add(fmt.Sprintf("fail %d: p%d %s: %v", u.n.id, u.p, text(a.Data), a.Err))
	} else {
		c.trace.add(fmt.Sprintf("ack  %d: p%d %s at offset %d", u.n.id, u.p, text(a.Data), a.Base))
	}
	switch {
	case u.answers > 1:
		c.violation("node %d answered %s of p%d %d times", u.n.id, text(a.Data), u.p, u.answers)
	case a.Err != nil:
	case a.Wait == replica.WaitCommit:
		c.acknowledged(u)
	case a.Index > 0 && !u.n.store.holds(uint64(group(u.p)), uint64(a.Index), uint64(a.Term)):
		c.violation("node %d answered acks=1 for %s of p%d, which its log does not hold", u.n.id, text(a.Data), u.p)
	}
}

// Answered says whether the answer is there; then err is what it says.
func (u *Put) Answered() (err error, done bool) {
	u.n.c.mu.Lock()
	defer u.n.c.mu.Unlock()
	return u.Err, u.answers > 0
}

// Read reads committed batches from an offset on, and judges them. It returns
// the offset after the last one, and the high watermark.
func (n *Node) Read(p int, from ids.Offset, maxBytes int) (next, hw ids.Offset, err error) {
	if !n.up || n.parts[p] == nil {
		return from, 0, ErrNoNode
	}
	res, err := n.parts[p].Read(partition.ReadArgs{Offset: from, MaxBytes: maxBytes, One: true})
	n.c.mu.Lock()
	defer n.c.mu.Unlock()
	n.c.trace.add(fmt.Sprintf("read %d: p%d from %d: %d batches, hw %d, %v", n.id, p, from, len(res.Batches), res.HighWatermark, err))
	if err != nil {
		if !errors.Is(err, partition.ErrOffsetOutOfRange) || from >= res.LogStart && from <= res.HighWatermark {
			n.c.violation("node %d p%d: read from %d, high watermark %d: %v", n.id, p, from, res.HighWatermark, err)
		}
		return from, res.HighWatermark, err
	}
	next = from
	for _, b := range res.Batches {
		place, e, ok := n.c.logs[p].at(next)
		if !ok || !bytes.Equal(e.Data, b) || place.end > res.HighWatermark {
			n.c.violation("node %d p%d: read %q at offset %d with high watermark %d, which is not what is committed there",
				n.id, p, text(b), next, res.HighWatermark)
			return next, res.HighWatermark, nil
		}
		next = place.end
	}
	if len(res.Batches) == 0 && from < res.HighWatermark {
		n.c.violation("node %d p%d: read from %d gave nothing, high watermark %d", n.id, p, from, res.HighWatermark)
	}
	return next, res.HighWatermark, nil
}

// Latest is a linearizable read of the end of a partition, as ListOffsets asks
// for it: ReadIndex, then the high watermark.
type Latest struct {
	n      *Node
	m      *machine // of the life that was asked
	p      int
	floor  ids.LogIndex // what was applied anywhere when it was asked
	end    ids.Offset   // what was acknowledged or answered by then
	cancel context.CancelFunc

	result chan latestResult // capacity 1
	done   bool
	Index  ids.LogIndex
	HW     ids.Offset
	Err    error
}

type latestResult struct {
	index ids.LogIndex
	err   error
}

// Latest asks; Done says whether the answer is there.
func (n *Node) Latest(p int) (*Latest, error) {
	if !n.up || n.parts[p] == nil {
		return nil, ErrNoNode
	}
	c := n.c
	r := &Latest{n: n, m: n.parts[p], p: p, floor: c.committed(p), result: make(chan latestResult, 1)}
	c.mu.Lock()
	r.end = max(c.logs[p].acked, c.logs[p].latest)
	c.mu.Unlock()
	var ctx context.Context
	ctx, r.cancel = context.WithCancel(context.Background())
	c.note("ask  %d: p%d latest", n.id, p) // first: the worker may have more to say, at once
	go r.ask(ctx, n.parts[p].group)
	c.reads = append(c.reads, r)
	c.settle()
	return r, nil
}

func (r *Latest) ask(ctx context.Context, g *multiraft.Group) {
	index, err := g.ReadIndex(ctx)
	r.result <- latestResult{index, err}
}

// Done says whether the answer is there.
func (r *Latest) Done() bool { return r.done }

// Cancel gives the question up.
func (r *Latest) Cancel() {
	r.cancel()
	r.n.c.settle()
}

// finishReads looks for answers in the order of the questions, when all is
// quiet: which of several goroutines ran first does not matter.
func (c *Cluster) finishReads() {
	left := c.reads[:0]
	for _, r := range c.reads {
		select {
		case res := <-r.result:
			r.finish(res)
		default:
			left = append(left, r)
		}
	}
	clear(c.reads[len(left):])
	c.reads = left
}

func (r *Latest) finish(res latestResult) {
	c := r.n.c
	r.cancel()
	r.done, r.Index, r.Err = true, res.index, res.err
	if r.Err == nil {
		r.HW = r.m.Offsets().HighWatermark
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if r.Err != nil {
		c.trace.add(fmt.Sprintf("tell %d: p%d: %v", r.n.id, r.p, r.Err))
		return
	}
	c.trace.add(fmt.Sprintf("tell %d: p%d ends at offset %d, index %d", r.n.id, r.p, r.HW, r.Index))
	if r.Index < r.floor || r.HW < r.end {
		c.violation("node %d p%d: a linearizable read saw index %d and offset %d; before it began, %d was applied and %d acknowledged",
			r.n.id, r.p, r.Index, r.HW, r.floor, r.end)
	}
	c.logs[r.p].latest = max(c.logs[r.p].latest, r.HW)
}
