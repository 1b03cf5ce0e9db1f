package replay

import (
	"errors"
	"fmt"
	"testing/synctest"
	"time"

	"dyno/engine/ids"
	"dyno/engine/replica"
	"dyno/engine/transport"
)

// cluster is some nodes and the wires between them. Nothing moves but what its
// methods move, and each returns when all is quiet again. One goroutine uses it:
// the one that began the bubble.
type cluster struct {
	nodes []*node
	wires *wires
}

// tick is the length of one, as the engine's.
const tick = 20 * time.Millisecond

// openCluster starts nodes 1 to n, with a leader for each partition: partition p
// is led by node 1 + p mod n.
func openCluster(n int) (*cluster, error) {
	c := &cluster{wires: newWires(n)}
	for id := range n {
		node, err := openNode(ids.NodeID(id+1), c.wires)
		if err != nil {
			return nil, fmt.Errorf("open node %d: %w", id+1, err)
		}
		c.nodes = append(c.nodes, node)
	}
	for p := range partitions {
		c.leader(p).parts[p].group.Campaign()
		if err := c.run(); err != nil {
			return nil, err
		}
	}
	for p := range partitions {
		if s := c.leader(p).parts[p].group.Status(); s.State != replica.Leader {
			return nil, fmt.Errorf("partition %d: node %d does not lead it but is %s", p, c.leader(p).id, s.State)
		}
	}
	return c, nil
}

func (c *cluster) leader(p int) *node { return c.nodes[p%len(c.nodes)] }

// run goes round until nothing waits: it delivers all that waits on the wires, way
// by way, then lets each node's oldest append become durable. So messages leave
// before the local sync, as in life, and a round is a round trip of the network.
func (c *cluster) run() error {
	for {
		synctest.Wait()
		moved, err := c.deliverAll()
		if err != nil {
			return err
		}
		for _, n := range c.nodes {
			if n.log.pass() {
				moved = true
				synctest.Wait()
			}
		}
		if !moved {
			return c.failure()
		}
	}
}

// deliverAll delivers what waits on each way, once.
func (c *cluster) deliverAll() (moved bool, err error) {
	for _, to := range c.nodes {
		for _, from := range c.nodes {
			for lane := range transport.Lane(transport.Lanes) {
				if !c.wires.waiting(c.wires.way(from.id, to.id, lane)) {
					continue
				}
				moved = true
				if err := to.receive(c.wires, from.id, lane); err != nil {
					return moved, fmt.Errorf("from node %d to %d: %w", from.id, to.id, err)
				}
			}
		}
	}
	return moved, nil
}

func (c *cluster) failure() error {
	for _, n := range c.nodes {
		if err := errors.Join(n.mgr.Failure(), n.log.Err()); err != nil {
			return fmt.Errorf("node %d: %w", n.id, err)
		}
	}
	return nil
}

// pass lets ticks pass, on all nodes, and what follows from each come to rest.
func (c *cluster) pass(ticks int) error {
	for range ticks {
		<-time.After(tick)
		for _, n := range c.nodes {
			n.atOnce(n.mgr.Tick)
		}
		if err := c.run(); err != nil {
			return err
		}
	}
	return nil
}

// same says whether every replica has applied what its leader has.
func (c *cluster) same() error {
	for p := range partitions {
		want := c.leader(p).parts[p].Offsets()
		if want.HighWatermark != want.LogEnd {
			return fmt.Errorf("partition %d: high watermark %d, log end %d", p, want.HighWatermark, want.LogEnd)
		}
		for _, n := range c.nodes {
			if got := n.parts[p].Offsets().HighWatermark; got != want.HighWatermark {
				return fmt.Errorf("partition %d: node %d shows %d, the leader %d", p, n.id, got, want.HighWatermark)
			}
		}
	}
	return nil
}

func (c *cluster) close() error {
	var errs []error
	for _, n := range c.nodes {
		errs = append(errs, n.close())
	}
	return errors.Join(errs...)
}
