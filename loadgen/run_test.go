package loadgen

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// good checks what every clean verified run must show.
func good(t *testing.T, r *Result) {
	t.Helper()
	if v := r.Violation(); v != "" || *r.Lost+*r.Duplicated+*r.Reordered+*r.Corrupted != 0 {
		t.Errorf("violation %q: %+v", v, r.Detail.Verification)
	}
	if r.Sent == 0 || r.Acked != r.Sent || r.Failed+r.Unknown != 0 || *r.Consumed != r.Sent {
		t.Errorf("sent %d, acked %d, failed %d, unknown %d, consumed %d", r.Sent, r.Acked, r.Failed, r.Unknown, *r.Consumed)
	}
	if r.MsgsPerS <= 0 || r.BytesPerS <= r.MsgsPerS || r.ClientCPUS <= 0 {
		t.Errorf("%v msg/s, %v B/s, %v CPU-s", r.MsgsPerS, r.BytesPerS, r.ClientCPUS)
	}
}

// modes are the ways to run, each with what its result must show beside good.
var modes = []struct {
	name  string
	with  func(*Config)
	check func(*testing.T, *Result)
}{
	{"saturating", func(c *Config) {}, func(t *testing.T, r *Result) {
		if r.Response == nil || *r.Response != *r.Service || r.Delay != nil || r.E2E != nil ||
			r.Saturated != BottleneckCluster && r.Saturated != BottleneckDisk { // the disk of a busy machine may be
			t.Errorf("%+v", r.Report)
		}
	}},
	{"open", func(c *Config) { c.Rate, c.Consumers = 5_000, 2 }, func(t *testing.T, r *Result) {
		if r.Response == nil || r.Service == nil || r.Delay == nil || r.E2E == nil || r.Sent != 1_500 || *r.Detail.Live != 1_500 {
			t.Errorf("%+v live %v", r.Report, *r.Detail.Live)
		}
	}},
	{"closed", func(c *Config) { c.ClosedLoop = 6 }, func(t *testing.T, r *Result) {
		if r.Response == nil || r.Delay != nil || r.Saturated != BottleneckNone {
			t.Errorf("%+v", r.Report)
		}
	}},
	{"closed-records", func(c *Config) { c.ClosedLoop, c.Duration, c.Records = 3, 0, 1_000 }, func(t *testing.T, r *Result) {
		if r.Sent != 1_000 {
			t.Errorf("sent %d, want 1,000", r.Sent)
		}
	}},
	{"open-records", func(c *Config) { c.Rate, c.Duration, c.Records, c.Producers = 20_000, 0, 1_001, 3 }, func(t *testing.T, r *Result) {
		if r.Sent != 1_001 {
			t.Errorf("sent %d, want 1,001", r.Sent)
		}
	}},
	{"saturating-records", func(c *Config) { c.Duration, c.Records = 0, 3_000 }, func(t *testing.T, r *Result) {
		if r.Sent != 3_000 || r.Detail.Confirmed != 3_000 {
			t.Errorf("sent %d, confirmed %d, want 3,000", r.Sent, r.Detail.Confirmed)
		}
	}},
	{"acks-1", func(c *Config) { c.Acks, c.Inflight = AcksLeader, 3 }, nil},
	{"acks-0", func(c *Config) { c.Acks, c.Rate = AcksNone, 5_000 }, func(t *testing.T, r *Result) {
		if r.Response != nil || r.Service != nil || r.Delay == nil {
			t.Errorf("at acks 0 nothing answers: %+v", r.Report)
		}
	}},
	{"warmup", func(c *Config) { c.Rate, c.Warmup = 4_000, 200*time.Millisecond }, func(t *testing.T, r *Result) {
		// 500 ms of load, of which 300 ms count.
		if n := r.Histogram("response").TotalCount(); r.Sent != 2_000 || n != 1_200 {
			t.Errorf("sent %d, timed %d, want 2,000 and 1,200", r.Sent, n)
		}
		if r.MsgsPerS < 1_000 || r.MsgsPerS > 8_000 {
			t.Errorf("%v msg/s, want about 4,000", r.MsgsPerS)
		}
	}},
	{"create", func(c *Config) { c.Topic, c.Create, c.Partitions = "made", true, 3 }, func(t *testing.T, r *Result) {
		if r.Detail.Partitions != 3 {
			t.Errorf("%d partitions", r.Detail.Partitions)
		}
	}},
	{"poisson-zipf-lognormal", func(c *Config) {
		c.Rate, c.Profile.Arrivals = 5_000, Poisson
		c.Workload = Workload{Size: Size{Mean: 500}, Keys: Keys{Kind: "zipf", Count: 100}}
	}, nil},
}

func TestModes(t *testing.T) {
	t.Parallel()
	for _, m := range modes {
		t.Run(m.name, func(t *testing.T) {
			cfg := small(fake(t))
			m.with(&cfg)
			r := mustRun(t, cfg)
			good(t, r)
			if m.check != nil {
				m.check(t, r)
			}
		})
	}
}

func TestCodecs(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"none", "gzip", "snappy", "lz4", "zstd"} {
		cfg := small(fake(t))
		cfg.Compression, cfg.Workload.Compressibility = name, 0.5
		cfg.Duration, cfg.Records = 0, 5_000
		good(t, mustRun(t, cfg))
	}
}

// TestTopicOfSeveralRuns: only this run's records count, and its throughput is its own.
func TestTopicOfSeveralRuns(t *testing.T) {
	t.Parallel()
	cfg := small(fake(t))
	cfg.Duration, cfg.Records = 0, 1_000
	for range 3 {
		r := mustRun(t, cfg)
		good(t, r)
		if *r.Consumed != 1_000 || r.Detail.Confirmed != 1_000 {
			t.Fatalf("consumed %d, confirmed %d, want 1,000", *r.Consumed, r.Detail.Confirmed)
		}
	}
}

func TestReportContract(t *testing.T) {
	t.Parallel()
	cfg := small(fake(t))
	cfg.Verify = false
	raw, err := mustRun(t, cfg).JSON()
	if err != nil {
		t.Fatal(err)
	}
	var m map[string]any
	if err := json.Unmarshal(raw, &m); err != nil {
		t.Fatal(err)
	}
	want := []string{"schema", "sent", "acked", "failed", "unknown", "consumed", "lost", "duplicated", "reordered", "corrupted",
		"msgs_per_s", "bytes_per_s", "response_ns", "service_ns", "delay_ns", "e2e_ns", "saturated", "client_cpu_s"}
	for _, k := range want {
		if _, ok := m[k]; !ok {
			t.Errorf("%s is missing", k)
		}
	}
	if len(m) != len(want) {
		t.Errorf("%d keys, want %d: %s", len(m), len(want), raw)
	}
	for _, k := range []string{"consumed", "lost", "duplicated", "reordered", "corrupted", "delay_ns", "e2e_ns"} {
		if m[k] != nil {
			t.Errorf("%s is %v although it was not measured", k, m[k])
		}
	}
	if m["schema"] != "dyno.load/1" {
		t.Errorf("schema %v", m["schema"])
	}
}

// TestStallOnTheWire: the analytic stall of TestStallAnalytic over a real client and real time: the fake cluster stands still for
// 1 s under 10,000/s. In 2.5 s 25,000 records are due and 10,000 of them wait, up to 1 s: p99 leaves 250 above it, so 0.975 s,
// p99.9 0.9975 s. Four closed-loop clients under the same stall report a p99.9 of a fraction of that.
func TestStallOnTheWire(t *testing.T) {
	if testing.Short() {
		t.Skip("takes 5 s of real time")
	}
	stalled := func(with func(*Config)) *Result {
		c := fake(t)
		var begin atomic.Int64
		var once atomic.Bool
		c.ControlKey(int16(kmsg.Produce), func(kmsg.Request) (kmsg.Response, error, bool) {
			c.KeepControl()
			begin.CompareAndSwap(0, time.Now().UnixNano())
			if time.Now().UnixNano()-begin.Load() > int64(500*time.Millisecond) && !once.Swap(true) {
				<-time.After(time.Second)
			}
			return nil, nil, false
		})
		cfg := small(c)
		cfg.Verify, cfg.Duration, cfg.BufferedBytesMax = false, 2500*time.Millisecond, 0
		cfg.Workload.Size.Fixed = 100
		with(&cfg)
		r := mustRun(t, cfg)
		if !once.Load() {
			t.Fatal("the stall never happened")
		}
		return r
	}
	open := stalled(func(c *Config) { c.Rate = 10_000 })
	// Noise only adds; the machine may add a good deal.
	for _, q := range []struct {
		what string
		got  int64
		want float64
	}{{"p99", open.Response.P99, 0.975e9}, {"p99.9", open.Response.P999, 0.9975e9}} {
		if g := float64(q.got); g < 0.97*q.want || g > 1.6*q.want {
			t.Errorf("open loop %s is %v, want %v", q.what, time.Duration(q.got), time.Duration(q.want))
		}
	}
	if open.Sent != 25_000 {
		t.Errorf("sent %d, want every scheduled record, 25,000", open.Sent)
	}
	closed := stalled(func(c *Config) { c.ClosedLoop, c.Duration = 4, 1700*time.Millisecond })
	if closed.Response.Max < 990e6 || closed.Response.P99 > 200e6 {
		t.Errorf("closed loop: p99 %v, max %v: want it to hide the stall from p99", time.Duration(closed.Response.P99), time.Duration(closed.Response.Max))
	}
}

func TestProbe(t *testing.T) {
	cfg := small(fake(t))
	cfg.ProbeDuration, cfg.Rate = 200*time.Millisecond, 1_000
	var phases []string
	cfg.Progress = func(p Progress) { phases = append(phases, p.Phase) }
	r := mustRun(t, cfg)
	good(t, r)
	if r.Detail.Capacity <= 0 {
		t.Errorf("capacity %v", r.Detail.Capacity)
	}
	if len(phases) < 2 || phases[0] != "probe" {
		t.Errorf("phases %v", phases)
	}
	cfg.Capacity = 1_000 // the run is far above half of it
	if r := mustRun(t, cfg); r.Saturated != BottleneckGenerator {
		t.Errorf("saturated %s, want generator", r.Saturated)
	}
}

func TestInterrupt(t *testing.T) {
	t.Parallel()
	cfg := small(fake(t))
	cfg.Duration, cfg.Rate = time.Minute, 1_000
	ctx, cancel := context.WithCancel(context.Background())
	cfg.Progress = func(p Progress) {
		if p.Acked > 100 {
			cancel()
		}
	}
	r, err := Run(ctx, cfg)
	if !errors.Is(err, ErrInterrupted) || r == nil || !r.Detail.Interrupted {
		t.Fatalf("%v, %v", r, err)
	}
	good(t, r)
}

func TestErrors(t *testing.T) {
	c := fake(t)
	for _, f := range []struct {
		name string
		with func(*Config)
		want error
	}{
		{"no brokers", func(c *Config) { c.Brokers = nil }, ErrUsage},
		{"codec", func(c *Config) { c.Compression = "brotli" }, ErrUsage},
		{"both paces", func(c *Config) { c.Rate, c.ClosedLoop = 1, 1 }, ErrUsage},
		{"both ends", func(c *Config) { c.Records = 5 }, ErrUsage},
		{"size below the header", func(c *Config) { c.Workload.Size.Fixed = headerBytes - 1 }, ErrUsage},
		{"inflight of an idempotent producer", func(c *Config) { c.Inflight = 2 }, ErrUsage},
		{"arrivals", func(c *Config) { c.Profile.Arrivals = "weekly" }, ErrUsage},
		{"tls halves", func(c *Config) { c.TLS.Cert = "x" }, ErrUsage},
		{"step by count", func(c *Config) { c.Rate, c.Profile.Arrivals, c.Duration, c.Records = 100, Step, 0, 50 }, ErrUsage},
		{"more buffers than memory", func(c *Config) { c.Producers, c.BufferedBytesMax = 1000, 4<<20 }, ErrUsage},
		{"create over another shape", func(c *Config) { c.Create, c.Partitions = true, 3 }, ErrUsage},
		{"no such CA", func(c *Config) { c.TLS.CA = "no/such/file" }, ErrUsage},
		{"no such password file", func(c *Config) { c.SASL = SASLConfig{"PLAIN", "u", "hunter2"} }, ErrUsage},
		{"nobody listens", func(c *Config) { c.Brokers = []string{"127.0.0.1:1"} }, ErrUnreachable},
		{"no topic", func(c *Config) { c.Topic = "absent" }, ErrUnreachable},
		{"rf above brokers", func(c *Config) { c.Topic, c.Create, c.RF = "wide", true, 3 }, ErrUnreachable},
	} {
		t.Run(f.name, func(t *testing.T) {
			cfg := small(c)
			f.with(&cfg)
			r, err := Run(context.Background(), cfg)
			if r != nil || !errors.Is(err, f.want) {
				t.Fatalf("got %v, %v; want %v", r, err, f.want)
			}
			if strings.Contains(err.Error(), "hunter2") {
				t.Fatalf("the secret is printed: %v", err)
			}
			for _, ch := range fmt.Sprint(err) {
				if ch == '\n' {
					t.Fatalf("more than one line: %v", err)
				}
			}
		})
	}
}

// TestNothingAcked: a broker that refuses everything ends the run with its reason, not with a result.
func TestNothingAcked(t *testing.T) {
	t.Parallel()
	c := fake(t)
	c.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Err: kerr.MessageTooLarge, Count: -1})
	cfg := small(c)
	cfg.Rate = 100
	_, err := Run(context.Background(), cfg)
	if !errors.Is(err, ErrNothingAcked) {
		t.Fatalf("err = %v", err)
	}
}
