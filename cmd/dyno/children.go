package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"
)

// child is one node's process.
type child struct {
	node  upDir
	cmd   *exec.Cmd
	ended chan struct{} // closed once the process was waited for; err is set before
	err   error
}

// children are the processes of a cluster. One goroutine a child waits for it;
// stop ends and joins them all.
type children struct {
	list   []*child
	deaths chan *child // capacity: one for each child; sent by the goroutine that waits for it
}

func newChildren(nodes int) *children { return &children{deaths: make(chan *child, nodes)} }

// logName is where a node's own log goes, beside its configuration.
const logName = "dyno.log"

// start runs `dyno serve` for one node. The child gets a process group of its
// own, so that a Ctrl-C reaches it through us and in order, and is killed by
// the kernel should this process die first.
func (c *children) start(exe string, n upDir) error {
	log, err := os.OpenFile(filepath.Join(n.dir, logName), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
	if err != nil {
		return fmt.Errorf("open the node's log: %w", err)
	}
	defer log.Close()
	k := &child{node: n, ended: make(chan struct{})}
	k.cmd = exec.Command(exe, "serve", "--config", n.config)
	k.cmd.Stdout, k.cmd.Stderr = log, log
	k.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	if err := k.cmd.Start(); err != nil {
		return fmt.Errorf("start node %d: %w", n.file.NodeID, err)
	}
	go func() {
		k.err = k.cmd.Wait()
		close(k.ended)
		c.deaths <- k
	}()
	c.list = append(c.list, k)
	return nil
}

// how says how a child ended, with the last line of its log.
func (k *child) how() string {
	state := "exit status 0"
	if k.err != nil {
		state = k.err.Error()
	}
	return fmt.Sprintf("node %d (pid %d) ended: %s: %s", k.node.file.NodeID, k.cmd.Process.Pid, state, lastLine(filepath.Join(k.node.dir, logName)))
}

// lastLine gives the last line of a file's last few KiB.
func lastLine(name string) string {
	const tail = 8 << 10
	b, err := os.ReadFile(name)
	if err != nil {
		return err.Error()
	}
	b = bytes.TrimSpace(b[max(0, len(b)-tail):])
	return string(b[bytes.LastIndexByte(b, '\n')+1:])
}

// watch waits until ctx ends, reporting every child that dies meanwhile. With
// no child left there is nothing to wait for.
func (c *children) watch(ctx context.Context, errs io.Writer) error {
	for range c.list {
		select {
		case <-ctx.Done():
			return c.stop()
		case k := <-c.deaths:
			fmt.Fprintf(errs, "dyno: %s; start it again with: dyno serve --config %s\n", k.how(), k.node.config)
		}
	}
	return &exitError{exitUnavailable, errors.New("no node is left")}
}

// stop asks every child to end, kills what does not within stopWaitMax, and
// waits for all. The error names a child that did not end well after it was
// asked. Idempotent.
func (c *children) stop() error {
	var asked []*child
	for _, k := range c.list {
		select {
		case <-k.ended: // reported already
		default:
			asked = append(asked, k)
			_ = k.cmd.Process.Signal(syscall.SIGTERM) // it may have ended just now
		}
	}
	limit := time.NewTimer(stopWaitMax)
	defer limit.Stop()
	var bad error
	for _, k := range asked {
		select {
		case <-k.ended:
		case <-limit.C:
			limit.Reset(0) // for the ones behind this one
			_ = k.cmd.Process.Kill()
			<-k.ended
		}
		if k.err != nil && bad == nil {
			bad = &exitError{exitUnavailable, errors.New(k.how())}
		}
	}
	return bad
}
