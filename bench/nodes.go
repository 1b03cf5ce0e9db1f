package bench

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os/exec"
	"slices"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// How the lab ends single nodes of a running cluster and starts them again, and
// how it sees that they are back. Nodes are counted from 0 here.

// lookEvery is the time between two looks at an admin page.
const lookEvery = 10 * time.Millisecond

// end sends a node a signal that ends it, at the moment returned (of monotonic),
// and waits until it has ended, which may take downWait. A node that dyno up
// started is up's child: how it ended only up knows.
func (c *cluster) end(i int, sig syscall.Signal) (at int64, err error) {
	if p := c.again[i]; p != nil {
		return p.end(sig, downWait)
	}
	n := &c.Nodes[i]
	fail := func(err error) (int64, error) { return at, fmt.Errorf("end node %d (pid %d): %w", n.ID, n.PID, err) }
	fd, err := unix.PidfdOpen(n.PID, 0)
	if err != nil {
		return fail(err)
	}
	defer unix.Close(fd)
	// The descriptor holds on to one process; is it the one that was started?
	if u, err := readUsage(n.PID); err != nil || u.startTicks != c.started[i] {
		return fail(errors.Join(errors.New("it has ended by itself"), err))
	}
	c.ofUp.Add(-1)
	at = monotonic()
	if err := unix.PidfdSendSignal(fd, sig, nil, 0); err != nil {
		return fail(err)
	}
	switch ended, err := awaitPidfd(fd, downWait); {
	case err != nil:
		return fail(err)
	case !ended:
		return fail(errors.Join(fmt.Errorf("not within %v", downWait), unix.PidfdSendSignal(fd, unix.SIGKILL, nil, 0)))
	}
	return at, nil
}

// awaitPidfd says whether a process ended within that time. Source: pidfd_open(2).
func awaitPidfd(fd int, within time.Duration) (bool, error) {
	for deadline := time.Now().Add(within); ; {
		left := time.Until(deadline)
		if left <= 0 {
			return false, nil
		}
		n, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, int(left.Milliseconds())+1)
		if err != nil && !errors.Is(err, unix.EINTR) {
			return false, err
		}
		if n > 0 {
			return true, nil
		}
	}
}

// start runs a node that has ended anew, as a child of the lab. It does not wait
// until the node serves.
func (c *cluster) start(i int) error {
	n := &c.Nodes[i]
	args := append(c.dyno[1:len(c.dyno):len(c.dyno)], "serve", "--config", n.Config)
	p, err := launch(fmt.Sprintf("node %d", n.ID), exec.Command(c.dyno[0], args...))
	if err != nil {
		return err
	}
	c.again[i] = p
	n.PID = p.cmd.Process.Pid
	u, err := readUsage(n.PID)
	c.started[i] = u.startTicks
	return err
}

// each does something to all nodes at once.
func (c *cluster) each(do func(i int) error) error { return atOnce(len(c.Nodes), do) }

// atOnce does something n times at the same time, and returns when all is done.
func atOnce(n int, do func(i int) error) error {
	errs := make([]error, n)
	var wg sync.WaitGroup
	for i := range errs {
		wg.Go(func() { errs[i] = do(i) })
	}
	wg.Wait()
	return errors.Join(errs...)
}

// awaitReady returns when a node serves, which may take upWait.
func (c *cluster) awaitReady(ctx context.Context, client *http.Client, i int) error {
	return awaitTrue(ctx, fmt.Sprintf("node %d serves", c.Nodes[i].ID), func() (bool, error) {
		if p := c.again[i]; p != nil && p.ended() {
			return false, c.died()
		}
		body, err := fetchPage(ctx, client, c.Nodes[i].Admin, "/readyz")
		if err != nil {
			return false, nil // not yet
		}
		return true, body.Close()
	})
}

// awaitCaughtUp returns when a node that serves is in every in-sync set and has
// committed what the others had when this was called. A node that is away for
// seconds only never leaves the in-sync sets, so those alone would say nothing.
func (c *cluster) awaitCaughtUp(ctx context.Context, client *http.Client, i int) error {
	want := map[string]uint64{}
	for j := range c.Nodes {
		s, err := c.status(ctx, client, j)
		if err != nil {
			return err
		}
		for p, at := range s.commits() {
			want[p] = max(want[p], at)
		}
	}
	return awaitTrue(ctx, fmt.Sprintf("node %d has caught up", c.Nodes[i].ID), func() (bool, error) {
		s, err := c.status(ctx, client, i)
		if err != nil {
			return false, err
		}
		commits := s.commits()
		for p, at := range want {
			if commits[p] < at {
				return false, nil
			}
		}
		l, err := c.layout(ctx, client, i)
		return err == nil && l.inSync(), err
	})
}

// awaitTrue asks until the answer is yes, for up to upWait.
func awaitTrue(ctx context.Context, what string, ask func() (bool, error)) error {
	deadline := time.NewTimer(upWait)
	defer deadline.Stop()
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for {
		if yes, err := ask(); yes || err != nil {
			return err
		}
		select {
		case <-tick.C:
		case <-deadline.C:
			return fmt.Errorf("waited %v until %s", upWait, what)
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// layout is what GET /cluster tells of where partitions lie. Nodes are their ids.
type layout struct {
	Partitions []struct {
		Topic     string `json:"topic"`
		Partition int    `json:"partition"`
		Leader    int    `json:"leader"` // 0: none known
		Replicas  []int  `json:"replicas"`
		ISR       []int  `json:"isr"`
	} `json:"partitions"`
}

func (c *cluster) layout(ctx context.Context, client *http.Client, i int) (l layout, err error) {
	err = readPage(ctx, client, c.Nodes[i].Admin, "/cluster", &l)
	return l, err
}

// inSync says whether every replica of every partition is.
func (l *layout) inSync() bool {
	for _, p := range l.Partitions {
		for _, r := range p.Replicas {
			if !slices.Contains(p.ISR, r) {
				return false
			}
		}
	}
	return true
}

// preferred says whether every partition is led by its first replica.
func (l *layout) preferred() bool {
	for _, p := range l.Partitions {
		if p.Leader != p.Replicas[0] {
			return false
		}
	}
	return true
}

// status is what GET /status tells of a node's replicas.
type status struct {
	Partitions []struct {
		Topic     string `json:"topic"`
		Partition int    `json:"partition"`
		Role      string `json:"role"`
		Commit    uint64 `json:"commit"` // index, inclusive
	} `json:"partitions"`
}

func (c *cluster) status(ctx context.Context, client *http.Client, i int) (s status, err error) {
	err = readPage(ctx, client, c.Nodes[i].Admin, "/status", &s)
	return s, err
}

// led are the partitions of the load's topic that the node leads, ascending.
func (s *status) led() (parts []int) {
	for _, p := range s.Partitions {
		if p.Topic == loadTopic && p.Role == "leader" {
			parts = append(parts, p.Partition)
		}
	}
	slices.Sort(parts)
	return parts
}

// commits are the commit indexes by partition.
func (s *status) commits() map[string]uint64 {
	out := map[string]uint64{}
	for _, p := range s.Partitions {
		out[fmt.Sprintf("%s-%d", p.Topic, p.Partition)] = p.Commit
	}
	return out
}

// readPage decodes one page of a node's admin address.
func readPage(ctx context.Context, client *http.Client, admin, path string, into any) error {
	body, err := fetchPage(ctx, client, admin, path)
	if err != nil {
		return err
	}
	defer body.Close()
	if err := json.NewDecoder(io.LimitReader(body, scrapeMax)).Decode(into); err != nil {
		return fmt.Errorf("read %s: %w", path, err)
	}
	return nil
}
