package tcp

import (
	"fmt"
	"sync/atomic"
	"testing"

	"go.etcd.io/raft/v3/raftpb"
	"golang.org/x/sys/unix"

	"dyno/engine/ids"
	"dyno/engine/transport"
)

// counting is a handler that counts what comes and tells when it is enough.
type counting struct {
	got, dropped atomic.Int64
	wanted       atomic.Int64
	enough       chan struct{} // capacity 1; sender: Receive
}

func (c *counting) Receive(_ ids.NodeID, batch []transport.Envelope) {
	if c.got.Add(int64(len(batch))) >= c.wanted.Load() {
		select {
		case c.enough <- struct{}{}:
		default:
		}
	}
}

func (c *counting) Unreachable(ids.NodeID, ids.GroupID, ids.ReplicaID) { c.dropped.Add(1) }

// waitFor returns when n messages came in all.
func (c *counting) waitFor(n int64) {
	c.wanted.Store(n)
	for c.got.Load() < n {
		<-c.enough
	}
}

// BenchmarkSend is one node sending to another over loopback, with at most
// windowBytes not yet received; an operation is one message.
func BenchmarkSend(b *testing.B) {
	const windowBytes = 4 << 20
	for _, c := range []struct {
		size, batch int
	}{{0, 1}, {0, 64}, {64, 64}, {1 << 10, 16}, {16 << 10, 4}, {16 << 10, 64}, {1 << 20, 1}} {
		for _, secure := range []bool{false, true} {
			b.Run(fmt.Sprintf("data=%d/batch=%d/tls=%v", c.size, c.batch, secure), func(b *testing.B) {
				change := func(*Config) {}
				if secure {
					change = newAuthority(b).secure
				}
				lane, env := transport.Bulk, appendOf(1, 1, c.size)
				if c.size == 0 {
					lane, env = transport.Control, transport.Envelope{Group: 1000, Message: raftpb.Message{
						Type: raftpb.MsgAppResp, From: 70_000, To: 70_001, Term: 12, Index: 1 << 30}}
				}
				batch := make([]transport.Envelope, c.batch)
				for i := range batch {
					batch[i] = env
				}
				bk := newBook()
				to := &counting{enough: make(chan struct{}, 1)}
				pair(b, bk, change, to)
				from := pair(b, bk, change, &counting{})
				bytes := transport.Size(&env.Message)
				from.Send(1, lane, batch)
				to.waitFor(int64(c.batch))
				sent := int64(c.batch)
				b.SetBytes(max(int64(c.size), 64))
				b.ReportAllocs()
				b.ResetTimer()
				before := cpu()
				for i := 0; i < b.N; i += c.batch {
					from.Send(1, lane, batch)
					sent += int64(c.batch)
					if (sent-to.got.Load())*bytes > windowBytes {
						to.waitFor(sent - windowBytes/bytes/2)
					}
				}
				to.waitFor(sent)
				b.StopTimer()
				b.ReportMetric(float64(cpu()-before)/float64(b.N), "cpu-ns/op")
				s := from.Stats()
				b.ReportMetric(float64(s.SentMessages)/float64(s.Writes), "msgs/write")
			})
		}
	}
}

// cpu is what the process has used, which other load on the machine does not
// change: both nodes, and the kernel for them.
func cpu() int64 {
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		panic(err)
	}
	return u.Utime.Nano() + u.Stime.Nano()
}

// pair starts node 1, then node 2.
func pair(b *testing.B, bk *book, change func(*Config), h transport.Handler) *Transport {
	id := ids.NodeID(len(bk.at) + 1)
	cfg := config(b, bk, id, anywhere)
	bk.set(id, cfg.Listener.Addr().String())
	change(&cfg)
	t, err := New(cfg)
	if err != nil {
		b.Fatal(err)
	}
	t.Start(h)
	b.Cleanup(func() { _ = t.Close() })
	return t
}
