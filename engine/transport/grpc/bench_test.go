package grpctransport

import (
	"fmt"
	"syscall"
	"testing"
	"time"

	"go.etcd.io/raft/v3/raftpb"

	"dyno/engine/ids"
	"dyno/engine/transport"
)

// credit is a handler that gives one credit back for every so many messages.
type credit struct {
	per, n int // n: owner: the stream's goroutine
	free   chan struct{}
}

func (c *credit) Receive(_ ids.NodeID, batch []transport.Envelope) {
	for c.n += len(batch); c.n >= c.per; c.n -= c.per {
		c.free <- struct{}{}
	}
}

func (c *credit) Unreachable(ids.NodeID, ids.GroupID, ids.ReplicaID) {
	panic("a message was dropped")
}

// BenchmarkSend sends batches from one node to another over loopback, an
// operation being one batch, with at most 8 MiB or 32 batches under way. Bytes
// are the payload's; allocations those of both sides.
func BenchmarkSend(b *testing.B) {
	control := make([]transport.Envelope, 64)
	for i := range control {
		control[i] = transport.Envelope{Group: ids.GroupID(i + 1), Message: raftpb.Message{
			Type: raftpb.MsgAppResp, From: 11, To: 22, Term: 7, Index: 123456, Commit: 123400,
		}}
	}
	loads := []struct {
		name  string
		lane  transport.Lane
		batch []transport.Envelope
		bytes int
	}{
		{"control-64x64B", transport.Control, control, 64 * 64},
		{"entry-16KiB", transport.Bulk, entryBatch(16 << 10), 16 << 10},
		{"entry-1MiB", transport.Bulk, entryBatch(1 << 20), 1 << 20},
	}
	for _, load := range loads {
		for _, stock := range []bool{false, true} {
			name := fmt.Sprintf("%s/stock=%v", load.name, stock)
			b.Run(name, func(b *testing.B) { benchmarkSend(b, load.lane, load.batch, load.bytes, stock) })
		}
	}
}

func entryBatch(size int) []transport.Envelope {
	data := make([]byte, size)
	for i := range data {
		data[i] = byte(i)
	}
	return []transport.Envelope{{Group: 5, Message: raftpb.Message{
		Type: raftpb.MsgApp, From: 11, To: 22, Term: 7, LogTerm: 7, Index: 123456, Commit: 123400,
		Entries: []raftpb.Entry{{Term: 7, Index: 123457, Data: data}},
	}}}
}

func benchmarkSend(b *testing.B, lane transport.Lane, batch []transport.Envelope, bytes int, stock bool) {
	from, to, _ := pair(b, func(c *Config) { c.Stock = stock })
	flight := max(1, min(32, 8<<20/bytes))
	c := &credit{per: len(batch), free: make(chan struct{}, flight)}
	to.Start(c)
	from.Start(c)
	drain := func() {
		for range flight {
			<-c.free
		}
	}
	for range flight {
		from.Send(2, lane, batch)
	}
	drain()
	for range flight {
		c.free <- struct{}{}
	}
	b.SetBytes(int64(bytes))
	b.ReportAllocs()
	b.ResetTimer()
	before := cpuTime(b)
	for range b.N {
		<-c.free
		from.Send(2, lane, batch)
	}
	drain()
	b.ReportMetric(float64(cpuTime(b)-before)/float64(b.N), "cpu-ns/op")
}

// cpuTime is what the process has used of all processors: unlike the time of
// day, it means something on a machine that has other work.
func cpuTime(b *testing.B) time.Duration {
	var r syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &r); err != nil {
		b.Fatal(err)
	}
	return time.Duration(r.Utime.Nano() + r.Stime.Nano())
}

// BenchmarkLatency sends one message at a time and waits for it.
func BenchmarkLatency(b *testing.B) {
	for _, stock := range []bool{false, true} {
		b.Run(fmt.Sprintf("stock=%v", stock), func(b *testing.B) {
			from, to, _ := pair(b, func(c *Config) { c.Stock = stock })
			c := &credit{per: 1, free: make(chan struct{}, 1)}
			to.Start(c)
			from.Start(c)
			batch := []transport.Envelope{{Group: 5, Message: raftpb.Message{Type: raftpb.MsgHeartbeat, From: 11, To: 22, Term: 7, Commit: 99}}}
			b.ReportAllocs()
			before := cpuTime(b)
			for b.Loop() {
				from.Send(2, transport.Control, batch)
				<-c.free
			}
			b.ReportMetric(float64(cpuTime(b)-before)/float64(b.N), "cpu-ns/op")
		})
	}
}
