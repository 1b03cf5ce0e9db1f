package partition

import (
	"fmt"

	"dyno/engine/ids"
)

// noOffset is the answer where no record fits.
var noOffset = TimedOffset{Offset: -1, TimestampMS: -1, Epoch: -1}

// ByTime finds the first committed record, by offset, with a timestamp of at
// least ms; Offset -1 if there is none. It may read the disk and inflate a
// batch; any goroutine may call. Source: Kafka's LogSegment.findOffsetByTimestamp.
func (p *Partition) ByTime(ms int64) (TimedOffset, error) {
	from := p.Offsets().LogStart
	for {
		b, err := p.lookUp(from, func(c Cold) ([]byte, error) { return c.ByTime(ms, from) },
			func(x *hotIndex, at hotPos) (hotPos, bool) { return x.byTime(at, ms) })
		if now := p.Offsets().LogStart; err != nil && from < now {
			from = now // the log start passed: what was looked at is deleted
			continue
		}
		if b == nil || err != nil {
			return noOffset, err
		}
		found, ok, err := firstAt(b, ms, from)
		if ok || err != nil {
			return found, err
		}
		// The header promised a record that is not there: go on behind it.
		from = endOffset(b)
	}
}

// MaxTime finds the record with the largest timestamp, the first of several;
// Offset -1 if the log is empty. It may read the disk and inflate a batch; any
// goroutine may call. Source: KIP-734.
func (p *Partition) MaxTime() (TimedOffset, error) {
	from := p.Offsets().LogStart
	best := noOffset
	for {
		b, err := p.largest(from)
		if now := p.Offsets().LogStart; err != nil && from < now {
			from, best = now, noOffset // the log start passed: what was looked at is deleted
			continue
		}
		if b == nil || err != nil {
			return best, err
		}
		t, err := newest(b, from)
		if err != nil {
			return noOffset, err
		}
		if t.Offset >= 0 && (best.Offset < 0 || t.TimestampMS > best.TimestampMS) {
			best = t
		}
		if baseOffset(b) >= from {
			return best, nil
		}
		// The log start lies within b, and the timestamp that made it the
		// largest may lie before: another batch may be it.
		from = endOffset(b)
	}
}

// largest gives the first batch with the largest timestamp among those that end
// after from; nil if there is none. L1 is asked last, so that what moves there
// meanwhile is seen at least once.
func (p *Partition) largest(from ids.Offset) ([]byte, error) {
	hot, err := p.lookUp(from, func(Cold) ([]byte, error) { return nil, nil },
		func(x *hotIndex, at hotPos) (hotPos, bool) { return x.byTime(at, x.largest(at)) })
	if err != nil || p.cold == nil {
		return hot, err
	}
	cold, err := p.cold.MaxTime(from)
	if err != nil {
		return nil, fmt.Errorf("largest timestamp: %w", err)
	}
	if cold != nil && (hot == nil || readInfo(cold).MaxTimestampMS >= readInfo(hot).MaxTimestampMS) {
		return cold, nil
	}
	return hot, nil
}

// lookUp finds one batch at or behind from: in L1 if cold finds one there, else
// through the hot index. It looks again where batches move to L1 meanwhile.
func (p *Partition) lookUp(from ids.Offset, cold func(Cold) ([]byte, error),
	hot func(*hotIndex, hotPos) (hotPos, bool)) ([]byte, error) {
	for try := 0; ; try++ {
		sp := p.planHot(from, hot)
		if sp.cold && p.cold != nil {
			b, err := cold(p.cold)
			if b != nil || err != nil {
				return b, err
			}
		}
		if sp.empty && !p.changed(&sp) {
			return nil, nil
		}
		if !sp.empty {
			b, err := p.fetchOne(sp)
			if err == nil || try == readRetryMax || !p.changed(&sp) {
				return b, err
			}
		}
	}
}

// planHot plans to read the batch that hot picks from the one at from on; cold
// says that L1 has to be asked first.
func (p *Partition) planHot(from ids.Offset, hot func(*hotIndex, hotPos) (hotPos, bool)) span {
	p.mu.Lock()
	defer p.mu.Unlock()
	x := &p.index
	sp := span{cold: from < x.first(), empty: true, moved: p.moved, hot: p.hot}
	from = max(from, x.first())
	if from >= x.end {
		return sp
	}
	if at, ok := hot(x, x.find(from)); ok {
		sp.empty, sp.base, sp.lo, sp.bytes = false, x.offset(at), x.index(at), x.size(at)
		sp.hi = sp.lo + 1
	}
	return sp
}

// fetchOne reads the one batch that was planned.
func (p *Partition) fetchOne(sp span) ([]byte, error) {
	sp.cold = false
	batches, err := p.fetch(&sp)
	if err != nil {
		return nil, fmt.Errorf("read log index %d: %w", sp.lo, err)
	}
	return batches[0], nil
}

// endOffset is the offset after a batch.
func endOffset(b []byte) ids.Offset {
	return baseOffset(b) + ids.Offset(readInfo(b).LastOffsetDelta) + 1
}
