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

// modeRead is Detail.Mode of a run that sends nothing.
const modeRead = "read"

// Read sends nothing: it reads what the topic of cfg holds at this moment, each partition from its first offset to its end by one of
// cfg.Consumers clients (default 1), as fast as they can. A record that a load generator wrote is checked by its own checksum, every
// other counts as foreign. Of the result, what was sent and every latency are empty. It blocks until the end; when ctx ends early it
// returns the partial result together with ErrInterrupted. Errors as Run's, and ErrIncomplete after a stretch of cfg.DrainTimeout
// without a record.
func Read(ctx context.Context, cfg Config) (*Result, error) {
	cfg.Consumers = max(1, cfg.Consumers)
	cfg.setDefaults()
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	s := &session{cfg: cfg}
	defer s.close()
	if err := s.open(ctx); err != nil {
		return nil, err
	}
	connect, cancel := context.WithTimeout(ctx, cfg.ConnectTimeout)
	defer cancel()
	first, err := s.cluster.offsets(connect, s.partitions, earliestOffset)
	if err == nil {
		s.final, err = s.cluster.endOffsets(connect, s.partitions)
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrUnreachable, err)
	}
	s.first = first
	n := &readings{}
	cpu, err := cpuSeconds()
	if err != nil {
		return nil, err
	}
	begun := time.Now()
	if err := s.readAll(ctx, n); err != nil && ctx.Err() == nil {
		return nil, err
	}
	s.ended = time.Now()
	after, err := cpuSeconds()
	if err != nil {
		return nil, err
	}
	s.cpu = after - cpu
	r := s.readResult(n, begun)
	if ctx.Err() != nil {
		r.Detail.Interrupted = true
		return r, ErrInterrupted
	}
	return r, nil
}

// readings is what all readers of a Read have seen so far.
type readings struct{ records, bytes, corrupted, foreign atomic.Int64 }

// book counts records that one partition gave.
func (n *readings) book(records []*kgo.Record) {
	var count, bytes, corrupted, strange int64
	for _, r := range records {
		if r.Attrs.IsControl() {
			continue
		}
		count++
		bytes += int64(len(r.Key) + len(r.Value))
		switch h, verdict := decodeHeader(r.Value, r.Key); {
		case verdict == foreign:
			strange++
		case verdict == corrupt, int32(h.partition) != r.Partition:
			corrupted++
		}
	}
	n.records.Add(count)
	n.bytes.Add(bytes)
	n.corrupted.Add(corrupted)
	n.foreign.Add(strange)
}

// readAll has every reader read its partitions, and tells of progress meanwhile.
func (s *session) readAll(ctx context.Context, n *readings) error {
	count := min(s.cfg.Consumers, s.partitions)
	parts := make([][]int32, count)
	for p := range s.partitions {
		parts[p%count] = append(parts[p%count], int32(p))
	}
	quit := make(chan struct{})
	var readers, teller sync.WaitGroup
	if s.cfg.Progress != nil {
		teller.Go(func() { s.tellRead(n, quit) })
	}
	errs := make([]error, count)
	for i := range parts {
		readers.Go(func() { errs[i] = s.read(ctx, parts[i], s.first, s.final, n.book) })
	}
	readers.Wait()
	close(quit)
	teller.Wait()
	return errors.Join(errs...)
}

func (s *session) tellRead(n *readings, quit <-chan struct{}) {
	tick := time.NewTicker(collectEvery)
	defer tick.Stop()
	total, begun := span(s.first, s.final), time.Now()
	var before int64
	for {
		select {
		case <-tick.C:
		case <-quit:
			return
		}
		now := n.records.Load()
		s.cfg.Progress(Progress{Phase: modeRead, Elapsed: time.Since(begun), Sent: total, Acked: now, Rate: float64(now-before) / collectEvery.Seconds()})
		before = now
	}
}

// read has a client of its own read partitions from their first offsets up to their ends, exclusive, and books the records of one
// partition at a time. The records are the client's until book returns. Error: ErrIncomplete after a while without a record, and
// where a partition cannot be read on; ctx's.
func (s *session) read(ctx context.Context, parts []int32, from, ends []int64, book func([]*kgo.Record)) (err error) {
	at, left := map[int32]kgo.Offset{}, map[int32]bool{} // left: those that are not at their end
	for _, p := range parts {
		if from[p] < ends[p] {
			at[p], left[p] = kgo.NewOffset().At(from[p]), true
		}
	}
	if len(left) == 0 {
		return nil
	}
	cl, err := kgo.NewClient(readerOpts(&s.cfg, s.security, at)...)
	if err != nil {
		return fmt.Errorf("%w: reader: %w", ErrUsage, err)
	}
	defer cl.Close()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	patience := max(s.cfg.DrainTimeout, readStallMin)
	stall := time.AfterFunc(patience, func() { cancel(fmt.Errorf("%w: nothing read for %v", ErrIncomplete, patience)) })
	defer stall.Stop()
	for len(left) > 0 {
		fetches := cl.PollFetches(ctx)
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		fetches.EachPartition(func(p kgo.FetchTopicPartition) {
			if p.Err != nil {
				err = fmt.Errorf("%w: read partition %d: %w", ErrIncomplete, p.Partition, p.Err)
			}
			n := len(p.Records)
			if n > 0 && p.Records[n-1].Offset >= ends[p.Partition]-1 {
				delete(left, p.Partition)
			}
			for n > 0 && p.Records[n-1].Offset >= ends[p.Partition] {
				n--
			}
			book(p.Records[:n])
		})
		if err != nil {
			return err
		}
		stall.Reset(patience)
	}
	return nil
}

// readResult puts the report of a Read together.
func (s *session) readResult(n *readings, begun time.Time) *Result {
	v := &Verification{Read: n.records.Load() - n.foreign.Load() - n.corrupted.Load(), Corrupted: n.corrupted.Load(), Foreign: n.foreign.Load()}
	records, window := n.records.Load(), s.ended.Sub(begun)
	r := &Result{begun: begun}
	r.Schema, r.Consumed, r.Corrupted, r.Saturated, r.ClientCPUS = JSONSchema, &records, &v.Corrupted, BottleneckNone, s.cpu
	if window > 0 {
		r.MsgsPerS, r.BytesPerS = float64(records)/window.Seconds(), float64(n.bytes.Load())/window.Seconds()
	}
	config := s.cfg.effective()
	config["mode"] = modeRead
	r.Detail = Detail{Schema: detailSchema, Mode: modeRead, Config: config, Window: window, Confirmed: span(s.first, s.final),
		Partitions: s.partitions, Verification: v}
	return r
}
