package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"dyno/engine"
	"dyno/wal/vfs"
)

// upProcess is a running `dyno up --json`.
type upProcess struct {
	cmd    *exec.Cmd
	stderr *bufio.Reader
	nodes  []upNode
}

func startUp(t *testing.T, dir string) *upProcess {
	t.Helper()
	u := &upProcess{cmd: exec.Command("dyno", "up", "--data", dir, "--kafka-port", strconv.Itoa(freePorts(t)), "--json")}
	out, err := u.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	errs, err := u.cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	u.stderr = bufio.NewReader(errs)
	if err := u.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = u.cmd.Process.Kill() })
	var told struct {
		Bootstrap string   `json:"bootstrap"`
		Nodes     []upNode `json:"nodes"`
	}
	if err := json.NewDecoder(out).Decode(&told); err != nil {
		rest, _ := io.ReadAll(u.stderr)
		t.Fatalf("up said nothing: %v\n%s", err, rest)
	}
	if len(told.Nodes) != 1 || told.Bootstrap != told.Nodes[0].Kafka {
		t.Fatalf("up told %+v", told)
	}
	u.nodes = told.Nodes
	return u
}

// gone waits until no process has that pid. A child whose parent died is reaped
// by init, or stays a zombie where nobody reaps: both are dead.
func gone(t *testing.T, pid int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		stat, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "stat"))
		if err != nil || strings.Contains(string(stat), ") Z ") {
			return
		}
		select {
		case <-ctx.Done():
			t.Fatalf("process %d lives on", pid)
		case <-tick.C:
		}
	}
}

// TestUpTells: the plain line, the shape of the JSON object, and an end without
// a word when it is asked to.
func TestUpTells(t *testing.T) {
	dir := t.TempDir()
	u := startUp(t, dir)
	n, pid := u.nodes[0], u.nodes[0].PID
	port, err := strconv.Atoi(strings.TrimPrefix(n.Kafka, "127.0.0.1:"))
	if err != nil {
		t.Fatal(err)
	}
	at := func(offset int) string { return "127.0.0.1:" + strconv.Itoa(port+offset) }
	want := upNode{ID: 1, PID: pid, Kafka: at(0), Raft: at(100), Admin: at(200), Config: filepath.Join(dir, "node-1", "node.yaml")}
	if n != want {
		t.Errorf("told %+v, want %+v", n, want)
	}
	if err := u.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if said, _ := io.ReadAll(u.stderr); len(said) > 0 {
		t.Errorf("it said %q", said)
	}
	if err := u.cmd.Wait(); err != nil {
		t.Error(err)
	}
	gone(t, pid)

	plain := exec.Command("dyno", "up", "--data", dir, "--kafka-port", strconv.Itoa(port))
	out, err := plain.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := plain.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = plain.Process.Kill() })
	if line, err := bufio.NewReader(out).ReadString('\n'); line != "bootstrap: "+at(0)+"\n" {
		t.Errorf("it said %q: %v", line, err)
	}
	if err := plain.Process.Signal(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	if err := plain.Wait(); err != nil {
		t.Error(err)
	}
}

func TestUpChildDoesNotOutliveIt(t *testing.T) {
	u := startUp(t, t.TempDir())
	if err := u.cmd.Process.Kill(); err != nil { // no chance to clean up
		t.Fatal(err)
	}
	_ = u.cmd.Wait() // "signal: killed" is what we asked for
	gone(t, u.nodes[0].PID)
}

// TestUpReportsDeath: the death of a node is told on standard error with the
// command that brings it back; with the last one gone, up ends too.
func TestUpReportsDeath(t *testing.T) {
	u := startUp(t, t.TempDir())
	if err := syscall.Kill(u.nodes[0].PID, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	line, err := u.stderr.ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"node 1", "signal: killed", "dyno serve --config " + u.nodes[0].Config} {
		if !strings.Contains(line, want) {
			t.Errorf("%q lacks %q", line, want)
		}
	}
	if line, _ = u.stderr.ReadString('\n'); line != "dyno: no node is left\n" {
		t.Errorf("up ended with %q", line)
	}
	var exit *exec.ExitError
	if err := u.cmd.Wait(); !errors.As(err, &exit) || exit.ExitCode() != exitUnavailable {
		t.Errorf("up ended with %v", err)
	}
}

// TestUpKnowsItsNodes: a stranger that says yes on our node's port does not make
// up tell an address at which nobody of ours serves.
func TestUpKnowsItsNodes(t *testing.T) {
	port := freePorts(t)
	l, err := net.Listen("tcp", "127.0.0.1:"+strconv.Itoa(port+adminPortOffset))
	if err != nil {
		t.Fatal(err)
	}
	stranger := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, `{"node":1,"cluster":"another"}`)
	}))
	stranger.Listener.Close()
	stranger.Listener = l
	stranger.Start()
	defer stranger.Close()
	cmd := exec.Command("dyno", "up", "--data", t.TempDir(), "--kafka-port", strconv.Itoa(port))
	var out, errs strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &errs
	var exit *exec.ExitError
	if err := cmd.Run(); !errors.As(err, &exit) || exit.ExitCode() != exitUnavailable {
		t.Errorf("up ended with %v", err)
	}
	if out.Len() > 0 || !strings.Contains(errs.String(), "address already in use") {
		t.Errorf("up said %q and %q", out.String(), errs.String())
	}
}

// TestUpKeepsSettings: what an operator wrote into node.yaml survives the next
// start, with other ports too.
func TestUpKeepsSettings(t *testing.T) {
	dir := t.TempDir()
	id, laid, err := layCluster(dir, 1, 20000, false, keep)
	if err != nil {
		t.Fatal(err)
	}
	n := laid[0]
	n.file.Rack, n.file.Broker = "r7", map[string]string{"num.partitions": "3"}
	if err := n.file.write(n.config); err != nil {
		t.Fatal(err)
	}
	again, laid, err := layCluster(dir, 1, 21000, false, keep)
	if err != nil {
		t.Fatal(err)
	}
	f, err := readNodeFile(laid[0].config)
	if err != nil {
		t.Fatal(err)
	}
	if again != id || f.Rack != "r7" || f.Broker["num.partitions"] != "3" || f.Kafka != "127.0.0.1:21000" || f.Admin != "127.0.0.1:21200" {
		t.Errorf("cluster %s became %s with %+v", id, again, f)
	}
	var exit *exitError
	if _, _, err := layCluster(dir, 2, 21000, false, keep); !errors.As(err, &exit) || exit.code != exitUsage {
		t.Errorf("another number of nodes: %v", err)
	}
}

func keep(*nodeFile) {}

// TestUpLeases: leases are the cluster's from the start or never.
func TestUpLeases(t *testing.T) {
	dir, other := t.TempDir(), t.TempDir()
	for range 2 { // the second time without saying so
		for _, leases := range []bool{true, false} {
			if _, _, err := layCluster(dir, 2, 20000, leases, keep); err != nil {
				t.Fatal(err)
			}
		}
		for _, n := range []string{"node-1", "node-2"} {
			if m, err := engine.ReadMeta(vfs.OS(), filepath.Join(dir, n, "data")); err != nil || !m.Leases {
				t.Errorf("%s: %+v, %v", n, m, err)
			}
		}
	}
	if _, _, err := layCluster(other, 1, 20000, false, keep); err != nil {
		t.Fatal(err)
	}
	var exit *exitError
	if _, _, err := layCluster(other, 1, 20000, true, keep); !errors.As(err, &exit) || exit.code != exitUsage {
		t.Errorf("leases for a cluster without: %v", err)
	}
}

// TestUpSettings: a file of settings is every node's, a flag goes over it, and what
// up decides itself stays. A start without them leaves what is there.
func TestUpSettings(t *testing.T) {
	dir := t.TempDir()
	common := filepath.Join(t.TempDir(), "common.yaml")
	if err := os.WriteFile(common, []byte("kafka: 10.0.0.1:1\nrack: r7\ntransport: tcp\nbroker: {num.partitions: \"3\"}\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, fl := range []upFlags{{config: common, transport: "grpc"}, {}} {
		set, err := fl.settings()
		if err != nil {
			t.Fatal(err)
		}
		_, laid, err := layCluster(dir, 2, 20000, false, set)
		if err != nil {
			t.Fatal(err)
		}
		for i, n := range laid {
			f, err := readNodeFile(n.config)
			if err != nil {
				t.Fatal(err)
			}
			if f.Transport != "grpc" || f.Rack != "r7" || f.Broker["num.partitions"] != "3" || f.NodeID != int32(i+1) ||
				f.Kafka != local(20000+i) || len(f.Peers) != 2 {
				t.Errorf("%+v: node %d: %+v", fl, i+1, f)
			}
		}
	}
	missing := upFlags{config: filepath.Join(dir, "none.yaml")}
	for _, fl := range []upFlags{{transport: "quic"}, missing} {
		var exit *exitError
		if _, err := fl.settings(); !errors.As(err, &exit) || exit.code != exitUsage {
			t.Errorf("%+v: %v", fl, err)
		}
	}
}
