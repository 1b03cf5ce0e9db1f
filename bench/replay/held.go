package replay

import (
	"sync"

	"dyno/engine/multiraft"
	"dyno/wal"
)

// heldLog is the log as a manager sees it: appends wait until the replay passes
// them on, one at a time and in order. So messages of a drain arrive before its sync
// is done, as in life, what comes meanwhile gathers, and what one sync makes durable
// is not up to the scheduler. Everything else is the log's.
//
// engine/enginetest has one that also tears, refuses and tells: what it says of
// each append would be most of what is counted here.
type heldLog struct {
	*wal.Log

	mu   sync.Mutex
	held []*wal.Append // guarded by mu
}

var _ multiraft.Log = (*heldLog)(nil)

// Submit implements multiraft.Log.
func (l *heldLog) Submit(a *wal.Append) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.held = append(l.held, a)
	return nil
}

// pass hands the oldest append to the log, and says whether there was one. The
// log ends it on a goroutine of its own.
func (l *heldLog) pass() bool {
	l.mu.Lock()
	if len(l.held) == 0 {
		l.mu.Unlock()
		return false
	}
	a := l.held[0]
	n := copy(l.held, l.held[1:])
	l.held[n] = nil
	l.held = l.held[:n]
	l.mu.Unlock()
	if err := l.Log.Submit(a); err != nil {
		a.Done(err)
	}
	return true
}
