package main

import (
	"cmp"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"dyno/engine/transport/transporttest"
)

// TestCrashKill kills a real broker process with SIGKILL again and again while
// an idempotent franz-go producer writes, restarts it each time, and reads
// everything back: nothing acknowledged is lost, nothing comes twice or out of
// order, offsets are dense. DYNO_KILLS sets how often (3; make crash: 50).
func TestCrashKill(t *testing.T) {
	if testing.Short() {
		t.Skip("runs a process for seconds")
	}
	kills := killsWanted(t)
	dir := t.TempDir()
	b := newKilledBroker(t, buildDyno(t, dir), dir, 1)
	b.start()
	b.awaitReady()
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute+time.Duration(kills)*5*time.Second)
	defer cancel()
	w := newKillWriter(t, ctx, 1, b.kafka)
	rng := rand.New(rand.NewPCG(1, 2))
	for range kills {
		w.awaitAcks(ctx, 50+rng.IntN(2000))
		b.kill()
		b.start()
		b.awaitReady()
	}
	w.awaitAcks(ctx, 100)
	w.finish()
	w.verify(ctx, b.kafka)
	t.Logf("%d kills, %d records acknowledged", kills, w.acked)
}

// killsWanted is how often a test kills: 3, or what DYNO_KILLS says.
func killsWanted(t *testing.T) int {
	t.Helper()
	s := os.Getenv("DYNO_KILLS")
	if s == "" {
		return 3
	}
	n, err := strconv.Atoi(s)
	if err != nil || n < 1 {
		t.Fatalf("DYNO_KILLS=%q: want a number above 0", s)
	}
	return n
}

// killedBroker is one dyno serve process that is killed and started again.
type killedBroker struct {
	t                 *testing.T
	bin, data, peers  string
	kafka, raft, http string
	config            string    // a configuration file in place of all that
	via               []string  // a command that runs the broker, such as ip netns exec
	said              io.Writer // hears its log: standard error
	cmd               *exec.Cmd
}

func buildDyno(t *testing.T, dir string) string {
	t.Helper()
	bin := filepath.Join(dir, "dyno")
	if out, err := exec.Command("go", "build", "-o", bin, ".").CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	return bin
}

// newKilledBroker formats a data directory below dir for one node.
func newKilledBroker(t *testing.T, bin, dir string, node int) *killedBroker {
	b := &killedBroker{t: t, bin: bin, data: filepath.Join(dir, fmt.Sprint("data-", node))}
	b.kafka, b.raft, b.http = transporttest.FreeAddr(t), transporttest.FreeAddr(t), transporttest.FreeAddr(t)
	b.format(node)
	return b
}

// format makes the data directory, and sees to it that the broker ends with the
// test.
func (b *killedBroker) format(node int) {
	b.t.Helper()
	if out, err := exec.Command(b.bin, "format", "--data", b.data, "--cluster-id", "kill", "--node-id", strconv.Itoa(node)).CombinedOutput(); err != nil {
		b.t.Fatalf("format: %v\n%s", err, out)
	}
	b.endWithTest()
}

func (b *killedBroker) endWithTest() {
	b.t.Cleanup(func() {
		if b.cmd != nil {
			b.kill()
		}
	})
}

// start runs the broker.
func (b *killedBroker) start() {
	args := []string{b.bin, "serve", "--data", b.data, "--kafka", b.kafka, "--raft", b.raft, "--admin", b.http}
	if b.peers != "" {
		args = append(args, "--peers", b.peers)
	}
	if b.config != "" {
		args = []string{b.bin, "serve", "--config", b.config}
	}
	args = append(slices.Clone(b.via), args...)
	b.cmd = exec.Command(args[0], args[1:]...)
	b.cmd.Stderr = os.Stderr
	if b.said != nil {
		b.cmd.Stderr = b.said
	}
	if err := b.cmd.Start(); err != nil {
		b.t.Fatal(err)
	}
}

// awaitReady returns when the broker serves.
func (b *killedBroker) awaitReady() {
	for deadline := time.Now().Add(30 * time.Second); ; {
		resp, err := http.Get("http://" + b.http + "/readyz")
		if err == nil {
			_ = resp.Body.Close()
			if resp.StatusCode == http.StatusOK {
				return
			}
		}
		if time.Now().After(deadline) {
			b.t.Fatalf("broker did not come back: %v", err)
		}
		runtime.Gosched()
	}
}

func (b *killedBroker) kill() {
	_ = b.cmd.Process.Kill()
	_ = b.cmd.Wait() // "signal: killed" is what we asked for
	b.cmd = nil
}

const killPartitions = 8

// killWriter produces numbered records and remembers what was acknowledged.
type killWriter struct {
	t      *testing.T
	client *kgo.Client
	stop   chan struct{}
	done   chan struct{}
	pace   *time.Ticker // where set, paceRecords go at each tick

	mu    sync.Mutex // guards what follows
	acked int
	at    map[uint64]killPlace
	more  chan struct{}         // closed at each acknowledgement, then replaced
	ends  [killPartitions]int64 // behind the last acknowledged record
	found map[killPlace]uint64  // what verify read

	lastAck [killPartitions]time.Time
	gap     [killPartitions]time.Duration // longest between two acknowledgements since takeGap
	marked  time.Time
	heard   [killPartitions]bool // partitions that took a record produced after marked
}

type killPlace struct {
	part   int32
	offset int64
}

// paceRecords are one for each partition.
const paceRecords = killPartitions

func newKillWriter(t *testing.T, ctx context.Context, rf int16, brokers ...string) *killWriter {
	w := makeKillWriter(t, ctx, rf, brokers)
	go w.run(ctx)
	return w
}

// makeKillWriter is newKillWriter without run; opts come after its own.
func makeKillWriter(t *testing.T, ctx context.Context, rf int16, brokers []string, opts ...kgo.Opt) *killWriter {
	cl, err := kgo.NewClient(append([]kgo.Opt{kgo.SeedBrokers(brokers...), kgo.MetadataMinAge(50 * time.Millisecond), kgo.AlwaysRetryEOF(),
		// A process that is stopped keeps its connections: give up on it soon.
		kgo.ProduceRequestTimeout(2 * time.Second), kgo.RequestTimeoutOverhead(time.Second),
		kgo.DefaultProduceTopic("kill"), kgo.RecordPartitioner(kgo.ManualPartitioner()),
		kgo.RecordDeliveryTimeout(time.Minute), kgo.ProducerLinger(0), kgo.MaxBufferedRecords(1000)}, opts...)...)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := kadm.NewClient(cl).CreateTopic(ctx, killPartitions, rf, nil, "kill"); err != nil {
		t.Fatal(err)
	}
	return &killWriter{t: t, client: cl, stop: make(chan struct{}), done: make(chan struct{}), at: map[uint64]killPlace{}, more: make(chan struct{})}
}

func (w *killWriter) run(ctx context.Context) {
	defer close(w.done)
	for n := uint64(0); ; n++ {
		select {
		case <-w.stop:
			return
		case <-ctx.Done():
			return
		default:
		}
		if w.pace != nil && n%paceRecords == 0 {
			select {
			case <-w.pace.C:
			case <-w.stop:
				return
			case <-ctx.Done():
				return
			}
		}
		value := make([]byte, 100)
		binary.BigEndian.PutUint64(value, n)
		produced := time.Now()
		w.client.Produce(ctx, &kgo.Record{Partition: int32(n % killPartitions), Value: value}, func(r *kgo.Record, err error) {
			if ctx.Err() != nil {
				return // the test is over, and was told why
			}
			if err != nil {
				w.t.Errorf("record %d: %v", binary.BigEndian.Uint64(r.Value), err)
				return
			}
			w.mu.Lock()
			w.acked++
			w.heard[r.Partition] = w.heard[r.Partition] || produced.After(w.marked)
			w.at[binary.BigEndian.Uint64(r.Value)] = killPlace{r.Partition, r.Offset}
			now := time.Now()
			if last := w.lastAck[r.Partition]; !last.IsZero() {
				w.gap[r.Partition] = max(w.gap[r.Partition], now.Sub(last))
			}
			w.lastAck[r.Partition] = now
			w.ends[r.Partition] = max(w.ends[r.Partition], r.Offset+1)
			close(w.more)
			w.more = make(chan struct{})
			w.mu.Unlock()
		})
	}
}

// awaitAcks returns when n more records were acknowledged.
func (w *killWriter) awaitAcks(ctx context.Context, n int) {
	w.t.Helper()
	w.mu.Lock()
	goal := w.acked + n
	w.mu.Unlock()
	for {
		w.mu.Lock()
		acked, more := w.acked, w.more
		w.mu.Unlock()
		if acked >= goal {
			return
		}
		select {
		case <-more:
		case <-ctx.Done():
			w.t.Fatalf("no progress: %d of %d records acknowledged", acked, goal)
		}
	}
}

func (w *killWriter) finish() {
	close(w.stop)
	<-w.done
	if err := w.client.Flush(context.Background()); err != nil {
		w.t.Fatal(err)
	}
	w.client.Close()
}

// verify reads everything back.
func (w *killWriter) verify(ctx context.Context, brokers ...string) {
	cl, err := kgo.NewClient(kgo.SeedBrokers(brokers...), kgo.ConsumeTopics("kill"), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	if err != nil {
		w.t.Fatal(err)
	}
	defer cl.Close()
	adm := kadm.NewClient(cl)
	ends, err := adm.ListEndOffsets(ctx, "kill")
	for err = cmp.Or(err, ends.Error()); err != nil && ctx.Err() == nil; err = cmp.Or(err, ends.Error()) {
		ends, err = adm.ListEndOffsets(ctx, "kill") // a leader may be on its way to another node
	}
	if err != nil {
		w.t.Fatal(err)
	}
	total := int64(0)
	ends.Each(func(o kadm.ListedOffset) { total += o.Offset })
	var next, last [killPartitions]int64
	for p := range last {
		last[p] = -1
	}
	found := 0
	w.found = map[killPlace]uint64{}
	for read := int64(0); read < total; {
		fetches := cl.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			w.t.Fatalf("after %d of %d records: %v", read, total, err)
		}
		fetches.EachRecord(func(r *kgo.Record) {
			read++
			n := int64(binary.BigEndian.Uint64(r.Value))
			if r.Offset != next[r.Partition] {
				w.t.Errorf("partition %d: offset %d follows %d", r.Partition, r.Offset, next[r.Partition]-1)
			}
			if n <= last[r.Partition] {
				w.t.Errorf("partition %d: record %d after %d", r.Partition, n, last[r.Partition])
			}
			next[r.Partition], last[r.Partition] = r.Offset+1, n
			w.found[killPlace{r.Partition, r.Offset}] = uint64(n)
			if at, ok := w.at[uint64(n)]; ok {
				found++
				if at != (killPlace{r.Partition, r.Offset}) {
					w.t.Errorf("record %d acknowledged at %v, found at %d-%d", n, at, r.Partition, r.Offset)
				}
			}
		})
	}
	if found != w.acked {
		w.t.Errorf("LOST: %d of %d acknowledged records", w.acked-found, w.acked)
	}
}
