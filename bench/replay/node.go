package replay

import (
	"context"
	"errors"
	"fmt"
	"testing/synctest"
	"time"

	"dyno/engine/ids"
	"dyno/engine/kafka"
	"dyno/engine/multiraft"
	"dyno/engine/partition"
	"dyno/engine/replica"
	"dyno/engine/store"
	"dyno/engine/transport"
	"dyno/wal"
)

// node is one broker without what a socket, a clock or chance would move: a Kafka
// front on a connection in memory, the groups' manager with one worker, a log and
// files on a disk in memory.
type node struct {
	id        ids.NodeID
	disk      *disk
	log       *heldLog
	end       *endpoint // nil where there is no other node
	mgr       *multiraft.Manager
	directory *multiraft.Directory[hosted]
	parts     []*hosted // by partition
	front     *kafka.Server
	client    *conn

	// The worker is held by a call that waits in it; see atOnce.
	ask, held, free chan struct{} // unbuffered
	block           func()
	holder          chan struct{} // closed when the holder has ended

	image *wal.Image
}

// Sizes that make a short replay pass through all that a long run does: segments
// fill up and are emptied, and a part of what is fetched has left the memory.
const (
	segmentBytes = 1 << 20
	tailBytes    = 768 << 10
	fileBytes    = 128 << 10
	// quietTicks as the engine sets it.
	quietTicks = 25
	// forEver is longer than a replay, so that the manager's own clock never ticks.
	forEver = 10 * 365 * 24 * time.Hour
)

const topic = "replayed"

var topicID = ids.TopicID{0x72, 0x65, 0x70, 0x6c, 0x61, 0x79}

// A replica's id tells its node.
func replicaID(p int, n ids.NodeID) ids.ReplicaID { return ids.ReplicaID(100*(p+1) + int(n)) }
func nodeOf(r ids.ReplicaID) ids.NodeID           { return ids.NodeID(r % 100) }
func groupOf(p int) ids.GroupID                   { return ids.MetadataGroup + 1 + ids.GroupID(p) }

// openNode starts a node with a replica of every partition. After an error the
// bubble's process is of no use.
func openNode(id ids.NodeID, w *wires) (*node, error) {
	n := &node{id: id, disk: newDisk(), directory: multiraft.NewDirectory[hosted](), client: newConn(),
		ask: make(chan struct{}), held: make(chan struct{}), free: make(chan struct{}), holder: make(chan struct{})}
	log, err := wal.Open(wal.Options{FS: n.disk, Dir: "wal", SegmentBytes: segmentBytes})
	if err != nil {
		return nil, err
	}
	synctest.Wait() // spares are made
	n.log, n.image = &heldLog{Log: log}, log.NewImage()
	cfg := multiraft.Config{
		Node: id, Log: n.log, Workers: 1, Tick: forEver, TailBytes: tailBytes,
		Replica: replica.Config{QuietTicks: quietTicks}, NowMS: func() int64 { return time.Now().UnixMilli() },
		EntryBytesMax: int(log.RecordBytesMax()),
	}
	if w.nodes > 1 {
		n.end = &endpoint{w: w, id: id}
		cfg.Transport = n.end
	}
	if n.mgr, err = multiraft.New(cfg); err != nil {
		return nil, err
	}
	if err := n.disk.MkdirAll("parts"); err != nil {
		return nil, err
	}
	for p := range partitions {
		if err := n.host(p, w.nodes); err != nil {
			return nil, fmt.Errorf("host partition %d: %w", p, err)
		}
	}
	n.front, err = kafka.Serve(kafka.Config{Listener: newListener(n.client), Backend: backend{n: n}})
	if err != nil {
		return nil, err
	}
	n.block = func() { n.held <- struct{}{}; <-n.free }
	go n.hold()
	return n, nil
}

// host opens a replica.
func (n *node) host(p, nodes int) error {
	files, err := store.Open(store.Options{FS: n.disk, Dir: fmt.Sprintf("parts/p%d", p), FileBytes: fileBytes})
	if err != nil {
		return err
	}
	h := &hosted{files: files}
	h.Partition, err = partition.New(partition.Config{Cold: files, Settings: partition.Settings{
		RetentionMS: -1, RetentionBytes: -1, SegmentBytes: fileBytes, MaxMessageBytes: 1 << 20, CompressionType: "producer",
	}})
	if err != nil {
		return err
	}
	spec := multiraft.Spec{Group: groupOf(p), Replica: replicaID(p, n.id), Cold: cold{h}}
	for m := ids.NodeID(1); int(m) <= nodes; m++ {
		spec.Members = append(spec.Members, multiraft.Member{Replica: replicaID(p, m), Node: m})
	}
	if h.group, err = n.mgr.Open(spec, h.Partition); err != nil {
		return err
	}
	h.Attach(h.group)
	n.parts = append(n.parts, h)
	n.directory.Put(topicID, topic, ids.Partition(p), h)
	synctest.Wait()
	return nil
}

// hold is a goroutine that holds the worker each time it is asked to.
func (n *node) hold() {
	defer close(n.holder)
	for range n.ask {
		// It cannot fail: the manager is closed after this goroutine has ended.
		_ = n.parts[0].group.Call(context.Background(), n.block)
	}
}

// atOnce runs f while the worker waits, so that all that f brings is one drain of
// its mailbox, whatever the scheduler does; then it waits until all is quiet.
func (n *node) atOnce(f func()) {
	n.ask <- struct{}{}
	<-n.held
	f()
	synctest.Wait()
	n.free <- struct{}{}
	synctest.Wait()
}

// receive takes what arrives from another node.
func (n *node) receive(w *wires, from ids.NodeID, lane transport.Lane) (err error) {
	n.atOnce(func() {
		err = w.deliver(w.way(from, n.id, lane), func(batch []transport.Envelope) { n.end.handler.Receive(from, batch) })
	})
	return err
}

// close ends the node.
func (n *node) close() error {
	close(n.ask)
	<-n.holder
	err := n.front.Close()
	ended := make(chan error, 1)
	go func() { ended <- n.mgr.Close() }()
	for synctest.Wait(); n.log.pass(); synctest.Wait() {
	}
	errs := []error{err, <-ended, n.log.Close()}
	for _, h := range n.parts {
		errs = append(errs, h.files.Close())
	}
	return errors.Join(errs...)
}
