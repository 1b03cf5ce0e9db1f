package kafka

import (
	"net"
	"testing"
	"testing/synctest"
	"time"

	"dyno/engine/ids"
	"dyno/engine/partition"
	"dyno/engine/replica"
)

// TestRefusedHoldsUpLater has a new idempotent producer pipeline two batches of
// which the first is refused for want of room. The second must be refused, too,
// however early or late it is read, and both be accepted in order when they
// come again.
func TestRefusedHoldsUpLater(t *testing.T) {
	for name, fail := range map[string]func(n *fakeNode, p *fakePart, on bool){
		"refused at once": func(_ *fakeNode, p *fakePart, on bool) {
			p.mu.Lock()
			defer p.mu.Unlock()
			if p.refuse = nil; on {
				p.refuse = replica.ErrOverloaded
			}
		},
		"refused by the log": func(_ *fakeNode, p *fakePart, on bool) {
			p.mu.Lock()
			defer p.mu.Unlock()
			if p.answerErr = nil; on {
				p.answerErr = replica.ErrOverloaded
			}
		},
		"disk full": func(n *fakeNode, _ *fakePart, on bool) {
			n.mu.Lock()
			defer n.mu.Unlock()
			n.full = on
		},
	} {
		t.Run(name, func(t *testing.T) {
			inTime(t, Config{}, func(t *testing.T, _ *Server, n *fakeNode, dial func() net.Conn) {
				topic := n.add("t", 2)
				c := dialled(t, dial())
				put := func(part int32, pid int64, epoch int16, seq int32) code {
					e, _ := code1(t, c.ask(produceTo(9, topic, part, -1, batch(2, 10, pid, epoch, seq))))
					synctest.Wait()
					return e
				}
				fail(n, topic.parts[0], true)
				why := put(0, 7, 0, 0)
				if why == codeNone {
					t.Fatal("the first was not refused")
				}
				fail(n, topic.parts[0], false)
				for i, x := range []struct {
					part  int32
					pid   int64
					epoch int16
					seq   int32
					want  code
				}{
					{0, 7, 0, 2, why},      // behind the refused one
					{0, 7, 0, 4, why},      // still
					{1, 7, 0, 2, codeNone}, // another partition
					{0, 8, 0, 2, codeNone}, // another producer
					{0, -1, -1, -1, codeNone},
					{0, 7, 0, 0, codeNone}, // the refused one again
					{0, 7, 0, 2, codeNone},
					{0, 7, 0, 4, codeNone},
				} {
					if e := put(x.part, x.pid, x.epoch, x.seq); e != x.want {
						t.Fatalf("step %d: code %d, want %d", i, e, x.want)
					}
				}
			})
		})
	}
}

// TestRefusedForgotten checks every end of a refusal besides the batch itself.
func TestRefusedForgotten(t *testing.T) {
	p := newFakeNode(t).add("t", 1).parts[0]
	in := func(epoch int16, seq int32) *partition.BatchInfo {
		return &partition.BatchInfo{ProducerID: 7, ProducerEpoch: epoch, BaseSequence: seq}
	}
	for name, end := range map[string]func(r *refusals) error{
		"time":           func(r *refusals) error { return r.look(p, in(0, 5), 2*time.Second, time.Second) },
		"producer epoch": func(r *refusals) error { return r.look(p, in(1, 0), 0, time.Second) },
		"leader epoch": func(r *refusals) error {
			p.epoch = 2
			defer func() { p.epoch = 1 }()
			return r.look(p, in(0, 5), 0, time.Second)
		},
		"an earlier one": func(r *refusals) error { return r.look(p, in(0, 1<<31-1), 0, time.Second) },
	} {
		for _, leader := range []ids.LeaderEpoch{1, leaderUnknown} {
			var r refusals
			r.add(p, in(0, 3), leader, time.Second, replica.ErrOverloaded)
			r.add(p, in(0, 4), leader, time.Second, replica.ErrDiskFull) // behind it: changes nothing
			for range 2 {
				if r.look(p, in(0, 5), 0, time.Second) != replica.ErrOverloaded {
					t.Fatalf("%s: let through", name)
				}
			}
			if err := end(&r); err != nil || r.n.Load() != 0 || r.m != nil {
				t.Errorf("%s: %v, %d are left", name, err, r.n.Load())
			}
		}
	}
	var r refusals
	forgot := 0
	for i := range 2 * refusedMax {
		b := in(0, 0)
		b.ProducerID = ids.ProducerID(i)
		if r.add(p, b, 1, time.Second, replica.ErrDiskFull) {
			forgot++
		}
	}
	if r.n.Load() != refusedMax || forgot != refusedMax {
		t.Errorf("%d are remembered, %d were forgotten", r.n.Load(), forgot)
	}
}
