package engine

import (
	"context"
	"errors"
	"fmt"
	"time"

	"dyno/engine/admin"
	"dyno/engine/ids"
	"dyno/engine/metadata"
)

// A node that has lost its log has lost its votes and what it had acknowledged:
// none of its replicas may take part again, or a majority could forget both. The
// cluster takes the node back with other replicas in their place:
//
//	the node       finds its log damaged, or was formatted with Rejoin
//	               -> admin Rejoin, with the id of a directory it has just drawn
//	any node       metadata.Readmit, committed by a majority of the others: from
//	               here on the old directory is refused, and every group that had
//	               a replica there is to get another one
//	the node       makes an empty log and writes meta.json, which names directory,
//	               log and place in the metadata group at once; opens that group,
//	               in which nobody counts it yet; registers
//	               -> opens its other replicas, as the metadata places them by now
//	the leaders    learner, caught up, joint change that drops the lost replica
//	               (reassign.go; metaStep for the metadata group)
//
// A crash anywhere before it has registered makes it ask anew, with another
// directory and other replicas, if its log is empty then. What was damaged stays
// where it was, for who wants to look at it.

// rejoinEvery is how often the others are asked until one takes the node back.
const rejoinEvery = 500 * time.Millisecond

// rejoin has the cluster take back a node that has lost its log, and gives it an
// empty one. Other nodes pass through.
func (n *Node) rejoin() error {
	if n.lost == nil && (!n.identity.Rejoin || n.identity.Place != nil && !n.emptyLog()) {
		return nil
	}
	reuse := n.lost == nil && n.emptyLog()
	n.cfg.Log.Warn("the node has lost its log; asking the cluster to take it back with an empty one",
		"node", n.identity.NodeID, "cluster", n.identity.ClusterID, "directory", n.home, "err", n.lost)
	next := n.identity
	next.Rejoin, next.Directory = true, newDirectoryID()
	next.Format = next.version()
	ctx, cancel := context.WithTimeout(context.Background(), startTimeout)
	defer cancel()
	var err error
	if next.Place, err = n.askReadmission(ctx, next.Directory); err != nil {
		if n.lost != nil {
			err = fmt.Errorf("%w; its log: %w", err, n.lost)
		}
		return fmt.Errorf("rejoin cluster %q: %w", n.identity.ClusterID, err)
	}
	if !reuse {
		next.Life++
		if err := makeHome(n.cfg.FS, next.home(n.cfg.DataDir)); err != nil {
			return fmt.Errorf("rejoin cluster %q: make an empty log: %w", n.identity.ClusterID, err)
		}
	}
	if err := writeMeta(n.cfg.FS, n.cfg.DataDir, &next); err != nil {
		return fmt.Errorf("rejoin cluster %q: %w", n.identity.ClusterID, err)
	}
	n.cfg.Log.Warn("taken back; every replica comes from the other nodes now", "node", n.identity.NodeID,
		"replica", next.Place.Replica, "left behind", n.home, "goes on in", next.home(n.cfg.DataDir))
	id := &n.identity // field by field: the RPC of peers reads the others already
	id.Format, id.Directory, id.Rejoin, id.Life, id.Place = next.Format, next.Directory, next.Rejoin, next.Life, next.Place
	n.home, n.lost = next.home(n.cfg.DataDir), nil
	if err := n.announce(); err != nil { // the address book goes by the directory
		return err
	}
	if reuse {
		return nil
	}
	return n.openLog()
}

// emptyLog says whether the log holds nothing at all.
func (n *Node) emptyLog() bool { return len(n.log.Streams()) == 0 }

// askReadmission asks one node after the other, until a majority has agreed or
// it is certain that it will not.
func (n *Node) askReadmission(ctx context.Context, directory string) (*metaPlace, error) {
	tick := time.NewTicker(rejoinEvery)
	defer tick.Stop()
	told := ""
	for {
		var last error
		for _, p := range n.cfg.Peers {
			if p.Node == n.identity.NodeID {
				continue
			}
			place, err := n.askOne(ctx, p.Node, directory)
			if err == nil {
				return place, nil
			}
			if final := n.finalRefusal(err); final != nil {
				return nil, final
			}
			last = err
		}
		if last != nil && last.Error() != told {
			told = last.Error()
			n.cfg.Log.Warn("not taken back yet; asking again", "node", n.identity.NodeID, "err", last)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil, fmt.Errorf("%w: no majority of the other nodes took this one back: %v", ErrNotReady, last)
		}
	}
}

// rejoinPatience bounds one question.
const rejoinPatience = 5 * time.Second

func (n *Node) askOne(ctx context.Context, to ids.NodeID, directory string) (*metaPlace, error) {
	ctx, cancel := context.WithTimeout(ctx, rejoinPatience)
	defer cancel()
	r, err := n.peers.client.Rejoin(ctx, to, admin.Rejoin{
		Cluster: n.identity.clusterName(), Node: n.identity.NodeID, Directory: directory, Old: n.identity.Directory,
	})
	if err != nil {
		return nil, err
	}
	place := &metaPlace{Index: r.Index, Members: places(r.Members), Initial: places(r.Initial)}
	for _, m := range place.Members {
		if m.Node == n.identity.NodeID {
			place.Replica = m.ID
		}
	}
	if place.Replica == 0 {
		return nil, fmt.Errorf("%w: node %d is not among the members of the metadata group", ErrConfig, n.identity.NodeID)
	}
	return place, nil
}

func places(list []admin.Member) []metadata.Replica {
	out := make([]metadata.Replica, len(list))
	for i, m := range list {
		out[i] = metadata.Replica{Node: m.Node, ID: m.Replica}
	}
	return out
}

// finalRefusal is what asking again would not change, nil if it might.
func (n *Node) finalRefusal(err error) error {
	var told *admin.Error
	if !errors.As(err, &told) {
		return nil
	}
	switch is := fromAdmin(err); {
	case told.Kind == admin.Foreign:
		return fmt.Errorf("%w: %s; mend --peers, or name the right --data", ErrForeign, told.Text)
	case errors.Is(is, metadata.ErrUnknownBroker):
		return fmt.Errorf("%w: the cluster has never met node %d; format its directory without --rejoin", ErrConfig, n.identity.NodeID)
	case errors.Is(is, metadata.ErrLastCopy):
		return fmt.Errorf("%w: %s: restore the directory from a copy, or delete those topics at the other nodes", ErrWiped, told.Text)
	}
	return nil
}

// rejoined notes that the node is part of its cluster again.
func (n *Node) rejoined() error {
	if !n.identity.Rejoin {
		return nil
	}
	next := n.identity
	next.Rejoin = false
	if err := writeMeta(n.cfg.FS, n.cfg.DataDir, &next); err != nil {
		return err
	}
	n.identity.Rejoin = false
	return nil
}

// Rejoin implements admin.Node.
func (a adminNode) Rejoin(ctx context.Context, r admin.Rejoin) (admin.Rejoined, error) {
	if r.Cluster != a.identity.clusterName() {
		return admin.Rejoined{}, a.foreign(r.Cluster, r.Node)
	}
	if !a.metaOpen.Load() {
		return admin.Rejoined{}, &admin.Error{Kind: admin.NotLeader, Text: fmt.Sprintf("node %d is starting", a.identity.NodeID)}
	}
	res, err := a.change(ctx, &metadata.Readmit{Node: r.Node, Directory: r.Directory, Old: r.Old})
	if err != nil {
		return admin.Rejoined{}, a.toAdmin(err)
	}
	a.cfg.Log.Warn("took back a node that has lost its log; its replicas are made anew", "node", a.identity.NodeID, "lost", r.Node)
	c := a.meta.Image().Cluster
	out := admin.Rejoined{Index: res.Index}
	for _, m := range c.Replicas {
		out.Members = append(out.Members, admin.Member{Node: m.Node, Replica: m.ID})
	}
	for _, m := range c.Initial {
		out.Initial = append(out.Initial, admin.Member{Node: m.Node, Replica: m.ID})
	}
	return out, nil
}

// replaced says that another directory has this node's place in the cluster, so
// that this one must not go on: two would answer to the same ids.
func (n *Node) replaced(img *metadata.Image) error {
	b, ok := img.Broker(n.identity.NodeID)
	if !ok || b.Directory == "" || b.Directory == n.identity.Directory {
		return nil
	}
	if p := n.identity.Place; p != nil && img.Index < p.Index {
		return nil // the image is of before this one was taken back
	}
	return fmt.Errorf("%w: node %d goes on with data directory %s, this is %s", ErrWiped, b.Node, b.Directory, n.identity.Directory)
}
