package bench

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"dyno/bench/cell"
	"dyno/engine"
	"dyno/engine/ids"
	"dyno/loadgen"
	"dyno/wal/vfs"
)

// A power cut that drops what was not synced: kill -9 cannot show that, for the page
// cache survives it. The nodes of a cluster run in one process, each on a disk in
// memory (vfs.Mem), beside the load.

// workPower is a load on such a cluster, whose power is cut once in the middle.
const workPower = "power"

const (
	powerDir     = "d/n"
	powerCluster = "power"
	powerAfter   = 1.0 // s of records acknowledged before the cut
)

// powerSpec is one such load.
type powerSpec struct {
	Load  loadSpec `json:"load"` // with a rate
	Nodes int      `json:"nodes"`
	Port  int      `json:"port"` // of the first node; Raft on +100, admin on +200
}

// power runs the load in a child process and counts what the cut took away.
func (b *bed) power(ctx context.Context, load loadSpec, nodes int) error {
	b.lab.progress.say(b.name, "power cut", "")
	port, err := freePorts(nodes)
	if err != nil {
		return err
	}
	load.Seed = b.seed
	raw, err := runJobs(ctx, []job{{name: "the cluster in memory", argv: b.lab.child, work: workPower, spec: powerSpec{load, nodes, port}}}, nil)
	if err != nil {
		return err
	}
	var res loadResult
	if err := json.Unmarshal(raw[0], &res); err != nil {
		return fmt.Errorf("result of the power cut: %w", err)
	}
	o := &outage{b: b, found: map[string]float64{}}
	o.judge(b.rep, &res)
	return nil
}

// powerNodes is the cluster in memory. One goroutine owns it.
type powerNodes struct {
	disks []*vfs.Mem
	nodes []*engine.Node // nil while down
	cfg   []engine.Config
}

func runPower(ctx context.Context, raw json.RawMessage, s *cell.Session) (_ any, err error) {
	var spec powerSpec
	if err := json.Unmarshal(raw, &spec); err != nil {
		return nil, fmt.Errorf("power cut: %w", err)
	}
	c, err := newPowerNodes(&spec)
	if err != nil {
		return nil, err
	}
	if err := s.Await(ctx); err != nil {
		return nil, err
	}
	if err := c.open(); err != nil {
		return nil, err
	}
	defer func() {
		if closed := c.close(); err == nil {
			err = closed
		}
	}()
	res, err := c.load(ctx, &spec)
	if err != nil {
		return nil, fmt.Errorf("power cut: %w", err)
	}
	return loadResult{Report: res.Report, Detail: res.Detail, Violation: res.Violation()}, nil
}

func newPowerNodes(spec *powerSpec) (*powerNodes, error) {
	at := func(offset int) string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(spec.Port+offset)) }
	var peers []engine.Peer
	for i := range spec.Nodes {
		peers = append(peers, engine.Peer{Node: ids.NodeID(i + 1), Raft: at(i + raftOffset)})
	}
	c := &powerNodes{nodes: make([]*engine.Node, spec.Nodes)}
	for i := range spec.Nodes {
		disk := vfs.NewMem(spec.Load.Seed + uint64(i))
		if err := engine.Format(disk, powerDir, powerCluster, peers[i].Node); err != nil {
			return nil, fmt.Errorf("power cut: %w", err)
		}
		c.disks = append(c.disks, disk)
		c.cfg = append(c.cfg, engine.Config{DataDir: powerDir, Peers: peers, FS: disk, Log: slog.New(slog.DiscardHandler),
			KafkaAddr: at(i), RaftAddr: peers[i].Raft, AdminAddr: at(i + 2*raftOffset),
			WAL: engine.WALConfig{SegmentBytes: 4 * mib, BudgetBytes: 1 << 30, TailBytes: 16 * mib}})
		spec.Load.Brokers = append(spec.Load.Brokers, at(i))
	}
	return c, nil
}

// each does something to all nodes at once.
func (c *powerNodes) each(do func(i int) error) error { return atOnce(len(c.nodes), do) }

// open starts all nodes: none serves before a majority has started.
func (c *powerNodes) open() error {
	err := c.each(func(i int) (err error) { c.nodes[i], err = engine.Open(c.cfg[i]); return err })
	if err != nil {
		return errors.Join(fmt.Errorf("%w the cluster in memory: %w", ErrStart, err), c.close())
	}
	return nil
}

func (c *powerNodes) close() error {
	return c.each(func(i int) error {
		if c.nodes[i] == nil {
			return nil
		}
		err := c.nodes[i].Close()
		c.nodes[i] = nil
		return err
	})
}

// cut takes the power of all nodes, one after the other within microseconds, and
// starts them again on what their disks kept. Every disk stops before any node is told.
func (c *powerNodes) cut(seed uint64) error {
	for i, disk := range c.disks {
		c.disks[i] = disk.PowerCut(seed + uint64(i))
		c.cfg[i].FS = c.disks[i]
	}
	_ = c.close() // fails: the disks are frozen
	return c.open()
}

// load runs the generator, and cuts the power once it has had a second's worth of
// records acknowledged.
func (c *powerNodes) load(ctx context.Context, spec *powerSpec) (*loadgen.Result, error) {
	cfg, err := spec.Load.config()
	if err != nil {
		return nil, err
	}
	ctx, giveUp := context.WithCancel(ctx)
	defer giveUp()
	enough, want := make(chan struct{}), int64(spec.Load.Rate*powerAfter) // closed by the generator
	var acked atomic.Int64
	cfg.RetryEvery, cfg.ProbeDuration, cfg.BufferedBytesMax = steadyRetry, -1, steadyBuffer
	cfg.Acked = func(int32, time.Duration) {
		if acked.Add(1) == want {
			close(enough)
		}
	}
	var beside sync.WaitGroup
	var cutErr error
	beside.Go(func() {
		select {
		case <-enough:
			if cutErr = c.cut(spec.Load.Seed); cutErr != nil {
				giveUp()
			}
		case <-ctx.Done():
			cutErr = errors.New("the load ended before the power was cut")
		}
	})
	res, err := loadgen.Run(ctx, cfg)
	giveUp()
	beside.Wait()
	if err = errors.Join(cutErr, err); err != nil {
		return nil, err
	}
	return res, nil
}
