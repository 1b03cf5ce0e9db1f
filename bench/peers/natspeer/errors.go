package natspeer

import (
	"errors"
	"sync"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

var (
	// ErrUsage means that a Config cannot be run.
	ErrUsage = errors.New("usage")
	// ErrStart means that the servers did not form a cluster or make the streams.
	ErrStart = errors.New("could not start NATS JetStream")
	// ErrServerEnded means that a server ended by itself during the run.
	ErrServerEnded = errors.New("a server ended during the run")
	// ErrNothingAcked means that no message was acknowledged.
	ErrNothingAcked = errors.New("no message was acknowledged")
	// ErrSilent means that the servers stopped to acknowledge with messages still open.
	ErrSilent = errors.New("no answer")
)

// errPortTaken means that a port which was free a moment ago is not any more.
var errPortTaken = errors.New("a port was taken")

// errNoAnswer is the fate of what is still open when the run has been drained.
var errNoAnswer = errors.New("no answer before the end of the drain")

// unanswered says whether an error leaves a message's fate open: it may have
// been stored all the same.
func unanswered(err error) bool {
	return errors.Is(err, nats.ErrDisconnected) || errors.Is(err, nats.ErrConnectionClosed) || errors.Is(err, nats.ErrTimeout) ||
		errors.Is(err, jetstream.ErrAsyncPublishTimeout) || errors.Is(err, jetstream.ErrInvalidJSAck) || errors.Is(err, errNoAnswer)
}

// errorLog counts errors by their text, the first errorKindsMax of them.
type errorLog struct {
	mu    sync.Mutex
	count map[string]int64 // guarded by mu
}

const (
	errorKindsMax = 32
	otherErrors   = "other errors"
)

func (l *errorLog) note(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.count == nil {
		l.count = map[string]int64{}
	}
	text := err.Error()
	if _, known := l.count[text]; !known && len(l.count) >= errorKindsMax {
		text = otherErrors
	}
	l.count[text]++
}

// snapshot is a copy; nil if there were none.
func (l *errorLog) snapshot() map[string]int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.count) == 0 {
		return nil
	}
	out := make(map[string]int64, len(l.count))
	for text, n := range l.count {
		out[text] = n
	}
	return out
}
