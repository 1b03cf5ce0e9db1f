package store

import (
	"context"
	"errors"
	"time"

	"dyno/engine/ids"
)

// ScrubResult counts what a scrub read and found right.
type ScrubResult struct {
	Files, Entries int
	Bytes          int64 // of data files
}

// Scrub reads all files as of the last checkpoint and checks every frame and
// batch, at bytesPerSecond of data at most (0: as fast as it goes). It blocks
// until done, ctx ends or damage is found; any goroutine may call. Files that
// retention deletes meanwhile are left out. Errors: ErrCorrupt with the first
// place, the context's.
func (l *Log) Scrub(ctx context.Context, bytesPerSecond int64) (ScrubResult, error) {
	var res ScrubResult
	files := l.view.Load().files
	for _, f := range files {
		err := l.scrubFile(ctx, f, bytesPerSecond, &res)
		if errors.Is(err, ErrCompacted) {
			continue
		}
		if err != nil {
			return res, err
		}
		res.Files++
	}
	return res, nil
}

func (l *Log) scrubFile(ctx context.Context, f *file, rate int64, res *ScrubResult) error {
	h, err := l.open(f)
	if err != nil {
		return err
	}
	defer l.opt.Cache.release(h)
	check := func(sp *span, _ []byte) error { return l.scrubSpan(ctx, f, h, sp, rate, res) }
	if f.kLen == 0 {
		_, err := scanFull(f, h, check)
		return err
	}
	// The tail: its index goes on changing behind what this view covers.
	end, err := scanFrames(h.idx, f.idxBytes, func(frame) error { return nil })
	if err == nil && end != f.idxBytes {
		err = &CorruptError{File: f.key.path + idxSuffix, Pos: end, What: "frame"}
	}
	for i := 0; i < len(f.spans) && err == nil; i++ {
		err = check(&f.spans[i], nil)
	}
	return err
}

func (l *Log) scrubSpan(ctx context.Context, f *file, h *handle, sp *span, rate int64, res *ScrubResult) error {
	items, err := decodeSpan(f, h, sp)
	if err != nil {
		return err
	}
	if _, err := readBatches(f, h, sp.logPos, items); err != nil {
		return err
	}
	res.Entries += len(items)
	res.Bytes += sp.logLen
	return pause(ctx, sp.logLen, rate)
}

// pause waits as long as n bytes take at rate.
func pause(ctx context.Context, n, rate int64) error {
	if rate <= 0 || n == 0 {
		return ctx.Err()
	}
	t := time.NewTimer(time.Duration(float64(n) / float64(rate) * float64(time.Second)))
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}

var _ interface {
	End() (ids.LogIndex, ids.Offset)
	ReadOffset(offset ids.Offset, maxBytes int, one bool) ([][]byte, error)
	ByTime(ms int64, from ids.Offset) ([]byte, error)
	MaxTime(from ids.Offset) ([]byte, error)
} = (*Log)(nil) // what package partition asks of L1
