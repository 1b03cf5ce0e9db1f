package bench

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// cluster is a set of brokers started by `dyno up` as one child of the lab.
type cluster struct {
	Bootstrap string `json:"bootstrap"`
	Nodes     []node `json:"nodes"`

	dyno    []string // program and leading arguments
	up      *process
	drained chan struct{} // closed when the reader of stdout has ended
	started []uint64      // start ticks per node: a pid alone may be given out again
	// again are the nodes that the lab has started anew, nil for the children of
	// up; ofUp is how many of those the lab has not ended. up itself ends with its
	// last child.
	again []*process
	ofUp  atomic.Int32
}

// node is one broker process, as `dyno up --json` tells it.
type node struct {
	ID     int    `json:"id"`
	PID    int    `json:"pid"`
	Kafka  string `json:"kafka"`
	Raft   string `json:"raft"`
	Admin  string `json:"admin"`
	Config string `json:"config"`
}

const (
	upWait     = 60 * time.Second // from start to the line that says all nodes serve
	downWait   = 30 * time.Second // a drain with its final sync
	portFirst  = 21000
	portStep   = 10 // nodes per cluster
	portTries  = 200
	raftOffset = 100 // design: Raft on +100, admin on +200
)

// startCluster runs `dyno up` with that many nodes on dir, and more arguments
// where given, and waits until all of them serve. Error: ErrStart with the
// child's last words.
func startCluster(ctx context.Context, dyno []string, nodes int, dir string, more ...string) (*cluster, error) {
	port, err := freePorts(nodes)
	if err != nil {
		return nil, err
	}
	args := append(dyno[1:len(dyno):len(dyno)], "up", "--nodes", strconv.Itoa(nodes),
		"--data", dir, "--kafka-port", strconv.Itoa(port), "--json")
	args = append(args, more...)
	out, childOut, err := os.Pipe()
	if err != nil {
		return nil, fmt.Errorf("%w the broker: %v", ErrStart, err)
	}
	cmd := exec.Command(dyno[0], args...)
	cmd.Stdout = childOut
	up, err := launch("the broker", cmd)
	childOut.Close()
	if err != nil {
		out.Close()
		return nil, err
	}
	c := &cluster{dyno: dyno, up: up, drained: make(chan struct{})}
	told := make(chan error, 1) // capacity 1: the reader never waits for us
	go c.read(out, told)
	if err := c.await(ctx, told); err != nil {
		return nil, errors.Join(err, c.stop())
	}
	return c, nil
}

// settingsArgs are the arguments of `dyno up` for settings of all nodes, which are
// written into dir.
func settingsArgs(dir, settings string) ([]string, error) {
	dir, err := filepath.Abs(dir) // a node may have another working directory
	if err != nil {
		return nil, err
	}
	name := filepath.Join(dir, "settings.yaml")
	if err := os.WriteFile(name, []byte(settings), 0o600); err != nil {
		return nil, fmt.Errorf("write settings of the nodes: %w", err)
	}
	return []string{"--config", name}, nil
}

// read takes the one line that describes the cluster and then keeps the pipe
// empty until the child ends. It owns out.
func (c *cluster) read(out *os.File, told chan<- error) {
	defer close(c.drained)
	defer out.Close()
	r := bufio.NewReader(out)
	line, err := r.ReadBytes('\n')
	if err == nil {
		if err = json.Unmarshal(line, c); err != nil {
			err = fmt.Errorf("it said %.80q instead of where it listens", line)
		}
	}
	told <- err
	_, _ = io.Copy(io.Discard, r) // until the child hangs up
}

func (c *cluster) await(ctx context.Context, told <-chan error) error {
	timer := time.NewTimer(upWait)
	defer timer.Stop()
	select {
	case err := <-told:
		if errors.Is(err, io.EOF) {
			<-c.up.exited
			return fmt.Errorf("%w the broker (%v); %s", ErrStart, c.up.err, c.up.lastWords())
		}
		if err != nil {
			return fmt.Errorf("%w the broker: %v", ErrStart, err)
		}
	case <-timer.C:
		return fmt.Errorf("%w the broker: not ready after %v; %s", ErrStart, upWait, c.up.lastWords())
	case <-ctx.Done():
		return ctx.Err()
	}
	if c.Bootstrap == "" || len(c.Nodes) == 0 {
		return fmt.Errorf("%w the broker: it named no address", ErrStart)
	}
	for _, n := range c.Nodes {
		u, err := readUsage(n.PID)
		if err != nil {
			return fmt.Errorf("%w the broker: node %d is gone: %v", ErrStart, n.ID, err)
		}
		c.started = append(c.started, u.startTicks)
	}
	c.again = make([]*process, len(c.Nodes))
	c.ofUp.Store(int32(len(c.Nodes)))
	return nil
}

// stop ends the cluster, all nodes at once, and any node that outlived it. Idempotent.
func (c *cluster) stop() error {
	endings := make([]error, len(c.again)+1)
	var wg sync.WaitGroup
	for i, p := range c.again {
		if p != nil {
			wg.Go(func() { endings[i] = p.stop(downWait) })
		}
	}
	if err := c.up.stop(downWait); c.again == nil || c.ofUp.Load() > 0 {
		endings[len(c.again)] = err // without a child left it has ended, and complained
	}
	wg.Wait()
	<-c.drained
	err := errors.Join(endings...)
	for i, n := range c.Nodes {
		if i >= len(c.started) {
			break
		}
		if u, uerr := readUsage(n.PID); uerr == nil && u.startTicks == c.started[i] && n.PID != c.up.cmd.Process.Pid {
			err = errors.Join(err, fmt.Errorf("node %d (pid %d) outlived the cluster and was killed", n.ID, n.PID),
				syscall.Kill(n.PID, syscall.SIGKILL))
		}
	}
	if err != nil {
		return fmt.Errorf("stop the broker: %w; %s", err, c.up.lastWords())
	}
	return nil
}

// died reports a broker that ended by itself.
func (c *cluster) died() error {
	for _, p := range c.again {
		if p != nil && p.ended() && !p.asked {
			return fmt.Errorf("%s ended during the run (%v); %s", p.name, p.err, p.lastWords())
		}
	}
	if c.ofUp.Load() == 0 {
		return nil
	}
	select {
	case <-c.up.exited:
		return fmt.Errorf("the broker ended during the run (%v); %s", c.up.err, c.up.lastWords())
	default:
		return nil
	}
}

// whileUp runs work with a context that ends as soon as the cluster's process
// does, so that nobody waits for answers of the dead. It joins its goroutine.
func (c *cluster) whileUp(ctx context.Context, work func(context.Context) error) error {
	ctx, cancel := context.WithCancel(ctx)
	over := make(chan struct{})
	joined := make(chan struct{})
	go func() {
		defer close(joined)
		select {
		case <-c.up.exited:
			if c.ofUp.Load() > 0 {
				cancel()
			}
		case <-over:
		}
	}()
	err := work(ctx)
	close(over)
	<-joined
	cancel()
	if err == nil {
		return nil
	}
	if death := c.died(); death != nil {
		return fmt.Errorf("%w (%w)", death, err)
	}
	return err
}

// total is what all brokers have used and counted so far.
type total struct {
	at   time.Time
	use  usage   // of all
	each []usage // of each, by node
	seen counters
}

// sample reads usage and counters of every node.
func (c *cluster) sample(ctx context.Context, client *http.Client) (total, error) {
	t := total{at: time.Now(), seen: counters{}}
	for _, n := range c.Nodes {
		u, err := readUsage(n.PID)
		if err != nil {
			return t, errors.Join(fmt.Errorf("read usage of node %d: %w", n.ID, err), c.died())
		}
		t.each = append(t.each, u)
		t.use.cpu += u.cpu
		t.use.rssBytes += u.rssBytes
		seen, err := scrape(ctx, client, n.Admin)
		if err != nil {
			return t, errors.Join(fmt.Errorf("node %d: %w", n.ID, err), c.died())
		}
		for name, v := range seen {
			t.seen[name] += v
		}
	}
	return t, nil
}

// freePorts finds a Kafka port whose block (Raft on +100, admin on +200) is
// free for that many nodes.
func freePorts(nodes int) (int, error) {
	if nodes < 1 || nodes > portStep {
		return 0, fmt.Errorf("%w: %d nodes: want 1 to %d", ErrUsage, nodes, portStep)
	}
	for try := range portTries {
		base := portFirst + try/portStep*3*raftOffset + try%portStep*portStep
		if blockFree(base, nodes) {
			return base, nil
		}
	}
	return 0, fmt.Errorf("%w the broker: no free block of ports from %d on", ErrStart, portFirst)
}

func blockFree(base, nodes int) bool {
	for i := range nodes {
		for offset := 0; offset <= 2*raftOffset; offset += raftOffset {
			l, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(base+i+offset)))
			if err != nil {
				return false
			}
			l.Close()
		}
	}
	return true
}
