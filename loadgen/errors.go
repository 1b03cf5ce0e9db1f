package loadgen

import (
	"errors"
	"maps"
	"sync"
)

// Sentinels a caller may test with errors.Is.
var (
	// ErrUsage: the configuration or a workload file is wrong; nothing was sent.
	ErrUsage = errors.New("usage")
	// ErrUnreachable: no broker answered, or the topic could not be used.
	ErrUnreachable = errors.New("cannot reach the cluster")
	// ErrNothingAcked: records were sent and not one was acknowledged.
	ErrNothingAcked = errors.New("no record was acknowledged")
	// ErrIncomplete: not every record up to the end offsets could be read.
	ErrIncomplete = errors.New("reading incomplete")
	// ErrInterrupted: the context ended before the window did; the result covers what was sent until then.
	ErrInterrupted = errors.New("interrupted before the end of the window")
)

// errorKindsMax bounds the distinct messages an errorLog keeps; the rest is counted together.
const errorKindsMax = 16

// errorLog counts errors by message.
type errorLog struct {
	mu     sync.Mutex
	counts map[string]int64 // guarded by mu
	first  string           // guarded by mu
}

func (l *errorLog) note(err error) { l.add(err.Error(), 1) }

// snapshot returns a copy of the counts and the first message.
func (l *errorLog) snapshot() (map[string]int64, string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return maps.Clone(l.counts), l.first
}

// add counts a message n times.
func (l *errorLog) add(msg string, n int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.counts == nil {
		l.counts, l.first = map[string]int64{}, msg
	}
	if _, ok := l.counts[msg]; !ok && len(l.counts) >= errorKindsMax {
		msg = "other"
	}
	l.counts[msg] += n
}
