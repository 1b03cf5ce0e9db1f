package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// netLab is a network of nodes, each in a network namespace of its own, joined by
// a router in one more, in which the test and its client live:
//
//	node i: 10.213.i.2 <- veth -> 10.213.i.1 :router
//
// The router drops what goes from one node to another by a rule of its own, so the
// loss is one-way, silent to both ends, and needs iproute2 alone. Everything is
// named after the process that made it and removed with the test; what a process
// that was killed left behind goes with the next one.
type netLab struct {
	t    *testing.T
	name string // of the namespaces, before -0 for the router and -1, -2, … for nodes
}

const netLabEnv = "DYNO_NETNS_LAB" // set for the test that runs within

// inNetLab runs the test t within a new lab, in a process of its own, and gives
// nil; within it gives the lab. It wants root and iproute2: not root, the test is
// skipped, unless DYNO_NETNS=required.
func inNetLab(t *testing.T, nodes int) *netLab {
	t.Helper()
	if name := os.Getenv(netLabEnv); name != "" {
		return &netLab{t, name}
	}
	if os.Geteuid() != 0 && os.Getenv("DYNO_NETNS") != "required" {
		t.Skip("network namespaces want root")
	}
	l := newNetLab(t, nodes)
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "ip", "netns", "exec", l.ns(0), self, "-test.run=^"+t.Name()+"$", "-test.v", "-test.count=1")
	cmd.Env = append(os.Environ(), netLabEnv+"="+l.name)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	out, err := cmd.CombinedOutput()
	t.Logf("within %s:\n%s", l.ns(0), out)
	if err != nil {
		t.Fatalf("the test within: %v", err)
	}
	if !strings.Contains(string(out), "--- PASS: "+t.Name()) {
		t.Fatal("the test within did not run")
	}
	return nil
}

func newNetLab(t *testing.T, nodes int) *netLab {
	t.Helper()
	sweepNetLabs(t)
	l := &netLab{t, labName(os.Getpid())}
	t.Cleanup(func() {
		for _, err := range removeNetLab(l.name) {
			t.Error(err)
		}
	})
	l.ip("netns", "add", l.ns(0))
	l.ip("-n", l.ns(0), "link", "set", "lo", "up")
	l.ip("netns", "exec", l.ns(0), "sh", "-c", "echo 1 >/proc/sys/net/ipv4/ip_forward")
	for i := 1; i <= nodes; i++ {
		port := fmt.Sprint("node", i)
		l.ip("netns", "add", l.ns(i))
		l.ip("link", "add", port, "netns", l.ns(0), "type", "veth", "peer", "name", "eth0", "netns", l.ns(i))
		l.ip("-n", l.ns(0), "addr", "add", fmt.Sprintf("10.213.%d.1/24", i), "dev", port)
		l.ip("-n", l.ns(0), "link", "set", port, "up")
		l.ip("-n", l.ns(i), "addr", "add", l.host(i)+"/24", "dev", "eth0")
		l.ip("-n", l.ns(i), "link", "set", "eth0", "up")
		l.ip("-n", l.ns(i), "link", "set", "lo", "up")
		l.ip("-n", l.ns(i), "route", "add", "default", "via", fmt.Sprintf("10.213.%d.1", i))
	}
	return l
}

func (l *netLab) ns(i int) string { return fmt.Sprint(l.name, "-", i) }

// host is the address of a node.
func (l *netLab) host(i int) string { return fmt.Sprintf("10.213.%d.2", i) }

// exec is the command that runs another one on a node.
func (l *netLab) exec(i int) []string { return []string{"ip", "netns", "exec", l.ns(i)} }

// lose drops every packet from one node to another from now on, and none the
// other way.
func (l *netLab) lose(from, to int) { l.rule("add", from, to) }

// heal ends lose.
func (l *netLab) heal(from, to int) { l.rule("del", from, to) }

func (l *netLab) rule(what string, from, to int) {
	l.t.Helper()
	l.ip("-n", l.ns(0), "rule", what, "from", l.host(from), "to", l.host(to), "blackhole")
}

func (l *netLab) ip(args ...string) {
	l.t.Helper()
	if out, err := exec.Command("ip", args...).CombinedOutput(); err != nil {
		l.t.Fatalf("ip %s: %v\n%s", strings.Join(args, " "), err, out)
	}
}

const netnsDir = "/run/netns"

func labName(pid int) string { return fmt.Sprint("dyno-test-", pid) }

// removeNetLab ends what runs in the namespaces of a lab and removes them.
func removeNetLab(name string) (errs []error) {
	list, err := filepath.Glob(filepath.Join(netnsDir, name+"-*"))
	if err != nil {
		return []error{err}
	}
	for _, path := range list {
		ns := filepath.Base(path)
		pids, err := exec.Command("ip", "netns", "pids", ns).Output()
		if err != nil {
			errs = append(errs, fmt.Errorf("processes in %s: %w", ns, err))
		}
		for _, s := range strings.Fields(string(pids)) {
			if pid, err := strconv.Atoi(s); err == nil {
				_ = syscall.Kill(pid, syscall.SIGKILL) // it may have ended by itself
			}
		}
		if out, err := exec.Command("ip", "netns", "del", ns).CombinedOutput(); err != nil {
			errs = append(errs, fmt.Errorf("ip netns del %s: %w: %s", ns, err, out))
		}
	}
	return errs
}

// sweepNetLabs removes the labs of processes that are no more.
func sweepNetLabs(t *testing.T) {
	list, err := filepath.Glob(filepath.Join(netnsDir, labName(0)[:len(labName(0))-1]+"*-0"))
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range list {
		pid, err := strconv.Atoi(strings.TrimSuffix(strings.TrimPrefix(filepath.Base(path), "dyno-test-"), "-0"))
		if err != nil {
			continue
		}
		if _, err := os.Stat(fmt.Sprintf("/proc/%d", pid)); !errors.Is(err, fs.ErrNotExist) {
			continue
		}
		for _, err := range removeNetLab(labName(pid)) {
			t.Log(err)
		}
	}
}
