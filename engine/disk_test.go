package engine

import (
	"path"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"dyno/wal/vfs"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// Disk full: produce is refused with the code that says so, reads and the rest
// go on, and with room produce works again. Nothing acknowledged is lost.
func TestDiskFull(t *testing.T) {
	t.Parallel()
	b := newBed(t, func(c *Config) { smallLog(c); c.WAL.BudgetBytes = 1 << 30 })
	b.topic("keep", 1)
	b.topic("drop", 1)
	acked := b.produceUntilFull("keep", "drop")
	if s := b.node.Status(); !s.DiskFull || !s.Ready {
		t.Errorf("status: full %v, ready %v", s.DiskFull, s.Ready)
	}
	for topic, list := range acked {
		b.holds(topic, list)
	}
	b.mem.SetRoom(1 << 40)
	until(t, "the disk has room", func() bool { return !b.node.Status().DiskFull })
	b.topic("new", 1)
	b.produce("new", 0, "x")
	b.restart()
	for topic, list := range acked {
		b.holds(topic, list)
	}
}

// On a disk without a byte of room a topic can be deleted, also after a restart
// or a power cut; then what it held in the log is room for the others.
func TestDiskFullDelete(t *testing.T) {
	for name, end := range map[string]func(*bed){"live": func(*bed) {}, "restart": (*bed).restart, "cut": func(b *bed) { b.powerCut(3) }} {
		t.Run(name, func(t *testing.T) {
			t.Parallel() // the mover waits a second between its attempts
			b := newBed(t, func(c *Config) { smallLog(c); c.WAL.BudgetBytes = 1 << 30 })
			b.topic("keep", 1)
			b.topic("drop", 1)
			acked := b.produceUntilFull("keep", "drop")
			end(b)
			if _, err := b.admin().DeleteTopic(soon(t), "drop"); err != nil {
				t.Fatalf("delete on a full disk: %v", err)
			}
			cl := b.client(byName())
			until(t, "produce is accepted after the deletion", func() bool {
				p := b.rawProduce(cl, "keep", 0, testBatch(9999, 8000))
				if p.ErrorCode != 0 && p.ErrorCode != kerr.KafkaStorageError.Code {
					t.Fatalf("produce: %v", kerr.ErrorForCode(p.ErrorCode))
				}
				return p.ErrorCode == 0
			})
			b.holds("keep", append(acked["keep"], 9999))
		})
	}
}

// produceUntilFull writes batches in turn to the topics, takes the disk's last
// byte of room after 60, goes on until it is refused for good, and gives the
// numbers of the batches that were acknowledged, by topic.
func (b *bed) produceUntilFull(topics ...string) map[string][]uint64 {
	b.t.Helper()
	cl := b.client(byName())
	acked := map[string][]uint64{}
	refused := 0
	for n := uint64(1); refused < 20; n++ {
		topic := topics[n%uint64(len(topics))]
		p := b.rawProduce(cl, topic, 0, testBatch(n, 8000))
		switch p.ErrorCode {
		case 0:
			acked[topic] = append(acked[topic], n)
			refused = 0
		case kerr.KafkaStorageError.Code:
			refused++
		default:
			b.t.Fatalf("produce on a disk that fills up: %v", kerr.ErrorForCode(p.ErrorCode))
		}
		switch n {
		case 60:
			b.mem.SetRoom(1)
		case 10_000:
			b.t.Fatal("the disk never gets full")
		}
	}
	return acked
}

// holds checks that a topic holds the batches of these numbers, in order, and
// no others.
func (b *bed) holds(topic string, numbers []uint64) {
	b.t.Helper()
	for i, r := range b.consume(topic, 0, 0, len(numbers)) {
		if i >= len(numbers) {
			b.t.Fatalf("%s: a record at %d beyond the %d acknowledged", topic, i, len(numbers))
		}
		if got := beNumber(r.Value); got != numbers[i] {
			b.t.Fatalf("%s at %d: batch %d, want %d", topic, i, got, numbers[i])
		}
	}
}

func beNumber(b []byte) (n uint64) {
	for _, c := range b[:8] {
		n = n<<8 | uint64(c)
	}
	return n
}

// Only the log cannot grow: the mover makes room by moving segments to files,
// and producers notice at most a refusal now and then.
func TestDiskFullForSegments(t *testing.T) {
	t.Parallel()
	var full atomic.Bool
	b := newBed(t, func(c *Config) { smallLog(c); c.WAL.BudgetBytes = 1 << 30 }, faulty(func(c vfs.Call) vfs.Fault {
		if full.Load() && path.Base(path.Dir(c.Name)) == walDir && strings.HasSuffix(c.Name, ".tmp") && c.Op != vfs.OpRemove {
			return vfs.Fault{Err: syscall.ENOSPC}
		}
		return vfs.Fault{}
	}, nil))
	b.topic("t", 1)
	full.Store(true)
	want := b.fill("t", 0, 500) // the client tries again what is refused
	b.wantValues("t", 0, 0, want...)
	if b.node.mover.segments.Load() == 0 {
		t.Error("nothing was moved")
	}
}

// An error of the log's disk ends the node: everybody who waits hears an error,
// nobody an acknowledgement, and the node says that it failed.
func TestDiskError(t *testing.T) {
	for _, op := range []vfs.Op{vfs.OpWrite, vfs.OpDatasync} {
		t.Run(map[vfs.Op]string{vfs.OpWrite: "write", vfs.OpDatasync: "datasync"}[op], func(t *testing.T) {
			b, broken, codes := breakDisk(t, op)
			for _, code := range codes {
				if code == 0 {
					t.Error("acknowledged on a broken disk")
				}
			}
			if b.node.Err() == nil || b.node.Ready() == nil || b.node.Status().Error == "" {
				t.Errorf("a failed node: err %v, ready %v", b.node.Err(), b.node.Ready())
			}
			resp, err := b.client(byName()).Broker(1).Request(soon(t), produceRequest("t", 1, testBatch(50, 100)))
			if err == nil && resp.(*kmsg.ProduceResponse).Topics[0].Partitions[0].ErrorCode == 0 {
				t.Error("a failed node acknowledged a batch")
			}
			b.close()
			broken.Store(false)
			b.open()
			b.wantValues("t", 0, 0, "kept")
		})
	}
}

// The code says that it was the disk, so that clients try again elsewhere.
func TestDiskErrorCode(t *testing.T) {
	_, _, codes := breakDisk(t, vfs.OpDatasync)
	for _, code := range codes {
		wantCode(t, "produce on a broken disk", code, kerr.KafkaStorageError)
	}
}

// breakDisk starts a node, lets nine produce requests of several connections
// wait for one flush, and fails that with EIO. It gives their codes once the
// node has failed, -100 for a connection that ended without an answer.
func breakDisk(t *testing.T, op vfs.Op) (b *bed, broken *atomic.Bool, codes []int16) {
	broken = new(atomic.Bool)
	held, arrived := make(chan struct{}), make(chan struct{}, 100)
	b = newBed(t, faulty(func(c vfs.Call) vfs.Fault {
		if broken.Load() && c.Op == op && strings.HasSuffix(c.Name, ".wal") {
			arrived <- struct{}{}
			return vfs.Fault{Wait: held, Err: syscall.EIO}
		}
		return vfs.Fault{}
	}, nil))
	b.topic("t", 4)
	b.produce("t", 0, "kept")
	answers := make(chan int16, 20)
	send := func(part int32, opts ...kgo.Opt) {
		cl, ctx := b.client(append(opts, byName())...), soon(t)
		go func() {
			code := int16(-100)
			resp, err := cl.Broker(1).Request(ctx, produceRequest("t", part, testBatch(uint64(part+1), 100)))
			if err == nil {
				code = resp.(*kmsg.ProduceResponse).Topics[0].Partitions[0].ErrorCode
			}
			answers <- code
		}()
	}
	broken.Store(true)
	send(0)
	await(t, "the log at the broken disk, where it waits", arrived)
	for p := range int32(4) {
		send(p)
		send(p, kgo.DisableIdempotentWrite(), kgo.RequiredAcks(kgo.LeaderAck()))
	}
	until(t, "all produce requests arrive", func() bool { return b.node.front.Snapshot().Requests["Produce"] == 10 })
	close(held)
	for range 9 {
		codes = append(codes, await(t, "an answer", answers))
	}
	await(t, "the failure of the node", b.node.Failed())
	return b, broken, codes
}
