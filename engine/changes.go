package engine

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"time"

	"dyno/engine/admin"
	"dyno/engine/ids"
	"dyno/engine/kafka"
	"dyno/engine/metadata"
	"dyno/engine/multiraft"
	"dyno/engine/replica"
)

// How long a change that found no leader waits before it asks again.
const (
	changeRetryMin = 10 * time.Millisecond
	changeRetryMax = 250 * time.Millisecond
	// changePatience bounds one attempt at another node.
	changePatience = 2 * time.Second
)

// change brings one record into the metadata log, through whichever node leads
// it, and waits until it is applied here. It asks again, under the same request
// id, until ctx ends: the record is applied once however often it was asked for.
func (n *Node) change(ctx context.Context, r metadata.Record) (metadata.Result, error) {
	return n.bring(ctx, r, n.meta.Await)
}

// ask is change without the wait: the leader has applied the record, this node may
// not have.
func (n *Node) ask(ctx context.Context, r metadata.Record) (metadata.Result, error) {
	return n.bring(ctx, r, func(context.Context, ids.LogIndex) error { return nil })
}

// bring is change and ask; await is asked after each attempt that succeeded.
func (n *Node) bring(ctx context.Context, r metadata.Record, await func(context.Context, ids.LogIndex) error) (metadata.Result, error) {
	var id metadata.RequestID
	if _, err := rand.Read(id[:]); err != nil {
		return metadata.Result{}, fmt.Errorf("draw a request id: %w", err)
	}
	p, err := n.meta.Prepare(id, n.cfg.Now().UnixMilli(), r)
	if err != nil {
		return metadata.Result{}, mapMeta(err)
	}
	c := admin.Change{Record: p.Data, Reserve: reserved(r)}
	for wait := changeRetryMin; ; wait = min(2*wait, changeRetryMax) {
		res, err := n.changeOnce(ctx, c)
		if err == nil {
			err = await(ctx, res.Index)
		}
		if err == nil || !n.changeAgain(err) {
			return res, mapMeta(err)
		}
		if gone := n.replaced(n.meta.Image()); gone != nil { // it may have found out by leading
			return res, gone
		}
		select {
		case <-time.After(wait):
		case <-n.closing:
			return res, replica.ErrStopped
		case <-ctx.Done():
			return res, fmt.Errorf("%w: change of the metadata: %w", replica.ErrTimeout, err)
		}
	}
}

// changeOnce makes one attempt at the node that is believed to lead.
func (n *Node) changeOnce(ctx context.Context, c admin.Change) (metadata.Result, error) {
	leader := n.controller()
	if leader == n.identity.NodeID || n.peers == nil {
		return n.propose(ctx, c)
	}
	if leader == 0 {
		return metadata.Result{}, &replica.NotLeaderError{}
	}
	ctx, cancel := context.WithTimeout(ctx, changePatience) // a machine without power does not answer
	defer cancel()
	res, err := n.peers.client.Change(ctx, leader, c)
	return metadata.Result{Index: res.Index, FirstProducer: ids.ProducerID(res.First)}, fromAdmin(err)
}

// propose appends a record to the log that this node leads.
func (n *Node) propose(ctx context.Context, c admin.Change) (metadata.Result, error) {
	p, err := n.meta.PrepareEncoded(c.Record)
	if err != nil {
		return metadata.Result{}, err
	}
	p.Reserve = c.Reserve
	if err := n.metaGroup.Propose(&p.Proposal); err != nil {
		return metadata.Result{}, err
	}
	res, err := p.Wait(ctx)
	if err != nil && ctx.Err() != nil {
		err = fmt.Errorf("%w: %w", replica.ErrTimeout, err)
	}
	return res, err
}

// changeAgain says whether the same request may find a better answer later. A
// cluster of one node knows no other leader, so its answers are final.
func (n *Node) changeAgain(err error) bool {
	if n.peers == nil {
		return false
	}
	for _, e := range []error{replica.ErrNotLeader, replica.ErrOverloaded, replica.ErrDropped, admin.ErrUnreachable, errPeerStopped} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// errPeerStopped means that the node which was asked is going down.
var errPeerStopped = errors.New("the leader of the metadata is stopping")

// adminNode answers what other nodes ask.
type adminNode struct{ *Node }

var _ admin.Node = adminNode{}

// Change implements admin.Node.
func (a adminNode) Change(ctx context.Context, c admin.Change) (admin.Changed, error) {
	if !a.metaOpen.Load() {
		return admin.Changed{}, &admin.Error{Kind: admin.NotLeader, Text: fmt.Sprintf("node %d is starting", a.identity.NodeID)}
	}
	res, err := a.propose(ctx, c)
	if err != nil {
		return admin.Changed{}, a.toAdmin(err)
	}
	return admin.Changed{Index: res.Index, First: int64(res.FirstProducer)}, nil
}

// adminKinds says which kind of answer an error of a proposal is. The order
// matters: an entry that was dropped is overload, too.
var adminKinds = []struct {
	err  error
	kind admin.Kind
}{
	{replica.ErrNotLeader, admin.NotLeader},
	{replica.ErrOverloaded, admin.Overloaded},
	{replica.ErrDropped, admin.Overloaded},
	{replica.ErrTimeout, admin.Timeout},
	{replica.ErrStopped, admin.Stopped},
	{replica.ErrDiskFull, admin.DiskFull},
	{multiraft.ErrTooLarge, admin.TooLarge},
	{kafka.ErrElectionNotNeeded, admin.NotNeeded},
	{kafka.ErrPreferredNotAvailable, admin.NotAvailable},
	{kafka.ErrUnknownTopic, admin.Unknown},
}

func (n *Node) toAdmin(err error) error {
	if code := metadata.CodeOf(err); code != 0 {
		return &admin.Error{Kind: admin.Refused, Code: int(code), Text: err.Error()}
	}
	for _, k := range adminKinds {
		if errors.Is(err, k.err) {
			out := &admin.Error{Kind: k.kind, Text: err.Error()}
			if k.kind == admin.NotLeader {
				out.Leader = n.controller()
			}
			return out
		}
	}
	return err
}

// fromAdmin makes the leader's error one of this node.
func fromAdmin(err error) error {
	var told *admin.Error
	switch {
	case err == nil:
		return nil
	case !errors.As(err, &told):
		return err
	case told.Kind == admin.Refused:
		return &toldError{told.Text, metadata.Code(told.Code).Err()}
	case told.Kind == admin.Stopped:
		return fmt.Errorf("%w: %s", errPeerStopped, told.Text)
	}
	for _, k := range adminKinds {
		if told.Kind == k.kind {
			return &toldError{told.Text, k.err}
		}
	}
	return err
}

// toldError is an error of another node: its words, and what they stand for.
type toldError struct {
	text string
	is   error
}

func (e *toldError) Error() string { return e.text }
func (e *toldError) Unwrap() error { return e.is }

// controller is the node that leads the metadata group, 0 if unknown.
func (n *Node) controller() ids.NodeID {
	leader := n.metaGroup.Status().Leader
	if leader == n.metaGroup.Replica() {
		return n.identity.NodeID
	}
	return n.metaGroup.NodeOf(leader)
}
