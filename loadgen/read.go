package loadgen

import (
	"cmp"
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// modeRead is Detail.Mode of a run that sends nothing.
const modeRead = "read"

// Read sends nothing: it reads what the topic of cfg holds at this moment, each partition from its first offset to its end by one of
// cfg.Consumers clients (default 1), as fast as they can. The checksum of each batch is compared, and in a record that a load
// generator wrote its own; every other record counts as foreign. A batch that does not decode counts as corrupted, and its partition
// ends there. Of the result, what was sent, what was saturated and every latency are empty. It blocks until the end; when ctx ends
// early it returns the partial result together with ErrInterrupted. Errors: ErrUsage, ErrUnreachable, and ErrIncomplete after
// cfg.DrainTimeout, at least 10 s, without a record.
func Read(ctx context.Context, cfg Config) (*Result, error) {
	cfg.Consumers = cmp.Or(cfg.Consumers, 1)
	cfg.setDefaults()
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	if cfg.Create || cfg.Delete {
		return nil, fmt.Errorf("%w: who reads makes no topic and deletes none", ErrUsage)
	}
	s := &session{cfg: cfg}
	defer s.close()
	if err := s.open(ctx); err != nil {
		return nil, err
	}
	if err := s.borders(ctx); err != nil {
		return nil, err
	}
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

// borders lists where every partition begins and ends.
func (s *session) borders(ctx context.Context) (err error) {
	ctx, cancel := context.WithTimeout(ctx, s.cfg.ConnectTimeout)
	defer cancel()
	if s.first, err = s.cluster.offsets(ctx, s.partitions, earliestOffset); err == nil {
		s.final, err = s.cluster.endOffsets(ctx, s.partitions)
	}
	if err != nil {
		return fmt.Errorf("%w: %w", ErrUnreachable, err)
	}
	return nil
}

// readings is what all readers of a Read have seen so far.
type readings struct {
	records, bytes, corrupted, foreign, undecodable atomic.Int64

	mu       sync.Mutex
	offences Verification // guarded by mu: for its places alone
}

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
			n.offend(Offence{Kind: "corrupted", Partition: r.Partition, Offset: r.Offset, Producer: h.producer, Seq: h.seq})
		}
	}
	n.records.Add(count)
	n.bytes.Add(bytes)
	n.corrupted.Add(corrupted)
	n.foreign.Add(strange)
}

// broken counts a batch that does not decode, at the offset that was asked for.
func (n *readings) broken(partition int32, offset int64) error {
	n.undecodable.Add(1)
	n.offend(Offence{Kind: "corrupted", Partition: partition, Offset: offset})
	return nil
}

func (n *readings) offend(o Offence) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.offences.offend(o)
}

// readAll has every reader read its partitions, and tells of progress meanwhile. The first that fails ends all.
func (s *session) readAll(ctx context.Context, n *readings) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
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
	for _, list := range parts {
		readers.Go(func() {
			if err := s.read(ctx, list, s.first, s.final, n.book, n.broken); err != nil {
				cancel(err)
			}
		})
	}
	readers.Wait()
	close(quit)
	teller.Wait()
	return context.Cause(ctx)
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
// partition at a time. The records are the client's until book returns. broken is told of a batch that does not decode: its error
// ends the reading, without one the partition ends there. Errors: ErrUsage; ErrIncomplete after a while without a record, and where
// a partition cannot be read on; broken's; ctx's cause.
func (s *session) read(ctx context.Context, parts []int32, from, ends []int64, book func([]*kgo.Record), broken func(int32, int64) error) error {
	at, next := map[int32]kgo.Offset{}, map[int32]int64{} // next: of those that are not at their end
	for _, p := range parts {
		if from[p] < ends[p] {
			at[p], next[p] = kgo.NewOffset().At(from[p]), from[p]
		}
	}
	if len(next) == 0 {
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
	done := func(p int32) {
		delete(next, p)
		cl.PauseFetchPartitions(map[string][]int32{s.cfg.Topic: {p}})
	}
	for len(next) > 0 {
		fetches := cl.PollFetches(ctx)
		damaged, err := undecodable(s.cfg.Topic, fetches)
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if err != nil {
			return fmt.Errorf("%w: %d partitions are not at their ends: %w", ErrIncomplete, len(next), err)
		}
		fetches.EachPartition(func(p kgo.FetchTopicPartition) {
			if _, reading := next[p.Partition]; !reading || len(p.Records) == 0 {
				return
			}
			end, list := ends[p.Partition], p.Records
			next[p.Partition] = list[len(list)-1].Offset + 1
			for len(list) > 0 && list[len(list)-1].Offset >= end {
				list = list[:len(list)-1]
			}
			book(list)
			stall.Reset(patience)
			if next[p.Partition] >= end {
				done(p.Partition)
			}
		})
		for _, p := range damaged {
			if offset, reading := next[p]; reading {
				if err := broken(p, offset); err != nil {
					return err
				}
				done(p)
			}
		}
	}
	return nil
}

// readResult puts the report of a Read together.
func (s *session) readResult(n *readings, begun time.Time) *Result {
	records, damaged, broken := n.records.Load(), n.corrupted.Load(), n.undecodable.Load()
	v := &Verification{Read: records - n.foreign.Load() - damaged, Corrupted: damaged + broken, Undecodable: broken, Foreign: n.foreign.Load(),
		Offences: n.offences.Offences}
	window := s.ended.Sub(begun)
	r := &Result{begun: begun}
	r.Schema, r.Consumed, r.Corrupted, r.Saturated, r.ClientCPUS = JSONSchema, &records, &v.Corrupted, BottleneckNone, s.cpu
	if window > 0 {
		r.MsgsPerS, r.BytesPerS = float64(records)/window.Seconds(), float64(n.bytes.Load())/window.Seconds()
	}
	cfg := &s.cfg
	config := map[string]any{"mode": modeRead, "brokers": cfg.Brokers, "topic": cfg.Topic, "consumers": cfg.Consumers, "tls": cfg.TLS.on(), "sasl": cfg.SASL.Mechanism}
	r.Detail = Detail{Schema: detailSchema, Mode: modeRead, Config: config, Window: window, Confirmed: span(s.first, s.final),
		Partitions: s.partitions, Verification: v}
	return r
}
