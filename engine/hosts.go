package engine

import (
	"context"
	"errors"
	"fmt"
	"path"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"dyno/engine/ids"
	"dyno/engine/metadata"
	"dyno/engine/multiraft"
	"dyno/engine/partition"
	"dyno/engine/replica"
	"dyno/engine/store"
	"dyno/wal"
)

// hosts brings what this node holds in line with the metadata image: it opens
// the replicas that the image places here, ends those it does not, and hands
// changed settings on. What fails is tried again. One goroutine does it all;
// changed only wakes it.
type hosts struct {
	node *Node
	wake chan struct{} // capacity 1; sent to by changed; never closed
	stop chan struct{} // closed by Close
	done chan struct{} // closed by run
	once sync.Once

	parkedFull atomic.Uint64 // counted by all partitions, those that are gone among them

	// owner: start, then run
	fresh []fresh // made with their topic: this node is to lead them first

	mu      sync.Mutex // guards what follows
	byGroup map[ids.GroupID]*hosted
	settled ids.LogIndex  // image up to which the node is in line
	errs    failures      // of the last round, where there were any
	round   chan struct{} // closed after each round, then replaced
}

func newHosts(n *Node) *hosts {
	return &hosts{
		node: n, byGroup: map[ids.GroupID]*hosted{},
		wake: make(chan struct{}, 1), stop: make(chan struct{}), done: make(chan struct{}), round: make(chan struct{}),
	}
}

// start does the first round and starts the goroutine. A first round that fails
// is an error: the node would serve less than it holds.
func (h *hosts) start() error {
	if err := h.sweep(); err != nil {
		return err
	}
	if err := h.reconcile(); err != nil {
		return errors.Join(err, h.closeAll())
	}
	go h.run()
	return nil
}

// Close ends the goroutine and lets go of every partition's files. The groups
// are stopped by the manager. Idempotent.
func (h *hosts) Close() error {
	var err error
	h.once.Do(func() {
		close(h.stop)
		<-h.done
		err = h.closeAll()
	})
	return err
}

func (h *hosts) closeAll() error {
	var first error
	for _, p := range h.all() {
		if err := p.files.Close(); err != nil && first == nil {
			first = err
		}
	}
	return first
}

// changed says there is a new image. It never blocks; any goroutine may call.
func (h *hosts) changed() {
	select {
	case h.wake <- struct{}{}:
	default:
	}
}

// hostRetry is how long after a round that failed the next one begins.
const hostRetry = time.Second

func (h *hosts) run() {
	defer close(h.done)
	retry := time.NewTimer(hostRetry)
	defer retry.Stop()
	retry.Stop() // start's round left no error
	urge := time.NewTicker(freshEvery)
	defer urge.Stop()
	for {
		if h.fresh = h.campaign(h.fresh); len(h.fresh) > 0 {
			urge.Reset(freshEvery)
		} else {
			urge.Stop()
		}
		select {
		case <-h.wake:
		case <-retry.C:
		case <-urge.C:
			continue
		case <-h.stop:
			return
		}
		retry.Stop()
		if err := h.reconcile(); err != nil {
			h.node.cfg.Log.Error("partitions out of line with the metadata; it will be tried again", "node", h.node.identity.NodeID, "err", err)
			retry.Reset(hostRetry)
		}
	}
}

// fresh is a partition that was made with its topic, whose first replica is
// here: it asks for votes at once, and again while the other replicas are not
// open yet, so that a new topic does not wait for an election timeout and leaders
// lie where the metadata wants them.
type fresh struct {
	*hosted
	left int // times it asks
}

const (
	freshEvery = 25 * time.Millisecond
	freshTries = 40 // for a second
)

// campaign asks for votes and gives those that should ask again.
func (h *hosts) campaign(list []fresh) []fresh {
	var again []fresh
	for _, f := range list {
		if s := f.group.Status(); f.left == 0 || f.gone.Load() || s.Leader != 0 || s.Commit > 0 {
			continue // what is committed is proof of a leader, who may have handed over meanwhile
		}
		f.group.Campaign()
		again = append(again, fresh{f.hosted, f.left - 1})
	}
	return again
}

// settle waits until the node is in line with the image at index, and gives
// what failed for one topic in that round; the zero id stands for none.
func (h *hosts) settle(ctx context.Context, index ids.LogIndex, topic ids.TopicID) error {
	for {
		h.mu.Lock()
		settled, err, round := h.settled, errors.Join(h.errs[topic]...), h.round
		h.mu.Unlock()
		if settled >= index {
			return err
		}
		select {
		case <-round:
		case <-ctx.Done():
			return fmt.Errorf("%w: host partitions: %w", replica.ErrTimeout, context.Cause(ctx))
		case <-h.stop:
			return replica.ErrStopped
		}
	}
}

// list gives the hosted partitions in no order, without those that are being
// deleted.
func (h *hosts) list() []*hosted {
	return slices.DeleteFunc(h.all(), func(p *hosted) bool { return p.gone.Load() })
}

// all gives the hosted partitions in no order.
func (h *hosts) all() []*hosted {
	h.mu.Lock()
	defer h.mu.Unlock()
	list := make([]*hosted, 0, len(h.byGroup))
	for _, p := range h.byGroup {
		list = append(list, p)
	}
	return list
}

// leading gives those of list that views are of, each with its view, in the
// memory of an earlier answer.
func (h *hosts) leading(views []isrView, again []leading) []leading {
	clear(again)
	list := again[:0]
	h.mu.Lock()
	defer h.mu.Unlock()
	for i := range views {
		if p := h.byGroup[views[i].group]; p != nil && !p.gone.Load() {
			list = append(list, leading{p, &views[i]})
		}
	}
	return list
}

// get gives a hosted partition, also one that is being deleted, or nil.
func (h *hosts) get(g ids.GroupID) *hosted {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.byGroup[g]
}

// reconcile is one round. It gives all that failed.
func (h *hosts) reconcile() error {
	view := h.node.configView()
	if err := h.node.replaced(view.Image); err != nil {
		h.node.fail(err)
		return err
	}
	h.node.metaGroup.SetMembers(members(h.node.metaMembers()))
	wanted := map[ids.GroupID]bool{}
	for _, t := range view.Image.Topics() {
		for i := range t.Partitions {
			if t.Partitions[i].On(h.node.identity.NodeID) != 0 {
				wanted[t.Partitions[i].Group] = true
			}
		}
	}
	// What goes goes first: a topic of the same name may stand in the image by now.
	errs := failures{}
	for _, p := range h.all() {
		if !wanted[p.group.ID()] {
			errs.add(p.topic, h.unhost(p))
		}
	}
	for _, t := range view.Image.Topics() {
		settings := partition.Settings(view.TopicSettings(t))
		for i := range t.Partitions {
			id := t.Partitions[i].On(h.node.identity.NodeID)
			if id == 0 {
				continue
			}
			p := h.get(t.Partitions[i].Group)
			if p != nil && p.group.Replica() != id { // moved away and back between two looks: another replica
				if err := h.unhost(p); err != nil {
					errs.add(t.ID, err)
					continue
				}
				p = nil
			}
			if p != nil {
				p.setMembers(t.Partitions[i].Replicas)
				p.SetSettings(settings)
				p.files.SetFileBytes(settings.SegmentBytes)
			} else if err := h.host(t, ids.Partition(i), id, settings); err != nil {
				errs.add(t.ID, fmt.Errorf("host %s-%d: %w", t.Name, i, err))
			}
		}
	}
	h.awaitAlone(errs)
	h.mu.Lock()
	h.settled, h.errs = view.Image.Index, errs
	close(h.round)
	h.round = make(chan struct{})
	h.mu.Unlock()
	return errs.join()
}

// failures are the errors of a round by topic. It is not changed after it.
type failures map[ids.TopicID][]error

func (f failures) add(t ids.TopicID, err error) {
	if err != nil {
		f[t] = append(f[t], err)
	}
}

func (f failures) join() error {
	var all []error
	for _, list := range f {
		all = append(all, list...)
	}
	return errors.Join(all...)
}

// awaitAlone waits until every replica that needs nobody else leads and has
// applied what its log holds: before that its high watermark is behind what was
// acknowledged. Replicas with peers may have to wait for those to come up, so
// nobody waits for them.
func (h *hosts) awaitAlone(errs failures) {
	ctx, cancel := context.WithTimeout(context.Background(), startTimeout)
	defer cancel()
	for _, p := range h.list() {
		if len(*p.members.Load()) > 1 || p.alone {
			continue
		}
		if _, err := p.group.ReadIndex(ctx); err != nil {
			errs.add(p.topic, fmt.Errorf("replay %s-%d: %w", p.name, p.part, err))
			continue
		}
		p.alone = true
	}
}

// host opens one replica and publishes it when it can be found and used.
func (h *hosts) host(t *metadata.Topic, p ids.Partition, id ids.ReplicaID, settings partition.Settings) error {
	n := h.node
	files, err := store.Open(store.Options{
		FS: n.cfg.FS, Dir: n.partitionDir(t.ID, p), FileBytes: settings.SegmentBytes, Cache: n.files,
		AtLeast: n.cutBefore(t.Partitions[p].Group),
	})
	if err != nil {
		return err
	}
	state, err := files.State()
	if err != nil {
		return errors.Join(err, files.Close())
	}
	if at, _ := files.End(); at > 0 {
		term, err := files.Term(at)
		if err == nil {
			err = n.realign(t.Partitions[p].Group, at, term)
		}
		if err != nil {
			return errors.Join(err, files.Close())
		}
	}
	conf, state, err := replica.UnpackMembers(state)
	if err != nil {
		return errors.Join(fmt.Errorf("%w: %w", partition.ErrCheckpoint, err), files.Close())
	}
	part, err := partition.New(partition.Config{Settings: settings, Cold: files, State: state, ParkedFull: &h.parkedFull})
	if err != nil {
		return errors.Join(err, files.Close())
	}
	out := &hosted{Partition: part, name: t.Name, topic: t.ID, part: p, files: files}
	spec := multiraft.Spec{Group: t.Partitions[p].Group, Replica: id, Cold: coldLog{files, t.Partitions[p].Group}, Snapshots: partSnapshots{out}}
	spec.Conf, spec.Promise = conf, n.identity.promise()
	if spec.Members = members(t.Partitions[p].Replicas); conf == nil && t.Partitions[p].Initial != nil {
		spec.Members = members(t.Partitions[p].Initial)
	}
	if out.group, err = n.raft.Open(spec, partMachine{out}); err != nil {
		return errors.Join(err, files.Close())
	}
	out.seat = n.arm.Seat(out.group)
	out.setMembers(t.Partitions[p].Replicas)
	part.Attach(out.group)
	h.mu.Lock()
	h.byGroup[spec.Group] = out
	h.mu.Unlock()
	n.directory.Put(t.ID, t.Name, p, out)
	if s := out.group.Status(); t.Partitions[p].Initial == nil && len(spec.Members) > 1 && spec.Members[0].Replica == id && s.Last == 0 && s.Term == 0 {
		h.fresh = append(h.fresh, fresh{out, freshTries})
	}
	return nil
}

// cutBefore is the last index that the shared log has let go of, which is
// therefore in the partition's files.
func (n *Node) cutBefore(g ids.GroupID) ids.LogIndex {
	if info, ok := n.log.Info(uint64(g)); ok && info.First > 0 {
		return ids.LogIndex(info.First) - 1
	}
	return 0
}

// unhost ends a replica and deletes all it held. Nobody finds it from the first
// step on; it stays known until the last one succeeded, so that the next round
// goes on where this one failed.
func (h *hosts) unhost(p *hosted) error {
	n := h.node
	p.gone.Store(true)
	n.directory.Remove(p.topic, p.part)
	if !p.ended {
		if err := n.raft.Remove(context.Background(), p.group.ID()); err != nil {
			return fmt.Errorf("remove %s-%d: %w", p.name, p.part, err)
		}
		p.ended = true
	}
	if err := p.files.Remove(); err != nil {
		return fmt.Errorf("remove files of %s-%d: %w", p.name, p.part, err)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.byGroup, p.group.ID())
	return nil
}

// sweep wipes what a crash left of replicas that the metadata has no more:
// streams of the log and directories of files.
func (h *hosts) sweep() error {
	n := h.node
	streams, dirs := map[uint64]bool{uint64(ids.MetadataGroup): true}, map[string]bool{}
	for _, t := range n.meta.Image().Topics() {
		for i := range t.Partitions {
			if t.Partitions[i].On(n.identity.NodeID) == 0 {
				continue // it was moved away while this node was down
			}
			streams[uint64(t.Partitions[i].Group)] = true
			dirs[path.Base(n.partitionDir(t.ID, ids.Partition(i)))] = true
		}
	}
	for _, s := range n.log.Streams() {
		if streams[s] {
			continue
		}
		done := make(chan error, 1)
		rec := []wal.Record{{Stream: s, Kind: wal.KindRemove}}
		if err := n.log.Submit(&wal.Append{Records: rec, Sync: true, Reserve: true, Done: func(err error) { done <- err }}); err != nil {
			return fmt.Errorf("wipe stream %d: %w", s, err)
		}
		if err := <-done; err != nil {
			return fmt.Errorf("wipe stream %d: %w", s, err)
		}
	}
	names, err := n.cfg.FS.List(path.Join(n.home, storeDir))
	if err != nil {
		return fmt.Errorf("list partitions: %w", err)
	}
	for _, name := range names {
		if dirs[name] {
			continue
		}
		if err := store.Remove(n.cfg.FS, path.Join(n.home, storeDir, name)); err != nil {
			return fmt.Errorf("remove files of a deleted partition: %w", err)
		}
	}
	return nil
}

// partitionDir is where the files of a partition are.
func (n *Node) partitionDir(t ids.TopicID, p ids.Partition) string {
	return path.Join(n.home, storeDir, fmt.Sprintf("%s-%d", t, p))
}
