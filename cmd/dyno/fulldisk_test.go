package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"dyno/engine/transport/transporttest"
)

// TestFullDisk fills the disk of one of three processes: a small tmpfs in a mount
// namespace of that process alone, so nothing is mounted here and it goes with
// the process. The node hands over what it leads, the other two go on, and with
// room it catches up and leads its share again. The idempotent producer meets no
// error, and everything is there once and in order.
func TestFullDisk(t *testing.T) {
	if testing.Short() {
		t.Skip("runs three processes for seconds")
	}
	if os.Geteuid() != 0 {
		t.Skip("a tmpfs wants root")
	}
	c := newFullDiskCluster(t)
	ctx, cancel := context.WithTimeout(context.Background(), 100*time.Second)
	defer cancel()
	w := newKillWriter(t, ctx, 3, c.brokers()...)
	w.awaitAcks(ctx, 500)
	b := c.nodes[0]
	b.await(ctx, "it leads partitions", func() bool { return b.metric(ctx, leads) > 0 })

	ballast := filepath.Join(fmt.Sprintf("/proc/%d/root", b.cmd.Process.Pid), b.data, "ballast")
	fillDisk(t, ballast)
	w.mark()
	b.await(ctx, "its disk is full", func() bool { return b.metric(ctx, "dyno_wal_full") == 1 })
	b.await(ctx, "it leads nothing", func() bool { return b.metric(ctx, leads) == 0 })
	b.awaitLine(ctx, "disk full: produce is refused, reads go on; free some space")
	w.awaitAll(ctx)
	w.mark()
	w.awaitAll(ctx) // what was asked for when it was full
	t.Logf("every partition took records again after %v", w.sinceMark().Round(time.Millisecond))
	b.awaitReady() // it serves reads

	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	b.await(ctx, "its disk has room", func() bool { return b.metric(ctx, "dyno_wal_full") == 0 })
	b.await(ctx, "it leads its share again", func() bool { return b.metric(ctx, leads) > 0 })
	if b.metric(ctx, "dyno_raft_no_room_total") < 1 || b.metric(ctx, "dyno_disk_handovers_total") < 1 {
		t.Error("it counted no append that it had no room for, or nothing handed over")
	}
	b.awaitLine(ctx, `msg="disk has room again: produce is accepted"`)
	w.awaitAcks(ctx, 500)
	w.finish()
	w.verify(ctx, c.brokers()...)
	t.Logf("%d records acknowledged", w.acked)
}

const leads = `dyno_raft_groups{role="leader"}`

// newFullDiskCluster starts three processes with small logs, the first on a small
// tmpfs.
func newFullDiskCluster(t *testing.T) *killedCluster {
	dir := t.TempDir()
	bin, err := exec.LookPath("dyno") // this binary, see TestMain
	if err != nil {
		t.Fatal(err)
	}
	c := &killedCluster{}
	var peers []peerFile
	for i := 1; i <= 3; i++ {
		b := &killedBroker{t: t, bin: bin, data: filepath.Join(dir, fmt.Sprint("data-", i)), kafka: transporttest.FreeAddr(t), raft: transporttest.FreeAddr(t), http: transporttest.FreeAddr(t)}
		c.nodes = append(c.nodes, b)
		peers = append(peers, peerFile{Node: int32(i), Raft: b.raft})
	}
	for i, b := range c.nodes {
		f := nodeFile{NodeID: int32(i + 1), Data: b.data, Kafka: b.kafka, Raft: b.raft, Admin: b.http, Peers: peers}
		f.WAL.SegmentBytes, f.WAL.BudgetBytes, f.WAL.SpareSegments = 1<<20, 8<<20, 1
		b.config = filepath.Join(dir, fmt.Sprintf("node-%d.yaml", i+1))
		if err := f.write(b.config); err != nil {
			t.Fatal(err)
		}
		b.keepLog(filepath.Join(dir, fmt.Sprint("log-", i+1)))
		if i > 0 {
			b.format(i + 1)
			continue
		}
		if err := os.Mkdir(b.data, 0o755); err != nil {
			t.Fatal(err)
		}
		script := fmt.Sprintf(`mount -t tmpfs -o size=400m dyno %[1]s && %[2]s format --data %[1]s --cluster-id kill --node-id 1 && exec "$0" "$@"`, b.data, bin)
		b.via = []string{"unshare", "--mount", "sh", "-c", script}
		b.endWithTest()
	}
	for _, b := range c.nodes {
		b.start()
	}
	for _, b := range c.nodes {
		b.awaitReady()
	}
	return c
}

// fillDisk writes a file that takes all the room there is.
func fillDisk(t *testing.T, name string) {
	t.Helper()
	f, err := os.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for piece := strings.Repeat("x", 64<<10); err == nil; {
		_, err = f.WriteString(piece)
	}
}
