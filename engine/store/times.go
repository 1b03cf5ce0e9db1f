package store

import "dyno/engine/ids"

// ByTime returns the first batch that ends after from and whose largest
// timestamp is at least ms; nil if there is none. It reads the disk; any
// goroutine may call; the batch is the caller's own. Errors: ErrCorrupt.
func (l *Log) ByTime(ms int64, from ids.Offset) ([]byte, error) {
	for _, f := range l.view.Load().files {
		if f.sum.end <= from || f.sum.maxMS < ms || f.sum.maxMS == noTime {
			continue
		}
		if b, err := l.byTime(f, ms, from); b != nil || err != nil {
			return b, err
		}
	}
	return nil, nil
}

// byTime looks in one file.
func (l *Log) byTime(f *file, ms int64, from ids.Offset) (found []byte, err error) {
	err = l.use(f, func(h *handle, spans []span) error {
		for i := range spans {
			sp := &spans[i]
			if sp.end <= from || sp.maxMS < ms || sp.maxMS == noTime {
				continue
			}
			pos := sp.logPos
			var hit *item
			err := walk(f, h, spans[i:i+1], func(it *item) bool {
				if it.kind != entryBatch {
					return true
				}
				if it.maxMS >= ms && it.base+ids.Offset(it.delta) >= from {
					hit = it
					return false
				}
				pos += it.bytes
				return true
			})
			if err != nil {
				return err
			}
			if hit != nil {
				b, err := readBatches(f, h, pos, []item{*hit})
				if err == nil {
					found = b[0]
				}
				return err
			}
		}
		return nil
	})
	return found, err
}

// MaxTime returns the first batch with the largest timestamp among those that
// end after from; nil if there is none. As ByTime otherwise.
func (l *Log) MaxTime(from ids.Offset) ([]byte, error) {
	best := int64(noTime)
	for _, f := range l.view.Load().files {
		switch {
		case f.sum.end <= from || f.sum.maxMS <= best:
		case f.id.base >= from:
			best = f.sum.maxMS
		default: // some of its batches may be below from
			ms, err := l.maxTime(f, from)
			if err != nil {
				return nil, err
			}
			best = max(best, ms)
		}
	}
	if best == noTime {
		return nil, nil
	}
	return l.ByTime(best, from)
}

// maxTime is the largest timestamp of a file's batches that end after from.
func (l *Log) maxTime(f *file, from ids.Offset) (best int64, err error) {
	best = noTime
	err = l.use(f, func(h *handle, spans []span) error {
		for i := range spans {
			sp := &spans[i]
			if sp.base >= from {
				best = max(best, sp.maxMS)
				continue
			}
			if sp.end <= from {
				continue
			}
			if err := walk(f, h, spans[i:i+1], func(it *item) bool {
				if it.kind == entryBatch && it.base+ids.Offset(it.delta) >= from {
					best = max(best, it.maxMS)
				}
				return true
			}); err != nil {
				return err
			}
		}
		return nil
	})
	return best, err
}
