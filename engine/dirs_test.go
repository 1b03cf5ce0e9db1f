package engine

import (
	"errors"
	"io/fs"
	"log/slog"
	"net"
	"path"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"dyno/wal/vfs"
)

// realDir formats a directory of the real disk.
func realDir(t *testing.T) Config {
	t.Helper()
	c := Config{
		DataDir: filepath.Join(t.TempDir(), "a", "b"), KafkaAddr: "127.0.0.1:0", AdminAddr: "127.0.0.1:0",
		WAL: WALConfig{SegmentBytes: 1 << 20, BudgetBytes: 1 << 30}, Log: slog.New(slog.DiscardHandler),
	}
	if err := Format(vfs.OS(), c.DataDir, "dirs", 3); err != nil {
		t.Fatal(err)
	}
	return c
}

// refused opens a node that must not start.
func refused(t *testing.T, what string, c Config, want error) {
	t.Helper()
	n, err := Open(c)
	if err == nil {
		_ = n.Close()
	}
	wantErr(t, what, err, want)
	if err != nil && strings.Contains(err.Error(), "\n") {
		t.Errorf("%s: more than a line: %v", what, err)
	}
}

// A node that lives on a real disk, and a second one that finds it taken.
func TestDirTwoNodes(t *testing.T) {
	c := realDir(t)
	b := &bed{t: t, cfg: c}
	b.open()
	t.Cleanup(b.close)
	b.topic("real", 1)
	b.produce("real", 0, "a")
	refused(t, "second node", c, vfs.ErrLocked)
	wantErr(t, "format under a node", Format(vfs.OS(), c.DataDir, "dirs", 3), vfs.ErrLocked)
	b.produce("real", 0, "b") // the first one noticed nothing
	b.restart()
	b.wantValues("real", 0, 0, "a", "b")
}

func TestDirRefused(t *testing.T) {
	c := realDir(t)
	with := func(f func(*Config)) Config { c := c; f(&c); return c }
	refused(t, "no directory", with(func(c *Config) { c.DataDir = "" }), ErrConfig)
	refused(t, "missing directory", with(func(c *Config) { c.DataDir += "x" }), ErrUnformatted)
	refused(t, "other cluster", with(func(c *Config) { c.ClusterID = "x" }), ErrForeign)
	refused(t, "other node", with(func(c *Config) { c.NodeID = 4 }), ErrForeign)
	refused(t, "unknown broker key", with(func(c *Config) { c.Broker = map[string]string{"no.such": "1"} }), ErrConfig)
	refused(t, "bad broker value", with(func(c *Config) { c.Broker = map[string]string{"num.partitions": "0"} }), ErrConfig)
	refused(t, "broker.id as a config", with(func(c *Config) { c.Broker = map[string]string{"broker.id": "3"} }), ErrConfig)
	refused(t, "bad address", with(func(c *Config) { c.KafkaAddr = "nowhere" }), ErrConfig)
	refused(t, "small budget", with(func(c *Config) { c.WAL.BudgetBytes = 1 << 20 }), ErrConfig)
	refused(t, "negative segment", with(func(c *Config) { c.WAL.SegmentBytes = -1 }), ErrConfig)
	refused(t, "negative interval", with(func(c *Config) { c.Limits.RetentionEvery = -1 }), ErrConfig)
	refused(t, "negative rate", with(func(c *Config) { c.Limits.CatchUpBytesPerSecond = NoLimit - 1 }), ErrConfig)
	refused(t, "negative limit", with(func(c *Config) { c.Limits.RequestBytesMax = -1 }), ErrConfig)
	wantErr(t, "format again", Format(vfs.OS(), c.DataDir, "dirs", 3), ErrFormatted)
	n, err := Open(c) // none of it harmed the directory
	if err != nil {
		t.Fatal(err)
	}
	if n.ID() != 3 || n.ClusterID() != "dirs" {
		t.Errorf("node %d of %q", n.ID(), n.ClusterID())
	}
	if err := n.Close(); err != nil {
		t.Error(err)
	}
	if err := n.Close(); err != nil {
		t.Errorf("a second Close: %v", err)
	}
}

// What stands in meta.json decides before anything else is touched.
func TestDirMeta(t *testing.T) {
	for name, c := range map[string]struct {
		meta string
		want error
	}{
		"newer":   {`{"format": 4, "cluster_id": "dirs", "node_id": 3, "more": true}`, ErrNewer},
		"garbage": {"\x00\x01", ErrForeign},
		"empty":   {"", ErrForeign},
		"nobody":  {`{"format": 1}`, ErrForeign},
	} {
		mem := vfs.NewMem(1)
		if err := Format(mem, bedDir, "dirs", 3); err != nil {
			t.Fatal(err)
		}
		if err := writeFile(mem, bedDir, metaName, []byte(c.meta)); err != nil {
			t.Fatal(err)
		}
		before := mem.Tree()
		refused(t, name, Config{DataDir: bedDir, FS: mem}, c.want)
		if mem.Tree() != before {
			t.Errorf("%s: a refused start changed the disk", name)
		}
	}
}

func TestDirWiped(t *testing.T) {
	mem := vfs.NewMem(1)
	if err := Format(mem, bedDir, "dirs", 3); err != nil {
		t.Fatal(err)
	}
	if err := mem.RemoveAll(path.Join(bedDir, walDir)); err != nil {
		t.Fatal(err)
	}
	refused(t, "wiped log", Config{DataDir: bedDir, FS: mem}, ErrWiped)
	if _, err := mem.List(path.Join(bedDir, walDir)); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a refused start made a log: %v", err)
	}
}

// A format that was cut off anywhere can be done again, and then serves.
func TestDirFormatCut(t *testing.T) {
	all := vfs.NewFaulty(vfs.NewMem(1), nil)
	if err := Format(all, bedDir, "dirs", 1); err != nil {
		t.Fatal(err)
	}
	for at := int64(1); at <= all.Calls(); at += 3 {
		mem := vfs.NewMem(1)
		disk := vfs.NewFaulty(mem, func(c vfs.Call) vfs.Fault {
			if c.All == at {
				mem.Freeze()
			}
			return vfs.Fault{}
		})
		first := Format(disk, bedDir, "dirs", 1)
		kept := mem.Crash(uint64(at))
		err := Format(kept, bedDir, "dirs", 1)
		if err != nil && !errors.Is(err, ErrFormatted) {
			t.Fatalf("cut at call %d: format again: %v", at, err)
		}
		if err == nil && first == nil {
			t.Errorf("cut at call %d: a format that succeeded was lost", at)
		}
		n, err := Open(Config{DataDir: bedDir, FS: kept, KafkaAddr: "127.0.0.1:0", AdminAddr: "127.0.0.1:0",
			WAL: WALConfig{SegmentBytes: 64 << 10}, Log: slog.New(slog.DiscardHandler)})
		if err != nil {
			t.Fatalf("cut at call %d: open: %v", at, err)
		}
		if err := n.Close(); err != nil {
			t.Errorf("cut at call %d: close: %v", at, err)
		}
	}
}

func TestDirUsedPorts(t *testing.T) {
	c := realDir(t)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	taken := l.Addr().String()
	kafka, admin := c, c
	kafka.KafkaAddr, admin.AdminAddr = taken, taken
	refused(t, "used Kafka port", kafka, syscall.EADDRINUSE)
	refused(t, "used admin port", admin, syscall.EADDRINUSE)
	n, err := Open(c) // nothing of the refused ones is left
	if err != nil {
		t.Fatal(err)
	}
	if err := n.Close(); err != nil {
		t.Error(err)
	}
}
