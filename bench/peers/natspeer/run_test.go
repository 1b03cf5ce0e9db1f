package natspeer

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"sync/atomic"
	"testing"
	"time"

	"dyno/loadgen"
)

// Three servers, a second of load, verification: under both policies and in all
// shapes of load.
func TestThreeServers(t *testing.T) {
	if testing.Short() {
		t.Skip("starts three servers")
	}
	for name, cfg := range map[string]Config{
		"always, saturating": {Sync: SyncAlways, Verify: VerifyRead, Pending: 256},
		"default, closed":    {Sync: SyncDefault, Verify: VerifyRead, ClosedLoop: 8},
		"always, open":       {Sync: SyncAlways, Verify: VerifyCounts, Rate: 200, Connect: ConnectSpread},
	} {
		t.Run(name, func(t *testing.T) {
			cfg.Dir = filepath.Join(t.TempDir(), "data")
			cfg.Streams, cfg.Warmup, cfg.Window = 3, 300*time.Millisecond, time.Second
			var phases []string
			cfg.Progress = func(p loadgen.Progress) { phases = append(phases, p.Phase) }
			ready := 0
			res, err := Run(t.Context(), cfg, func(context.Context) error { ready++; return nil })
			if err != nil {
				t.Fatal(err)
			}
			if ready != 1 || len(phases) < 2 || phases[0] != "start" {
				t.Errorf("ready %d times, phases %q", ready, phases)
			}
			checkRun(t, res)
			if _, err := os.Stat(cfg.Dir); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("the data directory is still there: %v", err)
			}
			if cfg.Rate > 0 && res.Sent+res.Unsent != 260 {
				t.Errorf("%d sent and %d not of a schedule of 260", res.Sent, res.Unsent)
			}
		})
	}
}

// checkRun demands what every good run has.
func checkRun(t *testing.T, res *Result) {
	t.Helper()
	if res.Acked == 0 || res.Acked != res.Sent || res.Failed+res.Unknown != 0 || res.Violation != "" {
		t.Errorf("%+v", res)
	}
	if v := res.Verification; v.Stored != res.Acked || v.Mode == VerifyRead && (v.Read != res.Acked || *res.Lost != 0 || *res.Consumed != res.Acked) {
		t.Errorf("verification of %d: %+v", res.Acked, v)
	}
	if res.MsgsPerS <= 0 || res.Response == nil || res.Response.P50 <= 0 || res.Response.Max < res.Response.P99 || res.ClientCPUS <= 0 {
		t.Errorf("%+v, response %+v", res.Report, res.Response)
	}
	leads := 0
	for _, s := range res.Servers {
		if s.PID == os.Getpid() || s.RSSBytes <= 0 || s.CPUSeconds < 0 {
			t.Errorf("server %+v", s)
		}
		leads += s.Leads
	}
	if len(res.Servers) != serverCount || leads != res.Config.Streams || res.ServerVersion == "" {
		t.Errorf("%d servers lead %d streams: %+v", len(res.Servers), leads, res.Servers)
	}
	if res.Config.Dir != "" {
		t.Errorf("the result names %s", res.Config.Dir)
	}
}

// A server that ends, and a caller that gives up, end a run at once and leave
// nothing behind.
func TestEndedRuns(t *testing.T) {
	if testing.Short() {
		t.Skip("starts three servers")
	}
	gaveUp := errors.New("the caller gave up")
	for name, c := range map[string]struct {
		want error
		end  func(cancel context.CancelCauseFunc, pid int32)
	}{
		"server killed": {ErrServerEnded, func(_ context.CancelCauseFunc, pid int32) { kill(t, int(pid)) }},
		"cancelled":     {gaveUp, func(cancel context.CancelCauseFunc, _ int32) { cancel(gaveUp) }},
	} {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithCancelCause(t.Context())
			defer cancel(nil)
			dir := t.TempDir()
			var pid atomic.Int32
			cfg := Config{Dir: dir, Streams: 1, Window: time.Minute, Pending: 64}
			cfg.Progress = func(p loadgen.Progress) {
				if p.Phase == "measure" && pid.Load() != 0 {
					c.end(cancel, pid.Swap(0))
				}
			}
			_, err := Run(ctx, cfg, func(context.Context) error { pid.Store(int32(childOfOurs(t))); return nil })
			if !errors.Is(err, c.want) {
				t.Errorf("%v, want %v", err, c.want)
			}
			if names, err := os.ReadDir(dir); err != nil || len(names) > 0 {
				t.Errorf("left behind: %v %v", names, err)
			}
			if n := len(children(t)); n > 0 {
				t.Errorf("%d processes are still there", n)
			}
		})
	}
}

// The report's fields keep the names and values of dyno.load/1.
func TestResultHasTheNamesOfLoad(t *testing.T) {
	lost := int64(3)
	r := Result{Report: loadgen.Report{Schema: JSONSchema, Sent: 7, Lost: &lost, Response: &loadgen.Quantiles{P50: 5}}, Why: "w"}
	inner, outer := asMap(t, r.Report), asMap(t, r)
	for name, want := range inner {
		if got, ok := outer[name]; !ok || !reflect.DeepEqual(got, want) {
			t.Errorf("%s is %v in the result, %v in the report", name, got, want)
		}
	}
	for _, name := range []string{"servers", "verification", "sync", "window_ns", "config"} {
		if _, ok := outer[name]; !ok {
			t.Errorf("the result has no %s", name)
		}
	}
}

func asMap(t *testing.T, v any) (m map[string]any) {
	t.Helper()
	raw, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(raw, &m); err != nil {
		t.Fatal(err)
	}
	return m
}

func TestBottleneck(t *testing.T) {
	second := Config{Window: time.Second, Publishers: 2}
	open := Config{Window: time.Second, Publishers: 2, Rate: 100}
	for _, c := range []struct {
		cfg  Config
		lag  lag
		want loadgen.Bottleneck
	}{
		{second, lag{blocked: 1.5e9}, loadgen.BottleneckCluster},
		{second, lag{blocked: 0.5e9}, loadgen.BottleneckGenerator},
		{Config{ClosedLoop: 4}, lag{}, loadgen.BottleneckNone},
		{open, lag{late: 5}, loadgen.BottleneckNone},
		{open, lag{late: 50, lateFor: 8e8, blocked: 6e8}, loadgen.BottleneckCluster},
		{open, lag{late: 50, lateFor: 8e8, blocked: 1e8}, loadgen.BottleneckGenerator},
		{open, lag{unsent: 1, blocked: 1e8}, loadgen.BottleneckCluster},
	} {
		if got, why := c.cfg.bottleneck(&c.lag, 100); got != c.want {
			t.Errorf("%s, %+v: %s (%s), want %s", c.cfg.mode(), c.lag, got, why, c.want)
		}
	}
}
