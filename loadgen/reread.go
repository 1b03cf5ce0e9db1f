package loadgen

import (
	"context"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// Reread reads everything that the topic of cfg holds at this moment, from offset 0 on, passes times, and returns how many records
// came. ready is called once, when all that is not reading is done. It counts and checks batch checksums, and no more: what the
// records say is Run's business. It blocks until the end; a stretch of cfg.DrainTimeout without a record ends it with
// ErrIncomplete. Other errors: ErrUsage, ErrUnreachable, ready's, ctx's.
func Reread(ctx context.Context, cfg Config, passes int, ready func() error) (records int64, err error) {
	cfg.setDefaults()
	if err := cfg.validate(); err != nil {
		return 0, err
	}
	s := &session{cfg: cfg}
	defer s.close()
	if err := s.open(ctx); err != nil {
		return 0, err
	}
	ends, err := s.cluster.endOffsets(ctx, s.partitions)
	if err != nil {
		return 0, fmt.Errorf("%w: %w", ErrUnreachable, err)
	}
	if err := ready(); err != nil {
		return 0, err
	}
	for range passes {
		n, err := s.readTo(ctx, ends)
		records += n
		if err != nil {
			return records, err
		}
	}
	return records, nil
}

// readTo reads every partition from 0 to its end, once.
func (s *session) readTo(ctx context.Context, ends []int64) (records int64, err error) {
	from := map[int32]kgo.Offset{}
	left := map[int32]int64{} // partitions that are not at their end
	for p, end := range ends {
		if end > 0 {
			from[int32(p)] = kgo.NewOffset().At(0)
			left[int32(p)] = end
		}
	}
	if len(left) == 0 {
		return 0, nil
	}
	cl, err := kgo.NewClient(readerOpts(&s.cfg, s.security, from)...)
	if err != nil {
		return 0, fmt.Errorf("%w: reader: %w", ErrUsage, err)
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
			return records, context.Cause(ctx)
		}
		fetches.EachPartition(func(p kgo.FetchTopicPartition) {
			if p.Err != nil {
				err = fmt.Errorf("%w: read partition %d: %w", ErrIncomplete, p.Partition, p.Err)
			}
			for _, r := range p.Records {
				if r.Offset < ends[p.Partition] && !r.Attrs.IsControl() {
					records++
				}
				if r.Offset >= ends[p.Partition]-1 {
					delete(left, p.Partition)
				}
			}
		})
		if err != nil {
			return records, err
		}
		stall.Reset(patience)
	}
	return records, nil
}
