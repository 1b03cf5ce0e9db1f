package main

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"dyno/engine"
	"dyno/wal/vfs"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// TestServeDiskError breaks the disk under a node that serves: the command ends
// by itself, with an error that names the reason and an exit code that is not
// 0. The request that met the disk is not answered with success.
func TestServeDiskError(t *testing.T) {
	mem := vfs.NewMem(1)
	if err := engine.Format(mem, "d", "fail", 1); err != nil {
		t.Fatal(err)
	}
	var broken atomic.Bool
	disk := vfs.NewFaulty(mem, func(c vfs.Call) vfs.Fault {
		if broken.Load() && c.Op == vfs.OpDatasync && strings.HasSuffix(c.Name, ".wal") {
			return vfs.Fault{Err: syscall.EIO}
		}
		return vfs.Fault{}
	})
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	serving, ended := make(chan string, 1), make(chan error, 1)
	go func() {
		ended <- runServe(ctx, engine.Config{
			DataDir: "d", FS: disk, KafkaAddr: "127.0.0.1:0", AdminAddr: "127.0.0.1:0",
			WAL: engine.WALConfig{SegmentBytes: 1 << 20},
			Log: slog.New(servingAt{slog.DiscardHandler, serving}),
		})
	}()
	cl, err := kgo.NewClient(kgo.SeedBrokers(<-serving), kgo.RequestRetries(0))
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	if err := cl.Ping(ctx); err != nil {
		t.Fatal(err)
	}
	broken.Store(true)
	if _, err := kadm.NewClient(cl).CreateTopic(ctx, 1, 1, nil, "t"); err == nil {
		t.Error("a topic was made on a broken disk")
	}
	err = <-ended
	var exit *exitError
	if !errors.Is(err, syscall.EIO) || !strings.Contains(err.Error(), "node 1 failed") || !errors.As(err, &exit) || exit.code == 0 {
		t.Errorf("serve ended with %v", err)
	}
}

// servingAt tells the Kafka address when the node logs that it serves.
type servingAt struct {
	slog.Handler
	at chan string // capacity 1
}

func (s servingAt) Enabled(context.Context, slog.Level) bool { return true }

func (s servingAt) Handle(_ context.Context, r slog.Record) error {
	r.Attrs(func(a slog.Attr) bool {
		if r.Message == "serving" && a.Key == "kafka" {
			s.at <- a.Value.String()
		}
		return true
	})
	return nil
}
