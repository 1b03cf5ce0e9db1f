package loadgen

import (
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// Every acknowledged record is told once, also where the generator was probed
// before, and with a spread of one byte each partition gets its turn.
func TestAckedIsTold(t *testing.T) {
	t.Parallel()
	var told [4]atomic.Int64
	cfg := small(fake(t))
	cfg.Producers, cfg.Spread, cfg.Rate, cfg.Duration, cfg.Records = 1, 1, 20_000, 0, 1_000
	cfg.ProbeDuration = 50 * time.Millisecond
	cfg.Acked = func(partition int32, service time.Duration) {
		if service > 0 {
			told[partition].Add(1)
		}
	}
	good(t, mustRun(t, cfg))
	for p := range told {
		if n := told[p].Load(); n != 250 {
			t.Errorf("partition %d: %d acknowledgements told, want 250", p, n)
		}
	}
}

// A broker that goes away, and hangs up on the first request of a connection that is new, fails no record: the cluster was reached
// before, so it is no wrong setting of the client's.
func TestHangUpOnReconnect(t *testing.T) {
	t.Parallel()
	c := fake(t)
	var produced, asked atomic.Int64
	gone := errors.New("the broker went away")
	c.ControlKey(int16(kmsg.Produce), func(kmsg.Request) (kmsg.Response, error, bool) {
		c.KeepControl()
		if n := produced.Add(1); 3 <= n && n <= 4 {
			return nil, gone, true
		}
		return nil, nil, false
	})
	c.ControlKey(int16(kmsg.Metadata), func(kmsg.Request) (kmsg.Response, error, bool) {
		c.KeepControl()
		if produced.Load() >= 3 && asked.Add(1) <= 3 { // each its connection's last request, from the second on also its first
			return nil, gone, true
		}
		return nil, nil, false
	})
	cfg := small(c)
	cfg.Producers, cfg.Acks, cfg.Duration, cfg.Records = 1, AcksLeader, 0, 20_000 // without idempotence the client gives up sooner
	cfg.RetryEvery = 10 * time.Millisecond
	r := mustRun(t, cfg)
	if asked.Load() <= 3 {
		t.Fatalf("%d questions for the leaders: nothing connected again", asked.Load())
	}
	if r.Failed+r.Unknown != 0 || r.Acked != 20_000 || r.Violation() != "" {
		t.Errorf("%d acked, %d failed, %d unknown: %v", r.Acked, r.Failed, r.Unknown, r.Detail.Errors)
	}
}

// What a leader refuses is tried again as soon as was asked for; the client's own
// patience, which asks for leaders every five seconds at most, would be an outage.
func TestRetryEvery(t *testing.T) {
	t.Parallel()
	c := fake(t)
	var refused atomic.Int64
	c.ControlKey(int16(kmsg.Produce), func(r kmsg.Request) (kmsg.Response, error, bool) {
		c.KeepControl()
		if refused.Add(1) > 3 {
			return nil, nil, false
		}
		req := r.(*kmsg.ProduceRequest)
		resp := req.ResponseKind().(*kmsg.ProduceResponse)
		for _, rt := range req.Topics {
			st := kmsg.NewProduceResponseTopic()
			st.Topic, st.TopicID = rt.Topic, rt.TopicID
			for _, rp := range rt.Partitions {
				sp := kmsg.NewProduceResponseTopicPartition()
				sp.Partition, sp.ErrorCode = rp.Partition, kerr.NotLeaderForPartition.Code
				st.Partitions = append(st.Partitions, sp)
			}
			resp.Topics = append(resp.Topics, st)
		}
		return resp, nil, true
	})
	cfg := small(c)
	cfg.Producers, cfg.Rate, cfg.Duration, cfg.Records, cfg.RetryEvery = 1, 1_000, 0, 10, 20*time.Millisecond
	r := mustRun(t, cfg)
	good(t, r)
	if waited := time.Duration(r.Response.Max); waited > 2*time.Second {
		t.Errorf("three refusals cost %v", waited)
	}
}

// A partition whose leader moves while end offsets are listed is asked for again, by itself: in a cluster of thousands of partitions
// one always does for a while, and all would never answer at once.
func TestLeaderMovesWhileListed(t *testing.T) {
	t.Parallel()
	c := fake(t)
	var asked [][]int32
	c.ControlKey(int16(kmsg.ListOffsets), func(r kmsg.Request) (kmsg.Response, error, bool) {
		c.KeepControl()
		req := r.(*kmsg.ListOffsetsRequest)
		resp := req.ResponseKind().(*kmsg.ListOffsetsResponse)
		rt := kmsg.NewListOffsetsResponseTopic()
		rt.Topic = req.Topics[0].Topic
		var parts []int32
		moving := len(asked) == 0
		for _, p := range req.Topics[0].Partitions {
			parts = append(parts, p.Partition)
			rp := kmsg.NewListOffsetsResponseTopicPartition()
			rp.Partition, rp.Offset = p.Partition, 0
			if moving {
				rp.ErrorCode, moving = kerr.NotLeaderForPartition.Code, false
			}
			rt.Partitions = append(rt.Partitions, rp)
		}
		asked = append(asked, parts)
		resp.Topics = append(resp.Topics, rt)
		return resp, nil, len(asked) <= 2 // before the load; later the fake answers by itself
	})
	cfg := small(c)
	cfg.Duration, cfg.Records = 0, 1000
	good(t, mustRun(t, cfg))
	first := asked[0][0]
	for _, parts := range asked[1:] {
		if len(parts) == 1 && parts[0] == first {
			return
		}
	}
	t.Errorf("partition %d is never asked for alone: %v", first, asked)
}
