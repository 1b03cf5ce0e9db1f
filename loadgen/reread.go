package loadgen

import (
	"context"
	"fmt"

	"github.com/twmb/franz-go/pkg/kgo"
)

// Reread reads everything that the topic of cfg holds at this moment, from offset 0 on, passes times, with one client, and returns
// how many records came. ready is called once, when all that is not reading is done. It counts and checks batch checksums, and no
// more: what the records say is Run's business. It blocks until the end; a stretch of cfg.DrainTimeout without a record ends it with
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
	parts := make([]int32, s.partitions)
	for p := range parts {
		parts[p] = int32(p)
	}
	if err := ready(); err != nil {
		return 0, err
	}
	count := func(list []*kgo.Record) {
		for _, r := range list {
			if !r.Attrs.IsControl() {
				records++
			}
		}
	}
	broken := func(partition int32, offset int64) error {
		return fmt.Errorf("%w: partition %d: what follows offset %d does not decode", ErrIncomplete, partition, offset)
	}
	for range passes {
		if err := s.read(ctx, parts, make([]int64, s.partitions), ends, count, broken); err != nil {
			return records, err
		}
	}
	return records, nil
}
