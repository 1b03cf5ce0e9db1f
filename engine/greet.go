package engine

import (
	"context"
	"errors"
	"fmt"
	"time"

	"dyno/engine/admin"
	"dyno/engine/ids"
	"dyno/engine/metadata"
	"dyno/engine/multiraft"
)

// metaReplica is the id of the metadata group's first replica on a node.
func metaReplica(node ids.NodeID) ids.ReplicaID { return ids.ReplicaID(node) }

// metaMembers are the members of the metadata group: those that the metadata
// names, and before it exists the nodes of the configuration.
func (n *Node) metaMembers() []metadata.Replica {
	img := n.meta.Image()
	if p := n.identity.Place; p != nil && img.Index < p.Index {
		return p.Members
	}
	if c := img.Cluster; c.ID != "" {
		return c.Replicas
	}
	if len(n.cfg.Peers) == 0 {
		return []metadata.Replica{{Node: n.identity.NodeID, ID: metaReplica(n.identity.NodeID)}}
	}
	var out []metadata.Replica
	for _, p := range n.cfg.Peers {
		out = append(out, metadata.Replica{Node: p.Node, ID: metaReplica(p.Node)})
	}
	return out
}

// metaBegan are the members that the metadata group began with.
func (n *Node) metaBegan() []metadata.Replica {
	if p := n.identity.Place; p != nil {
		return p.Initial
	}
	if c := n.meta.Image().Cluster; c.Initial != nil {
		return c.Initial
	}
	return n.metaMembers()
}

// newcomer says that the log holds nothing of the metadata group: the node has
// never been in its cluster, or it has lost what it had.
func (n *Node) newcomer() bool {
	info, ok := n.log.Info(uint64(ids.MetadataGroup))
	return n.meta.Image().Index == 0 && (!ok || info.Last == 0 && info.State.Term == 0)
}

// greetEvery is how often the others are asked until enough have answered.
const greetEvery = 100 * time.Millisecond

// greet asks the other nodes about this one before it takes part in anything,
// and returns when it may. Only a newcomer asks: one that the cluster has met
// before has lost its log, and with it its votes; with them a majority could
// forget what it has acknowledged. It goes on when
//
//   - a node that knows the cluster, having asked a majority, says that this id
//     is new to it; or
//   - a majority of the nodes, this one among them, are newcomers as well, and
//     nobody who answers knows of a cluster: nothing can have been acknowledged,
//     unless by a node that is down and one that has lost its log.
//
// Until then it waits, up to startTimeout.
func (n *Node) greet(ctx context.Context) error {
	if n.peers == nil || !n.newcomer() || n.identity.Rejoin { // who rejoins was just taken back
		return nil
	}
	tick := time.NewTicker(greetEvery)
	defer tick.Stop()
	for {
		ok, err := n.greetAll(ctx)
		if ok || err != nil {
			return err
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("%w: no majority of the nodes %v answered; start the others, or mend --peers", ErrNotReady, n.cfg.Peers)
		}
	}
}

// greetAll asks every other node once.
func (n *Node) greetAll(ctx context.Context) (ok bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	type answer struct {
		w   admin.Welcome
		err error
	}
	answers := make(chan answer, len(n.cfg.Peers))
	asked, empty := 0, 1 // this node is empty
	for _, p := range n.cfg.Peers {
		if p.Node == n.identity.NodeID {
			continue
		}
		asked++
		go func() { // ends with ctx
			w, err := n.peers.client.Hello(ctx, p.Node, admin.Hello{
				Cluster: n.identity.clusterName(), Node: n.identity.NodeID, Directory: n.identity.Directory,
			})
			answers <- answer{w, err}
		}()
	}
	known, unsure := false, false
	for range asked {
		a := <-answers
		var told *admin.Error
		switch {
		case errors.As(a.err, &told) && told.Kind == admin.Foreign:
			err = fmt.Errorf("%w: %s; mend --peers, or name the right --data", ErrForeign, told.Text)
		case a.err != nil:
		case a.w.State == admin.Met:
			err = fmt.Errorf("%w: the cluster has met node %d before, with data directory %s; this one (%s) holds nothing of it: "+
				"restore the old directory, or have the cluster take the node back without it: delete this one and run: dyno format --rejoin%s --data %s --cluster-id %s --node-id %d",
				ErrWiped, n.identity.NodeID, a.w.Directory, n.identity.Directory, n.identity.leasesFlag(), n.cfg.DataDir, n.identity.ClusterID, n.identity.NodeID)
		case a.w.State == admin.New:
			known = true
		case a.w.State == admin.Empty:
			empty++
		default:
			unsure = true // it knows of a cluster, but cannot ask a majority
		}
	}
	return known || !unsure && empty > len(n.cfg.Peers)/2, err
}

// welcomePatience bounds the question to a majority behind a Welcome.
const welcomePatience = time.Second

// Hello implements admin.Node.
func (a adminNode) Hello(ctx context.Context, h admin.Hello) (admin.Welcome, error) {
	if h.Cluster != a.identity.clusterName() {
		return admin.Welcome{}, a.foreign(h.Cluster, h.Node)
	}
	w := admin.Welcome{Node: a.identity.NodeID, State: admin.Unsure}
	if !a.metaOpen.Load() {
		if a.metaRead.Load() && a.newcomer() {
			w.State = admin.Empty
		}
		return w, nil
	}
	ctx, cancel := context.WithTimeout(ctx, welcomePatience)
	defer cancel()
	if _, err := a.metaGroup.ReadIndex(ctx); err != nil {
		if a.newcomer() {
			w.State = admin.Empty
		}
		return w, nil
	}
	img := a.meta.Image()
	switch b, ok := img.Broker(h.Node); {
	case ok:
		w.State, w.Directory = admin.Met, b.Directory
	case img.Cluster.ID != "":
		w.State = admin.New
	}
	return w, nil
}

// foreign is the answer to a node of another cluster.
func (a adminNode) foreign(cluster string, node ids.NodeID) error {
	return &admin.Error{Kind: admin.Foreign,
		Text: fmt.Sprintf("node %d belongs to cluster %q, node %d to %q", a.identity.NodeID, a.identity.clusterName(), node, cluster)}
}

// openMetadata restores the metadata and opens its group.
func (n *Node) openMetadata() error {
	if err := n.restoreImage(); err != nil {
		return err
	}
	n.metaRead.Store(true)
	ctx, cancel := context.WithTimeout(context.Background(), startTimeout)
	defer cancel()
	if err := n.greet(ctx); err != nil {
		return fmt.Errorf("enter cluster %q: %w", n.identity.ClusterID, err)
	}
	spec := multiraft.Spec{Group: ids.MetadataGroup, Snapshots: metaSnapshots{n}, Conf: n.metaConf, Members: members(n.metaBegan())}
	for _, m := range spec.Members {
		if m.Node == n.identity.NodeID {
			spec.Replica = m.Replica
		}
	}
	if p := n.identity.Place; p != nil {
		spec.Replica = p.Replica
	}
	if spec.Replica == 0 {
		return fmt.Errorf("%w: node %d is not among the nodes %v", ErrConfig, n.identity.NodeID, n.cfg.Peers)
	}
	g, err := n.raft.Open(spec, n.meta)
	if err != nil {
		return fmt.Errorf("open the metadata group: %w", err)
	}
	g.SetMembers(members(n.metaMembers()))
	n.metaGroup = g
	n.metaOpen.Store(true)
	return nil
}
