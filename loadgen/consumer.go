package loadgen

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// readerOpts are the options of clients that read the topic from given offsets; control records are kept so that a position
// reaches the end offset even where the log ends with one.
func readerOpts(cfg *Config, security []kgo.Opt, from map[int32]kgo.Offset) []kgo.Opt {
	return append([]kgo.Opt{
		kgo.SeedBrokers(cfg.Brokers...),
		kgo.ClientID(clientID + "-reader"),
		kgo.DisableClientMetrics(),
		kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{cfg.Topic: from}),
		kgo.ConsumeResetOffset(kgo.NoResetOffset()),
		kgo.KeepControlRecords(),
		kgo.FetchMaxBytes(16 << 20),
		kgo.FetchMaxPartitionBytes(4 << 20),
	}, security...)
}

// consumers reads the topic while it is written, each partition by one of them, without a group: a broker needs no coordinator.
type consumers struct {
	f      *flight
	cls    []*kgo.Client
	recs   []*recorder
	next   []atomic.Int64 // per partition: offset after the last one consumed
	cancel context.CancelFunc
	wg     sync.WaitGroup
	errs   errorLog
}

// startConsumers starts n consumers at the given offsets.
func startConsumers(f *flight, security []kgo.Opt, n int, from []int64) (*consumers, error) {
	ctx, cancel := context.WithCancel(context.Background())
	c := &consumers{f: f, next: make([]atomic.Int64, len(from)), cancel: cancel}
	for p, o := range from {
		c.next[p].Store(o)
	}
	for i := range min(n, len(from)) {
		at := map[int32]kgo.Offset{}
		for p := i; p < len(from); p += n {
			at[int32(p)] = kgo.NewOffset().At(from[p])
		}
		cl, err := kgo.NewClient(readerOpts(f.cfg, security, at)...)
		if err != nil {
			c.close()
			return nil, fmt.Errorf("%w: consumer: %w", ErrUsage, err)
		}
		rec := newRecorder(seriesE2E)
		c.cls, c.recs = append(c.cls, cl), append(c.recs, rec)
		c.wg.Go(func() { c.consume(ctx, cl, rec) })
	}
	return c, nil
}

// consume runs one consumer until ctx ends.
func (c *consumers) consume(ctx context.Context, cl *kgo.Client, rec *recorder) {
	for {
		fetches := cl.PollFetches(ctx)
		if ctx.Err() != nil {
			return
		}
		now := c.f.clk.now()
		fetches.EachPartition(func(p kgo.FetchTopicPartition) {
			if p.Err != nil && !errors.Is(p.Err, context.Canceled) {
				c.errs.note(fmt.Errorf("consume partition %d: %w", p.Partition, p.Err))
			}
			c.book(p, rec, now)
		})
	}
}

// book counts one partition's records; the lock is held for a batch, and only the collector's swap waits for it.
func (c *consumers) book(p kgo.FetchTopicPartition, rec *recorder, now int64) {
	if len(p.Records) == 0 {
		return
	}
	rec.mu.Lock()
	e := rec.active
	for _, r := range p.Records {
		if len(r.Value) < headerBytes || r.Attrs.IsControl() {
			continue
		}
		h := peekHeader(r.Value)
		if h.run != c.f.run {
			continue
		}
		e.consumed++
		if h.intended >= c.f.win.warmEnd && h.intended <= now {
			e.record(seriesE2E, now-h.intended)
		}
	}
	rec.mu.Unlock()
	c.next[p.Partition].Store(p.Records[len(p.Records)-1].Offset + 1)
}

// catchUp waits until every partition is consumed up to ends, or ctx ends.
func (c *consumers) catchUp(ctx context.Context, ends []int64) error {
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for p := 0; p < len(ends); {
		if c.next[p].Load() >= ends[p] {
			p++
			continue
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("live consumers stopped at offset %d of %d in partition %d: %w", c.next[p].Load(), ends[p], p, ctx.Err())
		case <-tick.C:
		}
	}
	return nil
}

// close stops and joins the consumers.
func (c *consumers) close() {
	c.cancel()
	c.wg.Wait()
	for _, cl := range c.cls {
		cl.Close()
	}
}
