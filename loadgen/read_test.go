package loadgen

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// loaded is a topic that a run of records has filled.
func loaded(t *testing.T, cfg Config, records int64) {
	t.Helper()
	cfg.Duration, cfg.Records = 0, records
	good(t, mustRun(t, cfg))
}

// admin are clients beside the load's.
func admin(t *testing.T, cfg *Config) (*kgo.Client, *kadm.Client) {
	t.Helper()
	cl, err := kgo.NewClient(kgo.SeedBrokers(cfg.Brokers...), kgo.DefaultProduceTopic(cfg.Topic))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cl.Close)
	return cl, kadm.NewClient(cl)
}

// TestRead reads what is there, once, shared among consumers or not, beside records that no load generator wrote.
func TestRead(t *testing.T) {
	t.Parallel()
	cfg := small(fake(t))
	loaded(t, cfg, 3_000)
	for _, consumers := range []int{0, 2, 100} {
		cfg.Consumers = consumers
		r, err := Read(t.Context(), cfg)
		if err != nil {
			t.Fatal(err)
		}
		d := &r.Detail
		if *r.Consumed != 3_000 || d.Confirmed != 3_000 || d.Verification.Read != 3_000 || *r.Corrupted != 0 || d.Verification.Foreign != 0 || r.Violation() != "" {
			t.Errorf("%d consumers: %+v, %+v", consumers, r.Report, d.Verification)
		}
		if r.Sent != 0 || r.Acked != 0 || r.Lost != nil || r.Response != nil || r.MsgsPerS <= 0 || r.BytesPerS <= 100*r.MsgsPerS || r.ClientCPUS <= 0 || d.Mode != "read" {
			t.Errorf("%d consumers: %+v", consumers, r.Report)
		}
		var text strings.Builder
		if err := r.WriteText(&text); err != nil || !strings.Contains(text.String(), "3000 read of 3000 offsets; 0 corrupted") || strings.Contains(text.String(), "acked") {
			t.Errorf("%v:\n%s", err, &text)
		}
	}
	cl, _ := admin(t, &cfg)
	if err := cl.ProduceSync(t.Context(), &kgo.Record{Value: []byte("of somebody else")}).FirstErr(); err != nil {
		t.Fatal(err)
	}
	if r, err := Read(t.Context(), cfg); err != nil || *r.Consumed != 3_001 || r.Detail.Verification.Foreign != 1 || *r.Corrupted != 0 || r.Violation() != "" {
		t.Errorf("%+v, %v", r, err)
	}
}

// TestReadBeginsWhereTheTopicDoes: what was deleted is not waited for, and an empty topic is read at once.
func TestReadBeginsWhereTheTopicDoes(t *testing.T) {
	t.Parallel()
	cfg := small(fake(t))
	if r, err := Read(t.Context(), cfg); err != nil || *r.Consumed != 0 || r.Detail.Confirmed != 0 {
		t.Fatalf("an empty topic: %+v, %v", r, err)
	}
	loaded(t, cfg, 1_000)
	_, adm := admin(t, &cfg)
	ends, err := adm.ListEndOffsets(t.Context(), cfg.Topic)
	if err != nil {
		t.Fatal(err)
	}
	var cut, left int64
	del := kadm.Offsets{}
	ends.Each(func(o kadm.ListedOffset) {
		at := o.Offset
		if o.Partition > 0 {
			at /= 2 // partition 0 is left empty
		}
		del.AddOffset(cfg.Topic, o.Partition, at, -1)
		cut, left = cut+at, left+o.Offset-at
	})
	if _, err := adm.DeleteRecords(t.Context(), del); err != nil {
		t.Fatal(err)
	}
	if r, err := Read(t.Context(), cfg); err != nil || cut == 0 || r.Detail.Confirmed != left || *r.Consumed < left {
		t.Errorf("%d deleted, %d left: %+v, %v", cut, left, r, err)
	}
}

// TestReadFindsDamage: a record whose own checksum is wrong is corrupted, and a violation.
func TestReadFindsDamage(t *testing.T) {
	t.Parallel()
	c := fake(t)
	cfg := small(c)
	done := tamperOnce(t, c, func(r []kmsg.Record) []kmsg.Record { r[1].Value[100] ^= 4; return r })
	cfg.Duration, cfg.Records, cfg.Verify = 0, 20_000, false
	mustRun(t, cfg)
	if !done.Load() {
		t.Fatal("the fault was never injected")
	}
	r, err := Read(t.Context(), cfg)
	if err != nil || *r.Corrupted != 1 || r.Violation() != "1 corrupted of 20000 read" {
		t.Errorf("%+v, %v: %q", r, err, r.Violation())
	}
}

// TestReadFails: a missing topic, nobody there, and an end before it began.
func TestReadFails(t *testing.T) {
	t.Parallel()
	cfg := small(fake(t))
	loaded(t, cfg, 500)
	missing := cfg
	missing.Topic = "missing"
	if _, err := Read(t.Context(), missing); !errors.Is(err, ErrUnreachable) || !strings.Contains(err.Error(), "topic missing does not exist") {
		t.Errorf("a missing topic: %v", err)
	}
	if _, err := Read(t.Context(), Config{}); !errors.Is(err, ErrUsage) {
		t.Errorf("no brokers: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cfg.Progress, cfg.Consumers = func(Progress) {}, 1
	s := &session{cfg: cfg}
	s.cfg.setDefaults()
	defer s.close()
	if err := s.open(ctx); err != nil {
		t.Fatal(err)
	}
	s.first, s.final = make([]int64, s.partitions), make([]int64, s.partitions)
	for p := range s.final {
		s.final[p] = 1 << 40 // never reached
	}
	n := &readings{}
	ended := make(chan error, 1)
	go func() { ended <- s.readAll(ctx, n) }()
	for n.records.Load() < 500 {
		runtime.Gosched()
	}
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

// TestDelete: a run takes away the topic it made, also when it is interrupted, and never another's.
func TestDelete(t *testing.T) {
	t.Parallel()
	cfg := small(fake(t))
	_, adm := admin(t, &cfg)
	there := func(topic string) bool {
		t.Helper()
		list, err := adm.ListTopics(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return list.Has(topic)
	}
	made := cfg
	made.Topic, made.Create, made.Delete, made.Partitions = "made", true, true, 2
	good(t, mustRun(t, made))
	if there("made") {
		t.Error("the topic is still there")
	}
	ctx, stop := context.WithCancel(t.Context())
	made.Acked = nil
	made.Progress = func(p Progress) {
		if p.Phase == "measure" {
			stop()
		}
	}
	made.Duration = time.Minute
	if r, err := Run(ctx, made); !errors.Is(err, ErrInterrupted) || r == nil {
		t.Errorf("interrupted: %v", err)
	}
	if there("made") {
		t.Error("the topic of an interrupted run is still there")
	}
	others := cfg
	others.Create, others.Delete, others.Partitions = true, true, 4
	good(t, mustRun(t, others))
	if !there(cfg.Topic) {
		t.Error("somebody else's topic is gone")
	}
	others.Create = false
	if _, err := Run(t.Context(), others); !errors.Is(err, ErrUsage) {
		t.Errorf("delete without create: %v", err)
	}
}

// TestPrometheus: the file has what was measured, and nothing that was not.
func TestPrometheus(t *testing.T) {
	t.Parallel()
	cfg := small(fake(t))
	r := mustRun(t, cfg)
	dir := t.TempDir()
	if err := r.WriteDir(dir); err != nil {
		t.Fatal(err)
	}
	raw, err := os.ReadFile(filepath.Join(dir, "load.prom"))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`dyno_load_records{fate="acked",mode="saturating"} `, `dyno_load_records{fate="lost",mode="saturating"} 0`,
		`dyno_load_latency_seconds{mode="saturating",quantile="0.99",series="response"} 0.`, "dyno_load_records_per_second{", "# TYPE dyno_load_client_cpu_seconds gauge"} {
		if !strings.Contains(string(raw), want) {
			t.Errorf("no %s in\n%s", want, raw)
		}
	}
	if strings.Contains(string(raw), `series="delay"`) {
		t.Error("a delay that was not measured")
	}
}
