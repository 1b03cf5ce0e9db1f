package main

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// What a test sees of a broker's process from outside: its log, its metrics and
// its status.

// keepLog has the broker's log written to a file, which is shown if the test
// fails.
func (b *killedBroker) keepLog(name string) {
	f, err := os.Create(name)
	if err != nil {
		b.t.Fatal(err)
	}
	b.said = f
	b.t.Cleanup(func() {
		f.Close()
		if text, err := os.ReadFile(name); b.t.Failed() && err == nil {
			b.t.Logf("%s:\n%s", filepath.Base(name), text)
		}
	})
}

// awaitLine returns when the log that keepLog keeps has a line with text.
func (b *killedBroker) awaitLine(ctx context.Context, text string) {
	b.t.Helper()
	name := b.said.(*os.File).Name()
	b.await(ctx, "its log says "+text, func() bool {
		log, err := os.ReadFile(name)
		return err == nil && strings.Contains(string(log), text)
	})
}

// await returns when cond holds; what says for whom it reads.
func (b *killedBroker) await(ctx context.Context, what string, cond func() bool) {
	b.t.Helper()
	awaitThat(ctx, b.t, b.http+": "+what, cond)
}

func awaitThat(ctx context.Context, t *testing.T, what string, cond func() bool) {
	t.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	for !cond() {
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("never: %s", what)
		}
	}
}

// metric is a metric by its name with labels, -1 where there is none.
func (b *killedBroker) metric(ctx context.Context, name string) float64 {
	for line := range strings.Lines(b.page(ctx, "/metrics")) {
		if value, ok := strings.CutPrefix(line, name+" "); ok {
			v, err := strconv.ParseFloat(strings.TrimSpace(value), 64)
			if err != nil {
				b.t.Fatalf("%s: %v", line, err)
			}
			return v
		}
	}
	return -1
}

// role is what a broker's replica of a partition is.
type role struct {
	Partition int32
	Role      string
	Term      int64
}

func (b *killedBroker) role(ctx context.Context, p int32) role {
	var s struct{ Partitions []role }
	if err := json.Unmarshal([]byte(b.page(ctx, "/status")), &s); err != nil {
		b.t.Fatal(err)
	}
	for _, r := range s.Partitions {
		if r.Partition == p {
			return r
		}
	}
	return role{Partition: p}
}

// page is a page of the broker's admin address.
func (b *killedBroker) page(ctx context.Context, path string) string {
	b.t.Helper()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+b.http+path, nil)
	if err != nil {
		b.t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		b.t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		b.t.Fatal(err)
	}
	return string(text)
}
