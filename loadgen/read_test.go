package loadgen

import (
	"context"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"os"
	"path/filepath"
	"slices"
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
	if r, err := Read(t.Context(), cfg); err != nil || cut == 0 || r.Detail.Confirmed != left || *r.Consumed != left {
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
	damaged(t, &cfg, "1 corrupted beside 19999 good records", 0)
}

// damaged wants a read to find damage in one place.
func damaged(t *testing.T, cfg *Config, violation string, undecodable int64) {
	t.Helper()
	r, err := Read(t.Context(), *cfg)
	if err != nil {
		t.Fatal(err)
	}
	v := r.Detail.Verification
	if *r.Corrupted != 1 || v.Undecodable != undecodable || len(v.Offences) != 1 || violation != "" && r.Violation() != violation || r.Violation() == "" {
		t.Errorf("%+v: %q", v, r.Violation())
	}
	var text strings.Builder
	if err := r.WriteText(&text); err != nil || !strings.Contains(text.String(), "\n  corrupted ") || !strings.Contains(text.String(), " partition ") {
		t.Errorf("%v:\n%s", err, &text)
	}
}

// TestReadFindsABadBatch: a batch that does not decode is corrupted, and the end of its partition; the others are read on.
func TestReadFindsABadBatch(t *testing.T) {
	t.Parallel()
	c := fake(t)
	requests := 0
	c.ControlKey(int16(kmsg.Produce), func(req kmsg.Request) (kmsg.Response, error, bool) {
		c.KeepControl()
		if requests++; requests == 5 {
			raw := req.(*kmsg.ProduceRequest).Topics[0].Partitions[0].Records
			raw[22] |= 4 // zstd, which it is not
			binary.BigEndian.PutUint32(raw[17:], crc32.Checksum(raw[21:], castagnoli))
		}
		return nil, nil, false
	})
	cfg := small(c)
	cfg.Duration, cfg.Records, cfg.Verify = 0, 20_000, false
	mustRun(t, cfg)
	damaged(t, &cfg, "", 1)
}

// TestReadFindsAWrongChecksum: a batch whose checksum is not that of its bytes is corrupted; its records are whole, so that only the
// client's check of the batch can tell.
func TestReadFindsAWrongChecksum(t *testing.T) {
	t.Parallel()
	c := fake(t)
	var batch []byte // the first of a partition, with a bit of its checksum turned
	c.ControlKey(int16(kmsg.Produce), func(req kmsg.Request) (kmsg.Response, error, bool) {
		c.KeepControl()
		if batch == nil {
			batch = slices.Clone(req.(*kmsg.ProduceRequest).Topics[0].Partitions[0].Records)
			batch[17] ^= 1
		}
		return nil, nil, false
	})
	cfg := small(c)
	cfg.Duration, cfg.Records, cfg.Verify = 0, 20_000, false
	mustRun(t, cfg)
	injected := false
	c.ControlKey(int16(kmsg.Fetch), func(req kmsg.Request) (kmsg.Response, error, bool) {
		c.KeepControl()
		fetch := req.(*kmsg.FetchRequest)
		if injected || len(fetch.Topics) == 0 || fetch.Topics[0].Partitions[0].FetchOffset > 0 {
			return nil, nil, false
		}
		injected = true
		resp, topic, part := fetch.ResponseKind().(*kmsg.FetchResponse), kmsg.NewFetchResponseTopic(), kmsg.NewFetchResponseTopicPartition()
		part.Partition, part.HighWatermark, part.LastStableOffset, part.RecordBatches = fetch.Topics[0].Partitions[0].Partition, cfg.Records, cfg.Records, batch
		topic.Topic, topic.TopicID, topic.Partitions = fetch.Topics[0].Topic, fetch.Topics[0].TopicID, append(topic.Partitions, part)
		resp.Topics = append(resp.Topics, topic)
		return resp, nil, true
	})
	damaged(t, &cfg, "", 1)
}

// TestReadFails: nobody there, a missing topic, and what cannot be asked.
func TestReadFails(t *testing.T) {
	t.Parallel()
	cfg := small(fake(t))
	loaded(t, cfg, 500)
	for _, c := range []struct {
		what string
		with func(*Config)
		want error
		word string
	}{
		{"no brokers", func(c *Config) { c.Brokers = nil }, ErrUsage, "no brokers"},
		{"nobody there", func(c *Config) { c.Brokers = []string{"127.0.0.1:1"} }, ErrUnreachable, "refused"},
		{"a missing topic", func(c *Config) { c.Topic = "missing" }, ErrUnreachable, "topic missing does not exist"},
		{"fewer than no consumers", func(c *Config) { c.Consumers = -1 }, ErrUsage, "consumers -1"},
		{"a topic to be made", func(c *Config) { c.Create = true }, ErrUsage, "makes no topic"},
	} {
		bad := cfg
		c.with(&bad)
		if r, err := Read(t.Context(), bad); r != nil || !errors.Is(err, c.want) || !strings.Contains(err.Error(), c.word) {
			t.Errorf("%s: %v", c.what, err)
		}
	}
}

// TestReadIsInterrupted: what was read until then is the result; the broker names an end that never comes.
func TestReadIsInterrupted(t *testing.T) {
	t.Parallel()
	c := fake(t)
	cfg := small(c)
	loaded(t, cfg, 500)
	ctx, stop := context.WithTimeout(t.Context(), time.Minute)
	defer stop()
	c.ControlKey(int16(kmsg.ListOffsets), func(req kmsg.Request) (kmsg.Response, error, bool) {
		c.KeepControl()
		q := req.(*kmsg.ListOffsetsRequest)
		if q.Topics[0].Partitions[0].Timestamp != endOffset {
			return nil, nil, false
		}
		r := q.ResponseKind().(*kmsg.ListOffsetsResponse)
		topic := kmsg.NewListOffsetsResponseTopic()
		topic.Topic = q.Topics[0].Topic
		for _, p := range q.Topics[0].Partitions {
			end := kmsg.NewListOffsetsResponseTopicPartition()
			end.Partition, end.Offset = p.Partition, 1<<40 // never reached
			topic.Partitions = append(topic.Partitions, end)
		}
		r.Topics = append(r.Topics, topic)
		return r, nil, true
	})
	cfg.Progress = func(p Progress) {
		if p.Phase == "read" && p.Acked == 500 {
			stop()
		}
	}
	r, err := Read(ctx, cfg)
	if !errors.Is(err, ErrInterrupted) || r == nil || *r.Consumed != 500 || !r.Detail.Interrupted {
		t.Errorf("%+v, %v", r, err)
	}
}

// TestDelete: a run takes away the topic it made, also when it is interrupted, and never another's.
func TestDelete(t *testing.T) {
	t.Parallel()
	cfg := small(fake(t))
	there := func(topic string) bool {
		t.Helper()
		_, adm := admin(t, &cfg) // one that has asked before would answer from memory
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
		`dyno_load_latency_seconds{mode="saturating",quantile="0.99",series="response"} `, "dyno_load_records_per_second{", "# TYPE dyno_load_client_cpu_seconds gauge"} {
		if !strings.Contains(string(raw), want) {
			t.Errorf("no %s in\n%s", want, raw)
		}
	}
	if strings.Contains(string(raw), `series="delay"`) {
		t.Error("a delay that was not measured")
	}
}
