package engine

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"log/slog"
	"math/rand/v2"
	"os"
	"path"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"dyno/engine/ids"
	"dyno/engine/kafka"
	"dyno/engine/partition"
	"dyno/engine/replica"
	"dyno/wal"
	"dyno/wal/vfs"
)

// The crash suite runs a whole node on a memory disk, cuts the power under load
// at a moment the seed chooses, starts a node on what the disk kept, and asks:
// is every acknowledged batch at the offset it was acknowledged at, are offsets
// dense, and is there nothing that nobody sent? A kill -9 cannot show this: the
// page cache survives it.
//
// Each life of a seed ends in a cut or in a cut with damage: one byte of the
// log that is durable changes. Then the node may refuse to start (ErrCorrupt),
// but it must not start with acknowledged batches missing.

const (
	crashTopic      = "t"
	crashPartitions = 3
	crashLives      = 3
)

// crashWorld is one seed: a disk and what was sent and acknowledged on it.
type crashWorld struct {
	rng  *rand.Rand
	disk *vfs.Mem

	mu     sync.Mutex // guards what follows
	next   uint64     // number of the next batch, unique in the world
	sent   map[uint64]sentBatch
	acked  map[uint64]ids.Offset
	acks   int
	enough chan struct{} // closed when acks reached goal
	goal   int
}

type sentBatch struct {
	part ids.Partition
	sum  uint32 // of the batch from its attributes on
}

// runCrash plays one seed and returns what went wrong, nil if nothing did.
func runCrash(seed uint64) error {
	w := &crashWorld{
		rng: rand.New(rand.NewPCG(seed, 1)), disk: vfs.NewMem(seed),
		sent: map[uint64]sentBatch{}, acked: map[uint64]ids.Offset{},
	}
	if err := Format(w.disk, "d/n", "crash", 1); err != nil {
		return err
	}
	for life := range crashLives {
		damaged, err := w.life(life)
		if err != nil {
			return fmt.Errorf("life %d: %w", life, err)
		}
		if damaged {
			return nil
		}
	}
	return w.verifyLast()
}

func (w *crashWorld) config() Config {
	return Config{
		DataDir: "d/n", KafkaAddr: "127.0.0.1:0", AdminAddr: "127.0.0.1:0", FS: w.disk,
		WAL: WALConfig{SegmentBytes: 64 << 10, BudgetBytes: 128 << 10, SpareSegments: 1, MoveEvery: time.Millisecond, TailBytes: 32 << 10},
		Log: slog.New(slog.DiscardHandler),
	}
}

// life opens the node, checks what it kept, loads it, and cuts the power. It
// reports whether the cut came with damage and the node refused to live on.
func (w *crashWorld) life(n int) (damaged bool, err error) {
	node, err := Open(w.config())
	if err != nil {
		return false, fmt.Errorf("open: %w", err)
	}
	if err := w.prepare(node, n == 0); err != nil {
		return false, errors.Join(err, node.Close())
	}
	acked, cut := w.load(node)
	_ = node.Close() // fails: its disk is frozen
	w.disk, w.acked = cut, acked
	if w.rng.IntN(4) > 0 {
		return false, nil
	}
	return w.damage()
}

// prepare makes the topic in the first life and verifies in the others.
func (w *crashWorld) prepare(node *Node, first bool) error {
	b := backend{node}
	if !first {
		return w.verify(node)
	}
	res := b.CreateTopics(context.Background(), []kafka.NewTopic{{Name: crashTopic, Partitions: crashPartitions, RF: 1}}, false)
	return res[0].Err
}

// load appends from several goroutines until the goal is acknowledged, then
// cuts the power. What was acknowledged is noted before the cut.
func (w *crashWorld) load(node *Node) (map[uint64]ids.Offset, *vfs.Mem) {
	w.acks, w.goal, w.enough = 0, 20+w.rng.IntN(300), make(chan struct{})
	cutSeed := w.rng.Uint64()
	stop := make(chan struct{})
	var wg sync.WaitGroup
	for range 3 {
		wg.Add(1)
		seed := w.rng.Uint64()
		go func() {
			defer wg.Done()
			w.produce(node, rand.New(rand.NewPCG(seed, 2)), stop)
		}()
	}
	select {
	case <-w.enough:
	case <-node.Failed():
	}
	w.mu.Lock()
	acked := make(map[uint64]ids.Offset, len(w.acked))
	for k, v := range w.acked {
		acked[k] = v
	}
	w.mu.Unlock()
	cut := w.disk.PowerCut(cutSeed)
	close(stop)
	wg.Wait()
	return acked, cut
}

// produce keeps a few appends in flight on random partitions.
func (w *crashWorld) produce(node *Node, rng *rand.Rand, stop chan struct{}) {
	slots := make(chan struct{}, 1+rng.IntN(6))
	for {
		select {
		case <-stop:
			return
		case slots <- struct{}{}:
		}
		p := ids.Partition(rng.IntN(crashPartitions))
		part, err := backend{node}.Partition([]byte(crashTopic), p)
		if err != nil {
			return
		}
		if part.Append(w.newAppend(p, 1+rng.IntN(4000), slots)) != nil {
			<-slots
		}
	}
}

// newAppend makes a batch that nobody sent before.
func (w *crashWorld) newAppend(p ids.Partition, size int, slots chan struct{}) *partition.Append {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.next++
	data := testBatch(w.next, size)
	info, err := partition.ParseBatch(data)
	if err != nil {
		panic("BUG: " + err.Error())
	}
	w.sent[w.next] = sentBatch{p, batchSum(data)}
	a := &partition.Append{Batch: info, Reply: crashReply{w, w.next, slots}}
	a.Data, a.Wait = data, replica.WaitCommit
	return a
}

type crashReply struct {
	w     *crashWorld
	n     uint64
	slots chan struct{}
}

// Appended implements partition.Reply.
func (r crashReply) Appended(a *partition.Append) {
	r.w.mu.Lock()
	if a.Err == nil {
		r.w.acked[r.n] = a.Base
		if r.w.acks++; r.w.acks == r.w.goal {
			close(r.w.enough)
		}
	}
	r.w.mu.Unlock()
	<-r.slots
}

// verify reads everything and compares it with what was sent and acknowledged.
func (w *crashWorld) verify(node *Node) error {
	seen := map[uint64]ids.Offset{}
	for p := range ids.Partition(crashPartitions) {
		part, err := backend{node}.Partition([]byte(crashTopic), p)
		if err != nil {
			return fmt.Errorf("partition %d: %w", p, err)
		}
		if err := w.verifyPartition(p, part, seen); err != nil {
			return fmt.Errorf("partition %d: %w", p, err)
		}
	}
	for n, at := range w.acked {
		if got, ok := seen[n]; !ok || got != at {
			return fmt.Errorf("LOST: batch %d acknowledged at %d-%d: found %v at %d", n, w.sent[n].part, at, ok, got)
		}
	}
	w.acked = seen // what is committed now must stay
	return nil
}

func (w *crashWorld) verifyPartition(p ids.Partition, part kafka.Partition, seen map[uint64]ids.Offset) error {
	o := part.Offsets()
	if o.LogStart != 0 {
		return fmt.Errorf("log starts at %d", o.LogStart)
	}
	for at := ids.Offset(0); at < o.HighWatermark; {
		res, err := part.Read(partition.ReadArgs{Offset: at, MaxBytes: 64 << 10, One: true})
		if err != nil {
			return fmt.Errorf("read at %d: %w", at, err)
		}
		if len(res.Batches) == 0 {
			return fmt.Errorf("HOLE: nothing at %d below high watermark %d", at, o.HighWatermark)
		}
		for _, b := range res.Batches {
			n, base, count := readBatch(b)
			sent, ok := w.sent[n]
			_, twice := seen[n]
			switch {
			case base != at:
				return fmt.Errorf("HOLE: offset %d follows %d", base, at)
			case !ok || sent.part != p || sent.sum != batchSum(b):
				return fmt.Errorf("PHANTOM: batch %d at %d was not sent here like this", n, at)
			case twice:
				return fmt.Errorf("TWICE: batch %d at %d and %d", n, seen[n], at)
			}
			seen[n] = base
			at += count
		}
	}
	return nil
}

func (w *crashWorld) verifyLast() error {
	node, err := Open(w.config())
	if err != nil {
		return fmt.Errorf("last open: %w", err)
	}
	return errors.Join(w.verify(node), node.Close())
}

// damage changes one durable byte of the log. The node must refuse to start, or
// have lost nothing.
func (w *crashWorld) damage() (ended bool, err error) {
	dir := "d/n/" + walDir
	names, err := w.disk.List(dir)
	if err != nil {
		return false, err
	}
	var segments []string
	for _, n := range names {
		if size, err := w.disk.Stat(path.Join(dir, n)); err == nil && size > 1<<10 {
			segments = append(segments, n)
		}
	}
	name := path.Join(dir, segments[w.rng.IntN(len(segments))])
	if err := flipByte(w.disk, name, w.rng); err != nil {
		return false, err
	}
	node, err := Open(w.config())
	if errors.Is(err, wal.ErrCorrupt) {
		return true, nil
	}
	if err != nil {
		return false, fmt.Errorf("open after damage of %s: %w", name, err)
	}
	return true, errors.Join(w.verifyDamaged(node), node.Close())
}

// verifyDamaged allows what the log cannot tell from a tear: the last flush,
// if the damage hit it before a promise covered it. After a clean look at an
// idle log there is none, so nothing at all may be missing; in the middle of a
// load it is at most what the last writes held.
func (w *crashWorld) verifyDamaged(node *Node) error {
	err := w.verify(node)
	if err != nil && strings.Contains(err.Error(), "LOST") && w.lostOnlyTail(node) {
		return nil
	}
	return err
}

// lostOnlyTail says whether all that is missing comes after all that is there,
// partition by partition, within the last flush.
func (w *crashWorld) lostOnlyTail(node *Node) bool {
	missing := 0
	for n, at := range w.acked {
		part, err := backend{node}.Partition([]byte(crashTopic), w.sent[n].part)
		if err != nil {
			return false
		}
		if at >= part.Offsets().HighWatermark {
			missing++
		}
	}
	return missing <= lastFlushBatches
}

// lastFlushBatches bounds what one flush of this load can hold: three producers
// with at most six appends each.
const lastFlushBatches = 18

func flipByte(disk vfs.FS, name string, rng *rand.Rand) error {
	f, err := disk.Open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	size, err := f.Size()
	if err != nil {
		return err
	}
	var b [1]byte
	at := rng.Int64N(size)
	if _, err := f.ReadAt(b[:], at); err != nil {
		return err
	}
	b[0] ^= 1 << rng.IntN(8)
	if _, err := f.WriteAt(b[:], at); err != nil {
		return err
	}
	return f.Datasync()
}

// testBatch is a v2 batch of one record that holds number n and size bytes.
func testBatch(n uint64, size int) []byte {
	value := make([]byte, 8+size)
	binary.BigEndian.PutUint64(value, n)
	for i := 8; i < len(value); i++ {
		value[i] = byte(n) + byte(i)
	}
	var rec []byte
	rec = append(rec, 0, 0, 0, 1) // attributes, timestamp delta, offset delta, null key
	rec = binary.AppendVarint(rec, int64(len(value)))
	rec = append(rec, value...)
	rec = append(rec, 0) // no headers
	b := make([]byte, 61, 61+len(rec)+10)
	b = binary.AppendVarint(b, int64(len(rec)))
	b = append(b, rec...)
	binary.BigEndian.PutUint32(b[8:], uint32(len(b)-12))
	binary.BigEndian.PutUint32(b[12:], ^uint32(0))
	b[16] = 2
	binary.BigEndian.PutUint64(b[27:], 1000) // base and max timestamp
	binary.BigEndian.PutUint64(b[35:], 1000)
	binary.BigEndian.PutUint64(b[43:], ^uint64(0)) // no producer
	binary.BigEndian.PutUint16(b[51:], ^uint16(0))
	binary.BigEndian.PutUint32(b[53:], ^uint32(0))
	binary.BigEndian.PutUint32(b[57:], 1)
	binary.BigEndian.PutUint32(b[17:], batchSum(b))
	return b
}

func batchSum(b []byte) uint32 { return crc32.Checksum(b[21:], crc32.MakeTable(crc32.Castagnoli)) }

// readBatch gives the number in a batch of testBatch, its base offset and how
// many offsets it takes.
func readBatch(b []byte) (n uint64, base, count ids.Offset) {
	rec := b[61:]
	_, k := binary.Varint(rec) // length
	rec = rec[k+4:]
	_, k = binary.Varint(rec) // value length
	return binary.BigEndian.Uint64(rec[k:]), ids.Offset(binary.BigEndian.Uint64(b)),
		ids.Offset(binary.BigEndian.Uint32(b[23:])) + 1
}

// crashSeeds is how many seeds to play: DYNO_CRASH_SEEDS, or a few.
func crashSeeds(t *testing.T, def int) int {
	s := os.Getenv("DYNO_CRASH_SEEDS")
	if s == "" {
		return def
	}
	n, err := strconv.Atoi(s)
	if err != nil || n < 1 {
		t.Fatalf("DYNO_CRASH_SEEDS=%q: want a number above 0", s)
	}
	return n
}

func TestCrashPowerCuts(t *testing.T) {
	for seed := range uint64(crashSeeds(t, 10)) {
		if err := runCrash(seed); err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
	}
}
