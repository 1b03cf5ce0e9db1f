package partition

import (
	"errors"
	"fmt"

	"dyno/engine/ids"
	"dyno/engine/replica"
)

// readRetryMax bounds how often one Read looks again because the entries moved
// to L1 between the look-up and the read.
const readRetryMax = 8

// Read returns committed batches from the one that holds args.Offset on, whole,
// below the high watermark (or the last stable offset). It may read the disk;
// any goroutine may call. The batches are shared with the log: never change
// them. At the high watermark it returns none and no error. The offsets in the
// result hold even with an error. Errors: ErrOffsetOutOfRange below the log
// start and above the high watermark, and those of Hot and Cold.
func (p *Partition) Read(args ReadArgs) (ReadResult, error) {
	res := ReadResult{Offsets: p.Offsets()}
	if args.Offset < res.LogStart || args.Offset > res.HighWatermark {
		return res, fmt.Errorf("%w: %d, the log holds [%d, %d)", ErrOffsetOutOfRange, args.Offset, res.LogStart, res.HighWatermark)
	}
	limit := res.HighWatermark
	if args.Committed {
		limit = res.LastStable
	}
	at, one := args.Offset, args.One
	for try := 0; at < limit && (one || res.Bytes < args.MaxBytes); {
		sp := p.plan(at, limit, args.MaxBytes-res.Bytes, one)
		batches, err := p.fetch(&sp)
		if err != nil && try < readRetryMax && p.changed(&sp) {
			try++
			continue
		}
		if err != nil {
			return p.readFailed(res, at, err)
		}
		if len(batches) == 0 {
			if !one {
				break
			}
			return p.readFailed(res, at, fmt.Errorf("%w: no batch there", ErrDamaged))
		}
		for _, b := range batches {
			if forced().has(mutCopyReads) {
				b = copied(b)
			}
			res.Batches = append(res.Batches, b)
			res.Bytes += len(b)
		}
		at, one = endOffset(batches[len(batches)-1]), false
		if !sp.cold {
			break // what is hot was cut by size, not by where it lies
		}
	}
	return res, nil
}

// readFailed turns an error below a log start that moved meanwhile into what
// it is. Batches that were read are returned; the next read meets the error.
func (p *Partition) readFailed(res ReadResult, at ids.Offset, err error) (ReadResult, error) {
	if len(res.Batches) > 0 {
		return res, nil
	}
	if now := p.Offsets(); at < now.LogStart {
		res.Offsets = now
		return res, fmt.Errorf("%w: %d, the log starts at %d", ErrOffsetOutOfRange, at, now.LogStart)
	}
	return res, fmt.Errorf("read offset %d: %w", at, err)
}

// span is where a read has to go: L1 or [lo, hi) of the log.
type span struct {
	cold   bool
	empty  bool
	lo, hi ids.LogIndex
	bytes  int64        // of the batches in [lo, hi); in L1 the budget
	base   ids.Offset   // of the first batch; in L1 the offset asked for
	one    bool         // L1 only
	moved  ids.LogIndex // as it was at the look-up
	hot    Hot
}

// plan looks offset up; it must be below the high watermark.
func (p *Partition) plan(offset, limit ids.Offset, budget int, one bool) span {
	p.mu.Lock()
	defer p.mu.Unlock()
	sp := span{moved: p.moved, hot: p.hot, one: one, bytes: int64(max(budget, 0)), base: offset}
	if offset < p.index.first() {
		sp.cold = true
		return sp
	}
	at := p.index.find(offset)
	last, ok := p.index.within(at, limit, sp.bytes)
	if !ok && !one {
		sp.empty = true
		return sp
	}
	sp.base, sp.lo, sp.hi = p.index.offset(at), p.index.index(at), p.index.index(last)+1
	sp.bytes = p.index.start(last) - p.index.start(at)
	sp.bytes += p.index.size(last)
	return sp
}

// changed says whether batches moved to L1 since the look-up.
func (p *Partition) changed(sp *span) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.moved != sp.moved
}

// commandSlackBytes lets commands between the batches fit a hot read.
const commandSlackBytes = 4096

var errNoCold = errors.New("offset is below the log and there is no L1")

// fetch reads what was planned, without a lock.
func (p *Partition) fetch(sp *span) ([][]byte, error) {
	if sp.empty {
		return nil, nil
	}
	if sp.cold {
		if p.cold == nil {
			return nil, errNoCold
		}
		return p.cold.ReadOffset(sp.base, int(sp.bytes), sp.one)
	}
	entries, err := sp.hot.Read(sp.lo, sp.hi, sp.bytes+commandSlackBytes)
	if err != nil {
		return nil, err
	}
	batches := make([][]byte, 0, len(entries))
	for i := range entries {
		if d := entries[i].Data; len(d) > 0 && !isCommand(d) {
			batches = append(batches, d)
		}
	}
	return batches, checkRead(sp, entries, batches)
}

// checkRead is the other half of the checks in Apply: what is handed out is
// what was looked up.
func checkRead(sp *span, entries []replica.Entry, batches [][]byte) error {
	if len(batches) == 0 || entries[0].Index != sp.lo || len(batches[0]) < headerBytes || baseOffset(batches[0]) != sp.base {
		return fmt.Errorf("%w: log index %d does not hold offset %d", ErrDamaged, sp.lo, sp.base)
	}
	return nil
}
