package tcp

import (
	"log/slog"
	"sync"
	"time"
)

// logs writes a warning at most once a minute for each text and reason: what a
// peer does wrong, it does again and again. Both are constants, so there are
// few.
type logs struct {
	log *slog.Logger

	mu   sync.Mutex
	last map[said]time.Time // guarded by mu
}

type said struct {
	what string
	why  error // a sentinel
}

const logEvery = time.Minute

func newLogs(log *slog.Logger) logs { return logs{log: log, last: map[said]time.Time{}} }

// warn logs err after what; args are keys and values.
func (l *logs) warn(what string, err error, args ...any) {
	key, now := said{what, reasonOf(err)}, time.Now()
	l.mu.Lock()
	at, ok := l.last[key]
	if ok && now.Sub(at) < logEvery {
		l.mu.Unlock()
		return
	}
	l.last[key] = now
	l.mu.Unlock()
	l.log.Warn(what, append(args, "err", err)...)
}
