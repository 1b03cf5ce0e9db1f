package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// TestKcat drives a real broker process with kcat (Debian package kcat), a
// client on librdkafka: what franz-go does and librdkafka does not, or the
// other way round, shows here. Without kcat it is skipped, unless
// DYNO_KCAT=required.
func TestKcat(t *testing.T) {
	if testing.Short() {
		t.Skip("runs a process")
	}
	bin, err := exec.LookPath("kcat")
	if err != nil {
		if os.Getenv("DYNO_KCAT") == "required" {
			t.Fatalf("DYNO_KCAT=required, but there is no kcat: %v", err)
		}
		t.Skip("no kcat here")
	}
	dir := t.TempDir()
	b := newKilledBroker(t, buildDyno(t, dir), dir, 1)
	b.start()
	b.awaitReady()
	k := &kcat{t: t, bin: bin, broker: b.kafka}
	t.Run("round trip", k.roundTrip)
	for _, codec := range []string{"gzip", "snappy", "lz4", "zstd"} {
		t.Run(codec, func(t *testing.T) { k.codec(t, codec) })
	}
	t.Run("idempotence", k.idempotence)
	t.Run("metadata", k.metadata)
	t.Run("offsets", k.offsets)
	t.Run("headers", k.headers)
	b.kill()
	b.start()
	b.awaitReady()
	t.Run("after a kill", func(t *testing.T) {
		if out := k.run(t, "", "-C", "-e", "-q", "-t", "round"); out != lines(100) {
			t.Errorf("consumed %d bytes, want %d", len(out), len(lines(100)))
		}
	})
}

// kcat runs kcat against one broker.
type kcat struct {
	t      *testing.T
	bin    string
	broker string
}

// run gives what kcat printed; it must end well and in time.
func (k *kcat) run(t *testing.T, stdin string, args ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, k.bin, append([]string{"-b", k.broker, "-X", "broker.address.family=v4"}, args...)...)
	var out, errs bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(stdin), &out, &errs
	if err := cmd.Run(); err != nil {
		t.Fatalf("kcat %s: %v\n%s", strings.Join(args, " "), err, errs.String())
	}
	return out.String()
}

func lines(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "line %d of many that look alike, alike, alike\n", i)
	}
	return b.String()
}

// roundTrip lets the producer create the topic, as kcat does by asking for it.
func (k *kcat) roundTrip(t *testing.T) {
	k.run(t, lines(100), "-P", "-t", "round", "-p", "0")
	if out := k.run(t, "", "-C", "-e", "-q", "-t", "round"); out != lines(100) {
		t.Errorf("consumed %d bytes, want %d", len(out), len(lines(100)))
	}
	if out := k.run(t, "", "-C", "-e", "-q", "-t", "round", "-o", "-3", "-f", "%o %s\n"); !strings.HasPrefix(out, "97 line 97 ") || strings.Count(out, "\n") != 3 {
		t.Errorf("the last three: %q", out)
	}
	for _, acks := range []string{"0", "1"} {
		k.run(t, "acks "+acks+"\n", "-P", "-t", "acks"+acks, "-p", "0", "-X", "acks="+acks)
		if out := k.run(t, "", "-C", "-c", "1", "-q", "-t", "acks"+acks); out != "acks "+acks+"\n" {
			t.Errorf("acks=%s: %q", acks, out)
		}
	}
}

func (k *kcat) codec(t *testing.T, codec string) {
	topic := "codec-" + codec
	k.run(t, lines(500), "-P", "-t", topic, "-p", "0", "-z", codec)
	if out := k.run(t, "", "-C", "-e", "-q", "-t", topic); out != lines(500) {
		t.Errorf("consumed %d bytes, want %d", len(out), len(lines(500)))
	}
}

func (k *kcat) idempotence(t *testing.T) {
	k.run(t, lines(300), "-P", "-t", "idem", "-p", "0", "-X", "enable.idempotence=true", "-X", "queue.buffering.max.ms=0")
	if out := k.run(t, "", "-C", "-e", "-q", "-t", "idem"); out != lines(300) {
		t.Errorf("consumed %d bytes, want %d", len(out), len(lines(300)))
	}
}

func (k *kcat) metadata(t *testing.T) {
	var m struct {
		Brokers []struct {
			ID   int    `json:"id"`
			Name string `json:"name"`
		} `json:"brokers"`
		Topics []struct {
			Topic      string `json:"topic"`
			Partitions []struct {
				Partition, Leader int
				Replicas          []struct{ ID int }
			} `json:"partitions"`
		} `json:"topics"`
	}
	out := k.run(t, "", "-L", "-J")
	if err := json.Unmarshal([]byte(out), &m); err != nil {
		t.Fatalf("%v in %s", err, out)
	}
	if len(m.Brokers) != 1 || m.Brokers[0].ID != 1 || m.Brokers[0].Name != k.broker {
		t.Errorf("brokers: %+v, want 1 at %s", m.Brokers, k.broker)
	}
	found := false
	for _, topic := range m.Topics {
		found = found || topic.Topic == "round" && len(topic.Partitions) == 1 && topic.Partitions[0].Leader == 1
	}
	if !found {
		t.Errorf("no topic round with one partition led by 1: %+v", m.Topics)
	}
	if text := k.run(t, "", "-L", "-t", "round"); !strings.Contains(text, `topic "round" with 1 partitions`) {
		t.Errorf("-L: %s", text)
	}
}

// offsets asks for offsets by time and for both ends.
func (k *kcat) offsets(t *testing.T) {
	for query, want := range map[string]string{"-2": "round [0] offset 0", "-1": "round [0] offset 100", "1": "round [0] offset 0"} {
		if out := k.run(t, "", "-Q", "-t", "round:0:"+query); strings.TrimSpace(out) != want {
			t.Errorf("offset of time %s: %q, want %q", query, out, want)
		}
	}
}

func (k *kcat) headers(t *testing.T) {
	k.run(t, "key:value\n", "-P", "-t", "heads", "-p", "0", "-K", ":", "-H", "a=1", "-H", "b=2")
	if out := k.run(t, "", "-C", "-e", "-q", "-t", "heads", "-f", "%k %s %h %o\n"); out != "key value a=1,b=2 0\n" {
		t.Errorf("consumed %q", out)
	}
}
