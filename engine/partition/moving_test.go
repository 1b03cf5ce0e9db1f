package partition

import (
	"sync"

	"dyno/engine/ids"
	"dyno/engine/replica"
)

// movingLog is Hot and Cold at once: entries up to copied are in L1, those up
// to gone are no longer in the log.
type movingLog struct {
	mu           sync.Mutex
	entries      []replica.Entry
	copied, gone ids.LogIndex
}

func (w *movingLog) cold(upTo ids.LogIndex)   { w.mu.Lock(); w.copied = upTo; w.mu.Unlock() }
func (w *movingLog) forget(upTo ids.LogIndex) { w.mu.Lock(); w.gone = upTo; w.mu.Unlock() }

func (w *movingLog) state() (copied, gone ids.LogIndex) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.copied, w.gone
}

func (w *movingLog) Read(lo, hi ids.LogIndex, _ int64) ([]replica.Entry, error) {
	if _, gone := w.state(); lo <= gone {
		return nil, replica.ErrCompacted
	}
	return w.entries[lo-1 : hi-1], nil
}

func (w *movingLog) twin() *twin {
	copied, _ := w.state()
	return &twin{entries: w.entries, moved: int(copied)}
}

func (w *movingLog) End() (ids.LogIndex, ids.Offset) { return 0, 0 }
func (w *movingLog) Start() ids.Offset               { return 0 }

func (w *movingLog) ReadOffset(offset ids.Offset, maxBytes int, one bool) ([][]byte, error) {
	return w.twin().ReadOffset(offset, maxBytes, one)
}

func (w *movingLog) ByTime(ms int64, from ids.Offset) ([]byte, error) {
	return w.twin().ByTime(ms, from)
}

func (w *movingLog) MaxTime(from ids.Offset) ([]byte, error) { return w.twin().MaxTime(from) }
