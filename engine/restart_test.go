package engine

import (
	"fmt"
	"path"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"dyno/wal/vfs"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// ends are the ways a life of the node ends; everything acknowledged must be
// there after each.
var ends = map[string]func(*bed){
	"close": (*bed).restart,
	"cut":   func(b *bed) { b.powerCut(7) },
}

func TestRestartKeeps(t *testing.T) {
	t.Parallel()
	for name, end := range ends {
		for _, log := range []string{"large log", "small log"} {
			t.Run(name+"/"+log, func(t *testing.T) {
				b := newBed(t, func(c *Config) {
					if log == "small log" {
						smallLog(c)
					}
				})
				made := b.topic("keep", 3, "retention.ms", "123456789")
				if err := b.setBroker(false, "num.partitions", "4"); err != nil {
					t.Fatal(err)
				}
				want := numbered(200, 1000)
				for range 3 {
					_, before := b.offsets("keep", 2)
					for i := 0; i < len(want); i += 20 {
						b.produce("keep", 2, want[i:i+20]...)
					}
					_, epoch := b.partition("keep", 2).Leader()
					end(b)
					if _, now := b.partition("keep", 2).Leader(); now <= epoch {
						t.Errorf("leader epoch %d after %d", now, epoch)
					}
					if start, end := b.offsets("keep", 2); start != 0 || end != before+200 {
						t.Fatalf("log is [%d, %d), want [0, %d)", start, end, before+200)
					}
					b.wantValues("keep", 2, before, want...)
				}
				if v, _ := b.topicConfig("keep", "retention.ms"); v != "123456789" {
					t.Errorf("retention.ms is %s", v)
				}
				list, err := b.admin().ListTopics(soon(t))
				if err != nil || len(list) != 1 || list["keep"].ID != made.ID || len(list["keep"].Partitions) != 3 {
					t.Errorf("topics: %+v, %v", list, err)
				}
				if on, parts, _ := (backend{b.node}).AutoCreate(); !on || parts != 4 {
					t.Errorf("auto create %v with %d partitions, want 4", on, parts)
				}
			})
		}
	}
}

// A producer id is never given out twice, not even by the next life.
func TestRestartProducerIDs(t *testing.T) {
	b := newBed(t)
	seen := map[int64]bool{}
	for life := range 4 {
		cl := b.client()
		for range 5 {
			resp := ask[*kmsg.InitProducerIDResponse](b, cl, kmsg.NewPtrInitProducerIDRequest())
			if resp.ErrorCode != 0 || resp.ProducerEpoch != 0 || seen[resp.ProducerID] {
				t.Fatalf("life %d: %+v, seen before: %v", life, resp, seen[resp.ProducerID])
			}
			seen[resp.ProducerID] = true
		}
		if life%2 == 0 {
			b.restart()
		} else {
			b.powerCut(uint64(life))
		}
	}
}

// sequenced is testBatch of an idempotent producer.
func sequenced(n uint64, producer int64, epoch int16, seq int32) []byte {
	raw := testBatch(n, 50)
	var rb kmsg.RecordBatch
	if err := rb.ReadFrom(raw); err != nil {
		panic("BUG: " + err.Error())
	}
	rb.ProducerID, rb.ProducerEpoch, rb.FirstSequence = producer, epoch, seq
	out := rb.AppendTo(nil)
	sum := batchSum(out)
	out[17], out[18], out[19], out[20] = byte(sum>>24), byte(sum>>16), byte(sum>>8), byte(sum)
	return out
}

// A retried batch gets its first answer again, also from the node's next life
// and from one that has moved the batch to files; what does not fit the
// sequence is refused.
func TestRestartDedup(t *testing.T) {
	for name, end := range ends {
		t.Run(name, func(t *testing.T) {
			b := newBed(t, smallLog)
			b.topic("dedup", 1)
			b.topic("noise", 1)
			id := ask[*kmsg.InitProducerIDResponse](b, b.client(), kmsg.NewPtrInitProducerIDRequest()).ProducerID
			send := func(seq int32, epoch int16) *kmsg.ProduceResponseTopicPartition {
				return b.rawProduce(b.client(byName()), "dedup", 0, sequenced(uint64(seq), id, epoch, seq))
			}
			for seq := range int32(4) {
				if p := send(seq, 0); p.ErrorCode != 0 || p.BaseOffset != int64(seq) {
					t.Fatalf("sequence %d: %+v", seq, p)
				}
			}
			for range 2 {
				if p := send(3, 0); p.ErrorCode != 0 || p.BaseOffset != 3 {
					t.Errorf("retry of sequence 3: %+v, want offset 3 again", p)
				}
				wantCode(t, "a gap", send(9, 0).ErrorCode, kerr.OutOfOrderSequenceNumber)
				b.fill("noise", 0, 300) // several segments
				end(b)
			}
			if p := send(4, 0); p.ErrorCode != 0 || p.BaseOffset != 4 {
				t.Errorf("sequence 4 after two restarts: %+v", p)
			}
			if p := send(0, 1); p.ErrorCode != 0 || p.BaseOffset != 5 {
				t.Errorf("a new epoch: %+v", p)
			}
			wantCode(t, "the old epoch", send(5, 0).ErrorCode, kerr.InvalidProducerEpoch)
			if _, end := b.offsets("dedup", 0); end != 6 {
				t.Errorf("log ends at %d, want 6", end)
			}
		})
	}
}

// One franz-go producer goes on over restarts of the broker, and nothing is
// lost or doubled.
func TestRestartUnderProducer(t *testing.T) {
	b := newBed(t)
	b.cfg.KafkaAddr = b.node.KafkaAddr() // the same port in every life
	b.topic("live", 1)
	cl := b.client()
	n := 0
	for range 4 {
		var recs []*kgo.Record
		for range 50 {
			recs = append(recs, &kgo.Record{Topic: "live", Value: fmt.Appendf(nil, "%d", n)})
			n++
		}
		if err := cl.ProduceSync(soon(t), recs...).FirstErr(); err != nil {
			t.Fatal(err)
		}
		b.restart()
	}
	for i, r := range b.consume("live", 0, 0, n) {
		if string(r.Value) != fmt.Sprint(i) {
			t.Fatalf("offset %d holds %s", i, r.Value)
		}
	}
}

// Deleted topics stay deleted, and leave neither files nor streams behind.
func TestRestartDeleted(t *testing.T) {
	for name, end := range ends {
		t.Run(name, func(t *testing.T) {
			b := newBed(t, smallLog)
			for i := range 4 {
				b.topic(fmt.Sprint("t", i), 2)
				b.fill(fmt.Sprint("t", i), 0, 100)
			}
			until(t, "the first topic moves to files", func() bool { return b.partition("t0", 0).files.Last() > 0 })
			if _, err := b.admin().DeleteTopics(soon(t), "t0", "t1", "t2"); err != nil {
				t.Fatal(err)
			}
			b.onlyTopic("t3", 2) // at once, not by the next start
			end(b)
			b.onlyTopic("t3", 2)
			b.wantValues("t3", 0, 0, numbered(100, 1000)...)
		})
	}
}

// onlyTopic wants one topic and nothing else: in the metadata, in the log, and
// among the files.
func (b *bed) onlyTopic(topic string, parts int) {
	b.t.Helper()
	list, err := b.admin().ListTopics(soon(b.t))
	if err != nil || !slices.Equal(list.Names(), []string{topic}) {
		b.t.Errorf("topics: %v, %v", list.Names(), err)
	}
	if s := b.node.log.Streams(); len(s) != parts+1 {
		b.t.Errorf("streams %v, want the metadata's and %d of %s", s, parts, topic)
	}
	names, err := b.mem.List(path.Join(bedDir, storeDir))
	if err != nil {
		b.t.Fatal(err)
	}
	for _, n := range names {
		if !strings.HasPrefix(n, fmt.Sprintf("%s-", b.partition(topic, 0).topic)) {
			b.t.Errorf("%s is left of a deleted topic", n)
		}
	}
}

// A power cut in the middle of a deletion, after the metadata has it and before
// the log and the files do: the next start finishes it.
func TestRestartHalfDeleted(t *testing.T) {
	for seed := range uint64(8) {
		var armed atomic.Bool
		var syncs atomic.Int64
		var mem, kept *vfs.Mem
		cut := make(chan struct{})
		b := newBed(t, smallLog, func(c *Config) { mem = c.FS.(*vfs.Mem) }, faulty(func(c vfs.Call) vfs.Fault {
			if armed.Load() && c.Op == vfs.OpDatasync && strings.HasSuffix(c.Name, ".wal") && syncs.Add(1) == 2 {
				kept = mem.PowerCut(seed) // the first sync was that of the metadata
				close(cut)
			}
			return vfs.Fault{}
		}, nil))
		for _, topic := range []string{"stays", "goes"} {
			b.topic(topic, 1)
			b.fill(topic, 0, 200)
		}
		b.moved()
		armed.Store(true)
		adm := b.admin()
		deleted := make(chan error, 1)
		ctx := soon(t)
		go func() {
			_, err := adm.DeleteTopic(ctx, "goes")
			deleted <- err
		}()
		await(t, "the cut", cut)
		if err := await(t, "the end of the request", deleted); err == nil {
			t.Error("a deletion that was cut off is answered with success")
		}
		_ = b.node.Close() // its disk is frozen
		b.mem, b.cfg.FS = kept, kept
		b.open()
		b.onlyTopic("stays", 1)
		b.wantValues("stays", 0, 0, numbered(200, 1000)...)
		b.topic("goes", 1)
		if start, end := b.offsets("goes", 0); start != 0 || end != 0 {
			t.Errorf("seed %d: a topic made again holds [%d, %d)", seed, start, end)
		}
		b.close()
	}
}

func TestRestartHundredsOfTopics(t *testing.T) {
	b := newBed(t, func(c *Config) { c.WAL.SegmentBytes, c.WAL.BudgetBytes = 4<<20, 1<<30 })
	const topics = 300
	var names []string
	for i := range topics {
		names = append(names, fmt.Sprintf("many-%03d", i))
	}
	res, err := b.admin().CreateTopics(soon(t), 2, 1, nil, names...)
	if err != nil || res.Error() != nil {
		t.Fatal(err, res.Error())
	}
	var recs []*kgo.Record
	for _, n := range names {
		recs = append(recs, &kgo.Record{Topic: n, Partition: 1, Value: []byte(n)})
	}
	if err := b.client().ProduceSync(soon(t), recs...).FirstErr(); err != nil {
		t.Fatal(err)
	}
	b.restart()
	b.powerCut(3)
	if n := len(b.node.hosts.list()); n != 2*topics {
		t.Errorf("%d partitions are hosted, want %d", n, 2*topics)
	}
	ends, err := b.admin().ListEndOffsets(soon(t), names...)
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range names {
		if o, ok := ends.Lookup(n, 1); !ok || o.Err != nil || o.Offset != 1 {
			t.Errorf("%s-1: %+v", n, o)
		}
	}
}
